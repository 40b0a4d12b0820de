//! What a page says is what happened; what may not be on it is not; and looking changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine as _;
use ivory_core::Kind;
use serde_json::Value;

use super::hide::PUBLIC;
use super::page::{index, text};
use super::*;
use crate::kube::ChangeType;
use crate::lab::site::build;
use crate::scenario::parse::load;
use crate::scenario::run::run;

fn story(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    load(&folder.join(format!("{name}.yaml"))).expect(name)
}

fn recorded(name: &str, seed: Option<u64>) -> Recording {
    record(&story(name), seed, false, &build).expect(name)
}

fn failover() -> &'static (Recording, String) {
    static DONE: OnceLock<(Recording, String)> = OnceLock::new();
    DONE.get_or_init(|| {
        let recording = recorded("failover", None);
        let page = page(&recording);
        (recording, page)
    })
}

fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("data");
    let (data, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn looking_changes_nothing() {
    for name in ["failover", "two-kubernetes", "operator-down"] {
        let scenario = story(name);
        let plain = run(&scenario, None, false, &build).expect(name);
        let looked = record(&scenario, None, false, &build).expect(name).outcome;
        assert_eq!((plain.digest, plain.transcript), (looked.digest, looked.transcript), "{name}");
    }
}

/// The texts of an object's states, as the page's script makes them from differences.
fn states(data: &Value, object: &Value) -> Vec<(i64, String)> {
    let mut lines: Vec<u64> = Vec::new();
    let number = |v: &Value| usize::try_from(v.as_u64().expect("a number")).expect("small");
    let mut found = Vec::new();
    for version in object["v"].as_array().expect("versions") {
        for hunk in version[3].as_array().expect("hunks").iter().rev() {
            let (at, gone) = (number(&hunk[0]), number(&hunk[1]));
            let come = hunk[2].as_array().expect("lines").iter().map(|n| n.as_u64().expect("one"));
            lines.splice(at..at + gone, come);
        }
        let line =
            |n: &u64| data["lines"][usize::try_from(*n).expect("small")].as_str().expect("a line");
        let text = lines.iter().map(line).collect::<Vec<_>>().join("\n");
        found.push((version[0].as_i64().expect("a time"), text));
    }
    found
}

#[test]
fn the_page_tells_what_happened() {
    let (recording, page) = failover();
    let data = data(page);
    let told = data["headline"].to_string();
    for part in [
        "instance1/2 led first, from 12.",
        "after “all processes of instance1/2 die”",
        "it led again, on timeline 2",
        "The application app could not write for 2.",
        "No acknowledged row was lost.",
        "came out as it should",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
        let shown = super::page::escaped(part);
        assert!(page.split("<script").next().expect("a head").contains(&shown), "{part}");
    }
    let lanes = data["lanes"].as_array().expect("lanes");
    let of = |kind: &str| lanes.iter().filter(|l| l["k"] == kind).collect::<Vec<_>>();
    let members: Vec<_> = of("member").iter().map(|l| l["n"].as_str().expect("a name")).collect();
    assert_eq!(members, ["instance1/1", "instance1/2"]);
    for kind in ["faults", "client", "cluster", "operator", "others"] {
        assert_eq!(of(kind).len(), 1, "{kind}");
    }
    let led = of("member")[1]["states"].as_array().expect("states").iter();
    let timelines: Vec<_> = led.filter(|s| s[1] == "leads").map(|s| s[2].clone()).collect();
    assert_eq!(timelines, [1, 2]);
    let gap = &data["gaps"][0];
    let ms = |v: &Value| v.as_i64().expect("a time");
    let length = ms(&gap["to"]) - ms(&gap["from"]);
    let told = recording.outcome.write_gap_s;
    assert!((length as f64 / 1000.0 - told).abs() < 0.002, "{length} ms, {told} s");
    assert_eq!(data["steps"].as_array().map(Vec::len), Some(7));
}

#[test]
fn a_write_leads_to_its_object_and_its_pass() {
    let data = data(&failover().1);
    let events = data["events"].as_array().expect("events");
    let wrote = |e: &&Value| {
        e["x"].as_str().is_some_and(|x| x.starts_with("creates ConfigMap hippo-config"))
    };
    let event = events.iter().find(wrote).expect("the write");
    let object = &data["objects"]
        [usize::try_from(event["i"][0][0].as_u64().expect("an object")).expect("small")];
    assert_eq!((&object["k"], &object["n"]), (&"ConfigMap".into(), &"hippo-config".into()));
    assert_eq!(event["s"], "patroni");
    let pass =
        &data["passes"][usize::try_from(event["p"].as_u64().expect("a pass")).expect("small")];
    assert_eq!(pass["c"], "hippo");
    assert!(pass["t"].as_i64() <= event["t"].as_i64());
    let found: Vec<String> = pass["f"]
        .as_array()
        .expect("found")
        .iter()
        .map(|n| {
            data["lines"][usize::try_from(n.as_u64().expect("one")).expect("small")].to_string()
        })
        .collect();
    assert!(found.contains(&"\"Patroni: writes 1\"".to_owned()), "{found:?}");
}

#[test]
fn states_are_those_of_the_world() {
    let (recording, page) = failover();
    let data = data(page);
    let mut compared = 0;
    for object in data["objects"].as_array().expect("objects") {
        let states = states(&data, object);
        let is = |shot: &&film::Shot| {
            shot.object.kind.name() == object["k"]
                && *shot.object.meta.name == *object["n"].as_str().expect("a name")
                && *shot.object.meta.namespace == *object["s"].as_str().expect("a namespace")
        };
        for shot in recording.film.shots.iter().filter(is) {
            let at = (shot.at - Time::START).0.div_euclid(1000);
            let of = |(t, _): &&(i64, String)| *t <= at;
            // Several changes of one millisecond: the last one counts.
            let later = recording
                .film
                .shots
                .iter()
                .filter(is)
                .any(|o| o.at > shot.at && (o.at - Time::START).0.div_euclid(1000) == at);
            let same =
                recording.film.shots.iter().filter(is).rfind(|o| o.at == shot.at).expect("itself");
            let expected = match same.what {
                ChangeType::Deleted => String::new(),
                _ => text(&same.object),
            };
            if !later {
                assert_eq!(
                    states.iter().rev().find(of).expect("a state").1,
                    expected,
                    "{}",
                    object["n"]
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn no_value_of_a_secret_is_on_a_page() {
    for recording in [failover().0.clone(), recorded("users", None)] {
        let name = &recording.name;
        let text = format!(
            "{}\n{}",
            page(&recording),
            compare(("a", &recording), ("b", &recording)).page()
        );
        let secrets = recording.film.shots.iter().filter(|s| s.object.kind == Kind::Secret);
        let mut values = BTreeSet::new();
        for secret in secrets {
            let data = secret.object.at(&["data"]).and_then(Value::as_object);
            for (key, value) in data.into_iter().flatten() {
                let value = value.as_str().expect("base64").to_owned();
                if !PUBLIC.contains(&key.as_str()) && value.len() > 8 {
                    values.insert(value);
                }
            }
        }
        assert!(values.len() > 10, "{name}: {}", values.len());
        for value in values {
            let plain = base64::engine::general_purpose::STANDARD.decode(&value).expect("base64");
            let plain = String::from_utf8_lossy(&plain);
            // A file of several lines is not found as a whole in JSON.
            let long = |line: &&str| line.len() > 8 && !line.starts_with("-----");
            for part in plain.lines().filter(long).chain([value.as_str()]) {
                assert!(!text.contains(part), "{name}: {} bytes of a secret", part.len());
            }
        }
    }
}

#[test]
fn pages_need_nothing_else() {
    let runs = [("a".to_owned(), "b".to_owned(), true)];
    let recording = &failover().0;
    let compared = compare(("a", recording), ("b", recording)).page();
    for page in [&failover().1, &index(&runs), &compared] {
        let (shown, data) = page.split_once("id=\"data\">").unwrap_or((page, ""));
        let script = data.split_once("</script>").map_or("", |(_, rest)| rest);
        for part in [shown, script] {
            for loads in [
                " src=",
                "url(http",
                "@import",
                "<link",
                "href=\"http",
                "href=\"//",
                "fetch(",
                "XMLHttpRequest",
                "import(",
            ] {
                assert!(!part.contains(loads), "{loads}");
            }
        }
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'"));
        for name in ["TITLE", "HEADLINE", "STYLE", "DATA", "SCRIPT", "ROWS", "FIGURES"] {
            assert!(!page.contains(&format!("{{{{{name}}}}}")), "{name} is missing");
        }
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    }
}

#[test]
fn the_end_of_a_script_in_a_text_ends_nothing() {
    let mut recording = failover().0.clone();
    recording.description = "</script><b>".to_owned();
    assert_eq!(data(&page(&recording))["description"], "</script><b>");
}

fn pressed(keys: &str) -> Viewer {
    let mut viewer = Viewer::new(failover().0.clone());
    for key in keys.split_whitespace() {
        viewer.press(match key {
            "enter" => Key::Enter,
            "escape" => Key::Escape,
            "down" => Key::Down,
            key => Key::Char(key.chars().next().expect("a letter")),
        });
    }
    viewer
}

#[test]
fn keys_lead_where_they_say() {
    for (keys, kind, part) in [
        ("", "step", "apply examples"),
        ("f", "fault", "all processes of instance1/2 die"),
        ("f n", "step", "wait client (writes false)"),
        ("f n p", "fault", "all processes"),
        ("f a", "client", "can't write"),
        ("f a a", "client", "writes again after 2.2 s"),
        ("f r d", "database", "promotes: timeline 2"),
        ("s s s", "step", "wait client (writes true)"),
        ("s s s S", "step", "connect"),
        ("w", "write", "updates IvoryCluster hippo"),
        ("G g", "step", "apply examples"),
        ("/ c l o n e enter", "database", "clones from"),
        ("/ c l o n e enter n", "database", "cloned"),
        ("f F", "fault", "all processes"),
    ] {
        let viewer = pressed(keys);
        let row = &viewer.rows[viewer.at];
        assert!(row.kind == kind && row.text.contains(part), "{keys}: {} {}", row.kind, row.text);
    }
    assert!(pressed("n q").over);
}

#[test]
fn screens_are_drawn() {
    for (name, keys, size) in [
        ("fault-80x24", "f n n n", (80, 24)),
        ("promotion-120x40", "f d d", (120, 40)),
        ("why-100x30", "w w w y", (100, 30)),
        ("objects-100x24", "f n n n o down down", (100, 24)),
        ("object-100x30", "f a c o enter", (100, 30)),
        ("help-80x24", "?", (80, 24)),
    ] {
        insta::assert_snapshot!(name, screen(&pressed(keys), size));
    }
}

#[test]
fn two_runs_are_compared() {
    let (a, b) = (failover().0.clone(), recorded("failover", Some(7)));
    let same = compare(("a", &a), ("a", &a));
    let (both, first, second) = same.counts();
    assert!(both > 60 && (first, second) == (0, 0), "{both} {first} {second}");
    assert!(same.text().contains("are the same, in the same order"));
    let other = compare(("a", &a), ("b", &b));
    let (both, first, second) = other.counts();
    assert!(both > 40 && first + second > 0, "{both} {first} {second}");
    // Everything of both is there, once.
    let lines = |r: &Recording| {
        crate::scenario::transcript::Teller::new(r.kubes.clone())
            .lines(&r.aliases, &r.journal)
            .len()
    };
    assert_eq!((both + first, both + second), (lines(&a), lines(&b)));
    let page = other.page();
    assert_eq!(page.matches("<tr class=\"first").count(), first);
    assert_eq!(page.matches("<tr class=\"second").count(), second);
}
