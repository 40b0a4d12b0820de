//! Whose data may be the only copy. While nobody leads, an instance that is no longer wanted may have what nobody else has:
//! its set was replaced, and its StatefulSet or its Pod is gone before another could copy from it. A new instance would
//! wait for a leader for ever, or make itself from a backup and lead without what was never archived. So the unwanted
//! one returns and leads first; who never had data starts when somebody leads. The same may happen where those that have
//! the data are wanted: the only one is being restarted, and somebody scales up.
//!
//! It takes nothing away: when somebody leads, [`scale_down`](super::scale_down) and [`leftovers`](super::leftovers) do.

use jiff::Timestamp;

use crate::names;
use crate::pass::Pass;
use crate::report::Step;
use crate::rules::members::{Member, Members};
use crate::rules::shutdown::Phase;

/// The instances that may have the only copy, and what follows for the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OnlyCopy {
    /// Names of the unwanted ones that may have data, in name order. None while somebody leads.
    pub holders: Vec<String>,
    /// When the oldest of their volumes was made.
    since: Option<Timestamp>,
    /// Names of all that may have data while nobody is seen to lead, wanted or not. None in a cluster that starts or stops
    /// as a whole: there [`shutdown`](super::shutdown) says who goes first.
    keepers: Vec<String>,
}

/// Finds them, and says so.
pub fn holders(
    pass: &mut Pass<'_>,
    members: &Members,
    phase: &Phase,
    wanted: &[(String, Vec<String>)],
) -> OnlyCopy {
    let mut found = OnlyCopy::default();
    // Who holds the lease may be about to stop, or not have begun.
    let leads = members.leader().is_some_and(|l| l.leads() && l.asked_to_run());
    if !members.bootstrapped() || leads {
        return found;
    }
    if *phase == Phase::Runs {
        let keepers = members.all.values().filter(|m| m.may_have_data());
        found.keepers = keepers.map(|m| m.name.clone()).collect();
    }
    if members.leader().is_some() {
        return found;
    }
    let is_wanted = |m: &Member| wanted.iter().any(|(_, names)| names.contains(&m.name));
    // Nobody has newer data than the one that led last, if that is known.
    let last = members.lease.as_deref().and_then(names::workload_of);
    let last = last.and_then(|name| members.all.get(name)).filter(|m| m.may_have_data());
    let candidates = members.all.values().filter(|m| last.is_none_or(|l| l.name == m.name));
    for member in candidates.filter(|m| m.may_have_data() && !is_wanted(m)) {
        let since = member.data_claim.as_ref().and_then(|c| c.meta.created_at);
        found.since = if found.holders.is_empty() { since } else { found.since.min(since) };
        found.holders.push(member.name.clone());
    }
    if !found.holders.is_empty() {
        let names = found.holders.join(", ");
        let text = format!(
            "nobody leads, and {names} may have the only copy of the data: though no longer wanted, it leads first. \
             To give up its data, delete its PersistentVolumeClaim"
        );
        pass.wait(Step::Instances, "OnlyCopy", text);
    }
    found
}

impl OnlyCopy {
    /// Whether an instance has to wait until somebody leads: it was not asked to run yet, and never had data, or its volume
    /// is younger than those that are no longer wanted. Says so.
    #[must_use]
    pub fn holds_back(&self, pass: &mut Pass<'_>, name: &str, member: Option<&Member>) -> bool {
        if member.is_some_and(Member::asked_to_run) {
            return false;
        }
        if member.is_none_or(Member::is_new) && !self.keepers.is_empty() {
            let keepers = self.keepers.join(", ");
            let text = format!(
                "instance {name} starts when another leads, since the only copy of the data may be that of {keepers}. \
                 If that is lost for good, delete its PersistentVolumeClaim"
            );
            pass.wait(Step::Instances, "OnlyCopy", text);
            return true;
        }
        let since = member.and_then(|m| m.data_claim.as_ref()).map(|c| c.meta.created_at);
        !self.holders.is_empty() && since.is_none_or(|since| since > self.since)
    }
}

#[cfg(test)]
mod tests {
    use crate::test_support::{World, taken};
    use crate::{Kind, labels, names};

    fn replace(world: &mut World) {
        world.edit(|s| s["instances"][0]["name"] = "other".into());
    }

    fn asked(world: &World, name: &str) -> Option<i64> {
        world.get(Kind::StatefulSet, name)?.i64_at(&["spec", "replicas"])
    }

    fn lost(world: &mut World, name: &str) {
        world.remove(Kind::StatefulSet, name);
        world.remove(Kind::Pod, &names::instance_pod(name));
    }

    #[test]
    fn who_has_the_only_copy_returns_and_leads_before_others_start() {
        for pods_only in [false, true] {
            let mut world = World::settled(1);
            let old = world.leader();
            let uid = |w: &World| {
                w.get(Kind::PersistentVolumeClaim, &names::data_volume(&old))
                    .map(|c| c.meta.uid.clone())
            };
            let before = uid(&world);
            lost(&mut world, &old);
            world.remove(Kind::ConfigMap, &names::instance_config(&old));
            if pods_only {
                world.round();
                world.remove(Kind::Pod, &names::instance_pod(&old));
            }
            replace(&mut world);
            let (mut led, mut copied, mut furnished) = (false, false, false);
            world.settle_with(|world, _| {
                let others: Vec<String> =
                    world.instances().into_iter().filter(|i| *i != old).collect();
                led |= world
                    .get(Kind::Pod, &names::instance_pod(&old))
                    .is_some_and(|p| p.condition_true("Ready"));
                let started = others.iter().any(|o| asked(world, o) == Some(1));
                assert!(led || !started, "who has no data starts first");
                furnished |= world.get(Kind::ConfigMap, &names::instance_config(&old)).is_some();
                copied |= started && uid(world) == before;
            });
            assert!(led && copied && furnished, "{led} {copied} {furnished}");
            assert_eq!(asked(&world, &old), None, "then it goes");
            assert_eq!(uid(&world), None);
            assert_eq!(world.instances().len(), 1);
            assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        }
    }

    #[test]
    fn who_gives_the_data_up_deletes_the_volume() {
        let mut world = World::settled(1);
        let old = world.leader();
        lost(&mut world, &old);
        world.dead.insert(names::instance_pod(&old));
        replace(&mut world);
        (0..8).for_each(|_| {
            world.round();
        });
        let (status, reason) = world.condition("Reconciled").expect("a condition");
        assert_eq!((&*status, &*reason), ("False", "OnlyCopy"));
        assert_eq!(taken(&world.plan()), [""; 0]);
        world.remove(Kind::PersistentVolumeClaim, &names::data_volume(&old));
        world.settle();
        let new: Vec<String> = world.instances().into_iter().filter(|i| *i != old).collect();
        assert_eq!(asked(&world, &new[0]), Some(1));
    }

    fn scale(world: &mut World, replicas: i32) {
        world.edit(|s| s["instances"][0]["replicas"] = replicas.into());
    }

    fn never_used(world: &World, name: &str) -> bool {
        let claim = world.the(Kind::PersistentVolumeClaim, &names::data_volume(name));
        claim.annotation(labels::NEVER_USED).is_some()
    }

    /// A cluster that was scaled up while its only instance was down, at rest. Returns the old instance and the new one.
    fn scaled_up_while_down() -> (World, String, String) {
        let mut world = World::settled(1);
        let old = world.leader();
        world.dead.insert(names::instance_pod(&old));
        world.remove(Kind::Pod, &names::instance_pod(&old));
        scale(&mut world, 2);
        (0..8).for_each(|_| {
            world.round();
        });
        let new = world.instances().into_iter().find(|i| *i != old).expect("a new one");
        (world, old, new)
    }

    #[test]
    fn who_never_had_data_waits_for_the_only_one_that_has_it() {
        let (mut world, old, new) = scaled_up_while_down();
        assert_eq!((asked(&world, &new), never_used(&world, &new)), (Some(0), true));
        let (status, reason) = world.condition("Reconciled").expect("a condition");
        assert_eq!((&*status, &*reason), ("False", "OnlyCopy"));
        assert_eq!(taken(&world.plan()), [""; 0]);
        world.dead.clear();
        world.remove(Kind::Pod, &names::instance_pod(&old));
        world.settle();
        assert_eq!((asked(&world, &new), never_used(&world, &new)), (Some(1), false));
    }

    #[test]
    fn who_never_had_data_holds_no_copy_of_it() {
        let (mut world, old, new) = scaled_up_while_down();
        assert!(never_used(&world, &new));
        world.change(Kind::Endpoints, "hippo-ha", |e| {
            e["metadata"]["annotations"]["leader"] = "".into();
        });
        replace(&mut world);
        let said = format!("{:?}", world.plan().report.lines);
        assert!(said.contains(&format!("nobody leads, and {old} may have")), "{said}");
    }

    #[test]
    fn who_runs_is_stopped_for_nobody_who_returns() {
        let mut world = World::settled(1);
        let old = world.leader();
        world.now += jiff::SignedDuration::from_secs(60);
        world.edit(|s| {
            let set = s["instances"][0].clone();
            let sets = s["instances"].as_array_mut().expect("sets");
            sets.push(set);
            sets[1]["name"] = "other".into();
        });
        world.settle();
        let other = world.replicas()[0].clone();
        world.edit(|s| {
            s["instances"].as_array_mut().expect("sets").remove(0);
        });
        lost(&mut world, &old);
        world.dead.insert(names::instance_pod(&other));
        for _ in 0..4 {
            world.round();
            assert_eq!(asked(&world, &other), Some(1));
        }
        assert_eq!(asked(&world, &old), Some(1), "it returns");
    }

    #[test]
    fn who_had_data_is_not_held_back_by_one_that_is_dead() {
        let mut world = World::settled(2);
        let (old, replica) = (world.leader(), world.replicas()[0].clone());
        world.dead.insert(names::instance_pod(&old));
        lost(&mut world, &replica);
        world.remove(Kind::Pod, &names::instance_pod(&old));
        world.round();
        assert_eq!(asked(&world, &replica), Some(1));
    }

    #[test]
    fn nobody_is_held_back_while_one_leads() {
        let mut world = World::settled(2);
        let replica = world.replicas()[0].clone();
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        lost(&mut world, &replica);
        let plan = world.plan();
        let said = format!("{:?}", plan.report.lines);
        assert!(!said.contains("OnlyCopy"), "{said}");
        assert!(!taken(&plan).is_empty());
    }
}
