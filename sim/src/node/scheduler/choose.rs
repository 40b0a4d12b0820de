//! The choice of a node for one Pod: filters, then scores. A pure function of what is known; there is no
//! preemption, a Pod never drives another away.

use std::collections::BTreeMap;

use ivory_core::Object;

use super::affinity::{Required, preferences};
use super::claims::{self, Claim};
use super::spread::{self, Hard};
use super::view::{
    NodeView, Resources, affine, affinity_weight, requests, untolerated, untolerated_count, weight,
};
use crate::node::json::{int, items, text};

/// The best node's index, or why there is none, in the real scheduler's words.
///
/// # Errors
/// `0/3 nodes are available: 1 Insufficient cpu, 2 …`.
pub fn choose(pod: &Object, nodes: &[NodeView], claims: &[Claim]) -> Result<usize, String> {
    let (required, hard) = (Required::of(pod, nodes), Hard::of(pod, nodes));
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut feasible = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let refusals = refusals(pod, node, claims, &hard, &required);
        if refusals.is_empty() {
            feasible.push(index);
        }
        for reason in refusals {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let views: Vec<&NodeView> = feasible.iter().map(|i| &nodes[*i]).collect();
    let scores = scores(pod, nodes, &views);
    let best = feasible
        .iter()
        .zip(scores)
        .min_by_key(|(index, score)| (-score, nodes[**index].node.meta.name.clone()));
    match best {
        Some((index, _)) => Ok(*index),
        None => Err(refused(nodes.len(), &reasons)),
    }
}

/// The message for a Pod that no node takes.
fn refused(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut parts: Vec<_> = reasons.iter().map(|(why, n)| format!("{n} {why}")).collect();
    parts.sort();
    unavailable(nodes, &parts.join(", "))
}

/// The message's frame.
pub fn unavailable(nodes: usize, why: &str) -> String {
    format!("0/{nodes} nodes are available: {why}.")
}

/// The reasons of the first filter that refuses the node.
fn refusals(
    pod: &Object,
    view: &NodeView,
    claims: &[Claim],
    hard: &Hard<'_>,
    required: &Required<'_>,
) -> Vec<String> {
    let node = &*view.node;
    let unschedulable = serde_json::json!(
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    );
    let tolerated = || {
        items(pod, &["spec", "tolerations"])
            .iter()
            .any(|t| super::view::tolerates(t, &unschedulable))
    };
    if node.at(&["spec", "unschedulable"]) == Some(&true.into()) && !tolerated() {
        return vec!["node(s) were unschedulable".into()];
    }
    if let Some(taint) = untolerated(pod, node, &["NoSchedule", "NoExecute"]) {
        let of = |key: &str| text(taint, &[key]).unwrap_or_default();
        return vec![format!("node(s) had untolerated taint {{{}: {}}}", of("key"), of("value"))];
    }
    if !affine(pod, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".into()];
    }
    if taken_ports(pod, view) {
        return vec!["node(s) didn't have free ports for the requested pod ports".into()];
    }
    let lacking = lacking(requests(pod), view);
    if !lacking.is_empty() {
        return lacking;
    }
    claims::refusal(claims, node)
        .or_else(|| hard.refusal(view))
        .or_else(|| required.refusal(view))
        .map(|why| vec![why.to_owned()])
        .unwrap_or_default()
}

fn lacking(wanted: Resources, view: &NodeView) -> Vec<String> {
    let (used, has) = (view.requested, view.allocatable);
    let mut lacking = Vec::new();
    if used.pods + 1 > has.pods {
        lacking.push("Too many pods".to_owned());
    }
    if wanted.cpu > 0 && used.cpu + wanted.cpu > has.cpu {
        lacking.push("Insufficient cpu".into());
    }
    if wanted.memory > 0 && used.memory + wanted.memory > has.memory {
        lacking.push("Insufficient memory".into());
    }
    lacking
}

fn host_ports(pod: &Object) -> impl Iterator<Item = i64> + '_ {
    items(pod, &["spec", "containers"])
        .iter()
        .flat_map(|c| crate::node::json::list(c, &["ports"]))
        .filter_map(|p| int(p, &["hostPort"]))
        .filter(|p| *p != 0)
}

fn taken_ports(pod: &Object, view: &NodeView) -> bool {
    host_ports(pod).any(|port| view.pods.iter().any(|p| host_ports(p).any(|q| q == port)))
}

/// The weighted sum of all scores, with the default profile's weights; each part lies between 0 and 100.
fn scores(pod: &Object, all: &[NodeView], feasible: &[&NodeView]) -> Vec<i64> {
    let mut sum: Vec<i64> = feasible.iter().map(|n| least_allocated(pod, n)).collect();
    let mut add = |weight: i64, part: Vec<i64>| {
        for (total, score) in sum.iter_mut().zip(part) {
            *total += weight * score;
        }
    };
    let taints: Vec<_> =
        feasible.iter().map(|n| untolerated_count(pod, &n.node, "PreferNoSchedule")).collect();
    let most = taints.iter().max().copied().unwrap_or(0);
    if most > 0 {
        add(3, taints.iter().map(|n| 100 - 100 * n / most).collect());
    }
    let wishes: Vec<_> = feasible.iter().map(|n| affinity_weight(pod, &n.node)).collect();
    let most = wishes.iter().max().copied().unwrap_or(0);
    if most > 0 {
        add(2, wishes.iter().map(|w| 100 * w / most).collect());
    }
    if let Some(spread) = spread::score(pod, all, feasible) {
        add(2, spread);
    }
    let near = preferences(pod, all);
    let near: Vec<_> = all
        .iter()
        .zip(near)
        .filter(|(n, _)| feasible.iter().any(|f| f.node.meta.name == n.node.meta.name))
        .map(|(_, score)| score)
        .collect();
    let (low, high) = (near.iter().min().copied(), near.iter().max().copied());
    if let (Some(low), Some(high)) = (low, high)
        && high > low
    {
        add(2, near.iter().map(|s| 100 * (s - low) / (high - low)).collect());
    }
    sum
}

/// The share that stays free, the mean of CPU and memory.
fn least_allocated(pod: &Object, view: &NodeView) -> i64 {
    let wanted = weight(pod);
    let free = |used: i128, wanted: i128, has: i128| {
        if has == 0 || used + wanted > has { 0 } else { (has - used - wanted) * 100 / has }
    };
    let (used, has) = (view.weighed, view.allocatable);
    let mean =
        (free(used.cpu, wanted.cpu, has.cpu) + free(used.memory, wanted.memory, has.memory)) / 2;
    i64::try_from(mean).unwrap_or(0)
}
