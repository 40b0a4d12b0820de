//! Validation of objects as they are about to be stored: metadata, Pods and their templates, and what
//! each kind demands. The rules are those that an operator's objects can break, not all of Kubernetes'.

use std::collections::BTreeSet;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::quantity::Quantity;
use serde_json::Value;

use super::immutable;
use super::names;
use super::request::Subresource;
use super::status::{FieldError, Wrong};
use super::store::ApiServer;

type Errors = Vec<FieldError>;

impl ApiServer {
    pub(crate) fn validate_create(&self, new: &Object) -> Errors {
        let mut out = Errors::new();
        metadata(new, &mut out);
        self.validate(new, None, &mut out);
        out
    }

    pub(crate) fn validate_update(
        &self,
        old: &Object,
        new: &Object,
        subresource: Subresource,
        changed: &[String],
    ) -> Errors {
        let mut out = Errors::new();
        if old.meta.labels != new.meta.labels
            || annotations_need_a_look(old, new)
            || old.meta.finalizers != new.meta.finalizers
            || old.meta.owners != new.meta.owners
        {
            metadata(new, &mut out);
        }
        immutable::metadata(old, new, &mut out);
        if subresource == Subresource::None && !std::sync::Arc::ptr_eq(&old.body, &new.body) {
            self.validate(new, Some((old, changed)), &mut out);
            immutable::body(old, new, &mut out);
        } else if subresource == Subresource::Status
            && let Some(custom) = self.custom.get(&new.kind)
        {
            custom.validate(new, Some((old, changed)), !self.redefined, &mut out);
        }
        out
    }

    /// `old` is the version before, and what of the body differs.
    fn validate(&self, new: &Object, old: Option<(&Object, &[String])>, out: &mut Errors) {
        let spec = new.body.get("spec").unwrap_or(&Value::Null);
        match new.kind {
            Kind::IvoryCluster | Kind::IvyUpgrade => {
                if let Some(custom) = self.custom.get(&new.kind) {
                    custom.validate(new, old, !self.redefined, out);
                }
            }
            Kind::Pod if old.is_none() => pod(spec, "spec", &[], out),
            Kind::StatefulSet | Kind::Deployment | Kind::ReplicaSet => {
                workload(new.kind, spec, out)
            }
            Kind::Job if old.is_none() => {
                let allowed = &["OnFailure", "Never"][..];
                template(&spec["template"], "spec.template", allowed, out);
            }
            Kind::CronJob => cron_job(spec, out),
            Kind::Service => service(spec, out),
            Kind::PersistentVolumeClaim if old.is_none() => claim(spec, "spec", out),
            Kind::ConfigMap => data(new, &["data", "binaryData"], out),
            Kind::Secret => {
                data(new, &["data"], out);
                secret(new, out);
            }
            Kind::PodDisruptionBudget
                if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() =>
            {
                out.push(FieldError::invalid(
                    "spec",
                    spec.clone(),
                    "minAvailable and maxUnavailable cannot be both set",
                ));
            }
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                let role = new.body.get("roleRef").unwrap_or(&Value::Null);
                if text(role, "name").is_empty() {
                    out.push(FieldError::required("roleRef.name", ""));
                }
                let kind = text(role, "kind");
                if !matches!(kind, "Role" | "ClusterRole") {
                    out.push(FieldError::not_supported(
                        "roleRef.kind",
                        kind,
                        &["Role", "ClusterRole"],
                    ));
                }
            }
            _ => {}
        }
    }
}

/// New keys do, and so does much text; new values of known keys don't, which a lease's renewal is.
fn annotations_need_a_look(old: &Object, new: &Object) -> bool {
    let (a, b) = (&old.meta.annotations, &new.meta.annotations);
    !std::sync::Arc::ptr_eq(a, b)
        && (!a.keys().eq(b.keys()) || b.values().map(String::len).sum::<usize>() > 64 << 10)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn metadata(new: &Object, out: &mut Errors) {
    let name = &*new.meta.name;
    let wrong = match new.kind {
        Kind::Service => names::label_1035(name),
        Kind::Namespace => names::label(name),
        Kind::Role | Kind::RoleBinding | Kind::ClusterRole | Kind::ClusterRoleBinding => {
            names::path_segment(name)
        }
        Kind::StatefulSet => names::label(name),
        Kind::CronJob if name.len() > 52 => {
            vec!["must be no more than 52 characters".to_owned()]
        }
        _ => names::subdomain(name),
    };
    out.extend(wrong.into_iter().map(|e| FieldError::invalid("metadata.name", name, e)));
    for owner in new.meta.owners.iter() {
        let path = |key: &str| format!("metadata.ownerReferences.{key}");
        for (key, value) in [
            ("apiVersion", owner.api_version.as_str()),
            ("kind", owner.kind.as_str()),
            ("name", owner.name.as_str()),
            ("uid", &*owner.uid),
        ] {
            if value.is_empty() {
                let detail = match key {
                    "apiVersion" => "version must not be empty",
                    _ => "must not be empty",
                };
                out.push(FieldError::invalid(path(key), value, detail));
            }
        }
    }
    let controllers: Vec<_> =
        new.meta.owners.iter().filter(|o| o.controller == Some(true)).collect();
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
            first.kind, first.name, second.kind, second.name
        );
        out.push(FieldError::invalid("metadata.ownerReferences", Value::Null, detail));
    }
    let labels = new.meta.labels.iter().map(|(k, v)| (&**k, &**v));
    names::labels("metadata.labels", labels, out);
    names::annotations("metadata.annotations", &new.meta.annotations, out);
    for (at, finalizer) in new.meta.finalizers.iter().enumerate() {
        let field = format!("metadata.finalizers[{at}]");
        let known = matches!(finalizer.as_str(), super::delete::FOREGROUND | super::delete::ORPHAN);
        for wrong in names::qualified(finalizer) {
            out.push(FieldError::invalid(field.as_str(), finalizer.as_str(), wrong));
        }
        if !known && !finalizer.contains('/') {
            out.push(FieldError::invalid(
                field.as_str(),
                finalizer.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

fn workload(kind: Kind, spec: &Value, out: &mut Errors) {
    if let Some(replicas) = spec.get("replicas").and_then(Value::as_i64).filter(|r| *r < 0) {
        let detail = "must be greater than or equal to 0";
        out.push(FieldError::invalid("spec.replicas", replicas, detail));
    }
    let selector = spec.get("selector").filter(|s| s.is_object());
    let empty = |s: &Value| ["matchLabels", "matchExpressions"].iter().all(|k| s.get(k).is_none());
    match selector {
        None => {
            out.push(FieldError::required("spec.selector", ""));
            let labels = spec["template"]["metadata"]["labels"].clone();
            let path = "spec.template.metadata.labels";
            let detail = "`selector` does not match template `labels`";
            out.push(FieldError::invalid(path, labels, detail));
        }
        Some(selector) if empty(selector) => out.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            format!("empty selector is invalid for {}", kind.name().to_lowercase()),
        )),
        Some(selector) => {
            let labels = &spec["template"]["metadata"]["labels"];
            let matched =
                names::strings(selector.get("matchLabels")).all(|(k, v)| text(labels, k) == v);
            if !matched {
                let path = "spec.template.metadata.labels";
                let detail = "`selector` does not match template `labels`";
                out.push(FieldError::invalid(path, labels.clone(), detail));
            }
        }
    }
    template(&spec["template"], "spec.template", &["Always"], out);
    for (at, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
        self::claim(&claim["spec"], &format!("spec.volumeClaimTemplates[{at}].spec"), out);
    }
}

fn template(template: &Value, path: &str, policies: &[&str], out: &mut Errors) {
    let meta = template.get("metadata").unwrap_or(&Value::Null);
    let labels = names::strings(meta.get("labels"));
    names::labels(&format!("{path}.metadata.labels"), labels, out);
    pod(&template["spec"], &format!("{path}.spec"), policies, out);
}

fn pod(spec: &Value, path: &str, policies: &[&str], out: &mut Errors) {
    let mut volumes = BTreeSet::new();
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        self::volume(volume, &format!("{path}.volumes[{at}]"), &mut volumes, out);
    }
    if list(spec, "containers").is_empty() {
        out.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for key in ["containers", "initContainers"] {
        for (at, container) in list(spec, key).iter().enumerate() {
            let path = format!("{path}.{key}[{at}]");
            self::container(container, &path, &volumes, &mut seen, out);
        }
    }
    let policy = text(spec, "restartPolicy");
    if !policies.is_empty() && !policies.contains(&policy) {
        let field = format!("{path}.restartPolicy");
        if policies.len() > 1 && policy == "Always" {
            // Jobs have no default that they allow.
            let detail = "valid values: \"OnFailure\", \"Never\"";
            out.push(FieldError::required(field, detail));
        } else {
            out.push(FieldError::not_supported(field, policy, policies));
        }
    }
    let grace = spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if let Some(grace) = grace.filter(|g| *g < 0) {
        let field = format!("{path}.terminationGracePeriodSeconds");
        out.push(FieldError::invalid(field, grace, "must be greater than or equal to 0"));
    }
}

fn volume<'a>(volume: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>, out: &mut Errors) {
    let before = out.len();
    let name = text(volume, "name");
    if name.is_empty() {
        out.push(FieldError::required(format!("{path}.name"), ""));
    } else {
        for wrong in names::label(name) {
            out.push(FieldError::invalid(format!("{path}.name"), name, wrong));
        }
        if seen.contains(name) {
            let wrong = Wrong::Duplicate(name.into());
            out.push(FieldError::new(format!("{path}.name"), wrong, ""));
        }
    }
    let sources = volume.as_object().into_iter().flatten().filter(|(k, _)| *k != "name");
    for (key, _) in sources.skip(1) {
        out.push(FieldError::forbidden(
            format!("{path}.{key}"),
            "may not specify more than 1 volume type",
        ));
    }
    for (source, key) in [
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
        ("hostPath", "path"),
    ] {
        if let Some(value) = volume.get(source)
            && text(value, key).is_empty()
        {
            out.push(FieldError::required(format!("{path}.{source}.{key}"), ""));
        }
    }
    // What is wrong in itself is not there for those who mount it.
    if out.len() == before {
        seen.insert(name);
    }
}

fn container<'a>(
    container: &'a Value,
    path: &str,
    volumes: &BTreeSet<&str>,
    seen: &mut BTreeSet<&'a str>,
    out: &mut Errors,
) {
    let name = text(container, "name");
    if name.is_empty() {
        out.push(FieldError::required(format!("{path}.name"), ""));
    } else {
        for wrong in names::label(name) {
            out.push(FieldError::invalid(format!("{path}.name"), name, wrong));
        }
        if !seen.insert(name) {
            let wrong = Wrong::Duplicate(name.into());
            out.push(FieldError::new(format!("{path}.name"), wrong, ""));
        }
    }
    let image = text(container, "image");
    if image.is_empty() {
        out.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        out.push(FieldError::invalid(
            format!("{path}.image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    for (at, port) in list(container, "ports").iter().enumerate() {
        match port.get("containerPort").and_then(Value::as_i64).unwrap_or(0) {
            0 => out.push(FieldError::required(format!("{path}.ports[{at}].containerPort"), "")),
            n if !(1..=65535).contains(&n) => out.push(FieldError::invalid(
                format!("{path}.ports[{at}].containerPort"),
                n,
                "must be between 1 and 65535, inclusive",
            )),
            _ => {}
        }
    }
    for (at, variable) in list(container, "env").iter().enumerate() {
        if text(variable, "name").is_empty() {
            out.push(FieldError::required(format!("{path}.env[{at}].name"), ""));
        }
    }
    let mut mounts = BTreeSet::new();
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let name = text(mount, "name");
        if name.is_empty() {
            out.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            out.push(FieldError::new(format!("{path}.name"), Wrong::NotFound(name.into()), ""));
        }
        let target = text(mount, "mountPath");
        if target.is_empty() {
            out.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !mounts.insert(target) {
            let field = format!("{path}.mountPath");
            out.push(FieldError::invalid(field, target, "must be unique"));
        }
    }
    resources(&container["resources"], &format!("{path}.resources"), out);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = container.get(probe)
            && ["exec", "httpGet", "tcpSocket", "grpc"].iter().all(|h| value.get(h).is_none())
        {
            let field = format!("{path}.{probe}");
            out.push(FieldError::required(field, "must specify a handler type"));
        }
    }
}

fn resources(resources: &Value, path: &str, out: &mut Errors) {
    let amount = |text: &str| text.parse::<Quantity>().unwrap_or(Quantity::ZERO);
    for (name, request) in names::strings(resources.get("requests")) {
        let limit = resources.get("limits").map(|l| text(l, name)).filter(|l| !l.is_empty());
        if let Some(limit) = limit
            && amount(request) > amount(limit)
        {
            out.push(FieldError::invalid(
                format!("{path}.requests"),
                request,
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
}

fn cron_job(spec: &Value, out: &mut Errors) {
    let schedule = text(spec, "schedule");
    if schedule.is_empty() {
        out.push(FieldError::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        let detail = format!(
            "expected exactly 5 fields, found {}: [{schedule}]",
            schedule.split_whitespace().count()
        );
        out.push(FieldError::invalid("spec.schedule", schedule, detail));
    }
    let pod = &spec["jobTemplate"]["spec"]["template"];
    template(pod, "spec.jobTemplate.spec.template", &["OnFailure", "Never"], out);
}

fn service(spec: &Value, out: &mut Errors) {
    let ports = list(spec, "ports");
    let kind = text(spec, "type");
    if ports.is_empty() && text(spec, "clusterIP") != "None" && kind != "ExternalName" {
        out.push(FieldError::required("spec.ports", ""));
    }
    if kind == "ExternalName" && text(spec, "externalName").is_empty() {
        out.push(FieldError::required("spec.externalName", ""));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = |key: &str| format!("spec.ports[{at}].{key}");
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            out.push(FieldError::required(path("name"), ""));
        } else if !name.is_empty() && !names.insert(name) {
            let wrong = Wrong::Duplicate(name.into());
            out.push(FieldError::new(path("name"), wrong, ""));
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            out.push(FieldError::invalid(path("port"), number, detail));
        }
        if let Some(target) = port.get("targetPort").and_then(Value::as_i64)
            && !(1..=65535).contains(&target)
        {
            let detail = "must be between 1 and 65535, inclusive";
            out.push(FieldError::invalid(path("targetPort"), target, detail));
        }
        if !numbers.insert((text(port, "protocol"), number)) {
            let wrong = Wrong::Duplicate(
                serde_json::json!({"port": number, "protocol": text(port, "protocol")}),
            );
            out.push(FieldError::new(format!("spec.ports[{at}]"), wrong, ""));
        }
        if let Some(number) = port.get("nodePort").and_then(Value::as_i64)
            && !(30_000..=32_767).contains(&number)
        {
            let detail =
                "provided port is not in the valid range. The range of valid ports is 30000-32767";
            out.push(FieldError::invalid(path("nodePort"), number, detail));
        }
    }
}

fn claim(spec: &Value, path: &str, out: &mut Errors) {
    if list(spec, "accessModes").is_empty() {
        let field = format!("{path}.accessModes");
        out.push(FieldError::required(field, "at least 1 access mode is required"));
    }
    let size = spec["resources"]["requests"].get("storage").and_then(Value::as_str);
    match size.map(|text| (text, text.parse::<Quantity>())) {
        None => out.push(FieldError::required(format!("{path}.resources[storage]"), "")),
        Some((text, Ok(size))) if size <= Quantity::ZERO => {
            let field = format!("{path}.resources[storage]");
            out.push(FieldError::invalid(field, text, "must be greater than zero"));
        }
        Some(_) => {}
    }
}

fn data(new: &Object, keys: &[&str], out: &mut Errors) {
    const MAX: usize = 1 << 20;
    let mut size = 0;
    for key in keys {
        for (name, value) in names::strings(new.body.get(*key)) {
            let decoded = if new.kind == Kind::Secret || *key == "binaryData" {
                value.len() / 4 * 3
            } else {
                value.len()
            };
            size += decoded;
            for wrong in names::config_key(name) {
                out.push(FieldError::invalid(format!("{key}[{name}]"), name, wrong));
            }
        }
    }
    if size > MAX {
        let field = if new.kind == Kind::Secret { "data" } else { "" };
        let detail = format!("may not be more than {MAX} bytes");
        out.push(FieldError::new(field, Wrong::TooLong, detail));
    }
}

fn secret(new: &Object, out: &mut Errors) {
    if new.str_at(&["type"]) == Some("kubernetes.io/tls") {
        for key in ["tls.crt", "tls.key"] {
            if new.at(&["data", key]).is_none() {
                out.push(FieldError::required(format!("data[{key}]"), ""));
            }
        }
    }
}
