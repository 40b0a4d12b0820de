//! How it went: a table for people, or JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::compare::Comparison;
use super::needs::Needs;
use super::play::Case;

/// Everything that was found out.
pub(super) struct Report<'a> {
    pub(super) needs: &'a Needs,
    pub(super) told: &'a [Case],
    pub(super) expected: &'a [Case],
    pub(super) comparison: &'a Comparison,
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) seconds: f64,
}

impl Report<'_> {
    fn version(&self) -> String {
        let v = self.needs.version;
        format!("{}.{}.{}", v.0, v.1, v.2)
    }

    /// For people.
    pub(super) fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        let (version, major) = (self.version(), self.needs.major);
        let _ = writeln!(
            text,
            "Patroni {version} with PostgreSQL {major} against the simulated API server\n"
        );
        let _ = writeln!(text, "{:<11} {:<42} {:>7} {:>7}", "case", "", "real", "model");
        for (real, model) in self.told.iter().zip(self.expected) {
            let mut name = real.name;
            for (r, m) in real.figures.iter().zip(&model.figures) {
                let _ = writeln!(
                    text,
                    "{name:<11} {:<42} {:>5.1} s {:>5.1} s",
                    r.what, r.seconds, m.seconds
                );
                name = "";
            }
        }
        if verbose {
            for (side, cases) in [("real", self.told), ("model", self.expected)] {
                for case in cases {
                    let _ = writeln!(text, "\n{side}, {}:", case.name);
                    for event in &case.events {
                        let member = event.track.1.as_deref().unwrap_or_default();
                        let part = case.parts.get(member).copied().unwrap_or_default();
                        let value = case.parts.get(&event.value).copied().unwrap_or(&event.value);
                        let what = format!("{:?} {part}", event.track.0);
                        let _ =
                            writeln!(text, "{:>8.2} s  {what:<20} {value}", event.at - case.began);
                    }
                }
            }
            let _ = writeln!(text, "\nrequests by verb, resource and code:");
            for (what, count) in &self.requests {
                let _ = writeln!(text, "{count:>7} {what}");
            }
        }
        let requests: u64 = self.requests.values().sum();
        let (values, wrong) = (self.comparison.compared, &self.comparison.wrong);
        let _ = writeln!(
            text,
            "\n{requests} requests, {values} values compared, {:.0} s",
            self.seconds
        );
        for line in wrong {
            let _ = writeln!(text, "WRONG {line}");
        }
        let failed = self.failed();
        let _ = writeln!(text, "{} passed, {failed} failed", self.told.len() - failed);
        text
    }

    fn wrong_of(&self, case: &Case) -> Vec<&String> {
        let begins = format!("{}: ", case.name);
        self.comparison.wrong.iter().filter(|w| w.starts_with(&begins)).collect()
    }

    fn failed(&self) -> usize {
        self.told.iter().filter(|case| !self.wrong_of(case).is_empty()).count()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let figures = |case: &Case| {
            let pairs = case.figures.iter().map(|f| (f.what.to_owned(), json!(f.seconds)));
            pairs.collect::<serde_json::Map<_, _>>()
        };
        let cases = self.told.iter().zip(self.expected).map(|(real, model)| {
            json!({"name": real.name, "wrong": self.wrong_of(real),
                "figures_s": figures(real), "model_figures_s": figures(model)})
        });
        json!({
            "patroni": self.version(), "postgres": self.needs.major,
            "cases": cases.collect::<Vec<_>>(), "compared": self.comparison.compared,
            "wrong": self.comparison.wrong, "requests": self.requests, "seconds": self.seconds,
        })
    }
}
