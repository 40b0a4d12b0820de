//! Which verbs on which resources carry out a plan: the operator's permissions are generated from it, and a
//! refusal is told in its words.

use crate::kind::Kind;
use crate::plan::Op;
use crate::reads::LABELLED;

/// The kinds of which plans delete objects. All others go by garbage collection.
pub const DELETED: &[Kind] = &[
    Kind::Pod,
    Kind::Endpoints,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::PersistentVolumeClaim,
    Kind::StatefulSet,
    Kind::Job,
    Kind::PodDisruptionBudget,
];

/// One permission.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Grant {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The verb.
    pub verb: &'static str,
}

impl Grant {
    /// A verb on a kind.
    #[must_use]
    pub fn new(kind: Kind, verb: &'static str) -> Self {
        Self { group: kind.group(), resource: kind.plural().to_owned(), verb }
    }

    /// The resource with its group, as in `statefulsets.apps`; the subresource stays at the end.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.group, self.resource.split_once('/')) {
            ("", _) => self.resource.clone(),
            (group, None) => format!("{}.{group}", self.resource),
            (group, Some((resource, below))) => format!("{resource}.{group}/{below}"),
        }
    }

    fn below(kind: Kind, subresource: &str, verb: &'static str) -> Self {
        Self { group: kind.group(), resource: format!("{}/{subresource}", kind.plural()), verb }
    }
}

/// The kinds of which plans apply objects: all that they read by label, but Pods, which others make.
pub fn applied() -> impl Iterator<Item = Kind> {
    LABELLED.iter().copied().filter(|kind| *kind != Kind::Pod)
}

/// What the API server asks for before it carries out a write. A server-side apply is a `patch`, and a
/// `create` as well where nothing is there yet.
#[must_use]
pub fn needs(op: &Op) -> Vec<Grant> {
    match op {
        Op::Apply { object } => {
            vec![Grant::new(object.kind, "create"), Grant::new(object.kind, "patch")]
        }
        Op::Create { object } => vec![Grant::new(object.kind, "create")],
        Op::Delete { kind, .. } => vec![Grant::new(*kind, "delete")],
        Op::MergePatch { kind, .. } => vec![Grant::new(*kind, "patch")],
        Op::Status { kind, .. } => vec![Grant::below(*kind, "status", "patch")],
        Op::Event { .. } => vec![Grant::new(Kind::Event, "create")],
        Op::Exec { .. } => of_exec(),
    }
}

/// What a command in a container needs. It is `get` where it comes as a WebSocket, and `create` where
/// Kubernetes asks for that in either case (1.35 and newer).
#[must_use]
pub fn of_exec() -> Vec<Grant> {
    vec![Grant::below(Kind::Pod, "exec", "create"), Grant::below(Kind::Pod, "exec", "get")]
}

/// Everything that plans may need, sorted. The owner references that block an owner's deletion need
/// `update` of its finalizers where OwnerReferencesPermissionEnforcement is on (OpenShift).
#[must_use]
pub fn of_plans() -> Vec<Grant> {
    let mut all = vec![
        Grant::new(Kind::Event, "create"),
        Grant::new(Kind::IvoryCluster, "patch"),
        Grant::new(Kind::Pod, "patch"),
        Grant::below(Kind::IvoryCluster, "finalizers", "update"),
        Grant::below(Kind::IvoryCluster, "status", "patch"),
    ];
    all.extend(of_exec());
    all.extend(applied().flat_map(|kind| [Grant::new(kind, "create"), Grant::new(kind, "patch")]));
    all.extend(DELETED.iter().map(|kind| Grant::new(*kind, "delete")));
    all.sort();
    all
}
