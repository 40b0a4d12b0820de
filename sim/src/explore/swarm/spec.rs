//! The cluster of a drawn story, and the edits that people make in its life. Each edit is a whole manifest, as it
//! would be applied from a repository; each leads to a spec that can become ready.

use serde_json::{Value, json};

use super::dice::Dice;

/// The manifest that every story begins with.
const FILE: &str = "examples/kustomize/ivory/ivory.yaml";
const PREFIX: &str = "ivory-operator.ivorysql.org";

/// A cluster's spec as it was last applied.
pub struct Spec {
    spec: Value,
    metadata: Value,
    edits: u64,
    /// Whether its StorageClass lets volumes grow.
    expands: bool,
}

/// Parameters that Patroni leaves out, or that PostgreSQL does not start with.
const WRONG: [(&str, &str); 3] =
    [("work_mem", "lots"), ("timezone", "Mars/Phobos"), ("shared_preload_libraries", "nosuch")];

impl Spec {
    /// Draws a first one.
    pub fn draw(dice: &mut Dice, expands: bool) -> Self {
        let mut sets = vec![set("one", dice.between(1, 3))];
        if dice.percent(25) {
            sets[0]["walVolumeClaimSpec"] = claim(1);
        }
        if dice.percent(25) {
            sets.push(set("two", dice.between(1, 2)));
        }
        let mut spec = json!({"instances": sets});
        if dice.percent(30) {
            spec["patroni"] = json!({"dynamicConfiguration": {"synchronous_mode": true}});
        }
        Self { spec, metadata: json!({}), edits: 0, expands }
    }

    /// What `apply` takes.
    pub fn manifest(&self) -> Value {
        json!({"file": FILE, "with": {"metadata": self.metadata, "spec": self.spec}})
    }

    /// The same with something merged into its spec.
    pub fn with(&self, more: &Value) -> Value {
        let mut spec = self.spec.clone();
        json_patch::merge(&mut spec, more);
        json!({"file": FILE, "with": {"metadata": self.metadata, "spec": spec}})
    }

    /// The spec.
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// Whether failover never loses an acknowledged row: synchronous from the beginning on.
    pub fn synchronous(&self) -> bool {
        self.spec["patroni"]["dynamicConfiguration"]["synchronous_mode"] == true
            && self.spec["instances"].as_array().is_some_and(|s| s.len() > 1)
            && self.edits == 0
    }

    /// Ends what keeps a cluster from being ready by the user's own wish: a request for a switchover that one
    /// instance can't follow is refused for as long as it stands.
    pub fn settle(&mut self) {
        for key in ["paused", "shutdown"] {
            if let Some(spec) = self.spec.as_object_mut() {
                spec.remove(key);
            }
        }
        if let Some(patroni) = self.spec["patroni"].as_object_mut() {
            patroni.remove("switchover");
        }
        let parameters =
            self.spec.pointer_mut("/patroni/dynamicConfiguration/postgresql/parameters");
        if let Some(parameters) = parameters.and_then(Value::as_object_mut) {
            parameters.retain(|name, value| !WRONG.contains(&(name, value.as_str().unwrap_or(""))));
        }
    }

    /// Whether it sets parameters of which one hears what became of them.
    pub fn sets_parameters(&self) -> bool {
        let all = self.spec.pointer("/patroni/dynamicConfiguration/postgresql/parameters");
        let all = all.and_then(Value::as_object);
        all.is_some_and(|all| all.keys().any(|name| name != "max_connections"))
    }

    /// Changes something, and returns the step that applies it.
    pub fn edit(&mut self, dice: &mut Dice) -> Value {
        self.edits += 1;
        let number = self.edits;
        let sets = self.spec["instances"].as_array().map_or(1, Vec::len) as u64;
        let at = dice.below(sets) as usize;
        match dice.below(21) {
            0..4 => self.spec["instances"][at]["replicas"] = dice.between(1, 4).into(),
            4 => {
                let millicores = dice.between(1, 4) * 100;
                self.spec["instances"][at]["resources"] =
                    json!({"requests": {"cpu": format!("{millicores}m")}});
            }
            5 if self.expands => {
                self.spec["instances"][at]["dataVolumeClaimSpec"] = claim(1 + number);
            }
            6 => match self.spec["instances"][at].get("walVolumeClaimSpec").is_some() {
                true => {
                    if let Some(set) = self.spec["instances"][at].as_object_mut() {
                        set.remove("walVolumeClaimSpec");
                    }
                }
                false => self.spec["instances"][at]["walVolumeClaimSpec"] = claim(1),
            },
            7 => {
                if let Some(sets) = self.spec["instances"].as_array_mut() {
                    match sets.len() {
                        1 => sets.push(set("two", dice.between(1, 2))),
                        _ => drop(sets.pop()),
                    }
                }
            }
            8 => self.parameter("work_mem", &format!("{}MB", 4 + number)),
            9 => self.parameter("max_connections", &(100 + number * 10).to_string()),
            10 => self.parameter("shared_buffers", &format!("{}MB", 128 + number)),
            11 => {
                let on = self.spec["patroni"]["dynamicConfiguration"]["synchronous_mode"] == true;
                json_patch::merge(
                    &mut self.spec,
                    &json!({"patroni": {"dynamicConfiguration": {"synchronous_mode": !on}}}),
                );
            }
            12 => self.spec["metadata"] = json!({"labels": {"team": format!("t{number}")}}),
            13 => {
                let mut users = vec![json!({"name": "hippo", "databases": ["hippo"]})];
                for n in 0..dice.below(3) {
                    users.push(json!({"name": format!("user{n}"), "databases": ["zoo"]}));
                }
                self.spec["users"] = users.into();
            }
            14 => self.toggle("paused"),
            15 => self.toggle("shutdown"),
            16 => {
                json_patch::merge(
                    &mut self.spec,
                    &json!({"patroni": {"switchover": {"enabled": true}}}),
                );
                self.annotate("trigger-switchover", number);
            }
            17 => {
                self.spec["metadata"] = json!({"annotations": {"restarted": format!("{number}")}})
            }
            19 => {
                let (name, value) = dice.one(&WRONG);
                self.parameter(name, value);
            }
            18 => self.spec["service"] = json!({"type": dice.one(&["ClusterIP", "NodePort"])}),
            _ => self.spec["metadata"] = json!({"annotations": {"note": format!("n{number}")}}),
        }
        json!({"apply": self.manifest(), "optional": true})
    }

    fn toggle(&mut self, key: &str) {
        self.spec[key] = (self.spec[key] != true).into();
    }

    fn annotate(&mut self, key: &str, number: u64) {
        json_patch::merge(
            &mut self.metadata,
            &json!({"annotations": {format!("{PREFIX}/{key}"): format!("{number}")}}),
        );
    }

    fn parameter(&mut self, name: &str, value: &str) {
        let parameters = json!({"postgresql": {"parameters": {name: value}}});
        json_patch::merge(
            &mut self.spec,
            &json!({"patroni": {"dynamicConfiguration": parameters}}),
        );
    }
}

fn set(name: &str, replicas: u64) -> Value {
    json!({"name": name, "replicas": replicas, "dataVolumeClaimSpec": claim(1)})
}

fn claim(gibibytes: u64) -> Value {
    let requests = json!({"storage": format!("{gibibytes}Gi")});
    json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": requests}})
}
