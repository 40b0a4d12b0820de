//! The four kinds of patches.

use std::sync::Arc;

use ivory_core::object::{Managed, Object, StringMap};
use ivory_core::ssa::{
    Conflict, FieldSet, Manager, Schema, apply, check_applied, update_by, view, with_view,
};
use serde_json::Value;

use super::handle::Cx;
use super::request::{Body, ObjectRef, Response, Subresource};
use super::status::{Cause, Status};
use super::store::ApiServer;
use super::strategic;
use super::strategy;

impl ApiServer {
    pub(crate) fn patch(
        &mut self,
        cx: &mut Cx<'_>,
        target: &ObjectRef,
        subresource: Subresource,
        body: &Body,
    ) -> Response {
        // Only an apply may name what is not there.
        let found = || self.existing(target).map(Arc::clone);
        let (old, new) = match body {
            Body::Apply { object, force } => {
                return self.apply(cx, object, *force, subresource);
            }
            Body::Merge(patch) | Body::Strategic(patch)
                if strings_only(patch, target) && Schema::builtin(target.kind).is_some() =>
            {
                let old = found()?;
                let new = patch_strings(&old, patch);
                (old, new)
            }
            Body::Merge(patch) if let Some(named) = of_body(patch) => {
                let old = found()?;
                let mut body = Value::Object((*old.body).clone());
                json_patch::merge(&mut body, patch);
                let new = with_body(&old, named, body);
                (old, new)
            }
            Body::Merge(patch) => {
                let old = found()?;
                let (mut value, managed) = wire(&old, patch);
                json_patch::merge(&mut value, patch);
                let new = read(value, &old, managed)?;
                (old, new)
            }
            Body::Strategic(patch) => {
                let old = found()?;
                let new = self.strategic(&old, patch)?;
                (old, new)
            }
            Body::Json(patch) => {
                let old = found()?;
                let new = json(&old, patch)?;
                (old, new)
            }
        };
        self.check_preconditions(&old, &new)?;
        self.finish(cx, &old, new, subresource, None)
    }

    fn strategic(&self, old: &Object, patch: &Value) -> Result<Object, Status> {
        if self.custom.contains_key(&old.kind) {
            let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
        let schema = self.schema(old.kind);
        if let (Some(named), Some(patch)) = (of_body(patch), patch.as_object()) {
            let body = (*old.body).clone();
            let body = strategic::patch_map(schema.arena(), schema.root(), body, patch)
                .map_err(|message| Status::new(500, "", message))?;
            return Ok(with_body(old, named, Value::Object(body)));
        }
        let ((Value::Object(value), managed), Some(patch)) = (wire(old, patch), patch.as_object())
        else {
            return Err(Status::bad_request("a patch must be a map"));
        };
        let merged = strategic::patch_map(schema.arena(), schema.root(), value, patch)
            .map_err(|message| Status::new(500, "", message))?;
        read(Value::Object(merged), old, managed)
    }

    /// Server-side apply; it creates what is not there.
    fn apply(
        &mut self,
        cx: &mut Cx<'_>,
        desired: &Arc<Object>,
        force: bool,
        subresource: Subresource,
    ) -> Response {
        let kind = desired.kind;
        let Some(manager) = cx.request.manager.clone() else {
            let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return Err(Status::new(422, "Invalid", message));
        };
        if !desired.meta.managed.is_empty() {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let who = Manager {
            name: &manager,
            subresource: subresource.name(),
            api_version: kind.api_version(),
        };
        let wanted = view(desired);
        let wrong = check_applied(self.schema(kind), &wanted);
        if !wrong.is_empty() {
            return Err(untyped(desired, &wrong));
        }
        let ignored = strategy::ignored(self, kind, subresource);
        let target = ObjectRef::of(desired);
        let Some(old) = self.get(kind, &target.namespace, &target.name).map(Arc::clone) else {
            return self.apply_new(cx, desired, &wanted, who, ignored);
        };
        let mut managed = Arc::clone(&old.meta.managed);
        if managed.is_empty() {
            // What was there before anybody's fields were tracked belongs to a manager of this name.
            let before = Manager { name: "before-first-apply", ..who };
            let empty = self.empty(kind);
            let changes = ivory_core::ssa::compare_objects(self.schema(kind), &empty, &old);
            managed = update_by(changes, &[], before, ignored, cx.now).into();
        }
        let live = view(&old);
        let applied =
            apply(self.schema(kind), &live, &managed, &wanted, who, force, ignored, Some(cx.now))
                .map_err(|conflicts| conflict_status(&conflicts))?;
        // Whoever means another object and takes a field is told of the field, as by a real server.
        self.check_preconditions(&old, desired)?;
        let new = with_view(&old, applied.view);
        self.finish(cx, &old, new, subresource, Some(applied.managed))
    }

    fn apply_new(
        &mut self,
        cx: &mut Cx<'_>,
        desired: &Object,
        wanted: &Value,
        who: Manager<'_>,
        ignored: &FieldSet,
    ) -> Response {
        let kind = desired.kind;
        if !who.subresource.is_empty() {
            return Err(Status::not_found(kind, &desired.meta.name));
        }
        if !desired.meta.uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                desired.meta.uid
            );
            return Err(Status::conflict(kind, &desired.meta.name, &why));
        }
        let empty = self.empty(kind);
        let applied =
            apply(self.schema(kind), &view(&empty), &[], wanted, who, true, ignored, Some(cx.now))
                .map_err(|conflicts| conflict_status(&conflicts))?;
        let mut new = with_view(&empty, applied.view);
        new.meta.name = Arc::clone(&desired.meta.name);
        new.meta.namespace = Arc::clone(&desired.meta.namespace);
        self.decode(cx, &mut new, None)?;
        self.create_decoded(cx, new, Some(applied.managed))
    }
}

/// What a patch that changes nothing but the body says of metadata, to name the object that it means: its UID and
/// its version. None if it is another patch.
fn of_body(patch: &Value) -> Option<(Option<&str>, Option<u64>)> {
    let (mut uid, mut version) = (None, None);
    for (key, value) in patch.as_object()? {
        match &**key {
            "metadata" => {
                for (key, value) in value.as_object()? {
                    match &**key {
                        "uid" => uid = Some(value.as_str()?),
                        "resourceVersion" => version = Some(value.as_str()?.parse().ok()?),
                        _ => return None,
                    }
                }
            }
            "apiVersion" | "kind" => return None,
            key if key.starts_with('$') => return None,
            _ => {}
        }
    }
    Some((uid, version))
}

/// An object with another body, and the metadata that [`of_body`] found.
fn with_body(old: &Object, (uid, version): (Option<&str>, Option<u64>), body: Value) -> Object {
    let mut new = old.clone();
    if let Value::Object(mut body) = body {
        body.remove("metadata");
        new.body = Arc::new(body);
    }
    if let Some(uid) = uid {
        new.meta.uid = uid.into();
    }
    new.meta.resource_version = version.unwrap_or(old.meta.resource_version);
    new
}

/// Whether a patch changes nothing but annotations and labels: the leader's lease, mostly.
fn strings_only(patch: &Value, target: &ObjectRef) -> bool {
    let only = |value: &Value, keys: &[&str]| {
        value.as_object().is_some_and(|m| m.keys().all(|k| keys.contains(&&**k)))
    };
    only(patch, &["metadata"])
        && patch.get("metadata").is_some_and(|meta| {
            only(meta, &["annotations", "labels", "name", "resourceVersion"])
                && meta.get("name").is_none_or(|name| name.as_str() == Some(&*target.name))
                && ["annotations", "labels"].iter().all(|k| {
                    meta.get(k).is_none_or(|map| {
                        map.as_object().is_some_and(|m| {
                            m.iter()
                                .all(|(k, v)| !k.starts_with('$') && (v.is_string() || v.is_null()))
                        })
                    })
                })
                && meta
                    .get("resourceVersion")
                    .is_none_or(|v| v.as_str().is_some_and(|v| v.parse::<u64>().is_ok()))
        })
}

fn patch_strings(old: &Object, patch: &Value) -> Object {
    let mut new = old.clone();
    let meta = &patch["metadata"];
    let change = |slot: &mut Arc<StringMap>, change: Option<&Value>| {
        let Some(change) = change.and_then(Value::as_object) else {
            return;
        };
        let differs = change.iter().any(|(k, v)| slot.get(k).map(String::as_str) != v.as_str());
        if !differs {
            return;
        }
        let map = Arc::make_mut(slot);
        for (key, value) in change {
            match value.as_str() {
                Some(value) => {
                    map.insert(key.clone(), value.to_owned());
                }
                None => {
                    map.remove(key);
                }
            }
        }
    };
    change(&mut new.meta.annotations, meta.get("annotations"));
    change(&mut new.meta.labels, meta.get("labels"));
    new.meta.resource_version = meta
        .get("resourceVersion")
        .and_then(Value::as_str)
        .and_then(|v| v.parse().ok())
        .unwrap_or(old.meta.resource_version);
    new
}

fn json(old: &Object, patch: &Value) -> Result<Object, Status> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    let mut value = old.to_value();
    json_patch::patch(&mut value, &operations).map_err(|_| {
        let message = "the server rejected our request due to an error in our request";
        Status::new(422, "Invalid", message)
    })?;
    read(value, old, None)
}

/// The wire form of an object that a patch is merged into. Managed fields are most of it, and hardly a patch
/// speaks of them: then they are left out, and returned to be put back by [`read`], shared with the old version.
fn wire(old: &Object, patch: &Value) -> (Value, Option<Arc<Vec<Managed>>>) {
    let spoken_of =
        patch.get("metadata").is_some_and(|meta| {
            // A directive of a strategic patch may replace the map as a whole.
            let whole = |key: &String| key == "managedFields" || key.starts_with('$');
            meta.as_object().is_none_or(|meta| meta.keys().any(whole))
        }) || patch.as_object().is_none_or(|all| all.keys().any(|k| k.starts_with('$')));
    if spoken_of {
        return (old.to_value(), None);
    }
    let mut bare = old.clone();
    let managed = std::mem::take(&mut bare.meta.managed);
    (bare.to_value(), Some(managed))
}

/// Reads a patched object.
fn read(value: Value, old: &Object, managed: Option<Arc<Vec<Managed>>>) -> Result<Object, Status> {
    let mut new = Object::from_value(value).map_err(|e| Status::bad_request(e.to_string()))?;
    if let Some(managed) = managed {
        new.meta.managed = managed;
    }
    if new.kind != old.kind || new.meta.name != old.meta.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            new.meta.name, old.meta.name
        )));
    }
    Ok(new)
}

fn untyped(desired: &Object, wrong: &[String]) -> Status {
    let kind = desired.kind;
    let version = match kind.group() {
        "" => format!("/{}", kind.version()),
        group => format!("{group}/{}", kind.version()),
    };
    let errors = match wrong {
        [one] => format!(" {one}"),
        many => format!(" errors:\n  {}", many.join("\n  ")),
    };
    let message = format!(
        "failed to create typed patch object ({}/{}; {version}, Kind={kind}):{errors}",
        desired.meta.namespace, desired.meta.name
    );
    Status::new(500, "", message)
}

fn conflict_status(conflicts: &[Conflict]) -> Status {
    let message = match conflicts {
        [one] => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field)
        }
        many => {
            let mut sorted: Vec<_> = many.iter().collect();
            sorted.sort_by(|a, b| a.manager.cmp(&b.manager));
            let mut lines = Vec::new();
            for (at, conflict) in sorted.iter().enumerate() {
                if at == 0 || sorted[at - 1].manager != conflict.manager {
                    lines.push(format!("conflicts with {}:", conflict.manager));
                }
                lines.push(format!("- {}", conflict.field));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let mut status = Status::new(409, "Conflict", message);
    status.causes = conflicts
        .iter()
        .map(|c| Cause {
            field: c.field.clone(),
            reason: "FieldManagerConflict",
            message: format!("conflict with {}", c.manager),
        })
        .collect();
    status
}
