//! The outcome of a comparison, for people and for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::compare::{Difference, compare, known};
use super::known::TABLE;
use super::normal::Answer;
use super::script::Script;

/// An exchange in which the model answered otherwise than the real server.
pub(crate) struct Mismatch {
    script: String,
    request: usize,
    title: String,
    differences: Vec<Difference>,
}

/// The outcome over all scripts.
#[derive(Default)]
pub(crate) struct Report {
    scripts: BTreeMap<String, usize>,
    mismatches: Vec<Mismatch>,
    /// How many exchanges show each known difference.
    known: Vec<usize>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { known: vec![0; TABLE.len()], ..Self::default() }
    }

    /// Takes in one script's answers.
    pub(crate) fn add(&mut self, script: &Script, real: &[Answer], model: &[Answer]) {
        self.scripts.insert(script.name.clone(), script.requests.len());
        for (at, step) in script.requests.iter().enumerate() {
            let mut differences = Vec::new();
            let mut seen = vec![false; TABLE.len()];
            for difference in compare(&real[at], &model[at]) {
                match known(step, &difference) {
                    Some(which) => seen[which] = true,
                    None => differences.push(difference),
                }
            }
            for (which, seen) in seen.into_iter().enumerate() {
                self.known[which] += usize::from(seen);
            }
            if !differences.is_empty() {
                let (script, title) = (script.name.clone(), step.title());
                self.mismatches.push(Mismatch { script, request: at, title, differences });
            }
        }
    }

    /// How many exchanges were compared.
    pub(crate) fn exchanges(&self) -> usize {
        self.scripts.values().sum()
    }

    /// Known differences that no exchange showed.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let all = TABLE.iter().zip(&self.known).filter(|(_, seen)| **seen == 0);
        all.map(|(known, _)| format!("{} {}: {}", known.word, known.path, known.reason)).collect()
    }

    pub(crate) fn mismatches(&self) -> usize {
        self.mismatches.len()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        for mismatch in &self.mismatches {
            let Mismatch { script, request, title, differences } = mismatch;
            lines.push(format!("{script} request {request}: {title}"));
            let shown = differences.iter().take(12);
            lines.extend(shown.map(|difference| format!("    {difference}")));
            if differences.len() > 12 {
                lines.push(format!("    and {} more fields", differences.len() - 12));
            }
        }
        for (known, seen) in TABLE.iter().zip(&self.known).filter(|(_, seen)| **seen > 0) {
            lines.push(format!(
                "known difference, {seen} exchanges, {}: {}",
                known.path, known.reason
            ));
        }
        lines.push(format!(
            "{} exchanges of {} scripts, {} mismatches",
            self.exchanges(),
            self.scripts.len(),
            self.mismatches.len()
        ));
        lines.join("\n")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let side = |value: &Option<Value>| value.clone().unwrap_or_default();
        let differences = |mismatch: &Mismatch| -> Vec<Value> {
            let all = mismatch.differences.iter();
            all.map(|d| json!({"path": d.path, "real": side(&d.real), "model": side(&d.model)}))
                .collect()
        };
        let mismatches: Vec<_> = self
            .mismatches
            .iter()
            .map(|m| {
                json!({"script": m.script, "request": m.request, "title": m.title,
                    "differences": differences(m)})
            })
            .collect();
        let known: Vec<_> = TABLE
            .iter()
            .zip(&self.known)
            .map(|(known, seen)| json!({"path": known.path, "reason": known.reason, "exchanges": seen}))
            .collect();
        json!({
            "exchanges": self.exchanges(),
            "mismatches": self.mismatches.len(),
            "known_differences": known,
            "mismatched": mismatches,
            "scripts": self.scripts,
        })
    }
}
