//! A run as one page that needs nothing else: no network, no server, no file beside it. States are kept as
//! differences, and every line of text once. Values of Secrets never get here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Recording;
use super::facts::{headline, span_words};
use super::film::{MemberKey, Role, Shot};
use super::hide::hide;
use super::shape::{Event, KINDS, Lane, Shape, shape};
use super::why::{pass_of, why};
use crate::kube::ChangeType;
use crate::operator::Pass;
use crate::time::Time;
use crate::view::yaml;
use crate::world::KubeId;
use ivory_core::command::lsn_text;

const HTML: &str = include_str!("page/page.html");
pub(super) const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page of a run.
#[must_use]
pub fn page(recording: &Recording) -> String {
    let shape = shape(recording);
    let data = data(recording, &shape).to_string();
    let title = format!("{} – a simulated run", recording.name);
    let told = headline(recording, &shape).join(" ");
    let page = fill(
        HTML,
        &[
            ("TITLE", &escaped(&title)),
            ("HEADLINE", &escaped(&told)),
            ("TRANSCRIPT", &escaped(&recording.outcome.transcript)),
            ("STYLE", STYLE),
            // `</script>` in a text would end the data.
            ("DATA", &data.replace('<', "\\u003c")),
            ("SCRIPT", SCRIPT),
        ],
    );
    hide(page, &[recording])
}

/// Puts texts in the place of `{{NAME}}`; what was put there is not looked at again.
pub(super) fn fill(template: &str, texts: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        filled.extend(texts.iter().filter(|(n, _)| *n == name).map(|(_, text)| *text));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Text in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn ms(at: Time) -> i64 {
    (at - Time::START).0.div_euclid(1000)
}

/// Every text once, by number.
#[derive(Default)]
struct Pool {
    numbers: BTreeMap<String, usize>,
    texts: Vec<String>,
}

impl Pool {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len();
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }
}

/// What the page's script draws, as a value. Moments are milliseconds since the world began.
#[must_use]
pub(super) fn data(recording: &Recording, shape: &Shape) -> Value {
    let mut pool = Pool::default();
    let mut objects = Objects::default();
    for shot in &recording.film.shots {
        objects.add(recording, shot, &mut pool);
    }
    let passes: Vec<Value> = recording
        .film
        .passes
        .iter()
        .map(|(kube, p)| pass(recording, *kube, p, &mut pool))
        .collect();
    let events: Vec<Value> = shape.events.iter().map(|e| event(recording, e, &objects)).collect();
    let outcome = &recording.outcome;
    let failure = outcome.failure.as_ref().map(|f| json!({"step": f.step, "wrong": f.wrong}));
    json!({
        "name": recording.name,
        "description": recording.description,
        "seed": recording.seed,
        "headline": headline(recording, shape),
        "from": shape.steps.first().map_or(0, |s| ms(s.at)),
        "end": ms(recording.end),
        "figures": {
            "virtual": span_words(recording.end - Time::START),
            "writes": outcome.writes,
            "gap_s": outcome.write_gap_s,
            "lost_rows": outcome.lost_rows,
            "clients": recording.film.clients.len(),
            "steps": outcome.steps,
            "failure": failure,
        },
        "kinds": KINDS,
        "steps": shape.steps.iter().map(|s| json!([ms(s.at), s.text, s.order])).collect::<Vec<_>>(),
        "lanes": shape.lanes.iter().map(|l| lane(recording, shape, l)).collect::<Vec<_>>(),
        "events": events,
        "gaps": shape.gaps.iter().map(|g| {
            json!({"client": *g.client, "from": ms(g.from), "to": g.to.map(ms), "why": g.why})
        }).collect::<Vec<_>>(),
        "objects": objects.list,
        "passes": passes,
        "lines": pool.texts,
    })
}

fn event(recording: &Recording, event: &Event, objects: &Objects) -> Value {
    let items = event.items.iter().map(|item| {
        let (kind, name) = item.object.split_once(' ').unwrap_or(("", &item.object));
        let found = objects.find(item.kube, kind, name);
        let shown = recording.aliases.show(item.kube, &item.object);
        json!([found, shown, item.reason, item.verb])
    });
    let mut told = json!({
        "t": ms(event.at), "l": event.lane, "k": event.kind, "a": event.actor, "x": event.text,
        "o": event.order,
    });
    if let Some(first) = event.items.first() {
        told["i"] = items.collect();
        told["s"] = first.step.into();
    }
    if let Some(pass) = pass_of(recording, event) {
        told["p"] = pass.into();
    }
    told
}

/// What a pass read and found.
fn pass(recording: &Recording, kube: KubeId, pass: &Pass, pool: &mut Pool) -> Value {
    let why = why(recording, kube, pass);
    let mut numbers = |texts: &[String]| texts.iter().map(|t| pool.number(t)).collect::<Vec<_>>();
    json!({
        "t": ms(pass.at), "c": *pass.cluster.1, "n": pass.plan.writes.len(),
        "f": numbers(&why.found), "r": numbers(std::slice::from_ref(&why.read))[0],
        "u": numbers(&why.unknown), "q": pass.plan.requeue.map(|after| after.as_secs_f64()),
    })
}

fn lane(recording: &Recording, shape: &Shape, lane: &Lane) -> Value {
    let several = recording.kubes.len() > 1;
    let place = |kube: KubeId| match recording.kubes.get(usize::from(kube.0)) {
        Some(name) if several => format!(" in {name}"),
        _ => String::new(),
    };
    match lane {
        Lane::Faults => json!({"k": "faults", "n": "Faults", "d": "broken on purpose"}),
        Lane::Client(name) => {
            let track = recording.film.clients.get(name);
            let rows = track.map(|t| t.rows.iter().map(|(at, n)| json!([ms(*at), n])).collect());
            json!({
                "k": "client", "n": **name, "d": "an application, writes rows",
                "from": track.map(|t| ms(t.from)), "to": track.and_then(|t| t.to).map(ms),
                "rows": thinned(rows.unwrap_or_default(), shape),
            })
        }
        Lane::Cluster(kube, name) => {
            json!({"k": "cluster", "n": **name, "d": format!("the cluster as it says{}", place(*kube)),
                "ready": conditions(recording, *kube, name)})
        }
        Lane::Member(key) => member(recording, shape, key, &place(key.0)),
        Lane::Operator(kube) => {
            let mine = recording.film.operators.iter().filter(|(_, k, _)| k == kube);
            json!({"k": "operator", "n": "Operator", "d": format!("its writes{}", place(*kube)),
                "runs": mine.map(|(at, _, runs)| json!([ms(*at), runs])).collect::<Vec<_>>()})
        }
        Lane::Others(kube) => {
            json!({"k": "others", "n": "Kubernetes", "d": format!("Pods, Jobs, backups{}", place(*kube))})
        }
    }
}

/// The condition Ready, from moment to moment.
fn conditions(recording: &Recording, kube: KubeId, name: &str) -> Vec<Value> {
    use crate::world::journal::Milestone;
    let told = recording.journal.iter().filter_map(|entry| match &entry.what {
        Milestone::Condition { cluster, kind, status, reason, .. }
            if entry.kube == kube && **cluster == *name && kind == "Ready" =>
        {
            Some(json!([ms(entry.at), status, reason]))
        }
        _ => None,
    });
    told.collect()
}

fn member(recording: &Recording, shape: &Shape, key: &MemberKey, place: &str) -> Value {
    let Some(track) = recording.film.members.get(key) else { return Value::Null };
    // Positions move all the time: a state is told when the role or the timeline changes.
    let mut states: Vec<Value> = Vec::new();
    let mut last = None;
    for (at, state) in &track.states {
        if last.replace((state.role, state.timeline)) != Some((state.role, state.timeline)) {
            states.push(json!([ms(*at), role_word(state.role), state.timeline]));
        }
    }
    let ends = track.states.iter().map(|(at, s)| json!([ms(*at), s.end])).collect();
    let ends = thinned(ends, shape)
        .into_iter()
        .map(|pair| json!([pair[0], lsn_text(pair[1].as_u64().unwrap_or_default())]));
    let shown = recording.aliases.show(key.0, &key.2);
    json!({
        "k": "member", "n": shown.strip_prefix(&format!("{}/", track.cluster)).unwrap_or(&shown), "pod": *key.2,
        "cluster": *track.cluster, "d": format!("instance of {}{place}", track.cluster),
        "states": states, "lsn": ends.collect::<Vec<_>>(),
    })
}

/// The word by which the page knows a role.
pub(super) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Leads => "leads",
        Role::StandbyLeader => "standby",
        Role::Follows => "follows",
        Role::Starts => "starts",
        Role::Stops => "stops",
        Role::Prepares => "prepares",
        Role::Gone => "gone",
    }
}

/// Of values that change all the time, those that were true when something happened.
fn thinned(values: Vec<Value>, shape: &Shape) -> Vec<Value> {
    let at = |value: &Value| value[0].as_i64().unwrap_or_default();
    let mut moments: Vec<i64> = shape.events.iter().map(|e| ms(e.at)).collect();
    moments.extend(shape.steps.iter().map(|s| ms(s.at)));
    moments.push(i64::MAX);
    moments.sort_unstable();
    let mut kept: Vec<Value> = Vec::new();
    let mut from = 0;
    for moment in moments {
        let known = from + values[from..].partition_point(|value| at(value) <= moment);
        if known > from {
            kept.push(values[known - 1].clone());
            from = known;
        }
    }
    kept
}

/// All objects with their histories.
#[derive(Default)]
struct Objects {
    list: Vec<Value>,
    numbers: BTreeMap<(KubeId, Kind, Arc<str>, Arc<str>), usize>,
    /// The lines of the last state of each.
    last: Vec<Vec<usize>>,
}

impl Objects {
    /// The newest object of this name.
    fn find(&self, kube: KubeId, kind: &str, name: &str) -> Option<usize> {
        let mut all = self.numbers.iter();
        all.find(|((k, of, _, n), _)| *k == kube && of.name() == kind && **n == *name)
            .map(|(_, at)| *at)
    }

    fn add(&mut self, recording: &Recording, shot: &Shot, pool: &mut Pool) {
        let meta = &shot.object.meta;
        let key = (shot.kube, shot.object.kind, meta.namespace.clone(), meta.name.clone());
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.last.push(Vec::new());
            self.list.push(json!({
                "k": shot.object.kind.name(), "n": *meta.name, "s": *meta.namespace,
                "a": recording.aliases.show(shot.kube, &meta.name), "v": [],
            }));
            if recording.kubes.len() > 1 {
                let last = self.list.len() - 1;
                self.list[last]["q"] = recording.kubes[usize::from(shot.kube.0)].clone().into();
            }
            self.list.len() - 1
        });
        let lines: Vec<usize> = match shot.what {
            ChangeType::Deleted => Vec::new(),
            _ => text(&shot.object).lines().map(|line| pool.number(line)).collect(),
        };
        if lines == self.last[number] {
            return;
        }
        let hunks = hunks(&self.last[number], &lines);
        self.last[number] = lines;
        let by: Vec<&str> = shot.by.iter().map(|manager| &**manager).collect();
        let what = match shot.what {
            ChangeType::Added => "+",
            ChangeType::Modified => "~",
            ChangeType::Deleted => "-",
        };
        let version = json!([ms(shot.at), what, by.join(", "), hunks]);
        if let Some(versions) = self.list[number]["v"].as_array_mut() {
            versions.push(version);
        }
    }
}

/// An object's text: what people write and read, without the API server's version numbers.
pub(super) fn text(object: &Object) -> String {
    let text = yaml(object);
    let kept = text.lines().filter(|line| {
        !line.starts_with("---") && !line.trim_start().starts_with("resourceVersion:")
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// What turns one list of lines into another: place, how many go, which come.
fn hunks(old: &[usize], new: &[usize]) -> Vec<Value> {
    let mut found = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, old, new) {
        let (at, gone, come) = match op {
            DiffOp::Equal { .. } => continue,
            DiffOp::Delete { old_index, old_len, .. } => (old_index, old_len, &[][..]),
            DiffOp::Insert { old_index, new_index, new_len } => {
                (old_index, 0, &new[new_index..new_index + new_len])
            }
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                (old_index, old_len, &new[new_index..new_index + new_len])
            }
        };
        found.push(json!([at, gone, come]));
    }
    found
}

/// A page of links to pages of runs: name (the file's, without `.html`), headline, and whether all was well.
#[must_use]
pub fn index(runs: &[(String, String, bool)]) -> String {
    let mut rows = String::new();
    for (name, told, passed) in runs {
        let (name, told) = (escaped(name), escaped(told));
        let mark = if *passed { "✓" } else { "✗ failed" };
        rows.push_str(&format!(
            "<dt>{mark} <a href=\"{name}.html\">{name}</a></dt><dd>{told}</dd>\n"
        ));
    }
    fill(include_str!("page/index.html"), &[("STYLE", STYLE), ("ROWS", &rows)])
}
