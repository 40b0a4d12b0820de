//! What may not change once an object is there.

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::quantity::Quantity;
use serde_json::{Map, Value};

use super::status::FieldError;

type Errors = Vec<FieldError>;

/// Rules of metadata: nothing new may hold an object back that is being deleted.
pub(crate) fn metadata(old: &Object, new: &Object, out: &mut Errors) {
    if !old.terminating() {
        return;
    }
    let added: Vec<_> = new
        .meta
        .finalizers
        .iter()
        .filter(|f| !old.meta.finalizers.contains(f))
        .map(|f| format!("{f:?}"))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        out.push(FieldError::forbidden("metadata.finalizers", &detail));
    }
}

/// Rules of each kind.
pub(crate) fn body(old: &Object, new: &Object, out: &mut Errors) {
    match new.kind {
        Kind::StatefulSet => stateful_set(old, new, out),
        Kind::Deployment | Kind::ReplicaSet => same(old, new, &["spec", "selector"], out),
        Kind::Job => job(old, new, out),
        Kind::PersistentVolumeClaim => claim(old, new, out),
        Kind::Service => service(old, new, out),
        Kind::Pod => pod(old, new, out),
        Kind::Secret | Kind::ConfigMap => immutable_data(old, new, out),
        Kind::RoleBinding | Kind::ClusterRoleBinding => {
            let role = new.body.get("roleRef");
            if role != old.body.get("roleRef") {
                let role = go_names(role);
                out.push(FieldError::invalid("roleRef", role, "cannot change roleRef"));
            }
        }
        Kind::StorageClass => {
            for field in ["parameters", "provisioner", "volumeBindingMode", "reclaimPolicy"] {
                if old.body.get(field) != new.body.get(field) {
                    let detail = match field {
                        "parameters" | "provisioner" => "updates to provisioner are forbidden.",
                        _ => "field is immutable",
                    };
                    out.push(FieldError::forbidden(field, detail));
                }
            }
        }
        Kind::ControllerRevision => same(old, new, &["data"], out),
        _ => {}
    }
}

fn same(old: &Object, new: &Object, path: &[&str], out: &mut Errors) {
    if old.at(path) != new.at(path) {
        let value = new.at(path).cloned().unwrap_or_default();
        out.push(FieldError::invalid(path.join("."), value, "field is immutable"));
    }
}

/// A body's specification without some fields.
fn spec_without(object: &Object, mutable: &[&str]) -> Map<String, Value> {
    let spec = object.body.get("spec").and_then(Value::as_object);
    spec.into_iter()
        .flatten()
        .filter(|(key, _)| !mutable.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn stateful_set(old: &Object, new: &Object, out: &mut Errors) {
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if spec_without(old, &MUTABLE) != spec_without(new, &MUTABLE) {
        out.push(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn job(old: &Object, new: &Object, out: &mut Errors) {
    for field in ["completions", "selector", "template", "completionMode", "podFailurePolicy"] {
        let suspended = old.at(&["spec", "suspend"]) == Some(&Value::Bool(true))
            && old.at(&["status", "startTime"]).is_none();
        // A Job that never started may still be scheduled elsewhere.
        if field == "template" && suspended {
            continue;
        }
        same(old, new, &["spec", field], out);
    }
}

fn claim(old: &Object, new: &Object, out: &mut Errors) {
    let bound = old.str_at(&["status", "phase"]) == Some("Bound")
        || !old.str_at(&["spec", "volumeName"]).unwrap_or_default().is_empty();
    let mut mutable = Vec::new();
    if bound {
        mutable.extend(["resources", "volumeAttributesClassName"]);
    }
    // The binder may fill in the volume and, where none was named, the class.
    for (field, path) in
        [("volumeName", ["spec", "volumeName"]), ("storageClassName", ["spec", "storageClassName"])]
    {
        if old.at(&path).is_none() {
            mutable.push(field);
        }
    }
    if spec_without(old, &mutable) != spec_without(new, &mutable) {
        out.push(FieldError::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ));
        return;
    }
    let size = |o: &Object, path: &[&str]| {
        o.str_at(path).and_then(|t| t.parse::<Quantity>().ok()).unwrap_or(Quantity::ZERO)
    };
    let wanted = ["spec", "resources", "requests", "storage"];
    let has = size(old, &["status", "capacity", "storage"]);
    // Shrinking is allowed only as far as a growth that did not happen yet.
    if bound && size(new, &wanted) < size(old, &wanted) && size(new, &wanted) <= has {
        out.push(FieldError::forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        ));
    }
}

fn service(old: &Object, new: &Object, out: &mut Errors) {
    let text = |o: &Object, key: &str| o.str_at(&["spec", key]).unwrap_or_default().to_owned();
    let (was, is) = (text(old, "clusterIP"), text(new, "clusterIP"));
    let external = |o: &Object| text(o, "type") == "ExternalName";
    if !external(old) && !external(new) && !was.is_empty() && was != is {
        out.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            Value::from(vec![is]),
            "may not change once set",
        ));
    }
}

fn pod(old: &Object, new: &Object, out: &mut Errors) {
    let stripped = |o: &Object| {
        let mut spec = Value::Object(spec_without(
            o,
            &[
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "schedulingGates",
            ],
        ));
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                container["image"] = Value::Null;
            }
        }
        spec
    };
    if stripped(old) != stripped(new) {
        out.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn immutable_data(old: &Object, new: &Object, out: &mut Errors) {
    if new.kind == Kind::Secret && old.body.get("type") != new.body.get("type") {
        let value = new.body.get("type").cloned().unwrap_or_default();
        out.push(FieldError::invalid("type", value, "field is immutable"));
    }
    if old.at(&["immutable"]) != Some(&Value::Bool(true)) {
        return;
    }
    let frozen = "field is immutable when `immutable` is set";
    for field in ["immutable", "data", "binaryData"] {
        if old.body.get(field) != new.body.get(field) {
            out.push(FieldError::forbidden(field, frozen));
        }
    }
}

/// The role reference as Go prints its structure.
fn go_names(role: Option<&Value>) -> Value {
    let text = |key: &str| role.and_then(|r| r.get(key)).cloned().unwrap_or_default();
    serde_json::json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")})
}
