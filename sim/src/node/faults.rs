//! What strikes machines and containers. All of it happens at once, as a power cut does; what follows is the
//! kubelets', controllers' and processes' business.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::json;

use crate::kube::Verb;
use crate::node::json::{list, text};
use crate::node::person::Person;
use crate::node::{Drain, Kubelet, requests};
use crate::time::Span;
use crate::world::journal::Milestone;
use crate::world::{Actor, ActorId, Cx, Input, KubeId, World};

/// A machine that is switched off. It keeps what its disk has.
#[derive(Clone)]
struct Off {
    name: String,
    kubelet: Arc<Kubelet>,
}

impl Actor for Off {
    fn name(&self) -> &str {
        &self.name
    }
    fn on(&mut self, _cx: &mut Cx<'_>, _input: Input) {}
    crate::actor_boilerplate!();
}

fn kubelet(world: &World, kube: KubeId, node: &str) -> Option<(ActorId, Kubelet)> {
    let id = world.find(kube, &format!("kubelet/{node}"))?;
    Some((id, world.actor::<Kubelet>(id)?.clone()))
}

fn fault(world: &mut World, text: String) {
    world.remark(Milestone::Fault { text });
}

/// Cuts a machine's power: its kubelet and all processes on it are gone at once. Nothing tells the API server.
/// False when there is no such machine, or it is off.
pub fn crash_node(world: &mut World, kube: KubeId, node: &str) -> bool {
    let Some((id, state)) = kubelet(world, kube, node) else {
        return false;
    };
    fault(world, format!("node {node} crashes"));
    world.kill(id, 137);
    for process in world.processes_where(kube, |p| &*p.node == node) {
        world.kill(process, 137);
    }
    world.release_machine(kube, node);
    let off = Off { name: format!("off/{node}"), kubelet: Arc::new(state.rebooted(kube)) };
    world.spawn(kube, Arc::new(off), None, None);
    true
}

/// Lets a machine stand still for a time. False when there is no such machine, or it is off.
pub fn pause_node(world: &mut World, kube: KubeId, node: &str, how_long: Span) -> bool {
    if kubelet(world, kube, node).is_none() {
        return false;
    }
    world.hold_machine(kube, node, world.now() + how_long);
    true
}

/// Switches a crashed machine on again. Its Pods are started anew, with their UIDs. False when it is not off.
pub fn restart_node(world: &mut World, kube: KubeId, node: &str) -> bool {
    let Some(id) = world.find(kube, &format!("off/{node}")) else {
        return false;
    };
    let Some(kubelet) = world.actor::<Off>(id).map(|off| off.kubelet.clone()) else {
        return false;
    };
    fault(world, format!("node {node} starts again"));
    world.kill(id, 0);
    world.spawn(kube, kubelet, None, None);
    true
}

/// A machine burns down: as [`crash_node`], and what was on its local volumes is lost. The Node object stays
/// until somebody deletes it. False when there is no such machine.
pub fn lose_node_forever(world: &mut World, kube: KubeId, node: &str) -> bool {
    if !crash_node(world, kube, node) && world.find(kube, &format!("off/{node}")).is_none() {
        return false;
    }
    if let Some(off) = world.find(kube, &format!("off/{node}")) {
        world.kill(off, 0);
    }
    fault(world, format!("node {node} is lost for ever"));
    let local: Vec<Arc<str>> = world
        .kube(kube)
        .api
        .list(Kind::PersistentVolume, None)
        .filter(|v| only_on(v, node))
        .map(|v| v.meta.name.clone())
        .collect();
    for volume in local {
        world.kube_mut(kube).remove_volume(&volume);
    }
    true
}

/// Whether a volume is on one machine and nowhere else: its node affinity names just that host.
fn only_on(volume: &Object, node: &str) -> bool {
    let Some(required) = volume.at(&["spec", "nodeAffinity", "required"]) else {
        return false;
    };
    let terms = list(required, &["nodeSelectorTerms"]);
    let names_it = |e: &serde_json::Value| {
        text(e, &["key"]) == Some("kubernetes.io/hostname")
            && list(e, &["values"]).iter().all(|v| v.as_str() == Some(node))
    };
    !terms.is_empty() && terms.iter().all(|t| list(t, &["matchExpressions"]).iter().any(names_it))
}

/// A person, or a cloud's controller, deletes a Node object.
pub fn delete_node(world: &mut World, kube: KubeId, node: &str) {
    let Some(object) = world.kube(kube).api.get(Kind::Node, "", node).cloned() else {
        return;
    };
    insist(world, kube, requests::delete_now(&object));
}

/// The kernel ends a container that has used up its memory: all its processes, since kubelets group them
/// (`memory.oom.group`, Kubernetes 1.28+ with cgroup v2). The status says `OOMKilled`. False when none runs.
pub fn run_out_of_memory(
    world: &mut World,
    kube: KubeId,
    namespace: &str,
    pod: &str,
    container: &str,
) -> bool {
    end_where(world, kube, (namespace, pod), &|name| name == container, World::kill_for_memory)
}

/// Ends a container's processes by SIGKILL. False when none runs.
pub fn kill_container(
    world: &mut World,
    kube: KubeId,
    namespace: &str,
    pod: &str,
    container: &str,
) -> bool {
    end_where(world, kube, (namespace, pod), &|name| name == container, sigkill)
}

/// Ends all containers of a Pod by SIGKILL; the Pod stays, and starts them again. False when none runs.
pub fn kill_pod(world: &mut World, kube: KubeId, namespace: &str, pod: &str) -> bool {
    end_where(world, kube, (namespace, pod), &|_| true, sigkill)
}

fn sigkill(world: &mut World, process: ActorId) {
    world.kill(process, 137);
}

/// Ends the processes of those containers of a Pod that are wanted. False when none runs.
fn end_where(
    world: &mut World,
    kube: KubeId,
    (namespace, pod): (&str, &str),
    wanted: &dyn Fn(&str) -> bool,
    end: fn(&mut World, ActorId),
) -> bool {
    let processes = world.processes_where(kube, |p| {
        &*p.namespace == namespace && &*p.pod == pod && wanted(&p.container)
    });
    for process in &processes {
        end(world, *process);
    }
    !processes.is_empty()
}

/// Makes a node take no new Pods, or take them again.
pub fn cordon(world: &mut World, kube: KubeId, node: &str, unschedulable: bool) {
    let value = if unschedulable { json!(true) } else { json!(null) };
    let patch = json!({"spec": {"unschedulable": value}});
    insist(world, kube, requests::merge(Kind::Node, "", node, patch));
}

fn insist(world: &mut World, kube: KubeId, verb: Verb) {
    let person = Person::new(requests::request("kubectl", verb));
    world.spawn(kube, Arc::new(person), None, None);
}

/// Empties a node as `kubectl drain` does: cordons it, then evicts its Pods, again and again where a
/// disruption budget refuses. The actor ends when the node is empty.
pub fn drain_node(world: &mut World, kube: KubeId, node: &str) -> ActorId {
    cordon(world, kube, node, true);
    world.spawn(kube, Arc::new(Drain::new(node)), None, None)
}
