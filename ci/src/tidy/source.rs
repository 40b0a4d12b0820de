//! What a Rust source file looks like: how it opens, how long it is, and that nothing is left open.

use crate::finding::Finding;

/// Past this a source file owns more than one thing, more often than not.
const LINES_SOURCE_WARN: usize = 500;
/// Past this it does.
const LINES_SOURCE_MAX: usize = 800;
/// Tests are tables, which read well for longer.
const LINES_TEST_WARN: usize = 800;
const LINES_TEST_MAX: usize = 1200;

/// Words of work that is not done. Written in two parts, so as not to find themselves.
const LEFT_OPEN: &[&str] = &[
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings
            .push(Finding::fail(path, "open with `//!`: what the file owns, and what it doesn't"));
    }
    findings.extend(length(path, text.lines().count()));
    for (number, line) in text.lines().enumerate() {
        let mut fail =
            |what: &str| findings.push(Finding::fail(format!("{path}:{}", number + 1), what));
        if line.ends_with([' ', '\t']) {
            fail("white space at the end of the line");
        }
        if line.contains('\t') {
            fail("a tab; write \\t in a string, spaces elsewhere");
        }
        for word in LEFT_OPEN.iter().filter(|word| has_word(line, word)) {
            fail(&format!("{word}: finish it, or leave it out"));
        }
    }
    findings
}

fn length(path: &str, lines: usize) -> Option<Finding> {
    let test = path.contains("/tests/") || path.ends_with("tests.rs");
    let (warn, max) = if test {
        (LINES_TEST_WARN, LINES_TEST_MAX)
    } else {
        (LINES_SOURCE_WARN, LINES_SOURCE_MAX)
    };
    let what = format!("{lines} lines; {max} are the most, and {warn} are many");
    match lines {
        _ if lines > max => Some(Finding::fail(path, what)),
        _ if lines > warn => Some(Finding::warn(path, what)),
        _ => None,
    }
}

/// Whether `word` stands in `line` by itself, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(inner) && !line[at + word.len()..].starts_with(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    #[test]
    fn each_rule_is_seen_to_fail() {
        let check = |line: &str, expected: usize| {
            let found = super::check("core/src/a.rs", &format!("//! A.\n{line}\n"));
            assert_eq!(found.len(), expected, "{line:?}: {found:?}");
        };
        check("fn a() {}", 0);
        check("fn a() {} ", 1);
        check("\tfn a() {}", 1);
        check("\t", 2);
        check(concat!("to", "do!()"), 1);
        check(concat!("unimpl", "emented!(\"later\")"), 1);
        check(concat!("#[ig", "nore = \"slow\"]"), 1);
        check(concat!("// FIX", "ME later"), 1);
        check(concat!("// X", "XX"), 1);
        check(concat!("let TX", "XXY = 1;"), 0);
        assert_eq!(super::check("core/src/a.rs", "use a;\n").len(), 1);
        assert_eq!(super::check("core/src/a.rs", "").len(), 1);
    }

    #[test]
    fn a_long_file_is_warned_of_and_then_refused() {
        let check = |path: &str, lines: usize, expected: Option<Severity>| {
            let severity = length(path, lines).map(|finding| finding.severity);
            assert_eq!(severity, expected, "{path} {lines}");
        };
        check("core/src/a.rs", 500, None);
        check("core/src/a.rs", 501, Some(Severity::Warn));
        check("core/src/a.rs", 801, Some(Severity::Fail));
        check("sim/tests/a.rs", 800, None);
        check("core/src/a/tests.rs", 801, Some(Severity::Warn));
        check("sim/tests/a.rs", 1201, Some(Severity::Fail));
    }
}
