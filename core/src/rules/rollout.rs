//! Renewing Pods that were made from an older template: the broken at once, then replicas one at a time,
//! the leader last and after handing over (`reference/reconcile.md` §2.14).

use jiff::SignedDuration;

use crate::command::Command;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::{Op, Propagation};
use crate::report::{Outcome, Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{parameters, safety, wal_volume};

/// How long a checkpoint before the restart of a lone instance may take: the Pod's own grace period.
const CHECKPOINT_S: u32 = 30;
/// So long after the end of its grace period a Pod is gone for certain, if its node lives.
const SLACK: SignedDuration = SignedDuration::from_secs(10);

/// Plans at most one renewal, or what must come before it.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    // A plan that changes instances changes what is outdated; look again when that is visible.
    if pass.writes_in(&[Step::Instances]) {
        return;
    }
    let mut outdated: Vec<&Member> = members.with_workload().filter(|m| is_outdated(m)).collect();
    let broken = |m: &Member| safety::broken(m, pass.context.now);
    outdated.sort_by_key(|m| (members.is_leader(m), !broken(m), m.ready(), m.name.clone()));
    let Some(next) = outdated.first().copied() else { return };
    let Some(pod) = next.pod().cloned() else { return };
    let unsafe_now = safety::hold(pass, members, next);
    let bad = || parameters::hold(pass, members).filter(|_| next.ready());
    if let Some(hold) = unsafe_now.or_else(bad) {
        let text = format!("instance {} is renewed later: {hold}", next.name);
        return pass.wait(Step::Rollout, "Rollout", text);
    }
    if !members.is_leader(next) {
        return renew(pass, next, &pod);
    }
    let silent = members.with_workload().find(|m| wal_volume::gave_no_answer(pass, m));
    if let Some(silent) = silent {
        let text = format!(
            "instance {} is renewed when {} has said where its WAL is",
            next.name, silent.name
        );
        return pass.wait(Step::Rollout, "Rollout", text);
    }
    match safety::heir(members, next, |m| m.up_to_date() == Some(true)) {
        Some(candidate) => {
            let why = format!("instance {} leads and is to be renewed", next.name);
            pass.hand_over(Step::Rollout, why, &pod, candidate);
        }
        None if members.with_workload().count() > 1 => {
            let text = format!("instance {} leads, and no renewed replica streams yet", next.name);
            pass.wait(Step::Rollout, "Rollout", text);
        }
        None if waits_for_the_unwanted(pass, members) => {
            let text = format!("instance {} is renewed when those that go are gone", next.name);
            pass.wait(Step::Rollout, "Rollout", text);
        }
        None => {
            // Alone: a checkpoint now makes the stop short. One that does not serve is not asked for it.
            if next.ready() {
                let text = format!("instance {} is to be renewed and is alone", next.name);
                let reason = Reason::Because { word: "Checkpoint", text };
                let command = Command::Checkpoint { timeout_s: CHECKPOINT_S };
                pass.exec(Step::Rollout, reason, &pod, command, CHECKPOINT_S + 5);
            }
            renew(pass, next, &pod);
        }
    }
}

/// Whether one that is no longer wanted may still run: its Pod serves, or has its grace to stop in. Were the only leader
/// to stop beside it, its volume would be held for the only copy of the data, though it has not what was written since. A Pod
/// on a dead node ends never.
pub fn waits_for_the_unwanted(pass: &mut Pass<'_>, members: &Members) -> bool {
    let now = pass.context.now;
    let stops = |p: &Object| p.meta.deleted_at.is_some_and(|by| now < by + SLACK);
    let runs = |m: &Member| m.serves() || m.pods.iter().any(|p| stops(p));
    let waits = members.all.values().any(|m| m.stateful_set.is_none() && runs(m));
    if waits {
        pass.look_again(safety::LOOK);
    }
    waits
}

/// Renews one that was made from an older template and does not even run. The only renewal of a cluster that starts:
/// the first to start may have been given an image that does not exist, and nobody else starts before it leads.
pub fn broken(pass: &mut Pass<'_>, members: &Members) {
    if pass.writes_in(&[Step::Instances]) {
        return;
    }
    let stuck = |m: &&Member| is_outdated(m) && !m.running();
    let found = members.with_workload().find(stuck).and_then(|m| Some((m, m.pod()?.clone())));
    if let Some((member, pod)) = found {
        renew(pass, member, &pod);
    }
}

/// Whether its Pod was made from an older template, and no volume of it is going.
fn is_outdated(member: &Member) -> bool {
    member.up_to_date() == Some(false) && !member.condemned()
}

fn renew(pass: &mut Pass<'_>, member: &Member, pod: &Object) {
    let text = format!("instance {} was made from an older template", member.name);
    delete(pass, pod, Reason::Because { word: "Renew", text });
}

/// Deletes a Pod that its StatefulSet makes anew.
pub(super) fn delete(pass: &mut Pass<'_>, pod: &Object, reason: Reason) {
    let op = Op::Delete {
        kind: pod.kind,
        namespace: pod.meta.namespace.to_string(),
        name: pod.meta.name.to_string(),
        uid: pod.meta.uid.clone(),
        // Anything that happened to the Pod since may have made it the leader.
        resource_version: Some(pod.meta.resource_version),
        propagation: Propagation::Background,
    };
    pass.say(Step::Rollout, Outcome::Waiting(reason.clone()));
    pass.write(Step::Rollout, reason, op);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::command::Command;
    use crate::plan::Op;
    use crate::test_support::{World, commands, deletes};
    use crate::{Kind, names};

    fn restart(spec: &mut Value, value: &str) {
        spec["metadata"]["annotations"]["restarted"] = value.into();
    }

    #[test]
    fn replicas_one_at_a_time_then_the_leader_after_a_switchover() {
        let mut world = World::settled(3);
        let (leader, replicas) = (world.leader(), world.replicas());
        world.edit(|s| restart(s, "once"));
        let mut pods = Vec::new();
        world.settle_with(|world, plan| {
            for pod in deletes(plan) {
                let all = world.all(Kind::Pod);
                let down = all.iter().filter(|p| !p.condition_true("Ready")).count();
                assert_eq!(down, 0, "{pod} goes while another is down");
                pods.push(pod);
            }
        });
        let expected: Vec<_> = replicas
            .iter()
            .chain([&leader])
            .map(|i| format!("Pod {}", names::instance_pod(i)))
            .collect();
        assert_eq!(pods, expected);
        let switched =
            world.commands.iter().filter(|(_, c)| matches!(c, Command::Switchover { .. }));
        assert_eq!(switched.count(), 1);
        assert_ne!(world.leader(), leader);
        assert_eq!(world.condition("Reconciled"), Some(("True".into(), "InSync".into())));
    }

    #[test]
    fn a_lone_leader_writes_a_checkpoint_first() {
        let mut world = World::settled(1);
        world.edit(|s| restart(s, "once"));
        world.round();
        let plan = world.plan();
        assert!(matches!(commands(&plan)[..], [(_, Command::Checkpoint { .. })]));
        let times = plan.writes.iter().find_map(|w| match &w.op {
            Op::Exec { command: Command::Checkpoint { timeout_s }, deadline_s, .. } => {
                Some((*timeout_s, *deadline_s))
            }
            _ => None,
        });
        assert!(times.is_some_and(|(own, ours)| own < ours), "it ends by itself: {times:?}");
        assert_eq!(deletes(&plan), [format!("Pod {}-0", world.leader())]);
        // The status does not claim to be done, and is not lost when the checkpoint fails.
        world.failing.insert("checkpoint");
        world.round();
        let reconciled = world.condition("Reconciled");
        assert_eq!(reconciled, Some(("False".into(), "Checkpoint".into())));
        world.failing.clear();
        world.settle();
    }

    #[test]
    fn a_lone_leader_waits_for_those_that_go() {
        let mut world = World::settled(2);
        let (leader, gone) = (world.leader(), world.replicas()[0].clone());
        world.edit(|s| {
            restart(s, "once");
            s["instances"][0]["replicas"] = 1.into();
        });
        // The workload goes at once, and its Pod takes its time.
        let pod = world.the(Kind::Pod, &names::instance_pod(&gone)).clone();
        world.remove(Kind::StatefulSet, &gone);
        let pods = |world: &mut World| {
            let all = deletes(&world.plan()).into_iter();
            all.filter(|d| d.starts_with("Pod ")).collect::<Vec<_>>()
        };
        for _ in 0..4 {
            world.put((*pod).clone());
            assert_eq!(pods(&mut world), [""; 0]);
            world.round();
        }
        world.put((*pod).clone());
        world.change(Kind::Pod, &names::instance_pod(&gone), |p| {
            p["status"]["conditions"][0]["status"] = "False".into();
        });
        for (left_s, goes) in [(1, false), (-9, false), (-10, true)] {
            let by = world.now + super::SignedDuration::from_secs(left_s);
            world.change(Kind::Pod, &names::instance_pod(&gone), |p| {
                p["metadata"]["deletionTimestamp"] = by.to_string().into();
            });
            assert_eq!(pods(&mut world).len(), usize::from(goes), "{left_s}");
            assert!(goes || world.plan().requeue.is_some());
        }
        assert_eq!(pods(&mut world), [format!("Pod {}", names::instance_pod(&leader))]);
    }

    #[test]
    fn the_pass_that_changes_a_template_does_not_claim_to_be_done() {
        let mut world = World::settled(1);
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("True"));
        world.edit(|s| restart(s, "once"));
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let reconciled = world.condition("Reconciled");
        assert_eq!(reconciled, Some(("False".into(), "InstancesNotReady".into())));
    }

    #[test]
    fn a_bad_image_stops_after_the_first_and_reverting_heals() {
        for replicas in [1, 3] {
            let mut world = World::settled(replicas);
            world.edit(|s| s["image"] = "bad".into());
            (0..15).for_each(|_| {
                world.round();
            });
            let broken =
                |w: &World| w.all(Kind::Pod).iter().filter(|p| !p.condition_true("Ready")).count();
            assert_eq!(broken(&world), 1, "of {replicas}");
            if replicas == 1 {
                assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("False"));
            }
            world.edit(|s| s["image"] = "example.org/database:1".into());
            world.settle();
            assert_eq!(broken(&world), 0, "of {replicas}");
            assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        }
    }

    #[test]
    fn a_bad_image_at_the_start_of_a_stopped_cluster_heals_by_reverting() {
        let mut world = World::settled(2);
        world.edit(|s| s["shutdown"] = true.into());
        world.settle();
        world.edit(|s| {
            s["shutdown"] = false.into();
            s["image"] = "bad".into();
        });
        (0..15).for_each(|_| {
            world.round();
        });
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("Startup"));
        world.edit(|s| s["image"] = "example.org/database:1".into());
        world.settle();
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn a_workload_whose_status_lags_restarts_nobody() {
        let mut world = World::settled(2);
        for name in world.instances() {
            world.change(Kind::StatefulSet, &name, |s| {
                s["status"]["updateRevision"] = "new".into();
                s["status"]["observedGeneration"] = 0.into();
            });
        }
        assert_eq!(deletes(&world.plan()), [""; 0]);
        assert_ne!(world.plan().writes.len(), 0, "and the status does not say that all is well");
    }

    #[test]
    fn nobody_is_restarted_while_roles_disagree() {
        let mut world = World::settled(2);
        world.edit(|s| restart(s, "once"));
        let replica = names::instance_pod(&world.replicas()[0]);
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        for name in world.instances() {
            world.change(Kind::StatefulSet, &name, |s| {
                s["status"]["observedGeneration"] = s["metadata"]["generation"].clone();
                s["status"]["updateRevision"] = "new".into();
            });
        }
        assert_eq!(deletes(&world.plan()), [format!("Pod {replica}")]);
        world.change(Kind::Pod, &replica, |p| {
            p["metadata"]["labels"][crate::labels::ROLE] = "master".into()
        });
        assert_eq!(deletes(&world.plan()), [""; 0]);
    }

    #[test]
    fn a_pod_goes_only_as_it_was_read() {
        let mut world = World::settled(2);
        world.edit(|s| restart(s, "once"));
        world.round();
        let plan = world.plan();
        let found = plan.writes.iter().find_map(|w| match &w.op {
            Op::Delete { name, uid, resource_version, .. } => Some((name, uid, resource_version)),
            _ => None,
        });
        let (name, uid, version) = found.expect("a renewal");
        let pod = world.the(Kind::Pod, name);
        let version = version.expect("anything that happened since may have made it the leader");
        assert_eq!((uid, version), (&pod.meta.uid, pod.meta.resource_version));
    }

    #[test]
    fn one_that_comes_up_is_looked_at_again_soon() {
        let mut world = World::settled(3);
        let replicas = world.replicas();
        world.edit(|s| restart(s, "once"));
        world.round();
        let now = crate::object::time_text(world.now);
        for (replica, said) in replicas.iter().zip(["running", "starting"]) {
            let pod = names::instance_pod(replica);
            world.dead.insert(pod.clone());
            world.change(Kind::Pod, &pod, |p| {
                p["status"]["conditions"][0]["status"] = "False".into();
                p["status"]["conditions"][0]["lastTransitionTime"] = now.clone().into();
                let status = serde_json::json!({"role": "replica", "state": said});
                p["metadata"]["annotations"]["status"] = status.to_string().into();
            });
        }
        let plan = world.plan();
        assert_eq!(deletes(&plan), [""; 0]);
        assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(10)));
    }
}
