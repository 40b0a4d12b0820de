//! > Only owned objects are changed, and only owned fields of shared objects.
//!
//! Looked at before every write. An object is ours if it bears a cluster's label or has a cluster for its controller, or
//! if nobody controls it and it bears the name that we would give it (so a label that a stranger took comes back). Of what
//! we don't control, a patch changes metadata under our own prefix and nothing else; of the cluster, status and metadata.

use ivory_core::object::Object;
use ivory_core::{Kind, labels};
use serde_json::Value;

use super::seen::{Log, Write, Writes};
use super::{Checker, Promise, When};
use crate::kube::{Body, Subresource, Verb};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 11,
    name: "only owned",
    words: "Only owned objects are changed, and only owned fields of shared objects.",
    when: &[When::Write, When::Pass],
    file: file!(),
    held_by: &[],
};

/// With what the keys of our labels and annotations begin.
const PREFIX: &str = "ivory-operator.ivorysql.org/";

/// Nothing needs to be remembered.
#[derive(Clone, Default)]
pub(super) struct State;

impl Checker for State {
    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        let Writes::Request(request) = write.what else { return };
        log.looked(&PROMISE);
        if let Some(wrong) = wrong(write, &request.verb) {
            log.broken(&PROMISE, format!("{}: {wrong}", write.text()));
        }
    }
}

/// What is wrong with a write, if anything is.
fn wrong(write: &Write<'_>, verb: &Verb) -> Option<String> {
    match verb {
        Verb::Delete { options, .. } if options.uid.is_none() => {
            Some("a deletion names no UID".to_owned())
        }
        Verb::Delete { .. } => {
            let live = write.deletes()?;
            let ours = live.label(labels::CLUSTER).is_some() || of_cluster(live);
            (!ours && !let_go(write, live)).then(|| "it is not ours".to_owned())
        }
        Verb::Patch { body: Body::Apply { object, .. }, .. } => {
            let live = write.live()?;
            let other = live.label(labels::CLUSTER).zip(object.label(labels::CLUSTER));
            if let Some((theirs, ours)) = other.filter(|(theirs, ours)| theirs != ours) {
                return Some(format!("it belongs to {theirs}, not to {ours}"));
            }
            let foreign = live.controller().is_some() && !of_cluster(live);
            foreign.then(|| "somebody else controls it".to_owned())
        }
        Verb::Patch { body: Body::Merge(patch), subresource, target } => {
            let status = *subresource == Subresource::Status;
            let field = match target.kind {
                // An instance that is no longer wanted has nothing to be applied, and still stops and starts with others.
                Kind::StatefulSet => Some("replicas"),
                // To apply ours removes no port that a stranger has put into a Service of ours.
                Kind::Service => Some("ports"),
                _ => None,
            };
            let ours = field.is_some()
                && write.live().is_some_and(|live| of_cluster(live))
                && patch["spec"].as_object().is_some_and(|s| s.keys().all(|k| Some(&**k) == field));
            let may = |key: &str| match key {
                "metadata" => true,
                "status" => status,
                _ => ours && key == "spec",
            };
            if let Some(key) = patch.as_object()?.keys().find(|key| !may(key)) {
                return Some(format!("{key} is not ours to patch"));
            }
            let shared = target.kind != Kind::IvoryCluster;
            stray_metadata(target.kind, &patch["metadata"]).filter(|_| shared || !status)
        }
        Verb::Update { .. } | Verb::DeleteCollection { .. } | Verb::Patch { .. } => {
            Some("nothing is written in this way".to_owned())
        }
        _ => None,
    }
}

/// What a patch changes of metadata beside what is ours.
fn stray_metadata(kind: Kind, metadata: &Value) -> Option<String> {
    // Patroni's word that somebody bootstraps is taken back when nobody does any more.
    let ours =
        |key: &str| key.starts_with(PREFIX) || (kind == Kind::Endpoints && key == "initialize");
    metadata.as_object()?.iter().find_map(|(key, value)| match key.as_str() {
        "labels" | "annotations" => {
            let stray = value.as_object()?.keys().find(|key| !ours(key))?;
            Some(format!("{key} {stray} is not ours"))
        }
        "resourceVersion" | "uid" | "finalizers" => None,
        _ => Some(format!("metadata.{key} is not ours")),
    })
}

fn of_cluster(object: &Object) -> bool {
    object.controller().is_some_and(|o| o.kind == Kind::IvoryCluster.name())
}

/// Whether it is a Pod that nobody controls and that has a volume of a cluster's: one that lost its labels.
fn let_go(write: &Write<'_>, pod: &Object) -> bool {
    let api = &write.world.kube(write.kube).api;
    let mut claims = api.list(Kind::PersistentVolumeClaim, Some(&pod.meta.namespace));
    pod.kind == Kind::Pod
        && pod.controller().is_none()
        && claims.any(|claim| of_cluster(claim) && pod.mounts_claim(&claim.meta.name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ivory_core::names;
    use ivory_core::object::OwnerRef;
    use serde_json::json;

    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::kube::{DeleteOptions, ObjectRef, Request};
    use crate::lab::NAMESPACE;

    #[test]
    fn whatever_is_not_ours_is_seen() {
        let mut world = ready();
        let mut theirs = Object::new(Kind::ConfigMap, NAMESPACE, "theirs");
        let owner = the(&world, Kind::Service, &names::primary_service(CLUSTER));
        theirs.meta.owners = Arc::new(vec![OwnerRef::controller_of(&owner)]);
        done(&mut world, &Request::new("kubectl", Verb::Create(Arc::new(theirs.clone()))));
        let cluster = the(&world, Kind::IvoryCluster, CLUSTER);
        let service = the(&world, Kind::Service, &names::primary_service(CLUSTER));
        let apply = |object: &Object| {
            let body = Body::Apply { object: Arc::new(object.clone()), force: true };
            let target = ObjectRef::of(object);
            Request::new("operator", Verb::Patch { target, subresource: Subresource::None, body })
        };
        let target = ObjectRef::of(&service);
        let no_uid = Verb::Delete { target, options: DeleteOptions::default() };
        let mut relabelled = Object::new(Kind::Service, NAMESPACE, &service.meta.name);
        let label = (labels::CLUSTER.to_owned(), "another".to_owned());
        relabelled.meta.labels = Arc::new([label].into());
        let main = Subresource::None;
        let stored = the(&world, Kind::ConfigMap, "theirs");
        for (request, wanted) in [
            (Request::new("operator", no_uid), "names no UID"),
            (deletion(&stored), "it is not ours"),
            (apply(&theirs), "somebody else controls it"),
            (apply(&relabelled), "it belongs to hippo0, not to another"),
            (patch(&cluster, main, json!({"spec": {"paused": true}})), "spec is not ours to patch"),
            (
                patch(&service, main, json!({"metadata": {"labels": {"a": "b"}}})),
                "labels a is not ours",
            ),
            (deletion(&service), ""),
            (patch(&cluster, main, json!({"metadata": {"finalizers": []}})), ""),
        ] {
            let plans = Plans::default();
            let wrong =
                found(world.now(), |log| State.write(&writes(&world, &request, &plans), log));
            let right = if wanted.is_empty() {
                wrong.is_empty()
            } else {
                wrong.iter().any(|w| w.ends_with(wanted))
            };
            assert!(right, "{wanted}: {wrong:?}");
        }
    }
}
