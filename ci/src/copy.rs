//! A copy of the tree that may be broken and mended again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::tree::Tree;

/// The copy, and which of its files were touched.
pub(crate) struct Copy {
    pub(crate) tree: Tree,
    touched: RefCell<BTreeSet<String>>,
    /// Those that are other than they were in the copy of before.
    changed: RefCell<BTreeSet<String>>,
}

impl Copy {
    /// Copies what git sees into a folder of the target directory, for one use. The folder's name depends on
    /// the original's, so that checkouts which share a target directory don't share the copy. Files of which
    /// `not` is true are left to whoever writes them.
    pub(crate) fn of(
        tree: &Tree,
        purpose: &str,
        not: impl Fn(&String) -> bool,
    ) -> anyhow::Result<Self> {
        let name: String = tree.root.to_string_lossy().replace(['/', '\\', ':'], "-");
        let root = tree.target.join(format!("{purpose}{name}"));
        let there = Tree { root: root.clone(), target: tree.target.clone(), write: false };
        let files = tree.files()?;
        if root.join(".git").exists() {
            let wanted: BTreeSet<&String> = files.iter().collect();
            let gone = |path: &&String| !wanted.contains(path) && !not(path);
            for path in there.files()?.iter().filter(gone) {
                fs::remove_file(root.join(path)).with_context(|| path.clone())?;
            }
        } else {
            fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
            let init = Command::new("git").args(["init", "--quiet"]).current_dir(&root).status();
            ensure!(init.context("git init")?.success(), "git init failed");
        }
        let mut changed = BTreeSet::new();
        for path in files.iter().filter(|path| !not(path)) {
            if copy_file(&tree.root, &root, path)? {
                changed.insert(path.clone());
            }
        }
        Ok(Self { tree: there, touched: RefCell::default(), changed: changed.into() })
    }

    /// Writes a new file, or all of an old one.
    pub(crate) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        self.touched.borrow_mut().insert(path.to_owned());
        if put(&self.tree.root.join(path), text.as_bytes()).with_context(|| path.to_owned())? {
            self.changed.borrow_mut().insert(path.to_owned());
        }
        Ok(())
    }

    /// Whether files whose path begins with one of these are other than they were in the copy of before.
    pub(crate) fn changed(&self, below: &[&str]) -> bool {
        self.changed.borrow().iter().any(|path| below.iter().any(|start| path.starts_with(start)))
    }

    /// Adds lines at the end of a file, which must be there.
    pub(crate) fn append(&self, path: &str, lines: &str) -> anyhow::Result<()> {
        let text =
            self.tree.text(path).with_context(|| format!("{path} is not there to be broken"))?;
        self.write(path, &(text + lines))
    }

    /// Replaces the first `from` of a file, which must be there.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text =
            self.tree.text(path).with_context(|| format!("{path} is not there to be broken"))?;
        ensure!(text.contains(from), "{path} has no `{from}` to be broken");
        self.write(path, &text.replacen(from, to, 1))
    }

    /// Makes every touched file as it is in the original again.
    pub(crate) fn restore(&self, original: &Tree) -> anyhow::Result<()> {
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
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.tree.root).context("remove the copy")
    }

    /// Marks a file that a command outside is about to change.
    pub(crate) fn touch(&self, path: &str) {
        self.touched.borrow_mut().insert(path.to_owned());
    }
}

/// Copies the content alone: with the original's time of change, cargo might not see that a file was
/// mended.
fn copy_file(from: &Path, to: &Path, path: &str) -> anyhow::Result<bool> {
    let content = fs::read(from.join(path)).with_context(|| path.to_owned())?;
    put(&to.join(path), &content).with_context(|| path.to_owned())
}

/// Writes a file unless it has this content already, so that cargo builds nothing anew for nothing. Returns whether it
/// did.
fn put(file: &Path, content: &[u8]) -> anyhow::Result<bool> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, content)?;
    Ok(true)
}
