//! > No acknowledged commit is lost by an action that the operator chose (scale, rollout, switchover, restore on or off,
//! > promotion, upgrade).
//!
//! Looked at whenever a member becomes the leader: the rows that clients were told of must be there, if it was the
//! operator that took the former leader away and nobody else had a hand in it. At the end, a story says how many rows may
//! be missing; where nothing struck that may cost rows, that is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, Object, labels, names};

use super::seen::{Cluster, Log, Seen, Write, Writes, key};
use super::{Checker, Promise, When};
use crate::client::{Client, lost_rows};
use crate::time::{Span, Time};
use crate::world::journal::Milestone;
use crate::world::{ActorId, KubeId, World};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 2,
    name: "no commit lost",
    words: "No acknowledged commit is lost by an action that the operator chose (scale, rollout, switchover, restore on \
            or off, promotion, upgrade).",
    when: &[When::Event, When::End],
    file: file!(),
    held_by: &[],
};

/// How long after an action of the operator a change of the leader counts as its effect.
const EFFECT: Span = Span::s(120);
/// How long after a blow, by a person or a fault, whatever happens may be its effect.
const BLOW: Span = Span::s(600);

/// Who acted last.
#[derive(Clone, Default)]
pub(super) struct State {
    chosen: BTreeMap<Cluster, (Time, String)>,
    blow: Option<Time>,
    /// The Pods that lead since, and are not writable yet.
    leads: BTreeMap<(KubeId, Arc<str>), Time>,
}

impl Checker for State {
    fn write(&mut self, write: &Write<'_>, _: &mut Log<'_>) {
        let chosen = match write.what {
            Writes::Exec(..) => write.what.disrupts(),
            Writes::Request(_) => write.deletes().is_some_and(|o| {
                matches!(o.kind, Kind::Pod | Kind::StatefulSet)
                    && o.label(labels::INSTANCE).is_some()
            }),
        };
        let Some(cluster) = write.live().filter(|_| chosen).and_then(|o| write.cluster_of(o))
        else {
            return;
        };
        self.chosen.insert(key(write.kube, cluster), (write.world.now(), write.text()));
    }

    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        for entry in seen.news {
            match &entry.what {
                Milestone::Fault { .. } => self.blow = Some(entry.at),
                // What people do to objects beside the cluster's spec.
                Milestone::Step { text } if !edits(text) => self.blow = Some(entry.at),
                Milestone::Database { pod, text } if text.starts_with("is the leader") => {
                    self.leads.insert((entry.kube, pod.clone()), entry.at);
                }
                _ => {}
            }
        }
        let leads = std::mem::take(&mut self.leads);
        for ((kube, pod), since) in leads {
            if !self.led(seen, kube, &pod, log) && seen.now() - since < EFFECT {
                self.leads.insert((kube, pod), since);
            }
        }
    }
}

/// Whether a step of a story only waits, looks, or edits a cluster.
fn edits(step: &str) -> bool {
    let harmless = [
        "apply",
        "patch",
        "scale",
        "wait",
        "expect",
        "advance",
        "connect",
        "disconnect",
        "sql",
        "mark",
        "annotate",
    ];
    step.split(' ').next().is_some_and(|word| harmless.contains(&word))
}

impl State {
    /// A Pod's member leads: does it have all rows? False while it is not writable.
    fn led(&self, seen: &Seen<'_>, kube: KubeId, pod: &str, log: &mut Log<'_>) -> bool {
        let of = |(at, cluster): &(KubeId, &Arc<Object>)| {
            let meta = &cluster.meta;
            let members = seen.members(kube, &meta.namespace, &meta.name);
            *at == kube && members.iter().any(|m| *m.config().name == *pod && m.writable())
        };
        let Some((_, cluster)) = seen.clusters().find(of) else { return false };
        let (namespace, name) = (&cluster.meta.namespace, &cluster.meta.name);
        let clients = clients_of(seen.world, kube, name);
        if clients.is_empty() {
            return true;
        }
        let Some(lost) = lost_rows(seen.world, kube, namespace, &names::scope(name), &clients)
        else {
            return false;
        };
        log.looked(&PROMISE);
        let Some((at, what)) =
            self.chosen.get(&key(kube, cluster)).filter(|(at, _)| seen.now() - *at <= EFFECT)
        else {
            return true;
        };
        if self.blow.is_some_and(|blow| seen.now() - blow <= BLOW) {
            return true;
        }
        for (client, rows) in lost {
            let (rows, at) = (rows.len(), at.seconds());
            let text = format!(
                "{pod} leads and lacks {rows} rows that {client} was told of, after the operator's {what} at {at:.1} s"
            );
            log.broken(&PROMISE, text);
        }
        true
    }
}

/// The clients that connect to a cluster through its primary Service.
fn clients_of(world: &World, kube: KubeId, cluster: &str) -> Vec<ActorId> {
    let service = names::primary_service(cluster);
    let mine = world.actors().filter(|(_, at, actor)| {
        let client = actor.any().downcast_ref::<Client>();
        *at == kube && client.is_some_and(|c| c.host().split('.').next() == Some(&*service))
    });
    mine.map(|(id, ..)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::client::ClientStart;
    use crate::lab::NAMESPACE;

    #[test]
    fn rows_that_a_leader_lacks_are_seen_if_the_operator_chose_it() {
        let mut world = ready();
        let secret = names::pguser_secret(CLUSTER, CLUSTER);
        let every = Span::s(1);
        let start = ClientStart::from_secrets(&world, KUBE, NAMESPACE, &secret, None, "app", every);
        world.spawn(KUBE, Arc::new(Client::new(start.expect("a user"))), None, None);
        world.advance(Span::s(5));
        let leader = members(&world)[0];
        let (pod, volume) = (leader.config().name.clone(), leader.volume().to_owned());
        let key = (KUBE, NAMESPACE.into(), CLUSTER.into());
        let now = world.now();
        let chosen = State {
            chosen: [(key, (now, "delete Pod x".to_owned()))].into(),
            blow: None,
            leads: [((KUBE, pod), now)].into(),
        };
        let ask = |world: &World, mut state: State| {
            found(world.now(), |log| state.event(&seen(world, &Plans::default()), log))
        };
        assert_eq!(ask(&world, chosen.clone()), [""; 0], "all is there");
        for data in
            world.kube_mut(KUBE).volume_mut(&volume).expect("a disk").directories.values_mut()
        {
            data.contents = Default::default();
        }
        let wrong = ask(&world, chosen.clone());
        assert!(wrong.len() == 1 && wrong[0].contains("rows that app was told of"), "{wrong:?}");
        let struck = State { blow: Some(now), ..chosen.clone() };
        assert_eq!(ask(&world, struck), [""; 0], "a fault may cost rows");
        let unchosen = State { chosen: BTreeMap::new(), ..chosen };
        assert_eq!(ask(&world, unchosen), [""; 0], "so may a crash");
    }
}
