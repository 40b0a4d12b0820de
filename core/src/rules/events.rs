//! Events: written along with the status whose change they tell, so that nothing is told twice. A Warning
//! tells of what somebody has to change.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use crate::hash::{digest, four_symbols};
use crate::kind::Kind;
use crate::names::FIELD_MANAGER;
use crate::object::{Object, time_text};
use crate::pass::Pass;
use crate::patroni::kept::kept;
use crate::plan::{Op, Write};
use crate::report::{Outcome, Reason, Step};
use crate::rules::{
    archiving, expiry, lost_stanza, memory, parameters, standby_lag, too_far_behind, volume_state,
};
use crate::unbuilt;

/// Events for conditions that begin to say something else, and for fields that are not built yet.
#[must_use]
pub fn of_changed_conditions(pass: &Pass<'_>) -> Vec<Write> {
    let old = |new: &Condition| pass.cluster.status.condition(&new.type_);
    let changes = pass.status.conditions.iter().filter(|new| {
        old(new).is_none_or(|o| (&o.status, &o.reason) != (&new.status, &new.reason))
    });
    // What it follows on belongs to the identity of a piece of news: told from an old read, it is the same.
    let before = |new: &Condition| {
        let moment = |o: &Condition| (o.reason.clone(), o.last_transition_time.0.as_second());
        digest(&(&new.type_, old(new).map(moment)))
    };
    let changed: Vec<(Condition, u64)> = changes.map(|new| (new.clone(), before(new))).collect();
    let blocked = |reason: &str| {
        pass.report()
            .lines
            .iter()
            .any(|(_, o)| matches!(o, Outcome::Blocked(r) if r.word() == reason))
    };
    // That it works is news only after it did not.
    let flows = |c: &Condition| {
        [archiving::TYPE, parameters::TYPE, standby_lag::TYPE, volume_state::TYPE]
            .contains(&&*c.type_)
            && c.status != "Unknown"
            && (c.status == "False" || old(c).is_some_and(|o| o.status != "Unknown"))
    };
    // What is a warning whenever it is there at all.
    let alarming = |c: &Condition| {
        [expiry::TYPE, memory::TYPE].contains(&&*c.type_)
            || [too_far_behind::REASON, lost_stanza::REASON].contains(&&*c.reason)
    };
    let told = changed
        .into_iter()
        .filter(|(c, _)| c.type_ == "Ready" || flows(c) || alarming(c) || blocked(&c.reason));
    let warning =
        |c: &Condition| blocked(&c.reason) || alarming(c) || (flows(c) && c.status == "False");
    let mut events: Vec<Write> =
        told.map(|(c, before)| event(pass, warning(&c), &c.reason, &c.message, before)).collect();
    if pass.cluster.status.observed_generation != pass.status.observed_generation {
        let generation = digest(&pass.status.observed_generation);
        let made = super::config::dynamic(pass.cluster);
        let kept = kept(&pass.cluster.spec.patroni.dynamic_configuration, &made).join(", ");
        let fields = unbuilt::used(&pass.cluster.spec).join(", ");
        for (reason, what, list) in [
            ("NotBuiltYet", "not built yet, and ignored", fields),
            ("FeatureGateClosed", "ignored", pass.cluster.closed.join(", ")),
            ("SettingKept", "spec.patroni.dynamicConfiguration is not followed", kept),
        ] {
            if !list.is_empty() {
                events.push(event(pass, true, reason, &format!("{what}: {list}"), generation));
            }
        }
    }
    events
}

/// An Event of a plan. `follows` is what it follows upon: the same news upon the same has the same name, so
/// that sending it again changes nothing.
fn event(pass: &Pass<'_>, warning: bool, reason: &str, message: &str, follows: u64) -> Write {
    let object = of(&pass.cluster.object, pass.context.now, warning, reason, message, follows);
    let text = message.to_owned();
    let reason = Reason::Because { word: "Event", text };
    Write { step: Step::Status, reason, op: Op::Event { object: object.into() } }
}

/// An Event about a cluster. A driver tells by it what no plan can know, such as a refused write.
#[must_use]
pub fn of(
    cluster: &Object,
    now: Timestamp,
    warning: bool,
    reason: &str,
    message: &str,
    follows: u64,
) -> Object {
    let key = digest(&(&*cluster.meta.uid, reason, message, follows));
    let suffix = format!("{}{}", four_symbols(key), four_symbols(key >> 24));
    let name = format!("{}.{suffix}", cluster.meta.name);
    let now = time_text(now);
    Object::new(Kind::Event, &cluster.meta.namespace, &name)
        .with("type", if warning { "Warning" } else { "Normal" })
        .with("reason", reason)
        .with("message", message)
        .with("count", 1)
        .with("firstTimestamp", &now)
        .with("lastTimestamp", &now)
        .with("source", json!({"component": FIELD_MANAGER}))
        .with("reportingComponent", FIELD_MANAGER)
        .with(
            "involvedObject",
            json!({
                "apiVersion": cluster.kind.api_version(),
                "kind": cluster.kind.name(),
                "namespace": &*cluster.meta.namespace,
                "name": &*cluster.meta.name,
                "uid": &*cluster.meta.uid,
            }),
        )
}
