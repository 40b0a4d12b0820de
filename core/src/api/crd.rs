//! The two CustomResourceDefinitions, made from the Rust types. The schema starts as the types'
//! own; `embedded` completes the Kubernetes types in it and `rules` adds the conditions that
//! span several fields. Nothing here depends on anything but the source, so the result is always
//! the same bytes.

use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use super::{IvoryCluster, IvyUpgrade, embedded, rules};

/// The CustomResourceDefinition of IvoryCluster, as `apiextensions.k8s.io/v1` JSON.
#[must_use]
pub fn crd_ivorycluster() -> Value {
    let mut crd = tidy_crd(json!(IvoryCluster::crd()));
    let schema = schema_mut(&mut crd);
    for path in embedded::STRICT_CLAIMS {
        embedded::require_storage(at_mut(schema, path));
    }
    rules::attach(schema, rules::IVORY_CLUSTER);
    crd
}

/// The CustomResourceDefinition of IvyUpgrade, as `apiextensions.k8s.io/v1` JSON.
#[must_use]
pub fn crd_ivyupgrade() -> Value {
    let mut crd = tidy_crd(json!(IvyUpgrade::crd()));
    rules::attach(schema_mut(&mut crd), rules::IVY_UPGRADE);
    crd
}

/// The schema in a definition, for the one version that there is.
fn schema_mut(crd: &mut Value) -> &mut Value {
    &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// The schema of a field: `spec.instances[].name`. The empty path is the whole object.
pub(super) fn at_mut<'a>(schema: &'a mut Value, path: &str) -> &'a mut Value {
    let mut here = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.strip_suffix("[]");
        here = &mut here["properties"][name.unwrap_or(step)];
        if name.is_some() {
            here = &mut here["items"];
        }
    }
    here
}

fn tidy_crd(mut crd: Value) -> Value {
    crd["metadata"]["labels"] = json!({ "app.kubernetes.io/name": "ivyo" });
    let schema = schema_mut(&mut crd);
    tidy(schema);
    embedded::shorten(schema);
    // As for the Go operator: an object without a specification may exist, so that metadata can
    // be managed apart from it.
    if let Some(root) = schema.as_object_mut() {
        root.remove("required");
        root.remove("title");
    }
    crd
}

/// Makes a derived schema read like one written for Kubernetes, here and in all that it contains.
fn tidy(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    // A null is then dropped by the API server before defaults are filled in, as it was for the
    // Go operator's definitions. With `nullable` it would be stored in place of the default.
    map.remove("nullable");
    for bound in ["minimum", "maximum"] {
        whole_number(map, bound);
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = one_line_paragraphs(text);
    }
    embedded::complete(map);
    for child in children_mut(map) {
        tidy(child);
    }
}

/// The schemas directly inside a schema: of its properties, of its items, of its values.
fn children_mut(map: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    map.iter_mut().flat_map(|(key, value)| match (key.as_str(), value) {
        ("properties", Value::Object(all)) => all.values_mut().collect(),
        ("items" | "additionalProperties", one) => vec![one],
        _ => vec![],
    })
}

/// Kubernetes' own types hold bounds as floating point numbers; people expect `1`, not `1.0`.
fn whole_number(map: &mut Map<String, Value>, key: &str) {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole; bounds are small")]
    if let Some(bound) = map.get_mut(key)
        && let Some(number) = bound.as_f64().filter(|number| number.fract() == 0.0)
    {
        *bound = json!(number as i64);
    }
}

/// Joins the lines of a source comment; `kubectl explain` breaks them anew.
fn one_line_paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let lines = paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n\n")
}
