//! Renewing Pods that were made from an older template: the broken at once, then replicas one at a time,
//! the leader last and after handing over (`reference/reconcile.md` §2.14).

use crate::command::Command;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::{Op, Propagation};
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::safety;

/// How long a checkpoint before the restart of a lone instance may take: the Pod's own grace period.
const CHECKPOINT_S: u32 = 30;

/// Plans at most one renewal, or what must come before it.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    // A plan that changes instances changes what is outdated; look again when that is visible.
    if pass.writes().iter().any(|w| w.step == Step::Instances) {
        return;
    }
    let mut outdated: Vec<&Member> = members
        .with_workload()
        .filter(|m| m.up_to_date() == Some(false) && !m.condemned())
        .collect();
    let leader = members.leader().map(|l| l.name.clone());
    outdated.sort_by_key(|m| (leader.as_ref() == Some(&m.name), m.ready(), m.name.clone()));
    let Some(next) = outdated.first().copied() else { return };
    let Some(pod) = next.pod().cloned() else { return };
    if let Err(hold) = safety::may_take_down(members, next) {
        let text = format!("instance {} is renewed later: {hold}", next.name);
        return pass.wait(Step::Rollout, "Rollout", text);
    }
    if leader.as_ref() != Some(&next.name) || !next.running() {
        return renew(pass, next, &pod);
    }
    let heir = members
        .with_workload()
        .find(|m| m.name != next.name && m.streaming() && m.up_to_date() == Some(true));
    match heir {
        Some(heir) => {
            let reason = Reason::Because {
                word: "HandOver",
                text: format!("instance {} leads and is to be renewed", next.name),
            };
            let command = Command::Switchover {
                scope: names::scope(&pass.cluster.name),
                leader: pod.meta.name.to_string(),
                candidate: Some(names::instance_pod(&heir.name)),
            };
            pass.exec(Step::Rollout, reason, &pod, command, 30);
        }
        None if members.with_workload().count() > 1 => {
            let text = format!("instance {} leads, and no renewed replica streams yet", next.name);
            pass.wait(Step::Rollout, "Rollout", text);
        }
        None => {
            // Alone: a checkpoint now makes the stop short.
            let text = format!("instance {} is to be renewed and is alone", next.name);
            let reason = Reason::Because { word: "Checkpoint", text };
            pass.exec(Step::Rollout, reason, &pod, Command::Checkpoint { timeout_s: CHECKPOINT_S }, CHECKPOINT_S + 5);
            renew(pass, next, &pod);
        }
    }
}

fn renew(pass: &mut Pass<'_>, member: &Member, pod: &Object) {
    let text = format!("instance {} was made from an older template", member.name);
    let op = Op::Delete {
        kind: pod.kind,
        namespace: pod.meta.namespace.to_string(),
        name: pod.meta.name.to_string(),
        uid: pod.meta.uid.clone(),
        // Anything that happened to the Pod since may have made it the leader.
        resource_version: Some(pod.meta.resource_version),
        propagation: Propagation::Background,
    };
    pass.write(Step::Rollout, Reason::Because { word: "Renew", text }, op);
}
