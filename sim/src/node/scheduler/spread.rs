//! Topology spread constraints: `DoNotSchedule` refuses nodes, `ScheduleAnyway` scores them.

use std::collections::BTreeMap;

use ivory_core::Object;
use serde_json::Value;

use super::view::{NodeView, affine, untolerated};
use crate::node::json::{int, items, list, text};
use crate::node::selector::labels_match;

/// Why a node is refused.
pub const REFUSED: &str = "node(s) didn't match pod topology spread constraints";
/// Why a node without the topology label is refused.
pub const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// The hard constraints of a Pod, counted over all nodes once.
pub struct Hard<'a> {
    constraints: Vec<(&'a Value, BTreeMap<String, i64>, bool)>,
}

impl<'a> Hard<'a> {
    /// Counts matching Pods in each domain of the eligible nodes.
    pub fn of(pod: &'a Object, nodes: &[NodeView]) -> Self {
        let hard: Vec<_> = constraints(pod, "DoNotSchedule").collect();
        let count = |constraint: &'a Value| {
            let mut domains = BTreeMap::new();
            for node in nodes.iter().filter(|n| eligible(pod, constraint, n)) {
                if !hard.iter().all(|c| node.domain(key_of(c)).is_some()) {
                    continue;
                }
                if let Some(domain) = node.domain(key_of(constraint)) {
                    *domains.entry(domain.to_owned()).or_default() +=
                        matching(constraint, pod, node);
                }
            }
            (constraint, domains, selects(constraint, pod, pod))
        };
        Self { constraints: hard.iter().map(|c| count(c)).collect() }
    }

    /// Why the Pod can't be on a node, if it can't.
    pub fn refusal(&self, node: &NodeView) -> Option<&'static str> {
        for (constraint, domains, itself) in &self.constraints {
            let Some(domain) = node.domain(key_of(constraint)) else {
                return Some(NO_LABEL);
            };
            let domains_wanted = int(constraint, &["minDomains"]).unwrap_or(1);
            let enough = i64::try_from(domains.len()).is_ok_and(|n| n >= domains_wanted);
            let least = if enough { domains.values().min().copied().unwrap_or(0) } else { 0 };
            let here = domains.get(domain).copied().unwrap_or(0) + i64::from(*itself);
            if here - least > int(constraint, &["maxSkew"]).unwrap_or(1) {
                return Some(REFUSED);
            }
        }
        None
    }
}

/// The soft constraints' score of every feasible node, 0 to 100; none when the Pod has no such constraint.
pub fn score(pod: &Object, all: &[NodeView], feasible: &[&NodeView]) -> Option<Vec<i64>> {
    let soft: Vec<_> = constraints(pod, "ScheduleAnyway").collect();
    if soft.is_empty() {
        return None;
    }
    let has_all = |node: &NodeView| soft.iter().all(|c| node.domain(key_of(c)).is_some());
    let mut raw = vec![0.0_f64; feasible.len()];
    for constraint in &soft {
        let key = key_of(constraint);
        let mut domains: BTreeMap<&str, i64> = feasible
            .iter()
            .filter(|n| has_all(n))
            .filter_map(|n| Some((n.domain(key)?, 0)))
            .collect();
        // Fewer domains weigh less: a difference of one matters more among many nodes than among two zones.
        #[allow(clippy::cast_precision_loss)]
        let weight = ((domains.len() + 2) as f64).ln();
        for node in all.iter().filter(|n| has_all(n) && eligible(pod, constraint, n)) {
            if let Some(count) = node.domain(key).and_then(|d| domains.get_mut(d)) {
                *count += matching(constraint, pod, node);
            }
        }
        let skew = int(constraint, &["maxSkew"]).unwrap_or(1);
        for (score, node) in raw.iter_mut().zip(feasible) {
            if let Some(count) = node.domain(key).and_then(|d| domains.get(d)) {
                #[allow(clippy::cast_precision_loss)]
                let part = *count as f64 * weight + (skew - 1) as f64;
                *score += part;
            }
        }
    }
    #[allow(clippy::cast_possible_truncation)]
    let rounded: Vec<Option<i64>> = raw
        .iter()
        .zip(feasible)
        .map(|(score, node)| has_all(node).then_some(score.round() as i64))
        .collect();
    let max = rounded.iter().flatten().max().copied().unwrap_or(0);
    let min = rounded.iter().flatten().min().copied().unwrap_or(0);
    let normal = |score: &Option<i64>| match score {
        None => 0,
        Some(_) if max == 0 => 100,
        Some(score) => 100 * (max + min - score) / max,
    };
    Some(rounded.iter().map(normal).collect())
}

fn constraints<'a>(pod: &'a Object, when: &'a str) -> impl Iterator<Item = &'a Value> {
    items(pod, &["spec", "topologySpreadConstraints"])
        .iter()
        .filter(move |c| text(c, &["whenUnsatisfiable"]).unwrap_or("DoNotSchedule") == when)
}

fn key_of(constraint: &Value) -> &str {
    text(constraint, &["topologyKey"]).unwrap_or_default()
}

/// Whether a node's Pods count at all.
fn eligible(pod: &Object, constraint: &Value, node: &NodeView) -> bool {
    let affinity = text(constraint, &["nodeAffinityPolicy"]).unwrap_or("Honor") == "Honor";
    let taints = text(constraint, &["nodeTaintsPolicy"]).unwrap_or("Ignore") == "Honor";
    (!affinity || affine(pod, &node.node))
        && (!taints || untolerated(pod, &node.node, &["NoSchedule", "NoExecute"]).is_none())
}

/// How many Pods of a node a constraint counts; terminating ones don't count.
fn matching(constraint: &Value, pod: &Object, node: &NodeView) -> i64 {
    let counted =
        |other: &&std::sync::Arc<Object>| !other.terminating() && selects(constraint, pod, other);
    i64::try_from(node.pods.iter().filter(counted).count()).unwrap_or(i64::MAX)
}

fn selects(constraint: &Value, pod: &Object, other: &Object) -> bool {
    pod.meta.namespace == other.meta.namespace
        && labels_match(constraint.get("labelSelector"), &other.meta.labels)
        && list(constraint, &["matchLabelKeys"]).iter().all(|key| {
            key.as_str()
                .is_none_or(|key| pod.label(key).is_none() || pod.label(key) == other.label(key))
        })
}
