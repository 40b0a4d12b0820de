//! ControllerRevisions: the templates that a StatefulSet has had. Collisions of hashes are left out
//! (equal names mean equal templates here), so `collisionCount` stays 0.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef};
use serde_json::{Value, json};

use crate::controllers::framework::{Caches, Sync};
use crate::controllers::support::selector::selects;
use crate::controllers::support::workload::{adopt, revision_hash, selector_of};

/// The label that holds the hash.
const HASH: &str = "controller.kubernetes.io/hash";

/// What a revision's template has besides what the set's has: patched with it, a set takes it whole.
const REPLACE: (&str, &str) = ("$patch", "replace");

/// A revision: its name and its Pod template, in the set or in the revision.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Revision<'a> {
    pub(super) name: Arc<str>,
    pub(super) template: &'a Value,
}

/// Which revisions a set is at, and all that exist, oldest first.
pub(super) struct Revisions<'a> {
    /// What it was at when the last rollout ended.
    pub(super) current: Revision<'a>,
    /// What its template says now.
    pub(super) update: Revision<'a>,
    existing: Vec<&'a Arc<Object>>,
}

impl<'a> Revisions<'a> {
    /// Finds them, and records the set's template as the newest revision where it isn't.
    pub(super) fn of(set: &'a Object, caches: &'a Caches, sync: &mut Sync) -> Self {
        let mut existing = of_set(set, caches, sync);
        existing.sort_by_key(|r| number(r));
        let template = set.at(&["spec", "template"]).unwrap_or(&Value::Null);
        let next = existing.last().map_or(0, |r| number(r)) + 1;
        let update = match existing.iter().rposition(|r| holds(r, template)) {
            Some(last) if last + 1 == existing.len() => existing[last].meta.name.clone(),
            Some(earlier) => {
                let mut back = (**existing[earlier]).clone();
                back.body_mut().insert("revision".into(), next.into());
                let name = back.meta.name.clone();
                sync.update(back);
                name
            }
            None => {
                let new = revision(set, next, template);
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
        let live = |r: &&&Arc<Object>| {
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

/// The revisions of a set: its own, and those that nobody controls and that it selects, which it takes
/// (`adoptOrphanRevisions`): who deletes a set and lets its Pods be lets its revisions be as well.
fn of_set<'a>(set: &Object, caches: &'a Caches, sync: &mut Sync) -> Vec<&'a Arc<Object>> {
    let selector = selector_of(set);
    let informer = caches.informer(Kind::ControllerRevision);
    let all = informer.into_iter().flat_map(|i| i.in_namespace(&set.meta.namespace));
    let mut found = Vec::new();
    for revision in all {
        match revision.controller() {
            Some(by) if by.uid == set.meta.uid => found.push(revision),
            None if selector.is_some_and(|s| selects(s, &revision.meta.labels)) => {
                if !set.terminating() && !revision.terminating() {
                    adopt(set, revision, sync, None);
                }
                found.push(revision);
            }
            _ => {}
        }
    }
    found
}

fn number(revision: &Object) -> i64 {
    revision.i64_at(&["revision"]).unwrap_or(0)
}

fn data_of(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.insert(REPLACE.0.into(), REPLACE.1.into());
    }
    json!({"spec": {"template": template}})
}

/// Whether a revision's data is that of a template, found out without making it.
fn holds(revision: &Object, template: &Value) -> bool {
    let only = |value: &'_ Value, key: &str| {
        value.as_object().is_some_and(|m| m.len() == 1 && m.contains_key(key))
    };
    let data = revision.body.get("data");
    if !data.is_some_and(|data| only(data, "spec") && only(&data["spec"], "template")) {
        return false;
    }
    let kept = template_in(revision);
    let (Some(mine), Some(asked)) = (kept.as_object(), template.as_object()) else {
        return kept == template;
    };
    let (key, value) = REPLACE;
    let mut rest = mine.iter().filter(|(k, _)| *k != key);
    mine.get(key).and_then(Value::as_str) == Some(value)
        && asked.iter().filter(|(k, _)| *k != key).eq(rest.by_ref())
}

/// The template in a revision, with what stands in it for [`REPLACE`].
fn template_in(revision: &Object) -> &Value {
    revision.at(&["data", "spec", "template"]).unwrap_or(&Value::Null)
}

fn revision(set: &Object, number: i64, template: &Value) -> Object {
    let data = data_of(template);
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
