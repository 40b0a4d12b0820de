//! What workload controllers share: pods from templates, whose pods are whose, and revision hashes.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::hash::{ALPHABET, digest};
use ivory_core::object::{Object, OwnerRef, StringMap};
use serde_json::Value;

use crate::controllers::framework::{Caches, Key, Keys, Seen, Step, Sync, object_in};
use crate::controllers::support::pods;
use crate::controllers::support::selector::selects;
use crate::kube::Subresource;

/// A hash of a template, in the symbols of Kubernetes' random names. Equal templates have equal hashes; it is
/// not the number that a real cluster would draw from the same template.
#[must_use]
pub fn revision_hash(template: &Value) -> String {
    let mut number = digest(template);
    let mut text = String::with_capacity(10);
    for _ in 0..10 {
        text.push(char::from(ALPHABET[(number % 27) as usize]));
        number /= 27;
    }
    text
}

/// `spec.selector` of a workload, unless it is empty.
#[must_use]
pub fn selector_of(owner: &Object) -> Option<&Value> {
    let selector = owner.at(&["spec", "selector"])?;
    let empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
    (!empty).then_some(selector)
}

/// The Pod that a template makes for an owner. It has no name yet.
#[must_use]
pub fn pod_of(template: &Value, owner: &Object) -> Object {
    let mut pod = Object::new(Kind::Pod, &owner.meta.namespace, "");
    let map = |key: &str| -> StringMap {
        let found = template.get("metadata").and_then(|m| m.get(key)?.as_object());
        let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
        found.into_iter().flatten().filter_map(text).collect()
    };
    pod.meta.labels = Arc::new(map("labels"));
    pod.meta.annotations = Arc::new(map("annotations"));
    pod.meta.owners = Arc::new(vec![OwnerRef::controller_of(owner)]);
    let finalizers = template.get("metadata").and_then(|m| m.get("finalizers")?.as_array());
    let texts = finalizers.into_iter().flatten().filter_map(Value::as_str);
    pod.meta.finalizers = Arc::new(texts.map(str::to_owned).collect());
    if let Some(spec) = template.get("spec") {
        pod.body_mut().insert("spec".into(), spec.clone());
    }
    pod
}

/// Which owners of a kind a change of a Pod (or of another controlled object) concerns: the controllers that
/// it had and has, and for one that lost or lacks a controller those whose selector matches.
pub fn owners_of(seen: Seen<'_>, kind: Kind, caches: &Caches, keys: &mut Keys) {
    keys.extend(seen.both().filter_map(|o| Key::controller(o, kind)));
    let Some(new) = seen.new.filter(|o| o.controller().is_none()) else {
        return;
    };
    for owner in caches.list(kind, &new.meta.namespace) {
        if selector_of(owner).is_some_and(|s| selects(s, &new.meta.labels)) {
            keys.push(Key::of(owner));
        }
    }
}

/// The Pods of an owner. Pods that it controls and no longer selects are let go; Pods that nobody controls, and
/// that it selects, are taken, after a look at the API server whether the owner really lives (a cache may be
/// old, and the orphan's new owner would be collected at once). `finalizer` is what it puts on its Pods.
#[must_use]
pub fn claim(
    owner: &Object,
    caches: &Caches,
    sync: &mut Sync,
    may_adopt: impl Fn(&Object) -> bool,
    finalizer: Option<&str>,
) -> Vec<Arc<Object>> {
    let Some(selector) = selector_of(owner) else {
        return Vec::new();
    };
    let mut mine = Vec::new();
    for pod in caches.list(Kind::Pod, &owner.meta.namespace) {
        let selected = selects(selector, &pod.meta.labels);
        match pod.controller() {
            Some(by) if by.uid != owner.meta.uid => {}
            Some(_) if selected => mine.push(pod.clone()),
            Some(_) if owner.terminating() => {}
            Some(_) => release(owner, pod, sync),
            None if !selected || owner.terminating() || pod.terminating() || !may_adopt(pod) => {}
            None if pods::finished(pod) && finalizer.is_none() => {}
            None => adopt(owner, pod, sync, finalizer),
        }
    }
    mine
}

fn release(owner: &Object, pod: &Object, sync: &mut Sync) {
    let mut pod = pod.clone();
    let others = pod.meta.owners.iter().filter(|o| o.uid != owner.meta.uid);
    pod.meta.owners = Arc::new(others.cloned().collect());
    sync.update(pod);
}

/// Becomes the controller of an object that has none, if the owner lives.
pub fn adopt(owner: &Object, pod: &Object, sync: &mut Sync, finalizer: Option<&str>) {
    let mut pod = pod.clone();
    Arc::make_mut(&mut pod.meta.owners).push(OwnerRef::controller_of(owner));
    if let Some(finalizer) = finalizer {
        Arc::make_mut(&mut pod.meta.finalizers).push(finalizer.to_owned());
    }
    let uid = owner.meta.uid.clone();
    let update = sync.update_request(pod, Subresource::None);
    let get = sync.get_request(owner.kind, &owner.meta.namespace, &owner.meta.name);
    sync.ask(get, move |response| {
        let lives = object_in(response).is_some_and(|o| o.meta.uid == uid && !o.terminating());
        vec![if lives { Step::Request(update.clone()) } else { Step::Fail }]
    });
}
