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
use crate::time::{Span, Time};

/// The figures, in the order in which they are measured: memory first, while nothing else was used.
pub const BENCHES: &[Bench] = &[
    Bench {
        key: "world_mb",
        what: "peak memory of a process with one world of 3 instances",
        goal: Goal::AtMost(20.0),
        measure: world_mb,
    },
    Bench {
        key: "plan_us",
        what: "a plan for a steady cluster of 3, with memos",
        goal: Goal::AtMost(100.0),
        measure: plan_us,
    },
    Bench {
        key: "plan_cold_us",
        what: "the same with nothing remembered",
        goal: Goal::AtMost(5_000.0),
        measure: plan_cold_us,
    },
    Bench {
        key: "create_ms",
        what: "an empty Kubernetes, and the tutorial's cluster until it is ready and quiet",
        goal: Goal::AtMost(50.0),
        measure: create_ms,
    },
    Bench {
        key: "idle_speedup",
        what: "virtual seconds in a second, an idle cluster of 3",
        goal: Goal::AtLeast(100_000.0),
        measure: idle_speedup,
    },
    Bench {
        key: "idle_speedup_10",
        what: "the same with 10 clusters, times 10 (linear: no less than one's)",
        goal: Goal::AtLeast(100_000.0),
        measure: || idle_speedup_of(10, 3600) * 10.0,
    },
    Bench {
        key: "idle_speedup_100",
        what: "the same with 100 clusters, times 100",
        goal: Goal::AtLeast(100_000.0),
        measure: || idle_speedup_of(100, 600) * 100.0,
    },
    Bench {
        key: "fork_us",
        what: "a fork of the world",
        goal: Goal::AtMost(50.0),
        measure: fork_us,
    },
];

fn per_round_us(rounds: u32, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..rounds {
        work();
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn plan_us() -> f64 {
    let (observed, context) = planning();
    let mut memos = Memos::default();
    assert!(
        steps::plan(&observed, &context, &mut memos).writes.is_empty(),
        "the cluster is steady"
    );
    per_round_us(2_000, || {
        black_box(steps::plan(&observed, &context, &mut memos).writes.len());
    })
}

fn plan_cold_us() -> f64 {
    let (observed, context) = planning();
    per_round_us(50, || {
        black_box(steps::plan(&observed, &context, &mut Memos::default()).writes.len());
    })
}

fn create_ms() -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
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
    let begin = Instant::now();
    lab.world.advance(Span::s(virtual_s));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand seconds")]
    let speedup = virtual_s as f64 / begin.elapsed().as_secs_f64();
    assert!(lab.world.findings().is_empty(), "{:?}", lab.world.findings());
    speedup
}

fn fork_us() -> f64 {
    let lab = steady(1, 3);
    per_round_us(2_000, || {
        black_box(lab.world.clone().now());
    })
}

/// The peak of the process's resident memory, as Linux tells it; not a number elsewhere.
fn world_mb() -> f64 {
    let lab = steady(1, 3);
    assert!(lab.world.now() > Time::START);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).map(str::trim);
    let kb: Option<f64> = peak.and_then(|p| p.strip_suffix(" kB")?.parse().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}
