//! The report, `ci/mutants.json`: a row for each mutant that was tried, and the figures that follow from the rows.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::detect::{DETECTORS, Kill};
use super::sites::Site;
use crate::tree::Tree;

const FILE: &str = "ci/mutants.json";

/// The whole report.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// How many rows there are.
    pub(super) mutants: usize,
    /// How many of them were killed.
    pub(super) killed: usize,
    /// Per cent.
    pub(super) kill_rate: f64,
    /// What the sample was drawn with.
    pub(super) seed: u64,
    /// How many ways to break core were found, and how many of them don't compile.
    pub(super) sites: usize,
    pub(super) unviable: usize,
    pub(super) by_module: BTreeMap<String, Share>,
    /// How many each detector was the first to kill.
    pub(super) by_detector: BTreeMap<String, usize>,
    pub(super) rows: Vec<Row>,
    /// Some of the rows with what each detector says by itself.
    #[serde(default)]
    pub(super) matrix: BTreeMap<String, BTreeMap<String, bool>>,
}

/// How many of a module's mutants were killed.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) mutants: usize,
    pub(super) killed: usize,
}

/// One mutant.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) operator: String,
    /// What is broken, in short.
    pub(super) text: String,
    /// Who noticed; nobody, if it survived.
    pub(super) kill: Option<Kill>,
    /// Who did not, of those that were asked.
    pub(super) survived: Vec<String>,
    /// Why it may survive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) explained: Option<String>,
}

impl Row {
    fn is(&self, site: &Site) -> bool {
        self.name == site.name && self.text == site.text
    }

    /// Whether this detector has still to be asked.
    pub(super) fn wants(&self, detector: &str) -> bool {
        self.kill.is_none() && self.survived.iter().all(|asked| asked != detector)
    }
}

impl Report {
    /// The committed one; an empty one if there is none.
    ///
    /// # Errors
    /// If it is no report.
    pub(super) fn read(tree: &Tree) -> anyhow::Result<Self> {
        match tree.text(FILE) {
            Some(text) => serde_json::from_str(&text).context(FILE),
            None => Ok(Self::default()),
        }
    }

    /// The row of a mutant.
    pub(super) fn row(&self, site: &Site) -> Option<&Row> {
        self.rows.iter().find(|row| row.is(site))
    }

    /// Writes down what a detector says.
    pub(super) fn put(&mut self, site: &Site, detector: &str, kill: Option<Kill>) {
        let mut survived = self.row(site).map(|row| row.survived.clone()).unwrap_or_default();
        if kill.is_none() {
            survived.push(detector.to_owned());
        }
        self.forget(site);
        self.rows.push(Row {
            name: site.name.clone(),
            file: site.file.clone(),
            operator: site.operator.clone(),
            text: site.text.clone(),
            kill,
            survived,
            explained: None,
        });
    }

    /// Takes the row of a mutant away.
    pub(super) fn forget(&mut self, site: &Site) {
        self.rows.retain(|row| row.name != site.name);
    }

    /// Takes away the rows of mutants that are no more, explains survivors, and counts.
    pub(super) fn tidy(&mut self, sites: &[Site], explained: &BTreeMap<String, String>) {
        self.rows.retain(|row| sites.iter().any(|site| row.is(site)));
        self.matrix.retain(|name, _| self.rows.iter().any(|row| row.name == *name));
        self.rows.sort_by(|a, b| a.file.cmp(&b.file).then_with(|| a.name.cmp(&b.name)));
        self.by_module = BTreeMap::new();
        self.by_detector = DETECTORS.iter().map(|d| ((*d).to_owned(), 0)).collect();
        for row in &mut self.rows {
            row.explained = explained.get(&row.name).filter(|_| row.kill.is_none()).cloned();
            let share = self.by_module.entry(module(&row.file)).or_default();
            share.mutants += 1;
            if let Some(kill) = &row.kill {
                share.killed += 1;
                *self.by_detector.entry(kill.detector.clone()).or_default() += 1;
            }
        }
        self.mutants = self.rows.len();
        self.killed = self.by_module.values().map(|share| share.killed).sum();
        self.kill_rate = per_cent(self.killed, self.mutants);
    }

    /// # Errors
    /// If the file can't be written.
    pub(super) fn write(&self, tree: &Tree) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(tree.root.join(FILE), text).context(FILE)
    }
}

/// The folder below `core/src` that a file is in; of the files there, the file.
fn module(file: &str) -> String {
    let path = file.strip_prefix("core/src/").unwrap_or(file);
    path.split_once('/').map_or(path.trim_end_matches(".rs"), |(folder, _)| folder).to_owned()
}

/// With one decimal.
pub(super) fn per_cent(part: usize, of: usize) -> f64 {
    (part as f64 / of.max(1) as f64 * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::sites::sites;

    #[test]
    fn the_figures_follow_from_the_rows_and_a_row_goes_with_its_mutant() {
        let sites = sites("core/src/rules/a.rs", "fn a() -> bool { b == c }").expect("Rust");
        let kill = |detector: &str| {
            Some(Kill { detector: detector.to_owned(), by: "x".to_owned(), timeout: false })
        };
        let mut report = Report::default();
        report.put(&sites[0], "unit", None);
        assert!(report.rows[0].wants("sweep") && !report.rows[0].wants("unit"));
        report.put(&sites[0], "sweep", kill("sweep"));
        report.put(&sites[1], "unit", None);
        report.put(&sites[2], "unit", kill("unit"));
        report.rows[2].text = "another".to_owned();
        let why = BTreeMap::from([(sites[1].name.clone(), "right".to_owned())]);
        report.tidy(&sites, &why);
        assert_eq!((report.mutants, report.killed, report.kill_rate), (2, 1, 50.0));
        assert_eq!(report.by_module["rules"].mutants, 2);
        assert_eq!((report.by_detector["unit"], report.by_detector["sweep"]), (0, 1));
        assert_eq!(
            report.rows.iter().filter_map(|r| r.explained.as_deref()).collect::<Vec<_>>(),
            ["right"]
        );
        assert!(report.row(&sites[0]).is_some() && report.row(&sites[2]).is_none());
    }
}
