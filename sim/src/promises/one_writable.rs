//! > Never two instances writable and reachable through the primary Service for new connections, outside the one window
//! > that Patroni itself leaves (patroni.md §8.4-3: hung Patroni, live PostgreSQL); that window is measured and bounded,
//! > and we never lengthen it.
//!
//! Looked at after every event. The window opens when a second member is promoted while the first one's Patroni hangs
//! with PostgreSQL alive. It ends with the first one's next loop, or when its liveness probe fails and its container is
//! stopped: [`bound`]. On a machine that stands still nothing is written; when it goes on, its Patroni was hung.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, Object, labels, names};

use super::seen::{Cluster, Log, Seen, key};
use super::{Checker, Promise, When};
use crate::patroni::Member;
use crate::time::{Span, Time};
use crate::world::{KubeId, World};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 1,
    name: "one writable",
    words: "Never two instances writable and reachable through the primary Service for new connections, outside the one \
            window that Patroni itself leaves (patroni.md §8.4-3: hung Patroni, live PostgreSQL); that window is \
            measured and bounded, and we never lengthen it.",
    when: &[When::Event],
    file: file!(),
    held_by: &[],
};

/// How the Endpoints with Patroni's configuration end, after the scope.
pub(super) const CONFIG: &str = "-config";
/// The grace that a container is given between SIGTERM and SIGKILL.
const GRACE: Span = Span::s(30);
/// What the probe's own timeouts and the kubelet's turns may add.
const SLACK: Span = Span::s(10);

/// How long the window may last at most, from the second promotion on. The lease runs out after T, and by then the
/// probe has failed for about as long: it takes T/L periods of L and half of one more; then come SIGTERM and SIGKILL.
fn bound(cluster: &Object) -> Span {
    let seconds = |key: &str, default: i64| {
        Span::s(cluster.i64_at(&["spec", "patroni", key]).unwrap_or(default))
    };
    let (lease, period) =
        (seconds("leaderLeaseDurationSeconds", 30), seconds("syncPeriodSeconds", 10));
    // The lease was renewed up to a period before Patroni was stopped, and the probe begins to fail up to one after.
    lease.min(period + period + Span(period.0 / 2)) + GRACE + SLACK
}

/// Since when two members of a cluster are writable.
#[derive(Clone, Default)]
pub(super) struct State {
    windows: BTreeMap<Cluster, Time>,
    /// When one of them had a hung Patroni last. One that goes on has yet to learn what it missed.
    hung: BTreeMap<Cluster, Time>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        for (kube, cluster) in seen.clusters() {
            let (namespace, name) = (&cluster.meta.namespace, &cluster.meta.name);
            let members = seen.members(kube, namespace, name);
            log.looked(&PROMISE);
            let key = key(kube, cluster);
            let still = |m: &Member| still_until(seen.world, kube, m);
            let hung = |m: &&Member| m.hung().then(|| seen.now()).max(still(m));
            if let Some(until) = members.iter().filter_map(hung).max() {
                self.hung.insert(key.clone(), until);
            }
            let lately = self.hung.get(&key).is_some_and(|at| seen.now() - *at < bound(cluster));
            let writable = writable_together(seen.world, kube, members).filter(|_| !lately);
            let addresses = addresses(seen.world, kube, namespace, &names::scope(name));
            for wrong in writable.into_iter().chain(addresses) {
                log.broken(&PROMISE, wrong);
            }
            let visible =
                |m: &&&Member| m.writable() && still(m).is_none() && !hidden(seen.world, kube, m);
            if members.iter().filter(visible).count() < 2 {
                self.windows.remove(&key);
                continue;
            }
            let since = *self.windows.entry(key).or_insert(seen.now());
            let end = since + bound(cluster);
            if seen.now() >= end {
                let span = (seen.now() - since).seconds();
                let text = format!(
                    "two members of {name} have been writable for {span:.1} s, one of them with a hung Patroni"
                );
                log.broken(&PROMISE, text);
            } else {
                log.wake(end);
            }
        }
    }
}

/// A stranger who takes the scope's label off a Pod hides the member from the others. If the leader's key is deleted as
/// well, nobody can know of it until it looks itself: no promise holds against that.
fn hidden(world: &World, kube: KubeId, member: &Member) -> bool {
    let config = member.config();
    let pod = world.kube(kube).api.get(Kind::Pod, &config.namespace, &config.name);
    pod.is_some_and(|p| p.label(labels::CLUSTER).is_none())
}

/// Until when the machine of a member stands still.
fn still_until(world: &World, kube: KubeId, member: &Member) -> Option<Time> {
    let config = member.config();
    let pod = world.kube(kube).api.get(Kind::Pod, &config.namespace, &config.name);
    world.still_until(kube, pod?.str_at(&["spec", "nodeName"])?)
}

/// What is wrong with a scope now, in words; empty when nothing is: patroni.md §8.4-3 (one writable primary, the window
/// apart) and §8.4-5 (at most one address in the leader's Endpoints).
#[must_use]
pub fn violations(
    world: &World,
    kube: KubeId,
    namespace: &str,
    scope: &str,
    members: &[&Member],
) -> Vec<String> {
    let writable = writable_together(world, kube, members);
    writable.into_iter().chain(addresses(world, kube, namespace, scope)).collect()
}

fn writable_together(world: &World, kube: KubeId, members: &[&Member]) -> Option<String> {
    let writable: Vec<Arc<str>> = members
        .iter()
        .filter(|m| m.writable() && !m.hung() && !hidden(world, kube, m))
        .map(|m| m.config().name.clone())
        .collect();
    let several = writable.len() > 1;
    several.then(|| format!("{} members are writable: {}", writable.len(), writable.join(", ")))
}

fn addresses(world: &World, kube: KubeId, namespace: &str, scope: &str) -> Option<String> {
    let leader = world.kube(kube).api.get(Kind::Endpoints, namespace, scope)?;
    let addresses = leader
        .at(&["subsets"])
        .and_then(|s| s.as_array())
        .into_iter()
        .flatten()
        .filter_map(|s| s.get("addresses")?.as_array())
        .map(Vec::len)
        .sum::<usize>();
    (addresses > 1).then(|| format!("{scope} has {addresses} addresses"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::kube::Subresource;
    use crate::patroni::check::member_of_pod;
    use crate::patroni::check::writable_primaries;
    use crate::patroni::fault::hang_patroni;

    #[test]
    fn two_addresses_of_the_leader_are_seen() {
        let mut world = ready();
        let scope = the(&world, Kind::Endpoints, &names::scope(CLUSTER));
        let two = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}]});
        done(&mut world, &patch(&scope, Subresource::None, two));
        let wrong =
            found(world.now(), |log| State::default().event(&seen(&world, &Plans::default()), log));
        assert_eq!(wrong, ["hippo0-ha has 2 addresses"]);
    }

    #[test]
    fn the_window_of_a_hung_patroni_is_as_short_as_its_bound_and_longer_ones_are_seen() {
        let mut world = ready();
        let pod = members(&world)[0].config().name.clone();
        let namespace = members(&world)[0].config().namespace.clone();
        let leader = member_of_pod(&world, KUBE, &namespace, &pod).expect("it lives");
        hang_patroni(&mut world, leader, 255);
        let two = |world: &World| {
            writable_primaries(world, KUBE, &namespace, &names::scope(CLUSTER)).len() == 2
        };
        let end = world.now() + Span::s(250);
        let (mut opened, mut closed, mut late) = (None, None, Vec::new());
        while world.now() < end && closed.is_none() {
            world.step();
            match (two(&world), opened) {
                (true, None) => {
                    opened = Some(world.now());
                    let key = (KUBE, namespace.clone(), CLUSTER.into());
                    let mut long =
                        State { windows: [(key, Time::START)].into(), ..State::default() };
                    late =
                        found(world.now(), |log| long.event(&seen(&world, &Plans::default()), log));
                }
                (false, Some(_)) => closed = Some(world.now()),
                _ => {}
            }
        }
        let lasted = closed.expect("it ends") - opened.expect("there is one");
        assert!(lasted < bound(&the(&world, Kind::IvoryCluster, CLUSTER)), "{}", lasted.seconds());
        assert!(world.findings().is_empty(), "{:?}", world.findings());
        assert!(late.len() == 1 && late[0].contains("with a hung Patroni"), "{late:?}");
    }
}
