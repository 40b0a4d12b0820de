//! What all Pods of one node share: its configuration, caches, images, addresses, and what its kubelet has asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::read::Selector;
use ivory_core::{Kind, Object};

use crate::kube::Verb;
use crate::node::{NodeConfig, Programs, Recorder, requests};
use crate::time::{Span, Time};
use crate::world::{ActorId, Cx, Informer, KubeId, Ticket};

/// Before a volume's name in `status.volumesInUse`.
const ATTACHED: &str = "kubernetes.io/csi/sim^";

/// What a kubelet asked the API server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The status of a Pod.
    Status(u32),
    /// The end of a Pod.
    Delete(u32),
    /// The Node's registration.
    Register,
    /// The Node's status.
    NodeStatus,
    /// The heartbeat.
    Lease,
}

/// Which timer rings: the Pod's number, the container's, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tick {
    /// The volumes are set up, or tried again.
    Mount,
    /// The files are written anew.
    Files,
    /// The status is written again.
    Status,
    /// The Pod's end is reported.
    Finish,
    /// A container's next step.
    Step,
    /// A container's SIGKILL.
    Kill,
    /// A probe.
    Probe(usize),
}

/// The node's part of a kubelet.
#[derive(Clone)]
pub struct Shared {
    /// Its configuration.
    pub config: Arc<NodeConfig>,
    /// What runs in containers.
    pub programs: Arc<dyn Programs>,
    /// Its own address.
    pub host_ip: Arc<str>,
    /// Images on the node.
    pub images: BTreeSet<Arc<str>>,
    /// Images on their way, and when they arrive.
    pub pulling: BTreeMap<Arc<str>, Time>,
    /// Processes by actor: the Pod's number and the container's.
    pub processes: BTreeMap<ActorId, (u32, usize)>,
    /// What waits for an answer.
    pub asked: BTreeMap<Ticket, Asked>,
    /// Events.
    pub recorder: Recorder,
    /// Whether the Node should say anew which volumes are in use.
    pub volumes_changed: bool,
    in_use: BTreeMap<u32, BTreeSet<Arc<str>>>,
    caches: Option<[Informer; 4]>,
    last_ip: u8,
    used_ips: BTreeSet<u8>,
}

impl Shared {
    /// Of a machine whose kubelet has not started.
    pub fn new(kube: KubeId, config: NodeConfig, programs: Arc<dyn Programs>) -> Self {
        Self {
            host_ip: format!("172.18.{}.{}", kube.0, u16::from(config.number) + 2).into(),
            config: Arc::new(config),
            programs,
            images: BTreeSet::new(),
            pulling: BTreeMap::new(),
            processes: BTreeMap::new(),
            asked: BTreeMap::new(),
            recorder: Recorder::new("kubelet"),
            volumes_changed: false,
            in_use: BTreeMap::new(),
            caches: None,
            last_ip: 0,
            used_ips: BTreeSet::new(),
        }
    }

    /// Opens the watches.
    pub fn open(&mut self, cx: &mut Cx<'_>) {
        let kinds = [Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim, Kind::Node];
        self.caches = Some(kinds.map(|kind| Informer::open(cx, kind, None, Selector::default())));
        // After a restart no address comes back at once to somebody else.
        self.last_ip = u8::try_from(cx.rng("ip").below(254)).unwrap_or(0);
    }

    /// The caches of ConfigMaps, Secrets, claims and Nodes.
    pub fn caches_mut(&mut self) -> &mut [Informer] {
        self.caches.as_mut().map_or(&mut [], |c| c.as_mut_slice())
    }

    /// Whether all caches have their first list.
    pub fn synced(&self) -> bool {
        self.caches.iter().flatten().all(Informer::synced) && self.caches.is_some()
    }

    /// The Node, as the API has it.
    pub fn node(&self) -> Option<Arc<Object>> {
        self.find(Kind::Node, "", &self.config.name)
    }

    /// A Pod uses volumes from now on.
    pub fn use_volumes(&mut self, serial: u32, volumes: BTreeSet<Arc<str>>) {
        if !volumes.is_empty() {
            self.in_use.insert(serial, volumes);
            self.volumes_changed = true;
        }
    }

    /// A Pod uses its volumes no more.
    pub fn free_volumes(&mut self, serial: u32) {
        self.volumes_changed |= self.in_use.remove(&serial).is_some();
    }

    /// What `status.volumesInUse` shows.
    pub fn volumes_in_use(&self) -> BTreeSet<String> {
        let all = self.in_use.values().flatten();
        all.map(|v| format!("{ATTACHED}{v}")).collect()
    }

    /// Whether another node says that it uses a volume, and if so, whether that node is ready.
    pub fn user_of(&self, volume: &str) -> Option<bool> {
        let nodes = self.caches.iter().flatten().find(|c| c.kind == Kind::Node)?;
        let uses = |node: &&Arc<Object>| {
            let names = crate::node::json::items(node, &["status", "volumesInUse"]);
            let is =
                |n: &serde_json::Value| n.as_str()?.strip_prefix(ATTACHED).map(|n| n == volume);
            *node.meta.name != *self.config.name && names.iter().any(|n| is(n) == Some(true))
        };
        nodes.iter().find(uses).map(|n| n.condition_true("Ready"))
    }

    /// An object that a Pod of a namespace refers to.
    pub fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let cache = self.caches.as_ref()?.iter().find(|c| c.kind == kind)?;
        cache.get(namespace, name).cloned()
    }

    /// Sends a request, and remembers what for.
    pub fn ask(&mut self, cx: &mut Cx<'_>, asked: Asked, verb: Verb) -> Ticket {
        let ticket = cx.submit(requests::request("kubelet/v1.34.0", verb));
        self.asked.insert(ticket, asked);
        ticket
    }

    /// A free address of this node.
    pub fn take_ip(&mut self, kube: KubeId) -> Arc<str> {
        for _ in 0..254 {
            self.last_ip = self.last_ip % 254 + 1;
            if self.used_ips.insert(self.last_ip) {
                break;
            }
        }
        format!("10.{}.{}.{}", kube.0, self.config.number, self.last_ip).into()
    }

    /// An address that nobody has any more.
    pub fn release_ip(&mut self, ip: &str) {
        let last = ip.rsplit('.').next().and_then(|n| n.parse().ok());
        if let Some(last) = last {
            self.used_ips.remove(&last);
        }
    }
}

/// Sets a timer of a Pod.
pub fn set_timer(cx: &mut Cx<'_>, serial: u32, slot: usize, tick: Tick, after: Span) {
    let what = match tick {
        Tick::Mount => 0,
        Tick::Files => 1,
        Tick::Status => 2,
        Tick::Finish => 3,
        Tick::Step => 4,
        Tick::Kill => 5,
        Tick::Probe(index) => 8 + index as u64,
    };
    cx.timer(after, u64::from(serial) << 32 | (slot as u64) << 8 | what);
}

/// What a timer of a Pod was set for.
pub fn timer_of(token: u64) -> (u32, usize, Tick) {
    let tick = match token & 0xff {
        0 => Tick::Mount,
        1 => Tick::Files,
        2 => Tick::Status,
        3 => Tick::Finish,
        4 => Tick::Step,
        5 => Tick::Kill,
        n => Tick::Probe((n as usize).saturating_sub(8)),
    };
    ((token >> 32) as u32, (token >> 8 & 0xff_ffff) as usize, tick)
}
