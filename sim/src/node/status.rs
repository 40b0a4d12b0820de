//! A Pod's status as its kubelet writes it: phase, conditions, states of containers.

use ivory_core::Object;
use ivory_core::hash::digest;
use ivory_core::object::time_text;
use serde_json::{Map, Value, json};

use crate::node::container::{Container, Ended, State};
use crate::node::images;
use crate::node::json::{items, text};
use crate::node::pod::{Stage, Worker};
use crate::node::spec::Restart;
use crate::time::Time;

/// The conditions that a kubelet writes, in its order.
pub const CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// `status.phase`.
pub fn phase(worker: &Worker) -> &'static str {
    let (inits, mains) = worker.containers.split_at(worker.spec.inits);
    let over = matches!(worker.stage, Stage::Ended);
    let failed_init = inits.iter().any(|c| c.ended().is_some_and(|e| e.exit != 0));
    if over && failed_init && mains.iter().all(|c| !c.launched) {
        return "Failed";
    }
    if !worker.initialized() {
        return "Pending";
    }
    let waiting = |c: &&Container| matches!(c.state, State::Waiting { .. }) && c.last.is_none();
    if mains.iter().filter(waiting).count() > 0 {
        return "Pending";
    }
    let ended: Vec<_> = mains.iter().filter_map(Container::ended).collect();
    if ended.len() < mains.len() || worker.spec.restart == Restart::Always {
        return "Running";
    }
    let failed = ended.iter().any(|e| e.exit != 0);
    match worker.spec.restart {
        _ if !failed => "Succeeded",
        Restart::Never => "Failed",
        Restart::Always | Restart::OnFailure => "Running",
    }
}

/// Whether each of [`CONDITIONS`] holds.
pub fn conditions(worker: &Worker) -> [bool; 5] {
    let mains = &worker.containers[worker.spec.inits..];
    let ready = mains.iter().all(|c| c.ready) && worker.initialized();
    [
        worker.ip.is_some()
            && !matches!(worker.stage, Stage::Ended | Stage::Finishing | Stage::Deleting),
        worker.initialized(),
        ready,
        ready,
        true,
    ]
}

/// The status. `since` are the conditions' transition times.
pub fn build(worker: &Worker, host_ip: &str, holds: [bool; 5], since: &[String; 5]) -> Value {
    let mut status = Map::new();
    let phase = phase(worker);
    let rows = CONDITIONS.iter().zip(holds).zip(since);
    let conditions: Vec<Value> =
        rows.map(|((kind, holds), since)| condition(worker, kind, holds, since, phase)).collect();
    status.insert("phase".into(), phase.into());
    status.insert("conditions".into(), conditions.into());
    status.insert("hostIP".into(), host_ip.into());
    status.insert("hostIPs".into(), json!([{"ip": host_ip}]));
    if let Some(ip) = &worker.ip {
        status.insert("podIP".into(), (**ip).into());
        status.insert("podIPs".into(), json!([{"ip": &**ip}]));
    }
    status.insert("startTime".into(), worker.start_time.clone().into());
    let (inits, mains) = (0..worker.spec.inits, worker.spec.inits..worker.containers.len());
    if !inits.is_empty() {
        let all: Vec<_> = inits.map(|i| container_status(worker, i)).collect();
        status.insert("initContainerStatuses".into(), all.into());
    }
    let all: Vec<_> = mains.map(|i| container_status(worker, i)).collect();
    status.insert("containerStatuses".into(), all.into());
    status.into()
}

fn condition(worker: &Worker, kind: &str, holds: bool, since: &str, phase: &str) -> Value {
    let mut condition = json!({
        "type": kind, "status": if holds { "True" } else { "False" },
        "lastProbeTime": null, "lastTransitionTime": since,
    });
    let not = |range: std::ops::Range<usize>, good: fn(&Container) -> bool| -> String {
        let names: Vec<_> = range
            .filter(|i| !good(&worker.containers[*i]))
            .map(|i| &*worker.spec.containers[i].name)
            .collect();
        names.join(" ")
    };
    let (inits, all) = (worker.spec.inits, worker.containers.len());
    let why = match kind {
        _ if phase == "Succeeded"
            && !matches!(kind, "PodScheduled" | "PodReadyToStartContainers") =>
        {
            Some(("PodCompleted", String::new()))
        }
        _ if holds => None,
        "Initialized" => {
            let names = not(0..inits, |c| c.ended().is_some_and(|e| e.exit == 0));
            let text = format!("containers with incomplete status: [{names}]");
            Some(("ContainersNotInitialized", text))
        }
        "Ready" | "ContainersReady" => {
            let names = not(inits..all, |c| c.ready);
            let text = format!("containers with unready status: [{names}]");
            Some(("ContainersNotReady", text))
        }
        _ => None,
    };
    if let Some((reason, message)) = why {
        condition["reason"] = reason.into();
        if !message.is_empty() {
            condition["message"] = message.into();
        }
    }
    condition
}

fn container_status(worker: &Worker, index: usize) -> Value {
    let (container, spec) = (&worker.containers[index], &worker.spec.containers[index]);
    let id = |life: i64| {
        let d = digest(&(&*worker.pod.meta.uid, &*spec.name, life));
        format!("containerd://{d:016x}{d:016x}{d:016x}{d:016x}")
    };
    let state = match &container.state {
        State::Waiting { reason, message } if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        State::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        State::Running { since } => json!({"running": {"startedAt": wire(*since)}}),
        State::Ended(ended) => terminated(ended, id(container.restarts)),
    };
    let waits = matches!(container.state, State::Waiting { .. });
    let last = match &container.last {
        Some(ended) => terminated(ended, id(container.restarts - i64::from(!waits))),
        None => json!({}),
    };
    let init = index < worker.spec.inits;
    let mut status = json!({
        "name": &*spec.name, "image": &*spec.image,
        "imageID": if container.launched { images::id_of(&spec.image) } else { String::new() },
        "ready": if init { container.ended().is_some_and(|e| e.exit == 0) } else { container.ready },
        "started": container.started, "restartCount": container.restarts,
        "state": state, "lastState": last,
    });
    if container.launched {
        status["containerID"] = id(container.restarts).into();
    }
    status
}

fn terminated(ended: &Ended, id: String) -> Value {
    let mut state = json!({
        "exitCode": ended.exit, "reason": ended.reason, "containerID": id,
        "startedAt": wire(ended.started), "finishedAt": wire(ended.finished),
    });
    if !ended.message.is_empty() {
        state["message"] = ended.message.clone().into();
    }
    json!({"terminated": state})
}

/// Whether a Pod's status, as the API has it, says all of this already.
pub fn says(pod: &Object, status: &Value) -> bool {
    let Some(fields) = status.as_object() else {
        return true;
    };
    fields.iter().all(|(key, wanted)| {
        if key != "conditions" {
            return pod.at(&["status", key]) == Some(wanted);
        }
        let found = items(pod, &["status", "conditions"]);
        wanted.as_array().into_iter().flatten().all(|mine| {
            found.iter().any(|theirs| {
                ["type", "status", "reason", "message"]
                    .iter()
                    .all(|key| text(mine, &[key]) == text(theirs, &[key]))
            })
        })
    })
}

/// Takes away what a condition of the Pod says and the new one no longer does: in a strategic merge patch, which
/// finds conditions by their type, what is not named stays. The kubelet's patch is a difference and does the same.
pub fn take_away(pod: &Object, status: &mut Value) {
    let before = items(pod, &["status", "conditions"]);
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let same = before.iter().find(|c| c["type"] == condition["type"]);
        for key in ["reason", "message"] {
            if condition.get(key).is_none() && same.is_some_and(|c| c.get(key).is_some()) {
                condition[key] = Value::Null;
            }
        }
    }
}

/// A time as the wire has it.
pub fn wire(time: Time) -> String {
    time_text(time.timestamp())
}
