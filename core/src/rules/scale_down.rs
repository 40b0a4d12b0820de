//! Which instance goes when there are more than wanted: never the leader, the useless before the useful, the
//! youngest before the older, one at a time, and never before its replacement works.

use jiff::Timestamp;

use crate::object::Object;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::safety;

/// Plans at most one removal, or the handover that must come before it.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    let Some(victim) = choose(pass, members) else { return };
    let reason = why(pass, victim);
    take(pass, members, victim, victim.stateful_set.as_deref(), reason);
}

/// Deletes what makes an instance run, when nothing stands against that. Its leader hands over before.
pub(super) fn take(
    pass: &mut Pass<'_>,
    members: &Members,
    victim: &Member,
    runs: Option<&Object>,
    reason: Reason,
) {
    if let Err(hold) = safety::may_remove(members, victim, pass.context.now) {
        if hold.ends_with_time() {
            pass.look_again(safety::LOOK);
        }
        let text = format!("instance {} goes later: {hold}", victim.name);
        return pass.wait(Step::Instances, "ScaleDown", text);
    }
    if members.is_leader(victim) {
        return hand_over(pass, members, victim);
    }
    if let Some(runs) = runs {
        pass.delete(Step::Instances, runs, reason);
    }
}

/// The instance to go, if one is to.
fn choose<'a>(pass: &Pass<'_>, members: &'a Members) -> Option<&'a Member> {
    let sets: std::collections::BTreeSet<&str> =
        members.with_workload().map(|m| m.set.as_str()).collect();
    // Of the sets' victims a broken one goes first, or it would stand in the way of all others for ever.
    let victims = sets.into_iter().filter_map(|set| {
        let wanted =
            pass.cluster.set(set).map_or(0, |s| usize::try_from(s.spec.replicas).unwrap_or(0));
        let here: Vec<&Member> = members.of_set(set).filter(|m| m.stays()).collect();
        if here.len() <= wanted {
            return None;
        }
        // A condemned one goes when its replacement works; until then it may be the last good copy.
        let sound = here.iter().filter(|m| !m.condemned()).count();
        let working = here.iter().filter(|m| members.holds_the_data(m)).count();
        if here.iter().any(|m| m.condemned()) && working < wanted && sound <= wanted {
            return None;
        }
        // The last of these wins: condemned, not leading, not ready, then the younger volume: one that was lost and
        // has come back empty goes again, and what replaced it stays, whoever made it.
        here.into_iter()
            .max_by_key(|m| (m.condemned(), !members.is_leader(m), !m.ready(), younger(m)))
    });
    victims.max_by_key(|m| (!members.is_leader(m), !m.ready(), m.condemned(), m.name.clone()))
}

/// Orders members by the age of their data, oldest first, then by name. One without a volume is the youngest.
fn younger(member: &Member) -> (bool, Option<Timestamp>, &str) {
    let since = member.data_claim.as_ref().and_then(|c| c.meta.created_at);
    (since.is_none(), since, &member.name)
}

fn why(pass: &Pass<'_>, victim: &Member) -> Reason {
    let (word, text) = if victim.condemned() {
        let (word, why) = victim.verdict();
        (word, format!("instance {} {}", victim.name, why.trim_end_matches(',')))
    } else if pass.cluster.set(&victim.set).is_none() {
        ("SetRemoved", format!("instance set {} was removed", victim.set))
    } else {
        ("ScaleDown", format!("instance set {} has more instances than wanted", victim.set))
    };
    Reason::Because { word, text }
}

/// The leader hands over before it goes, to a replica that stays.
fn hand_over(pass: &mut Pass<'_>, members: &Members, victim: &Member) {
    let stays = |m: &Member| pass.cluster.set(&m.set).is_some();
    let heir =
        safety::heir(members, victim, stays).or_else(|| safety::heir(members, victim, |_| true));
    let Some(candidate) = heir else {
        let text = format!("instance {} leads, and no replica can take over yet", victim.name);
        return pass.wait(Step::Instances, "NoHeir", text);
    };
    let Some(pod) = victim.pod().cloned() else { return };
    let why = format!("instance {} is to go and leads", victim.name);
    pass.hand_over(Step::Instances, why, &pod, candidate);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::command::Command;
    use crate::test_support::{World, claim, commands, deletes, spec, taken};
    use crate::{Kind, names};

    fn scaled(from: i64, to: i64) -> World {
        let mut world = World::settled(from);
        world.edit(|s| s["instances"][0]["replicas"] = to.into());
        world
    }

    /// Makes an instance's Pod not ready, for good.
    fn break_down(world: &mut World, instance: &str) {
        world.dead.insert(names::instance_pod(instance));
        world.change(Kind::Pod, &names::instance_pod(instance), |p| {
            p["status"]["conditions"][0]["status"] = "False".into();
        });
    }

    fn deleted_sets(world: &mut World) -> Vec<String> {
        let plan = world.plan();
        let sets = deletes(&plan).into_iter();
        sets.filter_map(|d| d.strip_prefix("StatefulSet ").map(str::to_owned)).collect()
    }

    #[test]
    fn never_the_leader_and_one_at_a_time() {
        let mut world = scaled(3, 1);
        let (leader, mut others) = (world.leader(), world.replicas());
        let mut gone = Vec::new();
        world.settle_with(|world, plan| {
            gone.extend(deletes(plan).into_iter().filter(|d| d.starts_with("StatefulSet")));
            assert!(gone.len() <= 2 && world.leader() == leader);
        });
        others.reverse();
        let expected: Vec<_> = others.iter().map(|o| format!("StatefulSet {o}")).collect();
        assert_eq!(gone, expected, "the later name goes first");
        assert_eq!(world.instances(), [leader]);
        let claims = world.all(Kind::PersistentVolumeClaim);
        assert_eq!(claims.len(), 2, "the leader's and the repository's: {claims:?}");
    }

    #[test]
    fn a_wal_volume_goes_with_its_instance() {
        let mut spec = spec(2);
        spec["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(spec);
        world.settle();
        assert_eq!(world.all(Kind::PersistentVolumeClaim).len(), 5);
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        world.settle();
        let claims = world.all(Kind::PersistentVolumeClaim);
        let mut left: Vec<&str> = claims.iter().map(|c| &*c.meta.name).collect();
        left.sort_unstable();
        let leader = world.leader();
        let mut expected =
            ["hippo-repo1".into(), names::data_volume(&leader), names::wal_volume(&leader)];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_broken_go_before_the_working() {
        let mut world = scaled(3, 2);
        let first = world.replicas()[0].clone();
        break_down(&mut world, &first);
        assert_eq!(deleted_sets(&mut world), [first]);
    }

    #[test]
    fn the_youngest_volume_goes_first_and_one_without_before_it() {
        for lost in [false, true] {
            let mut world = scaled(3, 2);
            let others = world.replicas();
            let (young, old) = (names::data_volume(&others[0]), names::data_volume(&others[1]));
            let later = world.now + jiff::SignedDuration::from_secs(1);
            world.change(Kind::PersistentVolumeClaim, &young, |claim| {
                claim["metadata"]["creationTimestamp"] = later.to_string().into();
            });
            if lost {
                world.remove(Kind::PersistentVolumeClaim, &old);
            }
            let expected = if lost { &others[1] } else { &others[0] };
            assert_eq!(deleted_sets(&mut world), std::slice::from_ref(expected), "lost: {lost}");
        }
    }

    #[test]
    fn nobody_goes_while_another_is_down() {
        let mut world = World::settled(3);
        let first = world.replicas()[0].clone();
        break_down(&mut world, &first);
        // The broken one is wanted; a set that is not has a working one.
        world.edit(|s| {
            let set = json!({"name": "zebra", "replicas": 1, "dataVolumeClaimSpec": claim("1Gi")});
            s["instances"].as_array_mut().expect("sets").push(set);
        });
        (0..8).for_each(|_| {
            world.round();
        });
        world.edit(|s| {
            s["instances"].as_array_mut().expect("sets").pop();
        });
        assert_eq!(deleted_sets(&mut world), [""; 0]);
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("False"));
    }

    #[test]
    fn a_broken_one_of_a_later_set_does_not_block_an_earlier_set() {
        let mut two = spec(2);
        two["instances"].as_array_mut().expect("sets").push(json!(
            {"name": "zebra", "replicas": 2, "dataVolumeClaimSpec": claim("1Gi")}
        ));
        let mut world = World::new(two);
        world.settle();
        let broken = world.replicas().into_iter().rfind(|r| r.contains("zebra")).expect("one");
        break_down(&mut world, &broken);
        world.edit(|s| {
            s["instances"][0]["replicas"] = 1.into();
            s["instances"][1]["replicas"] = 1.into();
        });
        assert_eq!(deleted_sets(&mut world), [broken]);
    }

    #[test]
    fn the_leader_of_a_removed_set_hands_over_and_goes_last() {
        let mut world = World::settled(2);
        let old = world.instances();
        world.edit(|s| s["instances"][0]["name"] = "other".into());
        world.settle();
        assert_eq!(world.instances().len(), 2);
        assert!(world.instances().iter().all(|i| !old.contains(i)));
        let switched =
            world.commands.iter().filter(|(_, c)| matches!(c, Command::Switchover { .. })).count();
        assert_eq!(switched, 1);
        let claims = world.all(Kind::PersistentVolumeClaim);
        assert_eq!(claims.len(), 3, "{claims:?}");
    }

    #[test]
    fn a_lone_leader_stays_until_somebody_can_take_over() {
        let mut world = World::settled(1);
        world.edit(|s| s["instances"][0]["name"] = "other".into());
        world.bad_image = "example";
        let old = world.leader();
        for _ in 0..10 {
            world.round();
            assert!(world.get(Kind::StatefulSet, &old).is_some());
        }
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("False"));
    }

    #[test]
    fn a_removed_set_whose_volumes_go_is_removed_all_the_same() {
        let mut two = spec(1);
        two["instances"].as_array_mut().expect("sets").push(json!(
            {"name": "zebra", "replicas": 1, "dataVolumeClaimSpec": claim("1Gi")}
        ));
        let mut world = World::new(two);
        world.settle();
        let zebra = world.instances().pop().expect("two");
        world.delete(Kind::PersistentVolumeClaim, &names::data_volume(&zebra));
        world.edit(|s| {
            s["instances"].as_array_mut().expect("sets").pop();
        });
        world.settle();
        assert_eq!(world.instances().len(), 1);
    }

    #[test]
    fn a_doomed_volumes_instance_goes_after_its_replacement_works() {
        let mut world = World::settled(2);
        let doomed = world.leader();
        world.delete(Kind::PersistentVolumeClaim, &names::data_volume(&doomed));
        world.settle_with(|world, plan| {
            if deletes(plan).iter().any(|d| d.contains(&doomed)) {
                let others = world.instances().into_iter().filter(|i| *i != doomed);
                let ready = others.filter(|i| {
                    world
                        .get(Kind::Pod, &names::instance_pod(i))
                        .is_some_and(|p| p.condition_true("Ready"))
                });
                assert_eq!(ready.count(), 2, "{plan:?}");
            }
        });
        assert_eq!(world.instances().len(), 2);
        assert!(!world.instances().contains(&doomed));
    }

    #[test]
    fn with_a_dead_leader_no_data_is_given_away() {
        let mut world = scaled(3, 1);
        let leader = world.leader();
        // Its node died: the lease, the label and the annotation stay as they were.
        break_down(&mut world, &leader);
        let other = world.replicas()[0].clone();
        break_down(&mut world, &other);
        let plan = world.plan();
        assert_eq!(taken(&plan), [""; 0]);
        assert!(commands(&plan).iter().all(|(_, c)| !matches!(c, Command::Switchover { .. })));
    }

    #[test]
    fn one_that_is_labelled_leader_without_the_lease_is_left_alone_while_it_works() {
        let mut world = scaled(2, 1);
        let victim = world.replicas()[0].clone();
        world.change(Kind::Pod, &names::instance_pod(&victim), |p| {
            p["metadata"]["labels"][crate::labels::ROLE] = "primary".into();
        });
        let plan = world.plan();
        assert_eq!(taken(&plan), [""; 0]);
        assert!(commands(&plan).is_empty(), "nobody is told to hand over what it does not have");
        // A dead one with the old label goes.
        break_down(&mut world, &victim);
        assert_eq!(deleted_sets(&mut world), [victim]);
    }

    #[test]
    fn before_the_bootstrap_anybody_goes() {
        let mut world = World::new(spec(3));
        world.bad_image = "example";
        (0..4).for_each(|_| {
            world.round();
        });
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        (0..12).for_each(|_| {
            world.round();
        });
        assert_eq!(world.instances().len(), 1);
    }

    #[test]
    fn what_goes_already_is_not_counted_as_one_too_many() {
        let mut world = scaled(3, 2);
        let going = world.replicas()[0].clone();
        let mut set = (**world.the(Kind::StatefulSet, &going)).clone();
        set.meta.deleted_at = Some(world.now);
        world.put(set);
        assert_eq!(deleted_sets(&mut world), [""; 0]);
    }
}
