//! Whether `ARCHITECTURE.md` names every folder of code, and no path that is gone.

use std::collections::BTreeSet;

use crate::finding::Finding;

pub(super) const FILE: &str = "ARCHITECTURE.md";

const ROOTS: &[&str] = &["core/src/", "sim/src/", "operator/src/"];

pub(super) fn check(files: &[String], map: &str) -> Vec<Finding> {
    let folders: BTreeSet<&str> = files
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .filter(|path| ROOTS.iter().any(|root| path.starts_with(root)))
        .filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    let named = named(map);
    let mut findings: Vec<Finding> = folders
        .iter()
        .filter(|folder| !named.contains(*folder))
        .map(|folder| Finding::fail(FILE, format!("name `{folder}/`, and say what is in it")))
        .collect();
    let exists = |path: &&str| {
        files.iter().any(|file| {
            file.strip_prefix(*path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let gone = named.iter().filter(|path| !exists(path));
    findings.extend(gone.map(|path| Finding::fail(FILE, format!("`{path}` is gone"))));
    findings
}

/// The paths below [`ROOTS`] that the map names, without a `/` at the end.
fn named(map: &str) -> BTreeSet<&str> {
    let outside = |c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_ours = |word: &&str| ROOTS.iter().any(|root| format!("{word}/").starts_with(root));
    map.split(outside).map(|word| word.trim_end_matches(['/', '.'])).filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_map_and_the_folders_agree() {
        let files =
            ["core/src/lib.rs", "core/src/rules/a.rs", "core/tests/x/y.rs", "ci/src/main.rs"];
        let files: Vec<String> = files.map(str::to_owned).into();
        let check = |map: &str, expected: usize| {
            let found = super::check(&files, map);
            assert_eq!(found.len(), expected, "{map:?}: {found:?}");
        };
        check("| `core/src/` | all |\n| `core/src/rules/` | rules |", 0);
        check("See core/src, and core/src/rules/a.rs in core/src/rules.", 0);
        check("| `core/src/rules/` |", 1);
        check("| `core/src/` |", 1);
        check("", 2);
        check("`core/src/` `core/src/rules/` `core/src/build/`", 1);
        check("`core/src/` `core/src/rules/` `core/src/rule`", 1);
    }
}
