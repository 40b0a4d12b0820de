//! What is special about Pods: their service account's volume, their class of service, binding.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::defaulting::{fields, items, set};
use super::handle::{Cx, done};
use super::request::{ObjectRef, Response};
use super::status::Status;
use super::store::ApiServer;

/// A new Pod's status.
pub(crate) fn prepare(new: &mut Object) {
    let class = quality(new);
    let status = json!({"phase": "Pending", "qosClass": class});
    new.body_mut().insert("status".into(), status);
}

/// The class of service: guaranteed if every container's limits of CPU and memory are set and equal its
/// requests, best effort if none has either.
fn quality(pod: &Object) -> &'static str {
    let mut any = false;
    let mut all = true;
    for list in ["containers", "initContainers"] {
        let containers = pod.at(&["spec", list]).and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            for name in ["cpu", "memory"] {
                let amount = |kind: &str| {
                    container["resources"]
                        .get(kind)
                        .and_then(|r| r.get(name))
                        .and_then(Value::as_str)
                        .and_then(|text| text.parse::<Quantity>().ok())
                        .filter(|q| *q != Quantity::ZERO)
                };
                let (limit, request) = (amount("limits"), amount("requests"));
                any |= limit.is_some() || request.is_some();
                all &= limit.is_some() && limit == request;
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

impl ApiServer {
    /// What admission adds to a new Pod: priority, tolerations, the service account and its token.
    pub(crate) fn admit_pod(&self, cx: &mut Cx<'_>, new: &mut Object) -> Result<(), Status> {
        let class = self.priority(new)?;
        if let Some(spec) = fields(new.body_mut(), "spec") {
            spec.insert("priority".into(), class.0.into());
            set(spec, "preemptionPolicy", class.1);
            tolerate(spec);
        }
        if self.service_accounts {
            self.admit_account(cx, new)?;
        }
        Ok(())
    }

    fn admit_account(&self, cx: &mut Cx<'_>, new: &mut Object) -> Result<(), Status> {
        let namespace = Arc::clone(&new.meta.namespace);
        let asked = new.str_at(&["spec", "serviceAccountName"]);
        let account = asked.filter(|a| !a.is_empty()).unwrap_or("default").to_owned();
        let Some(found) = self.get(Kind::ServiceAccount, &namespace, &account) else {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            );
            return Err(Status::forbidden(Kind::Pod, &new.meta.name, &why));
        };
        let wants_token = |o: &Object, path: &[&str]| o.at(path) != Some(&Value::Bool(false));
        let token = match new.at(&["spec", "automountServiceAccountToken"]) {
            Some(own) => *own == Value::Bool(true),
            None => wants_token(found, &["automountServiceAccountToken"]),
        };
        let pull_secrets = found.at(&["imagePullSecrets"]).cloned();
        let volume = format!("kube-api-access-{}", cx.suffix());
        let Some(spec) = fields(new.body_mut(), "spec") else {
            return Ok(());
        };
        spec.insert("serviceAccountName".into(), account.as_str().into());
        spec.insert("serviceAccount".into(), account.as_str().into());
        if let Some(secrets) = pull_secrets {
            set(spec, "imagePullSecrets", secrets);
        }
        if token {
            mount_token(spec, &volume);
        }
        Ok(())
    }

    fn priority(&self, pod: &Object) -> Result<(i64, String), Status> {
        let lower = "PreemptLowerPriority";
        let class = match pod.str_at(&["spec", "priorityClassName"]) {
            Some("system-cluster-critical") => return Ok((2_000_000_000, lower.into())),
            Some("system-node-critical") => return Ok((2_000_001_000, lower.into())),
            Some(name) => self.get(Kind::PriorityClass, "", name).ok_or_else(|| {
                let why = format!("no PriorityClass with name {name} was found");
                Status::forbidden(Kind::Pod, &pod.meta.name, &why)
            })?,
            None => {
                let default = self
                    .list(Kind::PriorityClass, None)
                    .find(|c| c.at(&["globalDefault"]) == Some(&Value::Bool(true)));
                match default {
                    Some(class) => class,
                    None => return Ok((0, lower.into())),
                }
            }
        };
        let policy = class.str_at(&["preemptionPolicy"]).unwrap_or(lower);
        Ok((class.i64_at(&["value"]).unwrap_or(0), policy.to_owned()))
    }

    pub(crate) fn bind(&mut self, cx: &mut Cx<'_>, target: &ObjectRef, node: &str) -> Response {
        let old = Arc::clone(self.existing(target)?);
        let why = if old.terminating() {
            format!("pod {} is being deleted, cannot be assigned to a host", old.meta.name)
        } else {
            match old.str_at(&["spec", "nodeName"]).unwrap_or_default() {
                "" => String::new(),
                taken => format!("pod {} is already assigned to node {taken:?}", old.meta.name),
            }
        };
        if !why.is_empty() {
            let message = format!(
                "Operation cannot be fulfilled on pods/binding \"{}\": {why}",
                old.meta.name
            );
            return Err(Status::new(409, "Conflict", message));
        }
        let mut new = (*old).clone();
        let body = new.body_mut();
        if let Some(spec) = fields(body, "spec") {
            spec.insert("nodeName".into(), node.into());
        }
        if let Some(status) = fields(body, "status") {
            let conditions = status.entry("conditions").or_insert(json!([]));
            if let Some(list) = conditions.as_array_mut() {
                list.retain(|c| c["type"] != "PodScheduled");
                let time = ivory_core::object::time_text(cx.now);
                list.push(json!({"type": "PodScheduled", "status": "True",
                    "lastProbeTime": null, "lastTransitionTime": time}));
            }
        }
        // The binding writes through its own endpoint and takes no fields.
        let stored = self.put(new);
        self.after_write(cx, &stored);
        Ok(done(201))
    }
}

fn tolerate(spec: &mut Map<String, Value>) {
    for key in ["not-ready", "unreachable"] {
        let key = format!("node.kubernetes.io/{key}");
        let tolerated = items(spec, "tolerations").any(|t| {
            let of = t.get("key").and_then(Value::as_str);
            let effect = t.get("effect").and_then(Value::as_str);
            (of == Some(&*key) || of.is_none()) && (effect == Some("NoExecute") || effect.is_none())
        });
        if tolerated {
            continue;
        }
        let list = spec.entry("tolerations").or_insert(json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"effect": "NoExecute", "key": key, "operator": "Exists",
                "tolerationSeconds": 300}));
        }
    }
}

fn mount_token(spec: &mut Map<String, Value>, volume: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            let mounts = container.entry("volumeMounts").or_insert(json!([]));
            let Some(mounts) = mounts.as_array_mut() else {
                continue;
            };
            if !mounts.iter().any(|m| m["mountPath"] == PATH) {
                mounts.push(json!({"mountPath": PATH, "name": volume, "readOnly": true}));
                used = true;
            }
        }
    }
    if !used {
        return;
    }
    let volumes = spec.entry("volumes").or_insert(json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                "path": "namespace"}]}},
        ]}}));
    }
}
