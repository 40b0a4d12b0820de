//! The requests that nodes and the scheduler make, in one place.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::kube::{Body, DeleteOptions, ObjectRef, Reply, Request, Response, Subresource, Verb};

/// A request by a user agent; its part before the `/` is the field manager.
pub fn request(agent: &str, verb: Verb) -> Request {
    Request::new(agent, verb)
}

/// A new object.
pub fn create(object: Object) -> Verb {
    Verb::Create(Arc::new(object))
}

/// An object replaced as a whole.
pub fn update(object: Object) -> Verb {
    Verb::Update { object: Arc::new(object), subresource: Subresource::None }
}

/// One object.
pub fn get(kind: Kind, namespace: &str, name: &str) -> Verb {
    Verb::Get(ObjectRef::new(kind, namespace, name))
}

/// A strategic merge patch of an object's status.
pub fn patch_status(object: &Object, patch: Value) -> Verb {
    Verb::Patch {
        target: ObjectRef::of(object),
        subresource: Subresource::Status,
        body: Body::Strategic(Arc::new(patch)),
    }
}

/// A JSON merge patch of an object.
pub fn merge(kind: Kind, namespace: &str, name: &str, patch: Value) -> Verb {
    Verb::Patch {
        target: ObjectRef::new(kind, namespace, name),
        subresource: Subresource::None,
        body: Body::Merge(Arc::new(patch)),
    }
}

/// The end of this life of an object, at once.
pub fn delete_now(object: &Object) -> Verb {
    Verb::Delete {
        target: ObjectRef::of(object),
        options: DeleteOptions {
            uid: Some(object.meta.uid.clone()),
            grace_s: Some(0),
            ..DeleteOptions::default()
        },
    }
}

/// A Pod deleted, if its disruption budgets allow it.
pub fn evict(pod: &Object) -> Verb {
    Verb::Evict { target: ObjectRef::of(pod), options: DeleteOptions::default() }
}

/// A Pod assigned to a node.
pub fn bind(pod: &Object, node: &Arc<str>) -> Verb {
    Verb::Bind { target: ObjectRef::of(pod), node: node.clone() }
}

/// The object that came back, if one did.
pub fn object_of(response: &Response) -> Option<Arc<Object>> {
    response.clone().ok().and_then(Reply::into_object)
}
