//! Metadata of owned objects: who owns them, and whose labels win (`reference/api.md` §4.2).

use serde::Serialize;
use serde_json::Value;

use crate::api::shared::Metadata;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::labels;
use crate::object::{Object, OwnerRef, StringMap};

/// An object of a cluster: owned and labelled. Of the sources the later wins; the operator's own labels
/// win over all.
#[must_use]
pub fn owned(
    cluster: &Cluster,
    kind: Kind,
    name: &str,
    own_labels: &[(&str, &str)],
    sources: &[&Metadata],
) -> Object {
    let mut object = Object::new(kind, &cluster.namespace, name);
    let meta = &mut object.meta;
    meta.labels = labels_of(cluster, own_labels, sources).into();
    meta.annotations = annotations_of(sources).into();
    meta.owners = vec![OwnerRef::controller_of(&cluster.object)].into();
    object
}

/// The labels of an owned object, or of a Pod template.
#[must_use]
pub fn labels_of(cluster: &Cluster, own: &[(&str, &str)], sources: &[&Metadata]) -> StringMap {
    let mut labels: StringMap = sources.iter().flat_map(|s| s.labels.clone()).collect();
    labels.insert(labels::CLUSTER.to_owned(), cluster.name.clone());
    labels.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    labels
}

/// The annotations of an owned object, or of a Pod template.
#[must_use]
pub fn annotations_of(sources: &[&Metadata]) -> StringMap {
    sources.iter().flat_map(|s| s.annotations.clone()).collect()
}

impl Object {
    /// Sets a top-level field from a typed value.
    ///
    /// # Panics
    /// When the value can't be written as JSON, which Kubernetes' own types always can.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("Kubernetes types are JSON");
        self.body_mut().insert(field.to_owned(), canonical(value));
        self
    }
}

/// The form in which the API server would keep a value: quantities in canonical notation, no nulls.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.into_iter().filter(|(_, v)| !v.is_null());
            entries
                .map(|(key, v)| {
                    let v = if key == "requests" || key == "limits" {
                        quantities(v)
                    } else {
                        canonical(v)
                    };
                    (key, v)
                })
                .collect()
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        other => other,
    }
}

/// A map of quantities, each in canonical notation; what is no quantity stays for the API server to refuse.
fn quantities(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    map.into_iter()
        .map(|(key, v)| {
            let text = v.as_str().map(str::to_owned).unwrap_or_else(|| v.to_string());
            let kept = text.parse::<crate::quantity::Quantity>();
            (key, kept.map_or(v, |q| Value::String(q.to_string())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::canonical;

    #[test]
    fn quantities_are_written_as_the_server_keeps_them_and_nulls_are_not() {
        let written = json!({
            "requests": {"cpu": "1000m", "memory": "1024Mi", "storage": 1024},
            "limits": {"cpu": 2, "memory": "much"},
            "list": [{"requests": {"cpu": "0.5"}, "none": null}],
            "cpu": "1000m",
            "none": null,
        });
        let kept = json!({
            "requests": {"cpu": "1", "memory": "1Gi", "storage": "1024"},
            "limits": {"cpu": "2", "memory": "much"},
            "list": [{"requests": {"cpu": "500m"}}],
            "cpu": "1000m",
        });
        assert_eq!(canonical(written), kept);
    }
}
