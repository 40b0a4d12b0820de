//! Facts about pods.

use std::sync::Arc;

use ivory_core::object::Object;
use serde_json::Value;

use crate::controllers::framework::Seen;
use crate::controllers::support::moment;
use crate::time::{Span, Time};

/// `status.phase`.
#[must_use]
pub fn phase(pod: &Object) -> &str {
    pod.str_at(&["status", "phase"]).unwrap_or_default()
}

/// Whether it ended for good.
#[must_use]
pub fn finished(pod: &Object) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether its condition `Ready` is true.
#[must_use]
pub fn ready(pod: &Object) -> bool {
    pod.condition_true("Ready")
}

/// Whether it counts as running: neither ended nor about to be.
#[must_use]
pub fn active(pod: &Object) -> bool {
    !finished(pod) && !pod.terminating()
}

/// Whether it has been ready for so long.
#[must_use]
pub fn available(pod: &Object, min_ready_s: i64, now: Time) -> bool {
    ready(pod) && (min_ready_s == 0 || available_in(pod, min_ready_s, now) == Some(Span::ZERO))
}

/// How long until a ready Pod is available; none when it is not ready.
#[must_use]
pub fn available_in(pod: &Object, min_ready_s: i64, now: Time) -> Option<Span> {
    let condition = pod.condition("Ready").filter(|_| ready(pod))?;
    let since = moment(condition.get("lastTransitionTime"))?;
    let left = Span::s(min_ready_s).0 - (now - since).0;
    Some(Span(left.max(0)))
}

/// Whether a change is more than a heartbeat: its life, its place in the network, what selects it, or
/// what its containers' ends tell.
#[must_use]
pub fn matters(seen: Seen<'_>) -> bool {
    let (Some(old), Some(new)) = (seen.old, seen.new) else {
        return true;
    };
    if old.meta.uid != new.meta.uid
        || old.meta.deleted_at != new.meta.deleted_at
        || old.meta.labels != new.meta.labels
        || old.meta.owners != new.meta.owners
        || old.meta.finalizers != new.meta.finalizers
    {
        return true;
    }
    // Annotation patches, Patroni's heartbeat, leave the body shared.
    !Arc::ptr_eq(&old.body, &new.body)
        && (phase(old) != phase(new)
            || ready(old) != ready(new)
            || old.at(&["status", "podIP"]) != new.at(&["status", "podIP"])
            || old.at(&["spec", "nodeName"]) != new.at(&["spec", "nodeName"])
            || restarts(old) != restarts(new))
}

/// How often its containers were restarted, together.
#[must_use]
pub fn restarts(pod: &Object) -> i64 {
    containers(pod).filter_map(|c| c.get("restartCount")?.as_i64()).sum()
}

fn containers(pod: &Object) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|list| pod.at(&["status", list])?.as_array())
        .flatten()
}

/// When it ended: by its containers, else by its condition, else by its deletion, else when it was made.
#[must_use]
pub fn finished_at(pod: &Object) -> Time {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let ends: Option<Vec<Time>> = statuses.map(|all| {
        all.iter()
            .filter_map(|c| moment(c.get("state")?.get("terminated")?.get("finishedAt")))
            .collect()
    });
    if let (Some(all), Some(ends)) = (statuses, ends)
        && ends.len() == all.len()
        && let Some(last) = ends.into_iter().max()
    {
        return last;
    }
    let unready = pod.condition("Ready").filter(|_| !ready(pod));
    if let Some(since) = unready.and_then(|c| moment(c.get("lastTransitionTime"))) {
        return since;
    }
    if let Some(deleted) = pod.meta.deleted_at {
        let grace = pod.meta.deletion_grace_seconds.unwrap_or(0);
        return Time::from(deleted) + Span::s(-grace);
    }
    pod.meta.created_at.map(Time::from).unwrap_or_default()
}
