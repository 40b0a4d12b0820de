//! The status of disruption budgets. The API server consults it at an eviction, and enters the Pod in
//! `disruptedPods`. Pods without a controller under a budget in percent count as none, as in reality.

use std::collections::BTreeSet;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Map, Value};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::support::selector::selects;
use crate::controllers::support::{conditions, int_or_percent, moment, pods};
use crate::time::Span;

/// How long an eviction may take before it no longer counts.
const DELETION_TIMEOUT: Span = Span::s(120);

/// The controller.
pub(super) struct Budgets;

impl Controller for Budgets {
    fn name(&self) -> &'static str {
        "disruption"
    }

    fn watches(&self) -> &'static [Kind] {
        &[
            Kind::PodDisruptionBudget,
            Kind::Pod,
            Kind::StatefulSet,
            Kind::Deployment,
            Kind::ReplicaSet,
        ]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::PodDisruptionBudget => keys.push(Key::of(object)),
            Kind::Pod if pods::matters(seen) => {
                for budget in caches.list(Kind::PodDisruptionBudget, &object.meta.namespace) {
                    if seen.both().any(|pod| covers(budget, pod)) {
                        keys.push(Key::of(budget));
                    }
                }
            }
            Kind::Pod => {}
            // The real controller learns of a new size with the next change of a Pod; this one at once.
            _ if seen.differs(|o| o.i64_at(&["spec", "replicas"])) => {
                let all = caches.list(Kind::PodDisruptionBudget, &object.meta.namespace);
                keys.extend(all.map(|budget| Key::of(budget)));
            }
            _ => {}
        }
    }

    /// The real one does not wait for its own writes.
    fn patience(&self) -> Span {
        Span::ZERO
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(budget) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let pods: Vec<_> =
            caches.list(Kind::Pod, &key.namespace).filter(|pod| covers(budget, pod)).collect();
        let (expected, desired) = goal(budget, &pods, caches);
        let disrupted = disrupted(budget, &pods, sync);
        let healthy = pods.iter().filter(|pod| {
            !pod.terminating() && pods::ready(pod) && !disrupted.contains_key(&*pod.meta.name)
        });
        let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        let before = budget.at(&["status"]).and_then(Value::as_object);
        let mut status = before.cloned().unwrap_or_default();
        for (key, number) in [
            ("currentHealthy", healthy),
            ("desiredHealthy", desired),
            ("expectedPods", expected),
            ("disruptionsAllowed", allowed),
            ("observedGeneration", budget.meta.generation),
        ] {
            status.insert(key.into(), number.into());
        }
        if disrupted.is_empty() {
            status.remove("disruptedPods");
        } else {
            status.insert("disruptedPods".into(), disrupted.into());
        }
        let (holds, reason) =
            if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        let generation = [("observedGeneration", Value::from(budget.meta.generation))];
        let now = sync.time_text();
        conditions::set(&mut status, "DisruptionAllowed", holds, reason, "", &now, &generation);
        sync.status(budget, status);
    }
}

fn covers(budget: &Object, pod: &Object) -> bool {
    budget.meta.namespace == pod.meta.namespace
        && budget
            .at(&["spec", "selector"])
            .is_some_and(|selector| selects(selector, &pod.meta.labels))
}

/// How many Pods there should be, and how many must be healthy.
fn goal(budget: &Object, pods: &[&Arc<Object>], caches: &Caches) -> (i64, i64) {
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let min = budget.at(&["spec", "minAvailable"]);
    if let Some(max) = budget.at(&["spec", "maxUnavailable"]) {
        let expected = scale(pods, caches);
        let max = int_or_percent(Some(max), expected, true).unwrap_or(0);
        return (expected, (expected - max).max(0));
    }
    match min.and_then(Value::as_i64) {
        Some(min) => (count, min),
        None if min.is_some() => {
            let expected = scale(pods, caches);
            (expected, int_or_percent(min, expected, true).unwrap_or(0))
        }
        None => (0, 0),
    }
}

/// The sizes that the controllers of Pods shall have, together.
fn scale(pods: &[&Arc<Object>], caches: &Caches) -> i64 {
    let owners: BTreeSet<(Kind, &str, &str)> = pods
        .iter()
        .filter_map(|pod| {
            let owner = pod.controller()?;
            let kind = Kind::of_manifest(&owner.api_version, &owner.kind)?;
            Some((kind, &*pod.meta.namespace, owner.name.as_str()))
        })
        .collect();
    let sizes = owners.into_iter().filter_map(|(kind, namespace, name)| {
        let owner = caches.get(kind, namespace, name)?;
        let deployment = Key::controller(owner, Kind::Deployment);
        let above = deployment.and_then(|k| caches.get(k.kind, &k.namespace, &k.name));
        let above = above.map(|d| d.i64_at(&["spec", "replicas"]).unwrap_or(1));
        above.or_else(|| Some(owner.i64_at(&["spec", "replicas"]).unwrap_or(1)))
    });
    sizes.sum()
}

/// Pods whose eviction was granted lately, and whose deletion is still to be seen.
fn disrupted(budget: &Object, pods: &[&Arc<Object>], sync: &mut Sync) -> Map<String, Value> {
    let listed = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    let mut left = Map::new();
    for (name, since) in listed.into_iter().flatten() {
        let there = pods.iter().any(|p| *p.meta.name == **name && !p.terminating());
        let Some(until) = moment(Some(since)).map(|t| t + DELETION_TIMEOUT) else {
            continue;
        };
        if there && until >= sync.now {
            sync.look_again(until - sync.now + Span::us(1));
            left.insert(name.clone(), since.clone());
        }
    }
    left
}
