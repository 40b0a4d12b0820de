//! How long a plan for a steady cluster of three takes: with what earlier passes remembered, with nothing
//! remembered, and right after the cluster's own status was written. `ivory-sim bench` has the same figures
//! for everybody; this compares one with the one before.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::steps;
use ivory_sim::lab::steady::planning;

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
