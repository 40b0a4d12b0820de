//! Which instances a set should have, by name. An unused data volume gives its name first: that is how a
//! deleted StatefulSet comes back with its data. Else the smallest free number names the instance.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Set};
use crate::kind::Kind;
use crate::names;
use crate::rules::members::{Member, Members};

/// The instances that a set should have: those it has, then new ones, in name order each.
#[must_use]
pub fn wanted(cluster: &Cluster, set: &Set<'_>, members: &Members) -> Vec<String> {
    let mut all: Vec<String> = members.of_set(&set.name).map(|m| m.name.clone()).collect();
    // One whose volume is going does not count: it will be replaced.
    let sound = members.of_set(&set.name).filter(|m| !m.condemned()).count();
    let missing = usize::try_from(set.spec.replicas).unwrap_or(0).saturating_sub(sound);
    let mut free = donors(set, members)
        .into_iter()
        .chain(begun(set, members))
        .chain(numbered(cluster, set, members));
    all.extend(free.by_ref().take(missing));
    all
}

/// Names of unused data volumes of a set that can be used again as they are. The one that led last comes
/// first: nobody has newer data.
fn donors(set: &Set<'_>, members: &Members) -> Vec<String> {
    let wants_wal = set.spec.wal_volume_claim_spec.is_some();
    let all = members.all.values().filter(|m| m.set == set.name && is_donor(m, wants_wal));
    let mut all: Vec<String> = all.map(|m| m.name.clone()).collect();
    all.sort_by_key(|name| members.lease.as_ref() != Some(&names::instance_pod(name)));
    all
}

/// Names under which an instance was begun, by a pass that died before it made the volume.
fn begun<'a>(set: &Set<'_>, members: &'a Members) -> impl Iterator<Item = String> + use<'a> {
    let name = set.name.clone();
    let begun = members.all.values().filter(move |m| {
        m.set == name
            && m.is_bare()
            && m.pods.is_empty()
            && !m.furniture.iter().any(|o| o.terminating() || o.kind == Kind::PersistentVolumeClaim)
    });
    begun.map(|m| m.name.clone())
}

/// A data volume without its WAL volume would start without its newest changes, so both must be there. Only one that was
/// never used lacks nothing: a pass that made it was refused the other, and the next would make one more, and so on.
fn is_donor(member: &Member, wants_wal: bool) -> bool {
    let usable = |claim: &Option<std::sync::Arc<crate::Object>>| {
        claim.as_ref().is_some_and(|c| !c.terminating())
    };
    member.stateful_set.is_none()
        && usable(&member.data_claim)
        && (!wants_wal || usable(&member.wal_claim) || member.never_used())
}

/// Whether a living Pod is all that was seen of an instance. A Pod has a StatefulSet and mounts a claim, so what was read
/// of those is older than the Pod, and the instance is there already.
fn is_only_a_pod(member: &Member) -> bool {
    let pods = &member.pods;
    member.is_bare() && !pods.is_empty() && !pods.iter().any(|p| p.terminating())
}

/// Names by number that nothing bears, whatever its state, but for a Pod that is alone.
fn numbered<'a>(
    cluster: &'a Cluster,
    set: &Set<'_>,
    members: &'a Members,
) -> impl Iterator<Item = String> + use<'a> {
    let seen = members.all.values().filter(|m| !is_only_a_pod(m)).map(|m| &m.name);
    let taken: BTreeSet<&str> = seen.chain(&members.foreign).map(String::as_str).collect();
    let set = set.name.clone();
    (0..)
        .map(move |n| names::instance(&cluster.name, &cluster.uid, &set, n))
        .filter(move |name| !taken.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use crate::test_support::{CLUSTER, World, claim, spec};
    use crate::{Kind, labels, names};

    /// The name of a number in the settled cluster.
    fn numbered(world: &World, number: u32) -> String {
        names::instance(CLUSTER, &world.cluster().meta.uid, "instance1", number)
    }

    #[test]
    fn an_instance_of_which_only_the_pod_was_seen_is_not_made_again_by_another_name() {
        let mut world = World::settled(2);
        let second = numbered(&world, 1);
        let claim = names::data_volume(&second);
        world.objects.retain(|(kind, name), _| match kind {
            Kind::StatefulSet => *name != second,
            Kind::PersistentVolumeClaim => *name != claim,
            _ => true,
        });
        world.round();
        assert_eq!(world.instances(), [numbered(&world, 0), second]);
    }

    #[test]
    fn numbers_are_taken_in_order_and_whatever_bears_the_name_takes_it() {
        let mut world = World::settled(1);
        assert_eq!(world.instances(), [numbered(&world, 0)]);
        // A claim that is on its way out, held by somebody's finalizer, still has the next name.
        let name = numbered(&world, 1);
        let old = world.instances()[0].clone();
        let mut going =
            (**world.the(Kind::PersistentVolumeClaim, &names::data_volume(&old))).clone();
        going.meta.name = names::data_volume(&name).as_str().into();
        going.meta.uid = "".into();
        let mut its = (*going.meta.labels).clone();
        its.insert(labels::INSTANCE.into(), name.clone());
        going.meta.labels = its.into();
        going.meta.deleted_at = Some(world.now);
        world.put(going);
        world.edit(|s| s["instances"][0]["replicas"] = 2.into());
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let mut expected = vec![numbered(&world, 0), numbered(&world, 2)];
        expected.sort();
        assert_eq!(world.instances(), expected);
    }

    #[test]
    fn a_deleted_workload_comes_back_under_its_name_with_its_data() {
        let mut world = World::settled(3);
        let before = world.instances();
        let gone = world.replicas()[1].clone();
        let data =
            world.the(Kind::PersistentVolumeClaim, &names::data_volume(&gone)).meta.uid.clone();
        world.delete(Kind::StatefulSet, &gone);
        world.settle();
        assert_eq!(world.instances(), before);
        assert_eq!(
            world.the(Kind::PersistentVolumeClaim, &names::data_volume(&gone)).meta.uid,
            data
        );
    }

    #[test]
    fn data_without_its_wal_volume_names_nobody() {
        let mut with_wal = spec(2);
        with_wal["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(with_wal);
        world.settle();
        let gone = world.replicas()[0].clone();
        world.remove(Kind::StatefulSet, &gone);
        world.remove(Kind::Pod, &names::instance_pod(&gone));
        world.remove(Kind::PersistentVolumeClaim, &names::wal_volume(&gone));
        world.settle();
        assert!(!world.instances().contains(&gone), "{:?}", world.instances());
        assert_eq!(world.instances().len(), 2);
    }

    #[test]
    fn a_refused_wal_volume_is_asked_for_again_under_the_same_name() {
        let mut with_wal = spec(1);
        with_wal["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(with_wal);
        let used = |world: &World| {
            let claims = world.all(Kind::PersistentVolumeClaim).into_iter();
            let data = claims.filter(|c| c.label(labels::ROLE) == Some(labels::role::PGDATA));
            data.map(|c| c.annotation(labels::NEVER_USED).is_none()).collect::<Vec<_>>()
        };
        for _ in 0..3 {
            let plan = world.plan();
            let wal = |w: &crate::plan::Write| {
                matches!(&w.op, crate::plan::Op::Apply { object }
                if object.label(labels::ROLE) == Some(labels::role::PGWAL))
            };
            let before = plan.writes.iter().position(wal).expect("it is asked for");
            world.execute(&plan, before).expect("no refusal");
            assert_eq!(used(&world), [false]);
        }
        world.settle();
        assert_eq!(used(&world), [true]);
        assert_eq!(world.instances(), [numbered(&world, 0)]);
    }

    #[test]
    fn of_several_unused_volumes_the_last_leaders_comes_first() {
        let mut world = World::settled(3);
        // The last in name order leads, then everything but the volumes goes.
        let last = world.instances().pop().expect("three");
        crate::test_support::lead(&mut world, &names::instance_pod(&last));
        for name in world.instances() {
            world.remove(Kind::StatefulSet, &name);
            world.remove(Kind::Pod, &names::instance_pod(&name));
        }
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        assert_eq!(world.instances(), [last]);
    }

    #[test]
    fn what_an_earlier_cluster_of_the_name_left_is_neither_used_nor_named() {
        let mut world = World::settled(2);
        let old: Vec<_> = world.instances();
        // Its finalizer was taken off by force, and the garbage collector has not come yet.
        world.objects.remove(&(Kind::IvoryCluster, CLUSTER.into()));
        for kind in [Kind::Endpoints, Kind::Job, Kind::Secret, Kind::ConfigMap, Kind::Service] {
            world.all(kind).iter().for_each(|o| world.remove(kind, &o.meta.name));
        }
        world.create_cluster(spec(1));
        let plan = world.plan();
        assert!(crate::test_support::deletes(&plan).is_empty());
        let names = world.instances();
        let _ = world.execute(&plan, usize::MAX);
        let new: Vec<_> = world.instances().into_iter().filter(|n| !names.contains(n)).collect();
        assert!(new.iter().all(|n| !old.contains(n)), "{new:?}");
        for claim in world.all(Kind::PersistentVolumeClaim) {
            let instance = claim.label(labels::INSTANCE).unwrap_or_default().to_owned();
            let ours = claim.controlled_by(&world.cluster().meta.uid);
            assert!(!(old.contains(&instance) && ours), "{} was taken over", claim.meta.name);
        }
    }
}
