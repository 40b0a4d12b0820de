//! `ivory-sim bench`: prints figures that others measure.

use serde_json::{Map, Value};

use super::Trouble;
use super::ui::Ui;

/// One figure.
#[derive(Clone, Copy)]
pub struct Bench {
    /// Its key in JSON, which ends with its unit: `plan_us`.
    pub key: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// What it should be at most, or at least.
    pub goal: Goal,
    /// Measures it.
    pub measure: fn() -> Figure,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// What else is worth knowing of it, for people; empty if nothing is.
    pub beside: String,
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self { value, beside: String::new() }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// Measures the figures of these keys, or all.
pub(super) fn run(json: bool, keys: &[String], benches: &[Bench]) -> Result<(), Trouble> {
    if let Some(unknown) = keys.iter().find(|k| !benches.iter().any(|b| b.key == **k)) {
        let known: Vec<_> = benches.iter().map(|b| b.key).collect();
        return Err(Trouble::Broken(format!(
            "there is no figure {unknown}; there are {}",
            known.join(", ")
        )));
    }
    let wanted = |b: &&Bench| keys.is_empty() || keys.iter().any(|k| k == b.key);
    if benches.is_empty() {
        return Err(Trouble::Broken("this build measures nothing".to_owned()));
    }
    if json {
        let figures: Map<String, Value> = benches
            .iter()
            .filter(wanted)
            .map(|b| (b.key.to_owned(), (b.measure)().value.into()))
            .collect();
        line!("{}", Value::Object(figures));
        return Ok(());
    }
    let ui = Ui::of_stdout();
    // Each as soon as it is there: some take a while.
    for bench in benches.iter().filter(wanted) {
        let Figure { value, beside } = (bench.measure)();
        let (goal, met) = match bench.goal {
            Goal::AtMost(most) => (format!("≤ {}", number(most)), value <= most),
            Goal::AtLeast(least) => (format!("≥ {}", number(least)), value >= least),
        };
        let mark = if met { "✓" } else { "✗" };
        let what = bench.what;
        line!("{mark} {:<17} {:>10}  {goal:<10} {what}{beside}", bench.key, number(value));
    }
    if cfg!(debug_assertions) {
        line!("{}", ui.dim("  measured without optimisation; use a release build"));
    }
    Ok(())
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
