//! The files of the project as git sees them: tracked, or new and not ignored.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// A checkout, or the self-test's copy of one.
pub(crate) struct Tree {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo builds; the copy builds beside the original, so that dependencies are shared.
    pub(crate) target: PathBuf,
    /// Whether generated files are written instead of compared.
    pub(crate) write: bool,
}

impl Tree {
    /// The workspace that `start` lies in.
    pub(crate) fn around(start: &Path, write: bool) -> anyhow::Result<Self> {
        let is_workspace = |dir: &Path| {
            std::fs::read_to_string(dir.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
        };
        let root = start
            .ancestors()
            .find(|dir| is_workspace(dir))
            .with_context(|| format!("no workspace around {}", start.display()))?
            .to_owned();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        // A relative CARGO_TARGET_DIR is relative to where cargo was called.
        let target = start.join(target);
        Ok(Self { root, target, write })
    }

    /// Every file, as a path from the root with `/`, in order.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<String>> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .context("git ls-files")?;
        if !listed.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
        }
        let mut files: Vec<String> = String::from_utf8(listed.stdout)
            .context("a file name is not UTF-8")?
            .split_terminator('\0')
            .filter(|path| self.root.join(path).is_file()) // deleted, but not yet in the index
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The text of a file; `None` if it is not there or not text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }
}
