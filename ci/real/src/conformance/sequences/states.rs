//! What is compared of an object: the fields on which somebody else decides, without versions, UIDs, times and texts for
//! people. Drawn names and hashes become symbols in the order in which they were first seen.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::play::Outcome;

/// Objects that every namespace is given, whatever a script does.
const GIVEN: &[&str] = &["ConfigMap/kube-root-ca.crt", "ServiceAccount/default"];
/// Fields that are versions, times or texts for people.
const DROPPED: &[&str] = &[
    "message",
    "lastTransitionTime",
    "lastProbeTime",
    "lastUpdateTime",
    "resourceVersion",
    "uid",
    "apiVersion",
];

/// How many characters the API server draws.
const DRAWN: usize = 5;

/// The symbols of one side in one run, and the last state of each object.
pub(super) struct Symbols {
    /// What is written for what.
    texts: BTreeMap<String, String>,
    last: BTreeMap<String, Value>,
    hashes: usize,
    drawn: BTreeMap<String, usize>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Symbols {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            texts: BTreeMap::from([(namespace.to_owned(), "$ns".to_owned())]),
            last: BTreeMap::new(),
            hashes: 0,
            drawn: BTreeMap::new(),
        }
    }

    /// A request of a script with the names that its symbols stand for here.
    pub(super) fn resolved(&self, mut step: Value) -> Value {
        // The longest first, since a symbol may stand in another.
        let mut symbols: Vec<_> =
            self.texts.iter().filter(|(_, symbol)| symbol.contains('<')).collect();
        symbols.sort_by_key(|(_, symbol)| std::cmp::Reverse(symbol.len()));
        for (name, symbol) in symbols {
            each_text(&mut step, &mut |text| *text = text.replace(symbol, name));
        }
        step
    }

    /// Takes down a change of an object.
    pub(super) fn take(&mut self, object: &Value, gone: bool, outcome: &mut Outcome) {
        self.learn(object);
        let meta = &object["metadata"];
        let key = format!("{}/{}", text(object, "kind"), self.scrubbed(text(meta, "name")));
        if GIVEN.contains(&&*key) {
            return;
        }
        let last = self.last.get(&key);
        if gone && text(object, "kind") == "Pod" {
            forget_mark(&key, outcome);
        }
        let mut live = |what: char| outcome.lives.push(format!("{what} {key}"));
        let was_going = last.is_some_and(|state| state.get("terminating").is_some());
        if last.is_none() && !gone {
            live('+');
        }
        if !gone && !was_going && meta.get("deletionTimestamp").is_some() {
            live('~');
        }
        let state = if gone {
            live('-');
            self.last.remove(&key);
            Value::from("gone")
        } else {
            let state = self.state(object);
            if last == Some(&state) {
                return;
            }
            self.last.insert(key.clone(), state.clone());
            state
        };
        outcome.states.entry(key).or_default().push(state);
    }

    /// Finds what is drawn in an object.
    fn learn(&mut self, object: &Value) {
        let meta = &object["metadata"];
        let (kind, name) = (text(object, "kind"), text(meta, "name"));
        let uid = text(meta, "uid");
        let owner = meta["ownerReferences"].as_array().into_iter().flatten();
        let owner = owner.clone().find(|o| o["controller"] == true).unwrap_or(&Value::Null);
        // A name that is the owner's, and then something that isn't always the same.
        let hashed = name.strip_prefix(text(owner, "name")).and_then(|rest| rest.strip_prefix('-'));
        let prefix = text(meta, "generateName");
        match (kind, hashed) {
            ("ControllerRevision" | "ReplicaSet", Some(hash)) if !self.texts.contains_key(hash) => {
                self.hashes += 1;
                self.texts.insert(hash.to_owned(), format!("<hash-{}>", self.hashes));
            }
            ("Job", Some(_)) if owner["kind"] == "CronJob" => {
                self.draw(name, &format!("{}-", text(owner, "name")));
            }
            // Pods of StatefulSets say what their names would be drawn from, and have others.
            _ if !prefix.is_empty()
                && name.len() == prefix.len() + DRAWN
                && name.starts_with(prefix) =>
            {
                self.draw(name, prefix);
            }
            _ => {}
        }
        if !uid.is_empty() {
            let name = format!("uid of {kind}/{}", self.scrubbed(name));
            self.texts.insert(uid.to_owned(), name);
        }
    }

    fn draw(&mut self, name: &str, prefix: &str) {
        if self.texts.contains_key(name) {
            return;
        }
        let prefix = self.scrubbed(prefix);
        let number = self.drawn.entry(prefix.clone()).or_default();
        *number += 1;
        self.texts.insert(name.to_owned(), format!("{prefix}<{number}>"));
    }

    fn state(&self, object: &Value) -> Value {
        let meta = &object["metadata"];
        let mut state = Map::new();
        for key in ["labels", "annotations", "finalizers"] {
            state.insert(key.into(), meta[key].clone());
        }
        let owners = meta["ownerReferences"].as_array().into_iter().flatten().map(|o| {
            let mut words = vec![text(o, "kind"), text(o, "name")];
            words
                .extend(["controller", "blockOwnerDeletion"].iter().filter(|key| o[**key] == true));
            Value::from(words.join(" "))
        });
        state.insert("owners".into(), owners.collect());
        if meta.get("deletionTimestamp").is_some() {
            let grace = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            state.insert("terminating".into(), grace.into());
        }
        let spec = |keys: &[&str]| -> Value {
            let pairs = keys.iter().map(|key| ((*key).to_owned(), object["spec"][*key].clone()));
            Value::Object(pairs.collect())
        };
        let whole = |keys: &[&str], state: &mut Map<String, Value>| {
            state.extend(keys.iter().map(|key| ((*key).to_owned(), object[*key].clone())));
        };
        match text(object, "kind") {
            "Pod" => {
                state.insert("spec".into(), spec(&["nodeName", "hostname", "subdomain"]));
                let status = &object["status"];
                state.insert(
                    "status".into(),
                    json!({"phase": status["phase"], "reason": status["reason"],
                    "conditions": status["conditions"]}),
                );
            }
            "ControllerRevision" => whole(&["revision"], &mut state),
            "Endpoints" => whole(&["subsets"], &mut state),
            "EndpointSlice" => whole(&["addressType", "endpoints", "ports"], &mut state),
            "PersistentVolumeClaim" | "PersistentVolume" => {
                state.insert("spec".into(), spec(&["volumeName", "claimRef"]));
                whole(&["status"], &mut state);
            }
            "Secret" | "ConfigMap" => {}
            _ => {
                state.insert("spec".into(), spec(&["replicas", "suspend", "finalizers"]));
                whole(&["status"], &mut state);
            }
        }
        let mut state = Value::Object(state);
        self.clean(&mut state);
        state
    }

    /// Leaves out what is not compared, and what is empty; puts lists whose order means nothing in one order.
    fn clean(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !DROPPED.contains(&&**key));
                map.values_mut().for_each(|below| self.clean(below));
                map.retain(|_, below| !empty(below));
            }
            Value::Array(list) => {
                list.iter_mut().for_each(|below| self.clean(below));
                list.sort_by_cached_key(ToString::to_string);
            }
            Value::String(given) => *given = self.scrubbed(given),
            _ => {}
        }
    }

    fn scrubbed(&self, given: &str) -> String {
        if given.parse::<jiff::Timestamp>().is_ok() {
            return "<time>".into();
        }
        // The longest first, since a name may contain another's beginning.
        let mut all: Vec<_> =
            self.texts.iter().filter(|(from, _)| given.contains(&***from)).collect();
        all.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        all.into_iter().fold(given.to_owned(), |out, (from, to)| out.replace(from, to))
    }
}

/// A Pod that is given no time is marked and removed by one request. Watches may tell of the mark by itself, and
/// nobody can do anything in that moment, so it is left out.
fn forget_mark(key: &str, outcome: &mut Outcome) {
    let Some(states) = outcome.states.get_mut(key) else { return };
    if states.last().is_some_and(|state| state["terminating"] == 0) {
        states.pop();
        let mark = format!("~ {key}");
        // One that was given time before had been asked to go then.
        if states.last().is_none_or(|state| state.get("terminating").is_none())
            && let Some(at) = outcome.lives.iter().rposition(|live| *live == mark)
        {
            outcome.lives.remove(at);
        }
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn each_text(value: &mut Value, work: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => work(text),
        Value::Array(list) => list.iter_mut().for_each(|below| each_text(below, work)),
        Value::Object(map) => map.values_mut().for_each(|below| each_text(below, work)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_taken_down_once_and_lives_in_order() {
        let (mut symbols, mut outcome) = (Symbols::new("here"), Outcome::default());
        let pod = |phase: &str| {
            json!({"kind": "Pod", "metadata": {"name": "j-abcde", "generateName": "j-", "namespace": "here",
                "uid": "0a0b-0c0d", "resourceVersion": phase, "labels": {"in": "here", "of": "0a0b-0c0d"}},
                "status": {"phase": phase, "startTime": "2026-01-01T00:00:00Z", "conditions": []}})
        };
        let mut going = pod("Running");
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        going["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        let mut marked = going.clone();
        marked["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        for (object, gone) in [
            (pod("Pending"), false),
            (pod("Pending"), false),
            (going, false),
            (marked.clone(), false),
            (marked, true),
        ] {
            symbols.take(&object, gone, &mut outcome);
        }
        assert_eq!(outcome.lives, ["+ Pod/j-<1>", "~ Pod/j-<1>", "- Pod/j-<1>"]);
        let labels = json!({"in": "$ns", "of": "uid of Pod/j-<1>"});
        let expected = [
            json!({"labels": labels, "status": {"phase": "Pending"}}),
            json!({"labels": labels, "status": {"phase": "Running"}, "terminating": 30}),
            json!("gone"),
        ];
        assert_eq!(outcome.states["Pod/j-<1>"], expected);
        let step = symbols.resolved(json!({"get": "Pod/j-<1>"}));
        assert_eq!(step, json!({"get": "Pod/j-abcde"}));
    }
}
