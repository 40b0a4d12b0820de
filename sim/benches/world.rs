//! What a world costs: an idle second of steady clusters, a cluster from nothing to Ready, a fork.
//! `ivory-sim bench` prints the figures that have goals; these are for finding what a change does.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ivory_sim::lab::steady::{steady, tutorial};
use ivory_sim::time::Span;

/// Time per cluster should not depend on how many there are.
fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle_second");
    for clusters in [1, 10] {
        let mut lab = steady(clusters, 3);
        // What their creation left behind goes first.
        lab.world.advance(Span::s(120));
        group.throughput(Throughput::Elements(clusters.into()));
        group.bench_function(BenchmarkId::from_parameter(clusters), |b| {
            b.iter(|| lab.world.advance(Span::s(1)));
        });
    }
}

fn create(c: &mut Criterion) {
    c.bench_function("create_to_ready", |b| b.iter(|| black_box(tutorial())));
}

/// The fork alone, and with the first second of its own, which copies what it changes.
fn fork(c: &mut Criterion) {
    let mut group = c.benchmark_group("fork");
    for clusters in [1, 10] {
        let lab = steady(clusters, 3);
        group.bench_function(BenchmarkId::new("alone", clusters), |b| {
            b.iter_with_large_drop(|| lab.world.clone());
        });
        group.bench_function(BenchmarkId::new("and_go_on", clusters), |b| {
            let go_on = |mut world: ivory_sim::world::World| {
                world.advance(Span::s(1));
                world
            };
            b.iter_batched(|| lab.world.clone(), go_on, BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, idle, create, fork);
criterion_main!(benches);
