//! The requests that nodes and the scheduler make, in one place.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::kube::{Answer, Patch, Request, Response, Subresource, Verb};

/// A request by a user agent; its part before the `/` is the field manager.
pub fn request(agent: &str, verb: Verb) -> Request {
    Request {
        user: agent.into(),
        verb,
    }
}

/// A new object.
pub fn create(object: Object) -> Verb {
    Verb::Create { object }
}

/// An object replaced as a whole.
pub fn update(object: Object) -> Verb {
    Verb::Update {
        object,
        subresource: Subresource::None,
    }
}

/// One object.
pub fn get(kind: Kind, namespace: &str, name: &str) -> Verb {
    Verb::Get {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// A strategic merge patch of an object's status.
pub fn patch_status(object: &Object, patch: Value) -> Verb {
    patch_of(
        object.kind,
        &object.meta.namespace,
        &object.meta.name,
        Subresource::Status,
        Patch::Strategic(patch),
    )
}

/// A JSON merge patch of an object.
pub fn merge(kind: Kind, namespace: &str, name: &str, patch: Value) -> Verb {
    patch_of(
        kind,
        namespace,
        name,
        Subresource::None,
        Patch::Merge(patch),
    )
}

fn patch_of(
    kind: Kind,
    namespace: &str,
    name: &str,
    subresource: Subresource,
    patch: Patch,
) -> Verb {
    Verb::Patch {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        subresource,
        patch,
        manager: "".into(),
        force: false,
    }
}

/// The end of this life of an object, at once.
pub fn delete_now(object: &Object) -> Verb {
    Verb::Delete {
        kind: object.kind,
        namespace: object.meta.namespace.clone(),
        name: object.meta.name.clone(),
        uid: Some(object.meta.uid.clone()),
        resource_version: None,
        propagation: None,
        grace_s: Some(0),
    }
}

/// A Pod deleted, if its disruption budgets allow it.
pub fn evict(pod: &Object) -> Verb {
    Verb::Evict {
        namespace: pod.meta.namespace.clone(),
        name: pod.meta.name.clone(),
    }
}

/// A Pod assigned to a node.
pub fn bind(pod: &Object, node: &Arc<str>) -> Verb {
    Verb::Bind {
        namespace: pod.meta.namespace.clone(),
        name: pod.meta.name.clone(),
        node: node.clone(),
    }
}

/// The object that came back, if one did.
pub fn object_of(response: &Response) -> Option<Arc<Object>> {
    match response {
        Ok(Answer::Object(object)) => Some(object.clone()),
        _ => None,
    }
}
