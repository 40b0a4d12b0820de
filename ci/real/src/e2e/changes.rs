//! What a change of an object tells, in the words of the simulator's journal.

use std::sync::Arc;

use ivory_core::{Kind, Object, labels};
use ivory_sim::world::journal::Milestone;
use serde_json::Value;

type Told = (Arc<str>, Milestone);

/// What happened between two states of an object; none before it existed.
pub(crate) fn between(old: Option<&Object>, new: &Object) -> Vec<Told> {
    if new.kind != Kind::IvoryCluster && new.label(labels::CLUSTER).is_none() {
        return Vec::new();
    }
    // Another life under the same name begins with nothing.
    let old = old.filter(|o| o.meta.uid == new.meta.uid);
    match new.kind {
        Kind::IvoryCluster => conditions(old, new),
        Kind::Pod => pod(old, new),
        Kind::Job => job(old, new),
        _ => Vec::new(),
    }
}

/// What the end of an object tells. A Pod that no kubelet ever had is not one whose processes ended.
pub(crate) fn gone(old: &Object) -> Option<Told> {
    let instance = old.kind == Kind::Pod && old.label(labels::INSTANCE).is_some();
    let placed = old.at(&["spec", "nodeName"]).is_some();
    let pod = old.meta.name.clone();
    (instance && placed).then(|| ("kubelet".into(), Milestone::PodGone { pod }))
}

fn conditions(old: Option<&Object>, new: &Object) -> Vec<Told> {
    let all = new.at(&["status", "conditions"]).and_then(Value::as_array);
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let mut told = Vec::new();
    for condition in all.into_iter().flatten() {
        let kind = text(condition, "type");
        let before = old.and_then(|o| o.condition(&kind));
        let same = |b: &Value| ["status", "reason", "message"].iter().all(|k| b[k] == condition[k]);
        if before.is_some_and(same) {
            continue;
        }
        told.push((
            "operator".into(),
            Milestone::Condition {
                cluster: new.meta.name.clone(),
                kind,
                status: text(condition, "status"),
                reason: text(condition, "reason"),
                message: text(condition, "message"),
            },
        ));
    }
    told
}

fn pod(old: Option<&Object>, new: &Object) -> Vec<Told> {
    let name = &new.meta.name;
    let mut told: Vec<Told> = Vec::new();
    let node = |o: &Object| o.str_at(&["spec", "nodeName"]).map(Arc::<str>::from);
    if let Some(node) = node(new)
        && old.is_none_or(|o| o.at(&["spec", "nodeName"]).is_none())
    {
        told.push(("scheduler".into(), Milestone::Scheduled { pod: name.clone(), node }));
    }
    let ready = new.condition_true("Ready");
    if ready != old.is_some_and(|o| o.condition_true("Ready")) {
        told.push(("kubelet".into(), Milestone::Ready { pod: name.clone(), ready }));
    }
    if let Some(timeline) = leads(new)
        && old.and_then(leads) != Some(timeline)
    {
        let text = format!("is the leader (timeline {timeline})");
        told.push((name.clone(), Milestone::Database { pod: name.clone(), text }));
    }
    told
}

/// The timeline on which an instance says that it leads: Patroni's annotation, once PostgreSQL runs.
fn leads(pod: &Object) -> Option<u64> {
    let status: Value = serde_json::from_str(pod.annotation("status")?).ok()?;
    let leads = labels::role::is_leader(status["role"].as_str()?);
    let labelled = pod.label(labels::ROLE).is_some_and(labels::role::is_leader);
    let runs = status["state"] == "running";
    (leads && labelled && runs).then(|| status["timeline"].as_u64()).flatten()
}

fn job(old: Option<&Object>, new: &Object) -> Vec<Told> {
    for (condition, succeeded) in [("Complete", true), ("Failed", false)] {
        if new.condition_true(condition) && !old.is_some_and(|o| o.condition_true(condition)) {
            let job = new.meta.name.clone();
            return vec![("jobs".into(), Milestone::JobEnded { job, succeeded })];
        }
    }
    Vec::new()
}
