//! What no file may name: places that exist on one machine only, and sources of crates other than
//! the public registry.

use crate::finding::Finding;

/// Parts of paths and host names. Written in two parts, so as not to find themselves.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/", "bash_jobs"),
    concat!("../sha", "red"),
    concat!("artif", "actory"),
    concat!("rsp", "roxy"),
];

/// May say where this machine keeps things; it is what runs the gates there.
const EXEMPT: &str = ".ci/run";

const REGISTRY: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    if path == EXEMPT {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut fail =
            |what: String| findings.push(Finding::fail(format!("{path}:{}", number + 1), what));
        for word in MACHINE.iter().filter(|word| line.contains(*word)) {
            fail(format!("`{word}` means something on one machine only"));
        }
        if path == "Cargo.lock" && line.starts_with("source = ") && !line.ends_with(REGISTRY) {
            fail("a crate from elsewhere than crates.io".to_owned());
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_word_is_seen() {
        let check = |path: &str, line: &str, expected: usize| {
            assert_eq!(super::check(path, line).len(), expected, "{path}: {line}");
        };
        for word in super::MACHINE {
            check("README.md", &format!("see {word}x"), 1);
            check(super::EXEMPT, &format!("see {word}x"), 0);
        }
        check("README.md", "cd work; see /etc/root.crt", 0);
        check("Cargo.lock", &format!("source = {}", super::REGISTRY), 0);
        check("Cargo.lock", "source = \"registry+https://mirror.example/index\"", 1);
        check("Cargo.lock", "source = \"git+https://github.com/a/b#c\"", 1);
    }
}
