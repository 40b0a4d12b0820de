//! The defaults of built-in kinds, as Kubernetes 1.34 sets them on a decoded object, before admission.
//! Checked field by field against a real server by the recorded manifests in `tests/`.

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Map, Value, json};

use super::create::label;

type Fields = Map<String, Value>;

/// Sets what is absent. The body is in its canonical form already.
pub(crate) fn set_defaults(object: &mut Object, old: Option<&Object>) {
    let meta_labels = object.meta.labels.clone();
    let kind = object.kind;
    let name = object.meta.name.clone();
    let body = object.body_mut();
    match kind {
        Kind::Pod => {
            if let Some(spec) = fields(body, "spec") {
                pod_spec(spec);
                pod(spec);
            }
        }
        Kind::Service => {
            if let Some(spec) = fields(body, "spec") {
                service(spec);
            }
        }
        Kind::StatefulSet => {
            if let Some(spec) = fields(body, "spec") {
                template(spec);
                stateful_set(spec);
            }
        }
        Kind::Deployment => {
            if let Some(spec) = fields(body, "spec") {
                template(spec);
                deployment(spec);
            }
        }
        Kind::ReplicaSet => {
            if let Some(spec) = fields(body, "spec") {
                template(spec);
                set(spec, "replicas", 1);
            }
        }
        Kind::Job => {
            let labels = fields(body, "spec").and_then(|spec| {
                template(spec);
                job(spec);
                labels_of_template(spec)
            });
            if let Some(labels) = labels.filter(|_| meta_labels.is_empty() && old.is_none()) {
                for (key, value) in &labels {
                    label(&mut object.meta.labels, key, value.as_str().unwrap_or_default());
                }
            }
        }
        Kind::CronJob => {
            if let Some(spec) = fields(body, "spec") {
                set(spec, "concurrencyPolicy", "Allow");
                set(spec, "suspend", false);
                set(spec, "successfulJobsHistoryLimit", 3);
                set(spec, "failedJobsHistoryLimit", 1);
                if let Some(job) = fields(spec, "jobTemplate").and_then(|j| fields(j, "spec")) {
                    template(job);
                }
            }
        }
        Kind::PersistentVolumeClaim => {
            if let Some(spec) = fields(body, "spec") {
                set(spec, "volumeMode", "Filesystem");
            }
            if let Some(status) = fields(body, "status") {
                set(status, "phase", "Pending");
            }
        }
        Kind::PersistentVolume => {
            if let Some(spec) = fields(body, "spec") {
                set(spec, "persistentVolumeReclaimPolicy", "Retain");
                set(spec, "volumeMode", "Filesystem");
                if let Some(path) = fields(spec, "hostPath") {
                    set(path, "type", "");
                }
            }
            if let Some(status) = fields(body, "status") {
                set(status, "phase", "Pending");
            }
        }
        Kind::Secret => {
            encode_strings(body);
            set(body, "type", "Opaque");
        }
        Kind::CustomResourceDefinition => {
            if let Some(spec) = fields(body, "spec") {
                set(spec, "conversion", json!({"strategy": "None"}));
                if let Some(names) = fields(spec, "names") {
                    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default();
                    let (singular, list) = (kind.to_lowercase(), format!("{kind}List"));
                    set(names, "singular", singular);
                    set(names, "listKind", list);
                }
            }
        }
        Kind::Namespace => {
            if let Some(status) = fields(body, "status") {
                set(status, "phase", "Active");
            }
            if !name.is_empty() {
                label(&mut object.meta.labels, "kubernetes.io/metadata.name", &name);
            }
        }
        Kind::Endpoints => {
            for subset in items(body, "subsets") {
                for port in items(subset, "ports") {
                    set(port, "protocol", "TCP");
                }
            }
        }
        Kind::EndpointSlice => {
            for port in items(body, "ports") {
                set(port, "name", "");
                set(port, "protocol", "TCP");
            }
        }
        Kind::RoleBinding | Kind::ClusterRoleBinding => {
            let group = "rbac.authorization.k8s.io";
            if let Some(role) = fields(body, "roleRef")
                && role.get("apiGroup").and_then(Value::as_str) == Some("")
            {
                role.insert("apiGroup".into(), group.into());
            }
            for subject in items(body, "subjects") {
                if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
                    set(subject, "apiGroup", group);
                }
            }
        }
        Kind::StorageClass => {
            set(body, "reclaimPolicy", "Delete");
            set(body, "volumeBindingMode", "Immediate");
        }
        Kind::PriorityClass => set(body, "preemptionPolicy", "PreemptLowerPriority"),
        Kind::Node => {
            if let Some(status) = fields(body, "status")
                && let Some(capacity) = status.get("capacity").cloned()
            {
                set(status, "allocatable", capacity);
            }
        }
        Kind::IvoryCluster
        | Kind::IvyUpgrade
        | Kind::ConfigMap
        | Kind::ServiceAccount
        | Kind::Event
        | Kind::ControllerRevision
        | Kind::PodDisruptionBudget
        | Kind::Lease
        | Kind::Role
        | Kind::ClusterRole => {}
    }
}

pub(crate) fn fields<'a>(map: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    map.get_mut(key)?.as_object_mut()
}

pub(crate) fn items<'a>(map: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    map.get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

pub(crate) fn set(map: &mut Fields, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// `stringData` of a Secret goes into `data` and is never stored itself.
fn encode_strings(body: &mut Fields) {
    use base64::Engine as _;
    let Some(Value::Object(strings)) = body.remove("stringData") else {
        return;
    };
    let data = body.entry("data").or_insert(json!({}));
    for (key, text) in strings {
        let text = text.as_str().unwrap_or_default();
        data[key] = base64::engine::general_purpose::STANDARD.encode(text).into();
    }
}

fn labels_of_template(spec: &mut Fields) -> Option<Fields> {
    let meta = fields(fields(spec, "template")?, "metadata")?;
    fields(meta, "labels").map(|labels| labels.clone())
}

fn template(spec: &mut Fields) {
    if let Some(pod) = fields(spec, "template").and_then(|t| fields(t, "spec")) {
        pod_spec(pod);
    }
}

fn stateful_set(spec: &mut Fields) {
    set(spec, "podManagementPolicy", "OrderedReady");
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(policy) = fields(spec, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", "Retain");
        set(policy, "whenScaled", "Retain");
    }
    if let Some(strategy) = fields(spec, "updateStrategy") {
        if !strategy.contains_key("type") {
            set(strategy, "type", "RollingUpdate");
            set(strategy, "rollingUpdate", json!({}));
        }
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = fields(strategy, "rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
    for claim in items(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        if let Some(spec) = fields(claim, "spec") {
            set(spec, "volumeMode", "Filesystem");
        }
        if let Some(status) = fields(claim, "status") {
            set(status, "phase", "Pending");
        }
    }
}

fn deployment(spec: &mut Fields) {
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = fields(spec, "strategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            set(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = fields(strategy, "rollingUpdate") {
                set(rolling, "maxUnavailable", "25%");
                set(rolling, "maxSurge", "25%");
            }
        }
    }
}

fn job(spec: &mut Fields) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let limit = match spec.contains_key("backoffLimitPerIndex") {
        true => i64::from(i32::MAX),
        false => 6,
    };
    set(spec, "backoffLimit", limit);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    let replacement = match spec.contains_key("podFailurePolicy") {
        true => "Failed",
        false => "TerminatingOrFailed",
    };
    set(spec, "podReplacementPolicy", replacement);
}

fn service(spec: &mut Fields) {
    set(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "None" {
        spec.remove("sessionAffinityConfig");
    } else {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    set(spec, "type", "ClusterIP");
    for port in items(spec, "ports") {
        set(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort").is_none_or(|t| *t == 0 || *t == "") {
            port.insert("targetPort".into(), number);
        }
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let outside = matches!(&*kind, "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && spec.contains_key("externalIPs"));
    if outside {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Defaults of Pods alone, not of templates.
fn pod(spec: &mut Fields) {
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            let limits = container["resources"].get("limits").cloned();
            if let (Some(Value::Object(limits)), Some(resources)) =
                (limits, fields(container, "resources"))
            {
                set(resources, "requests", json!({}));
                if let Some(requests) = fields(resources, "requests") {
                    for (name, limit) in limits {
                        set(requests, &name, limit);
                    }
                }
            }
            if host_network {
                for port in items(container, "ports") {
                    let number = port.get("containerPort").cloned().unwrap_or_default();
                    set(port, "hostPort", number);
                }
            }
        }
    }
}

fn pod_spec(spec: &mut Fields) {
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
    // The old name of the field is kept equal to the new one, whichever was given.
    let account = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned();
    if let Some(account) = account {
        spec.insert("serviceAccountName".into(), account.clone());
        spec.insert("serviceAccount".into(), account);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, list) {
            self::container(container);
        }
    }
    for volume in items(spec, "volumes") {
        self::volume(volume);
    }
}

fn container(container: &mut Fields) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    set(container, "imagePullPolicy", pull_policy(image));
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    for port in items(container, "ports") {
        set(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(field) = fields(variable, "valueFrom").and_then(|v| fields(v, "fieldRef")) {
            set(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = fields(container, probe) {
            set(probe, "timeoutSeconds", 1);
            set(probe, "periodSeconds", 10);
            set(probe, "successThreshold", 1);
            set(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    if let Some(lifecycle) = fields(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = fields(lifecycle, hook) {
                handler(hook);
            }
        }
    }
}

fn handler(probe: &mut Fields) {
    if let Some(http) = fields(probe, "httpGet") {
        set(http, "path", "/");
        set(http, "scheme", "HTTP");
    }
    if let Some(grpc) = fields(probe, "grpc") {
        set(grpc, "service", "");
    }
}

/// `latest` and no tag at all are pulled always; a digest counts as a tag.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(n, _)| (n, true));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !digest && !image.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn volume(volume: &mut Fields) {
    if volume.len() == 1 {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        let Some(source) = fields(volume, source) else {
            continue;
        };
        set(source, "defaultMode", 420);
        field_refs(source);
        for projected in items(source, "sources") {
            if let Some(token) = fields(projected, "serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = fields(projected, "downwardAPI") {
                field_refs(downward);
            }
        }
    }
    if let Some(path) = fields(volume, "hostPath") {
        set(path, "type", "");
    }
    let claim = fields(volume, "ephemeral")
        .and_then(|e| fields(e, "volumeClaimTemplate"))
        .and_then(|t| fields(t, "spec"));
    if let Some(claim) = claim {
        set(claim, "volumeMode", "Filesystem");
    }
}

fn field_refs(source: &mut Fields) {
    for item in items(source, "items") {
        if let Some(field) = fields(item, "fieldRef") {
            set(field, "apiVersion", "v1");
        }
    }
}
