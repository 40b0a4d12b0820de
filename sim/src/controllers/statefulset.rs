//! StatefulSets: Pods with an identity, made one life at a time. Left out: volumeClaimTemplates,
//! `maxUnavailable`, `ordinals.start` and minReadySeconds' effect on order beyond availability.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Step, Sync};
use crate::controllers::revisions::{Revision, Revisions};
use crate::controllers::support::workload::{claim, owners_of, pod_of};
use crate::controllers::support::{pods, put_count};

/// The label with which a Pod names its template.
const REVISION: &str = "controller-revision-hash";

/// The controller.
pub(super) struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::StatefulSet, Kind::Pod, Kind::ControllerRevision]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        match seen.latest().kind {
            Kind::StatefulSet => keys.push(Key::of(seen.latest())),
            Kind::Pod if pods::matters(seen) => owners_of(seen, Kind::StatefulSet, caches, keys),
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(set) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let member = |pod: &Object| ordinal(set, &pod.meta.name).is_some();
        let pods = claim(set, caches, sync, member, None);
        let revisions = Revisions::of(set, caches, sync);
        let mut plan = Plan::new(set, &pods, &revisions, sync);
        if !set.terminating() {
            plan.act();
        }
        plan.write_status();
        revisions.truncate(set, &pods, sync);
    }
}

/// `n` of a Pod named `<set>-<n>`.
fn ordinal(set: &Object, pod: &str) -> Option<usize> {
    let number = pod.strip_prefix(&*set.meta.name)?.strip_prefix('-')?;
    (number.len() == 1 || !number.starts_with('0')).then(|| number.parse().ok()).flatten()
}

struct Plan<'a> {
    set: &'a Arc<Object>,
    revisions: &'a Revisions<'a>,
    sync: &'a mut Sync,
    /// By ordinal; none where one is to be made.
    replicas: Vec<Option<Arc<Object>>>,
    /// Beyond the wanted number, highest ordinal first.
    condemned: Vec<Arc<Object>>,
    min_ready_s: i64,
    /// One at a time, each only after the one before is available.
    ordered: bool,
    /// A Pod was deleted for its update, in this very pass.
    replaced: i64,
}

impl<'a> Plan<'a> {
    fn new(
        set: &'a Arc<Object>,
        pods: &[Arc<Object>],
        revisions: &'a Revisions<'a>,
        sync: &'a mut Sync,
    ) -> Self {
        let wanted = set.i64_at(&["spec", "replicas"]).unwrap_or(1).max(0);
        let mut replicas = vec![None; usize::try_from(wanted).unwrap_or(0)];
        let mut condemned = Vec::new();
        for pod in pods {
            match ordinal(set, &pod.meta.name) {
                Some(n) if n < replicas.len() => replicas[n] = Some(pod.clone()),
                Some(n) => condemned.push((n, pod.clone())),
                None => {}
            }
        }
        condemned.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        Self {
            set,
            revisions,
            sync,
            replicas,
            condemned: condemned.into_iter().map(|(_, pod)| pod).collect(),
            min_ready_s: set.i64_at(&["spec", "minReadySeconds"]).unwrap_or(0),
            ordered: set.str_at(&["spec", "podManagementPolicy"]) != Some("Parallel"),
            replaced: 0,
        }
    }

    fn available(&self, pod: &Object) -> bool {
        pods::available(pod, self.min_ready_s, self.sync.now)
    }

    fn act(&mut self) {
        let first_unavailable = self.first_unavailable();
        for n in 0..self.replicas.len() {
            if self.replica_blocks(n) && self.ordered {
                return;
            }
        }
        for pod in self.condemned.clone() {
            if self.condemned_blocks(&pod, first_unavailable.as_deref()) && self.ordered {
                return;
            }
        }
        if self.set.str_at(&["spec", "updateStrategy", "type"]) != Some("OnDelete") {
            self.roll();
        }
    }

    /// Brings one replica into being. True when those after it must wait.
    fn replica_blocks(&mut self, n: usize) -> bool {
        let Some(pod) = self.replicas[n].clone() else {
            let pod = self.new_pod(n);
            self.sync.create(pod);
            return true;
        };
        if pods::finished(&pod) {
            // Its successor is made when it is gone.
            if !pod.terminating() {
                self.sync.delete(&pod);
            }
            return true;
        }
        if pod.terminating() || !self.available(&pod) {
            return true;
        }
        if pod.label("statefulset.kubernetes.io/pod-name") != Some(&pod.meta.name) {
            let mut fixed = (*pod).clone();
            identify(&mut fixed, n);
            self.sync.update(fixed);
        }
        false
    }

    fn condemned_blocks(&mut self, pod: &Object, first_unavailable: Option<&str>) -> bool {
        if pod.terminating() {
            return true;
        }
        let others_first =
            !self.available(pod) && first_unavailable != Some(&*pod.meta.name) && self.ordered;
        if !others_first {
            self.sync.delete(pod);
        }
        true
    }

    /// The unavailable Pod with the lowest ordinal, one that is still to be made included.
    fn first_unavailable(&self) -> Option<String> {
        let bad = |pod: &Object| !self.available(pod) || pod.terminating();
        for (n, pod) in self.replicas.iter().enumerate() {
            match pod {
                Some(pod) if !bad(pod) => {}
                _ => return Some(format!("{}-{n}", self.set.meta.name)),
            }
        }
        let condemned = self.condemned.iter().rev().find(|pod| bad(pod));
        condemned.map(|pod| pod.meta.name.to_string())
    }

    /// Deletes the highest Pod at an old revision, once those above it are updated and available.
    fn roll(&mut self) {
        let path = ["spec", "updateStrategy", "rollingUpdate", "partition"];
        let partition = usize::try_from(self.set.i64_at(&path).unwrap_or(0)).unwrap_or(0);
        for n in (partition..self.replicas.len()).rev() {
            let Some(pod) = self.replicas[n].clone() else {
                return;
            };
            if pod.label(REVISION) != Some(&self.revisions.update.name) && !pod.terminating() {
                self.sync.delete(&pod);
                self.replaced = 1;
                return;
            }
            if !self.available(&pod) || pod.terminating() {
                return;
            }
        }
    }

    fn new_pod(&self, n: usize) -> Object {
        let revision = self.revision_for(n);
        let mut pod = pod_of(revision.template, self.set);
        let name = format!("{}-{n}", self.set.meta.name);
        pod.meta.name = name.as_str().into();
        identify(&mut pod, n);
        Arc::make_mut(&mut pod.meta.labels).insert(REVISION.into(), revision.name.to_string());
        let subdomain = self.set.at(&["spec", "serviceName"]).cloned();
        if let Some(spec) =
            pod.body_mut().get_mut("spec").and_then(serde_json::Value::as_object_mut)
        {
            spec.insert("hostname".into(), name.into());
            if let Some(subdomain) = subdomain.filter(|s| s.as_str() != Some("")) {
                spec.insert("subdomain".into(), subdomain);
            }
        }
        pod
    }

    /// Which template a Pod gets that is made during a rollout: below the partition the current one still.
    fn revision_for(&self, n: usize) -> &Revision<'a> {
        let strategy = self.set.at(&["spec", "updateStrategy"]);
        let kind = strategy.and_then(|s| s.get("type")?.as_str());
        let partition = strategy.and_then(|s| s.get("rollingUpdate")?.get("partition")?.as_u64());
        let still_current = match (kind, partition) {
            (Some("OnDelete"), _) => 0,
            (_, Some(partition)) => partition,
            (_, None) => self
                .set
                .at(&["status", "currentReplicas"])
                .and_then(serde_json::Value::as_u64)
                .unwrap_or(0),
        };
        if (n as u64) < still_current { &self.revisions.current } else { &self.revisions.update }
    }

    fn write_status(&mut self) {
        let (current, update) = (&self.revisions.current.name, &self.revisions.update.name);
        let pods = || {
            let replicas = self.replicas.iter().flatten();
            replicas.chain(&self.condemned)
        };
        let count = |what: &dyn Fn(&Object) -> bool| -> i64 {
            i64::try_from(pods().filter(|p| what(p)).count()).unwrap_or(i64::MAX)
        };
        let at = |pod: &Object, revision: &str| {
            !pod.terminating() && pod.label(REVISION) == Some(revision)
        };
        let replicas = count(&|_| true);
        let running = |pod: &Object| pods::phase(pod) == "Running" && pods::ready(pod);
        let ready = count(&|p| running(p));
        let available = count(&|p| running(p) && self.available(p));
        let updated = count(&|p| at(p, update));
        let mut currents = count(&|p| at(p, current)) - self.replaced;
        if currents < 0 {
            // As the real one: it counts the Pod whatever revision that was at, and the API server refuses the status.
            return self.sync.steps.push(Step::Fail);
        }
        let mut current = current.clone();
        let wanted = i64::try_from(self.replicas.len()).unwrap_or(i64::MAX);
        let rolling = self.set.str_at(&["spec", "updateStrategy", "type"]) != Some("OnDelete");
        if rolling && updated == wanted && ready == wanted && replicas == wanted {
            (currents, current) = (updated, update.clone());
        }
        let mut status = self.set.at(&["status"]).and_then(|s| s.as_object()).cloned();
        let status_map = status.get_or_insert_default();
        for (key, value) in [
            ("replicas", replicas),
            ("availableReplicas", available),
            ("collisionCount", 0),
            ("observedGeneration", self.set.meta.generation),
        ] {
            status_map.insert(key.into(), value.into());
        }
        put_count(status_map, "readyReplicas", ready);
        put_count(status_map, "currentReplicas", currents);
        put_count(status_map, "updatedReplicas", updated);
        status_map.insert("currentRevision".into(), (*current).into());
        status_map.insert("updateRevision".into(), (**update).into());
        let soon = pods().filter_map(|p| pods::available_in(p, self.min_ready_s, self.sync.now));
        let soon = soon.filter(|left| left.0 > 0).min();
        if let Some(left) = soon {
            self.sync.look_again(left);
        }
        self.sync.status(self.set, status.unwrap_or_default());
    }
}

fn identify(pod: &mut Object, n: usize) {
    let name = pod.meta.name.to_string();
    let labels = Arc::make_mut(&mut pod.meta.labels);
    labels.insert("statefulset.kubernetes.io/pod-name".into(), name);
    labels.insert("apps.kubernetes.io/pod-index".into(), n.to_string());
}
