//! Whether `clippy.toml` of the pure crates bans what it must, with a reason for each.
//!
//! Clippy reads the files; this gate only makes sure that no line of them goes missing.

use crate::finding::Finding;
use crate::tree::Tree;

const FILES: &[&str] = &["core/clippy.toml", "sim/clippy.toml"];

/// A reason shorter than this (in bytes) says that something is banned, not what to do instead.
const REASON_LENGTH_MIN: usize = 30;

const BANS: &[(&str, &[&str])] = &[
    (
        "disallowed-types",
        &[
            "std::collections::HashMap",
            "std::collections::HashSet",
            "std::time::SystemTime",
            "std::time::Instant",
            "std::thread::JoinHandle",
        ],
    ),
    (
        "disallowed-methods",
        &[
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
            "std::thread::spawn",
            "std::thread::sleep",
        ],
    ),
    (
        "disallowed-macros",
        &["std::println", "std::print", "std::eprintln", "std::eprint", "std::dbg"],
    ),
];

/// Looks at both files.
pub(crate) fn run(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let check_file = |file: &&str| match tree.text(file) {
        Some(text) => check(file, &text),
        None => vec![Finding::fail(*file, "is missing")],
    };
    Ok(FILES.iter().flat_map(check_file).collect())
}

fn check(file: &str, text: &str) -> Vec<Finding> {
    let bans = parse(text);
    let mut findings = Vec::new();
    for &(section, paths) in BANS {
        for &path in paths {
            match bans.iter().find(|ban| ban.section == section && ban.path == path) {
                None => findings.push(Finding::fail(file, format!("{section} lacks {path}"))),
                Some(ban) if ban.reason.len() < REASON_LENGTH_MIN => {
                    let what = format!("{path}: say in `reason` what to take instead");
                    findings.push(Finding::fail(file, what));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

struct Ban<'a> {
    section: &'a str,
    path: &'a str,
    reason: &'a str,
}

/// Reads the one shape that the files are written in: `section = [`, then a ban a line. A ban
/// written otherwise is not seen, and so is missed; that the file is TOML is clippy's to check.
fn parse(text: &str) -> Vec<Ban<'_>> {
    let mut section = "";
    let mut bans = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix("= [") {
            section = name.trim();
        } else if line.starts_with("{ path = ")
            && let Some(path) = quoted_after(line, "path = ")
        {
            let reason = quoted_after(line, "reason = ").unwrap_or_default();
            bans.push(Ban { section, path, reason });
        }
    }
    bans
}

fn quoted_after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(key)?;
    rest.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> String {
        let ban = |path: &&str| format!("    {{ path = \"{path}\", reason = \"{:-<40}\" }},\n", "");
        let section = |(name, paths): &(&str, &[&str])| {
            format!("{name} = [\n{}]\n", paths.iter().map(ban).collect::<String>())
        };
        BANS.iter().map(section).collect()
    }

    #[test]
    fn every_missing_line_is_missed() {
        let whole = whole();
        assert_eq!(check("x", &whole), []);
        let lines: Vec<&str> = whole.lines().collect();
        let bans: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].contains("path")).collect();
        assert_eq!(bans.len(), BANS.iter().map(|(_, paths)| paths.len()).sum::<usize>());
        for i in bans {
            let without = [&lines[..i], &lines[i + 1..]].concat().join("\n");
            assert_eq!(check("x", &without).len(), 1, "{}", lines[i]);
            let commented = whole.replace(lines[i], &format!("# {}", lines[i]));
            assert_eq!(check("x", &commented).len(), 1, "{}", lines[i]);
        }
    }

    #[test]
    fn a_ban_without_advice_is_not_enough() {
        let terse = whole().replacen(&"-".repeat(40), "no", 1);
        assert_eq!(check("x", &terse).len(), 1);
        let elsewhere = whole().replace("disallowed-types", "disallowed-names");
        assert_eq!(check("x", &elsewhere).len(), BANS[0].1.len());
    }
}
