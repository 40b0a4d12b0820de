//! The state that a run led to, without what differs from run to run anyway: identities, times, secrets, and
//! which of equal instances leads.

use ivory_core::{Kind, Object, labels};
use serde_json::Value;

use crate::rig::Rig;

/// What the operator makes or answers for.
const KINDS: [Kind; 12] = [
    Kind::IvoryCluster,
    Kind::StatefulSet,
    Kind::PersistentVolumeClaim,
    Kind::Service,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
    Kind::PodDisruptionBudget,
    Kind::Job,
    Kind::Pod,
];

/// One line per object and field, sorted.
pub fn normalised(rig: &Rig) -> String {
    let mut lines = Vec::new();
    for kind in KINDS {
        // Pods of Jobs are named by draws, and the Job says how it ended.
        let of_a_job = |o: &Object| o.controller().is_some_and(|c| c.kind == "Job");
        for object in rig.all(kind).into_iter().filter(|o| !of_a_job(o)) {
            describe(&object, &mut lines);
        }
    }
    let mut text = lines.join("\n");
    // Instances are named by draws; equal ones are told apart by nothing else.
    for name in instances(rig) {
        text = text.replace(&name, "INSTANCE");
    }
    for job in rig.all(Kind::Job) {
        text = text.replace(&*job.meta.name, "JOB");
    }
    for object in KINDS.iter().flat_map(|kind| rig.all(*kind)) {
        text = text.replace(&*object.meta.uid, "UID");
    }
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn instances(rig: &Rig) -> Vec<String> {
    let sets = rig.all(Kind::StatefulSet);
    sets.iter().filter_map(|s| s.label(labels::INSTANCE)).map(str::to_owned).collect()
}

fn describe(object: &Object, lines: &mut Vec<String>) {
    let head = format!("{} {}", object.kind, object.meta.name);
    lines.push(head.clone());
    let owners = object.meta.owners.iter().map(|o| format!("{head} owner {} {}", o.kind, o.name));
    lines.extend(owners);
    lines.extend(object.meta.finalizers.iter().map(|f| format!("{head} finalizer {f}")));
    for (key, value) in object.meta.labels.iter() {
        if !key.contains("hash") {
            lines.push(format!("{head} label {key}={value}"));
        }
    }
    for (key, value) in object.body.iter() {
        match (object.kind, key.as_str()) {
            (Kind::Secret, "data") => {
                let keys = value.as_object().into_iter().flatten().map(|(k, _)| k);
                lines.extend(keys.map(|k| format!("{head} data {k}")));
            }
            (Kind::IvoryCluster, "status") => status(&head, value, lines),
            (_, "status") => {
                let phase = value.get("phase").and_then(Value::as_str);
                lines.extend(phase.map(|p| format!("{head} phase {p}")));
            }
            _ => leaves(&format!("{head} {key}"), value, lines),
        }
    }
}

fn status(head: &str, status: &Value, lines: &mut Vec<String>) {
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let (kind, state, reason) =
            (&condition["type"], &condition["status"], &condition["reason"]);
        lines.push(format!("{head} condition {kind} {state} {reason}"));
    }
    leaves(&format!("{head} instances"), &status["instances"], lines);
    leaves(&format!("{head} observed"), &status["observedGeneration"], lines);
}

fn leaves(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(k, _)| !k.ends_with("hash")) {
                leaves(&format!("{path}.{key}"), value, lines);
            }
        }
        Value::Array(list) => {
            for value in list {
                leaves(&format!("{path}[]"), value, lines);
            }
        }
        // The mount of the service account's token, which the API server names by a draw.
        Value::String(text) if text.starts_with("kube-api-access-") => {
            lines.push(format!("{path} kube-api-access"));
        }
        value => lines.push(format!("{path} {value}")),
    }
}
