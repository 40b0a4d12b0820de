//! > A bootstrapped data directory is rewritten only by a restore or upgrade request whose id is new and is recorded
//! > outside `.status`.
//!
//! Looked at after every event: the system identifier of a database, once known, is that of the cluster for good. Neither
//! restores nor upgrades are built, so nothing excuses another one but the loss of every volume that had the old.

use std::collections::BTreeMap;

use ivory_core::{Kind, labels, names};

use super::one_writable::CONFIG;
use super::seen::{Cluster, Log, Seen, key};
use super::{Checker, Promise, When};
use crate::patroni::Member;
use crate::world::{KubeId, World};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 4,
    name: "data rewritten only on request",
    words: "A bootstrapped data directory is rewritten only by a restore or upgrade request whose id is new and is \
            recorded outside `.status`.",
    when: &[When::Event],
    file: file!(),
    held_by: &[],
};

/// The system identifier of each cluster, with the UID of the cluster.
#[derive(Clone, Default)]
pub(super) struct State {
    known: BTreeMap<Cluster, (ivory_core::object::Uid, u64)>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        for (kube, cluster) in seen.clusters() {
            let (namespace, name) = (&cluster.meta.namespace, &cluster.meta.name);
            let Some(id) = identifier(seen.world, kube, namespace, name) else { continue };
            log.looked(&PROMISE);
            for wrong in strangers(seen.world, kube, id, seen.members(kube, namespace, name)) {
                log.broken(&PROMISE, wrong);
            }
            let known = self
                .known
                .entry(key(kube, cluster))
                .or_insert_with(|| (cluster.meta.uid.clone(), id));
            if known.0 == cluster.meta.uid && known.1 != id {
                for volume in volumes_with(seen.world, kube, namespace, name, known.1) {
                    let text = format!(
                        "{name} was bootstrapped anew (its system identifier is {id}, and was {}), while {volume} holds \
                         its data",
                        known.1
                    );
                    log.broken(&PROMISE, text);
                }
            }
            *known = (cluster.meta.uid.clone(), id);
        }
    }
}

/// The system identifier that Patroni has written down.
#[must_use]
pub fn identifier(world: &World, kube: KubeId, namespace: &str, cluster: &str) -> Option<u64> {
    let config = format!("{}{CONFIG}", names::scope(cluster));
    let object = world.kube(kube).api.get(Kind::Endpoints, namespace, &config)?;
    object.annotation("initialize")?.parse().ok()
}

/// Members that run other data than the cluster's (patroni.md §8.4-7).
#[must_use]
pub fn strangers(world: &World, kube: KubeId, id: u64, members: &[&Member]) -> Vec<String> {
    let other = |member: &&&Member| {
        let volume = world.kube(kube).volume(member.volume());
        let data = volume.and_then(|v| v.directories.get(&member.config().directory));
        member.accepts() && data.is_some_and(|d| d.system_id != id)
    };
    let text = |m: &&Member| format!("{} runs another cluster's data", m.config().name);
    members.iter().filter(other).map(text).collect()
}

/// The claims of a cluster's data whose volumes hold a database of this identifier.
pub(super) fn volumes_with(
    world: &World,
    kube: KubeId,
    namespace: &str,
    cluster: &str,
    id: u64,
) -> Vec<String> {
    let kube = world.kube(kube);
    let claims = kube.api.list(Kind::PersistentVolumeClaim, Some(namespace));
    let mine = claims.filter(|c| {
        c.label(labels::CLUSTER) == Some(cluster)
            && c.label(labels::ROLE) == Some(labels::role::PGDATA)
            && !c.terminating()
    });
    let holds = |volume: &str| {
        let directories = kube.volume(volume).map(|v| &v.directories);
        directories.is_some_and(|d| d.values().any(|d| d.system_id == id))
    };
    mine.filter(|c| c.str_at(&["spec", "volumeName"]).is_some_and(holds))
        .map(|c| c.meta.name.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::kube::Subresource;

    #[test]
    fn another_identifier_is_seen() {
        let mut world = ready();
        let mut state = State::default();
        let plans = Plans::default();
        assert_eq!(found(world.now(), |log| state.event(&seen(&world, &plans), log)), [""; 0]);
        let config = the(&world, Kind::Endpoints, &format!("{}{CONFIG}", names::scope(CLUSTER)));
        let other = json!({"metadata": {"annotations": {"initialize": "7"}}});
        done(&mut world, &patch(&config, Subresource::None, other));
        let wrong = found(world.now(), |log| state.event(&seen(&world, &plans), log));
        let count = |part: &str| wrong.iter().filter(|w| w.contains(part)).count();
        assert_eq!(count("runs another cluster's data"), 3, "{wrong:?}");
        assert_eq!(count("was bootstrapped anew (its system identifier is 7"), 3, "{wrong:?}");
    }
}
