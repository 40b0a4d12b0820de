//! Nodes: the scheduler that chooses them, the kubelets that run Pods on them, and the faults that strike
//! them. What the processes in containers do is not known here: [`Programs`] makes them.

mod backoff;
mod container;
mod drain;
mod env;
mod events;
pub mod faults;
mod heartbeat;
mod images;
mod json;
mod kubelet;
mod launch;
mod mounts;
mod person;
mod pod;
mod probe;
pub mod programs;
mod quantity;
mod requests;
mod scheduler;
mod selector;
mod shared;
mod spec;
mod status;
mod volumes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use drain::Drain;
pub use env::Env;
pub use events::Recorder;
pub use images::Registry;
pub use kubelet::{Kubelet, NodeConfig};
pub use mounts::Mounts;
pub use programs::{ContainerStart, Disks, InitOutcome, Programs};
pub use scheduler::Scheduler;

use crate::world::{ActorId, KubeId, World};

/// The annotation of an external Pod: it is scheduled as any other, but no kubelet runs it. A process outside of the
/// simulation is what runs in it, writes its status, and ends its life when it is deleted.
pub const EXTERNAL: &str = "sim.ivorysql.org/external";

/// Starts the scheduler of a Kubernetes.
pub fn spawn_scheduler(world: &mut World, kube: KubeId) -> ActorId {
    world.spawn(kube, Arc::new(Scheduler::default()), None, None)
}

/// Puts a machine into a Kubernetes: its kubelet starts now, and registers the Node by itself.
pub fn spawn_node(
    world: &mut World,
    kube: KubeId,
    config: NodeConfig,
    programs: Arc<dyn Programs>,
) -> ActorId {
    world.spawn(kube, Arc::new(Kubelet::new(kube, config, programs)), None, None)
}
