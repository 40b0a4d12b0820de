//! The table of gates, and how one is run.

use std::time::Instant;

use serde::Serialize;

use crate::finding::Finding;
use crate::tree::Tree;
use crate::{clippy_toml, fresh, graph, lints, tidy};

/// One gate. An error is a gate that could not look, which is as red as one that found something.
pub(crate) struct Gate {
    pub(crate) name: &'static str,
    /// What it asks, in a line of the help.
    pub(crate) asks: &'static str,
    pub(crate) run: fn(&Tree) -> anyhow::Result<Vec<Finding>>,
}

/// Every gate; the quick ones first.
pub(crate) const GATES: &[Gate] = &[
    Gate { name: "tidy", asks: "do files keep the house rules?", run: tidy::run },
    Gate { name: "clippy-toml", asks: "are the pure crates' bans whole?", run: clippy_toml::run },
    Gate { name: "graph", asks: "do dependencies point the right way?", run: graph::run },
    Gate { name: "fmt", asks: "is the code formatted?", run: lints::fmt },
    Gate { name: "lints", asks: "is clippy content?", run: lints::clippy },
    Gate { name: "fresh", asks: "are generated files up to date?", run: fresh::run },
];

/// What came of a gate, or of one trial of the self-test.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) gate: String,
    pub(crate) ok: bool,
    pub(crate) seconds: f64,
    pub(crate) findings: Vec<Finding>,
}

impl Gate {
    pub(crate) fn named(name: &str) -> Option<&'static Gate> {
        GATES.iter().find(|gate| gate.name == name)
    }

    pub(crate) fn outcome(&self, tree: &Tree) -> Outcome {
        let start = Instant::now();
        let findings = (self.run)(tree)
            .unwrap_or_else(|error| vec![Finding::fail(self.name, format!("{error:#}"))]);
        Outcome {
            gate: self.name.to_owned(),
            ok: !findings.iter().any(Finding::fails),
            seconds: start.elapsed().as_secs_f64(),
            findings,
        }
    }
}
