//! The garbage collector: dependents of owners that are gone, and the two finalizers by which a deletion
//! waits for its dependents (foreground) or lets them go (orphan). An owner that the caches lack is looked up
//! at the API server before anything is deleted. Left out: circles of owners in foreground deletion.
//! Events and Leases are not watched: nothing here owns them, and their heartbeats would cost.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef};
use ivory_core::plan::Propagation;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Step, Sync, object_in};
use crate::kube::{Request, Subresource};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The controller.
pub(super) struct GarbageCollector;

/// Every kind but the two with heartbeats of their own.
const WATCHED: &[Kind] = &[
    Kind::IvoryCluster,
    Kind::IvyUpgrade,
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::Endpoints,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::PersistentVolumeClaim,
    Kind::PersistentVolume,
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::ControllerRevision,
    Kind::Job,
    Kind::CronJob,
    Kind::PodDisruptionBudget,
    Kind::EndpointSlice,
    Kind::StorageClass,
    Kind::PriorityClass,
    Kind::Role,
    Kind::RoleBinding,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::CustomResourceDefinition,
];

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn watches(&self) -> &'static [Kind] {
        WATCHED
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let (old, new) = (seen.old, seen.new);
        let same_life = match (old, new) {
            (Some(old), Some(new)) => old.meta.uid == new.meta.uid,
            _ => false,
        };
        if same_life && !seen.differs(|o| (&o.meta.owners, &o.meta.finalizers, o.meta.deleted_at)) {
            return;
        }
        if let Some(gone) = old.filter(|_| !same_life) {
            keys.extend(dependents(gone, caches).map(|o| Key::of(o)));
        }
        if let Some(new) = new.filter(|o| doubtful(o, caches)) {
            keys.push(Key::of(new));
        }
        // An owner that waits for its dependents looks again when one goes or is let go.
        for owner in old.into_iter().flat_map(|o| o.meta.owners.iter()) {
            if let Some(owner) = old.and_then(|o| cached(owner, o, caches))
                && waits(owner)
            {
                keys.push(Key::of(owner));
            }
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(object) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        if !object.terminating() {
            collect(object, caches, sync);
        } else if has(object, ORPHAN) {
            for dependent in dependents(object, caches) {
                sync.update(without_owners(dependent, |o| o.uid == object.meta.uid));
            }
            sync.update(without_finalizer(object, ORPHAN));
        } else if has(object, FOREGROUND) {
            let all: Vec<_> = dependents(object, caches).collect();
            let blocks = |d: &&Arc<Object>| -> bool {
                let mut refs = d.meta.owners.iter().filter(|o| o.uid == object.meta.uid);
                refs.any(|o| o.block_owner_deletion == Some(true))
            };
            if all.iter().any(blocks) {
                let alive = all.iter().filter(|d| !d.terminating());
                alive.for_each(|d| collect(d, caches, sync));
            } else {
                sync.update(without_finalizer(object, FOREGROUND));
            }
        }
    }
}

fn has(object: &Object, finalizer: &str) -> bool {
    object.meta.finalizers.iter().any(|f| f == finalizer)
}

/// Whether an owner is being deleted, and waits for its dependents to go first.
fn waits(owner: &Object) -> bool {
    owner.terminating() && has(owner, FOREGROUND)
}

/// The objects that name another as an owner.
fn dependents<'a>(owner: &'a Object, caches: &'a Caches) -> impl Iterator<Item = &'a Arc<Object>> {
    let namespaced = owner.kind.namespaced();
    let near = move |o: &&Arc<Object>| {
        (!namespaced || o.meta.namespace == owner.meta.namespace)
            && o.meta.owners.iter().any(|r| r.uid == owner.meta.uid)
    };
    WATCHED.iter().flat_map(|kind| caches.all(*kind)).filter(near)
}

/// The owner as the caches have it, if it is this very life of it.
fn cached<'a>(owner: &OwnerRef, of: &Object, caches: &'a Caches) -> Option<&'a Arc<Object>> {
    let kind = Kind::of_manifest(&owner.api_version, &owner.kind)?;
    let namespace = if kind.namespaced() { &*of.meta.namespace } else { "" };
    let found = caches.get(kind, namespace, &owner.name)?;
    (found.meta.uid == owner.uid).then_some(found)
}

/// Whether there is anything to do about an object: it waits, or an owner of it is unknown or waits.
fn doubtful(object: &Object, caches: &Caches) -> bool {
    if object.terminating() {
        return has(object, FOREGROUND) || has(object, ORPHAN);
    }
    let mut owners = object.meta.owners.iter();
    owners.any(|owner| cached(owner, object, caches).is_none_or(|o| waits(o)))
}

fn without_finalizer(object: &Object, finalizer: &str) -> Object {
    let mut object = object.clone();
    Arc::make_mut(&mut object.meta.finalizers).retain(|f| f != finalizer);
    object
}

fn without_owners(object: &Object, which: impl Fn(&OwnerRef) -> bool) -> Object {
    let mut object = object.clone();
    Arc::make_mut(&mut object.meta.owners).retain(|o| !which(o));
    object
}

/// What an owner reference is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It keeps the object.
    Solid,
    /// The owner waits for the object to go.
    Waiting,
    /// There is no such owner.
    Dangling,
}

fn worth(owner: &Object) -> Worth {
    if waits(owner) { Worth::Waiting } else { Worth::Solid }
}

/// Everything that decides about an object once its owners are known.
struct Case {
    object: Arc<Object>,
    /// How to ask for the owners that the caches lack, by index.
    questions: Vec<(usize, Request)>,
    has_dependents: bool,
    /// Deleted in the background, in the foreground, as its finalizers say.
    deletions: [Request; 2],
    update: Box<dyn Fn(Object) -> Request + Send + std::marker::Sync>,
}

/// Deletes an object whose owners are all gone or wait for it; frees it from those if another keeps it.
fn collect(object: &Arc<Object>, caches: &Caches, sync: &mut Sync) {
    let mut worths = Vec::new();
    let mut questions = Vec::new();
    for (index, owner) in object.meta.owners.iter().enumerate() {
        let found = cached(owner, object, caches);
        worths.push(found.map_or(Worth::Solid, |o| worth(o)));
        // Owners of kinds that nobody here knows, and namespaced ones of cluster-wide objects, count as solid.
        let Some(kind) = Kind::of_manifest(&owner.api_version, &owner.kind) else {
            continue;
        };
        if found.is_none() && (!kind.namespaced() || object.kind.namespaced()) {
            let namespace = if kind.namespaced() { &*object.meta.namespace } else { "" };
            questions.push((index, sync.get_request(kind, namespace, &owner.name)));
        }
    }
    if questions.is_empty() && worths.iter().all(|w| *w == Worth::Solid) {
        return;
    }
    let by_finalizer = if has(object, ORPHAN) {
        Propagation::Orphan
    } else if has(object, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let template = Sync::new(sync.user.clone(), sync.now, sync.rng.clone());
    let case = Arc::new(Case {
        object: object.clone(),
        questions,
        has_dependents: dependents(object, caches).next().is_some(),
        deletions: [
            sync.delete_this_version_request(object, by_finalizer),
            sync.delete_this_version_request(object, Propagation::Foreground),
        ],
        update: Box::new(move |object| template.update_request(object, Subresource::None)),
    });
    sync.steps.extend(next_question(&case, 0, worths));
}

fn next_question(case: &Arc<Case>, number: usize, worths: Vec<Worth>) -> Vec<Step> {
    let Some((index, request)) = case.questions.get(number) else {
        return verdict(case, &worths);
    };
    let (index, next) = (*index, case.clone());
    let then = move |response: &crate::kube::Response| {
        let mut worths = worths.clone();
        worths[index] = match response {
            Err(status) if status.code == 404 => Worth::Dangling,
            Err(_) => return vec![Step::Fail],
            Ok(_) => match object_in(response) {
                Some(owner) if owner.meta.uid == next.object.meta.owners[index].uid => worth(owner),
                _ => Worth::Dangling,
            },
        };
        next_question(&next, number + 1, worths)
    };
    vec![Step::Ask(request.clone(), Arc::new(then))]
}

fn verdict(case: &Case, worths: &[Worth]) -> Vec<Step> {
    let any = |worth: Worth| worths.contains(&worth);
    if !any(Worth::Solid) {
        let foreground = any(Worth::Waiting) && case.has_dependents;
        return vec![Step::Request(case.deletions[usize::from(foreground)].clone())];
    }
    if !any(Worth::Dangling) && !any(Worth::Waiting) {
        return Vec::new();
    }
    let mut kept = (*case.object).clone();
    let solid = kept.meta.owners.iter().zip(worths);
    let solid = solid.filter(|(_, w)| **w == Worth::Solid).map(|(o, _)| o.clone());
    kept.meta.owners = Arc::new(solid.collect());
    vec![Step::Request((case.update)(kept))]
}
