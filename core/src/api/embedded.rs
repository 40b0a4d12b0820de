//! What the schemas of Kubernetes' own types lack when derived from Rust types: the form of
//! quantities, keys of lists, descriptions, and the demands on volume claims. It does not take
//! newer fields away: what a newer Kubernetes understands may be used.

use serde_json::{Map, Value, json};

/// Where a volume claim must say how it may be accessed and how much storage it wants.
pub(super) const STRICT_CLAIMS: &[&str] = &[
    "spec.instances[].dataVolumeClaimSpec",
    "spec.instances[].walVolumeClaimSpec",
    "spec.backups.pgbackrest.repos[].volume.volumeClaimSpec",
];

/// Our fields whose content is a Kubernetes type, or a list of one.
pub(super) const FIELDS: &[&str] = &[
    "affinity",
    "conditions",
    "configuration",
    "containers",
    "customReplicationTLSSecret",
    "customTLSSecret",
    "dataVolumeClaimSpec",
    "files",
    "imagePullSecrets",
    "ldapBindPassword",
    "resources",
    "sshConfigMap",
    "sshSecret",
    "tolerations",
    "topologySpreadConstraints",
    "volumeClaimSpec",
    "walVolumeClaimSpec",
];

/// The form of a quantity, from the API server's own schemas.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Adds to one schema what its Rust type could not say.
pub(super) fn complete(map: &mut Map<String, Value>) {
    quantity(map);
    container_ports(map);
}

/// Shortens what would make the definition twice as large as it need be. Within a Kubernetes type
/// a description is cut after its first sentence; the rest is where the type is at home, for
/// example `kubectl explain pod.spec.affinity`. The items of a list have none, as the list has one.
pub(super) fn shorten(schema: &mut Value) {
    shorten_within(schema, false);
}

fn shorten_within(schema: &mut Value, is_kubernetes: bool) {
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            inner.remove("description");
            shorten_within(&mut schema[key], is_kubernetes);
        }
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (name, field) in properties {
        if is_kubernetes && let Some(Value::String(text)) = field.get_mut("description") {
            text.truncate(first_sentence(text).len());
        }
        shorten_within(field, is_kubernetes || FIELDS.contains(&name.as_str()));
    }
}

/// The text up to the first full stop before a capital letter, so that `e.g.` ends no sentence.
fn first_sentence(text: &str) -> &str {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let mut ends = paragraph.match_indices(". ").map(|(at, _)| at + 1);
    let end = ends.find(|&at| paragraph[at + 1..].starts_with(char::is_uppercase));
    &paragraph[..end.unwrap_or(paragraph.len())]
}

/// Quantities get their pattern, and a short description in place of their grammar, which would
/// stand in the definition some fifty times.
fn quantity(map: &mut Map<String, Value>) {
    let Some(Value::String(description)) = map.get_mut("description") else {
        return;
    };
    if description.starts_with("Quantity is a fixed-point") {
        *description = "An amount, for example 500m, 2 or 10Gi.".to_owned();
        map.insert("pattern".into(), QUANTITY.into());
        map.insert("anyOf".into(), json!([{ "type": "integer" }, { "type": "string" }]));
    }
}

/// Ports of a container are one entry for each number and protocol, as in a Pod, so that several
/// appliers can each own some.
fn container_ports(map: &mut Map<String, Value>) {
    let is_port = |items: &Value| {
        let fields = &items["properties"];
        fields.get("containerPort").is_some() && fields.get("hostPort").is_some()
    };
    if let Some(items) = map.get_mut("items").filter(|items| is_port(items)) {
        items["properties"]["protocol"]["default"] = json!("TCP");
        map.insert("x-kubernetes-list-type".into(), json!("map"));
        map.insert("x-kubernetes-list-map-keys".into(), json!(["containerPort", "protocol"]));
    }
}

/// Makes the access modes and the storage request of a volume claim mandatory: without them the
/// claim would be refused later, where the user doesn't look.
pub(super) fn require_storage(claim: &mut Value) {
    claim["required"] = json!(["accessModes", "resources"]);
    claim["properties"]["accessModes"]["minItems"] = json!(1);
    let resources = &mut claim["properties"]["resources"];
    resources["required"] = json!(["requests"]);
    resources["properties"]["requests"]["required"] = json!(["storage"]);
}
