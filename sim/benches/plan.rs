//! How long a plan for a steady cluster of three takes: with what earlier passes remembered, with nothing
//! remembered, and right after the cluster's own status was written. `ivory-sim bench` has the same figures
//! for everybody; this compares one with the one before.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use ivory_core::context::{Context, Entropy};
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::{Sensitive, steps};
use ivory_sim::lab::NAMESPACE;
use ivory_sim::lab::steady::steady;
use ivory_sim::operator::Operator;

/// What the operator sees of a steady cluster, and what it plans with.
fn planning() -> (Observed, Context) {
    let lab = steady(1, 3);
    let id = lab.operator(lab.kubes[0]).expect("an operator runs");
    let operator = lab.world.actor::<Operator>(id).expect("it is one");
    let observed = operator.observed(&(NAMESPACE.into(), "hippo0".into())).expect("its cluster");
    let context = Context {
        now: lab.world.now().timestamp(),
        entropy: Entropy(Sensitive::new(vec![7; 32])),
        config: operator.config().clone(),
        denied: BTreeSet::new(),
    };
    (observed, context)
}

fn plans(criterion: &mut Criterion) {
    let (observed, context) = planning();
    let plan = |observed: &Observed, memos: &mut Memos| {
        let plan = steps::plan(observed, &context, memos);
        assert!(black_box(plan).writes.is_empty(), "the cluster is steady");
    };
    let mut memos = Memos::default();
    criterion.bench_function("warm plan", |b| b.iter(|| plan(&observed, &mut memos)));
    let mut versions = observed.clone();
    criterion.bench_function("plan after a write of the status", |b| {
        b.iter(|| {
            Arc::make_mut(&mut versions.cluster).meta.resource_version += 1;
            plan(&versions, &mut memos);
        });
    });
    criterion.bench_function("cold plan", |b| b.iter(|| plan(&observed, &mut Memos::default())));
}

criterion_group!(benches, plans);
criterion_main!(benches);
