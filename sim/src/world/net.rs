//! The network: who can't reach whom. Places are nodes by name, `control-plane`, and `outside`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::world::World;
use crate::world::actor::{ActorId, KubeId};
use crate::world::message::Where;
use ivory_core::Kind;

/// Where the API server and the built-in controllers are.
pub const CONTROL_PLANE: &str = "control-plane";
/// Where people and applications outside the nodes are.
pub const OUTSIDE: &str = "outside";

/// Two places of a Kubernetes, in order.
type Pair = (KubeId, Arc<str>, Arc<str>);

/// Pairs of places between which nothing passes, in either direction.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Net {
    cut: Arc<BTreeSet<Pair>>,
    /// Where no name can be resolved.
    nameless: Arc<BTreeSet<KubeId>>,
}

/// Where an actor without a place is: a kubelet on its node, people outside, all others beside the API server.
pub(super) fn home(name: &str) -> Arc<str> {
    match name.split_once('/') {
        Some(("kubelet", node)) => node.into(),
        Some(("client" | "user", _)) => OUTSIDE.into(),
        _ => CONTROL_PLANE.into(),
    }
}

impl Net {
    /// Whether anybody can't reach or can't find somebody.
    pub(super) fn troubled(&self) -> bool {
        !self.cut.is_empty() || !self.nameless.is_empty()
    }

    pub(super) fn blocked(&self, kube: KubeId, a: &Arc<str>, b: &Arc<str>) -> bool {
        if self.cut.is_empty() || a == b {
            return false;
        }
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        self.cut.contains(&(kube, low.clone(), high.clone()))
    }
}

impl World {
    /// Whether nothing passes between an actor and whoever listens there.
    pub(super) fn apart(&self, kube: KubeId, from: ActorId, to: &Where) -> bool {
        let other = self.listener(kube, to);
        other.is_some_and(|other| {
            self.net.blocked(kube, &self.location(from), &self.location(other))
        })
    }

    /// Lets nothing pass between two places any more.
    pub fn partition(&mut self, kube: KubeId, a: &str, b: &str) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Arc::make_mut(&mut self.net.cut).insert((kube, low.into(), high.into()));
    }

    /// Joins all places again; watches that lost events list anew.
    pub fn heal_network(&mut self) {
        self.net.cut = Arc::default();
        self.reopen_broken_watches();
    }

    /// Lets no name of a Kubernetes be resolved any more, as when its DNS servers are down, or again. Connections
    /// that stand are not touched, nor whoever knows an address: the API server's is in every Pod's environment.
    pub fn resolve_names(&mut self, kube: KubeId, works: bool) {
        let nameless = Arc::make_mut(&mut self.net.nameless);
        match works {
            true => nameless.remove(&kube),
            false => nameless.insert(kube),
        };
    }

    /// Name resolution inside a Kubernetes: `pod.service[.namespace…]` of a headless Service leads to the Pod,
    /// a Service's name to one of its endpoints (the first ready one).
    #[must_use]
    pub fn resolve(&self, kube: KubeId, namespace: &str, host: &str, port: u16) -> Option<Where> {
        if self.net.nameless.contains(&kube) {
            return None;
        }
        let api = &self.kube(kube).api;
        let mut labels = host.trim_end_matches('.').split('.');
        let first = labels.next()?;
        // A Pod's name under its headless Service.
        if let Some(pod) = api.get(Kind::Pod, namespace, first) {
            let ip = pod.str_at(&["status", "podIP"])?;
            return Some(Where::Address { ip: ip.into(), port });
        }
        self.resolve_service(kube, namespace, first, port, 2)
    }

    fn resolve_service(
        &self,
        kube: KubeId,
        namespace: &str,
        service: &str,
        port: u16,
        hops: u8,
    ) -> Option<Where> {
        let api = &self.kube(kube).api;
        api.get(Kind::Service, namespace, service)?;
        let endpoints = api.get(Kind::Endpoints, namespace, service)?;
        let subset = endpoints.at(&["subsets"])?.as_array()?.first()?;
        let ip = subset.get("addresses")?.as_array()?.first()?.get("ip")?.as_str()?;
        let target = subset
            .get("ports")
            .and_then(|p| p.as_array()?.first()?.get("port")?.as_u64())
            .and_then(|p| u16::try_from(p).ok())
            .unwrap_or(port);
        // The primary Service points at another Service's ClusterIP.
        let behind = api
            .list(Kind::Service, Some(namespace))
            .find(|s| s.str_at(&["spec", "clusterIP"]) == Some(ip) && &*s.meta.name != service);
        match behind {
            Some(next) if hops > 0 => {
                self.resolve_service(kube, namespace, &next.meta.name.clone(), target, hops - 1)
            }
            _ => Some(Where::Address { ip: ip.into(), port: target }),
        }
    }
}
