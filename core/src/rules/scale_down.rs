//! Which instance goes when there are more than wanted: never the leader, the useless before the useful,
//! one at a time, and never before its replacement works.

use crate::command::Command;
use crate::names;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::safety;

/// Plans at most one removal, or the handover that must come before it.
pub fn one(pass: &mut Pass<'_>, members: &Members) {
    let Some(victim) = choose(pass, members) else { return };
    let (name, reason) = (victim.name.clone(), why(pass, victim));
    if members.leader().is_some_and(|l| l.name == name) || (victim.labelled_leader() && victim.running()) {
        return hand_over(pass, members, victim);
    }
    if let Err(hold) = safety::may_take_down(members, victim) {
        return pass.wait(Step::Instances, "ScaleDown", format!("instance {name} goes later: {hold}"));
    }
    if let Some(workload) = victim.stateful_set.clone() {
        pass.delete(Step::Instances, &workload, reason);
    }
}

/// The instance to go, if one is to.
fn choose<'a>(pass: &Pass<'_>, members: &'a Members) -> Option<&'a Member> {
    let sets: std::collections::BTreeSet<&str> =
        members.with_workload().map(|m| m.set.as_str()).collect();
    sets.into_iter().find_map(|set| {
        let wanted = pass.cluster.set(set).map_or(0, |s| usize::try_from(s.spec.replicas).unwrap_or(0));
        let here: Vec<&Member> = members
            .of_set(set)
            .filter(|m| m.stateful_set.as_ref().is_some_and(|s| !s.terminating()))
            .collect();
        if here.len() <= wanted {
            return None;
        }
        // A condemned one goes when its replacement works; until then it may be the last good copy.
        let sound = here.iter().filter(|m| !m.condemned()).count();
        let works = |m: &&&Member| !m.condemned() && (m.streaming() || m.writable());
        if here.iter().any(|m| m.condemned()) && here.iter().filter(works).count() < wanted.max(1) && sound <= wanted {
            return None;
        }
        let leader = members.leader().map(|l| l.name.as_str());
        here.into_iter().max_by_key(|m| {
            let leads = leader == Some(&*m.name);
            // The last of these wins: condemned, not leading, not ready, then the later name.
            (m.condemned(), !leads, !m.ready(), m.name.clone())
        })
    })
}

fn why(pass: &Pass<'_>, victim: &Member) -> Reason {
    let (word, text) = if victim.condemned() {
        ("VolumeLost", format!("instance {} has lost its volume", victim.name))
    } else if pass.cluster.set(&victim.set).is_none() {
        ("SetRemoved", format!("instance set {} was removed", victim.set))
    } else {
        ("ScaleDown", format!("instance set {} has more instances than wanted", victim.set))
    };
    Reason::Because { word, text }
}

/// The leader hands over before it goes, to a replica that stays.
fn hand_over(pass: &mut Pass<'_>, members: &Members, victim: &Member) {
    let heirs = members.with_workload().filter(|m| m.name != victim.name && m.streaming() && !m.condemned());
    let stays = |m: &&Member| pass.cluster.set(&m.set).is_some();
    let heirs: Vec<&Member> = heirs.collect();
    let Some(heir) = heirs.iter().copied().find(stays).or(heirs.first().copied()) else {
        let text = format!("instance {} leads, and no replica can take over yet", victim.name);
        return pass.wait(Step::Instances, "NoHeir", text);
    };
    let Some(pod) = victim.pod().cloned() else { return };
    let reason = Reason::Because {
        word: "HandOver",
        text: format!("instance {} is to go and leads", victim.name),
    };
    let command = Command::Switchover {
        scope: names::scope(&pass.cluster.name),
        leader: pod.meta.name.to_string(),
        candidate: Some(names::instance_pod(&heir.name)),
    };
    pass.exec(Step::Instances, reason, &pod, command, 30);
}
