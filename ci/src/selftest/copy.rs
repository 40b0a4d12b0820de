//! A copy of the tree that may be broken and mended again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::tree::Tree;

/// The copy, and which of its files were touched.
pub(super) struct Copy {
    pub(super) tree: Tree,
    touched: RefCell<BTreeSet<String>>,
}

impl Copy {
    /// Copies what git sees into a folder of the target directory. The folder's name depends on the
    /// original's, so that checkouts which share a target directory don't share the copy.
    pub(super) fn of(tree: &Tree) -> anyhow::Result<Self> {
        let name: String = tree.root.to_string_lossy().replace(['/', '\\', ':'], "-");
        let root = tree.target.join(format!("selftest{name}"));
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("clear {}", root.display()))?;
        }
        for path in tree.files()? {
            copy_file(&tree.root, &root, &path)?;
        }
        let init = Command::new("git").args(["init", "--quiet"]).current_dir(&root).status();
        ensure!(init.context("git init")?.success(), "git init failed");
        let tree = Tree { root, target: tree.target.clone(), write: false };
        Ok(Self { tree, touched: RefCell::default() })
    }

    /// Writes a new file, or all of an old one.
    pub(super) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        self.touched.borrow_mut().insert(path.to_owned());
        let to = self.tree.root.join(path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(to, text).with_context(|| path.to_owned())
    }

    /// Adds lines at the end of a file, which must be there.
    pub(super) fn append(&self, path: &str, lines: &str) -> anyhow::Result<()> {
        let text =
            self.tree.text(path).with_context(|| format!("{path} is not there to be broken"))?;
        self.write(path, &(text + lines))
    }

    /// Replaces the first `from` of a file, which must be there.
    pub(super) fn replace(&self, path: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text =
            self.tree.text(path).with_context(|| format!("{path} is not there to be broken"))?;
        ensure!(text.contains(from), "{path} has no `{from}` to be broken");
        self.write(path, &text.replacen(from, to, 1))
    }

    /// Makes every touched file as it is in the original again.
    pub(super) fn restore(&self, original: &Tree) -> anyhow::Result<()> {
        for path in self.touched.take() {
            if original.root.join(&path).exists() {
                copy_file(&original.root, &self.tree.root, &path)?;
            } else {
                let file = self.tree.root.join(&path);
                if file.exists() {
                    fs::remove_file(file)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the copy away; what was built from it stays in the target directory.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.tree.root).context("remove the copy")
    }

    /// Marks a file that a command outside is about to change.
    pub(super) fn touch(&self, path: &str) {
        self.touched.borrow_mut().insert(path.to_owned());
    }
}

/// Copies the content alone: with the original's time of change, cargo might not see that a file was
/// mended.
fn copy_file(from: &Path, to: &Path, path: &str) -> anyhow::Result<()> {
    let target = to.join(path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let content = fs::read(from.join(path)).with_context(|| path.to_owned())?;
    fs::write(target, content).with_context(|| path.to_owned())
}
