//! The one representation of a Kubernetes object: typed metadata, JSON body, both shared by `Arc`.
//!
//! The simulator's store, its watch caches and the core's `Observed` all hold the same `Arc<Object>`,
//! so that reading costs a pointer. It knows nothing of schemas, defaults or rules.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::ssa::FieldSet;

/// Labels or annotations.
pub type StringMap = BTreeMap<String, String>;

/// What identifies one life of one object: two objects of the same name differ in it.
pub type Uid = Arc<str>;

/// A Kubernetes object: what it is, its metadata, and everything else (`spec`, `status`, `data`, …).
///
/// Cloning costs a few reference counts. Change a body through [`Object::body_mut`].
#[derive(Clone, PartialEq)]
pub struct Object {
    /// The kind; it also fixes `apiVersion`.
    pub kind: Kind,
    /// `metadata`.
    pub meta: Meta,
    /// Every top-level field but `apiVersion`, `kind` and `metadata`.
    pub body: Arc<Map<String, Value>>,
}

/// `metadata` of an object. Times have whole seconds, as on the wire.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Meta {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.generateName`, only in a create request.
    pub generate_name: Option<Arc<str>>,
    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// `metadata.uid`; empty in an object that was never stored.
    pub uid: Uid,
    /// `metadata.resourceVersion`; 0 in an object that was never stored. Kubernetes promises that
    /// they are integers that grow (KEP-5504); etcd revisions have always been.
    pub resource_version: u64,
    /// `metadata.generation`; 0 where the kind has none.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: set when a deletion was asked for.
    pub deleted_at: Option<Timestamp>,
    /// `metadata.deletionGracePeriodSeconds`.
    pub deletion_grace_seconds: Option<i64>,
    /// `metadata.labels`.
    pub labels: Arc<StringMap>,
    /// `metadata.annotations`.
    pub annotations: Arc<StringMap>,
    /// `metadata.ownerReferences`.
    pub owners: Arc<Vec<OwnerRef>>,
    /// `metadata.finalizers`.
    pub finalizers: Arc<Vec<String>>,
    /// `metadata.managedFields`.
    pub managed: Arc<Vec<Managed>>,
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerRef {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// `kind` of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: Uid,
    /// Whether the owner is the managing controller.
    pub controller: Option<bool>,
    /// Whether foreground deletion of the owner waits for this object.
    pub block_owner_deletion: Option<bool>,
}

/// One entry of `metadata.managedFields`: who set which fields, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Managed {
    /// The field manager.
    pub manager: Arc<str>,
    /// `Apply` (true) or `Update` (false).
    pub apply: bool,
    /// `status` for the status subresource, else empty.
    pub subresource: Arc<str>,
    /// The version in which the fields are named.
    pub api_version: Arc<str>,
    /// When this manager last changed something.
    pub time: Option<Timestamp>,
    /// The fields.
    pub fields: Arc<FieldSet>,
}

/// Why a JSON value is no object of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not a JSON map, or a metadata field of the wrong type.
    #[error("{path}: expected {expected}")]
    Type {
        /// Where, for example `metadata.labels`.
        path: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// `apiVersion` or `kind` is missing, or names nothing we know.
    #[error("no kind {kind:?} in apiVersion {api_version:?} is known")]
    Kind {
        /// The manifest's `apiVersion`.
        api_version: String,
        /// The manifest's `kind`.
        kind: String,
    },
}

impl Object {
    /// An object with a name and nothing else. Give cluster-scoped kinds an empty namespace.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let meta = Meta { name: name.into(), namespace: namespace.into(), ..Meta::default() };
        Self { kind, meta, body: Arc::default() }
    }

    /// The body, for changing; copied first if it is shared.
    pub fn body_mut(&mut self) -> &mut Map<String, Value> {
        Arc::make_mut(&mut self.body)
    }

    /// The value at a path of map keys in the body: `at(&["spec", "replicas"])`.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.body.get(*first)?, |value, key| value.get(key))
    }

    /// The text at a path of map keys in the body.
    #[must_use]
    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The integer at a path of map keys in the body.
    #[must_use]
    pub fn i64_at(&self, path: &[&str]) -> Option<i64> {
        self.at(path)?.as_i64()
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta.labels.get(key).map(String::as_str)
    }

    /// When anybody last changed it, by its managed fields; none where that is not known.
    #[must_use]
    pub fn last_change(&self) -> Option<Timestamp> {
        let times = self.meta.managed.iter().map(|m| m.time).collect::<Option<Vec<_>>>()?;
        times.into_iter().max()
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta.annotations.get(key).map(String::as_str)
    }

    /// The owner reference of the managing controller, if there is one.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.meta.owners.iter().find(|o| o.controller == Some(true))
    }

    /// Whether the object with this UID is the managing controller.
    #[must_use]
    pub fn controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| &*o.uid == uid)
    }

    /// Whether a deletion was asked for.
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.meta.deleted_at.is_some()
    }

    /// Whether a Pod has a volume from this claim.
    #[must_use]
    pub fn mounts_claim(&self, claim: &str) -> bool {
        let volumes = self.at(&["spec", "volumes"]).and_then(Value::as_array);
        let name = |v: &Value| v.pointer("/persistentVolumeClaim/claimName").cloned();
        volumes.into_iter().flatten().any(|v| name(v).is_some_and(|n| n == claim))
    }

    /// `status.conditions[type == T]`, whole.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Value> {
        let all = self.at(&["status", "conditions"])?.as_array()?;
        all.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
    }

    /// Whether `status.conditions[type == T].status` is `True`.
    #[must_use]
    pub fn condition_true(&self, kind: &str) -> bool {
        self.condition(kind).and_then(|c| c.get("status")).and_then(Value::as_str) == Some("True")
    }

    /// The decoded bytes of a Secret's `data` key, or of a ConfigMap's text.
    #[must_use]
    pub fn data(&self, key: &str) -> Option<crate::Sensitive> {
        use base64::Engine as _;
        let text = self.str_at(&["data", key])?;
        if self.kind == Kind::Secret {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            return Some(crate::Sensitive::new(bytes));
        }
        Some(crate::Sensitive::text(text))
    }

    /// `namespace/name`, or the name alone.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.meta.namespace.is_empty() {
            self.meta.name.to_string()
        } else {
            format!("{}/{}", self.meta.namespace, self.meta.name)
        }
    }

    /// The wire form, with everything that `metadata` holds.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("apiVersion".into(), self.kind.api_version().into());
        map.insert("kind".into(), self.kind.name().into());
        map.insert("metadata".into(), self.meta.to_value());
        for (key, value) in self.body.iter() {
            map.insert(key.clone(), value.clone());
        }
        Value::Object(map)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When it is no map, of no kind we know, or its metadata has a wrong type.
    pub fn from_value(value: Value) -> Result<Self, ObjectError> {
        let Value::Object(mut map) = value else {
            return Err(ObjectError::Type { path: "(root)".into(), expected: "a map" });
        };
        let mut take = |key: &str| match map.remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (api_version, kind) = (take("apiVersion"), take("kind"));
        let kind = Kind::of_manifest(&api_version, &kind)
            .ok_or(ObjectError::Kind { api_version, kind })?;
        let meta = Meta::from_value(map.remove("metadata").unwrap_or_default())?;
        Ok(Self { kind, meta, body: Arc::new(map) })
    }
}

impl fmt::Debug for Object {
    /// Names the object only: bodies may hold secrets, and are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (rv {})", self.kind, self.full_name(), self.meta.resource_version)
    }
}

impl Meta {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        if !self.name.is_empty() {
            put("name", (*self.name).into());
        }
        if let Some(prefix) = &self.generate_name {
            put("generateName", (**prefix).into());
        }
        if !self.namespace.is_empty() {
            put("namespace", (*self.namespace).into());
        }
        if !self.uid.is_empty() {
            put("uid", (*self.uid).into());
        }
        if self.resource_version != 0 {
            put("resourceVersion", self.resource_version.to_string().into());
        }
        if self.generation != 0 {
            put("generation", self.generation.into());
        }
        if let Some(time) = self.created_at {
            put("creationTimestamp", time_text(time).into());
        }
        if let Some(time) = self.deleted_at {
            put("deletionTimestamp", time_text(time).into());
        }
        if let Some(seconds) = self.deletion_grace_seconds {
            put("deletionGracePeriodSeconds", seconds.into());
        }
        if !self.labels.is_empty() {
            put("labels", json!(*self.labels));
        }
        if !self.annotations.is_empty() {
            put("annotations", json!(*self.annotations));
        }
        if !self.owners.is_empty() {
            put("ownerReferences", self.owners.iter().map(OwnerRef::to_value).collect());
        }
        if !self.finalizers.is_empty() {
            put("finalizers", json!(*self.finalizers));
        }
        if !self.managed.is_empty() {
            put("managedFields", self.managed.iter().map(Managed::to_value).collect());
        }
        Value::Object(map)
    }

    fn from_value(value: Value) -> Result<Self, ObjectError> {
        let reader = MetaReader(match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            _ => {
                return Err(ObjectError::Type { path: "metadata".into(), expected: "a map" });
            }
        });
        Ok(Self {
            name: reader.text("name")?.unwrap_or_default().into(),
            generate_name: reader.text("generateName")?.map(Arc::from),
            namespace: reader.text("namespace")?.unwrap_or_default().into(),
            uid: reader.text("uid")?.unwrap_or_default().into(),
            resource_version: match reader.text("resourceVersion")? {
                None | Some("") => 0,
                Some(text) => text
                    .parse()
                    .map_err(|_| reader.wrong("resourceVersion", "a number in quotes"))?,
            },
            generation: reader.int("generation")?.unwrap_or_default(),
            created_at: reader.time("creationTimestamp")?,
            deleted_at: reader.time("deletionTimestamp")?,
            deletion_grace_seconds: reader.int("deletionGracePeriodSeconds")?,
            labels: Arc::new(reader.strings("labels")?),
            annotations: Arc::new(reader.strings("annotations")?),
            owners: Arc::new(
                reader.list("ownerReferences")?.iter().map(OwnerRef::from_value).collect(),
            ),
            finalizers: Arc::new(
                reader
                    .list("finalizers")?
                    .iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect(),
            ),
            managed: Arc::new(
                reader.list("managedFields")?.iter().map(Managed::from_value).collect(),
            ),
        })
    }
}

struct MetaReader(Map<String, Value>);

impl MetaReader {
    fn wrong(&self, key: &str, expected: &'static str) -> ObjectError {
        ObjectError::Type { path: format!("metadata.{key}"), expected }
    }
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }
    fn text(&self, key: &str) -> Result<Option<&str>, ObjectError> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| self.wrong(key, "text"))).transpose()
    }
    fn int(&self, key: &str) -> Result<Option<i64>, ObjectError> {
        self.get(key).map(|v| v.as_i64().ok_or_else(|| self.wrong(key, "an integer"))).transpose()
    }
    fn time(&self, key: &str) -> Result<Option<Timestamp>, ObjectError> {
        let wrong = || self.wrong(key, "a time such as 2026-01-31T23:59:59Z");
        self.text(key)?.map(|t| t.parse().map_err(|_| wrong())).transpose()
    }
    fn strings(&self, key: &str) -> Result<StringMap, ObjectError> {
        let wrong = || self.wrong(key, "a map of text to text");
        let Some(value) = self.get(key) else {
            return Ok(StringMap::new());
        };
        let map = value.as_object().ok_or_else(wrong)?;
        map.iter().map(|(k, v)| Ok((k.clone(), v.as_str().ok_or_else(wrong)?.to_owned()))).collect()
    }
    fn list(&self, key: &str) -> Result<&[Value], ObjectError> {
        let Some(value) = self.get(key) else {
            return Ok(&[]);
        };
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(key, "a list"))
    }
}

impl OwnerRef {
    /// The reference that makes `owner` the managing controller, as every object of a cluster has it.
    #[must_use]
    pub fn controller_of(owner: &Object) -> Self {
        Self { controller: Some(true), block_owner_deletion: Some(true), ..Self::plain(owner) }
    }

    /// A reference for garbage collection alone; several owners can share an object by it.
    #[must_use]
    pub fn plain(owner: &Object) -> Self {
        Self {
            api_version: owner.kind.api_version().into(),
            kind: owner.kind.name().into(),
            name: owner.meta.name.to_string(),
            uid: owner.meta.uid.clone(),
            controller: None,
            block_owner_deletion: None,
        }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": &*self.uid,
        });
        if let Some(controller) = self.controller {
            value["controller"] = controller.into();
        }
        if let Some(block) = self.block_owner_deletion {
            value["blockOwnerDeletion"] = block.into();
        }
        value
    }

    fn from_value(value: &Value) -> Self {
        let text =
            |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid").into(),
            controller: value.get("controller").and_then(Value::as_bool),
            block_owner_deletion: value.get("blockOwnerDeletion").and_then(Value::as_bool),
        }
    }
}

impl Managed {
    fn to_value(&self) -> Value {
        let mut value = json!({
            "manager": &*self.manager,
            "operation": if self.apply { "Apply" } else { "Update" },
            "apiVersion": &*self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_value(),
        });
        if let Some(time) = self.time {
            value["time"] = time_text(time).into();
        }
        if !self.subresource.is_empty() {
            value["subresource"] = (*self.subresource).into();
        }
        value
    }

    fn from_value(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            manager: text("manager").into(),
            apply: text("operation") == "Apply",
            subresource: text("subresource").into(),
            api_version: text("apiVersion").into(),
            time: text("time").parse().ok(),
            fields: Arc::new(FieldSet::from_value(value.get("fieldsV1").unwrap_or(&Value::Null))),
        }
    }
}

/// A time as Kubernetes writes it: RFC 3339 in UTC with whole seconds.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_survives_a_round_trip() {
        let wire = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {
                "name": "hippo-00-abcd", "namespace": "db", "uid": "u1", "resourceVersion": "7",
                "generation": 2, "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["x/y"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u0",
                    "controller": true, "blockOwnerDeletion": true}],
                "managedFields": [{"manager": "m", "operation": "Apply", "apiVersion": "apps/v1",
                    "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}}}],
            },
            "spec": {"replicas": 1},
        });
        let object = Object::from_value(wire.clone()).expect("readable");
        assert_eq!(object.to_value(), wire);
        assert_eq!(object.i64_at(&["spec", "replicas"]), Some(1));
        assert!(object.controlled_by("u0"));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let wire = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}});
        let error = Object::from_value(wire).expect_err("must fail");
        assert_eq!(error.to_string(), "metadata.labels: expected a map of text to text");
    }
}
