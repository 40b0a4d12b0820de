//! What all Pods of one node share: its configuration, caches, images, addresses, and what its kubelet has asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::read::Selector;
use ivory_core::{Kind, Object};

use crate::kube::Verb;
use crate::node::{NodeConfig, Programs, Recorder, requests};
use crate::time::{Span, Time};
use crate::world::{ActorId, Cx, Informer, KubeId, Ticket};

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
    caches: Option<[Informer; 3]>,
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
            caches: None,
            last_ip: 0,
            used_ips: BTreeSet::new(),
        }
    }

    /// Opens the watches.
    pub fn open(&mut self, cx: &mut Cx<'_>) {
        let kinds = [Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim];
        self.caches = Some(kinds.map(|kind| Informer::open(cx, kind, None, Selector::default())));
        // After a restart no address comes back at once to somebody else.
        self.last_ip = u8::try_from(cx.rng("ip").below(254)).unwrap_or(0);
    }

    /// The caches of ConfigMaps, Secrets and claims.
    pub fn caches_mut(&mut self) -> &mut [Informer] {
        self.caches.as_mut().map_or(&mut [], |c| c.as_mut_slice())
    }

    /// Whether all caches have their first list.
    pub fn synced(&self) -> bool {
        self.caches.iter().flatten().all(Informer::synced) && self.caches.is_some()
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
    (
        (token >> 32) as u32,
        (token >> 8 & 0xff_ffff) as usize,
        tick,
    )
}
