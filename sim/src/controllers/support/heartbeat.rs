//! Changes that no controller looks at, recognised once for all of them: Patroni patches annotations of
//! Pods and Endpoints and kubelets renew Leases every ten seconds, for as long as a world lasts.

use std::sync::Arc;

use ivory_core::Kind;

use crate::controllers::framework::Seen;
use crate::controllers::support::pods;

/// Whether a change is a heartbeat.
#[must_use]
pub fn is_heartbeat(seen: Seen<'_>) -> bool {
    let (Some(old), Some(new)) = (seen.old, seen.new) else {
        return false;
    };
    match new.kind {
        Kind::Pod => !pods::matters(seen),
        // Read when a node's time is up; nobody waits for one.
        Kind::Lease => true,
        Kind::Endpoints => {
            old.meta.uid == new.meta.uid
                && old.meta.deleted_at == new.meta.deleted_at
                && old.meta.labels == new.meta.labels
                && old.meta.owners == new.meta.owners
                && old.meta.finalizers == new.meta.finalizers
                && (Arc::ptr_eq(&old.body, &new.body) || old.body == new.body)
        }
        _ => false,
    }
}
