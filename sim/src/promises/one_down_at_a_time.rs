//! > At most one instance of a cluster is down by our hand at a time (down: taken by us and not yet streaming), shutdown,
//! > deletion and restore apart; the last writable pod is never deleted while another repair is possible.
//!
//! Looked at before every write that takes an instance down: the deletion of its Pod or workload, a restart in place. An
//! instance that was not up is not taken down, nor is a standby whose Pod was not ready: nobody is led to that, and who reads
//! the API can't know better. One that was taken is down until its member writes or streams again, or
//! until nothing of it is left. The second half is seen at every plan (`ivory_core::check`).

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::command::Command;
use ivory_core::plan::Propagation;
use ivory_core::{Kind, Object, labels, names};

use super::seen::{Cluster, Log, Seen, Write, Writes, key, switched};
use super::{Checker, Promise, When};
use crate::kube::Verb;
use crate::patroni::Member;
use crate::patroni::check::member_of_pod;
use crate::time::{Span, Time};
use crate::world::{KubeId, World};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 5,
    name: "one down at a time",
    words: "At most one instance of a cluster is down by our hand at a time (down: taken by us and not yet streaming), \
            shutdown, deletion and restore apart; the last writable pod is never deleted while another repair is \
            possible.",
    when: &[When::Write, When::Pass],
    file: file!(),
    held_by: &[],
};

/// How long a restart in place may take until it begins; one that was not needed never does.
const BEGINS: Span = Span::s(5);

/// An instance that was taken down.
#[derive(Clone, Debug)]
struct Down {
    since: Time,
    what: String,
    pod: Arc<str>,
    /// The life of the Pod that was to end; none for a restart in place.
    life: Option<Arc<str>>,
}

/// Which instances are down by the operator's hand.
#[derive(Clone, Default)]
pub(super) struct State {
    down: BTreeMap<Cluster, BTreeMap<String, Down>>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        let now = seen.now();
        for ((kube, namespace, _), down) in &mut self.down {
            down.retain(|instance, down| {
                let over = over(seen.world, *kube, namespace, instance, down, now);
                if !over {
                    log.wake(now + BEGINS);
                }
                !over
            });
        }
        self.down.retain(|_, down| !down.is_empty());
    }

    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        let Some((instance, pod, life)) = taken(write) else { return };
        let Some(cluster) = write.live().and_then(|o| write.cluster_of(o)) else { return };
        let namespace = &cluster.meta.namespace;
        if switched(cluster, "shutdown") || !serves(write, cluster, &pod) {
            return;
        }
        // Patroni restarts nobody who waits for nothing (any more).
        let waits = |m: &Member| m.waits_for_restart();
        if life.is_none() && !member(write.world, write.kube, namespace, &pod).is_some_and(waits) {
            return;
        }
        log.looked(&PROMISE);
        let now = write.world.now();
        let down = self.down.entry(key(write.kube, cluster)).or_default();
        down.retain(|instance, down| {
            !over(write.world, write.kube, namespace, instance, down, now)
        });
        for (other, before) in down.iter().filter(|(other, _)| **other != instance) {
            let text = format!(
                "{} takes {instance} down, while {other} is not back since the operator's {} at {:.1} s",
                write.text(),
                before.what,
                before.since.seconds()
            );
            log.broken(&PROMISE, text);
        }
        let what = write.text();
        down.insert(instance, Down { since: now, what, pod, life });
        log.wake(now + BEGINS);
    }
}

/// The instance that a write takes down, its Pod, and the Pod's life if that is to end.
fn taken(write: &Write<'_>) -> Option<(String, Arc<str>, Option<Arc<str>>)> {
    let instance = |o: &Object| o.label(labels::INSTANCE).map(str::to_owned);
    match write.what {
        Writes::Exec(target, Command::RestartPending { member, .. }, _) => {
            let pod = write.get(Kind::Pod, &target.namespace, member)?;
            Some((instance(pod)?, pod.meta.name.clone(), None))
        }
        Writes::Exec(..) => None,
        Writes::Request(request) => {
            let object = write.deletes()?;
            let orphans = matches!(&request.verb,
                Verb::Delete { options, .. } if options.propagation == Some(Propagation::Orphan));
            let pod = match object.kind {
                Kind::Pod => object,
                Kind::StatefulSet if !orphans => write.get(
                    Kind::Pod,
                    &object.meta.namespace,
                    &names::pod_of(&object.meta.name),
                )?,
                _ => return None,
            };
            // A Pod that goes already was taken before.
            if pod.terminating() {
                return None;
            }
            Some((instance(object)?, pod.meta.name.clone(), Some(pod.meta.uid.clone())))
        }
    }
}

/// Whether an instance is not down by our hand any more.
fn over(
    world: &World,
    kube: KubeId,
    namespace: &str,
    instance: &str,
    down: &Down,
    now: Time,
) -> bool {
    let api = &world.kube(kube).api;
    // It was removed, and does not come back.
    if api.get(Kind::StatefulSet, namespace, instance).is_none() {
        return true;
    }
    let pod = api.get(Kind::Pod, namespace, &down.pod);
    let up = up(world, kube, namespace, &down.pod);
    match &down.life {
        None => {
            let waits = |m: &Member| m.waits_for_restart();
            let member = member(world, kube, namespace, &down.pod);
            up && (!member.is_some_and(waits) || now - down.since >= BEGINS)
        }
        Some(life) => up && pod.is_some_and(|p| p.meta.uid != *life),
    }
}

/// Whether clients have something of the member of a Pod: they are led to it, and it writes or streams. Nobody is led to a
/// primary that was deposed while its Patroni hung.
fn serves(write: &Write<'_>, cluster: &Object, pod: &str) -> bool {
    let namespace = &cluster.meta.namespace;
    let Some(member) = member(write.world, write.kube, namespace, pod) else { return false };
    let ready = || write.get(Kind::Pod, namespace, pod).is_some_and(|p| p.condition_true("Ready"));
    let leads = || {
        let lease = write.get(Kind::Endpoints, namespace, &names::scope(&cluster.meta.name));
        lease.is_some_and(|e| e.annotation("leader") == Some(pod))
    };
    (member.writable() && leads()) || (member.streams() && ready())
}

/// Whether the member of a Pod writes or streams.
fn up(world: &World, kube: KubeId, namespace: &str, pod: &str) -> bool {
    member(world, kube, namespace, pod).is_some_and(|m| m.writable() || m.streams())
}

fn member<'a>(world: &'a World, kube: KubeId, namespace: &str, pod: &str) -> Option<&'a Member> {
    member_of_pod(world, kube, namespace, pod).and_then(|id| world.actor(id))
}

#[cfg(test)]
mod tests {
    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;

    #[test]
    fn a_second_instance_is_seen_until_the_first_is_back() {
        let mut world = ready();
        let pods: Vec<Arc<str>> =
            members(&world)[1..].iter().map(|m| m.config().name.clone()).collect();
        let mut state = State::default();
        let plans = Plans::default();
        let take = |state: &mut State, world: &World, pod: &str| {
            let request = deletion(&the(world, Kind::Pod, pod));
            found(world.now(), |log| state.write(&writes(world, &request, &plans), log))
        };
        assert_eq!(take(&mut state, &world, &pods[0]), [""; 0]);
        assert_eq!(take(&mut state, &world, &pods[0]), [""; 0], "the same again");
        let wrong = take(&mut state, &world, &pods[1]);
        assert!(wrong.len() == 1 && wrong[0].contains("is not back since"), "{wrong:?}");
        let mut state = State::default();
        take(&mut state, &world, &pods[0]);
        let request = deletion(&the(&world, Kind::Pod, &pods[0]));
        done(&mut world, &request);
        world.advance(Span::s(300));
        assert_eq!(take(&mut state, &world, &pods[1]), [""; 0], "it is back");
    }
}
