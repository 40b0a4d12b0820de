//! Probes: when they are due, and what a row of results means. Asking the process is the container's part.

use serde_json::Value;

use crate::node::json::int;
use crate::time::{Span, Time};
use crate::world::Probe;

/// The probes in the order in which containers keep them.
pub const KINDS: [Probe; 3] = [Probe::Startup, Probe::Liveness, Probe::Readiness];

/// A probe of a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeSpec {
    /// Before the first.
    pub delay: Span,
    /// Between two.
    pub period: Span,
    /// How many must fail in a row.
    pub failures: i64,
    /// How many must succeed in a row.
    pub successes: i64,
}

impl ProbeSpec {
    /// Reads a probe; null is none. Its timeout is no part: a hanging process is told by `None` at once.
    pub fn of(probe: &Value) -> Option<Self> {
        probe.as_object()?;
        let number =
            |key: &str, default: i64| int(probe, &[key]).filter(|n| *n > 0).unwrap_or(default);
        Some(Self {
            delay: Span::s(number("initialDelaySeconds", 0)),
            period: Span::s(number("periodSeconds", 10)),
            failures: number("failureThreshold", 3),
            successes: number("successThreshold", 1),
        })
    }
}

/// A running probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProbeRun {
    /// When the next is due; none when it does not run.
    pub due: Option<Time>,
    row: i64,
    last: bool,
}

/// What a result means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing yet.
    Undecided,
    /// Enough successes in a row.
    Good,
    /// Enough failures in a row.
    Bad,
}

impl ProbeRun {
    /// Begins.
    pub fn begin(due: Time) -> Self {
        Self { due: Some(due), ..Self::default() }
    }

    /// Takes in a result.
    pub fn result(&mut self, spec: &ProbeSpec, good: bool) -> Verdict {
        self.row = if self.last == good { self.row + 1 } else { 1 };
        self.last = good;
        let wanted = if good { spec.successes } else { spec.failures };
        if self.row < wanted {
            return Verdict::Undecided;
        }
        // A long row says no more than a long enough one; so a quiet Pod's state stays the same.
        self.row = wanted;
        if good { Verdict::Good } else { Verdict::Bad }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn thresholds_count_rows() {
        let spec =
            ProbeSpec::of(&json!({"failureThreshold": 2, "successThreshold": 2})).expect("a probe");
        let mut run = ProbeRun::default();
        let verdicts: Vec<_> = [true, true, false, true, false, false, true]
            .into_iter()
            .map(|good| run.result(&spec, good))
            .collect();
        use Verdict::{Bad, Good, Undecided};
        assert_eq!(verdicts, [Undecided, Good, Undecided, Undecided, Undecided, Bad, Undecided]);
        assert_eq!(ProbeSpec::of(&json!(null)), None);
    }
}
