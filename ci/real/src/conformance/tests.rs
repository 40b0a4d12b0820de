//! The model against the recordings, on every `cargo test`.

use std::collections::BTreeSet;

use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};
use serde_json::Value;

use super::record::Recording;
use super::report::Report;
use super::{replay, script, verdicts};

#[test]
fn the_model_answers_as_the_recorded_server_did() {
    let scripts = script::scripts().unwrap();
    let mut report = Report::new();
    replay(&scripts, &mut report).unwrap();
    assert!(report.mismatches() == 0, "{}", report.text());
    assert!(report.exchanges() >= 300, "{}", report.exchanges());
    assert_eq!(report.unseen(), [""; 0], "known differences that show no more");
    assert!(Recording::orphans(&scripts).unwrap().is_empty());
}

#[test]
fn every_rule_of_our_definitions_was_violated() {
    let recording = Recording::read(&verdicts::script().unwrap()).unwrap();
    let said: BTreeSet<_> = recording
        .answers
        .iter()
        .flat_map(|answer| answer.body["details"]["causes"].as_array().cloned().unwrap_or_default())
        .filter_map(|cause| Some(cause["message"].as_str()?.to_owned()))
        .collect();
    let rules = rules();
    assert!(rules.len() >= 14, "{rules:?}");
    for rule in rules {
        assert!(said.iter().any(|message| message.ends_with(&rule)), "no request violates: {rule}");
    }
}

/// Every rule of our definitions: its message.
fn rules() -> Vec<String> {
    let mut found = Vec::new();
    for definition in [crd_ivorycluster(), crd_ivyupgrade()] {
        collect(&definition, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                match (key.as_str(), below) {
                    ("x-kubernetes-validations", Value::Array(rules)) => {
                        let messages = rules.iter().filter_map(|rule| rule["message"].as_str());
                        found.extend(messages.map(str::to_owned));
                    }
                    _ => collect(below, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|below| collect(below, found)),
        _ => {}
    }
}
