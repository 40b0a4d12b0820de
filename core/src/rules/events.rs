//! Events: written along with the status whose change they tell, so that nothing is told twice. A Warning
//! tells of what somebody has to change.

use jiff::Timestamp;
use serde_json::json;

use crate::hash::{digest, four_symbols};
use crate::kind::Kind;
use crate::names::FIELD_MANAGER;
use crate::object::{Object, time_text};
use crate::pass::Pass;
use crate::plan::Op;
use crate::report::{Outcome, Reason, Step};
use crate::unbuilt;

/// Events for conditions that begin to say something else, and for fields that are not built yet.
pub fn of_changed_conditions(pass: &mut Pass<'_>) {
    let changed: Vec<_> = pass
        .status
        .conditions
        .iter()
        .filter(|new| {
            let old = pass
                .cluster
                .status
                .conditions
                .iter()
                .find(|o| o.type_ == new.type_);
            old.is_none_or(|o| (&o.status, &o.reason) != (&new.status, &new.reason))
        })
        .cloned()
        .collect();
    let blocked = |reason: &str| {
        pass.report()
            .lines
            .iter()
            .any(|(_, o)| matches!(o, Outcome::Blocked(r) if r.word() == reason))
    };
    let told: Vec<(bool, String, String)> = changed
        .into_iter()
        .filter(|c| c.type_ == "Ready" || blocked(&c.reason))
        .map(|c| (blocked(&c.reason), c.reason, c.message))
        .collect();
    for (warning, reason, message) in told {
        event(pass, warning, &reason, &message);
    }
    let generation = pass.cluster.object.meta.generation;
    if pass.cluster.status.observed_generation != Some(generation) {
        let fields = unbuilt::used(&pass.cluster.spec);
        if !fields.is_empty() {
            let message = format!("not built yet, and ignored: {}", fields.join(", "));
            event(pass, true, "NotBuiltYet", &message);
        }
    }
}

fn event(pass: &mut Pass<'_>, warning: bool, reason: &str, message: &str) {
    let object = of(
        &pass.cluster.object,
        pass.context.now,
        warning,
        reason,
        message,
    );
    let text = format!("{reason} is news");
    let because = Reason::Because {
        word: "Event",
        text,
    };
    pass.write(
        Step::Status,
        because,
        Op::Event {
            object: object.into(),
        },
    );
}

/// An Event about a cluster. The same news of the same second has the same name, so that sending it again
/// changes nothing. A driver tells by it what no plan can know, such as a refused write.
#[must_use]
pub fn of(cluster: &Object, now: Timestamp, warning: bool, reason: &str, message: &str) -> Object {
    let key = digest(&(&*cluster.meta.uid, reason, message, now.as_second()));
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
