//! The controllers of kube-controller-manager, as one actor with shared watch caches or as one actor each.
//! They behave as Kubernetes 1.34's do at the depth that a database operator can notice; each file says what
//! it leaves out. None records Events.

pub mod cron;
mod cronjob;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
pub mod framework;
mod gc;
mod job;
mod mirroring;
mod namespace;
mod nodelife;
mod podgc;
mod pods_of_service;
mod protection;
mod replicaset;
mod revisions;
mod serviceaccount;
mod statefulset;
mod support;
#[cfg(test)]
mod tests;
mod volumes;

use std::sync::Arc;

use framework::{Controller, Manager};

use crate::world::{ActorId, KubeId, World};

/// Every controller.
pub const ALL: &[&dyn Controller] = &[
    &statefulset::StatefulSets,
    &deployment::Deployments,
    &replicaset::ReplicaSets,
    &job::Jobs,
    &job::FinishedJobs,
    &cronjob::CronJobs,
    &endpoints::EndpointsOfServices,
    &endpointslice::SlicesOfServices,
    &mirroring::MirroredSlices,
    &volumes::VolumeBinder,
    &volumes::VolumeExpander,
    &protection::VolumeProtection,
    &disruption::Budgets,
    &gc::GarbageCollector,
    &namespace::Namespaces,
    &serviceaccount::DefaultAccounts,
    &podgc::PodCollector,
    &nodelife::NodeLifecycle,
];

/// Starts all controllers of a Kubernetes as the one actor `kcm`, as in reality: they share watch caches, lag
/// together and die together. Each speaks to the API server under its own name, `kcm/statefulset` and so on.
pub fn spawn_all(world: &mut World, kube: KubeId) -> ActorId {
    world.spawn(kube, Arc::new(Manager::new("kcm", ALL)), None, None)
}

/// Starts every controller as an actor of its own, `kcm/statefulset` and so on, so that each can lag or die
/// alone. Costs a watch of every kind per controller.
pub fn spawn_apart(world: &mut World, kube: KubeId) -> Vec<ActorId> {
    ALL.iter()
        .map(|controller| {
            let name = format!("kcm/{}", controller.name());
            let manager = Manager::new(&name, std::slice::from_ref(controller));
            world.spawn(kube, Arc::new(manager), None, None)
        })
        .collect()
}
