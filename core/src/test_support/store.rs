//! The store: it puts, applies, patches and deletes as the API server does, and refuses what that refuses.
//! Validation and defaults it has none, but the few that core depends on.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Refused, World, ghosts};
use crate::Kind;
use crate::names::FIELD_MANAGER;
use crate::object::{Meta, Object};
use crate::plan::Op;
use crate::ssa::{self, Manager, Schema};

impl World {
    /// Stores an object as it is: a new one gets UID and time, every one a version.
    pub fn put(&mut self, mut object: Object) -> Arc<Object> {
        self.version += 1;
        object.meta.resource_version = self.version;
        if object.meta.uid.is_empty() {
            self.uids += 1;
            object.meta.uid = format!("uid-{}", self.uids).into();
            object.meta.created_at = Some(self.now);
        }
        let object = Arc::new(object);
        self.objects.insert((object.kind, object.meta.name.to_string()), object.clone());
        object
    }

    /// An object, if it is there.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// An object that must be there.
    pub fn the(&self, kind: Kind, name: &str) -> &Arc<Object> {
        self.get(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The objects of a kind.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.objects.values().filter(|o| o.kind == kind).cloned().collect()
    }

    /// Changes an object's wire form.
    pub fn change(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let old = self.the(kind, name).clone();
        let mut value = old.to_value();
        change(&mut value);
        let mut new = Object::from_value(value).expect("an object");
        if new.at(&["spec"]) != old.at(&["spec"]) {
            new.meta.generation += 1;
        }
        self.put(new);
    }

    /// Asks for an object's deletion.
    pub fn delete(&mut self, kind: Kind, name: &str) {
        let mut object = (**self.the(kind, name)).clone();
        let held = match kind {
            Kind::Pod | Kind::PersistentVolumeClaim => true,
            _ => !object.meta.finalizers.is_empty(),
        };
        if held {
            object.meta.deleted_at = object.meta.deleted_at.or(Some(self.now));
            self.put(object);
        } else {
            self.remove(kind, name);
        }
    }

    /// An object goes at once, and what it owned goes with it.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        let Some(gone) = self.objects.remove(&(kind, name.to_owned())) else { return };
        let owned: Vec<_> =
            self.objects.values().filter(|o| o.controlled_by(&gone.meta.uid)).cloned().collect();
        for object in owned {
            self.delete(object.kind, &object.meta.name);
        }
    }

    /// Carries out one write.
    pub fn write(&mut self, op: &Op) -> Result<(), Refused> {
        match op {
            Op::Apply { object } => self.apply(object),
            Op::Create { object } => {
                if self.get(object.kind, &object.meta.name).is_some() {
                    return Err(Refused(format!(
                        "409: {} {} exists",
                        object.kind, object.meta.name
                    )));
                }
                self.put((**object).clone());
                Ok(())
            }
            Op::Delete { kind, name, uid, resource_version, .. } => {
                let Some(live) = self.get(*kind, name) else { return Ok(()) };
                let stale = resource_version.is_some_and(|v| v != live.meta.resource_version);
                if live.meta.uid != *uid || stale {
                    return Err(Refused(format!("409: {kind} {name} is another one")));
                }
                self.delete(*kind, name);
                Ok(())
            }
            Op::MergePatch { kind, name, patch, .. } | Op::Status { kind, name, patch, .. } => {
                self.merge_patch(*kind, name, patch)
            }
            Op::Event { object } => {
                if self.get(object.kind, &object.meta.name).is_none() {
                    self.put((**object).clone());
                }
                Ok(())
            }
            Op::Exec { target, command, .. } => {
                let alive =
                    self.get(Kind::Pod, &target.pod).is_some_and(|p| p.meta.uid == target.uid);
                let label = command.label();
                if !alive || self.failing.iter().any(|f| label.contains(f)) {
                    return Err(Refused(format!("{label} failed in {}", target.pod)));
                }
                self.commands.push((target.pod.clone(), command.clone()));
                ghosts::run(self, command);
                Ok(())
            }
        }
    }

    fn apply(&mut self, desired: &Object) -> Result<(), Refused> {
        let live = self.get(desired.kind, &desired.meta.name).cloned();
        let name = format!("{} {}", desired.kind, desired.meta.name);
        let meta = &desired.meta;
        match &live {
            Some(live) => {
                if !meta.uid.is_empty() && meta.uid != live.meta.uid {
                    return Err(Refused(format!("409: {name} is another one")));
                }
                if meta.resource_version != 0 && meta.resource_version != live.meta.resource_version
                {
                    return Err(Refused(format!("409: {name} was modified")));
                }
            }
            None if !meta.uid.is_empty() => return Err(Refused(format!("409: {name} is gone"))),
            None => {}
        }
        let base = live.as_deref().cloned().unwrap_or_else(|| Object {
            kind: desired.kind,
            meta: Meta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                ..Meta::default()
            },
            body: Arc::default(),
        });
        let schema = Schema::builtin(desired.kind).expect("only built-in kinds are applied");
        let who = Manager {
            name: FIELD_MANAGER,
            subresource: "",
            api_version: desired.kind.api_version(),
        };
        let ignored = ssa::FieldSet::of(&["status"]);
        let now = Some(self.now);
        let (found, wanted) = (ssa::view(&base), ssa::view(desired));
        let applied =
            ssa::apply(schema, &found, &base.meta.managed, &wanted, who, true, &ignored, now);
        let applied = applied.map_err(|_| Refused("a conflict in spite of force".into()))?;
        let view = ssa::normalise(schema, applied.view, &mut ssa::Findings::default());
        let mut new = ssa::with_view(&base, view);
        new.meta.managed = applied.managed.into();
        let controllers = new.meta.owners.iter().filter(|o| o.controller == Some(true)).count();
        if controllers > 1 {
            return Err(Refused(format!("422: {name} would have {controllers} controllers")));
        }
        ghosts::default_fields(self, &mut new);
        if live.as_deref() == Some(&new) {
            return Ok(());
        }
        immutable(live.as_deref(), &new)?;
        if live.is_none() || new.at(&["spec"]) != base.at(&["spec"]) {
            new.meta.generation += 1;
        }
        self.put(new);
        Ok(())
    }

    fn merge_patch(&mut self, kind: Kind, name: &str, patch: &Value) -> Result<(), Refused> {
        let Some(live) = self.get(kind, name).cloned() else {
            return Err(Refused(format!("404: {kind} {name}")));
        };
        let mut value = live.to_value();
        let stated = |key: &str| patch.pointer(&format!("/metadata/{key}")).cloned();
        for key in ["uid", "resourceVersion"] {
            if stated(key).is_some_and(|s| s != value["metadata"][key]) {
                return Err(Refused(format!("409: {kind} {name} was modified")));
            }
        }
        merge(&mut value, patch);
        let mut new = Object::from_value(value).map_err(|e| Refused(e.to_string()))?;
        if new == *live {
            return Ok(());
        }
        if new.at(&["spec"]) != live.at(&["spec"]) {
            new.meta.generation += 1;
        }
        let gone =
            new.terminating() && new.meta.finalizers.is_empty() && kind == Kind::IvoryCluster;
        self.put(new);
        if gone {
            self.remove(kind, name);
        }
        Ok(())
    }
}

/// What the API server refuses to change: a claim's spec but for its growing request.
fn immutable(live: Option<&Object>, new: &Object) -> Result<(), Refused> {
    let Some(live) = live.filter(|l| l.kind == Kind::PersistentVolumeClaim) else { return Ok(()) };
    let but_size = |o: &Object| {
        let mut spec = o.at(&["spec"]).cloned().unwrap_or_default();
        if let Some(size) = spec.pointer_mut("/resources/requests/storage") {
            *size = Value::Null;
        }
        spec
    };
    let size = |o: &Object| -> Option<crate::quantity::Quantity> {
        o.str_at(&["spec", "resources", "requests", "storage"])?.parse().ok()
    };
    if but_size(live) != but_size(new) || size(new) < size(live) {
        return Err(Refused(format!("422: PersistentVolumeClaim {} is immutable", live.meta.name)));
    }
    Ok(())
}

/// JSON merge patch.
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let map = value.as_object_mut().expect("a map");
    for (key, change) in patch {
        if change.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}
