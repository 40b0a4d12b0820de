//! Whether every scenario has its transcript, and every transcript its scenario.

use std::collections::BTreeSet;

use crate::finding::Finding;

const SCENARIOS: &str = "scenarios/";
const SNAPSHOTS: &str = "snapshots/";

pub(super) fn check(files: &[String]) -> Vec<Finding> {
    let stories = names(files, SCENARIOS, ".yaml");
    let transcripts = names(files, SNAPSHOTS, "");
    let mut findings = Vec::new();
    if stories.is_empty() {
        findings.push(Finding::fail(SCENARIOS, "has no scenarios"));
    }
    for story in stories.difference(&transcripts) {
        let what = "has no transcript in snapshots/; run it and commit what it says";
        findings.push(Finding::fail(format!("{SCENARIOS}{story}.yaml"), what));
    }
    for transcript in transcripts.difference(&stories) {
        let what = "is the transcript of no scenario";
        findings.push(Finding::fail(format!("{SNAPSHOTS}{transcript}"), what));
    }
    findings
}

/// The files below `folder` that end in `extension`, without either and without any extension.
fn names<'a>(files: &'a [String], folder: &str, extension: &str) -> BTreeSet<&'a str> {
    let below = files.iter().filter_map(|path| path.strip_prefix(folder));
    let named = below.filter(|name| name.ends_with(extension) && !name.ends_with("README.md"));
    named.map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn stories_and_transcripts_come_in_pairs() {
        let check = |files: &[&str], expected: usize| {
            let files: Vec<String> = files.iter().map(|&path| path.to_owned()).collect();
            let found = super::check(&files);
            assert_eq!(found.len(), expected, "{files:?}: {found:?}");
        };
        check(&["scenarios/a.yaml", "snapshots/a.txt", "scenarios/README.md"], 0);
        check(&["scenarios/found/a.yaml", "snapshots/found/a.txt"], 0);
        check(&["scenarios/a.yaml"], 1);
        check(&["scenarios/a.yaml", "snapshots/b.txt"], 2);
        check(&["scenarios/a.yaml", "snapshots/a.txt", "snapshots/b.txt"], 1);
        check(&["snapshots/a.txt"], 2);
        check(&[], 1);
    }
}
