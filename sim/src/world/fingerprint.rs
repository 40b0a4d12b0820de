//! The canonical fingerprint of a world's state, modulo what differs between two runs to the same end:
//! UIDs, resourceVersions, times, and generated secrets. All checkers share this one normaliser.

use std::hash::{Hash, Hasher};

use ivory_core::hash::Digest;
use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::world::World;

/// Keys whose values are times, versions or identities, wherever they stand.
const VOLATILE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "lastTransitionTime",
    "lastProbeTime",
    "startTime",
    "startedAt",
    "finishedAt",
    "completionTime",
    "time",
    "lastTimestamp",
    "firstTimestamp",
    "eventTime",
    "containerID",
    "lastScheduleTime",
    "lastSuccessfulTime",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "renewTime",
    "acquireTime",
];

impl World {
    /// The fingerprint: equal for worlds that have the same objects, disks and actors' states.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Digest::default();
        for id in self.kube_ids() {
            let kube = self.kube(id);
            for &kind in Kind::ALL {
                if kind == Kind::Event {
                    continue;
                }
                for object in kube.api.list(kind, None) {
                    hash_object(object, &mut hash);
                }
            }
            for (name, volume) in kube.volumes() {
                name.hash(&mut hash);
                volume.fingerprint(&mut hash);
            }
        }
        for (_, kube, actor) in self.actors() {
            (kube, actor.name()).hash(&mut hash);
            actor.fingerprint(&mut hash);
        }
        hash.finish()
    }
}

/// Feeds an object in its normal form.
pub fn hash_object(object: &Object, hash: &mut Digest) {
    (object.kind, &*object.meta.namespace, &*object.meta.name).hash(hash);
    (object.terminating(), &*object.meta.labels, &*object.meta.finalizers).hash(hash);
    for (key, value) in object.meta.annotations.iter() {
        if !VOLATILE.contains(&key.as_str()) {
            (key, value).hash(hash);
        }
    }
    for owner in object.meta.owners.iter() {
        (&owner.kind, &owner.name).hash(hash);
    }
    for (key, value) in object.body.iter() {
        if object.kind == Kind::Secret && key == "data" {
            // Which keys there are is state; what was drawn for them is not.
            if let Value::Object(map) = value {
                map.keys().for_each(|k| k.hash(hash));
            }
            continue;
        }
        key.hash(hash);
        hash_value(value, hash);
    }
}

fn hash_value(value: &Value, hash: &mut Digest) {
    match value {
        Value::Null => 0u8.hash(hash),
        Value::Bool(b) => b.hash(hash),
        Value::Number(n) => n.hash(hash),
        Value::String(s) => s.hash(hash),
        Value::Array(items) => {
            items.len().hash(hash);
            items.iter().for_each(|v| hash_value(v, hash));
        }
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(k, _)| !VOLATILE.contains(&k.as_str())) {
                key.hash(hash);
                hash_value(value, hash);
            }
        }
    }
}
