//! Invariants of a cluster of members (patroni.md §8.4), for checkers that look after every event.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;

use crate::patroni::member::Member;
use crate::world::{ActorId, KubeId, World};

/// All living members of a scope, in the order of their birth.
pub fn members<'a>(
    world: &'a World,
    kube: KubeId,
    namespace: &'a str,
    scope: &'a str,
) -> impl Iterator<Item = (ActorId, &'a Member)> {
    world.actors().filter_map(move |(id, at, actor)| {
        let member = actor.any().downcast_ref::<Member>()?;
        let config = member.config();
        let mine = at == kube && &*config.namespace == namespace && &*config.scope == scope;
        mine.then_some((id, member))
    })
}

/// The living member of a Pod.
#[must_use]
pub fn member_of_pod(world: &World, kube: KubeId, namespace: &str, pod: &str) -> Option<ActorId> {
    let mine = world.actors().find(|(_, at, actor)| {
        let member = actor.any().downcast_ref::<Member>();
        let same = |m: &Member| &*m.config().namespace == namespace && &*m.config().name == pod;
        *at == kube && member.is_some_and(same)
    });
    mine.map(|(id, _, _)| id)
}

/// The members of a scope whose PostgreSQL accepts writes now. More than one is the window of §8.4-3, and
/// allowed only while the older one's Patroni hangs.
#[must_use]
pub fn writable_primaries(
    world: &World,
    kube: KubeId,
    namespace: &str,
    scope: &str,
) -> Vec<ActorId> {
    members(world, kube, namespace, scope).filter(|(_, m)| m.writable()).map(|(id, _)| id).collect()
}

/// What is wrong with any scope of the world now, in words. Looks at every actor once, however many scopes
/// there are: it is asked after every event that left an entry in the journal.
#[must_use]
pub fn everywhere(world: &World) -> Vec<String> {
    let mut scopes: BTreeMap<(KubeId, &str, &str), Vec<&Member>> = BTreeMap::new();
    for (_, kube, actor) in world.actors() {
        if let Some(member) = actor.any().downcast_ref::<Member>() {
            let config = member.config();
            scopes.entry((kube, &config.namespace, &config.scope)).or_default().push(member);
        }
    }
    let mut found = Vec::new();
    for kube in world.kube_ids() {
        for cluster in world.kube(kube).api.list(Kind::IvoryCluster, None) {
            let (namespace, scope) =
                (&cluster.meta.namespace, ivory_core::names::scope(&cluster.meta.name));
            let members = scopes.get(&(kube, namespace, &scope)).map_or(&[][..], Vec::as_slice);
            found.extend(wrong_with(world, kube, namespace, &scope, members));
        }
    }
    found
}

/// What is wrong with a scope now, in words; empty when nothing is. Checks invariants 3 (one writable
/// primary), 5 (at most one address in the leader's Endpoints) and 7 (one system identifier).
#[must_use]
pub fn violations(world: &World, kube: KubeId, namespace: &str, scope: &str) -> Vec<String> {
    let members: Vec<_> = members(world, kube, namespace, scope).map(|(_, m)| m).collect();
    wrong_with(world, kube, namespace, scope, &members)
}

fn wrong_with(
    world: &World,
    kube: KubeId,
    namespace: &str,
    scope: &str,
    members: &[&Member],
) -> Vec<String> {
    let mut found = Vec::new();
    let api = &world.kube(kube).api;
    // A stranger who takes the scope's label off a Pod hides the member from the others. If the leader's key is
    // deleted as well, nobody can know of it until it looks itself: no promise holds against that.
    let hidden = |m: &Member| {
        let pod = api.get(Kind::Pod, namespace, &m.config().name);
        pod.is_some_and(|p| p.label(ivory_core::labels::CLUSTER).is_none())
    };
    let writable: Vec<Arc<str>> = members
        .iter()
        .filter(|m| m.writable() && !m.hung() && !hidden(m))
        .map(|m| m.config().name.clone())
        .collect();
    if writable.len() > 1 {
        found.push(format!("{} members are writable: {}", writable.len(), writable.join(", ")));
    }
    if let Some(leader) = api.get(Kind::Endpoints, namespace, scope) {
        let addresses = leader
            .at(&["subsets"])
            .and_then(|s| s.as_array())
            .into_iter()
            .flatten()
            .filter_map(|s| s.get("addresses")?.as_array())
            .map(Vec::len)
            .sum::<usize>();
        if addresses > 1 {
            found.push(format!("{scope} has {addresses} addresses"));
        }
    }
    let config = format!("{scope}-config");
    let initialize = api
        .get(Kind::Endpoints, namespace, &config)
        .and_then(|o| o.annotation("initialize")?.parse::<u64>().ok());
    if let Some(id) = initialize {
        for member in members {
            let volume = world.kube(kube).volume(member.volume());
            let data = volume.and_then(|v| v.directories.get(&member.config().directory));
            if member.accepts() && data.is_some_and(|d| d.system_id != id) {
                found.push(format!("{} runs another cluster's data", member.config().name));
            }
        }
    }
    found
}
