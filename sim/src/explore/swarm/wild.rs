//! Edits that nobody would think of: any field of the custom resource, by its own schema. What they ask for need not
//! make sense, so a cluster may fail to become ready until they are taken back; taking them back must heal it.

use std::sync::OnceLock;

use ivory_core::api;
use serde_json::{Map, Value, json};

use super::dice::Dice;

/// How deep a drawn value may be.
const DEPTH_MAX: u32 = 7;

/// Draws fields of the spec.
pub struct Wild {
    dice: Dice,
}

impl Wild {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed, "wild") }
    }

    /// Something to merge into this spec: one field of it or of its first set, with a value that its schema allows
    /// as far as types, bounds and enumerations go.
    pub fn draw(&mut self, spec: &Value) -> Value {
        if self.dice.percent(40) {
            let mut sets = spec["instances"].clone();
            let more = self.field(&schema()["properties"]["instances"]["items"]);
            if let Some(first) = sets.get_mut(0) {
                json_patch::merge(first, &more);
            }
            return json!({"instances": sets});
        }
        self.field(schema())
    }

    fn field(&mut self, schema: &Value) -> Value {
        let properties = schema["properties"].as_object();
        let Some(properties) = properties.filter(|p| !p.is_empty()) else { return json!({}) };
        let names: Vec<&String> = properties.keys().filter(|k| !lasting(k)).collect();
        let name = self.dice.one(&names);
        json!({name: self.value(&properties[name], 0)})
    }

    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        if let Some(of) = schema["enum"].as_array().filter(|e| !e.is_empty()) {
            return self.dice.one(of);
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return self.dice.one(&[json!(1), json!("50%"), json!("1Gi"), json!(5432)]);
        }
        match schema["type"].as_str().unwrap_or_default() {
            "boolean" => self.dice.percent(50).into(),
            "integer" | "number" => {
                let least = schema["minimum"].as_i64().unwrap_or(0).max(0);
                let most = schema["maximum"].as_i64().unwrap_or(least + 20).max(least);
                let most = most.min(least + 70_000);
                (least + self.dice.below((most - least + 1).unsigned_abs()).cast_signed()).into()
            }
            "array" => {
                let many = self.dice.between(1, 2);
                (0..many).map(|_| self.value(&schema["items"], depth + 1)).collect()
            }
            "object" => self.map(schema, depth),
            _ => self.text(schema),
        }
    }

    fn map(&mut self, schema: &Value, depth: u32) -> Value {
        let mut map = Map::new();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(properties) = schema["properties"].as_object() else {
            if schema["additionalProperties"].is_object() {
                let value = self.value(&schema["additionalProperties"], depth + 1);
                map.insert(self.dice.one(&["a", "example.com/b"]).to_owned(), value);
            }
            return map.into();
        };
        // One of the optional fields beside the required ones, so that a value says one thing.
        let optional: Vec<&String> =
            properties.keys().filter(|k| !required.contains(&k.as_str())).collect();
        let chosen = match optional.is_empty() || depth >= DEPTH_MAX {
            true => None,
            false => Some(self.dice.one(&optional).clone()),
        };
        for (name, schema) in properties {
            if required.contains(&name.as_str()) || chosen.as_ref() == Some(name) {
                map.insert(name.clone(), self.value(schema, depth + 1));
            }
        }
        map.into()
    }

    fn text(&mut self, schema: &Value) -> Value {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        if pattern.contains("repo[1-4]") {
            return "repo1".into();
        }
        let texts = [
            "a",
            "hippo",
            "1",
            "1Gi",
            "100m",
            "on",
            "example.com/x",
            "kubernetes.io/hostname",
            "",
            "*/5 * * * *",
            "In",
            "Always",
            "no-such-thing",
        ];
        self.dice.one(&texts).into()
    }
}

/// Fields that can't be taken back by their nature: the version of a data directory, whose copy a cluster is, what is
/// on volumes, and users, whose Secret with the password that an application holds goes with them; and the sets, which
/// are drawn apart.
fn lasting(name: &str) -> bool {
    matches!(
        name,
        "postgresVersion"
            | "dataSource"
            | "standby"
            | "instances"
            | "backups"
            | "users"
            | "name"
            | "dataVolumeClaimSpec"
            | "walVolumeClaimSpec"
    )
}

/// The schema of the spec, as the API server has it.
fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let crd = api::crd_ivorycluster();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    })
}
