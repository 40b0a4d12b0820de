//! How far a standby cluster is behind what it follows: the condition `StandbyReceiving`. A promotion does not wait for it,
//! since the source may be what was lost; but nobody shall promote days of nothing without having been told.

use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::command::{Command, StandbyState};
use crate::object::time_text;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::plan::{Op, Write};
use crate::queries;
use crate::read::{Query, Read};
use crate::report::{Reason, Step};
use crate::rules::events;
use crate::rules::members::Members;
use crate::rules::status::{condition, remove};

/// The condition's type.
pub const TYPE: &str = "StandbyReceiving";
/// How old the newest replayed transaction may be, in seconds, where nothing but an archive is followed: its source may
/// have had nothing to tell.
const PATIENCE_S: i64 = 3600;
/// How old an answer may be, in seconds: in calm, and while something is wrong.
const AGES_S: [u32; 2] = [600, 60];

/// What to ask a standby cluster.
pub fn query(observed: &Observed, cluster: &Cluster, members: &Members) -> Option<Query> {
    let spec = &cluster.spec;
    if observed.cluster.terminating() || spec.paused || spec.shutdown {
        return None;
    }
    spec.active_standby()?;
    let pod = members.leader().filter(|m| m.leads() && m.ready())?.pod()?;
    let wrong = cluster.status.says_no(TYPE);
    Some(Query {
        target: queries::database(pod),
        command: Command::StandbyState,
        deadline_s: 5,
        max_age_s: AGES_S[usize::from(wrong)],
    })
}

/// Writes the condition. What is not known leaves it as it is, up to the promotion.
pub fn tell(pass: &mut Pass<'_>, members: &Members) {
    let Some(standby) = pass.cluster.spec.active_standby() else {
        if members.writable().is_some() {
            remove(pass, TYPE);
        }
        return;
    };
    let streams = standby.host.is_some();
    let Some(query) = query(pass.observed, pass.cluster, members) else { return };
    pass.look_again(Duration::from_secs(query.max_age_s.into()));
    let answer = pass.observed.answers.get(&query).and_then(Read::known);
    let Some(state) = answer.and_then(|a| StandbyState::read(&a.output)) else { return };
    let old = state.replayed_s.is_some_and(|at| state.now_s - at > PATIENCE_S);
    if state.streaming {
        return condition(pass, TYPE, Some(true), "Streaming", "WAL streams from the source");
    }
    if !streams && !old {
        let text = "WAL comes from the repository";
        return condition(pass, TYPE, Some(true), "FromRepository", text);
    }
    let newest = state.replayed_s.and_then(|s| Timestamp::from_second(s).ok());
    let newest =
        newest.map_or_else(|| "of an unknown time".into(), |at| format!("of {}", time_text(at)));
    let text = match streams {
        true => format!(
            "the source is not connected; the newest transaction here is {newest}. A promotion now would lose \
             what the source has committed since"
        ),
        false => format!(
            "the newest transaction here is {newest}: either the source has had nothing to tell since, or it \
             archives no more. A promotion now would lose what it has committed since"
        ),
    };
    condition(pass, TYPE, Some(false), "NothingArrives", &text);
}

/// A promotion of a standby of which nothing good was known last is told along with it.
pub fn warn_of_promotion(pass: &mut Pass<'_>) {
    let told = pass.status.condition(TYPE).filter(|c| c.status == "False");
    let Some(told) = told else { return };
    let text = format!("promoted although {}", told.message);
    let follows = told.last_transition_time.0.as_second().unsigned_abs();
    let cluster = &pass.cluster.object;
    let object = events::of(cluster, pass.context.now, true, "PromotedBehind", &text, follows);
    let reason = Reason::Because { word: "Event", text };
    let event = Write { step: Step::Patroni, reason, op: Op::Event { object: object.into() } };
    pass.write_before_commands(vec![event]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;
    use crate::test_support::World;

    fn standby(follows: &str) -> World {
        let mut spec = crate::test_support::spec(2);
        spec["standby"] = match follows {
            "host" => json!({"enabled": true, "host": "elsewhere"}),
            _ => json!({"enabled": true, "repoName": "repo1"}),
        };
        let mut world = World::new(spec);
        world.settle();
        world
    }

    #[test]
    fn what_reaches_a_standby_is_told() {
        let day = 86_400;
        for (follows, streaming, ago_s, expected) in [
            ("host", true, 5 * day, "True Streaming"),
            ("host", false, 60, "False NothingArrives"),
            ("repo", false, 60, "True FromRepository"),
            ("repo", false, 5 * day, "False NothingArrives"),
        ] {
            let mut world = standby(follows);
            world.now += jiff::SignedDuration::from_secs(i64::from(AGES_S[0]));
            world.standby = (streaming, world.now.as_second() - ago_s);
            world.settle();
            let told = world.condition(TYPE).map(|c| format!("{} {}", c.0, c.1));
            assert_eq!(told.as_deref(), Some(expected), "{follows} {streaming} {ago_s}");
        }
    }

    #[test]
    fn a_promotion_of_a_standby_that_is_behind_goes_on_and_is_a_warning() {
        let mut world = standby("host");
        world.standby = (false, world.now.as_second() - 5 * 86_400);
        world.settle();
        world.edit(|s| s["standby"] = json!(null));
        world.settle();
        let warned = |e: &std::sync::Arc<crate::Object>| {
            e.str_at(&["reason"]) == Some("PromotedBehind")
                && e.str_at(&["type"]) == Some("Warning")
        };
        assert_eq!(world.all(Kind::Event).iter().filter(|e| warned(e)).count(), 1);
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        assert_eq!(world.condition(TYPE), None);
    }
}
