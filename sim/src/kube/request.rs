//! What can be asked of the API server, and what it answers.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, Uid};
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use serde_json::Value;

use super::status::Status;

/// One request. Watching is not among them: a watcher reads [`super::ApiServer::changes_since`].
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The user agent; up to the first `/` it is the field manager of whoever names none.
    pub user: Arc<str>,
    /// The service account, `namespace/name`, of a client inside the cluster. Not checked here.
    pub service_account: Option<Arc<str>>,
    /// The Pod, `namespace` and `name`, to which the client's token is bound. Such a token dies with the Pod, and with
    /// the life of the service account for which it was made.
    pub bound_to: Option<(Arc<str>, Arc<str>)>,
    /// The field manager, where the client names one.
    pub manager: Option<Arc<str>>,
    /// Everything is checked and answered, nothing is stored.
    pub dry_run: bool,
    /// What becomes of fields that the schema does not know.
    pub unknown_fields: UnknownFields,
    /// What is asked.
    pub verb: Verb,
}

/// The request parameter `fieldValidation`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnknownFields {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the reply says so; the server's default.
    #[default]
    Warn,
    /// They are refused; kubectl's default.
    Strict,
}

/// An object by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// Which objects of a kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// By labels.
    pub labels: Selector,
    /// The field selector `metadata.name=…`.
    pub name: Option<Arc<str>>,
    /// The field selector `spec.nodeName=…`, for Pods.
    pub node: Option<Arc<str>>,
}

/// The endpoint of an object that a write goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Subresource {
    /// The object itself.
    #[default]
    None,
    /// `status`.
    Status,
    /// `scale`: only `spec.replicas` of the object changes.
    Scale,
    /// `finalize` of a namespace: its `spec.finalizers`.
    Finalize,
}

/// A patch.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// Server-side apply.
    Apply {
        /// The applied configuration. A UID or resourceVersion in it must be the live object's.
        object: Arc<Object>,
        /// Whether fields of others are taken.
        force: bool,
    },
    /// A JSON merge patch.
    Merge(Arc<Value>),
    /// A strategic merge patch; built-in kinds only.
    Strategic(Arc<Value>),
    /// A JSON patch: a list of operations.
    Json(Arc<Value>),
}

/// The conditions and the manner of a deletion.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DeleteOptions {
    /// Only this life of the object.
    pub uid: Option<Uid>,
    /// Only this version of the object.
    pub resource_version: Option<u64>,
    /// What becomes of the objects that it owns; the kind's default where nothing is said.
    pub propagation: Option<Propagation>,
    /// How long a Pod may take, in seconds; the Pod's own period where nothing is said.
    pub grace_s: Option<i64>,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    /// One object.
    Get(ObjectRef),
    /// Objects of a kind.
    List {
        /// Their kind.
        kind: Kind,
        /// Their namespace; `None` for all.
        namespace: Option<Arc<str>>,
        /// Which of them.
        filter: Filter,
        /// At most so many, for a page; 0 for all.
        limit: usize,
        /// Where the page before ended.
        continue_token: Option<Arc<str>>,
    },
    /// A new object.
    Create(Arc<Object>),
    /// An object replaced as a whole.
    Update {
        /// The new version. A resourceVersion in it must be the live object's.
        object: Arc<Object>,
        /// The endpoint.
        subresource: Subresource,
    },
    /// An object changed in parts.
    Patch {
        /// Which.
        target: ObjectRef,
        /// The endpoint.
        subresource: Subresource,
        /// The change.
        body: Body,
    },
    /// An object deleted.
    Delete {
        /// Which.
        target: ObjectRef,
        /// How.
        options: DeleteOptions,
    },
    /// Objects of a kind deleted.
    DeleteCollection {
        /// Their kind.
        kind: Kind,
        /// Their namespace.
        namespace: Arc<str>,
        /// Which of them.
        filter: Filter,
        /// How.
        options: DeleteOptions,
    },
    /// A Pod deleted if its disruption budgets allow it.
    Evict {
        /// Which.
        target: ObjectRef,
        /// How.
        options: DeleteOptions,
    },
    /// A Pod assigned to a node.
    Bind {
        /// Which.
        target: ObjectRef,
        /// The node's name.
        node: Arc<str>,
    },
}

/// The answer to a request that was granted.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// HTTP status code: 200, or 201 for what was created.
    pub code: u16,
    /// What comes back.
    pub content: Content,
    /// Warnings, in the real server's words.
    pub warnings: Vec<String>,
}

/// What comes back.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// One object: as it is now, or as it was when it was deleted.
    Object(Arc<Object>),
    /// A page of objects, in the order of namespaces and names.
    List {
        /// The objects.
        items: Vec<Arc<Object>>,
        /// The version of the whole at which they were read; a watch goes on from it.
        resource_version: u64,
        /// What to ask the next page with.
        continue_token: Option<Arc<str>>,
        /// How many are still to come, if no selector makes it unknown.
        remaining: Option<usize>,
    },
    /// The object with this UID is gone.
    Deleted(Uid),
    /// It was done.
    Done,
}

/// What a request comes to.
pub type Response = Result<Reply, Status>;

impl Request {
    /// A request by a user agent, with the server's defaults for everything else.
    #[must_use]
    pub fn new(user: &str, verb: Verb) -> Self {
        Self {
            user: user.into(),
            service_account: None,
            bound_to: None,
            manager: None,
            dry_run: false,
            unknown_fields: UnknownFields::Warn,
            verb,
        }
    }

    /// The field manager under which this request writes.
    #[must_use]
    pub fn manager_name(&self) -> &str {
        match &self.manager {
            Some(name) => name,
            None => self.user.split('/').next().unwrap_or_default(),
        }
    }
}

impl ObjectRef {
    /// An object by its name.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The name of this object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self {
            kind: object.kind,
            namespace: Arc::clone(&object.meta.namespace),
            name: Arc::clone(&object.meta.name),
        }
    }
}

impl Filter {
    /// Whether an object is among those.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(&object.meta.labels)
            && self.name.as_ref().is_none_or(|n| *n == object.meta.name)
            && self.node.as_ref().is_none_or(|node| {
                object.str_at(&["spec", "nodeName"]).unwrap_or_default() == &**node
            })
    }

    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl Subresource {
    /// Its name in URLs and managed fields; empty for the object itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
        }
    }
}

impl Reply {
    pub(crate) fn object(code: u16, object: Arc<Object>) -> Self {
        Self { code, content: Content::Object(object), warnings: Vec::new() }
    }

    /// The object that came back, if one did.
    #[must_use]
    pub fn into_object(self) -> Option<Arc<Object>> {
        match self.content {
            Content::Object(object) => Some(object),
            _ => None,
        }
    }
}
