//! Eviction: a deletion that disruption budgets must allow.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, time_text};
use serde_json::{Value, json};

use super::handle::{Cx, done};
use super::request::{DeleteOptions, ObjectRef, Response};
use super::status::Status;
use super::store::ApiServer;

impl ApiServer {
    pub(crate) fn evict(
        &mut self,
        cx: &mut Cx<'_>,
        target: &ObjectRef,
        options: &DeleteOptions,
    ) -> Response {
        let pod = Arc::clone(self.existing(target)?);
        // Budgets protect Pods that run or may; one that is going already is not evicted again.
        let phase = pod.str_at(&["status", "phase"]).unwrap_or_default();
        if !matches!(phase, "Succeeded" | "Failed" | "Pending") && !pod.terminating() {
            let budgets: Vec<_> = self
                .list(Kind::PodDisruptionBudget, Some(&pod.meta.namespace))
                .filter(|b| selects(b, &pod))
                .map(Arc::clone)
                .collect();
            if budgets.len() > 1 {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status::new(500, "InternalError", message));
            }
            if let Some(budget) = budgets.first() {
                self.spend(cx, budget, &pod)?;
            }
        }
        if !pod.terminating() {
            self.announce(cx, &pod);
        }
        self.delete(cx, target, options)?;
        Ok(done(201))
    }

    /// Marks the Pod as one that is going, before it is deleted.
    fn announce(&mut self, cx: &Cx<'_>, pod: &Arc<Object>) {
        let mut new = (**pod).clone();
        if let Some(status) = new.body_mut().get_mut("status") {
            if !status["conditions"].is_array() {
                status["conditions"] = json!([]);
            }
            if let Some(conditions) = status["conditions"].as_array_mut() {
                conditions.retain(|c| c["type"] != "DisruptionTarget");
                conditions.push(json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting",
                    "lastProbeTime": null, "lastTransitionTime": time_text(cx.now),
                }));
            }
        }
        // The condition is written without taking ownership of it.
        self.put(new);
    }

    fn spend(&mut self, cx: &mut Cx<'_>, budget: &Arc<Object>, pod: &Object) -> Result<(), Status> {
        let name = &*budget.meta.name;
        let int = |key: &str| budget.i64_at(&["status", key]).unwrap_or(0);
        let refuse = "Cannot evict pod as it would violate the pod's disruption budget.";
        let refused = |why: &str| {
            Status::new(429, "TooManyRequests", refuse).with_cause("", "DisruptionBudget", why)
        };
        // A Pod that is not ready may go if the budget is met without it, or if the budget says so.
        if !pod.condition_true("Ready") {
            let met = int("currentHealthy") >= int("desiredHealthy") && int("desiredHealthy") > 0;
            let policy = budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]);
            if met || policy == Some("AlwaysAllow") {
                return Ok(());
            }
        }
        if int("observedGeneration") < budget.meta.generation {
            let why =
                format!("The disruption budget {name} is still being processed by the server.");
            return Err(refused(&why));
        }
        if int("disruptionsAllowed") <= 0 {
            return Err(refused(&format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                int("desiredHealthy"),
                int("currentHealthy")
            )));
        }
        let left = int("disruptionsAllowed") - 1;
        let mut new = (**budget).clone();
        if let Some(status) = new.body_mut().get_mut("status") {
            status["disruptionsAllowed"] = left.into();
            if !status["disruptedPods"].is_object() {
                status["disruptedPods"] = json!({});
            }
            status["disruptedPods"][&*pod.meta.name] = time_text(cx.now).into();
        }
        if let Some(status) = new.body_mut().get_mut("status") {
            allow(status, left > 0, &time_text(cx.now));
        }
        self.put_own_status(cx, budget, new);
        Ok(())
    }
}

/// The condition that says whether disruptions are allowed; its time moves with its status.
fn allow(status: &mut Value, allowed: bool, now: &str) {
    let generation = status.get("observedGeneration").cloned().unwrap_or_default();
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(list) = status["conditions"].as_array_mut() else {
        return;
    };
    let word = if allowed { "True" } else { "False" };
    let at = list.iter().position(|c| c["type"] == "DisruptionAllowed");
    let time = match at.map(|at| &list[at]) {
        Some(old) if old["status"] == word => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let condition = json!({
        "type": "DisruptionAllowed", "status": word, "message": "",
        "reason": if allowed { "SufficientPods" } else { "InsufficientPods" },
        "observedGeneration": generation, "lastTransitionTime": time,
    });
    match at {
        Some(at) => list[at] = condition,
        None => list.push(condition),
    }
}

/// Whether a budget's selector matches a Pod; an empty selector matches all, none matches nothing.
fn selects(budget: &Object, pod: &Object) -> bool {
    let Some(selector) = budget.at(&["spec", "selector"]).filter(|s| s.is_object()) else {
        return false;
    };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let all = labels.into_iter().flatten().all(|(key, value)| pod.label(key) == value.as_str());
    let rules = selector.get("matchExpressions").and_then(Value::as_array);
    all && rules.into_iter().flatten().all(|rule| {
        let found = pod.label(rule["key"].as_str().unwrap_or_default());
        let values = rule.get("values").and_then(Value::as_array);
        let listed = found.is_some_and(|f| values.is_some_and(|v| v.iter().any(|v| v == f)));
        match rule["operator"].as_str() {
            Some("In") => listed,
            Some("NotIn") => !listed,
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            _ => false,
        }
    })
}
