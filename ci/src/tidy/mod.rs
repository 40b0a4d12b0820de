//! House rules that no compiler knows: what a file looks like, what it may not name, and which files
//! must have a counterpart.

mod map;
mod promises;
mod source;
mod stories;
mod words;

use anyhow::ensure;

use crate::finding::Finding;
use crate::tree::Tree;

/// Looks at every file once, then at what belongs together.
pub(crate) fn run(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let files = tree.files()?;
    ensure!(files.iter().any(|path| path.ends_with(".rs")), "git lists no source files");
    let mut findings = Vec::new();
    for path in &files {
        let Some(text) = tree.text(path) else {
            continue;
        };
        findings.extend(words::check(path, &text));
        if path.ends_with(".rs") {
            findings.extend(source::check(path, &text));
        }
    }
    findings.extend(map::check(&files, &tree.text(map::FILE).unwrap_or_default()));
    findings.extend(stories::check(&files));
    let page = tree.text(promises::FILE).unwrap_or_default();
    findings.extend(promises::check(&files, &page, |path| tree.text(path)));
    Ok(findings)
}
