//! Affinity and anti-affinity between Pods, required and preferred, seen from both sides.

use std::collections::BTreeMap;

use ivory_core::Object;
use ivory_core::object::StringMap;
use serde_json::Value;

use super::view::NodeView;
use crate::node::json::{items, list, text};
use crate::node::selector::labels_match;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// What a domain is called: topology key and value.
type Domain = (String, String);

/// The required rules around one Pod, counted over all nodes once.
pub struct Required<'a> {
    pod: &'a Object,
    /// Domains with a Pod that satisfies all affinity terms.
    near: BTreeMap<Domain, usize>,
    /// Domains with a Pod that the incoming one avoids.
    avoided: BTreeMap<Domain, usize>,
    /// Domains with a Pod that avoids the incoming one.
    avoiding: BTreeMap<Domain, usize>,
    affinity: &'a [Value],
    anti: &'a [Value],
}

impl<'a> Required<'a> {
    /// Looks at every Pod on every node.
    pub fn of(pod: &'a Object, nodes: &[NodeView]) -> Self {
        let affinity = items(pod, &["spec", "affinity", "podAffinity", REQUIRED]);
        let anti = items(pod, &["spec", "affinity", "podAntiAffinity", REQUIRED]);
        let mut this = Self {
            pod,
            near: BTreeMap::new(),
            avoided: BTreeMap::new(),
            avoiding: BTreeMap::new(),
            affinity,
            anti,
        };
        for node in nodes {
            for other in &node.pods {
                this.count(node, other);
            }
        }
        this
    }

    fn count(&mut self, node: &NodeView, other: &Object) {
        let pod = self.pod;
        if !self.affinity.is_empty() && self.affinity.iter().all(|t| term_selects(t, pod, other)) {
            mark(&mut self.near, node, self.affinity.iter());
        }
        let anti = self.anti.iter().filter(|t| term_selects(t, pod, other));
        mark(&mut self.avoided, node, anti);
        let theirs = items(other, &["spec", "affinity", "podAntiAffinity", REQUIRED]);
        let theirs = theirs.iter().filter(|t| term_selects(t, other, pod));
        mark(&mut self.avoiding, node, theirs);
    }

    /// Why the Pod can't be on a node, if it can't.
    pub fn refusal(&self, node: &NodeView) -> Option<&'static str> {
        if self.affinity.iter().any(|t| !among(&self.near, node, t))
            && !self.first_of_its_kind(node)
        {
            return Some("node(s) didn't match pod affinity rules");
        }
        if self.anti.iter().any(|t| among(&self.avoided, node, t)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        let avoids = |((key, value), _): (&Domain, &usize)| node.domain(key) == Some(value);
        self.avoiding
            .iter()
            .any(avoids)
            .then_some("node(s) didn't satisfy existing pods anti-affinity rules")
    }

    /// The first Pod of a group that wants to be near its own kind may go anywhere.
    fn first_of_its_kind(&self, node: &NodeView) -> bool {
        self.near.is_empty()
            && self
                .affinity
                .iter()
                .all(|t| term_selects(t, self.pod, self.pod) && node.domain(key_of(t)).is_some())
    }
}

/// The preferred rules' score of every node, before it is normalised: weights of what is near.
pub fn preferences(pod: &Object, nodes: &[NodeView]) -> Vec<i64> {
    let mut scores: BTreeMap<Domain, i64> = BTreeMap::new();
    let mine = weighted(pod);
    for node in nodes {
        for other in &node.pods {
            for (weight, term) in &mine {
                if term_selects(term, pod, other) {
                    add(&mut scores, node, term, *weight);
                }
            }
            for (weight, term) in &weighted(other) {
                if term_selects(term, other, pod) {
                    add(&mut scores, node, term, *weight);
                }
            }
            // A Pod that must be near the incoming one counts as a weak wish (hardPodAffinityWeight 1).
            for term in items(other, &["spec", "affinity", "podAffinity", REQUIRED]) {
                if term_selects(term, other, pod) {
                    add(&mut scores, node, term, 1);
                }
            }
        }
    }
    let score_of = |node: &NodeView| {
        scores
            .iter()
            .filter(|((key, value), _)| node.domain(key) == Some(value))
            .map(|(_, score)| score)
            .sum()
    };
    nodes.iter().map(score_of).collect()
}

fn weighted(pod: &Object) -> Vec<(i64, &Value)> {
    let of = |what: &str, sign: i64| {
        items(pod, &["spec", "affinity", what, PREFERRED]).iter().filter_map(move |p| {
            let weight = p.get("weight")?.as_i64()?;
            Some((sign * weight, p.get("podAffinityTerm")?))
        })
    };
    of("podAffinity", 1).chain(of("podAntiAffinity", -1)).collect()
}

fn add(scores: &mut BTreeMap<Domain, i64>, node: &NodeView, term: &Value, weight: i64) {
    let key = key_of(term);
    if let Some(value) = node.domain(key) {
        *scores.entry((key.to_owned(), value.to_owned())).or_default() += weight;
    }
}

fn mark<'a>(
    domains: &mut BTreeMap<Domain, usize>,
    node: &NodeView,
    terms: impl Iterator<Item = &'a Value>,
) {
    for term in terms {
        let key = key_of(term);
        if let Some(value) = node.domain(key) {
            *domains.entry((key.to_owned(), value.to_owned())).or_default() += 1;
        }
    }
}

fn among(domains: &BTreeMap<Domain, usize>, node: &NodeView, term: &Value) -> bool {
    let key = key_of(term);
    node.domain(key).is_some_and(|value| domains.contains_key(&(key.to_owned(), value.to_owned())))
}

fn key_of(term: &Value) -> &str {
    text(term, &["topologyKey"]).unwrap_or_default()
}

/// Whether a term of `owner` selects `other`. Of a namespace only its name's own label is known here.
fn term_selects(term: &Value, owner: &Object, other: &Object) -> bool {
    let names = list(term, &["namespaces"]);
    let selector = term.get("namespaceSelector").filter(|s| !s.is_null());
    let theirs = &*other.meta.namespace;
    let namespace = if names.is_empty() && selector.is_none() {
        owner.meta.namespace == other.meta.namespace
    } else {
        let labels: StringMap =
            [("kubernetes.io/metadata.name".to_owned(), theirs.to_owned())].into();
        names.iter().any(|n| n.as_str() == Some(theirs))
            || selector.is_some_and(|s| labels_match(Some(s), &labels))
    };
    namespace
        && labels_match(term.get("labelSelector"), &other.meta.labels)
        && list(term, &["matchLabelKeys"]).iter().all(|key| {
            key.as_str().is_none_or(|key| {
                owner.label(key).is_none() || owner.label(key) == other.label(key)
            })
        })
}
