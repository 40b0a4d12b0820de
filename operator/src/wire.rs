//! Objects between kube-rs and core: one type for all kinds, so that nothing is lost or invented on the way.

use std::borrow::Cow;

use ivory_core::names::FIELD_MANAGER;
use ivory_core::object::ObjectError;
use ivory_core::{Kind, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// `kubectl apply` keeps its whole input here; nobody else has a use for it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as it came over the wire.
#[derive(Clone)]
pub struct Wire {
    /// Only name and version, which kube-rs wants to see.
    meta: ObjectMeta,
    value: Value,
}

impl Wire {
    /// An object to be sent.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self::from(object.to_value())
    }

    /// The wire form with only what is worth keeping, and the object that it describes. Of `managedFields`
    /// our own entry is kept, and of Endpoints, which Patroni writes, when the others wrote: no plan reads more of
    /// another's. Items of lists don't say their kind, so it is given.
    ///
    /// # Errors
    /// When its metadata has a wrong type.
    pub fn read(self, kind: Kind) -> Result<(Object, Value), ObjectError> {
        let mut value = self.value;
        if let Value::Object(map) = &mut value {
            map.insert("apiVersion".into(), kind.api_version().into());
            map.insert("kind".into(), kind.name().into());
        }
        if let Some(entries) = value.pointer_mut("/metadata/managedFields") {
            let ours = |e: &Value| {
                e["manager"] == FIELD_MANAGER
                    && e["operation"] == "Apply"
                    && e.get("subresource").is_none()
            };
            if let Value::Array(entries) = entries {
                match kind {
                    Kind::Endpoints => {
                        let others = entries.iter_mut().filter(|e| !ours(e));
                        others.for_each(|e| e["fieldsV1"] = Value::Object(Map::default()));
                    }
                    _ => entries.retain(ours),
                }
            }
        }
        if let Some(Value::Object(annotations)) = value.pointer_mut("/metadata/annotations") {
            annotations.remove(LAST_APPLIED);
        }
        let object = Object::from_value(value.clone())?;
        Ok((object, value))
    }

    /// The object alone.
    ///
    /// # Errors
    /// As [`Wire::read`].
    pub fn object(self, kind: Kind) -> Result<Object, ObjectError> {
        self.read(kind).map(|(object, _)| object)
    }
}

impl From<Value> for Wire {
    fn from(value: Value) -> Self {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let meta = ObjectMeta {
            name: text("/metadata/name"),
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { meta, value }
    }
}

impl std::fmt::Debug for Wire {
    /// Names it only: the value may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.meta.name.as_deref().unwrap_or("(unnamed)"))
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl kube::Resource for Wire {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.name().into()
    }
    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.group().into()
    }
    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.version().into()
    }
    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.plural().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Commands are only ever sent to Pods; the API server refuses others.
impl kube::api::Execute for Wire {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_our_own_fields_are_kept() {
        let entry = |manager: &str, operation: &str| json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {}}});
        let wire = Wire::from(json!({
            "metadata": {
                "name": "x", "resourceVersion": "7",
                "annotations": {LAST_APPLIED: "{}", "kept": "yes"},
                "managedFields": [entry(FIELD_MANAGER, "Apply"), entry(FIELD_MANAGER, "Update"), entry("kubelet", "Apply")],
            },
            "spec": {"a": 1},
        }));
        let object = wire.object(Kind::Service).unwrap();
        assert_eq!(object.kind, Kind::Service);
        assert_eq!(object.meta.managed.len(), 1);
        assert_eq!(object.annotation("kept"), Some("yes"));
        assert_eq!(object.annotation(LAST_APPLIED), None);
        assert_eq!(object.i64_at(&["spec", "a"]), Some(1));
    }

    #[test]
    fn of_endpoints_it_is_kept_when_patroni_wrote() {
        let entry = |manager: &str, operation: &str, time: &str| {
            json!({"manager": manager, "operation": operation, "apiVersion": "v1",
            "time": time, "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {"f:config": {}}}}})
        };
        let wire = Wire::from(json!({
            "metadata": {"name": "hippo-ha-config", "resourceVersion": "7", "managedFields": [
                entry(FIELD_MANAGER, "Apply", "2026-01-01T00:00:00Z"),
                entry("Patroni", "Update", "2026-01-01T00:00:05Z"),
            ]},
        }));
        let object = wire.object(Kind::Endpoints).unwrap();
        let at = "2026-01-01T00:00:05Z".parse().expect("a time");
        assert_eq!(object.last_change(), Some(at));
        let kept: Vec<bool> = object.meta.managed.iter().map(|m| m.fields.is_empty()).collect();
        assert_eq!(kept, [false, true], "the fields of others are not");
    }
}
