//! Replacing objects, and what every change of an object has in common: ownership, what the endpoint
//! may change, generation, validation, and that a change of nothing is none.

use std::sync::Arc;

use ivory_core::object::{Managed, Meta, Object};
use ivory_core::ssa::{Manager, compare_fields, update_by};

use super::handle::Cx;
use super::request::{ObjectRef, Reply, Response, Subresource};
use super::status::{FieldError, Status};
use super::store::ApiServer;
use super::strategy;

impl ApiServer {
    pub(crate) fn replace(
        &mut self,
        cx: &mut Cx<'_>,
        object: &Arc<Object>,
        subresource: Subresource,
    ) -> Response {
        let target = ObjectRef::of(object);
        let old = Arc::clone(self.existing(&target)?);
        let mut new = (**object).clone();
        if new.meta.resource_version == 0
            && subresource == Subresource::None
            && self.custom.contains_key(&new.kind)
        {
            let wrong = FieldError::invalid(
                "metadata.resourceVersion",
                0,
                "must be specified for an update",
            );
            let mut status = Status::invalid(new.kind, &new.meta.name, &[wrong]);
            // This one check names the resource, not the kind.
            let (kind, resource) = (new.kind.name(), new.kind.plural());
            status.message = status.message.replacen(kind, resource, 1);
            return Err(status);
        }
        if subresource == Subresource::Scale {
            let replicas = object.at(&["spec", "replicas"]).cloned();
            new = (*old).clone();
            new.meta.resource_version = object.meta.resource_version;
            if let (Some(replicas), Some(spec)) = (replicas, new.body_mut().get_mut("spec")) {
                spec["replicas"] = replicas;
            }
        }
        if !new.meta.uid.is_empty() && new.meta.uid != old.meta.uid {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
                old.kind.plural(),
                old.meta.namespace,
                old.meta.name,
                new.meta.uid,
                old.meta.uid
            );
            return Err(Status::conflict(old.kind, &old.meta.name, &why));
        }
        self.check_preconditions(&old, &new)?;
        self.finish(cx, &old, new, subresource, None)
    }

    /// Whether a new version names the object that it means to change.
    pub(crate) fn check_preconditions(&self, old: &Object, new: &Object) -> Result<(), Status> {
        let (kind, name) = (old.kind, &*old.meta.name);
        if !new.meta.uid.is_empty() && new.meta.uid != old.meta.uid {
            let wrong = FieldError::invalid("metadata.uid", &*new.meta.uid, "field is immutable");
            return Err(Status::invalid(kind, name, &[wrong]));
        }
        let version = new.meta.resource_version;
        if version != 0 && version != old.meta.resource_version {
            return Err(Status::modified(kind, name));
        }
        Ok(())
    }

    /// Stores a new version of `old`. `managed` is given for an apply.
    pub(crate) fn finish(
        &mut self,
        cx: &mut Cx<'_>,
        old: &Arc<Object>,
        mut new: Object,
        subresource: Subresource,
        managed: Option<Vec<Managed>>,
    ) -> Response {
        let kind = old.kind;
        let asked_managed = std::mem::take(&mut new.meta.managed);
        keep_system_metadata(old, &mut new);
        // The fields of the body that differ, found once: comparing whole objects is dear.
        let mut changed = Vec::new();
        if !Arc::ptr_eq(&old.body, &new.body) {
            changed = self.decode(cx, &mut new, Some(old))?;
            // What comes to the same shares its memory.
            if changed.is_empty() {
                new.body = Arc::clone(&old.body);
            }
        }
        let ignored = strategy::ignored(self, kind, subresource);
        new.meta.managed = match managed {
            Some(managed) => managed.into(),
            // One empty entry stops the tracking of fields; so it stays until an apply.
            None if is_reset(&asked_managed) => Arc::default(),
            None if old.meta.managed.is_empty() => Arc::clone(&old.meta.managed),
            None => {
                let who = Manager {
                    name: cx.request.manager_name(),
                    subresource: subresource.name(),
                    api_version: kind.api_version(),
                };
                // A client that edits the list itself is believed, as on the real server.
                let base = if asked_managed.is_empty() || subresource != Subresource::None {
                    &old.meta.managed
                } else {
                    &asked_managed
                };
                let changes = compare_fields(self.schema(kind), old, &new, &changed);
                if changes.is_empty() && Arc::ptr_eq(base, &old.meta.managed) {
                    Arc::clone(base)
                } else {
                    let mut managed = update_by(changes, base, who, ignored, cx.now);
                    if subresource == Subresource::Scale {
                        // Entries of this endpoint bear no time.
                        let scaled = managed.iter_mut().filter(|m| &*m.subresource == "scale");
                        scaled.for_each(|m| m.time = None);
                    }
                    managed.into()
                }
            }
        };
        self.prepare_for_update(old, &mut new, subresource, &mut changed)?;
        if changed.is_empty() && same_but_times(&old.meta, &new.meta) {
            return Ok(Reply::object(200, Arc::clone(old)));
        }
        let errors = self.validate_update(old, &new, subresource, &changed);
        if !errors.is_empty() {
            return Err(Status::invalid(kind, &old.meta.name, &errors));
        }
        if let Some(refused) = self.admit_update(old, &new) {
            return Err(refused);
        }
        if super::delete::is_released(&new) {
            let last = self.remove(&new);
            self.after_remove(&last);
            // The answer shows the object as it would have been, at the version it had.
            return Ok(Reply::object(200, Arc::new(new)));
        }
        let stored = self.put(new);
        self.after_write(cx, &stored);
        Ok(Reply::object(200, stored))
    }
}

fn is_reset(managed: &[Managed]) -> bool {
    matches!(managed, [only] if only.manager.is_empty() && only.fields.is_empty())
}

/// What a client can't change.
fn keep_system_metadata(old: &Object, new: &mut Object) {
    let (from, to) = (&old.meta, &mut new.meta);
    to.name = Arc::clone(&from.name);
    to.namespace = Arc::clone(&from.namespace);
    to.generate_name.clone_from(&from.generate_name);
    to.uid = Arc::clone(&from.uid);
    to.resource_version = from.resource_version;
    to.generation = from.generation;
    to.created_at = from.created_at;
    to.deleted_at = from.deleted_at;
    to.deletion_grace_seconds = from.deletion_grace_seconds;
}

/// Whether metadata differs in nothing but the times of managed fields, which alone are no change.
fn same_but_times(a: &Meta, b: &Meta) -> bool {
    a.generation == b.generation
        && a.labels == b.labels
        && a.annotations == b.annotations
        && a.owners == b.owners
        && a.finalizers == b.finalizers
        && a.managed.len() == b.managed.len()
        && a.managed.iter().all(|m| {
            b.managed.iter().any(|n| {
                m.manager == n.manager
                    && m.apply == n.apply
                    && m.subresource == n.subresource
                    && m.api_version == n.api_version
                    && (Arc::ptr_eq(&m.fields, &n.fields) || m.fields == n.fields)
            })
        })
}
