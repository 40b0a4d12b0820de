//! Deletion: preconditions, grace, finalizers and what becomes of dependents.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;

use super::handle::Cx;
use super::request::{Content, DeleteOptions, ObjectRef, Reply, Response};
use super::status::Status;
use super::store::ApiServer;

/// Held while dependents are deleted first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Held while dependents are orphaned.
pub(crate) const ORPHAN: &str = "orphan";

impl ApiServer {
    pub(crate) fn delete(
        &mut self,
        cx: &mut Cx<'_>,
        target: &ObjectRef,
        options: &DeleteOptions,
    ) -> Response {
        let old = Arc::clone(self.existing(target)?);
        check(&old, options)?;
        let mut new = (*old).clone();
        set_finalizers(&mut new, options.propagation);
        match grace(&old, options) {
            Grace::AlreadyPending => {
                if new.meta.finalizers == old.meta.finalizers {
                    return Ok(Reply::object(200, old));
                }
                let stored = self.put(new);
                return Ok(Reply::object(200, stored));
            }
            Grace::Seconds(seconds) => mark(&mut new, cx, seconds),
        }
        if old.kind == Kind::Namespace {
            new.meta.deletion_grace_seconds = None;
            if let Some(status) = new.body_mut().get_mut("status") {
                status["phase"] = "Terminating".into();
            }
            let held = new
                .at(&["spec", "finalizers"])
                .and_then(|f| f.as_array())
                .is_some_and(|f| !f.is_empty());
            if held {
                let stored = self.store_unless_same(&old, new);
                return Ok(Reply::object(200, stored));
            }
        }
        if is_released(&new) {
            let last = self.remove(&new);
            self.after_remove(&last);
            match old.kind {
                // Deletion marks a Pod before it removes it.
                Kind::Pod => {
                    new.meta.resource_version = last.meta.resource_version;
                    return Ok(Reply::object(200, Arc::new(new)));
                }
                Kind::Service
                | Kind::ServiceAccount
                | Kind::PersistentVolumeClaim
                | Kind::PersistentVolume
                | Kind::StorageClass => return Ok(Reply::object(200, last)),
                _ => {}
            }
            return Ok(Reply {
                code: 200,
                content: Content::Deleted(Arc::clone(&last.meta.uid)),
                warnings: Vec::new(),
            });
        }
        let stored = self.store_unless_same(&old, new);
        Ok(Reply::object(200, stored))
    }

    fn store_unless_same(&mut self, old: &Arc<Object>, new: Object) -> Arc<Object> {
        if **old == new {
            return Arc::clone(old);
        }
        self.put(new)
    }
}

fn check(old: &Object, options: &DeleteOptions) -> Result<(), Status> {
    // These messages name the kind where others name the resource.
    let why = if let Some(uid) = options.uid.as_ref().filter(|u| **u != old.meta.uid) {
        format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            old.meta.uid
        )
    } else if let Some(version) =
        options.resource_version.filter(|v| *v != old.meta.resource_version)
    {
        format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            old.meta.resource_version
        )
    } else {
        return Ok(());
    };
    let message = format!(
        "Operation cannot be fulfilled on {} \"{}\": {why}",
        super::status::qualified(old.kind.name(), old.kind),
        old.meta.name
    );
    Err(Status::new(409, "Conflict", message))
}

enum Grace {
    /// A deletion is under way that this one does not hasten.
    AlreadyPending,
    Seconds(i64),
}

/// How long the object may go on. Only Pods have time.
fn grace(old: &Object, options: &DeleteOptions) -> Grace {
    if old.kind != Kind::Pod {
        return Grace::Seconds(0);
    }
    let own = old.i64_at(&["spec", "terminationGracePeriodSeconds"]);
    let mut seconds = options.grace_s.or(own).unwrap_or(30);
    if seconds < 0 {
        seconds = 1;
    }
    // A Pod that runs nowhere, or no more, needs no time.
    let nowhere = old.str_at(&["spec", "nodeName"]).unwrap_or_default().is_empty();
    let over = matches!(old.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"));
    if nowhere || over {
        seconds = 0;
    }
    match (old.meta.deleted_at, old.meta.deletion_grace_seconds) {
        (Some(_), Some(before)) if options.grace_s.is_none() || seconds >= before => {
            if before == 0 { Grace::Seconds(0) } else { Grace::AlreadyPending }
        }
        _ => Grace::Seconds(seconds),
    }
}

fn mark(new: &mut Object, cx: &Cx<'_>, seconds: i64) {
    let shortened = new.meta.deletion_grace_seconds.is_some_and(|s| s > seconds);
    if new.meta.deleted_at.is_none() || shortened {
        if new.meta.deleted_at.is_none() && new.meta.generation > 0 {
            new.meta.generation += 1;
        }
        let from = match (new.meta.deleted_at, new.meta.deletion_grace_seconds) {
            // The time of the request, from which the shorter period counts.
            (Some(end), Some(before)) => end - jiff::SignedDuration::from_secs(before),
            _ => cx.now,
        };
        new.meta.deleted_at = Some(from + jiff::SignedDuration::from_secs(seconds));
        new.meta.deletion_grace_seconds = Some(seconds);
    }
}

fn set_finalizers(new: &mut Object, propagation: Option<Propagation>) {
    let has = |name: &str| new.meta.finalizers.iter().any(|f| f == name);
    let wanted = match propagation {
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Background) => None,
        // Unsaid: what an earlier deletion chose stays, else the kind's default. Jobs orphan theirs.
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        None if new.kind == Kind::Job && new.meta.deleted_at.is_none() => Some(ORPHAN),
        None => None,
    };
    let mut finalizers: Vec<String> =
        new.meta.finalizers.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    finalizers.extend(wanted.map(str::to_owned));
    if finalizers != *new.meta.finalizers {
        new.meta.finalizers = finalizers.into();
    }
}

/// Whether nothing holds an object back whose deletion was asked for.
pub(crate) fn is_released(object: &Object) -> bool {
    let namespace_held = object.kind == Kind::Namespace
        && object
            .at(&["spec", "finalizers"])
            .and_then(|f| f.as_array())
            .is_some_and(|f| !f.is_empty());
    object.terminating()
        && object.meta.finalizers.is_empty()
        && object.meta.deletion_grace_seconds.unwrap_or(0) == 0
        && !namespace_held
}
