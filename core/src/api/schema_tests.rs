//! The definitions against the written contract in `tests/fixtures/paths.txt`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::{crd_ivorycluster, crd_ivyupgrade, embedded};

const CONTRACT: &str = include_str!("../../tests/fixtures/paths.txt");

/// The two schemas, by kind.
pub(super) fn schemas() -> [(&'static str, Value); 2] {
    let schema = |crd: Value| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    [("IvoryCluster", schema(crd_ivorycluster())), ("IvyUpgrade", schema(crd_ivyupgrade()))]
}

fn fields(schema: &Value) -> BTreeSet<String> {
    let all = schema["properties"].as_object();
    all.into_iter().flat_map(|all| all.keys().cloned()).collect()
}

/// The Kubernetes types that occur, each known by its fields. Projections of ConfigMaps and of
/// Secrets have the same ones.
fn kubernetes_types() -> BTreeMap<BTreeSet<String>, &'static str> {
    fn of<T: JsonSchema>(name: &'static str) -> (BTreeSet<String>, &'static str) {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        (fields(schema.as_value()), name)
    }
    BTreeMap::from([
        of::<v1::Affinity>("Affinity"),
        of::<v1::Container>("Container"),
        of::<v1::LocalObjectReference>("LocalObjectReference"),
        of::<v1::PersistentVolumeClaimSpec>("PersistentVolumeClaimSpec"),
        of::<v1::ResourceRequirements>("ResourceRequirements"),
        of::<v1::SecretKeySelector>("SecretKeySelector"),
        of::<v1::SecretProjection>("Projection"),
        of::<v1::Toleration>("Toleration"),
        of::<v1::TopologySpreadConstraint>("TopologySpreadConstraint"),
        of::<v1::VolumeProjection>("VolumeProjection"),
        of::<Condition>("Condition"),
    ])
}

/// Writes every field below a schema in the words of the contract.
struct Writer {
    kubernetes: BTreeMap<BTreeSet<String>, &'static str>,
    lines: BTreeSet<String>,
    /// The names of fields that hold a Kubernetes type.
    embedded: BTreeSet<String>,
}

impl Writer {
    /// Writes the fields of `spec` and `status`.
    fn object(&mut self, kind: &str, schema: &Value) {
        for part in fields(schema) {
            self.below(&format!("{kind}.{part}"), &schema["properties"][part]);
        }
    }

    fn below(&mut self, path: &str, schema: &Value) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let is_list = field["type"] == "array";
            let (content, brackets) = match is_list {
                true => (&field["items"], "[]"),
                false => (field, ""),
            };
            let known = self.kubernetes.get(&fields(content)).copied();
            let word = known.map_or_else(|| word(content), str::to_owned);
            let mut line = format!("{path} {brackets}{word}");
            if required.contains(&json!(name)) {
                line += " required";
            }
            line += &marks(field, "");
            if is_list {
                line += &marks(content, "item-");
            }
            self.lines.insert(line);
            if known.is_some() {
                self.embedded.insert(name.clone());
            } else {
                self.below(&format!("{path}{brackets}"), content);
            }
        }
    }
}

/// The type of a field that is no Kubernetes type.
fn word(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "IntOrString".to_owned();
    }
    let word = schema["type"].as_str().unwrap_or("untyped").to_owned();
    match schema["additionalProperties"]["type"].as_str() {
        Some(values) => format!("map[string]{values}"),
        None if schema["format"] == "date-time" => format!("{word}-date-time"),
        None => word,
    }
}

/// Defaults and limits of a field.
fn marks(schema: &Value, prefix: &str) -> String {
    let mut line = String::new();
    let mut mark = |text: String| line += &format!(" {prefix}{text}");
    if let Some(default) = schema.get("default") {
        mark(format!("default={default}"));
    }
    for (key, name) in [
        ("minimum", "min"),
        ("maximum", "max"),
        ("minLength", "minLength"),
        ("maxLength", "maxLength"),
        ("minItems", "minItems"),
        ("maxItems", "maxItems"),
        ("pattern", "pattern"),
    ] {
        match &schema[key] {
            Value::Null => {}
            Value::String(text) => mark(format!("{name}={text}")),
            other => mark(format!("{name}={other}")),
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        mark(format!("enum={}", values.join("|")));
    }
    match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = &schema["x-kubernetes-list-map-keys"];
            mark(format!("key={}", keys[0].as_str().unwrap_or("?")));
        }
        Some(other) => mark(other.to_owned()),
        None => {}
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        mark("free-form".to_owned());
    }
    let resources = &schema["properties"]["resources"];
    if schema["required"] == json!(["accessModes", "resources"])
        && schema["properties"]["accessModes"]["minItems"] == 1
        && resources["required"] == json!(["requests"])
        && resources["properties"]["requests"]["required"] == json!(["storage"])
    {
        mark("strict".to_owned());
    }
    line
}

fn written() -> Writer {
    let mut writer = Writer {
        kubernetes: kubernetes_types(),
        lines: BTreeSet::new(),
        embedded: BTreeSet::new(),
    };
    for (kind, schema) in schemas() {
        writer.object(kind, &schema);
    }
    writer
}

#[test]
fn fields_defaults_and_limits_are_the_contract() {
    let contract = CONTRACT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let contract: BTreeSet<String> = contract.map(str::to_owned).collect();
    let written = written().lines;
    let missing = contract.difference(&written).map(|line| format!("- {line}"));
    let extra = written.difference(&contract).map(|line| format!("+ {line}"));
    let mut all: Vec<_> = missing.chain(extra).collect();
    all.sort_by(|a, b| a[2..].cmp(&b[2..]));
    assert!(all.is_empty(), "contract (-) and schema (+) differ:\n{}", all.join("\n"));
}

#[test]
fn embedded_fields_are_the_ones_that_hold_kubernetes_types() {
    let known: BTreeSet<_> = embedded::FIELDS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(written().embedded, known);
}

/// Calls `visit` with the path and schema of every field, those of Kubernetes types included.
fn every_field(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        every_field(&path, field, visit);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            every_field(&format!("{path}[]"), &schema[key], visit);
        }
    }
}

#[test]
fn every_field_explains_itself() {
    let mut silent = Vec::new();
    for (kind, schema) in schemas() {
        every_field(kind, &schema, &mut |path, field| {
            let text = field["description"].as_str().unwrap_or_default();
            if text.trim().len() < 5 {
                silent.push(path.to_owned());
            }
        });
    }
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

#[test]
fn every_field_has_a_type_and_may_not_be_null() {
    for (kind, schema) in schemas() {
        every_field(kind, &schema, &mut |path, field| {
            let any = field["x-kubernetes-int-or-string"] == true;
            assert!(any || field["type"].is_string(), "{path}");
            assert_eq!(field.get("nullable"), None, "{path}");
        });
    }
}

#[test]
fn definitions_are_the_same_every_time_and_fit_into_the_store() {
    for crd in [crd_ivorycluster, crd_ivyupgrade] {
        let bytes = crd().to_string();
        assert_eq!(bytes, crd().to_string());
        // etcd takes 1.5 MiB; Helm and kustomize users are glad of less.
        assert!(bytes.len() < 512 * 1024, "{} bytes", bytes.len());
    }
}
