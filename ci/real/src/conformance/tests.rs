//! The model against the recordings, on every `cargo test`.

use std::collections::BTreeSet;

use super::record::Recording;
use super::report::Report;
use super::{replay, script, verdicts};

#[test]
fn the_model_answers_as_the_recorded_server_did() {
    let scripts = script::scripts(&[]).unwrap();
    let mut report = Report::new();
    replay(&scripts, &mut report).unwrap();
    assert!(report.mismatches() == 0, "{}", report.text());
    assert!(report.exchanges() >= 300, "{}", report.exchanges());
    assert_eq!(report.unseen(), [""; 0], "known differences that show no more");
    assert!(Recording::orphans(&scripts).unwrap().is_empty());
}

#[test]
fn every_rule_of_our_definitions_was_violated() {
    let scripts = script::scripts(&["verdicts".to_owned()]).unwrap();
    let recording = Recording::read(&scripts[0]).unwrap();
    let said: BTreeSet<_> = recording
        .answers
        .iter()
        .flat_map(|answer| answer.body["details"]["causes"].as_array().cloned().unwrap_or_default())
        .filter_map(|cause| Some(cause["message"].as_str()?.to_owned()))
        .collect();
    let rules = verdicts::rules();
    assert!(rules.len() >= 14, "{rules:?}");
    for rule in rules {
        assert!(said.iter().any(|message| message.ends_with(&rule)), "no request violates: {rule}");
    }
}
