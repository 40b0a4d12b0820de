//! The finalizer, and taking a cluster down: replicas first, the leader last, then Patroni's own objects.
//! What is owned goes by garbage collection afterwards (`reference/reconcile.md` §1.7).

use std::sync::Arc;

use serde_json::json;

use crate::kind::Kind;
use crate::labels::{self, FINALIZER};
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};

/// How long after its grace period a Pod that does not go is no longer waited for: its node is dead, and
/// only a person or the cloud can say so. Deletion wins over any stuck state.
const PATIENCE_S: i64 = 120;

/// Puts the finalizer on, before anything is made that would have to be taken down.
pub fn ensure(pass: &mut Pass<'_>) {
    let object = &pass.cluster.object;
    if object.meta.finalizers.iter().any(|f| f == FINALIZER) {
        return;
    }
    let mut finalizers = (*object.meta.finalizers).clone();
    finalizers.push(FINALIZER.to_owned());
    set(
        pass,
        finalizers,
        "FinalizerMissing",
        "the cluster must not go before its instances stopped",
    );
}

/// Takes the cluster down. Reports waiting until nothing runs any more.
pub fn take_down(pass: &mut Pass<'_>) {
    let finalizers = pass.cluster.object.meta.finalizers.clone();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        return;
    }
    let (Read::Known(pods), Read::Known(workloads), Read::Known(endpoints)) = (
        pass.observed.labelled(Kind::Pod),
        pass.observed.labelled(Kind::StatefulSet),
        pass.observed.labelled(Kind::Endpoints),
    ) else {
        return pass.unreadable(Step::Finalizer, "what the cluster runs");
    };
    // An earlier cluster of this name may have left something; that is not ours to stop.
    let uid = pass.cluster.uid.clone();
    let instance = |o: &&Arc<Object>| o.label(labels::INSTANCE).is_some();
    let foreign = |o: &Object| o.controller().is_some_and(|c| c.uid != uid);
    let of = |pod: &Object, set: &Object| pod.controlled_by(&set.meta.uid);
    let strangers: Vec<Arc<Object>> = workloads.iter().filter(|w| foreign(w)).cloned().collect();
    let workloads: Vec<Arc<Object>> =
        workloads.iter().filter(instance).filter(|w| !foreign(w)).cloned().collect();
    let pods: Vec<Arc<Object>> = pods
        .iter()
        .filter(instance)
        .filter(|p| !strangers.iter().any(|s| of(p, s)))
        .cloned()
        .collect();
    let scope = names::scope(&pass.cluster.name);
    let mut patroni: Vec<Arc<Object>> =
        endpoints.iter().filter(|e| e.label(labels::PATRONI) == Some(&*scope)).cloned().collect();
    // By name too: a stranger may have taken their labels, and left behind they would tell the next
    // cluster of this name that it has been bootstrapped.
    for name in [scope.clone(), names::scope_config(&pass.cluster.name)] {
        match pass.observed.one(Kind::Endpoints, &name) {
            Read::Known(object) if patroni.iter().all(|p| p.meta.name != object.meta.name) => {
                patroni.push(object.clone());
            }
            Read::Unknown(_) => {
                return pass.unreadable(Step::Finalizer, format!("Endpoints {name}"));
            }
            _ => {}
        }
    }
    patroni.retain(|p| !foreign(p));
    stop(pass, &pods, &workloads);
    let alive: Vec<&Arc<Object>> = pods.iter().filter(|p| !given_up(pass, p)).collect();
    let going = workloads.iter().any(|w| w.i64_at(&["spec", "replicas"]) != Some(0));
    if !alive.is_empty() || going {
        let names: Vec<&str> = alive.iter().map(|p| &*p.meta.name).collect();
        let text = format!(
            "waiting for {} to stop",
            if names.is_empty() { "the instances".into() } else { names.join(", ") }
        );
        pass.look_again(std::time::Duration::from_secs(30));
        return pass.wait(Step::Finalizer, "Stopping", text);
    }
    for object in &patroni {
        pass.delete(Step::Finalizer, object, Reason::Deleting);
    }
    let rest = finalizers.iter().filter(|f| *f != FINALIZER).cloned().collect();
    set(pass, rest, "Stopped", "nothing of the cluster runs any more");
}

/// Scales to nothing: all but the leader while there are several, then the leader.
fn stop(pass: &mut Pass<'_>, pods: &[Arc<Object>], workloads: &[Arc<Object>]) {
    let leads = |w: &Arc<Object>| {
        let mine = |p: &&Arc<Object>| p.label(labels::INSTANCE) == Some(&*w.meta.name);
        let pod = pods.iter().find(mine);
        pod.is_some_and(|p| p.label(labels::ROLE).is_some_and(labels::role::is_leader))
    };
    let others_run = pods.iter().any(|p| {
        let leader = p.label(labels::ROLE).is_some_and(labels::role::is_leader);
        !leader && !given_up(pass, p)
    });
    for workload in workloads.iter().filter(|w| w.i64_at(&["spec", "replicas"]) != Some(0)) {
        if leads(workload) && others_run {
            continue;
        }
        let op = Op::MergePatch {
            kind: Kind::StatefulSet,
            namespace: workload.meta.namespace.to_string(),
            name: workload.meta.name.to_string(),
            patch: json!({
                "metadata": {"uid": &*workload.meta.uid, "resourceVersion": workload.meta.resource_version.to_string()},
                "spec": {"replicas": 0},
            }),
        };
        pass.write(Step::Finalizer, Reason::Deleting, op);
    }
    // Nobody else stops a Pod that has no controller.
    for pod in pods.iter().filter(|p| p.controller().is_none()) {
        if !(pod.label(labels::ROLE).is_some_and(labels::role::is_leader) && others_run) {
            pass.delete(Step::Finalizer, pod, Reason::Deleting);
        }
    }
}

fn given_up(pass: &Pass<'_>, pod: &Object) -> bool {
    pod.meta.deleted_at.is_some_and(|at| pass.context.now.as_second() - at.as_second() > PATIENCE_S)
}

fn set(pass: &mut Pass<'_>, finalizers: Vec<String>, word: &'static str, text: &str) {
    let object = pass.cluster.object.clone();
    let op = Op::MergePatch {
        kind: Kind::IvoryCluster,
        namespace: object.meta.namespace.to_string(),
        name: object.meta.name.to_string(),
        patch: json!({"metadata": {
            "resourceVersion": object.meta.resource_version.to_string(),
            "finalizers": finalizers,
        }}),
    };
    pass.write(Step::Finalizer, Reason::Because { word, text: text.into() }, op);
}
