//! Which crates may be in whose tree, and which members may depend on which.
//!
//! That core decides without a clock, a network or chance is a fact of its dependencies before it is
//! one of its code.

use anyhow::Context as _;

use crate::cargo::stdout;
use crate::finding::Finding;
use crate::tree::Tree;

/// What a member's tree may hold.
struct Rule {
    package: &'static str,
    /// Members that it may depend on.
    members: &'static [&'static str],
    /// Members that only its tests may depend on.
    dev_members: &'static [&'static str],
    /// Crates that its normal dependencies must not bring in, however far down.
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        package: "ivory-core",
        members: &[],
        dev_members: &[],
        never: &[
            "tokio",
            "hyper",
            "kube-client",
            "kube-runtime",
            "rand",
            "getrandom",
            "tracing-subscriber",
        ],
    },
    Rule {
        package: "ivory-sim",
        members: &["ivory-core"],
        dev_members: &[],
        never: &["tokio", "kube-client", "kube-runtime", "getrandom"],
    },
    Rule {
        package: "ivory-face",
        members: &["ivory-core", "ivory-sim"],
        dev_members: &[],
        // It serves clients, and is none.
        never: &["kube-client", "kube-runtime"],
    },
    Rule {
        package: "ivory-operator",
        members: &["ivory-core"],
        dev_members: &["ivory-face", "ivory-sim"],
        never: &[],
    },
    Rule {
        package: "ivory-fuzz",
        members: &["ivory-core", "ivory-sim"],
        dev_members: &[],
        never: &[],
    },
    Rule { package: "ivory-ci", members: &[], dev_members: &[], never: &[] },
    Rule {
        package: "ivory-real",
        members: &["ivory-core", "ivory-face", "ivory-operator", "ivory-sim"],
        dev_members: &[],
        never: &[],
    },
];

/// Holds every member's dependencies against its rule.
pub(crate) fn run(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let args = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let metadata = serde_json::from_str(&stdout(tree, &args)?).context("cargo metadata")?;
    let mut findings = directions(&metadata);
    for rule in RULES.iter().filter(|rule| !rule.never.is_empty()) {
        let args = ["tree", "-p", rule.package, "-e", "normal", "--prefix", "none", "--locked"];
        findings.extend(strangers(rule, &stdout(tree, &args)?));
    }
    Ok(findings)
}

/// Looks at who depends on which member. A dependency on a member is one that has a path.
fn directions(metadata: &serde_json::Value) -> Vec<Finding> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let mut findings = Vec::new();
    for rule in RULES {
        if !packages.iter().any(|package| name(package) == rule.package) {
            findings.push(Finding::fail(rule.package, "the workspace has no such member"));
        }
    }
    for package in &packages {
        let from = name(package);
        let Some(rule) = RULES.iter().find(|rule| rule.package == from) else {
            findings.push(Finding::fail(from, "give the new member a rule in ci/src/graph.rs"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let to = name(&dependency);
            let dev = dependency["kind"] == "dev";
            let allowed = rule.members.contains(&&*to) || dev && rule.dev_members.contains(&&*to);
            if dependency["path"].is_string() && !allowed {
                let what =
                    format!("must not depend on {to}{}", if dev { ", even to test" } else { "" });
                findings.push(Finding::fail(from.clone(), what));
            }
        }
    }
    findings
}

/// Looks for crates in a printed tree (`name vX.Y.Z …` a line) that the rule shuts out.
fn strangers(rule: &Rule, tree: &str) -> Vec<Finding> {
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut findings: Vec<Finding> = rule
        .never
        .iter()
        .filter(|never| names.contains(never))
        .map(|never| {
            let ask = format!("cargo tree -p {} -e normal -i {never}", rule.package);
            Finding::fail(rule.package, format!("{never} is in its tree; `{ask}` says why"))
        })
        .collect();
    if !names.contains(&rule.package) {
        findings.push(Finding::fail(rule.package, "cargo tree did not print its tree"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strangers_are_seen_by_their_whole_name() {
        let check = |tree: &str, expected: usize| {
            assert_eq!(strangers(&RULES[0], tree).len(), expected, "{tree}");
        };
        check("ivory-core v0.1.0 (/x)\nrand_core v0.9.0\nserde v1.0.0 (*)\n", 0);
        check("ivory-core v0.1.0 (/x)\nrand v0.10.0\ntokio v1.0.0 (*)\n", 2);
        check("", 1);
    }

    #[test]
    fn members_point_one_way() {
        let package = |name: &str, to: &str, kind: Option<&str>| {
            json!({"name": name, "dependencies": [
                {"name": to, "kind": kind, "path": "/x"},
                {"name": "serde", "kind": null},
            ]})
        };
        let check = |changed: serde_json::Value, expected: usize| {
            let changed_name = changed["name"].clone();
            let mut packages: Vec<serde_json::Value> = RULES
                .iter()
                .map(|rule| json!({"name": rule.package, "dependencies": []}))
                .filter(|package| package["name"] != changed_name)
                .collect();
            packages.push(changed.clone());
            let found = directions(&json!({ "packages": packages }));
            assert_eq!(found.len(), expected, "{changed}: {found:?}");
        };
        check(package("ivory-sim", "ivory-core", None), 0);
        check(package("ivory-core", "ivory-sim", Some("dev")), 1);
        check(package("ivory-operator", "ivory-sim", Some("dev")), 0);
        check(package("ivory-operator", "ivory-sim", None), 1);
        check(package("ivory-operator", "ivory-sim", Some("build")), 1);
        check(package("ivory-ci", "ivory-core", None), 1);
        check(package("ivory-new", "serde", None), 1);
        assert_eq!(directions(&json!({"packages": []})).len(), RULES.len());
    }
}
