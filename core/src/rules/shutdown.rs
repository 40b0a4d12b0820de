//! Stopping a whole cluster, and starting it again (`reference/reconcile.md` §1.9): replicas stop first, the
//! leader last, the repository host after it. The one that led has the newest data, so it starts first, and the
//! others when it leads. Who it was is noted before anything stops.

use crate::labels;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};

/// How far the cluster is on its way down or up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Everything shall run.
    Runs,
    /// It shall stop, and nothing may be touched yet.
    Waits,
    /// All but this instance shall stop, and it too once it is alone.
    Stops(Option<String>),
    /// This instance shall run; others start when it leads.
    Starts(String),
}

impl Phase {
    /// How many Pods an instance's StatefulSet shall have.
    #[must_use]
    pub fn replicas(&self, name: &str, member: Option<&Member>) -> i32 {
        let runs = match self {
            Self::Runs => true,
            Self::Waits => member.is_some_and(Member::asked_to_run),
            Self::Stops(last) => last.as_deref() == Some(name),
            Self::Starts(first) => first == name || member.is_some_and(Member::asked_to_run),
        };
        i32::from(runs)
    }

    /// How many Pods the repository host's shall have: the last WAL is archived while the leader stops.
    #[must_use]
    pub fn repo_host_replicas(&self, members: &Members) -> i32 {
        let stops =
            matches!(self, Self::Stops(_)) && members.all.values().all(|m| m.pods.is_empty());
        i32::from(!stops)
    }
}

/// Whether the instance's data is gone, which whoever led last had. It copies another's now, or its volume goes: there
/// is nothing to wait for, and what it might make of a backup must not lead over what the others have.
fn has_lost_all(member: &Member) -> bool {
    member.condemned() || member.patroni.as_ref().is_some_and(|s| s.state == "creating replica")
}

/// Decides how far the cluster shall go now; notes and forgets who led.
pub fn phase(pass: &mut Pass<'_>, members: &Members) -> Phase {
    let noted = pass.cluster.object.annotation(labels::STARTUP_INSTANCE).map(str::to_owned);
    let noted = noted.or_else(|| pass.status.startup_instance.clone());
    // Whoever noted it may have died before the status was written.
    if noted != pass.status.startup_instance {
        let member = noted.as_ref().and_then(|name| members.all.get(name));
        pass.status.startup_instance_set = member.map(|m| m.set.clone());
        pass.status.startup_instance.clone_from(&noted);
    }
    let leader = members.leader().filter(|l| l.leads());
    if !pass.cluster.spec.shutdown {
        let has_data = |name: &String| members.all.get(name).is_some_and(|m| !has_lost_all(m));
        // A Pod that is to stop may still be told of as leading, by a read that is old.
        let leads = |name: &String| leader.is_some_and(|l| l.name == *name && l.asked_to_run());
        return match noted.filter(has_data) {
            Some(name) if !leads(&name) => {
                let text =
                    format!("instance {name} led when the cluster was shut down and leads first");
                pass.wait(Step::Instances, "Startup", text);
                Phase::Starts(name)
            }
            _ => {
                note(pass, None);
                Phase::Runs
            }
        };
    }
    match leader {
        Some(leader) if noted.as_ref() != Some(&leader.name) => {
            note(pass, Some(leader));
            pass.wait(Step::Instances, "Shutdown", "the instances are to stop");
            return Phase::Waits;
        }
        None if noted.is_none()
            && members.bootstrapped()
            && members.all.values().any(Member::running) =>
        {
            let text = "no instance leads, so nobody knows which one may stop last";
            pass.wait(Step::Instances, "Shutdown", text);
            return Phase::Waits;
        }
        _ => {}
    }
    let others =
        members.all.values().any(|m| Some(&m.name) != noted.as_ref() && !m.pods.is_empty());
    if members.all.values().any(|m| !m.pods.is_empty()) {
        pass.wait(Step::Instances, "Shutdown", "the instances stop");
    }
    Phase::Stops(noted.filter(|_| others))
}

/// Writes down who must lead first after the next start, or that nobody must.
fn note(pass: &mut Pass<'_>, leader: Option<&Member>) {
    let name = leader.map(|l| l.name.clone());
    pass.status.startup_instance.clone_from(&name);
    pass.status.startup_instance_set = leader.map(|l| l.set.clone());
    if pass.cluster.object.annotation(labels::STARTUP_INSTANCE) == name.as_deref() {
        return;
    }
    let text = match &name {
        Some(name) => format!("instance {name} leads and must lead first after the next start"),
        None => "the instance that led before the shutdown leads again".to_owned(),
    };
    let reason = Reason::Because { word: "Shutdown", text };
    pass.annotate_cluster(Step::Instances, reason, labels::STARTUP_INSTANCE, name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Kind;
    use crate::names;
    use crate::plan::Op;
    use crate::test_support::{CLUSTER, World};

    fn asked(world: &World, name: &str) -> i64 {
        world.the(Kind::StatefulSet, name).i64_at(&["spec", "replicas"]).expect("a number")
    }

    #[test]
    fn who_led_is_told_although_its_status_was_never_written() {
        let mut world = World::settled(2);
        let leader = world.leader();
        world.edit(|s| s["shutdown"] = true.into());
        let plan = world.plan();
        let of_cluster = |op: &Op| matches!(op, Op::MergePatch { kind: Kind::IvoryCluster, .. });
        let note = plan.writes.iter().position(|w| of_cluster(&w.op)).expect("a note");
        world.execute(&plan, note + 1).expect("no refusal");
        world.settle();
        let cluster = world.cluster();
        assert_eq!(cluster.str_at(&["status", "startupInstance"]), Some(&*leader));
        assert_eq!(cluster.str_at(&["status", "startupInstanceSet"]), Some("instance1"));
    }

    #[test]
    fn nobody_waits_for_a_leader_whose_data_is_gone() {
        let mut world = World::settled(3);
        let leader = world.leader();
        world.edit(|s| s["shutdown"] = true.into());
        world.settle();
        world.edit(|s| s["shutdown"] = false.into());
        world.dead.insert(names::instance_pod(&leader));
        world.settle();
        let others = |world: &World| {
            let all = world.instances().into_iter().filter(|name| *name != leader);
            all.map(|name| asked(world, &name)).sum::<i64>()
        };
        assert_eq!(others(&world), 0, "the one with the newest data leads first");
        world.change(Kind::Pod, &names::instance_pod(&leader), |p| {
            let status = json!({"state": "creating replica", "role": "uninitialized"});
            p["metadata"]["annotations"]["status"] = status.to_string().into();
        });
        world.settle();
        assert_eq!(others(&world), 2);
    }

    #[test]
    fn one_that_was_told_to_stop_does_not_lead_whatever_an_old_read_says() {
        let mut world = World::settled(2);
        let leader = world.leader();
        world.edit(|s| s["shutdown"] = true.into());
        let before = world.the(Kind::Pod, &names::instance_pod(&leader)).clone();
        world.settle();
        world.edit(|s| s["shutdown"] = false.into());
        world.put((*before).clone());
        crate::test_support::lead(&mut world, &names::instance_pod(&leader));
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let asked = world.instances().iter().map(|i| (asked(&world, i), *i == leader)).collect();
        assert_eq!(std::collections::BTreeSet::<_>::from_iter([(0, false), (1, true)]), asked);
        assert!(world.cluster().annotation(crate::labels::STARTUP_INSTANCE).is_some());
    }

    #[test]
    fn the_leader_stops_last_and_starts_first() {
        let mut world = World::settled(3);
        let (leader, replicas) = (world.leader(), world.replicas());
        world.edit(|s| s["shutdown"] = true.into());
        world.settle_with(|world, _| {
            let others =
                replicas.iter().any(|r| world.get(Kind::Pod, &names::instance_pod(r)).is_some());
            let first = world.get(Kind::Pod, &names::instance_pod(&leader)).is_some();
            assert!(first || !others, "the leader outlives the replicas");
        });
        assert_eq!(world.condition("Ready"), Some(("False".into(), "Shutdown".into())));
        assert_eq!(world.condition("Reconciled"), Some(("True".into(), "InSync".into())));
        for set in world.all(Kind::StatefulSet) {
            assert_eq!(set.i64_at(&["spec", "replicas"]), Some(0), "{}", set.meta.name);
        }
        // Who led is known even if the status is lost.
        world.change(Kind::IvoryCluster, CLUSTER, |c| c["status"] = json!({}));
        world.edit(|s| s["shutdown"] = false.into());
        let mut seen = false;
        world.settle_with(|world, _| {
            let others = replicas.iter().any(|r| asked(world, r) == 1);
            let pod = world.get(Kind::Pod, &names::instance_pod(&leader));
            assert!(
                !others || pod.is_some_and(|p| p.condition_true("Ready")),
                "others start later"
            );
            seen |= others;
        });
        assert!(seen && world.leader() == leader);
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        assert!(world.cluster().annotation(crate::labels::STARTUP_INSTANCE).is_none());
    }

    #[test]
    fn a_set_that_is_replaced_while_the_cluster_is_down_gives_its_data_first() {
        let other = |s: &mut serde_json::Value| {
            s["instances"][0]["name"] = "other".into();
        };
        // The set is replaced with the stop, while all is down, or with the start.
        for when in 0..3 {
            let mut world = World::settled(2);
            let old = world.leader();
            world.edit(|s| {
                s["shutdown"] = true.into();
                if when == 0 {
                    other(s);
                }
            });
            world.settle();
            assert_eq!(world.all(Kind::Pod).len(), 0, "{when}: all is down");
            if when == 1 {
                world.edit(other);
                world.settle();
                assert_eq!(asked(&world, &old), 0, "{when}");
            }
            world.edit(|s| {
                s["shutdown"] = false.into();
                other(s);
            });
            let mut seen = false;
            world.settle_with(|world, _| {
                let old = world.get(Kind::StatefulSet, &old);
                seen |= old.is_some_and(|s| s.i64_at(&["spec", "replicas"]) == Some(1));
            });
            assert!(seen, "{when}: the old leader has the data, and starts");
            assert!(world.get(Kind::StatefulSet, &old).is_none(), "{when}: then it goes");
            assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"), "{when}");
            assert_eq!(world.instances().len(), 2, "{when}");
        }
    }

    #[test]
    fn a_cluster_that_was_never_up_stops_at_once() {
        let mut spec = crate::test_support::spec(2);
        spec["shutdown"] = true.into();
        let mut world = World::new(spec);
        world.settle();
        assert_eq!(world.all(Kind::Pod).len(), 0);
        world.edit(|s| s["shutdown"] = false.into());
        world.settle();
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn a_lost_instance_keeps_the_others_from_nothing() {
        let mut world = World::settled(2);
        let leader = world.leader();
        world.edit(|s| s["shutdown"] = true.into());
        world.settle();
        world.remove(Kind::StatefulSet, &leader);
        world.remove(Kind::PersistentVolumeClaim, &names::data_volume(&leader));
        world.remove(Kind::ConfigMap, &names::instance_config(&leader));
        world.edit(|s| s["shutdown"] = false.into());
        world.settle();
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn the_repository_host_outlives_the_instances_and_no_more() {
        let mut world = World::settled(2);
        let host = names::repo_host(CLUSTER);
        assert_eq!(asked(&world, &host), 1);
        world.edit(|s| s["shutdown"] = true.into());
        world.settle_with(|world, plan| {
            let stops = plan.writes.iter().any(|w| match &w.op {
                crate::plan::Op::Apply { object } => {
                    *object.meta.name == *host && object.i64_at(&["spec", "replicas"]) == Some(0)
                }
                _ => false,
            });
            let runs = world
                .instances()
                .iter()
                .any(|i| world.get(Kind::Pod, &names::instance_pod(i)).is_some());
            assert!(!(stops && runs), "the last WAL is archived while the leader stops");
        });
        assert_eq!(asked(&world, &host), 0);
    }

    #[test]
    fn without_a_leader_the_others_stop_once_it_is_known_who_led() {
        let mut world = World::settled(2);
        let phase = |world: &mut World| {
            let said = format!("{:?}", world.plan().report.lines);
            (said.contains("nobody knows"), said.contains("the instances stop"))
        };
        let lead = |w: &mut World, pod: &str| {
            w.change(Kind::Endpoints, "hippo-ha", |e| {
                e["metadata"]["annotations"]["leader"] = pod.into();
            });
        };
        let leader = names::instance_pod(&world.leader());
        world.edit(|s| s["shutdown"] = true.into());
        let mut unknown = world.clone();
        lead(&mut unknown, "");
        assert_eq!(phase(&mut unknown), (true, false));
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        lead(&mut world, "");
        assert_eq!(phase(&mut world), (false, true), "{leader} led");
    }

    #[test]
    fn one_that_is_to_lead_and_does_not_yet_is_not_written_down() {
        let mut world = World::settled(2);
        let leader = names::instance_pod(&world.leader());
        world.change(Kind::Pod, &leader, |p| {
            let status = json!({"state": "running", "role": "replica"});
            p["metadata"]["annotations"]["status"] = status.to_string().into();
        });
        world.edit(|s| s["shutdown"] = true.into());
        let said = format!("{:?}", world.plan().report.lines);
        assert!(said.contains("nobody knows which one may stop last"), "{said}");
    }
}
