//! A world of a page for the player's own tests: objects in a map, an "operator" that makes an instance's
//! objects a while after the cluster is applied, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, Object, labels};
use serde_json::{Value, json};

use super::driver::{Ask, Break, ClientFacts, Driver, Refusal};
use super::language::{ClientSpec, SqlAsk};
use super::resolve::Ref;
use crate::time::{Span, Time};
use crate::world::journal::{Entry, Milestone};
use crate::world::{Finding, KubeId};

#[derive(Default)]
pub struct Fake {
    pub objects: BTreeMap<Ref, Arc<Object>>,
    pub journal: Vec<Entry>,
    pub clients: BTreeMap<String, ClientFacts>,
    pub broken: Vec<Break>,
    pub findings: Vec<Finding>,
    now: Span,
    version: u64,
    /// What happens by itself, and when.
    pub later: Vec<(Span, Value)>,
}

impl Fake {
    pub fn put(&mut self, value: Value) {
        let object = Object::from_value(value).expect("an object");
        let r = Ref {
            kind: object.kind,
            namespace: object.meta.namespace.to_string(),
            name: object.meta.name.to_string(),
        };
        self.version += 1;
        self.objects.insert(r, Arc::new(object));
    }

    fn note(&mut self, what: Milestone) {
        let at = self.now();
        self.journal.push(Entry { at, kube: KubeId(0), actor: "operator".into(), what });
    }
}

/// A Pod of an instance, and what Patroni writes on it.
pub fn pod(instance: &str, role: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{instance}-0"), "namespace": "ivory-operator",
            "labels": {
                (labels::CLUSTER): "hippo", (labels::INSTANCE): instance,
                (labels::INSTANCE_SET): "instance1", (labels::ROLE): role,
            },
            "annotations": {"status": "{\"timeline\":1}"},
        },
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

impl Driver for Fake {
    fn now(&self) -> Time {
        Time::START + self.now
    }
    fn kubes(&self) -> usize {
        1
    }
    fn advance_to(&mut self, until: Time) {
        let until = until - Time::START;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= until);
        self.later = later;
        for (at, value) in due {
            self.now = at;
            let object = format!(
                "{} {}",
                value["kind"].as_str().unwrap_or_default(),
                value["metadata"]["name"].as_str().unwrap_or_default()
            );
            self.put(value);
            self.note(Milestone::Wrote {
                cluster: "hippo".into(),
                step: "Instances",
                verb: "create",
                reason: format!("{object} is missing"),
                object,
            });
        }
        self.now = self.now.max(until);
    }
    fn ask(&mut self, _: KubeId, ask: &Ask) -> Result<(), Refusal> {
        let missing = |r: &Ref| Refusal {
            code: 404,
            message: format!("{} {} not found", r.kind, r.name),
            fields: Vec::new(),
        };
        match ask {
            Ask::Apply(object) => self.put(object.to_value()),
            Ask::Merge { of, with } => {
                let old = self.objects.get(of).ok_or_else(|| missing(of))?;
                let mut value = old.to_value();
                json_patch::merge(&mut value, with);
                self.put(value);
            }
            Ask::Delete { of, .. } => {
                self.objects.remove(of).ok_or_else(|| missing(of))?;
                self.version += 1;
            }
        }
        Ok(())
    }
    fn get(&self, _: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let r = Ref { kind, namespace, name };
        self.objects.get(&r).cloned()
    }
    fn list(&self, _: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let of = |r: &Ref| r.kind == kind && namespace.is_none_or(|n| n == r.namespace);
        let found = self.objects.iter().filter(|(r, _)| of(r));
        found.map(|(_, o)| o.clone()).collect()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn journal(&self) -> &[Entry] {
        &self.journal
    }
    fn remark(&mut self, what: Milestone) {
        self.note(what);
    }
    fn fault(&mut self, _: KubeId, fault: &Break) -> Result<(), String> {
        self.broken.push(fault.clone());
        if let Break::KillPod(_, pod) = fault {
            self.note(Milestone::PodGone { pod: pod.as_str().into() });
        }
        Ok(())
    }
    fn connect(&mut self, _: KubeId, client: &ClientSpec) -> Result<(), String> {
        let facts = ClientFacts {
            acknowledged: 10,
            lost_rows: 1,
            longest_gap: Span::ms(2_500),
            writes: true,
        };
        self.clients.insert(client.name.clone(), facts);
        Ok(())
    }
    fn disconnect(&mut self, _: &str) {}
    fn client(&self, name: &str) -> Option<ClientFacts> {
        self.clients.get(name).copied()
    }
    fn sql(&mut self, _: KubeId, _: &str, secret: &str, _: &SqlAsk) -> Result<(), String> {
        match secret {
            "hippo-pguser-hippo" => Ok(()),
            other => Err(format!("there is no Secret {other}")),
        }
    }
    fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }
    fn digest(&self) -> u64 {
        self.journal.len() as u64
    }
    fn trace(&self) -> &str {
        ""
    }
}
