//! Running cargo on a tree and keeping what it says.

use std::process::Command;

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
    let mut command = command();
    command
        .args(args)
        .current_dir(&tree.root)
        .env("CARGO_TARGET_DIR", &tree.target)
        .env("CARGO_TERM_COLOR", "never");
    said(&mut command).with_context(|| format!("cargo {}", args.join(" ")))
}

/// Cargo, without what `cargo run` says of this program: it is not true of what is built there. With it, build scripts
/// that read it run anew, and all that depends on them is compiled a second time.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end.
///
/// # Errors
/// If it can't be started.
pub(crate) fn said(command: &mut Command) -> anyhow::Result<Said> {
    let output = command.output()?;
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
