//! Stand-in for the API server's model, until the real one lands.
use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, Uid};
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use jiff::Timestamp;
use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// User agent and default manager.
    pub user: Arc<str>,
    /// What.
    pub verb: Verb,
}
/// What is asked.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Verb {
    Get {
        kind: Kind,
        namespace: Arc<str>,
        name: Arc<str>,
    },
    List {
        kind: Kind,
        namespace: Option<Arc<str>>,
        selector: Selector,
    },
    Create {
        object: Object,
    },
    Update {
        object: Object,
        subresource: Subresource,
    },
    Patch {
        kind: Kind,
        namespace: Arc<str>,
        name: Arc<str>,
        subresource: Subresource,
        patch: Patch,
        manager: Arc<str>,
        force: bool,
    },
    Delete {
        kind: Kind,
        namespace: Arc<str>,
        name: Arc<str>,
        uid: Option<Uid>,
        resource_version: Option<u64>,
        propagation: Option<Propagation>,
        grace_s: Option<i64>,
    },
    Evict {
        namespace: Arc<str>,
        name: Arc<str>,
    },
    Bind {
        namespace: Arc<str>,
        name: Arc<str>,
        node: Arc<str>,
    },
}
/// Which part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Subresource {
    None,
    Status,
    Scale,
}
/// A patch.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Patch {
    Apply(Value),
    Merge(Value),
    Strategic(Value),
    Json(Value),
}
/// The answer.
pub type Response = Result<Answer, Status>;
/// A good answer.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Answer {
    Object(Arc<Object>),
    List {
        items: Vec<Arc<Object>>,
        resource_version: u64,
    },
    Done,
}
/// An error.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}
impl Status {
    /// 504.
    #[must_use]
    pub fn timeout(message: &str) -> Self {
        Self {
            code: 504,
            reason: "Timeout",
            message: message.into(),
        }
    }
    /// 404.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: format!("{} {name:?} not found", kind.plural()),
        }
    }
    /// 500.
    #[must_use]
    pub fn internal(message: &str) -> Self {
        Self {
            code: 500,
            reason: "InternalError",
            message: message.into(),
        }
    }
}
/// How.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}
/// A change.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Change {
    pub rv: u64,
    pub kind: ChangeKind,
    pub object: Arc<Object>,
    pub old: Option<Arc<Object>>,
}
/// The server.
#[derive(Clone, Default)]
pub struct ApiServer {
    rv: u64,
    objects: BTreeMap<(Kind, Arc<str>, Arc<str>), Arc<Object>>,
    log: Vec<Arc<Change>>,
}
impl ApiServer {
    /// Handles a request.
    /// # Errors
    /// As the API does.
    pub fn handle(
        &mut self,
        now: Timestamp,
        uid: &mut dyn FnMut() -> String,
        request: &Request,
    ) -> Response {
        let key = |k: &Kind, ns: &Arc<str>, n: &Arc<str>| (*k, ns.clone(), n.clone());
        match &request.verb {
            Verb::Get { kind, namespace, name } => self
                .objects
                .get(&key(kind, namespace, name))
                .map(|o| Answer::Object(o.clone()))
                .ok_or_else(|| Status::not_found(*kind, name)),
            Verb::Create { object } => {
                let k = key(&object.kind, &object.meta.namespace, &object.meta.name);
                if self.objects.contains_key(&k) {
                    return Err(Status { code: 409, reason: "AlreadyExists", message: "exists".into() });
                }
                let mut object = object.clone();
                object.meta.uid = uid().into();
                object.meta.created_at = Some(now);
                Ok(self.put(k, object, ChangeKind::Added))
            }
            Verb::Patch { kind, namespace, name, patch: Patch::Merge(p) | Patch::Strategic(p), .. } => {
                let k = key(kind, namespace, name);
                let Some(old) = self.objects.get(&k) else {
                    return Err(Status::not_found(*kind, name));
                };
                if let Some(rv) = p.pointer("/metadata/resourceVersion").and_then(Value::as_str)
                    && rv != old.meta.resource_version.to_string()
                {
                    return Err(Status { code: 409, reason: "Conflict", message: "modified".into() });
                }
                let mut value = old.to_value();
                let mut p = p.clone();
                p["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
                json_patch::merge(&mut value, &p);
                let object = Object::from_value(value).map_err(|e| Status::internal(&e.to_string()))?;
                if object == **old {
                    return Ok(Answer::Object(old.clone()));
                }
                Ok(self.put(k, object, ChangeKind::Modified))
            }
            Verb::Delete { kind, namespace, name, .. } => {
                let k = key(kind, namespace, name);
                let Some(old) = self.objects.remove(&k) else {
                    return Err(Status::not_found(*kind, name));
                };
                self.rv += 1;
                self.log.push(Arc::new(Change { rv: self.rv, kind: ChangeKind::Deleted, object: old.clone(), old: Some(old) }));
                Ok(Answer::Done)
            }
            _ => Err(Status::internal("stand-in")),
        }
    }
    fn put(&mut self, k: (Kind, Arc<str>, Arc<str>), mut object: Object, kind: ChangeKind) -> Answer {
        self.rv += 1;
        object.meta.resource_version = self.rv;
        let object = Arc::new(object);
        let old = self.objects.insert(k, object.clone());
        self.log.push(Arc::new(Change { rv: self.rv, kind, object: object.clone(), old }));
        Answer::Object(object)
    }
    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(kind, namespace.into(), name.into()))
    }
    /// All objects of a kind, in order.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Object>> {
        let namespace: Option<Arc<str>> = namespace.map(Arc::from);
        self.objects
            .iter()
            .filter(move |((k, ns, _), _)| *k == kind && namespace.as_ref().is_none_or(|n| n == ns))
            .map(|(_, o)| o)
    }
    /// The newest version.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.rv
    }
    /// What changed after a version.
    pub fn changes_after(&self, rv: u64) -> impl Iterator<Item = &Arc<Change>> {
        self.log.iter().filter(move |c| c.rv > rv)
    }
}
