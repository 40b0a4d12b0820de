//! What the model came to against a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use super::fixture::{Fixture, Moment};
use super::known::{Known, TABLE};
use super::play::Outcome;
use crate::conformance::compare::{Difference, differ};
use crate::conformance::script::Script;

/// Where the model went another way than the real controllers.
#[derive(Debug)]
pub(super) struct Mismatch {
    script: String,
    request: usize,
    title: String,
    /// The object, or `order`.
    object: String,
    says: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} request {}: {}, {}", self.script, self.request, self.title, self.object)?;
        self.says.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Mismatch {
    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({"script": self.script, "request": self.request, "title": self.title,
            "object": self.object, "says": self.says})
    }
}

/// All mismatches; those that the table knows are counted in `known` instead.
pub(super) fn compare(
    script: &Script,
    recorded: &Fixture,
    modelled: &[Outcome],
    known: &mut [usize],
) -> Vec<Mismatch> {
    let mut out = Vec::new();
    let mut before = Before::new();
    let moments = script.requests.iter().zip(&recorded.moments).zip(modelled);
    for (at, ((step, moment), outcome)) in moments.enumerate() {
        let word = step.known.as_deref().unwrap_or_default();
        let found = differences(moment, outcome, &before, (word, TABLE), known);
        for (key, ways) in &moment.states {
            let real = ways.first().and_then(|way| way.last()).cloned();
            let model = outcome.states.get(key).and_then(|states| states.last()).cloned();
            let last = before.entry(key.clone()).or_default();
            *last = (real.or(last.0.take()), model.or(last.1.take()));
        }
        out.extend(found.into_iter().map(|(object, says)| Mismatch {
            script: script.name.clone(),
            request: at,
            title: step.title(),
            object,
            says,
        }));
    }
    out
}

/// The states in which objects were before, on either side.
type Before = BTreeMap<String, (Option<Value>, Option<Value>)>;

/// What is wrong at one moment: objects, and what is to be said of them.
fn differences(
    moment: &Moment,
    outcome: &Outcome,
    before: &Before,
    (word, table): (&str, &[Known]),
    known: &mut [usize],
) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    if moment.code != outcome.code {
        let says = format!("answered {}, in the model {}", moment.code, outcome.code);
        found.push(("answer".to_owned(), vec![says]));
    }
    let rows_of = |object: &str| -> Vec<usize> {
        (0..table.len()).filter(|row| table[*row].fits(word, object)).collect()
    };
    let keys: BTreeSet<&String> = moment.states.keys().chain(outcome.states.keys()).collect();
    let none = vec![Vec::new()];
    for key in keys {
        let ways = moment.states.get(key).unwrap_or(&none);
        let modelled = outcome.states.get(key).map_or(&[][..], Vec::as_slice);
        let agree = |rows: &[usize]| {
            let rows: Vec<_> = rows.iter().map(|row| &table[*row]).collect();
            let (real_before, model_before) = before.get(key).cloned().unwrap_or_default();
            let modelled = without(model_before, modelled, &rows);
            rows.iter().any(|row| row.path.is_empty())
                || ways.iter().any(|way| without(real_before.clone(), way, &rows) == modelled)
        };
        if agree(&[]) {
            continue;
        }
        let rows = rows_of(key);
        if !agree(&rows) {
            found.push((key.clone(), nearest(ways, modelled)));
            continue;
        }
        for row in &rows {
            let others: Vec<_> = rows.iter().copied().filter(|other| other != row).collect();
            known[*row] += usize::from(!agree(&others));
        }
    }
    let wrong = order(&moment.lives, &outcome.lives);
    match rows_of("order").first() {
        _ if wrong.is_empty() => {}
        Some(row) => known[*row] += 1,
        None => found.push(("order".to_owned(), wrong)),
    }
    found
}

/// States, and the one before, without the fields that the table knows to differ; those that are the same then are one.
fn without(before: Option<Value>, states: &[Value], rows: &[&Known]) -> Vec<Value> {
    let mut out: Vec<_> = before.filter(|_| !rows.is_empty()).into_iter().collect();
    out.extend_from_slice(states);
    for row in rows {
        out.iter_mut().for_each(|state| remove(state, row.path));
    }
    out.dedup();
    out
}

/// Removes a field, and what is empty without it.
fn remove(value: &mut Value, path: &[&str]) {
    let (Some(map), Some((first, rest))) = (value.as_object_mut(), path.split_first()) else {
        return;
    };
    if let (Some(below), false) = (map.get_mut(*first), rest.is_empty()) {
        remove(below, rest);
        if below.as_object().is_none_or(|map| !map.is_empty()) {
            return;
        }
    }
    map.remove(*first);
}

/// The recorded way that is most like the model's, and what differs from it.
fn nearest(ways: &[Vec<Value>], modelled: &[Value]) -> Vec<String> {
    let fields = |way: &[Value]| {
        let mut out: Vec<Difference> = Vec::new();
        for (at, (real, model)) in way.iter().zip(modelled).enumerate() {
            differ(&at.to_string(), Some(real), Some(model), &mut out);
        }
        out
    };
    let same = ways.iter().filter(|way| way.len() == modelled.len()).map(|way| fields(way));
    match same.min_by_key(Vec::len) {
        Some(fields) => fields.iter().map(ToString::to_string).collect(),
        None => {
            let mut says = vec!["another number of states".to_owned()];
            says.extend(ways.iter().map(|way| format!("real  {}", told(way))));
            says.push(format!("model {}", told(modelled)));
            says
        }
    }
}

/// States as what changed from one to the next.
fn told(states: &[Value]) -> String {
    let mut last = &Value::Null;
    let mut out = Vec::new();
    for state in states {
        let mut changed = Vec::new();
        differ("", Some(last), Some(state), &mut changed);
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
        let pairs = changed.iter().map(|d| format!("{} {}", d.path, text(&d.model)));
        out.push(format!("[{}]", pairs.collect::<Vec<_>>().join(", ")));
        last = state;
    }
    format!("{}: {}", states.len(), out.join(" "))
}

/// Pairs of events that were in one order in all runs, and are in the other in the model.
fn order(runs: &[Vec<String>], modelled: &[String]) -> Vec<String> {
    let runs: Vec<_> = runs.iter().map(|run| numbered(run)).collect();
    let modelled = numbered(modelled);
    let Some(first) = runs.first() else { return Vec::new() };
    let mut wrong = Vec::new();
    for (a, at_a) in first {
        for (b, at_b) in first {
            let everywhere = at_a < at_b
                && runs.iter().all(|run| run.get(a).zip(run.get(b)).is_some_and(|(a, b)| a < b));
            if everywhere && modelled.get(a).zip(modelled.get(b)).is_some_and(|(a, b)| a > b) {
                wrong.push(format!("{a} comes before {b}; in the model after it"));
            }
        }
    }
    wrong
}

/// Where each event is; the second of a name has a number.
fn numbered(run: &[String]) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<&String, usize> = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (at, event) in run.iter().enumerate() {
        let count = seen.entry(event).or_default();
        *count += 1;
        out.insert(if *count == 1 { event.clone() } else { format!("{event} #{count}") }, at);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_order_that_always_was_is_demanded() {
        let run = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let runs = [run("a b c b"), run("a c b b")];
        assert_eq!(order(&runs, &run("a c b b")), [""; 0]);
        assert_eq!(order(&runs, &run("a b c b")), [""; 0]);
        assert_eq!(order(&runs, &run("b a c b")), ["a comes before b; in the model after it"]);
        assert_eq!(order(&runs, &run("a b b c")), ["c comes before b #2; in the model after it"]);
    }

    #[test]
    fn each_way_that_was_seen_is_right_and_no_other() {
        let state = |n: i64, m: i64| json!({"annotations": {"a/b": m}, "status": {"n": n}});
        let ways = vec![vec![state(1, 0), state(2, 0)], vec![state(2, 0)]];
        let moment =
            Moment { states: BTreeMap::from([("Job/j".to_owned(), ways)]), ..Moment::default() };
        let table = [Known {
            word: "annotated",
            object: "Job",
            path: &["annotations", "a/b"],
            reason: "a test's",
        }];
        let last = Some(state(0, 0));
        let before = Before::from([("Job/j".to_owned(), (last.clone(), last))]);
        let says = |word: &str, modelled: Vec<Value>| -> (Vec<String>, usize) {
            let states = BTreeMap::from([("Job/j".to_owned(), modelled)]);
            let outcome = Outcome { states, ..Outcome::default() };
            let mut known = [0];
            let found = differences(&moment, &outcome, &before, (word, &table), &mut known);
            (found.into_iter().flat_map(|(_, says)| says).collect(), known[0])
        };
        let right = (Vec::new(), 0);
        assert_eq!(says("", vec![state(1, 0), state(2, 0)]), right);
        assert_eq!(says("annotated", vec![state(2, 0)]), right);
        let wrong = "0.status.n: real 2, model 3".to_owned();
        assert_eq!(says("annotated", vec![state(3, 0)]), (vec![wrong], 0));
        let wrong = "0.annotations[\"a/b\"]: real 0, model 1".to_owned();
        assert_eq!(says("", vec![state(2, 1)]), (vec![wrong], 0));
        assert_eq!(says("annotated", vec![state(2, 1), state(2, 2)]), (Vec::new(), 1));
        let three = says("", vec![state(1, 0), state(2, 0), state(3, 0)]).0;
        assert_eq!(three[0], "another number of states");
    }
}
