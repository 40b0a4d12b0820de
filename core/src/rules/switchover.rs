//! A change of the primary that a user asks for: `spec.patroni.switchover` says which, the annotation
//! `trigger-switchover` when (`reference/reconcile.md` §3.8).
//!
//! One request, one change. The timeline at which it was first seen is written down before anything is done, with the
//! request itself, so that a pass that knows nothing of the one before it sees whether the change has happened. It
//! stands on the cluster: a status that lands late, written by a former operator, must not speak of this request.

use crate::api::patroni::{Switchover, SwitchoverType};
use crate::command::Command;
use crate::kind::Kind;
use crate::labels;
use crate::names;
use crate::pass::Pass;
use crate::patroni::dcs::Leader;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{safety, told};

/// A failover waits for nobody; a switchover ends with the old primary's checkpoint.
const DEADLINE_S: u32 = 60;

/// Carries a request out, unless it was already.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    let asked = pass.cluster.spec.patroni.switchover.clone().filter(|s| s.enabled);
    let trigger = pass.cluster.object.annotation(labels::TRIGGER_SWITCHOVER).unwrap_or_default();
    let trigger = trigger.to_owned();
    let Some(asked) = asked else {
        forget(pass);
        return remember(pass, None, None);
    };
    let last = last_done(pass);
    if trigger.is_empty() || last.as_ref() == Some(&trigger) {
        forget(pass);
        return remember(pass, last, None);
    }
    let Some(leader) = members.leader().filter(|l| l.leads()) else {
        return later(pass, &asked, members, "no instance leads");
    };
    let timeline = leader.patroni.as_ref().and_then(|s| s.timeline);
    let Some(timeline) = timeline.and_then(|t| i64::try_from(t).ok()) else {
        return pass.wait(
            Step::Switchover,
            "Switchover",
            "the primary does not say its timeline yet",
        );
    };
    let noted = noted(pass, &trigger);
    let there = asked.target_instance.as_ref().is_none_or(|target| *target == leader.name);
    if there && (asked.target_instance.is_some() || noted.is_some_and(|noted| noted < timeline)) {
        if asked.type_ == SwitchoverType::Failover && told::doubt(pass) {
            let text = "what the former leader was told is told again";
            return pass.wait(Step::Switchover, "Switchover", text);
        }
        return done(pass, trigger, &leader.name);
    }
    if noted != Some(timeline) {
        let text = format!("a switchover is asked for on timeline {timeline}");
        let reason = Reason::Because { word: "Switchover", text };
        let value = format!("{timeline} {trigger}");
        pass.annotate_cluster(Step::Switchover, reason, labels::SWITCHOVER_FROM, Some(value));
        remember(pass, last, Some(timeline));
        return pass.wait(Step::Switchover, "Switchover", "a switchover was asked for and begins");
    }
    // Who renews instances hands leadership over by itself; two at once would be one too many.
    if pass.writes_in(&[Step::Instances, Step::Rollout]) {
        return pass.wait(
            Step::Switchover,
            "Switchover",
            "instances are renewed before the switchover",
        );
    }
    match candidate(&asked, members, leader) {
        Ok(candidate) => change(pass, &asked, leader, candidate),
        Err(text) => pass.block(Step::Switchover, "Switchover", text),
    }
}

/// Which request was carried out last. One of before this annotation existed is known by the status.
fn last_done(pass: &Pass<'_>) -> Option<String> {
    let noted = pass.cluster.object.annotation(labels::SWITCHED_OVER).map(str::to_owned);
    noted.or_else(|| pass.status.patroni.as_ref()?.switchover.clone())
}

/// The timeline at which this very request was first seen.
fn noted(pass: &Pass<'_>, trigger: &str) -> Option<i64> {
    let value = pass.cluster.object.annotation(labels::SWITCHOVER_FROM)?;
    let (timeline, of) = value.split_once(' ')?;
    timeline.parse().ok().filter(|_| of == trigger)
}

/// No request is under way.
fn forget(pass: &mut Pass<'_>) {
    if pass.cluster.object.annotation(labels::SWITCHOVER_FROM).is_some() {
        let text = "no switchover is under way".into();
        let reason = Reason::Because { word: "Switchover", text };
        pass.annotate_cluster(Step::Switchover, reason, labels::SWITCHOVER_FROM, None);
    }
}

fn remember(pass: &mut Pass<'_>, done: Option<String>, timeline: Option<i64>) {
    if let Some(patroni) = &mut pass.status.patroni {
        patroni.switchover = done;
        patroni.switchover_timeline = timeline;
    }
}

/// The annotation first: the status alone would be lost with the status.
fn done(pass: &mut Pass<'_>, trigger: String, leader: &str) {
    let text = format!("instance {leader} leads, as was asked for");
    let reason = Reason::Because { word: "SwitchedOver", text };
    pass.annotate_cluster(Step::Switchover, reason, labels::SWITCHED_OVER, Some(trigger.clone()));
    remember(pass, Some(trigger), None);
}

/// Without a leader only a failover can help, and it is asked for by name.
fn later(pass: &mut Pass<'_>, asked: &Switchover, members: &Members, why: &str) {
    let target = asked.target_instance.as_ref().and_then(|name| members.all.get(name));
    let Some(target) = target.filter(|_| asked.type_ == SwitchoverType::Failover) else {
        return pass.wait(Step::Switchover, "Switchover", format!("a switchover waits: {why}"));
    };
    // The lease must have run out: before that Patroni may be about to choose by itself. A leader that is lost leaves its
    // name in it.
    let lease = Leader::of(pass.observed, &pass.cluster.name).unwrap_or_default();
    if !pass.lease_is_over(&lease) || !target.running() {
        return pass.wait(Step::Switchover, "Switchover", format!("a failover waits: {why}"));
    }
    if stands(pass, &target.name) {
        let text = format!("Patroni was asked for a failover to {}", target.name);
        return pass.wait(Step::Switchover, "Failover", text);
    }
    fail_over(pass, target);
}

/// Whether Patroni's store holds a request that an instance should lead.
fn stands(pass: &Pass<'_>, name: &str) -> bool {
    let place = names::scope_failover(&pass.cluster.name);
    let Read::Known(all) = pass.observed.labelled(Kind::Endpoints) else { return false };
    let request = all.iter().find(|e| *e.meta.name == *place);
    request.and_then(|r| r.annotation("member")) == Some(&*names::instance_pod(name))
}

/// Whom to name; nobody where Patroni may choose.
///
/// # Errors
/// With what is wrong with the request, in words for its author.
fn candidate<'a>(
    asked: &Switchover,
    members: &'a Members,
    leader: &Member,
) -> Result<Option<&'a Member>, String> {
    if members.with_workload().count() < 2 {
        return Err("a switchover needs a second instance; raise spec.instances[].replicas".into());
    }
    let Some(name) = &asked.target_instance else {
        if asked.type_ == SwitchoverType::Failover {
            return Err("a failover needs spec.patroni.switchover.targetInstance".into());
        }
        let ready = safety::heir(members, leader, eligible);
        return ready.map(|_| None).ok_or_else(|| "no replica streams that could lead".into());
    };
    let Some(target) = members.with_workload().find(|m| m.name == *name) else {
        let all: Vec<&str> = members.with_workload().map(|m| m.name.as_str()).collect();
        let all = all.join(", ");
        return Err(format!(
            "targetInstance {name} is no instance of the cluster; there are {all}"
        ));
    };
    if target.patroni.as_ref().is_some_and(|s| s.nofailover) {
        return Err(format!("targetInstance {name} bears the tag nofailover"));
    }
    let fit = match asked.type_ {
        SwitchoverType::Switchover => target.streaming(),
        SwitchoverType::Failover => target.running(),
    };
    let state = target.patroni.as_ref().map_or("unknown", |s| s.state.as_str());
    fit.then_some(Some(target))
        .ok_or_else(|| format!("targetInstance {name} can't lead now: its state is {state}"))
}

fn eligible(member: &Member) -> bool {
    member.patroni.as_ref().is_some_and(|s| !s.nofailover)
}

fn change(pass: &mut Pass<'_>, asked: &Switchover, leader: &Member, target: Option<&Member>) {
    if let (SwitchoverType::Failover, Some(target)) = (asked.type_, target) {
        return fail_over(pass, target);
    }
    let Some(pod) = leader.pod().cloned() else { return };
    let why = match target {
        Some(target) => format!("instance {} shall lead", target.name),
        None => format!("another instance than {} shall lead", leader.name),
    };
    let candidate = target.map(|t| names::instance_pod(&t.name));
    pass.hand_over(Step::Switchover, why, &pod, candidate);
}

fn fail_over(pass: &mut Pass<'_>, target: &Member) {
    let Some(pod) = target.pod().cloned() else { return };
    let command = Command::Failover {
        scope: names::scope(&pass.cluster.name),
        candidate: pod.meta.name.to_string(),
    };
    let text = format!("instance {} shall lead, whatever became of the primary", target.name);
    pass.exec(
        Step::Switchover,
        Reason::Because { word: "Failover", text },
        &pod,
        command,
        DEADLINE_S,
    );
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use crate::Kind;
    use crate::command::Command;
    use crate::labels;
    use crate::names;
    use crate::plan::Op;
    use crate::test_support::{CLUSTER, World, commands, endpoints};

    /// Asks for a switchover by this value.
    fn ask(world: &mut World, switchover: Value, trigger: &str) {
        world.edit(|s| s["patroni"]["switchover"] = switchover);
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["metadata"]["annotations"][labels::TRIGGER_SWITCHOVER] = trigger.into();
        });
    }

    fn changes(world: &World) -> usize {
        let change =
            |c: &Command| matches!(c, Command::Switchover { .. } | Command::Failover { .. });
        world.commands.iter().filter(|(_, c)| change(c)).count()
    }

    fn status(world: &World) -> Value {
        let cluster = world.cluster();
        cluster.at(&["status", "patroni", "switchover"]).cloned().unwrap_or_default()
    }

    #[test]
    fn each_value_of_the_annotation_changes_the_primary_once() {
        let mut world = World::settled(3);
        let first = world.leader();
        ask(&mut world, json!({"enabled": true}), "one");
        world.settle();
        let second = world.leader();
        assert_ne!(first, second);
        assert_eq!((changes(&world), status(&world)), (1, "one".into()));
        // Neither time nor a lost status does it again.
        world.settle();
        world.change(Kind::IvoryCluster, CLUSTER, |c| c["status"] = json!({}));
        world.settle();
        assert_eq!((world.leader(), changes(&world)), (second.clone(), 1));
        assert_eq!(status(&world), json!("one"));
        ask(&mut world, json!({"enabled": true}), "two");
        world.settle();
        assert_ne!(world.leader(), second);
        assert_eq!((changes(&world), status(&world)), (2, "two".into()));
        ask(&mut world, json!({"enabled": false}), "three");
        world.settle();
        assert_eq!((changes(&world), status(&world)), (2, Value::Null));
    }

    #[test]
    fn a_status_that_lands_late_does_not_answer_a_request() {
        let mut world = World::settled(3);
        ask(&mut world, json!({"enabled": true}), "one");
        world.settle();
        let second = world.leader();
        // What an operator of before believed when the first request began.
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["status"]["patroni"]["switchoverTimeline"] = 1.into();
        });
        ask(&mut world, json!({"enabled": true}), "two");
        world.settle();
        assert_ne!(world.leader(), second);
        assert_eq!((changes(&world), status(&world)), (2, "two".into()));
        assert_eq!(world.cluster().annotation(labels::SWITCHOVER_FROM), None);
    }

    #[test]
    fn a_note_that_lands_late_undoes_nothing() {
        let mut world = World::settled(3);
        let note = |world: &mut World| {
            let plan = world.plan();
            plan.writes.into_iter().find(|w| matches!(w.op, Op::MergePatch { .. }))
        };
        ask(&mut world, json!({"enabled": true}), "one");
        let late = note(&mut world).expect("the beginning is noted").op;
        world.settle();
        let done = world.cluster().annotation(labels::SWITCHED_OVER).map(str::to_owned);
        assert_eq!(done.as_deref(), Some("one"));
        assert!(world.write(&late).is_err_and(|r| r.0.contains("409")), "{late:?}");
        assert_eq!(world.cluster().annotation(labels::SWITCHOVER_FROM), None);
    }

    #[test]
    fn the_target_leads_by_either_kind() {
        for kind in ["Switchover", "Failover"] {
            let mut world = World::settled(3);
            let target = world.replicas()[1].clone();
            let asked = json!({"enabled": true, "targetInstance": target, "type": kind});
            ask(&mut world, asked.clone(), "one");
            world.settle();
            assert_eq!((world.leader(), changes(&world)), (target, 1), "{kind}");
            // It leads already.
            ask(&mut world, asked, "two");
            world.settle();
            assert_eq!((changes(&world), status(&world)), (1, "two".into()), "{kind}");
        }
    }

    #[test]
    fn a_crash_after_the_command_does_it_no_second_time() {
        let mut world = World::settled(3);
        ask(&mut world, json!({"enabled": true}), "one");
        for _ in 0..6 {
            let plan = world.plan();
            let done = commands(&plan).iter().any(|(_, c)| matches!(c, Command::Switchover { .. }));
            // Nothing that follows the command is ever written.
            let upto =
                plan.writes.iter().position(|w| matches!(w.op, crate::plan::Op::Exec { .. }));
            world.execute(&plan, upto.map_or(usize::MAX, |n| n + 1)).expect("no refusal");
            if done {
                break;
            }
        }
        world.settle();
        assert_eq!((changes(&world), status(&world)), (1, "one".into()));
    }

    #[test]
    fn what_can_not_be_done_is_refused_in_words() {
        let on = |more: Value| {
            let mut asked = json!({"enabled": true});
            crate::test_support::merge(&mut asked, &more);
            asked
        };
        for (instances, asked, text) in [
            (1, on(json!({})), "needs a second instance"),
            (2, on(json!({"targetInstance": "nobody"})), "nobody is no instance of the cluster"),
            (2, on(json!({"type": "Failover"})), "needs spec.patroni.switchover.targetInstance"),
        ] {
            let mut world = World::settled(instances);
            let leader = world.leader();
            ask(&mut world, asked, "one");
            (0..4).for_each(|_| {
                world.round();
            });
            let cluster = world.cluster();
            let message = cluster.condition("Reconciled").expect("a condition")["message"].clone();
            assert!(message.as_str().is_some_and(|m| m.contains(text)), "{message}");
            assert_eq!((world.leader(), changes(&world)), (leader, 0), "{text}");
        }
    }

    #[test]
    fn a_target_that_lags_or_must_not_lead_is_refused() {
        for (status, said) in [
            (json!({"role": "replica", "state": "starting"}), "its state is starting"),
            (
                json!({"role": "replica", "state": "running", "replication_state": "streaming",
                    "tags": {"nofailover": true}}),
                "bears the tag nofailover",
            ),
            (Value::Null, "its state is unknown"),
        ] {
            let mut world = World::settled(3);
            let target = world.replicas()[0].clone();
            ask(&mut world, json!({"enabled": true, "targetInstance": target}), "one");
            for _ in 0..3 {
                world.change(Kind::Pod, &names::instance_pod(&target), |pod| {
                    pod["metadata"]["annotations"]["status"] = status.to_string().into();
                });
                let plan = world.plan();
                assert_eq!(commands(&plan), [], "{status}");
                world.execute(&plan, usize::MAX).expect("no refusal");
            }
            let told = world.cluster().condition("Reconciled").expect("a condition").to_string();
            assert!(told.contains("\"Switchover\"") && told.contains(said), "{status}: {told}");
        }
    }

    #[test]
    fn nothing_is_changed_before_somebody_leads_and_says_its_timeline() {
        let mut world = World::settled(2);
        let leader = names::instance_pod(&world.leader());
        ask(&mut world, json!({"enabled": true}), "one");
        let mut says = |status: Value| {
            world.change(Kind::Pod, &leader, |p| {
                p["metadata"]["annotations"]["status"] = status.to_string().into();
            });
            let report = world.plan().report;
            report.lines.iter().map(|(_, o)| format!("{o}; ")).collect::<String>()
        };
        let nobody = says(json!({"role": "replica", "state": "running", "timeline": 1}));
        assert!(nobody.contains("a switchover waits: no instance leads"), "{nobody}");
        let silent = says(json!({"role": "primary", "state": "running"}));
        assert!(silent.contains("the primary does not say its timeline yet"), "{silent}");
    }

    #[test]
    fn a_failover_from_a_lost_leader_begins_when_its_lease_is_over_and_all_is_told_again() {
        let mut world = World::settled(2);
        let (leader, target) = (world.leader(), world.replicas()[0].clone());
        let pod = names::instance_pod(&leader);
        world.dead.insert(pod.clone());
        world.change(Kind::Pod, &pod, |p| p["status"]["containerStatuses"] = json!([]));
        let renewed = world.now.to_string();
        world.change(Kind::Endpoints, &names::scope("hippo"), |e| {
            e["metadata"]["annotations"]["renewTime"] = renewed.into();
            e["metadata"]["annotations"]["ttl"] = "30".into();
        });
        let failover =
            json!({"enabled": true, "type": "Failover", "targetInstance": target.clone()});
        ask(&mut world, failover, "one");
        let failovers = |world: &mut World| {
            let all = commands(&world.plan());
            all.into_iter().filter(|(_, c)| matches!(c, Command::Failover { .. })).count()
        };
        world.now += SignedDuration::from_secs(59);
        assert_eq!(failovers(&mut world), 0);
        assert_eq!(world.plan().requeue, Some(std::time::Duration::from_secs(1)));
        world.now += SignedDuration::from_secs(1);
        assert_eq!(failovers(&mut world), 1);
        for (member, expected) in [(&target, 0), (&leader, 1)] {
            let mut asked = world.clone();
            let request = names::scope_failover("hippo");
            endpoints(&mut asked, &request, "member", &names::instance_pod(member));
            assert_eq!(failovers(&mut asked), expected, "Patroni was asked for {member}");
        }
        // Under the new lease, whatever write the operator dies after.
        world.change(Kind::Endpoints, &names::scope("hippo"), |e| {
            e["metadata"]["annotations"]["acquireTime"] = "2026-03-01T13:00:00Z".into();
        });
        world.commands.clear();
        for (passes, writes) in (0..6).flat_map(|p| (0..6).map(move |w| (p, w))) {
            let mut world = world.clone();
            (0..passes).for_each(|_| {
                world.round();
            });
            let plan = world.plan();
            world.execute(&plan, writes).expect("no refusal");
            world.settle();
            assert_eq!(world.leader(), target);
            let done = status(&world);
            for wanted in ["set up users", "create databases"] {
                let told = |(pod, command): &(String, Command)| {
                    *pod == names::instance_pod(&target) && command.label().contains(wanted)
                };
                let times = world.commands.iter().filter(|c| told(c)).count();
                assert!(times == 1 || times == 2, "{passes} {writes}: {times} times {wanted}");
                assert_eq!(done, "one", "{passes} {writes}");
            }
        }
    }
}
