//! One Kubernetes of the world: its API server, its disks, and who listens where.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;

use crate::disk::Volume;
use crate::kube::ApiServer;
use crate::node::Registry;
use crate::world::actor::{ActorId, Place};
use crate::world::watchers::Watchers;

/// One Kubernetes.
#[derive(Clone)]
pub struct Kube {
    /// Its API server.
    pub api: ApiServer,
    /// Which images its nodes can pull.
    pub registry: Registry,
    volumes: BTreeMap<Arc<str>, Arc<Volume>>,
    listeners: BTreeMap<(Arc<str>, u16), ActorId>,
    processes: BTreeMap<ProcessKey, Process>,
    pub(super) watchers: BTreeMap<Kind, Watchers>,
    /// Up to which resourceVersion changes were handed to the watches.
    pub(super) handed_out: u64,
    /// How many changes the API server remembers beyond that. The watches of a world are handed each change at
    /// once and need none; who reads changes from outside sets it to [`crate::kube::REMEMBERED`].
    pub history: usize,
}

/// Namespace, Pod, container.
type ProcessKey = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Clone)]
struct Process {
    uid: Arc<str>,
    actor: ActorId,
}

impl Kube {
    /// A Kubernetes around an API server.
    #[must_use]
    pub fn new(api: ApiServer) -> Self {
        let handed_out = api.resource_version();
        Self {
            api,
            registry: Registry::default(),
            volumes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            processes: BTreeMap::new(),
            watchers: BTreeMap::new(),
            handed_out,
            history: 0,
        }
    }

    /// The contents of a volume, by the PersistentVolume's name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.get(name).map(|v| &**v)
    }

    /// The contents of a volume, for changing.
    pub fn volume_mut(&mut self, name: &str) -> Option<&mut Volume> {
        self.volumes.get_mut(name).map(Arc::make_mut)
    }

    /// All volumes by name.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &Volume)> {
        self.volumes.iter().map(|(name, volume)| (&**name, &**volume))
    }

    /// Makes an empty volume.
    pub fn add_volume(&mut self, name: &str, volume: Volume) {
        self.volumes.insert(name.into(), Arc::new(volume));
    }

    /// Destroys a volume and what is on it.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    /// Who listens at an address.
    #[must_use]
    pub fn listener(&self, ip: &str, port: u16) -> Option<ActorId> {
        self.listeners.get(&(Arc::from(ip), port)).copied()
    }

    /// The process in a container, and the UID of its Pod.
    #[must_use]
    pub fn process(&self, namespace: &str, pod: &str, container: &str) -> Option<(ActorId, &str)> {
        let key = (Arc::from(namespace), Arc::from(pod), Arc::from(container));
        self.processes.get(&key).map(|p| (p.actor, &*p.uid))
    }

    pub(super) fn moved_in(&mut self, place: &Place, actor: ActorId) {
        let key = (place.namespace.clone(), place.pod.clone(), place.container.clone());
        self.processes.insert(key, Process { uid: place.pod_uid.clone(), actor });
        for &port in &place.ports {
            self.listeners.insert((place.ip.clone(), port), actor);
        }
    }

    pub(super) fn moved_out(&mut self, place: &Place, actor: ActorId) {
        let key = (place.namespace.clone(), place.pod.clone(), place.container.clone());
        if self.processes.get(&key).is_some_and(|p| p.actor == actor) {
            self.processes.remove(&key);
        }
        self.listeners.retain(|_, listener| *listener != actor);
    }
}
