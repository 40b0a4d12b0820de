//! Running cargo on a tree and keeping what it says.

use anyhow::{Context as _, bail};

use crate::tree::Tree;

/// What a command said.
pub(crate) struct Said {
    /// Whether it ended with 0.
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs cargo in the tree's root.
///
/// # Errors
/// If it can't be started; a failure of cargo's own is in [`Said::ok`].
pub(crate) fn cargo(tree: &Tree, args: &[&str]) -> anyhow::Result<Said> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(program)
        .args(args)
        .current_dir(&tree.root)
        .env("CARGO_TARGET_DIR", &tree.target)
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .with_context(|| format!("cargo {}", args.join(" ")))?;
    Ok(Said {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The standard output of a cargo that must succeed.
///
/// # Errors
/// If it can't be started or fails; the message holds the last lines that it wrote.
pub(crate) fn stdout(tree: &Tree, args: &[&str]) -> anyhow::Result<String> {
    let said = cargo(tree, args)?;
    if !said.ok {
        let lines: Vec<&str> = said.stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        bail!("cargo {} failed:\n{last}", args.join(" "));
    }
    Ok(said.stdout)
}
