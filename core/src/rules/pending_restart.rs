//! Parameters that need a restart of PostgreSQL: one member at a time, in place, each when the others stream
//! (`reference/patroni.md` §6.6).
//!
//! Five parameters must never be smaller on a standby than they are on its primary. When one of them shrinks the
//! primary goes first, otherwise it goes last, so that what goes wrong goes wrong on a replica. A standby takes the smaller
//! value only once it has replayed the record of the primary's restart: restarted earlier it comes up with the old one,
//! and waits again. Each member says in its own loop that it waits, the primary perhaps last.

use std::time::Duration;

use serde_json::json;

use crate::command::Command;
use crate::kind::Kind;
use crate::labels;
use crate::object::time_text;
use crate::pass::Pass;
use crate::patroni::status::Waiting;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{parameters, safety};

/// What a standby needs at least as much of as its primary.
const ORDERED: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];
/// For how long the answer is awaited. A restart that takes longer goes on without it, and the member's state tells of it;
/// but while it is awaited nobody looks after the rest of the cluster (a Service that is deleted, say).
const DEADLINE_S: u32 = 20;
/// When to look again how far a standby has come. Positions wake nobody.
const LOOK: Duration = Duration::from_secs(2);

/// Plans at most one restart. A Pod that is to be renewed gets its parameters by that.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    let outdated = |m: &Member| m.up_to_date() == Some(false);
    let busy = [Step::Instances, Step::Rollout, Step::Switchover, Step::Patroni];
    if pass.writes_in(&busy) || members.with_workload().any(outdated) {
        return;
    }
    let mut waiting: Vec<(&Member, &[Waiting])> = members
        .with_workload()
        .filter(|m| m.running() && !m.condemned())
        .filter_map(|m| Some((m, m.patroni.as_ref()?.pending_restart.as_deref()?)))
        .collect();
    // Who does not say what waits may well wait for less of something.
    let first = |reasons: &[Waiting]| reasons.is_empty() || reasons.iter().any(shrinks);
    waiting.sort_by_key(|(m, reasons)| {
        let rank = if !members.is_leader(m) {
            1
        } else if first(reasons) {
            0
        } else {
            2
        };
        // A broken one would stand in the way of all others.
        (rank, !safety::broken(m, pass.context.now), m.name.clone())
    });
    let Some((next, reasons)) = waiting.first() else { return };
    let Some(pod) = next.pod().cloned() else { return };
    let names: Vec<&str> = reasons.iter().map(|w| w.name.as_str()).collect();
    let what = if names.is_empty() { "a parameter".to_owned() } else { names.join(", ") };
    let unsafe_now = safety::hold(pass, members, next);
    if let Some(hold) = unsafe_now.or_else(|| parameters::hold(pass, members)) {
        let text = format!("{what} of instance {} changes later: {hold}", next.name);
        return pass.wait(Step::Patroni, "RestartPending", text);
    }
    if first(reasons)
        && !members.is_leader(next)
        && let Some((until, left)) = too_early(pass, members, next)
    {
        pass.look_again(left);
        let text = format!("{what} of instance {} changes once {until}", next.name);
        return pass.wait(Step::Patroni, "RestartPending", text);
    }
    let text = format!("{what} of instance {} changes by a restart of PostgreSQL", next.name);
    let reason = Reason::Because { word: "RestartPending", text };
    // Whoever plans next may know nothing of the command, and shall take down nobody else meanwhile. An old copy of the Pod
    // is refused, and nothing restarts.
    let asked = json!({"metadata": {"annotations": {
        labels::RESTART_ASKED: time_text(pass.context.now),
    }}});
    let text = format!("PostgreSQL of instance {} is about to restart", next.name);
    let note = Reason::Because { word: "RestartPending", text };
    pass.patch_as_read(Step::Patroni, note, &pod, asked);
    let command = Command::RestartPending {
        scope: crate::names::scope(&pass.cluster.name),
        member: pod.meta.name.to_string(),
    };
    pass.exec(Step::Patroni, reason, &pod, command, DEADLINE_S);
}

/// What a standby that waits for less of something waits for, and when to look again.
fn too_early(
    pass: &Pass<'_>,
    members: &Members,
    standby: &Member,
) -> Option<(&'static str, Duration)> {
    let scope = crate::names::scope_config(&pass.cluster.name);
    let settings = pass.observed.find(Kind::Endpoints, &scope);
    let changed = settings.known().and_then(|s| s.last_change());
    let ago_s = changed.map_or(u64::MAX, |changed| {
        u64::try_from(pass.context.now.as_second() - changed.as_second()).unwrap_or(0)
    });
    // In the loop in which it hears of new settings, or in the next, a member says that it waits.
    let loop_s = u64::try_from(pass.cluster.spec.patroni.sync_period_seconds).unwrap_or(0);
    let left_s = (2 * loop_s).saturating_sub(ago_s);
    if left_s > 0 {
        let until = "the leader has had the time to say whether it waits too";
        return Some((until, Duration::from_secs(left_s)));
    }
    let until = "it has what the leader wrote";
    members.leader().filter(|leader| behind(standby, leader)).map(|_| (until, LOOK))
}

/// Whether a member has less than its leader had when that last said so: it has restarted since, or it would wait itself.
fn behind(member: &Member, leader: &Member) -> bool {
    let position = |m: &Member| m.patroni.as_ref().and_then(|s| s.xlog_location);
    position(member).zip(position(leader)).is_some_and(|(mine, theirs)| mine < theirs)
}

fn shrinks(waiting: &Waiting) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    ORDERED.contains(&waiting.name.as_str())
        && number(&waiting.new).zip(number(&waiting.old)).is_none_or(|(new, old)| new < old)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Kind;
    use crate::command::Command;
    use crate::names;
    use crate::plan::Op;
    use crate::test_support::{World, commands, deletes};

    /// What waits at these members, as Patroni 4 publishes it.
    fn wait(world: &mut World, members: &[String], reason: &Value) {
        for member in members {
            world.change(Kind::Pod, &names::instance_pod(member), |pod| {
                let annotations = &mut pod["metadata"]["annotations"];
                let text = annotations["status"].as_str().expect("a member").to_owned();
                let mut status: Value = serde_json::from_str(&text).expect("JSON");
                status["pending_restart"] = true.into();
                if !reason.is_null() {
                    status["pending_restart_reason"] = reason.clone();
                }
                annotations["status"] = status.to_string().into();
            });
        }
    }

    /// Who is restarted first when all three wait for this.
    fn first(reason: Value) -> &'static str {
        let mut world = World::settled(3);
        let (leader, all) = (world.leader(), world.instances());
        wait(&mut world, &all, &reason);
        let plan = world.plan();
        let [(_, Command::RestartPending { member, .. })] = &commands(&plan)[..] else {
            panic!("one restart: {:?}", commands(&plan))
        };
        if *member == names::instance_pod(&leader) { "leader" } else { "replica" }
    }

    #[test]
    fn nothing_restarts_while_it_is_unknown_what_instances_should_be() {
        let mut world = World::settled(2);
        let replicas = world.replicas();
        wait(&mut world, &replicas, &json!({"jit": {"old_value": "on", "new_value": "off"}}));
        let restarts = |world: &mut World| {
            let plan = world.plan();
            let restarts = |c: &Command| matches!(c, Command::RestartPending { .. });
            commands(&plan).iter().filter(|(_, c)| restarts(c)).count()
        };
        assert_eq!(restarts(&mut world), 1);
        // Without the authority no workload is compared with what it should be, and it may have to be renewed.
        world.unknown.insert(crate::read::ReadKey::One {
            kind: Kind::Secret,
            namespace: crate::test_support::NAMESPACE.to_owned(),
            name: names::ROOT_CA_SECRET.to_owned(),
        });
        assert_eq!(restarts(&mut world), 0);
    }

    #[test]
    fn the_leader_is_last_unless_a_standby_would_have_less() {
        let change = |old: &str, new: &str| json!({"old_value": old, "new_value": new});
        for (reason, expected) in [
            (json!({"max_connections": change("100", "200")}), "replica"),
            (json!({"max_connections": change("200", "100")}), "leader"),
            (json!({"max_connections": change("100", "100")}), "replica"),
            (json!({"shared_buffers": change("256MB", "128MB")}), "replica"),
            (json!({"wal_level": change("a", "b"), "max_wal_senders": change("9", "8")}), "leader"),
            (json!({"max_worker_processes": {"old_value": 8, "new_value": 16}}), "replica"),
            // Before Patroni 4.0.
            (Value::Null, "leader"),
        ] {
            assert_eq!(first(reason.clone()), expected, "{reason}");
        }
    }

    #[test]
    fn a_standby_takes_a_smaller_value_once_it_has_replayed_the_leaders_restart() {
        let came_to = |world: &mut World, member: &str, position: u64| {
            world.change(Kind::Pod, &names::instance_pod(member), |pod| {
                let annotations = &mut pod["metadata"]["annotations"];
                let text = annotations["status"].as_str().expect("a member").to_owned();
                let mut status: Value = serde_json::from_str(&text).expect("JSON");
                status["xlog_location"] = position.into();
                annotations["status"] = status.to_string().into();
            });
        };
        for (old, new, position, restarts) in
            [("200", "100", 99, 0), ("200", "100", 100, 1), ("100", "200", 99, 1)]
        {
            let mut world = World::settled(2);
            let (leader, replicas) = (world.leader(), world.replicas());
            let change = json!({"max_connections": {"old_value": old, "new_value": new}});
            wait(&mut world, &replicas, &change);
            came_to(&mut world, &leader, 100);
            came_to(&mut world, &replicas[0], position);
            assert_eq!(commands(&world.plan()).len(), restarts, "{old} {new} {position}");
            // Settings that are new may not have come to the leader yet.
            let now = world.now.to_string();
            world.change(Kind::Endpoints, "hippo-ha-config", |e| {
                e["metadata"]["managedFields"] = json!([{"manager": "Patroni", "operation": "Update",
                    "apiVersion": "v1", "time": now, "fieldsType": "FieldsV1", "fieldsV1": {}}]);
            });
            let at_once = if new == "200" { restarts } else { 0 };
            assert_eq!(commands(&world.plan()).len(), at_once, "{old} {new} {position}");
            world.now += jiff::SignedDuration::from_secs(20);
            assert_eq!(commands(&world.plan()).len(), restarts, "{old} {new} {position}");
        }
    }

    #[test]
    fn nobody_is_restarted_while_another_does_not_stream() {
        let mut world = World::settled(3);
        let replicas = world.replicas();
        wait(&mut world, &replicas[..1], &Value::Null);
        world.change(Kind::Pod, &names::instance_pod(&replicas[1]), |pod| {
            let status = json!({"role": "replica", "state": "starting"}).to_string();
            pod["metadata"]["annotations"]["status"] = status.into();
        });
        assert_eq!(commands(&world.plan()), []);
    }

    #[test]
    fn whoever_plans_next_takes_down_nobody_else_until_it_says_that_it_has_restarted() {
        let mut world = World::settled(3);
        let (leader, replicas) = (world.leader(), world.replicas());
        wait(&mut world, &replicas[..1], &json!({"jit": {"old_value": "on", "new_value": "off"}}));
        // The operator goes between its plan and the restart.
        let plan = world.plan();
        let told = plan.writes.iter().position(|w| matches!(w.op, Op::MergePatch { .. }));
        assert!(told < plan.writes.iter().position(|w| matches!(w.op, Op::Exec { .. })));
        world.execute(&plan, told.expect("a note") + 1).expect("no refusal");
        world.edit(|s| s["metadata"]["annotations"]["restarted"] = "once".into());
        world.round();
        wait(&mut world, &replicas[..1], &Value::Null);
        let renewed = |world: &mut World| deletes(&world.plan());
        let other = format!("Pod {}", names::instance_pod(&replicas[1]));
        let first = format!("Pod {}", names::instance_pod(&replicas[0]));
        // Of itself nothing is lost that is not under way already.
        assert_eq!(renewed(&mut world), [first.as_str()]);
        world.change(Kind::StatefulSet, &replicas[0], |s| {
            s["status"]["observedGeneration"] = 0.into()
        });
        assert_eq!(renewed(&mut world), [""; 0]);
        assert_eq!(world.plan().requeue, Some(std::time::Duration::from_secs(10)));
        let mut later = world.clone();
        later.now += jiff::SignedDuration::from_secs(60);
        assert_eq!(renewed(&mut later), [other.as_str()], "it may wait for ever");
        world.change(Kind::Pod, &names::instance_pod(&replicas[0]), |pod| {
            let status =
                json!({"role": "replica", "state": "running", "replication_state": "streaming"});
            pod["metadata"]["annotations"]["status"] = status.to_string().into();
        });
        assert_eq!(renewed(&mut world), [other.as_str()]);
        assert_ne!(world.leader(), replicas[1], "{leader} leads");
    }

    #[test]
    fn who_says_nothing_of_itself_waits_for_nothing() {
        let mut world = World::settled(2);
        let leader = names::instance_pod(&world.leader());
        world.change(Kind::Pod, &leader, |pod| {
            pod["metadata"]["annotations"].as_object_mut().expect("a map").remove("status");
        });
        assert_eq!(commands(&world.plan()), []);
    }

    #[test]
    fn while_a_pod_is_to_be_renewed_nobody_is_restarted_in_place() {
        let mut world = World::settled(2);
        let (leader, replica) = (world.leader(), world.replicas()[0].clone());
        wait(&mut world, std::slice::from_ref(&replica), &Value::Null);
        let reason =
            world.plan().report.lines.iter().map(|(_, o)| o.to_string()).collect::<String>();
        assert!(reason.contains(&format!("a parameter of instance {replica}")), "{reason}");
        // The leader waits for a renewed replica, so nothing is written for the rollout.
        world.change(Kind::StatefulSet, &leader, |s| s["status"]["updateRevision"] = "new".into());
        world.change(Kind::StatefulSet, &replica, |s| s["status"]["observedGeneration"] = 0.into());
        assert_eq!(commands(&world.plan()), []);
    }
}
