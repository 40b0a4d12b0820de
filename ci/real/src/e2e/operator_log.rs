//! What the operator says that it wrote. Its log has one line for each write, with the same words as the
//! simulator's journal: step, verb, object, reason.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use ivory_core::Kind;
use ivory_sim::time::Span;
use ivory_sim::world::journal::Milestone;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::Value;

use super::live::Live;

/// The label of the operator's Pods, as the manifests set it.
pub(crate) const OPERATOR: (&str, &str) =
    ("ivory-operator.ivorysql.org/control-plane", "ivory-operator");

/// Follows the log of every Pod of the operator in a namespace, those to come included.
pub(crate) async fn follow(live: Arc<Live>, namespace: String) {
    let mut followed: BTreeSet<String> = BTreeSet::new();
    loop {
        for pod in live.list(Kind::Pod, Some(&namespace)) {
            let runs = pod.str_at(&["status", "phase"]) == Some("Running");
            if pod.label(OPERATOR.0) == Some(OPERATOR.1) && runs {
                let name = pod.meta.name.to_string();
                if followed.insert(name.clone()) {
                    tokio::spawn(follow_pod(live.clone(), namespace.clone(), name));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn follow_pod(live: Arc<Live>, namespace: String, name: String) {
    let api: Api<Pod> = Api::namespaced(live.client.clone(), &namespace);
    let mut since = None;
    // While the Pod is there: a container that was started again has a log of its own.
    while matches!(api.get_opt(&name).await, Ok(Some(_)) | Err(_)) {
        let params =
            LogParams { follow: true, timestamps: true, since_time: since, ..LogParams::default() };
        if let Ok(stream) = api.log_stream(&name, &params).await {
            let mut lines = stream.lines();
            while let Ok(Some(line)) = lines.try_next().await {
                let Some((time, said)) = line.split_once(' ') else { continue };
                let Ok(at) = time.parse::<Timestamp>() else { continue };
                // Only whole seconds are asked for, so the last lines come again.
                if since.is_some_and(|s| at <= s) {
                    continue;
                }
                since = Some(at);
                heard(&live, at, said).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn heard(live: &Live, at: Timestamp, line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return };
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let cluster = line.pointer("/span/cluster").and_then(Value::as_str).unwrap_or_default();
    if cluster.split_once('/').is_some_and(|(namespace, _)| !live.concerns(namespace)) {
        return;
    }
    if text("message") == "wrote" {
        // A watch may tell of what was made a moment after the log does. Lines are taken in their order, since
        // the first write of an object is the one that made it.
        let due = at.as_millisecond() + BEHIND_MS - Timestamp::now().as_millisecond();
        if let Ok(wait) = u64::try_from(due) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        wrote(live, at, &line);
    } else if matches!(&*text("level"), "WARN" | "ERROR") {
        let error = ["error", "finding"].map(text).concat();
        let text = format!("{} {error}", text("message"));
        live.note(live.time(at), "operator", Milestone::Note { text });
    }
}

fn wrote(live: &Live, at: Timestamp, line: &Value) {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let (verb, object) = (text("verb"), text("object"));
    let at = live.time(at);
    let verb = word(&verb, &object, |sure| {
        live.claim(&object, at, sure || text("because") == format!("{object} is missing"))
    });
    let cluster = line.pointer("/span/cluster").and_then(Value::as_str).unwrap_or_default();
    let step = intern(&text("step"));
    let what =
        Milestone::Wrote { cluster: cluster.into(), step, verb, object, reason: text("because") };
    live.note(at, "operator", what);
}

/// The word of the simulator's journal for what the log says was done. Where an object was created, or may have been,
/// `made` is asked; it is told whether that is sure.
pub(crate) fn word(said: &str, object: &str, made: impl FnOnce(bool) -> bool) -> &'static str {
    match said {
        "create" if object.starts_with("Event ") => "event",
        "create" => {
            made(true);
            "create"
        }
        "apply" if made(false) => "create",
        "delete" => "delete",
        "status" => "status",
        "exec" => "exec",
        _ => "update",
    }
}

/// Steps are few, and the journal wants their names for ever.
pub(crate) fn intern(step: &str) -> &'static str {
    static STEPS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
    match steps.get(step) {
        Some(step) => step,
        None => {
            let step: &'static str = step.to_owned().leak();
            steps.insert(step);
            step
        }
    }
}

/// How far a watch may be behind the log, in milliseconds; less than entries take to settle.
const BEHIND_MS: i64 = 300;
/// How far log and watch may differ about when an object was made.
pub(crate) const NEAR: Span = Span::s(2);
