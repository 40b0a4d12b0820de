//! Which changes of an object are facts to a plan. A heartbeat is none: Patroni renews its lease and moves
//! positions all the time, and nothing follows from it.

use crate::kind::Kind;
use crate::object::Object;
use crate::patroni::status::Status;

/// Annotations of Patroni's Endpoints that a plan reads.
const PATRONI_FACTS: [&str; 3] = ["leader", "config", "initialize"];

/// Whether a plan could see a difference between two states of an object.
#[must_use]
pub fn matters(old: &Object, new: &Object) -> bool {
    if old.meta.uid != new.meta.uid || old.meta.labels != new.meta.labels {
        return true;
    }
    let (before, after) = (&old.meta, &new.meta);
    let same_meta = before.deleted_at == after.deleted_at
        && before.owners == after.owners
        && before.finalizers == after.finalizers;
    if !same_meta {
        return true;
    }
    match new.kind {
        Kind::Endpoints if new.label(crate::labels::PATRONI).is_some() => {
            PATRONI_FACTS.iter().any(|key| old.annotation(key) != new.annotation(key))
        }
        Kind::Pod => old.body != new.body || pod_annotations_matter(old, new),
        _ => before.annotations != after.annotations || old.body != new.body,
    }
}

fn pod_annotations_matter(old: &Object, new: &Object) -> bool {
    let key = crate::patroni::status::ANNOTATION;
    let (before, after) = (old.annotation(key), new.annotation(key));
    if before == after {
        return false;
    }
    let facts = |text: Option<&str>| {
        let status = text.and_then(Status::parse)?;
        Some((status.role, status.state, status.timeline, status.pending_restart))
    };
    facts(before) != facts(after)
}
