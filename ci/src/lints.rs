//! The gates that cargo's own tools are: formatting and clippy, whose bans for the pure crates are
//! in their `clippy.toml`.

use crate::cargo::{Said, cargo};
use crate::finding::Finding;
use crate::tree::Tree;

/// `cargo fmt --check`; names each file that would change.
pub(crate) fn fmt(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let said = cargo(tree, &["fmt", "--all", "--", "--check", "-l"])?;
    let root = format!("{}/", tree.root.display());
    let findings = said
        .stdout
        .lines()
        .map(|path| Finding::fail(path.strip_prefix(&root).unwrap_or(path), "run `cargo fmt`"));
    Ok(loud(&said, findings.collect(), "cargo fmt"))
}

/// `cargo clippy` on everything, warnings included; one finding a diagnostic.
pub(crate) fn clippy(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let short = "--message-format=short";
    let args = ["clippy", "--workspace", "--all-targets", "--locked", short];
    let said = cargo(tree, &[&args[..], &["--", "-D", "warnings"]].concat())?;
    let mut findings: Vec<Finding> = said.stderr.lines().filter_map(diagnostic).collect();
    findings.dedup();
    Ok(loud(&said, findings, "cargo clippy"))
}

/// A line such as `core/src/a.rs:3:5: error: …` of the compiler's short format.
fn diagnostic(line: &str) -> Option<Finding> {
    let (place, what) = line.split_once(": error")?;
    place.contains(".rs:").then(|| {
        let what = what.split_once(": ").map_or(what, |(_code, what)| what);
        Finding::fail(place, what)
    })
}

/// A tool that fails without a finding that we understand must not pass.
fn loud(said: &Said, mut findings: Vec<Finding>, tool: &str) -> Vec<Finding> {
    if !said.ok && findings.is_empty() {
        findings.push(Finding::fail(tool, said.stderr.trim()));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_has_its_place_and_its_words() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(place, what)| Finding::fail(place, what));
            assert_eq!(diagnostic(line), expected, "{line}");
        };
        check("a/b.rs:1:2: error: bad: worse", Some(("a/b.rs:1:2", "bad: worse")));
        check("a/b.rs:1:2: error[E0433]: not found", Some(("a/b.rs:1:2", "not found")));
        check("error: could not compile `x`", None);
        check("a/b.rs:1:2: warning: meh", None);
    }

    #[test]
    fn a_failure_without_diagnostics_is_still_one() {
        let said = |ok| Said { ok, stdout: String::new(), stderr: "no such command".to_owned() };
        assert_eq!(loud(&said(false), vec![], "t"), [Finding::fail("t", "no such command")]);
        assert_eq!(loud(&said(true), vec![], "t"), []);
    }
}
