//! Whether what `scenarios/PROMISES.md` names is there: scenarios, tests, other files. It names every scenario, and
//! the numbers at its top are those of its rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;

pub(super) const FILE: &str = "scenarios/PROMISES.md";

/// `text` reads a file of the tree.
pub(super) fn check(
    files: &[String],
    page: &str,
    text: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let fail = |what: String| Finding::fail(FILE, what);
    let mut findings = Vec::new();
    // What stands between backticks is every second part of a line.
    let named: BTreeSet<&str> =
        page.lines().flat_map(|l| l.split('`').skip(1).step_by(2)).collect();
    let is_test = |function: &str, code: &str| {
        code.split(&format!("fn {function}")).skip(1).any(|rest| rest.starts_with(['(', '<']))
    };
    for name in &named {
        if let Some((path, function)) = name.split_once("::") {
            if !text(path).is_some_and(|code| is_test(function, &code)) {
                findings.push(fail(format!("`{name}` is no test")));
            }
        } else if name.ends_with(".yaml") || name.ends_with(".rs") {
            let path = if name.contains('/') { (*name).to_owned() } else { story(name) };
            if !files.contains(&path) {
                findings.push(fail(format!("`{name}` is gone")));
            }
        }
    }
    let stories = files.iter().filter(|path| path.ends_with(".yaml"));
    let stories = stories.filter_map(|path| path.strip_prefix("scenarios/"));
    for name in stories.filter(|name| !named.contains(name)) {
        findings.push(fail(format!("say what `{name}` shows")));
    }
    let (mut told, mut counted) = (BTreeMap::new(), BTreeMap::<&str, usize>::new());
    for cells in page.lines().map(cells) {
        match cells[..] {
            [kind, number, _] if number.parse::<usize>().is_ok() => {
                told.insert(kind, number.parse::<usize>().unwrap_or_default());
            }
            [id, _, kind, _] if is_incident(id) => *counted.entry(kind).or_default() += 1,
            _ => {}
        }
    }
    if told != counted {
        findings.push(fail(format!("the numbers are {told:?}, and the rows are {counted:?}")));
    }
    findings
}

fn story(name: &str) -> String {
    format!("scenarios/{name}")
}

/// The cells of a row of a table; one, empty, of any other line.
fn cells(line: &str) -> Vec<&str> {
    let row = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    row.unwrap_or_default().split('|').map(str::trim).collect()
}

/// `HA-12` and its like.
fn is_incident(id: &str) -> bool {
    id.split_once('-').is_some_and(|(area, number)| {
        area.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u8>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_page_names_is_there() {
        let files = ["scenarios/a.yaml", "scenarios/README.md", "core/src/x.rs"];
        let files: Vec<String> = files.map(str::to_owned).into();
        let code = |path: &str| {
            (path == "core/src/x.rs").then(|| "fn it_holds() {}\nfn any(x in 0..9) {}".to_owned())
        };
        let check = |page: &str, expected: usize| {
            let found = super::check(&files, page, code);
            assert_eq!(found.len(), expected, "{page:?}: {found:?}");
        };
        check("`a.yaml`, `core/src/x.rs::it_holds`, `core/src/x.rs::any`, `core/src/x.rs`", 0);
        check("`a.yaml`, `kubectl wait`, `spec.paused`", 0);
        check("", 1);
        check("`scenarios/a.yaml`", 1);
        check("`a.yaml`, `b.yaml`", 1);
        check("`a.yaml`, `core/src/x.rs::it`", 1);
        check("`a.yaml`, `core/src/y.rs::it_holds`", 1);
        check("`a.yaml`, `core/src/y.rs`", 1);
        let rows = "| HA-1 | a split | scenario | `a.yaml` |\n| HA-12 | a broken one | gap | |";
        check(&format!("| scenario | 1 | told |\n| gap | 1 | not |\n{rows}"), 0);
        check(&format!("| scenario | 2 | told |\n| gap | 1 | not |\n{rows}"), 1);
        check(rows, 1);
    }
}
