//! Which members there are, for whoever looks at a world from outside: checkers, harnesses, faults.

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
