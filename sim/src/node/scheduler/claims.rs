//! What a Pod's volume claims mean for where it can go.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::node::json::{items, list, text};
use crate::node::selector::{node_matches, term_matches};

/// The annotation by which the scheduler tells the provisioner where a volume will be used.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Finds an object by kind, namespace and name.
type Find<'a> = &'a dyn Fn(Kind, &str, &str) -> Option<Arc<Object>>;

/// One claim of a Pod.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It has a volume.
    Bound(Arc<Object>),
    /// It names a volume that is not there.
    Lost,
    /// It waits for its first consumer.
    Delayed {
        /// The claim.
        claim: Arc<Object>,
        /// Its class.
        class: Arc<Object>,
    },
}

/// The names of the claims that a Pod mounts.
pub fn names(pod: &Object) -> impl Iterator<Item = &str> {
    items(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|v| text(v, &["persistentVolumeClaim", "claimName"]))
}

/// A Pod's claims, or why no node can take it.
///
/// # Errors
/// The text that stands after `0/3 nodes are available: `.
pub fn of(pod: &Object, find: Find<'_>) -> Result<Vec<Claim>, String> {
    let mut claims = Vec::new();
    for name in names(pod) {
        let claim = find(Kind::PersistentVolumeClaim, &pod.meta.namespace, name)
            .ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        if claim.terminating() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        claims.push(state(claim, find)?);
    }
    Ok(claims)
}

fn state(claim: Arc<Object>, find: Find<'_>) -> Result<Claim, String> {
    if claim.str_at(&["status", "phase"]) == Some("Lost") {
        let name = &claim.meta.name;
        return Err(format!(
            "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
            claim.str_at(&["spec", "volumeName"]).unwrap_or_default()
        ));
    }
    if bound(&claim) {
        let volume = claim.str_at(&["spec", "volumeName"]).unwrap_or_default();
        let volume = find(Kind::PersistentVolume, "", volume);
        return Ok(volume.map_or(Claim::Lost, Claim::Bound));
    }
    let class = claim
        .str_at(&["spec", "storageClassName"])
        .and_then(|class| find(Kind::StorageClass, "", class));
    match class {
        Some(class)
            if class.str_at(&["volumeBindingMode"]) == Some("WaitForFirstConsumer")
                && claim.str_at(&["spec", "volumeName"]).unwrap_or_default().is_empty() =>
        {
            Ok(Claim::Delayed { claim, class })
        }
        _ => Err("pod has unbound immediate PersistentVolumeClaims".into()),
    }
}

/// Whether a claim has its volume.
pub fn bound(claim: &Object) -> bool {
    claim.str_at(&["status", "phase"]) == Some("Bound")
        && claim.str_at(&["spec", "volumeName"]).is_some_and(|v| !v.is_empty())
}

/// Why a node can't have these claims, if it can't.
pub fn refusal(claims: &[Claim], node: &Object) -> Option<&'static str> {
    claims.iter().find_map(|claim| match claim {
        Claim::Lost => {
            Some("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
        }
        Claim::Bound(volume) => volume
            .at(&["spec", "nodeAffinity", "required"])
            .is_some_and(|required| !node_matches(required, node))
            .then_some("node(s) didn't match PersistentVolume's node affinity"),
        Claim::Delayed { claim, class } => {
            let elsewhere = claim
                .annotation(SELECTED_NODE)
                .is_some_and(|selected| selected != &*node.meta.name);
            (elsewhere || !allowed(class, node))
                .then_some("node(s) didn't find available persistent volumes to bind")
        }
    })
}

/// Whether a class may make volumes for a node.
fn allowed(class: &Object, node: &Object) -> bool {
    let topologies = items(class, &["allowedTopologies"]);
    let expression = |e: &Value| serde_json::json!({"key": e.get("key"), "operator": "In", "values": e.get("values")});
    topologies.is_empty()
        || topologies.iter().any(|t| {
            let all: Vec<_> = list(t, &["matchLabelExpressions"]).iter().map(expression).collect();
            all.is_empty() || term_matches(&serde_json::json!({"matchExpressions": all}), node)
        })
}
