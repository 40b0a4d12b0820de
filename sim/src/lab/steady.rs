//! Worlds at rest, for measuring: what `ivory-sim bench` and the benchmarks have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use ivory_core::context::{Context, Entropy};
use ivory_core::object::Object;
use ivory_core::observed::Observed;
use ivory_core::{Kind, Sensitive};

use crate::kube::{Request, Verb};
use crate::lab::{Lab, NAMESPACE};
use crate::operator::Operator;
use crate::scenario::parse::{default_world, plain_nodes};
use crate::time::Span;

/// A cluster as the tutorial has it.
fn hippo(name: &str, replicas: u32) -> Object {
    let claim = serde_json::json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    });
    Object::new(Kind::IvoryCluster, NAMESPACE, name).with(
        "spec",
        serde_json::json!({
            "postgresVersion": 18,
            "instances": [{"name": "instance1", "replicas": replicas, "dataVolumeClaimSpec": claim}],
            "backups": {"pgbackrest": {"repos": [{"name": "repo1", "volume": {"volumeClaimSpec": claim}}]}},
        }),
    )
}

/// A world with ready clusters `hippo0`, `hippo1`, …, after everything that follows readiness.
///
/// # Panics
/// When not all of them become ready, which is a bug.
#[must_use]
pub fn steady(clusters: u32, replicas: u32) -> Lab {
    let mut world = default_world();
    // A node takes 110 Pods.
    world.kubes[0].nodes = plain_nodes(u64::from(clusters / 10).max(3));
    for node in &mut world.kubes[0].nodes {
        // Room for many clusters.
        (node.cpu, node.memory) = ("4000".into(), "16000Gi".into());
    }
    let mut lab = Lab::new(&world);
    for number in 0..clusters {
        apply(&mut lab, hippo(&format!("hippo{number}"), replicas));
    }
    let done = |lab: &Lab| {
        let all = lab.world.kube(lab.kubes[0]).api.list(Kind::IvoryCluster, None);
        all.filter(|c| c.condition_true("Reconciled")).count() == clusters as usize
    };
    for _ in 0..100 {
        lab.world.advance(Span::s(300));
        if done(&lab) {
            return lab;
        }
    }
    panic!("not all of {clusters} clusters became ready in {}", lab.world.now())
}

/// What the operator sees of a steady cluster of three, and what it plans with.
///
/// # Panics
/// As [`steady`].
#[must_use]
pub fn planning() -> (Observed, Context) {
    let lab = steady(1, 3);
    let id = lab.operator(lab.kubes[0]).expect("an operator runs");
    let operator = lab.world.actor::<Operator>(id).expect("it is one");
    let observed = operator.observed(&(NAMESPACE.into(), "hippo0".into())).expect("its cluster");
    let context = Context {
        now: lab.world.now().timestamp(),
        entropy: Entropy(Sensitive::new(vec![7; 32])),
        config: operator.config().clone(),
        denied: BTreeSet::new(),
        refused: Default::default(),
        blind_since: None,
    };
    (observed, context)
}

fn apply(lab: &mut Lab, cluster: Object) {
    let kube = lab.kubes[0];
    let operator = lab.operator(kube).expect("an operator runs");
    let request = Request::new("kubectl", Verb::Create(Arc::new(cluster)));
    lab.world.submit(operator, kube, request);
}

/// An empty Kubernetes, and the tutorial's cluster in it until it is ready and quiet.
///
/// # Panics
/// When it does not become ready within a minute, which is a bug.
#[must_use]
pub fn tutorial() -> Lab {
    let mut lab = Lab::new(&default_world());
    apply(&mut lab, hippo("hippo", 1));
    lab.world.advance(Span::s(60));
    let api = &lab.world.kube(lab.kubes[0]).api;
    let cluster = api.get(Kind::IvoryCluster, NAMESPACE, "hippo").expect("it was applied");
    assert!(cluster.condition_true("Ready"), "the cluster is ready");
    lab
}
