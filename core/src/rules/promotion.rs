//! Promotion of a standby cluster: `spec.standby` is switched off while Patroni still follows another cluster.
//!
//! While the source is known to accept writes and this cluster still receives them, a promotion would make two
//! primaries of one database; it waits, and says what to do. A source that does not answer, and from which nothing arrives
//! any more, holds nothing up that was not held up before: it may be what was lost. One that only does not answer lives; what
//! receives its WAL notices within a minute when it is gone (`wal_receiver_timeout`). That the question did not get through
//! says nothing of the source; the promotion goes the same way and would not either. Where nobody leads who could be asked, a
//! promotion that was held up stays so, and it does where a writable source is not followed for a moment, or is silent for
//! less than a minute: it may restart, or its name may not be found for that long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::command::{Command, SourceState};
use crate::labels;
use crate::object::Object;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::queries;
use crate::read::Query;
use crate::report::Step;
use crate::rules::members::Members;

/// The condition, and the word of the report when the source accepts writes.
pub const BLOCKED: &str = "PromotionBlocked";
/// The word of the report when the source does not answer, and WAL arrives from it.
const STREAMS: &str = "SourceStreams";
/// The word of the report while the question does not get through.
pub const UNASKED: &str = "SourceNotAsked";
/// The word of the report when the source has been silent for a moment, and accepted writes before.
pub const SILENT: &str = "SourceSilent";
/// How soon the source is looked at again.
const LOOK: Duration = Duration::from_secs(10);
/// For how long a source that accepted writes has to be silent before it counts as gone.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// Whether the promotion has to wait; the report says why. `live` is the configuration that Patroni has.
pub fn held(pass: &mut Pass<'_>, members: &Members, live: &str) -> bool {
    if pass.cluster.spec.active_standby().is_some() {
        return false;
    }
    let Some((host, port)) = source(live) else { return false };
    let system = members.system_identifier.as_deref();
    let despite = pass.cluster.object.annotation(labels::PROMOTE_DESPITE);
    if despite.is_some() && despite == system {
        return false;
    }
    let pod = leader(members);
    if pod.is_none() && !was_held(pass) {
        return false;
    }
    let question = pod.map(|pod| question(pod, host.clone(), port));
    let answer = question.and_then(|q| pass.observed.answers.get(&q)?.known());
    let Some(answer) = answer else {
        let text = format!("whether the source at {host}:{port} accepts writes could not be asked");
        pass.wait(Step::Patroni, UNASKED, text);
        pass.look_again(LOOK);
        return true;
    };
    let (word, what) = match SourceState::read(&answer.output) {
        Some(SourceState { writable: Some(true), streaming: true }) => {
            (BLOCKED, "still accepts writes, and this cluster still receives them")
        }
        // Who has just begun to lead streams in a moment.
        Some(SourceState { writable: Some(true), .. }) if was_held(pass) => {
            (BLOCKED, "still accepts writes")
        }
        Some(SourceState { writable: None, streaming: true }) => {
            (STREAMS, "does not say whether it accepts writes, and still sends WAL to this cluster")
        }
        None | Some(SourceState { writable: None, .. }) if is_awaited(pass) => {
            let text = format!(
                "the source at {host}:{port} accepted writes, and has been silent for less than a minute; \
                 when it has been for one, this cluster is promoted"
            );
            pass.wait(Step::Patroni, SILENT, text);
            pass.look_again(LOOK);
            return true;
        }
        _ => return false,
    };
    let text = format!(
        "the source at {host}:{port} {what}: shut the source down, or annotate this cluster with {}={}",
        labels::PROMOTE_DESPITE,
        system.unwrap_or_default()
    );
    pass.block(Step::Patroni, word, text);
    pass.look_again(LOOK);
    true
}

/// The reason of the condition for what the report says, if that holds a promotion up.
#[must_use]
pub fn reason(word: &str) -> Option<&'static str> {
    match word {
        BLOCKED => Some("SourceWritable"),
        STREAMS => Some(STREAMS),
        _ => None,
    }
}

/// Whether the status says that it is held up.
fn was_held(pass: &Pass<'_>) -> bool {
    pass.status.condition(BLOCKED).is_some()
}

/// Whether it was held up, and a source that is silent now may be back in a moment. The condition says since when it has been
/// silent: it is Unknown for so long.
fn is_awaited(pass: &Pass<'_>) -> bool {
    let is_new = |since: Timestamp| pass.context.now.duration_since(since) < SILENCE;
    let held = pass.status.condition(BLOCKED);
    held.is_some_and(|c| c.status != "Unknown" || is_new(c.last_transition_time.0))
}

/// What has to be asked before a promotion.
pub fn query(observed: &Observed, members: &Members, config: &str) -> Option<Query> {
    if observed.cluster.terminating() {
        return None;
    }
    let (host, port) = source(config)?;
    Some(question(leader(members)?, host, port))
}

fn question(pod: &Object, host: String, port: u16) -> Query {
    let command = Command::SourceState { host, port };
    Query { target: queries::database(pod), command, deadline_s: 15, max_age_s: 0 }
}

fn leader(members: &Members) -> Option<&Object> {
    members.leader().filter(|m| m.leads()).and_then(|m| m.pod()).map(|pod| &**pod)
}

/// The server that Patroni's configuration follows.
fn source(config: &str) -> Option<(String, u16)> {
    if !config.contains("standby_cluster") {
        return None;
    }
    let config: Value = serde_json::from_str(config).ok()?;
    let section = config.get("standby_cluster")?;
    let host = section.get("host")?.as_str()?.to_owned();
    let port = section.get("port").and_then(Value::as_u64).unwrap_or(5432);
    Some((host, u16::try_from(port).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Kind;
    use crate::command::Command;
    use crate::labels;
    use crate::memo::Memos;
    use crate::observed::Observed;
    use crate::read::{Query, Read};
    use crate::test_support::{CLUSTER, World, commands, spec};

    fn standby() -> World {
        let mut spec = spec(2);
        spec["standby"] = json!({"enabled": true, "host": "elsewhere"});
        let mut world = World::new(spec);
        world.settle();
        world
    }

    fn promotes(world: &mut World) -> bool {
        let plan = world.plan();
        commands(&plan)
            .iter()
            .any(|(_, c)| matches!(c, Command::ReplaceDynamicConfiguration { .. }))
    }

    #[test]
    fn it_waits_only_for_a_source_that_lives_and_is_connected() {
        for (state, held) in [
            ("writable streaming", true),
            ("writable not-streaming", false),
            ("recovery streaming", false),
            ("unknown streaming", true),
            ("unknown not-streaming", false),
            ("", false),
        ] {
            let mut world = standby();
            world.source = state;
            for edit in [json!({"enabled": false, "host": "elsewhere"}), json!(null)] {
                world.edit(|s| s["standby"] = edit);
                assert_eq!(promotes(&mut world), !held, "{state}");
            }
        }
    }

    #[test]
    fn a_question_that_does_not_get_through_promotes_nobody() {
        let mut world = standby();
        world.source = "writable streaming";
        world.edit(|s| s["standby"] = json!(null));
        let replaces = |observed: &Observed, world: &World| {
            let plan = crate::steps::plan(observed, &world.context(), &mut Memos::default());
            commands(&plan)
                .iter()
                .any(|(_, c)| matches!(c, Command::ReplaceDynamicConfiguration { .. }))
        };
        for asked in [true, false] {
            let mut less = world.observed();
            let source = |q: &Query| matches!(q.command, Command::SourceState { .. });
            less.answers.retain(|q, _| asked || !source(q));
            let answers = less.answers.iter_mut().filter(|(q, _)| source(q));
            answers.for_each(|(_, a)| *a = Read::Unknown("cut off".into()));
            assert!(!replaces(&less, &world));
        }
        // What was held up stays so, and is told, while nobody leads who could be asked.
        (0..3).for_each(|_| {
            world.round();
        });
        world.change(Kind::Endpoints, "hippo-ha", |e| {
            e["metadata"]["annotations"].as_object_mut().expect("annotations").remove("leader");
        });
        assert!(!replaces(&world.observed(), &world));
        world.settle();
        assert_eq!(world.condition("PromotionBlocked").map(|c| c.0), Some("True".into()));
    }

    #[test]
    fn a_promotion_that_was_held_up_stays_so_until_the_source_accepts_no_writes() {
        for (state, held) in [
            ("writable not-streaming", true),
            ("recovery streaming", false),
            ("unknown not-streaming", true),
            ("", true),
        ] {
            let mut world = standby();
            world.source = "writable streaming";
            world.edit(|s| s["standby"] = json!(null));
            (0..3).for_each(|_| {
                world.round();
            });
            world.source = state;
            assert_eq!(promotes(&mut world), !held, "{state}");
        }
    }

    #[test]
    fn a_source_that_accepted_writes_is_gone_when_it_was_silent_for_a_minute() {
        let mut world = standby();
        let second = jiff::SignedDuration::from_secs(1);
        let condition = |world: &World| world.condition("PromotionBlocked");
        world.edit(|s| s["standby"] = json!(null));
        for state in ["writable streaming", "unknown not-streaming", "writable streaming"] {
            world.source = state;
            world.round();
            world.round();
            let status = if state.starts_with('w') { "True" } else { "Unknown" };
            assert_eq!(condition(&world).map(|c| c.0).as_deref(), Some(status));
            world.now += second * 45;
        }
        world.source = "unknown not-streaming";
        world.round();
        let silent = Some(("Unknown".to_owned(), "SourceSilent".to_owned()));
        assert_eq!(condition(&world), silent, "it had answered since");
        let since = world.condition_since("PromotionBlocked").expect("a condition has its time");
        world.now = since + second * 59;
        assert!(!promotes(&mut world));
        world.now = since + second * 60;
        assert!(promotes(&mut world));
    }

    #[test]
    fn a_held_promotion_says_so_and_goes_on_when_the_source_stops_or_somebody_insists() {
        let held = || {
            let mut world = standby();
            world.source = "writable streaming";
            world.edit(|s| s["standby"] = json!(null));
            (0..3).for_each(|_| {
                world.round();
            });
            let condition = world.condition("PromotionBlocked");
            assert_eq!(condition, Some(("True".into(), "SourceWritable".into())));
            world
        };
        let mut world = held();
        world.source = "unknown not-streaming";
        world.settle();
        world.now += jiff::SignedDuration::from_secs(60);
        world.settle();
        assert_eq!(world.condition("PromotionBlocked"), None);
        assert_eq!(world.condition("Ready"), Some(("True".into(), "Writable".into())));

        let mut world = held();
        let system =
            world.cluster().str_at(&["status", "patroni", "systemIdentifier"]).map(str::to_owned);
        for (value, promoted) in [("yes".to_owned(), false), (system.expect("a system"), true)] {
            world.change(Kind::IvoryCluster, CLUSTER, |c| {
                c["metadata"]["annotations"][labels::PROMOTE_DESPITE] = value.into();
            });
            assert_eq!(promotes(&mut world), promoted);
        }
    }
}
