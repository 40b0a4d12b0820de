//! ReplicaSets: a number of Pods without identity. Which Pod goes first when there are too many follows the
//! real order as far as phase, readiness and age; deletion cost and spread over nodes are left out.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::support::workload::{claim, owners_of, pod_of};
use crate::controllers::support::{pods, put_count};
use crate::time::Span;

/// The controller.
pub(super) struct ReplicaSets;

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::ReplicaSet, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        match seen.latest().kind {
            Kind::ReplicaSet => keys.push(Key::of(seen.latest())),
            Kind::Pod if pods::matters(seen) => owners_of(seen, Kind::ReplicaSet, caches, keys),
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(set) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let mut pods = claim(set, caches, sync, |_| true, None);
        pods.retain(|p| pods::active(p));
        let wanted = set.i64_at(&["spec", "replicas"]).unwrap_or(1).max(0);
        let wanted = usize::try_from(wanted).unwrap_or(0);
        write_status(set, &pods, sync);
        if set.terminating() {
            return;
        }
        if let Some(template) = set.at(&["spec", "template"]) {
            for _ in pods.len()..wanted {
                let mut pod = pod_of(template, set);
                pod.meta.generate_name = Some(format!("{}-", set.meta.name).into());
                sync.create(pod);
            }
        }
        pods.sort_by_key(|p| rank(p));
        let surplus = pods.len().saturating_sub(wanted);
        pods.iter().take(surplus).for_each(|p| sync.delete(p));
    }

    /// As the real one's expectations.
    fn patience(&self) -> Span {
        Span::s(300)
    }
}

/// The lower, the sooner it is deleted: unscheduled, then pending, then not ready, then the youngest.
fn rank(pod: &Object) -> (bool, bool, bool, std::cmp::Reverse<Option<jiff::Timestamp>>, Arc<str>) {
    (
        pod.str_at(&["spec", "nodeName"]).is_some(),
        pods::phase(pod) == "Running",
        pods::ready(pod),
        std::cmp::Reverse(pod.meta.created_at),
        pod.meta.name.clone(),
    )
}

fn write_status(set: &Object, pods: &[Arc<Object>], sync: &mut Sync) {
    let min_ready_s = set.i64_at(&["spec", "minReadySeconds"]).unwrap_or(0);
    let count = |what: &dyn Fn(&Object) -> bool| {
        i64::try_from(pods.iter().filter(|p| what(p)).count()).unwrap_or(i64::MAX)
    };
    let mut status = set.at(&["status"]).and_then(|s| s.as_object()).cloned();
    let map = status.get_or_insert_default();
    map.insert("replicas".into(), count(&|_| true).into());
    map.insert("observedGeneration".into(), set.meta.generation.into());
    put_count(map, "fullyLabeledReplicas", count(&|_| true));
    put_count(map, "readyReplicas", count(&pods::ready));
    let now = sync.now;
    put_count(map, "availableReplicas", count(&|p| pods::available(p, min_ready_s, now)));
    let soon = pods.iter().filter_map(|p| pods::available_in(p, min_ready_s, now));
    if let Some(left) = soon.filter(|left| left.0 > 0).min() {
        sync.look_again(left);
    }
    sync.status(set, status.unwrap_or_default());
}
