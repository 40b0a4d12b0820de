//! > Every state reachable by user edits can be left by reverting the edit, and can be deleted; edits that are irreversible
//! > by nature (volume growth, promotion, a removed set's data, SQL already run) stay editable and deletable.
//!
//! Looked at in the end of a story, in a copy of its world: whatever state it has come to, every cluster of it is deleted,
//! and nothing of it is left within [`BOUND`]. Exploration reverts: after edits of any kind each drawn story applies the
//! last good spec, and must become ready.

use ivory_core::{Kind, Object, labels};

use super::{Promise, When};
use crate::lab::OPERATOR;
use crate::scenario::driver::{Ask, Driver};
use crate::scenario::resolve::Ref;
use crate::time::Span;
use crate::world::KubeId;

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 9,
    name: "edits can be left",
    words: "Every state reachable by user edits can be left by reverting the edit, and can be deleted; edits that are \
            irreversible by nature (volume growth, promotion, a removed set's data, SQL already run) stay editable and \
            deletable.",
    when: &[When::End],
    file: file!(),
    held_by: &[],
};

/// How it is said that something stays.
pub const LEFT: &str = "after its deletion";
/// How long a deletion may take: databases stop within their grace, one after the other.
pub const BOUND: Span = Span::s(600);
/// How often it is looked at.
const LOOK: Span = Span::s(5);

/// Deletes every cluster in a copy of a world. Gives none where nothing can be said: no cluster, no copy, no operator, or a
/// fault that still lasts; else what is left of them, a sentence each.
#[must_use]
pub fn left_after_deletion(world: &dyn Driver) -> Option<Vec<String>> {
    let mut copy = world.fork()?;
    let kubes = u8::try_from(copy.kubes()).unwrap_or(u8::MAX);
    let all: Vec<_> = (0..kubes)
        .map(KubeId)
        .flat_map(|kube| {
            copy.list(kube, Kind::IvoryCluster, None).into_iter().map(move |c| (kube, c))
        })
        .collect();
    let inside = copy.world()?;
    let whole = |kube: KubeId| {
        let nodes = inside.kube(kube).api.list(Kind::Node, None);
        inside.find(kube, OPERATOR).is_some()
            && !inside.disturbed(kube)
            && nodes.into_iter().all(|node| node.condition_true("Ready"))
    };
    if all.is_empty() || !all.iter().all(|(kube, _)| whole(*kube)) {
        return None;
    }
    for (kube, cluster) in &all {
        let of = Ref {
            kind: Kind::IvoryCluster,
            namespace: cluster.meta.namespace.to_string(),
            name: cluster.meta.name.to_string(),
        };
        if let Err(refusal) = copy.ask(*kube, &Ask::Delete { of, grace_s: None, propagation: None })
        {
            let (name, why) = (&cluster.meta.name, refusal.message);
            return Some(vec![format!("{name} is there {LEFT}, which was refused: {why}")]);
        }
    }
    let end = copy.now() + BOUND;
    loop {
        let mut left = Vec::new();
        for (kube, cluster) in &all {
            left.extend(remains(&*copy, *kube, &cluster.meta.namespace, &cluster.meta.name));
        }
        if left.is_empty() {
            return Some(left);
        }
        if copy.now() >= end {
            // A node that had just died was not missed yet.
            let kube = |kube: &KubeId| copy.list(*kube, Kind::Node, None);
            let whole = all.iter().flat_map(|(k, _)| kube(k)).all(|n| n.condition_true("Ready"));
            return whole.then_some(left);
        }
        let next = copy.now() + LOOK;
        copy.advance_to(next);
    }
}

/// What is there of a cluster.
fn remains(world: &dyn Driver, kube: KubeId, namespace: &str, cluster: &str) -> Vec<String> {
    let text = |kind: Kind, name: &str| {
        format!("{kind} {name} of {cluster} is there {} s {LEFT}", BOUND.seconds())
    };
    if world.get(kube, Kind::IvoryCluster, namespace, cluster).is_some() {
        return vec![text(Kind::IvoryCluster, cluster)];
    }
    let mut all = Vec::new();
    for &kind in Kind::ALL.iter().filter(|kind| kind.namespaced() && **kind != Kind::Event) {
        let objects = world.list(kube, kind, Some(namespace));
        // Who deletes a StatefulSet and lets be what it owned keeps its revisions, which are nobody's then.
        let kept = |o: &Object| o.kind == Kind::ControllerRevision && o.controller().is_none();
        let mine = objects.iter().filter(|o| o.label(labels::CLUSTER) == Some(cluster) && !kept(o));
        all.extend(mine.map(|o| text(kind, &o.meta.name)));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::planted::*;
    use super::*;
    use crate::kube::{Request, Verb};
    use crate::lab::NAMESPACE;
    use crate::lab::site::LabSite;
    use crate::scenario::world_driver::WorldDriver;

    #[test]
    fn what_stays_after_a_deletion_is_seen() {
        let mut world = ready();
        let driver = WorldDriver::new(world.clone(), LabSite::default());
        assert_eq!(left_after_deletion(&driver), Some(Vec::new()));
        let stays = Object::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "stays", "namespace": NAMESPACE, "labels": {(labels::CLUSTER): CLUSTER},
            },
        }));
        let stays = Arc::new(stays.expect("a ConfigMap"));
        done(&mut world, &Request::new("kubectl", Verb::Create(stays)));
        let driver = WorldDriver::new(world, LabSite::default());
        let left = left_after_deletion(&driver).expect("nothing is broken");
        assert_eq!(left, ["ConfigMap stays of hippo0 is there 600 s after its deletion"]);
    }
}
