//! > Ready and observedGeneration never claim more than is true; every long wait has a condition that names what is waited
//! > for. While paused, only `Progressing` changes.
//!
//! Looked at after every event: while a cluster says that it is Ready, a client can write through its primary Service, or
//! could [`REACTION`] ago. Before every write of the status: it claims no generation but the one that was carried out, and
//! takes none back; while paused it changes nothing but `Progressing`. At every plan: what is awaited keeps `Reconciled`
//! from being True, and is named by it.

use std::collections::BTreeMap;

use ivory_core::object::Object;
use ivory_core::plan::Op;
use ivory_core::report::Outcome;
use ivory_core::{Kind, names};
use serde_json::Value;

use super::seen::{Cluster, Log, Pass, Seen, Write, Writes, key, switched};
use super::{Checker, Promise, When};
use crate::kube::{Body, Subresource, Verb};
use crate::lab::OPERATOR;
use crate::patroni::Member;
use crate::time::{Span, Time};
use crate::world::{KubeId, Where, World};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 12,
    name: "status true",
    words: "Ready and observedGeneration never claim more than is true; every long wait has a condition that names what is \
            waited for. While paused, only `Progressing` changes.",
    when: &[When::Event, When::Write, When::Pass],
    file: file!(),
    held_by: &[],
};

/// For how long a cluster may still say that it is Ready when it takes no writes any more: a node that dies is missed
/// after 60 s at most (50 s of grace since the node controller saw its last lease, and it looks every 5 s), the lease of a
/// leader runs out within 30 s, and the operator looks when it hears of it, unless a command is under way to whom does not
/// answer any more: that ends after 30 s at most where the cluster was ready.
pub const REACTION: Span = Span::s(90);

/// For how long what can't be followed may stay untold.
const UNTOLD_S: i64 = 60;

/// How often to look whether the operator can hear of it.
const LOOK: Span = Span::s(5);

const READY: &str = "Ready";
const RECONCILED: &str = "Reconciled";
const PROGRESSING: &str = "Progressing";
const POSTGRES: u16 = 5432;

/// Since when clusters that say they are Ready take no writes.
#[derive(Clone, Default)]
pub(super) struct State {
    deaf: BTreeMap<Cluster, Time>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        for (kube, cluster) in seen.clusters() {
            let (namespace, name) = (&cluster.meta.namespace, &cluster.meta.name);
            let key = key(kube, cluster);
            let paused = switched(cluster, "paused");
            if !cluster.condition_true(READY) || paused || cluster.terminating() {
                self.deaf.remove(&key);
                continue;
            }
            log.looked(&PROMISE);
            if takes_writes(seen.world, kube, namespace, name) {
                self.deaf.remove(&key);
                continue;
            }
            let now = seen.now();
            let since = self.deaf.entry(key).or_insert(now);
            if seen.world.disturbed(kube) || seen.world.find(kube, OPERATOR).is_none() {
                // Its time begins when the operator can hear of it.
                *since = now;
                log.wake(now + LOOK);
            } else if now - *since < REACTION {
                log.wake(*since + REACTION);
            } else {
                let text = format!(
                    "{name} says that it is Ready, and since {:.1} s no client can write through {}",
                    since.seconds(),
                    names::primary_service(name)
                );
                log.broken(&PROMISE, text);
            }
        }
    }

    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        let Writes::Request(request) = write.what else { return };
        let Verb::Patch { target, subresource: Subresource::Status, body: Body::Merge(patch) } =
            &request.verb
        else {
            return;
        };
        let (Kind::IvoryCluster, Some(live)) = (target.kind, write.live()) else { return };
        log.looked(&PROMISE);
        let key = (write.kube, target.namespace.clone(), target.name.clone());
        let Some(plan) = write.plans.get(&key) else { return };
        for wrong in claims(&patch["status"], live, plan.generation) {
            log.broken(&PROMISE, format!("{}: {wrong}", target.name));
        }
        if plan.paused && !live.terminating() {
            for what in beside_progressing(&patch["status"], live) {
                log.broken(&PROMISE, format!("{} is paused, and its {what} changes", target.name));
            }
        }
    }

    fn pass(&mut self, pass: &Pass<'_>, log: &mut Log<'_>) {
        let cluster = &pass.observed.cluster;
        if switched(cluster, "paused") || cluster.terminating() {
            return;
        }
        let soon = pass.context.blind_for().is_some_and(|age| age.as_secs() < UNTOLD_S);
        let waits = pass.plan.report.lines.iter().find_map(|(step, outcome)| match outcome {
            // What is watched again in a moment is no long wait.
            Outcome::Waiting(ivory_core::report::Reason::Unreadable { .. }) if soon => None,
            Outcome::Waiting(reason) | Outcome::Blocked(reason) => {
                Some(format!("{step}: {reason}"))
            }
            _ => None,
        });
        let Some(waits) = waits else { return };
        log.looked(&PROMISE);
        let writes = pass.plan.writes.iter().rev().find_map(|w| match &w.op {
            Op::Status { kind: Kind::IvoryCluster, patch, .. } => {
                Some(&patch["status"]["conditions"]).filter(|list| list.is_array())
            }
            _ => None,
        });
        let conditions = writes.or_else(|| cluster.at(&["status", "conditions"]));
        let mut all = conditions.and_then(Value::as_array).into_iter().flatten();
        let reconciled = all.find(|c| c["type"] == RECONCILED);
        let named = reconciled.is_some_and(|c| {
            c["status"] != "True" && c["message"].as_str().is_some_and(|m| !m.is_empty())
        });
        if !named {
            log.broken(
                &PROMISE,
                format!("{}: no condition names the wait ({waits})", cluster.meta.name),
            );
        }
    }
}

/// Whether a new client would reach a server that takes writes.
fn takes_writes(world: &World, kube: KubeId, namespace: &str, cluster: &str) -> bool {
    let Some(Where::Address { ip, port }) =
        world.resolve(kube, namespace, &names::primary_service(cluster), POSTGRES)
    else {
        return false;
    };
    let server = world.kube(kube).listener(&ip, port);
    server.and_then(|id| world.actor::<Member>(id)).is_some_and(Member::writable)
}

/// What a status claims that is not so.
fn claims(status: &Value, live: &Object, carried_out: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(seen) = status["observedGeneration"].as_i64() {
        let before = live.i64_at(&["status", "observedGeneration"]).unwrap_or(0);
        if seen < before {
            wrong.push(format!("observedGeneration goes back from {before} to {seen}"));
        }
        if seen != before && seen != carried_out {
            wrong.push(format!("it claims generation {seen}, and {carried_out} was carried out"));
        }
    }
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let seen = condition["observedGeneration"].as_i64().unwrap_or(0);
        if seen > live.meta.generation {
            let (kind, now) = (&condition["type"], live.meta.generation);
            wrong.push(format!("condition {kind} is of generation {seen}, and there are {now}"));
        }
    }
    wrong
}

/// What a status changes beside the condition `Progressing`.
fn beside_progressing(status: &Value, live: &Object) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in status.as_object().into_iter().flatten() {
        let before = live.at(&["status", key]).unwrap_or(&Value::Null);
        if key != "conditions" {
            if value != before {
                all.push(format!("status.{key}"));
            }
            continue;
        }
        let others = |list: &Value| -> Vec<Value> {
            let list = list.as_array().into_iter().flatten();
            list.filter(|c| c["type"] != PROGRESSING).cloned().collect()
        };
        if others(value) != others(before) {
            all.push("conditions beside Progressing".to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use ivory_core::report::{Reason, Step};
    use serde_json::json;

    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::kube::Request;
    use crate::lab::NAMESPACE;
    use crate::patroni::check::member_of_pod;
    use crate::patroni::fault::crash_postmaster;

    #[test]
    fn a_cluster_that_says_ready_and_takes_no_writes_is_seen() {
        let mut world = ready();
        let key: Cluster = (KUBE, NAMESPACE.into(), CLUSTER.into());
        let ask = |world: &World, since: Time| {
            let mut state = State { deaf: [(key.clone(), since)].into() };
            found(world.now(), |log| state.event(&seen(world, &Plans::default()), log))
        };
        assert_eq!(ask(&world, Time::START), [""; 0]);
        let pod = members(&world)[0].config().name.clone();
        let leader = member_of_pod(&world, KUBE, NAMESPACE, &pod).expect("it lives");
        crash_postmaster(&mut world, leader);
        while takes_writes(&world, KUBE, NAMESPACE, CLUSTER) {
            world.step();
        }
        assert_eq!(ask(&world, world.now()), [""; 0], "it has yet to hear of it");
        let wrong = ask(&world, Time::START);
        assert!(wrong.len() == 1 && wrong[0].contains("says that it is Ready"), "{wrong:?}");
    }

    #[test]
    fn claims_and_changes_while_paused_are_seen() {
        let world = ready();
        let cluster = the(&world, Kind::IvoryCluster, CLUSTER);
        let now = cluster.meta.generation;
        let mut conditions = cluster.at(&["status", "conditions"]).expect("it has some").clone();
        let ask = |paused: bool, status: Value| {
            let request: Request = patch(&cluster, Subresource::Status, json!({"status": status}));
            let plans = plans(&world, paused);
            found(world.now(), |log| State::default().write(&writes(&world, &request, &plans), log))
        };
        assert_eq!(ask(false, json!({"observedGeneration": now})), [""; 0]);
        assert_eq!(ask(false, json!({"observedGeneration": now + 1})).len(), 1);
        assert_eq!(
            ask(false, json!({"observedGeneration": now - 1})).len(),
            2,
            "back, and not carried out"
        );
        let early = json!([{"type": "Ready", "observedGeneration": now + 1}]);
        assert_eq!(ask(false, json!({"conditions": early})).len(), 1);
        let progressing = json!({"type": "Progressing", "status": "False"});
        conditions.as_array_mut().expect("a list").push(progressing);
        assert_eq!(ask(true, json!({"conditions": conditions})), [""; 0]);
        conditions[0]["status"] = "Unknown".into();
        assert_eq!(ask(true, json!({"conditions": conditions})).len(), 1);
        assert_eq!(ask(true, json!({"usersRevision": "x"})).len(), 1);
    }

    #[test]
    fn a_wait_that_no_condition_names_is_seen() {
        let planning = Planning::at_rest();
        let mut plan = planning.plan.clone();
        let wrong = |plan: &ivory_core::plan::Plan| planning.found(&mut State::default(), plan);
        assert_eq!(wrong(&plan), [""; 0]);
        let reason = Reason::Because { word: "Rain", text: "it rains".to_owned() };
        plan.report.lines.push((Step::Rollout, Outcome::Waiting(reason)));
        assert_eq!(wrong(&plan), ["hippo0: no condition names the wait (Rollout: it rains)"]);
        for (blind_s, found) in [(None, 1), (Some(59), 0), (Some(60), 1)] {
            let mut planning = Planning::at_rest();
            let reason = Reason::Unreadable { what: "the pods".to_owned() };
            plan.report.lines = vec![(Step::Instances, Outcome::Waiting(reason))];
            let since = |s| planning.context.now - jiff::SignedDuration::from_secs(s);
            planning.context.blind_since = blind_s.map(since);
            assert_eq!(planning.found(&mut State::default(), &plan).len(), found, "{blind_s:?}");
        }
    }
}
