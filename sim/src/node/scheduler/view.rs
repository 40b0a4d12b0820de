//! What one scheduling attempt looks at: nodes with the Pods on them and what those ask for.

use std::sync::Arc;

use ivory_core::Object;
use serde_json::Value;

use crate::node::json::{items, text};
use crate::node::quantity::milli_of;
use crate::node::selector::{node_matches, term_matches};

/// CPU, memory and number of Pods, the first two in thousandths.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: i128,
    /// Thousandths of a byte.
    pub memory: i128,
    /// Pods.
    pub pods: i128,
}

/// A node in a scheduling attempt.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The Node.
    pub node: Arc<Object>,
    /// The Pods bound to it that have not ended, the assumed ones too.
    pub pods: Vec<Arc<Object>>,
    /// What they ask for.
    pub requested: Resources,
    /// The same, Pods without requests counted as small ones; for scoring only.
    pub weighed: Resources,
    /// What the node has for Pods.
    pub allocatable: Resources,
}

impl NodeView {
    /// A node with Pods on it.
    pub fn new(node: Arc<Object>, pods: Vec<Arc<Object>>) -> Self {
        let (mut requested, mut weighed) = (Resources::default(), Resources::default());
        for pod in &pods {
            requested.add(requests(pod));
            weighed.add(weight(pod));
        }
        let has = |name: &str| milli_of(node.at(&["status", "allocatable", name]));
        let allocatable =
            Resources { cpu: has("cpu"), memory: has("memory"), pods: has("pods") / 1_000 };
        Self { node, pods, requested, weighed, allocatable }
    }

    /// The node's value of a topology key.
    pub fn domain(&self, key: &str) -> Option<&str> {
        self.node.label(key)
    }
}

impl Resources {
    /// Adds.
    pub fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.pods += other.pods;
    }
}

/// What a Pod asks for: the sum of its containers, or its greediest init container.
pub fn requests(pod: &Object) -> Resources {
    summed(pod, 0, 0)
}

/// What a Pod is taken to use in scoring: containers without a request count as 100m and 200Mi.
pub fn weight(pod: &Object) -> Resources {
    summed(pod, 100, (200 << 20) * 1_000)
}

fn summed(pod: &Object, cpu_default: i128, memory_default: i128) -> Resources {
    let of = |container: &Value, name: &str, default: i128| match crate::node::json::at(
        container,
        &["resources", "requests", name],
    ) {
        None => default,
        value => milli_of(value),
    };
    let mut all = Resources { pods: 1, ..Resources::default() };
    for container in items(pod, &["spec", "containers"]) {
        all.cpu += of(container, "cpu", cpu_default);
        all.memory += of(container, "memory", memory_default);
    }
    for container in items(pod, &["spec", "initContainers"]) {
        all.cpu = all.cpu.max(of(container, "cpu", cpu_default));
        all.memory = all.memory.max(of(container, "memory", memory_default));
    }
    all.cpu += milli_of(pod.at(&["spec", "overhead", "cpu"]));
    all.memory += milli_of(pod.at(&["spec", "overhead", "memory"]));
    all
}

/// The taint that keeps a Pod away, if one does: of an effect among `effects`, and not tolerated.
pub fn untolerated<'a>(pod: &Object, node: &'a Object, effects: &[&str]) -> Option<&'a Value> {
    let tolerations = items(pod, &["spec", "tolerations"]);
    items(node, &["spec", "taints"]).iter().find(|taint| {
        text(taint, &["effect"]).is_some_and(|e| effects.contains(&e))
            && !tolerations.iter().any(|t| tolerates(t, taint))
    })
}

/// How many taints of an effect a Pod does not tolerate.
pub fn untolerated_count(pod: &Object, node: &Object, effect: &str) -> i64 {
    let tolerations = items(pod, &["spec", "tolerations"]);
    let bad = items(node, &["spec", "taints"]).iter().filter(|taint| {
        text(taint, &["effect"]) == Some(effect) && !tolerations.iter().any(|t| tolerates(t, taint))
    });
    i64::try_from(bad.count()).unwrap_or(i64::MAX)
}

/// Whether a toleration tolerates a taint.
pub fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let of = |value: &Value, key: &str| text(value, &[key]).unwrap_or_default().to_owned();
    let (effect, key) = (of(toleration, "effect"), of(toleration, "key"));
    (effect.is_empty() || effect == of(taint, "effect"))
        && (key.is_empty() || key == of(taint, "key"))
        && match text(toleration, &["operator"]).unwrap_or("Equal") {
            "Exists" => true,
            _ => !key.is_empty() && of(toleration, "value") == of(taint, "value"),
        }
}

/// Whether a node satisfies a Pod's `nodeSelector` and required node affinity.
pub fn affine(pod: &Object, node: &Object) -> bool {
    let selector = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object);
    let required =
        ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    selector.is_none_or(|s| s.iter().all(|(k, v)| node.label(k) == v.as_str()))
        && pod.at(&required).is_none_or(|r| node_matches(r, node))
}

/// The sum of the weights of the preferred node affinity terms that a node satisfies.
pub fn affinity_weight(pod: &Object, node: &Object) -> i64 {
    let preferred =
        ["spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"];
    items(pod, &preferred)
        .iter()
        .filter(|p| p.get("preference").is_some_and(|t| term_matches(t, node)))
        .filter_map(|p| p.get("weight")?.as_i64())
        .sum()
}
