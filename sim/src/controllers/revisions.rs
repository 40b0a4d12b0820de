//! ControllerRevisions: the templates that a StatefulSet has had. Collisions of hashes are left out
//! (equal names mean equal templates here), so `collisionCount` stays 0.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef};
use serde_json::{Value, json};

use crate::controllers::framework::{Caches, Sync};
use crate::controllers::support::workload::revision_hash;

/// The label that holds the hash.
const HASH: &str = "controller.kubernetes.io/hash";

/// A revision: its name and its Pod template.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Revision {
    pub(super) name: Arc<str>,
    pub(super) template: Value,
}

/// Which revisions a set is at, and all that exist, oldest first.
pub(super) struct Revisions {
    /// What it was at when the last rollout ended.
    pub(super) current: Revision,
    /// What its template says now.
    pub(super) update: Revision,
    existing: Vec<Arc<Object>>,
}

impl Revisions {
    /// Finds them, and records the set's template as the newest revision where it isn't.
    pub(super) fn of(set: &Object, caches: &Caches, sync: &mut Sync) -> Self {
        let mut existing: Vec<_> =
            caches.controlled(Kind::ControllerRevision, set).cloned().collect();
        existing.sort_by_key(|r| number(r));
        let template = set.at(&["spec", "template"]).cloned().unwrap_or_default();
        let data = data_of(&template);
        let next = existing.last().map_or(0, |r| number(r)) + 1;
        let update = match existing.iter().rposition(|r| r.body.get("data") == Some(&data)) {
            Some(last) if last + 1 == existing.len() => existing[last].meta.name.clone(),
            Some(earlier) => {
                let mut back = (*existing[earlier]).clone();
                back.body_mut().insert("revision".into(), next.into());
                let name = back.meta.name.clone();
                sync.update(back);
                name
            }
            None => {
                let new = revision(set, data, next, &template);
                let name = new.meta.name.clone();
                // Those of a set that goes are collected, and not made again.
                if !set.terminating() {
                    sync.create(new);
                }
                name
            }
        };
        let update = Revision { name: update, template };
        let was = set.str_at(&["status", "currentRevision"]);
        let current = existing.iter().find(|r| Some(&*r.meta.name) == was);
        let current = current.map_or_else(
            || update.clone(),
            |r| Revision { name: r.meta.name.clone(), template: template_in(r) },
        );
        Self { current, update, existing }
    }

    /// Deletes the oldest revisions that nothing uses, beyond `spec.revisionHistoryLimit`.
    pub(super) fn truncate(&self, set: &Object, pods: &[Arc<Object>], sync: &mut Sync) {
        let limit = set.i64_at(&["spec", "revisionHistoryLimit"]).unwrap_or(10).max(0);
        let live = |r: &&Arc<Object>| {
            let name = &r.meta.name;
            *name == self.current.name
                || *name == self.update.name
                || pods.iter().any(|p| p.label("controller-revision-hash") == Some(&**name))
        };
        let dead: Vec<_> = self.existing.iter().filter(|r| !live(r)).collect();
        let surplus = dead.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        dead.into_iter().take(surplus).for_each(|r| sync.delete(r));
    }
}

fn number(revision: &Object) -> i64 {
    revision.i64_at(&["revision"]).unwrap_or(0)
}

fn data_of(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

fn template_in(revision: &Object) -> Value {
    let found = revision.at(&["data", "spec", "template"]);
    let mut template = found.cloned().unwrap_or_default();
    if let Some(map) = template.as_object_mut() {
        map.remove("$patch");
    }
    template
}

fn revision(set: &Object, data: Value, number: i64, template: &Value) -> Object {
    let hash = revision_hash(template);
    let name = format!("{}-{hash}", set.meta.name);
    let mut new = Object::new(Kind::ControllerRevision, &set.meta.namespace, &name);
    let labels = template.get("metadata").and_then(|m| m.get("labels")?.as_object());
    let labels = labels.into_iter().flatten();
    let mut labels: ivory_core::object::StringMap =
        labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
    labels.insert(HASH.into(), hash);
    new.meta.labels = Arc::new(labels);
    new.meta.owners = Arc::new(vec![OwnerRef::controller_of(set)]);
    new.body_mut().insert("data".into(), data);
    new.body_mut().insert("revision".into(), number.into());
    new
}
