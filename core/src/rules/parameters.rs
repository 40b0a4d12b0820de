//! Whether the user's parameters have arrived: the condition `ParametersAccepted`. Patroni leaves out what it does not
//! know and what has a wrong form, raises what is too low, and passes on everything else; PostgreSQL goes on with what it
//! has when it is told nonsense, and does not start with it (Patroni 4.1 `postgresql/validator.py`; PostgreSQL 15 was
//! asked). So nothing that works is restarted into a configuration that is known to be bad.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::command::{Command, ParameterState};
use crate::hash;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::patroni::kept;
use crate::queries;
use crate::read::{Query, Read};
use crate::rules::members::Members;
use crate::rules::status::{condition, remove};

/// The condition's type.
pub const TYPE: &str = "ParametersAccepted";
/// The reason while it may only be too early.
const CHECKING: &str = "Checking";
/// The reason for what PostgreSQL would not start with.
const REFUSED: &str = "ParametersRefused";
/// The reason for what has become something else.
const CHANGED: &str = "ParametersChanged";
/// How long Patroni may take to write its files and PostgreSQL to read them, in seconds: a loop and a reload, and then
/// some.
const PATIENCE_S: i64 = 30;
/// How old an answer may be, in seconds: in calm, while something is wrong, and while that may only be too early.
const AGES_S: [u32; 3] = [600, 60, 5];
/// What Patroni hands over when it starts the server, so that no file holds it.
const ARGUMENTS: [&str; 12] = [
    "cluster_name",
    "hot_standby",
    "listen_addresses",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "port",
    "track_commit_timestamp",
    "wal_level",
];
/// What is said while it may only be too early.
const EARLY: &str = "the server has not read all parameters yet";
const LIBRARIES: &str = "shared_preload_libraries";

/// What is wrong with the parameters, as far as it is known.
struct Doubt {
    reason: &'static str,
    text: String,
}

/// The user's parameters that should be found in the server's files, by names in small letters.
fn wanted(cluster: &Cluster) -> BTreeMap<String, Value> {
    let user = cluster.spec.patroni.dynamic_configuration.get("postgresql");
    let user = user.and_then(|p| p.get("parameters")).and_then(Value::as_object);
    let Some(user) = user.filter(|user| !user.is_empty()) else { return BTreeMap::new() };
    let made = super::config::dynamic(cluster);
    let made = made.pointer("/postgresql/parameters");
    let names = user.keys().map(|name| name.to_lowercase());
    let names = names.filter(|name| !ARGUMENTS.contains(&name.as_str()));
    let scalar = |v: &&Value| v.is_string() || v.is_number() || v.is_boolean();
    names
        .filter_map(|name| Some((name.clone(), made?.get(&name).filter(scalar)?.clone())))
        .collect()
}

/// What to ask whoever leads. A cluster whose user sets no parameters is not asked.
pub fn query(observed: &Observed, cluster: &Cluster, members: &Members) -> Option<Query> {
    question(observed, cluster, members, &wanted(cluster))
}

fn question(
    observed: &Observed,
    cluster: &Cluster,
    members: &Members,
    wanted: &BTreeMap<String, Value>,
) -> Option<Query> {
    let stopped = cluster.spec.paused || cluster.spec.shutdown;
    if wanted.is_empty() || stopped || observed.cluster.terminating() {
        return None;
    }
    let pod = members.leader().filter(|m| m.leads() && m.ready())?.pod()?;
    let age = match cluster.status.condition(TYPE).map(|c| &*c.status) {
        Some("True") => 0,
        Some("False") => 1,
        _ => 2,
    };
    let text = serde_json::to_string(wanted).unwrap_or_default();
    let command = Command::ParameterState { configuration: hash::safe_hash([&*text]) };
    let target = queries::database(pod);
    Some(Query { target, command, deadline_s: 5, max_age_s: AGES_S[age] })
}

/// Why no server that works may be restarted now, if so: it would not come back, or nobody knows yet.
pub fn hold(pass: &Pass<'_>, members: &Members) -> Option<String> {
    let wanted = wanted(pass.cluster);
    let query = question(pass.observed, pass.cluster, members, &wanted)?;
    let Some(state) = answer(pass, &query) else {
        // Not answered yet: what was wrong is taken to be wrong still, and what is new to be so for a while.
        let told = pass.cluster.status.condition(TYPE);
        return match told.filter(|c| c.reason == REFUSED) {
            Some(refused) => Some(refused.message.clone()),
            None => (is_stale(pass) && !checked_long(pass)).then(|| EARLY.to_owned()),
        };
    };
    let doubt = judge(&wanted, &state)?;
    match doubt.reason {
        REFUSED => Some(doubt.text),
        _ => (!is_old(pass, &doubt)).then(|| EARLY.to_owned()),
    }
}

fn answer(pass: &Pass<'_>, query: &Query) -> Option<ParameterState> {
    let answer = pass.observed.answers.get(query).and_then(Read::known)?;
    ParameterState::read(&answer.output)
}

/// What is wrong; none when all is well.
fn judge(wanted: &BTreeMap<String, Value>, state: &ParameterState) -> Option<Doubt> {
    let (mut refused, mut changed) = (Vec::new(), Vec::new());
    for (name, value) in wanted {
        match state.settings.get(name) {
            Some(found) if !found.error.is_empty() => {
                refused.push(format!("{name} = {value}: {}", found.error));
            }
            Some(found) => {
                let text = found.value.clone().unwrap_or_default();
                if !kept::same(value, &text.clone().into()) {
                    changed.push(format!("{name} = {value} has become {text}"));
                }
            }
            None => changed.push(format!("{name} = {value} is left out")),
        }
    }
    if wanted.contains_key(LIBRARIES) {
        let missing = state.missing.iter();
        refused.extend(missing.map(|name| format!("{LIBRARIES}: the image has no library {name}")));
    }
    if !refused.is_empty() {
        let text = format!(
            "PostgreSQL goes on with what it had, would not start with this, and is not restarted until it is \
             corrected in spec.patroni.dynamicConfiguration: {}",
            refused.join("; ")
        );
        return Some(Doubt { reason: REFUSED, text });
    }
    let text = format!(
        "Patroni knows no such parameter, or not with such a value; its log has the reason: {}",
        changed.join("; ")
    );
    (!changed.is_empty()).then_some(Doubt { reason: CHANGED, text })
}

/// Whether something has been wrong for so long that it is no matter of time. Something else than what was told last
/// begins anew.
fn is_old(pass: &Pass<'_>, doubt: &Doubt) -> bool {
    let told = pass.cluster.status.condition(TYPE);
    told.is_some_and(|c| c.status == "False" && c.message == doubt.text) || checked_long(pass)
}

/// Whether it has been said for long that nothing is known yet.
fn checked_long(pass: &Pass<'_>) -> bool {
    let told = pass.cluster.status.condition(TYPE).filter(|c| c.status == "Unknown");
    let age_s = |since: Timestamp| pass.context.now.as_second() - since.as_second();
    told.is_some_and(|c| age_s(c.last_transition_time.0) >= PATIENCE_S)
}

/// Whether what is said is not of this spec.
fn is_stale(pass: &Pass<'_>) -> bool {
    let told = pass.cluster.status.condition(TYPE);
    told.is_none_or(|c| {
        c.status == "Unknown" || c.observed_generation != Some(pass.cluster.object.meta.generation)
    })
}

/// Writes the condition. What is not known leaves it as it is, where it is of this spec.
pub fn tell(pass: &mut Pass<'_>, members: &Members) {
    let wanted = wanted(pass.cluster);
    if wanted.is_empty() {
        return remove(pass, TYPE);
    }
    let Some(query) = question(pass.observed, pass.cluster, members, &wanted) else { return };
    pass.look_again(Duration::from_secs(query.max_age_s.into()));
    let Some(state) = answer(pass, &query) else {
        if is_stale(pass) && !pass.cluster.status.says_no(TYPE) {
            condition(pass, TYPE, None, CHECKING, EARLY);
        }
        return pass.look_again(Duration::from_secs(AGES_S[1].into()));
    };
    match judge(&wanted, &state) {
        None => {
            let text = "the server's files have what spec.patroni.dynamicConfiguration sets";
            condition(pass, TYPE, Some(true), "ParametersAccepted", text);
        }
        Some(doubt) if is_old(pass, &doubt) => {
            condition(pass, TYPE, Some(false), doubt.reason, &doubt.text);
        }
        Some(_) => {
            condition(pass, TYPE, None, CHECKING, EARLY);
            pass.look_again(Duration::from_secs(AGES_S[2].into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::memo::Memos;
    use crate::test_support::{World, commands, deletes};

    fn with(parameters: Value) -> World {
        let mut world = World::settled(2);
        world.edit(|s| {
            s["patroni"]["dynamicConfiguration"]["postgresql"]["parameters"] = parameters;
        });
        world
    }

    fn word(world: &World) -> Option<(String, String)> {
        world.condition(TYPE)
    }

    #[test]
    fn who_sets_nothing_is_asked_nothing() {
        let mut world = with(json!({"work_mem": "8MB"}));
        world.settle();
        assert_eq!(word(&world), Some(("True".into(), "ParametersAccepted".into())));
        world.edit(|s| s["patroni"] = Value::Null);
        world.settle();
        assert_eq!(word(&world), None);
        assert!(world.observed().answers.keys().all(|q| q.command == Command::ArchiveState));
    }

    #[test]
    fn who_gave_no_answer_is_asked_again_within_a_minute() {
        let mut world = with(json!({"work_mem": "8MB"}));
        world.settle();
        let (mut observed, context) = (world.observed(), world.context());
        let requeue = |observed: &Observed| {
            crate::steps::plan(observed, &context, &mut Memos::default()).requeue
        };
        assert_eq!(requeue(&observed), Some(Duration::from_secs(600)));
        observed.answers.retain(|q, _| !matches!(q.command, Command::ParameterState { .. }));
        assert_eq!(requeue(&observed), Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_wrong_is_told_when_it_is_no_matter_of_time_and_not_before() {
        for (name, trouble, reason) in [
            ("timezone", "setting could not be applied", REFUSED),
            ("nosuch", "missing", REFUSED),
            ("work_mem", "left out", CHANGED),
        ] {
            let parameters =
                json!({LIBRARIES: "nosuch", "timezone": "Mars/Phobos", "work_mem": "lots"});
            let mut world = with(parameters);
            world.parameters.insert(name, trouble);
            world.settle();
            assert_eq!(word(&world), Some(("Unknown".into(), CHECKING.into())), "{name}");
            world.now += SignedDuration::from_secs(PATIENCE_S);
            world.settle();
            assert_eq!(word(&world), Some(("False".into(), reason.into())), "{name}");
            let told =
                world.all(crate::Kind::Event).iter().any(|e| e.str_at(&["reason"]) == Some(reason));
            assert!(told, "{name}");
            world.parameters.clear();
            world.settle();
            assert_eq!(word(&world).map(|w| w.0).as_deref(), Some("True"), "{name}");
        }
    }

    #[test]
    fn another_trouble_than_the_one_that_was_told_begins_anew() {
        let mut world = with(json!({LIBRARIES: "nosuch", "timezone": "Mars/Phobos"}));
        world.parameters.insert("nosuch", "missing");
        world.settle();
        world.now += SignedDuration::from_secs(PATIENCE_S);
        world.settle();
        assert_eq!(word(&world), Some(("False".into(), REFUSED.into())));
        world.parameters = [("timezone", "setting could not be applied")].into();
        world.now += SignedDuration::from_secs(PATIENCE_S);
        world.round();
        assert_eq!(word(&world), Some(("Unknown".into(), CHECKING.into())));
    }

    #[test]
    fn nobody_who_works_is_restarted_into_what_nobody_was_asked_about_for_a_while() {
        let mut world = with(json!({"work_mem": "8MB"}));
        world.settle();
        world.edit(|s| {
            s["patroni"]["dynamicConfiguration"]["postgresql"]["parameters"][LIBRARIES] =
                "nosuch".into();
            s["metadata"]["annotations"]["restarted"] = "now".into();
        });
        let silent = |world: &World| {
            let mut observed = world.observed();
            let asked = |q: &Query| matches!(q.command, Command::ParameterState { .. });
            let answers = observed.answers.iter_mut().filter(|(q, _)| asked(q));
            answers.for_each(|(_, a)| *a = Read::Unknown("a test says so".into()));
            crate::steps::plan(&observed, &world.context(), &mut Memos::default())
        };
        let mut gone = Vec::new();
        for _ in 0..8 {
            let plan = silent(&world);
            gone.push(deletes(&plan).len());
            let _ = world.execute(&plan, usize::MAX);
            crate::test_support::act(&mut world);
            world.now += SignedDuration::from_secs(10);
        }
        assert_eq!(gone[..3], [0; 3], "{gone:?}");
        assert!(gone[3..].iter().sum::<usize>() > 0, "not for ever: {gone:?}");
    }

    #[test]
    fn nobody_who_works_is_restarted_into_what_is_refused() {
        let mut world = with(json!({LIBRARIES: "nosuch"}));
        world.parameters.insert("nosuch", "missing");
        world.settle();
        world.now += SignedDuration::from_secs(PATIENCE_S);
        world.settle();
        world.edit(|s| s["metadata"]["annotations"]["restarted"] = "now".into());
        world.settle_with(|_, plan| {
            assert_eq!(deletes(plan), [""; 0]);
            assert!(
                !commands(plan).iter().any(|(_, c)| matches!(c, Command::RestartPending { .. }))
            );
        });
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("Rollout"));
        world.parameters.clear();
        let mut renewed = 0;
        world.settle_with(|_, plan| renewed += deletes(plan).len());
        assert_eq!(renewed, 2);
    }
}
