//! What each kind's registry does around a write: who may change status, when the generation grows,
//! what is allocated.

use std::sync::{Arc, OnceLock};

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::ssa::{FieldSet, Manager, compare_objects, update_by};
use serde_json::{Value, json};

use super::handle::Cx;
use super::request::Subresource;
use super::status::Status;
use super::store::ApiServer;

/// Kinds whose status has an endpoint of its own.
fn has_status(server: &ApiServer, kind: Kind) -> bool {
    match kind {
        Kind::Namespace
        | Kind::Node
        | Kind::Pod
        | Kind::Service
        | Kind::PersistentVolumeClaim
        | Kind::PersistentVolume
        | Kind::StatefulSet
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Job
        | Kind::CronJob
        | Kind::PodDisruptionBudget
        | Kind::CustomResourceDefinition => true,
        Kind::IvoryCluster | Kind::IvyUpgrade => {
            server.custom.get(&kind).is_some_and(|c| c.has_status)
        }
        Kind::Endpoints
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::ServiceAccount
        | Kind::Event
        | Kind::ControllerRevision
        | Kind::EndpointSlice
        | Kind::Lease
        | Kind::StorageClass
        | Kind::PriorityClass
        | Kind::Role
        | Kind::RoleBinding
        | Kind::ClusterRole
        | Kind::ClusterRoleBinding => false,
    }
}

/// Kinds whose generation counts changes of the specification.
fn has_generation(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::StatefulSet
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::Job
            | Kind::CronJob
            | Kind::PodDisruptionBudget
            | Kind::EndpointSlice
            | Kind::PriorityClass
            | Kind::CustomResourceDefinition
            | Kind::IvoryCluster
            | Kind::IvyUpgrade
    )
}

/// The fields that an endpoint never stores, and that nobody owns through it.
pub(crate) fn ignored(
    server: &ApiServer,
    kind: Kind,
    subresource: Subresource,
) -> &'static FieldSet {
    struct Sets {
        none: FieldSet,
        status: FieldSet,
        spec: FieldSet,
        spec_and_labels: FieldSet,
    }
    static SETS: OnceLock<Sets> = OnceLock::new();
    let sets = SETS.get_or_init(|| Sets {
        none: FieldSet::default(),
        status: FieldSet::of(&["status"]),
        spec: FieldSet::of(&["spec"]),
        spec_and_labels: FieldSet::of(&["spec"]).union(&FieldSet::of(&["metadata", "labels"])),
    });
    match subresource {
        Subresource::None if has_status(server, kind) => &sets.status,
        Subresource::None => &sets.none,
        // The labels of a custom resource are not stored through status, but they are owned then: so
        // does the real server.
        Subresource::Status if kind == Kind::Deployment => &sets.spec_and_labels,
        Subresource::Status => &sets.spec,
        Subresource::Scale | Subresource::Finalize => &sets.status,
    }
}

impl ApiServer {
    pub(crate) fn prepare_for_create(
        &mut self,
        cx: &mut Cx<'_>,
        new: &mut Object,
    ) -> Result<(), Status> {
        if has_generation(new.kind) {
            new.meta.generation = 1;
        }
        match new.kind {
            Kind::Pod => super::pods::prepare(new),
            Kind::Service => {
                reset_status(new, json!({"loadBalancer": {}}));
                self.allocate(new, None)?;
            }
            Kind::PersistentVolumeClaim => {
                reset_status(new, json!({"phase": "Pending"}));
                self::data_source(new);
            }
            Kind::PersistentVolume => {
                let time = ivory_core::object::time_text(cx.now);
                let status = json!({"phase": "Pending", "lastPhaseTransitionTime": time});
                reset_status(new, status);
            }
            Kind::Namespace => {
                new.body_mut().insert("status".into(), json!({"phase": "Active"}));
                let spec = new.body_mut().entry("spec").or_insert(json!({}));
                spec["finalizers"] = json!(["kubernetes"]);
            }
            Kind::Job => {
                reset_status(new, json!({}));
                self::job_selector(new);
            }
            Kind::CronJob => reset_status(new, json!({})),
            Kind::StatefulSet => {
                reset_status(new, json!({"availableReplicas": 0, "replicas": 0}));
            }
            Kind::Deployment => reset_status(new, json!({})),
            Kind::ReplicaSet => reset_status(new, json!({"replicas": 0})),
            Kind::PodDisruptionBudget => reset_status(
                new,
                json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
            ),
            Kind::CustomResourceDefinition => {
                let status = super::crd::first_status(new);
                reset_status(new, status);
            }
            Kind::IvoryCluster | Kind::IvyUpgrade if has_status(self, new.kind) => {
                new.body_mut().remove("status");
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn prepare_for_update(
        &mut self,
        old: &Object,
        new: &mut Object,
        subresource: Subresource,
        changed: &mut Vec<String>,
    ) -> Result<(), Status> {
        let kind = new.kind;
        match subresource {
            Subresource::Status => {
                if !has_status(self, kind) {
                    let message = "the server could not find the requested resource";
                    return Err(Status::new(404, "NotFound", message));
                }
                keep_all_but(old, new, "status", changed);
                if self.custom.contains_key(&kind) {
                    let managed = Arc::clone(&new.meta.managed);
                    new.meta = old.meta.clone();
                    new.meta.managed = managed;
                }
                if kind == Kind::Deployment {
                    new.meta.labels = Arc::clone(&old.meta.labels);
                }
                return Ok(());
            }
            Subresource::Finalize => {
                keep_all_but(old, new, "spec", changed);
                return Ok(());
            }
            Subresource::None | Subresource::Scale => {}
        }
        if has_status(self, kind) && changed.iter().any(|key| key == "status") {
            match old.body.get("status").cloned() {
                Some(status) => drop(new.body_mut().insert("status".into(), status)),
                None => drop(new.body_mut().remove("status")),
            }
            changed.retain(|key| key != "status");
        }
        if kind == Kind::Service && !Arc::ptr_eq(&old.body, &new.body) {
            self.allocate(new, Some(old))?;
            changed_anew(old, new, "spec", changed);
        }
        if kind == Kind::Namespace && !Arc::ptr_eq(&old.body, &new.body) {
            // Only the finalize endpoint changes them.
            if let Some(finalizers) = old.at(&["spec", "finalizers"]) {
                let finalizers = finalizers.clone();
                new.body_mut().entry("spec").or_insert(json!({}))["finalizers"] = finalizers;
                changed_anew(old, new, "spec", changed);
            }
        }
        if has_generation(kind) && grows(self, old, new, changed) {
            new.meta.generation += 1;
        }
        Ok(())
    }

    /// What the server keeps about certain objects.
    pub(crate) fn after_write(&mut self, cx: &Cx<'_>, stored: &Arc<Object>) {
        if stored.kind != Kind::CustomResourceDefinition {
            return;
        }
        if !stored.at(&["status", "conditions"]).is_none_or(Value::is_null) {
            return self.register(stored);
        }
        // A controller inside the server accepts the names; here it does so at once.
        let mut new = (**stored).clone();
        let status = super::crd::established_status(stored, cx.now);
        new.body_mut().insert("status".into(), status);
        let established = self.put_own_status(cx, stored, new);
        self.register(&established);
    }

    /// Stores a status that the server itself writes.
    pub(crate) fn put_own_status(
        &mut self,
        cx: &Cx<'_>,
        old: &Object,
        mut new: Object,
    ) -> Arc<Object> {
        let who = Manager {
            name: "kube-apiserver",
            subresource: "status",
            api_version: new.kind.api_version(),
        };
        let changes = compare_objects(self.schema(new.kind), old, &new);
        let ignored = FieldSet::default();
        new.meta.managed = update_by(changes, &old.meta.managed, who, &ignored, cx.now).into();
        self.put(new)
    }

    pub(crate) fn after_remove(&mut self, last: &Arc<Object>) {
        if last.kind == Kind::CustomResourceDefinition {
            self.unregister(last);
        }
    }
}

/// Looks again whether one field of the body differs.
fn changed_anew(old: &Object, new: &Object, key: &str, changed: &mut Vec<String>) {
    changed.retain(|k| k != key);
    if old.body.get(key) != new.body.get(key) {
        changed.push(key.to_owned());
    }
}

fn grows(server: &ApiServer, old: &Object, new: &Object, changed: &[String]) -> bool {
    if server.custom.contains_key(&new.kind) && has_status(server, new.kind) {
        return changed.iter().any(|key| key != "status");
    }
    if server.custom.contains_key(&new.kind) || new.kind == Kind::EndpointSlice {
        return !changed.is_empty();
    }
    // A Deployment's annotations are passed on to its ReplicaSets.
    let annotations = new.kind == Kind::Deployment && old.meta.annotations != new.meta.annotations;
    changed.iter().any(|key| key == "spec") || annotations
}

/// The old and the new field for a claim's source say the same.
fn data_source(new: &mut Object) {
    let Some(spec) = new.body_mut().get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for (from, to) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        if let Some(source) = spec.get(from).cloned()
            && source.get("namespace").is_none()
            && !spec.contains_key(to)
        {
            spec.insert(to.to_owned(), source);
        }
    }
}

fn reset_status(new: &mut Object, status: Value) {
    if new.body.get("status") != Some(&status) {
        new.body_mut().insert("status".into(), status);
    }
}

/// Takes one top-level field from the new version and everything else of the body from the old one.
fn keep_all_but(old: &Object, new: &mut Object, key: &str, changed: &mut Vec<String>) {
    if !changed.iter().any(|k| k == key) {
        changed.clear();
        new.body = Arc::clone(&old.body);
        return;
    }
    // Hardly ever differs anything else.
    for other in changed.iter().filter(|k| *k != key) {
        match old.body.get(other).cloned() {
            Some(value) => drop(new.body_mut().insert(other.clone(), value)),
            None => drop(new.body_mut().remove(other)),
        }
    }
    changed.retain(|k| k == key);
}

/// A Job selects its Pods by its own UID, unless it says otherwise.
fn job_selector(new: &mut Object) {
    if new.at(&["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
        return;
    }
    let (uid, name) = (new.meta.uid.to_string(), new.meta.name.to_string());
    // The legacy names without a prefix are still set.
    let labels = [
        ("controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
    ];
    let Some(spec) = new.body_mut().get_mut("spec") else {
        return;
    };
    if !spec["template"]["metadata"].is_object() {
        spec["template"]["metadata"] = json!({});
    }
    let meta = &mut spec["template"]["metadata"];
    if !meta["labels"].is_object() {
        meta["labels"] = json!({});
    }
    for (key, value) in labels {
        if meta["labels"].get(key).is_none() {
            meta["labels"][key] = value.as_str().into();
        }
    }
    if !spec["selector"].is_object() {
        spec["selector"] = json!({});
    }
    spec["selector"]["matchLabels"] = json!({"batch.kubernetes.io/controller-uid": uid});
    // Read back from the store, a Job without labels has its template's.
    let labels = spec["template"]["metadata"]["labels"].clone();
    if new.meta.labels.is_empty() {
        let labels = labels.as_object().into_iter().flatten();
        let labels = labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
        new.meta.labels = Arc::new(labels.collect());
    }
}
