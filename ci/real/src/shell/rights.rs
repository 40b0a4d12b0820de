//! Whether the installed Roles permit what the shell asked for. They are read back from the printed files.

use std::collections::BTreeSet;

use ivory_face::{Told, permits};
use ivory_operator::rbac;
use serde_json::Value;

/// What was asked for without a right, one sentence each.
pub(super) fn missing(told: &[Told]) -> BTreeSet<String> {
    let rules = printed();
    let mut missing = BTreeSet::new();
    for told in told {
        let mut asked = told.asked.clone();
        let verbs = match (asked.verb, &*asked.resource) {
            // A WebSocket is a GET, which newer API servers want to see permitted as `create`.
            (_, "pods/exec") => vec!["get", "create"],
            // An apply of what is not there yet.
            ("patch", _) if told.code == Some(201) => vec!["patch", "create"],
            (verb, _) => vec![verb],
        };
        for verb in verbs {
            asked.verb = verb;
            if !rules.iter().any(|rule| permits(rule, &asked)) {
                let group = asked.kind.group();
                missing.insert(format!(
                    "the Roles do not permit to {verb} {}.{group}",
                    asked.resource
                ));
            }
        }
    }
    missing
}

fn printed() -> Vec<Value> {
    let documents = serde_saphyr::from_multiple::<Value>(&rbac::all()).unwrap_or_default();
    documents.iter().filter_map(|d| d["rules"].as_array().cloned()).flatten().collect()
}
