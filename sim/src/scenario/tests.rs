//! The language's errors, its reference page, and the player on a fake world.

use std::path::Path;

use serde_json::json;

use super::driver::Driver;
use super::fake::{Fake, pod};
use super::language::WorldSpec;
use super::parse::parse;
use super::run::{Outcome, run};
use super::words::{Group, Live, WORDS};
use crate::time::Span;

fn play(text: &str) -> Outcome {
    let scenario = parse("story.yaml", Path::new("."), text).unwrap_or_else(|e| panic!("{e}"));
    let build = |_: &WorldSpec, _: bool| {
        let mut fake = Fake::default();
        let late = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "hippo-late", "namespace": "ivory-operator",
                "labels": {"ivory-operator.ivorysql.org/cluster": "hippo"},
            },
        });
        fake.later = vec![
            (Span::s(5), pod("hippo-instance1-zj5s", "master", "node1")),
            (Span::s(6), pod("hippo-instance1-6kbw", "replica", "node2")),
            (Span::s(40), late),
        ];
        Ok(Box::new(fake) as Box<dyn Driver>)
    };
    run(&scenario, None, false, &build).expect("a world")
}

/// A story around some steps.
fn story(steps: &str) -> String {
    format!("description: A story.\nsteps:\n{steps}")
}

const APPLY: &str = "  - apply: {apiVersion: ivory-operator.ivorysql.org/v1beta1, kind: IvoryCluster, \
    metadata: {name: hippo}, spec: {instances: [{name: instance1, replicas: 2}]}}\n";

#[test]
fn a_story_is_played_and_told() {
    let steps = format!(
        "{APPLY}  - wait: {{instances: {{instance1: 2}}, primary: one, roles: {{replica: 1}}}}
  - expect: {{spread: {{nodes: [1, 1]}}, timeline: 1, exists: [primary, \"instance1[2]\"]}}
  - connect: {{secret: hippo-pguser-hippo}}
  - sql: {{user: hippo, insert: 3}}
  - mark: before
  - scale: {{set: instance1, to: 3}}
  - expect: {{field: {{path: 'spec.instances[0].replicas', is: 3}}, changed: {{of: cluster, path: spec, since: before}}}}
  - fault: {{kill_pod: primary}}
  - delete: replica
  - wait: {{instances: {{instance1: 1}}, primary: unchanged}}
  - each: {{of: Service, do: [{{delete: it}}, {{expect: {{absent: it}}}}]}}
  - wait: {{quiet: 60s, client: {{writes: true}}}}
expect: {{writes_when_quiet: 0, write_gap_s: 3, lost_rows: 1, writes: 3}}
"
    );
    // The Service appears late; `each` must find it.
    let steps = steps.replace("  - each", "  - advance: 1m\n  - each");
    let outcome = play(&story(&steps));
    assert_eq!(outcome.failure, None, "{}", outcome.transcript);
    assert_eq!((outcome.steps, outcome.writes, outcome.lost_rows), (16, 3, 1));
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("fake_story", outcome.transcript);
    });
}

#[test]
fn what_is_not_true_fails_the_story_with_what_was_seen() {
    for (steps, line, part) in [
        (
            "  - wait: {instances: {instance1: 3}}\n    within: 1m\n",
            4,
            "instance1 has 2 of 2 ready",
        ),
        ("  - expect: {primary: one}\n", 4, "there is no primary"),
        (
            "  - wait: {primary: one}\n  - expect: {primary: changed}\n",
            5,
            "there was no primary before",
        ),
        ("  - delete: primary\n", 4, "there is no primary now"),
        ("  - delete: Service hippo-x\n", 4, "Service hippo-x not found"),
        ("  - patch: {with: {spec: {}}}\n    refused: immutable\n", 4, "accepted it"),
        ("  - delete: Service hippo-x\n    refused: teapot\n", 4, "refused otherwise"),
        ("  - expect: {ready: true}\n", 4, "no condition Ready yet"),
        ("  - expect: {timeline: 2}\n", 4, "no primary says its timeline"),
        ("  - wait: {primary: one}\n  - expect: {timeline: 2}\n", 5, "on timeline 1"),
        ("  - expect: {absent: cluster}\n", 4, "IvoryCluster hippo is there"),
        ("  - expect: {gone: hippo}\n", 4, "IvoryCluster hippo is there"),
        (
            "  - expect: {field: {path: spec.x, present: true}}\n",
            4,
            "spec.x of IvoryCluster hippo is absent",
        ),
        ("  - expect: {condition: {type: Ready}}\n", 4, "hippo has no condition Ready"),
        ("  - expect: {event: {reason: X}}\n", 4, "no Event was written"),
        ("  - expect: {client: {writes: true}}\n", 4, "no client is called app"),
        ("  - expect: {quiet: 1s}\n", 4, "the operator wrote"),
        (
            "  - advance: 2m\n  - fault: {kill_pod: primary}\n  - expect: {quiet: 1m}\n",
            6,
            "something was done",
        ),
        (
            "  - wait: {primary: one}\n  - expect: {pods: {ready: 2}}\n",
            5,
            "1 Pods are ready, not 2",
        ),
        (
            "  - wait: {primary: one}\n  - expect: {primary: one}\n    for: 5s\n  - expect: {pods: {ready: 1}}\n    for: 5s\n",
            7,
            "2 Pods are ready, not 1",
        ),
        (
            "  - patch: {with: {spec: {image: '{StatefulSet of primary}'}}}\n",
            4,
            "there is no StatefulSet of primary now",
        ),
        ("  - scale: {set: nothing, to: 1}\n", 4, "no instance set nothing; there are instance1"),
        ("  - sql: {user: nobody, insert: 1}\n", 4, "no Secret hippo-pguser-nobody"),
        ("  - fault: {crash_node: node9}\n", 4, "there is no node node9"),
        (
            "  - expect: {unchanged: {of: cluster, path: spec, since: x}}\n",
            4,
            "nothing was marked as x",
        ),
        ("  - connect: {secret: s}\nexpect: {write_gap_s: 1}\n", 5, "could not write for 2.5 s"),
        ("  - connect: {secret: s}\nexpect: {lost_rows: 0}\n", 5, "1 acknowledged rows are lost"),
        ("  - advance: 39s\nexpect: {writes_when_quiet: 0}\n", 5, ""),
        ("  - advance: 1m\nexpect: {writes: 1}\n", 5, "made 3 writes"),
    ] {
        let outcome = play(&story(&format!("{APPLY}{steps}")));
        let Some(failure) = outcome.failure else {
            assert_eq!(part, "", "{steps} must fail");
            continue;
        };
        let wrong = failure.wrong.join("; ");
        assert!(wrong.contains(part) && !part.is_empty(), "{steps}: {wrong}");
        assert_eq!(failure.at.line, line, "{steps}: {wrong}");
    }
}

#[test]
fn a_mistake_is_shown_at_its_place() {
    let mut wrong = Vec::new();
    let world = |text: &str| format!("description: x\nworld: {text}\nsteps: []\n");
    for (text, message) in [
        ("steps: []\n".to_owned(), "1:1: a scenario needs `description`"),
        ("description: x\n".to_owned(), "1:1: a scenario needs `steps`"),
        (
            "description: x\nstep: []\n".to_owned(),
            "2:1: unknown word in a scenario `step`; did you mean `steps`?",
        ),
        ("description: x\nsteps: {}\n".to_owned(), "2:8: expected a list of steps, found a map"),
        (world("{seeds: 1}"), "2:9: unknown word in `world` `seeds`; did you mean `seed`?"),
        (world("{patroni: 5}"), "2:18: expected 3, 4 or a version like 4.0.7, found 5"),
        (world("{patroni: 4.1}"), "2:18: expected 3, 4 or a version like 4.0.7, found 4.1"),
        (world("{nodes: 0}"), "2:16: expected a number from 1 to 100, or a list of nodes, found 0"),
        (world("{nodes: [{zon: a}]}"), "2:18: unknown word in a node `zon`; did you mean `zone`?"),
        (
            world("{nodes: [{taints: [{key: a, effect: NoScedule}]}]}"),
            "2:44: unknown effect `NoScedule`; did you mean `NoSchedule`?",
        ),
        (
            world("{nodes: 1, kubernetes: {a: }}"),
            "2:16: with `kubernetes`, this belongs into one of them",
        ),
        (
            story("  - wiat: {ready: true}\n"),
            "3:5: unknown word in a step `wiat`; did you mean `wait`?",
        ),
        (story("  - within: 5m\n"), "3:5: a step needs one of the words"),
        (
            story("  - wait: {ready: true}\n    delete: primary\n"),
            "4:5: a step does one thing; begin a new one before `delete`",
        ),
        (
            story("  - wait: {redy: true}\n"),
            "3:12: unknown word in expectations `redy`; did you mean `ready`?",
        ),
        (story("  - wait: {ready: maybe}\n"), "3:19: expected true or false, found \"maybe\""),
        (story("  - wait: {}\n"), "3:11: nothing is expected here"),
        (
            story("  - wait: {ready: true}\n    within: 90\n"),
            "4:13: expected a time with its unit, such as 500ms, 90s, 5m, 2h or 30d, found 90",
        ),
        (
            story("  - wait: {ready: true}\n    for: 9s\n"),
            "4:10: `for` has no meaning beside `wait`",
        ),
        (
            story("  - advance: 1m\n    refused: x\n"),
            "4:14: `refused` has no meaning beside `advance`",
        ),
        (
            story("  - advance: 1m\n    in: west\n"),
            "4:9: unknown Kubernetes `west`; known are main",
        ),
        (
            story("  - delete: primry\n"),
            "3:13: nothing is called `primry`; did you mean `primary`?",
        ),
        (
            story("  - delete: {of: primary, grace: 1}\n"),
            "3:27: unknown word in `delete` `grace`; did you mean `grace_s`?",
        ),
        (
            story("  - delete: {of: primary, propagation: all}\n"),
            "3:40: expected background, foreground or orphan, found \"all\"",
        ),
        (
            story("  - apply: nowhere.yaml\n"),
            "3:12: there is no nowhere.yaml in this folder or in one above it",
        ),
        (story("  - apply: {metadata: {name: x}}\n"), "3:12: `apply` takes a path, a manifest"),
        (story("  - scale: {set: a}\n"), "3:12: `scale` needs `to`"),
        (story("  - sql: {user: a}\n"), "3:10: `sql` needs exactly one of insert, rows, read_only"),
        (story("  - connect: {as: a}\n"), "3:14: `connect` needs `secret`"),
        (
            story("  - fault: {kill_pod: Service x}\n"),
            "3:23: expected a Pod, such as `primary` or `replica`, found",
        ),
        (story("  - fault: {explode: x}\n"), "3:13: unknown word in `fault` `explode`"),
        (
            story("  - fault: {crash_node: control-plane}\n"),
            "3:25: expected a node: its name, or `node of primary`",
        ),
        (story("  - fault: {lose_volume: primary}\n"), "3:26: expected a claim, such as"),
        (
            story("  - fault: {partition: [node1]}\n"),
            "3:24: expected a list of two places, found a list",
        ),
        (
            story(
                "  - fault: {disk: {of: PersistentVolumeClaim of primary, full: true, slow: 1s}}\n",
            ),
            "3:19: `disk` needs one of `full`, `read_only`, `slow`",
        ),
        (
            story("  - fault: {clock: {node: node1}}\n"),
            "3:20: `clock` needs one of `ahead`, `behind`",
        ),
        (
            story("  - fault: {replication: {of: primary, late: 1500ms}}\n"),
            "3:46: expected whole seconds, at most 10000",
        ),
        (
            story("  - fault: {pause_node: {node: node1, for: 5m}}\n"),
            "3:44: expected between 1s and 255s",
        ),
        (
            story("  - patch: {with: {spec: {image: '{Srvice hippo-ha}'}}}\n"),
            "3:34: unknown kind `Srvice`; did you mean `Service`?",
        ),
        (
            story("  - each: {of: [Srvice], do: []}\n"),
            "3:17: unknown kind `Srvice`; did you mean `Service`?",
        ),
        (
            story("  - expect: {field: {path: x}}\n"),
            "3:21: `field` needs exactly one of is, not, contains, count, present",
        ),
        (
            story("  - expect: {primary: two}\n"),
            "3:23: expected one, none, changed or unchanged, found \"two\"",
        ),
        (
            "description: x\nsteps: []\nexpect: {write_gap: 1}\n".to_owned(),
            "3:10: unknown word in the final `expect` `write_gap`; did you mean `write_gap_s`?",
        ),
        ("description: x\nsteps: [\n".to_owned(), "this is not YAML"),
    ] {
        let error = parse("f", Path::new("/"), &text).expect_err(&text).to_string();
        if !(error.starts_with("f:") && error.contains(message)) {
            wrong.push(format!("{text}{error}\nwanted: {message}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const README: &str = include_str!("../../../scenarios/README.md");

/// The words of the reference's tables: first cell of each row in the section of a group.
fn documented(group: Group) -> Vec<(String, bool)> {
    let title = match group {
        Group::Top => "## The file",
        Group::World => "## The world",
        Group::Kubernetes => "### One Kubernetes",
        Group::Step => "## Steps",
        Group::Beside => "### Beside a step",
        Group::Expectation => "## Expectations",
        Group::Fault => "## Faults",
        Group::Final => "## At the end",
    };
    let section = README
        .split_once(&format!("{title}\n"))
        .unwrap_or_else(|| panic!("README lacks {title:?}"))
        .1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let section = section.split("\n### ").next().unwrap_or(section);
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(word, rest)| (word.to_owned(), rest.contains("simulator only")))
        .collect()
}

#[test]
fn the_reference_has_every_word_and_no_other() {
    let groups = [
        Group::Top,
        Group::World,
        Group::Kubernetes,
        Group::Step,
        Group::Beside,
        Group::Expectation,
        Group::Fault,
        Group::Final,
    ];
    for group in groups {
        let known: Vec<(String, bool)> = WORDS
            .iter()
            .filter(|w| w.group == group)
            .map(|w| (w.word.to_owned(), w.live == Live::Simulator))
            .collect();
        assert_eq!(documented(group), known, "{group:?} in scenarios/README.md");
    }
}

#[test]
fn every_example_of_the_reference_is_a_scenario() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut count = 0;
    for (index, part) in README.split("```yaml\n").enumerate().skip(1) {
        let (example, _) = part.split_once("```").expect("a closed block");
        // A block that begins with a dash is a list of steps; others are whole files or worlds.
        let text = match example {
            e if e.starts_with("- ") => format!("description: x\nsteps:\n{example}"),
            e if e.starts_with("world:") || e.starts_with("expect:") => {
                format!("description: x\nsteps: []\n{example}")
            }
            whole => whole.to_owned(),
        };
        if let Err(error) = parse(&format!("example {index}"), &folder, &text) {
            panic!("{error}\n{text}");
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} examples were found");
}

#[test]
fn every_story_of_the_folder_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of stories") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let scenario = super::parse::load(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(!scenario.steps.is_empty(), "{} has no steps", scenario.name);
            count += 1;
        }
    }
    assert!(count >= 25, "only {count} stories were found");
}
