//! A kubelet as an actor: watches the Pods of its node and runs them. One life of it is one boot of the
//! machine: when it dies, all processes of the node die with it.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use ivory_core::Object;
use ivory_core::object::StringMap;
use serde_json::Value;

use crate::kube::Response;
use crate::node::Programs;
use crate::node::heartbeat::{Heart, PERIOD};
use crate::node::pod::{Stage, Worker};
use crate::node::requests;
use crate::node::shared::{Asked, Shared, timer_of};
use crate::time::Span;
use crate::world::fingerprint::normal;
use crate::world::informer::Learned;
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Informer, Input, KubeId, Ticket};

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The Node's name.
    pub name: String,
    /// The machine's number in its Kubernetes: the third part of its Pods' addresses. Unique, below 253.
    pub number: u8,
    /// `topology.kubernetes.io/zone`; empty for none.
    pub zone: String,
    /// Cores, as a quantity.
    pub cpu: String,
    /// Memory, as a quantity.
    pub memory: String,
    /// How many Pods fit.
    pub pods: u32,
    /// More labels.
    pub labels: StringMap,
    /// `spec.taints`.
    pub taints: Vec<Value>,
}

impl NodeConfig {
    /// A machine with 8 cores and 32 GiB.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Self {
        Self {
            name: name.to_owned(),
            number,
            zone: String::new(),
            cpu: "8".into(),
            memory: "32Gi".into(),
            pods: 110,
            labels: StringMap::new(),
            taints: Vec::new(),
        }
    }

    /// In a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: &str) -> Self {
        zone.clone_into(&mut self.zone);
        self
    }
}

/// The token of the heartbeat's timer.
const HEARTBEAT: u64 = u64::MAX;

/// A kubelet.
#[derive(Clone)]
pub struct Kubelet {
    name: String,
    shared: Shared,
    heart: Heart,
    pods: Option<Informer>,
    workers: BTreeMap<u32, Arc<Worker>>,
    serials: BTreeMap<Arc<str>, u32>,
    next: u32,
}

impl Kubelet {
    /// Of a machine that is switched on.
    #[must_use]
    pub fn new(kube: KubeId, config: NodeConfig, programs: Arc<dyn Programs>) -> Self {
        Self {
            name: format!("kubelet/{}", config.name),
            shared: Shared::new(kube, config, programs),
            heart: Heart::default(),
            pods: None,
            workers: BTreeMap::new(),
            serials: BTreeMap::new(),
            next: 0,
        }
    }

    /// The machine.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.shared.config
    }

    /// After a restart: nothing runs, the images are still there.
    pub(super) fn rebooted(&self, kube: KubeId) -> Self {
        let (config, programs) = ((*self.shared.config).clone(), self.shared.programs.clone());
        let mut fresh = Self::new(kube, config, programs);
        fresh.shared.images = self.shared.images.clone();
        fresh
    }

    fn pods_learned(&mut self, cx: &mut Cx<'_>, learned: Learned) {
        match learned {
            Learned::NotMine => {}
            Learned::One { old, new, .. } => {
                if let Some(old) = old
                    && new.as_ref().is_none_or(|n| n.meta.uid != old.meta.uid)
                {
                    self.vanished(cx, &old);
                }
                if let Some(new) = new {
                    self.seen(cx, &new);
                }
            }
            Learned::All => {
                let all: Vec<_> = self.pods.iter().flat_map(Informer::iter).cloned().collect();
                let gone = |uid: &&Arc<str>| !all.iter().any(|p| p.meta.uid == **uid);
                let gone: Vec<_> = self.serials.keys().filter(gone).cloned().collect();
                for uid in gone {
                    let serial = self.serials[&uid];
                    if let Some(worker) = self.workers.get(&serial) {
                        let pod = worker.pod.clone();
                        self.vanished(cx, &pod);
                    }
                }
                for pod in &all {
                    self.seen(cx, pod);
                }
            }
        }
    }

    fn seen(&mut self, cx: &mut Cx<'_>, pod: &Arc<Object>) {
        if pod.annotation(super::EXTERNAL).is_some() {
            return;
        }
        if let Some(serial) = self.serials.get(&pod.meta.uid) {
            let serial = *serial;
            return self.with(cx, serial, |worker, shared, cx| worker.changed(shared, cx, pod));
        }
        self.next += 1;
        let serial = self.next;
        self.serials.insert(pod.meta.uid.clone(), serial);
        let worker = Worker::new(serial, pod.clone(), cx.now());
        self.workers.insert(serial, Arc::new(worker));
        self.with(cx, serial, Worker::start);
    }

    fn vanished(&mut self, cx: &mut Cx<'_>, pod: &Object) {
        cx.note(Milestone::PodGone { pod: pod.meta.name.clone() });
        if let Some(serial) = self.serials.get(&pod.meta.uid).copied() {
            self.with(cx, serial, Worker::vanish);
        }
    }

    /// Lets a Pod's worker do something, and drops it when it is through.
    fn with(
        &mut self,
        cx: &mut Cx<'_>,
        serial: u32,
        act: impl FnOnce(&mut Worker, &mut Shared, &mut Cx<'_>),
    ) {
        let Some(worker) = self.workers.get_mut(&serial) else {
            return;
        };
        let worker = Arc::make_mut(worker);
        act(worker, &mut self.shared, cx);
        worker.settle(&mut self.shared, cx);
        if matches!(worker.stage, Stage::Finishing | Stage::Over) {
            self.shared.free_volumes(serial);
        }
        if worker.stage == Stage::Over {
            if let Some(ip) = worker.ip.clone().filter(|ip| *ip != self.shared.host_ip) {
                self.shared.release_ip(&ip);
            }
            self.serials.remove(&worker.pod.meta.uid.clone());
            self.workers.remove(&serial);
        }
        if std::mem::take(&mut self.shared.volumes_changed) {
            self.heart.volumes_changed(&mut self.shared, cx);
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, ticket: Ticket, response: &Response) {
        match self.shared.asked.remove(&ticket) {
            Some(Asked::Status(serial)) => self.with(cx, serial, |worker, shared, cx| {
                let answer = response.as_ref().map(|_| requests::object_of(response));
                worker.status_written(shared, cx, answer);
            }),
            Some(Asked::Delete(serial)) => self.with(cx, serial, |worker, _, cx| {
                worker.deletion_answered(cx, response.as_ref().map(|_| ()));
            }),
            Some(Asked::Register) => self.heart.registered(&mut self.shared, cx, response),
            Some(Asked::NodeStatus) => self.heart.status_answered(response),
            Some(Asked::Lease) => self.heart.lease_answered(&mut self.shared, cx, response),
            // An Event.
            None => {}
        }
    }

    /// Tells the Pods that show an object that it changed.
    fn object_changed(&mut self, cx: &mut Cx<'_>, object: &Object) {
        let key = (object.kind, object.meta.name.clone());
        let shows = |w: &Arc<Worker>| {
            w.pod.meta.namespace == object.meta.namespace && w.spec.shown.contains(&key)
        };
        let serials: Vec<_> =
            self.workers.iter().filter(|(_, w)| shows(w)).map(|(s, _)| *s).collect();
        for serial in serials {
            self.with(cx, serial, |worker, _, cx| worker.files_changed(cx));
        }
    }

    fn others_learned(&mut self, cx: &mut Cx<'_>, input: &Input) {
        let learned = self
            .shared
            .caches_mut()
            .iter_mut()
            .map(|cache| cache.learn(input))
            .find(|l| !matches!(l, Learned::NotMine));
        match learned {
            Some(Learned::One { old, new, .. }) => {
                let same = match (&old, &new) {
                    (Some(old), Some(new)) => {
                        Arc::ptr_eq(&old.body, &new.body) || old.body == new.body
                    }
                    _ => false,
                };
                if let Some(object) = new.or(old).filter(|_| !same) {
                    self.object_changed(cx, &object);
                }
            }
            Some(Learned::All) => {
                let serials: Vec<_> = self.workers.keys().copied().collect();
                for serial in serials {
                    self.with(cx, serial, |worker, _, cx| worker.files_changed(cx));
                }
            }
            Some(Learned::NotMine) | None => {}
        }
    }
}

impl Actor for Kubelet {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match &input {
            Input::Start => {
                self.shared.open(cx);
                self.pods = Some(Informer::pods_of(cx, &self.shared.config.name));
                self.heart.start(&mut self.shared, cx);
                // Nodes that start together do not beat together.
                let offset = Span::us(super::pod::draw(cx, "heartbeat", PERIOD.0.unsigned_abs()));
                cx.timer(offset, HEARTBEAT);
            }
            Input::Timer(HEARTBEAT) => {
                cx.timer(PERIOD, HEARTBEAT);
                self.heart.beat(&mut self.shared, cx);
            }
            Input::Timer(token) => {
                let (serial, slot, tick) = timer_of(*token);
                self.with(cx, serial, |worker, shared, cx| worker.tick(shared, cx, slot, tick));
            }
            Input::Response(ticket, response) => self.answered(cx, *ticket, response),
            Input::Exited(process, code) => {
                let out_of_memory = cx.ran_out_of_memory(*process);
                if let Some((serial, slot)) = self.shared.processes.remove(process) {
                    self.with(cx, serial, |worker, shared, cx| {
                        worker.ended(shared, cx, slot, *code, String::new());
                        if out_of_memory {
                            worker.ran_out_of_memory(slot);
                        }
                    });
                }
            }
            Input::Listed(..) | Input::Changed(..) => {
                let learned = self.pods.as_mut().map_or(Learned::NotMine, |p| p.learn(&input));
                if matches!(learned, Learned::NotMine) {
                    self.others_learned(cx, &input);
                } else {
                    self.pods_learned(cx, learned);
                }
            }
            _ => {}
        }
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        let mut hash = hash;
        self.shared.images.hash(&mut hash);
        for worker in self.workers.values() {
            (normal(&worker.pod.meta.name), worker.stage).hash(&mut hash);
            for container in &worker.containers {
                (container.running(), container.ready).hash(&mut hash);
            }
        }
    }

    crate::actor_boilerplate!();
}
