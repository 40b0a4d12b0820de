//! The figures of `ivory-sim bench`: how each is measured.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measurement looks at the real clock"
)]

use std::hint::black_box;
use std::time::Instant;

use ivory_core::memo::Memos;
use ivory_core::steps;

use super::bench::{Bench, Goal};
use crate::lab::steady::{planning, steady, tutorial};
use crate::time::Span;

/// The figures, in the order in which they are measured.
pub const BENCHES: &[Bench] = &[
    Bench {
        key: "world_mb",
        what: "what a world of 3 instances adds to a process's peak of memory",
        goal: Goal::AtMost(20.0),
        measure: super::memory::world_mb,
    },
    Bench {
        key: "plan_us",
        what: "a plan for a steady cluster of 3, with memos",
        goal: Goal::AtMost(100.0),
        measure: || plan_us().into(),
    },
    Bench {
        key: "plan_cold_us",
        what: "the same with nothing remembered",
        goal: Goal::AtMost(5_000.0),
        measure: || plan_cold_us().into(),
    },
    Bench {
        key: "create_ms",
        what: "an empty Kubernetes, and the tutorial's cluster until it is ready and quiet",
        goal: Goal::AtMost(50.0),
        measure: || create_ms().into(),
    },
    Bench {
        key: "idle_speedup",
        what: "virtual seconds in a second, an idle cluster of 3",
        goal: Goal::AtLeast(100_000.0),
        measure: || idle_speedup().into(),
    },
    Bench {
        key: "idle_speedup_10",
        what: "the same with 10 clusters, times 10 (linear: no less than one's)",
        goal: Goal::AtLeast(100_000.0),
        measure: || (idle_speedup_of(10, 3600) * 10.0).into(),
    },
    Bench {
        key: "idle_speedup_100",
        what: "the same with 100 clusters, times 100",
        goal: Goal::AtLeast(100_000.0),
        measure: || (idle_speedup_of(100, 600) * 100.0).into(),
    },
    Bench {
        key: "fork_us",
        what: "a fork of the world",
        goal: Goal::AtMost(50.0),
        measure: || fork_us().into(),
    },
];

/// The best of so many batches, since whatever else the machine does only makes it slower.
fn per_round_us(batches: u32, rounds: u32, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..batches {
        let begin = Instant::now();
        for _ in 0..rounds {
            work();
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    }
    best
}

fn plan_us() -> f64 {
    let (observed, context) = planning();
    let mut memos = Memos::default();
    assert!(
        steps::plan(&observed, &context, &mut memos).writes.is_empty(),
        "the cluster is steady"
    );
    per_round_us(20, 100, || {
        black_box(steps::plan(&observed, &context, &mut memos).writes.len());
    })
}

fn plan_cold_us() -> f64 {
    let (observed, context) = planning();
    per_round_us(50, 1, || {
        black_box(steps::plan(&observed, &context, &mut Memos::default()).writes.len());
    })
}

fn create_ms() -> f64 {
    let mut best = f64::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        black_box(tutorial());
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    best
}

fn idle_speedup() -> f64 {
    idle_speedup_of(1, 6 * 3600)
}

fn idle_speedup_of(clusters: u32, virtual_s: i64) -> f64 {
    let mut lab = steady(clusters, 3);
    // What their creation left behind goes first: it is no part of being idle.
    lab.world.advance(Span::s(120));
    let mut best = 0.0_f64;
    // The best of several equal spans, since whatever else the machine does only makes it slower.
    for _ in 0..6 {
        let begin = Instant::now();
        lab.world.advance(Span::s(virtual_s / 6));
        #[expect(clippy::cast_precision_loss, reason = "a few thousand seconds")]
        let speedup = (virtual_s / 6) as f64 / begin.elapsed().as_secs_f64();
        best = best.max(speedup);
    }
    assert!(lab.world.findings().is_empty(), "{:?}", lab.world.findings());
    best
}

fn fork_us() -> f64 {
    let lab = steady(1, 3);
    per_round_us(20, 100, || {
        black_box(lab.world.clone().now());
    })
}
