//! Whether generated files equal what their generator prints.

use std::collections::BTreeMap;

use similar::{ChangeTag, TextDiff};

use crate::cargo::stdout;
use crate::finding::Finding;
use crate::tree::Tree;

/// One generated file.
struct Row {
    /// The arguments of the cargo command whose output the file is.
    command: &'static [&'static str],
    /// Of several YAML documents in the output, the one with this `metadata.name`.
    document: &'static str,
    file: &'static str,
}

const CRD: &[&str] = &["run", "--quiet", "--locked", "-p", "ivory-operator", "--", "crd"];

const ROWS: &[Row] = &[
    Row {
        command: CRD,
        document: "ivoryclusters.ivory-operator.ivorysql.org",
        file: "examples/kustomize/install/crd/bases/ivory-operator.ivorysql.org_ivoryclusters.yaml",
    },
    Row {
        command: CRD,
        document: "ivyupgrades.ivory-operator.ivorysql.org",
        file: "examples/kustomize/install/crd/bases/ivory-operator.ivorysql.org_ivyupgrades.yaml",
    },
];

/// Compares every row, or writes it if the tree says so. A command is run once for all its rows.
pub(crate) fn run(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let mut outputs: BTreeMap<&[&str], String> = BTreeMap::new();
    let mut findings = Vec::new();
    for row in ROWS {
        if !outputs.contains_key(row.command) {
            outputs.insert(row.command, stdout(tree, row.command)?);
        }
        let command = format!("cargo {}", row.command.join(" "));
        let Some(printed) = document(&outputs[row.command], row.document) else {
            let what = format!("`{command}` does not print {}", row.document);
            findings.push(Finding::fail(row.file, what));
            continue;
        };
        if tree.write {
            let file = tree.root.join(row.file);
            file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(file, &printed)?;
        }
        let what = match tree.text(row.file) {
            None => "is missing".to_owned(),
            Some(committed) if committed != printed => differs(&committed, &printed),
            Some(_) => continue,
        };
        let remedy = "`cargo run -p ivory-ci -- fresh --write` writes it";
        findings.push(Finding::fail(row.file, format!("{what}; {remedy}")));
    }
    Ok(findings)
}

/// The document of a YAML stream that has this `metadata.name`, with one line feed at its end.
fn document(stream: &str, name: &str) -> Option<String> {
    let wanted = format!("  name: {name}");
    let mut documents: Vec<Vec<&str>> = vec![Vec::new()];
    for line in stream.lines() {
        if line == "---" {
            documents.push(Vec::new());
        } else if let Some(document) = documents.last_mut() {
            document.push(line);
        }
    }
    let is_wanted = |lines: &&Vec<&str>| {
        let metadata = lines.iter().skip_while(|line| **line != "metadata:").skip(1);
        metadata.take_while(|line| line.starts_with(' ')).any(|line| *line == wanted)
    };
    documents.iter().find(is_wanted).map(|lines| lines.join("\n").trim_end().to_owned() + "\n")
}

/// The first lines that differ, as a diff from the file to what was printed.
fn differs(committed: &str, printed: &str) -> String {
    let diff = TextDiff::from_lines(committed, printed);
    let changes: Vec<String> = diff
        .iter_all_changes()
        .filter(|change| change.tag() != ChangeTag::Equal)
        .map(|change| format!("{}{}", change.tag(), change.value().trim_end()))
        .collect();
    let first = changes[..changes.len().min(4)].join("\n");
    format!("differs in {} lines:\n{first}\n", changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\
---
kind: A
metadata:
  labels: {}
  name: one
spec:
  name: two
---
kind: B
metadata:
  name: two
";

    #[test]
    fn a_document_is_found_by_the_name_in_its_metadata() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(document(STREAM, name).as_deref(), expected, "{name}");
        };
        let one = "kind: A\nmetadata:\n  labels: {}\n  name: one\nspec:\n  name: two\n";
        check("one", Some(one));
        check("two", Some("kind: B\nmetadata:\n  name: two\n"));
        check("three", None);
    }

    #[test]
    fn a_difference_is_shown_both_ways() {
        assert_eq!(differs("a\nb\n", "a\nc\n"), "differs in 2 lines:\n-b\n+c\n");
    }
}
