//! One build with all mutants in it: a copy of the tree whose core asks an environment variable which of them is on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::choose::is_mechanical;
use super::edit::{Edited, culprits, edit};
use super::sites::Site;
use crate::cargo::{Said, command, said};
use crate::copy::Copy;
use crate::tree::Tree;

/// Which mutant is on, by its number.
pub(super) const VARIABLE: &str = "IVORY_MUTANT";

/// What was built, in the copy.
const PROGRAMS: &str = "target/programs.json";

/// The module that stands in the copy's core alone.
const MODULE: &str = "\
//! Which mutant is on.
#![expect(clippy::disallowed_methods, missing_docs)]

static ON: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
    std::env::var(\"IVORY_MUTANT\").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
});

#[inline]
pub fn on(number: u64) -> bool {
    *ON == number
}
";

/// The copy, built.
pub(super) struct Built {
    pub(super) root: PathBuf,
    copy: Copy,
    /// What was left of the sites.
    pub(super) sites: Vec<Site>,
    /// How many did not compile.
    pub(super) unviable: usize,
    /// Test binaries and programs, by their targets' names.
    pub(super) programs: BTreeMap<String, PathBuf>,
}

/// Makes the copy, leaves out what does not compile, and builds the unit tests.
///
/// # Errors
/// If something can't be built, with or without switches.
pub(super) fn build(tree: &Tree, sites: Vec<Site>, tell: &dyn Fn(&str)) -> anyhow::Result<Built> {
    let edited: BTreeSet<String> = sites.iter().map(|site| site.file.clone()).collect();
    let ours = |path: &String| {
        edited.contains(path)
            || ["core/src/lib.rs", "core/src/mutant.rs", "Cargo.toml", "Cargo.lock"]
                .contains(&path.as_str())
    };
    let copy = Copy::of(tree, "mutants", ours)?;
    copy.write("core/src/mutant.rs", MODULE)?;
    let lib = tree.text("core/src/lib.rs").context("core/src/lib.rs is not there")?;
    copy.write("core/src/lib.rs", &lib.replacen("\npub mod ", "\npub mod mutant;\npub mod ", 1))?;
    apart(tree, &copy)?;
    // Cargo need not be asked twice what does not compile.
    let remembered = copy.tree.root.join("target/unviable.json");
    let mut dropped: BTreeSet<(String, String)> = fs::read(&remembered)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let all = sites.len();
    let mut left = sites;
    loop {
        left.retain(|site| !dropped.contains(&site.key()));
        let mut files = BTreeMap::new();
        for file in &edited {
            let text = tree.text(file).with_context(|| file.clone())?;
            let own: Vec<&Site> = left.iter().filter(|site| site.file == *file).collect();
            let edited = edit(&text, &own);
            copy.write(file, &edited.text)?;
            files.insert(file.clone(), edited);
        }
        // As long as that is the same there is nothing to build, and nobody else's build to wait for.
        if copy.changed(&["core/", "sim/", "Cargo."]) {
            let _ = fs::remove_file(copy.tree.root.join(PROGRAMS));
        } else if let Ok(text) = fs::read(copy.tree.root.join(PROGRAMS)) {
            let (unviable, programs) = (all - left.len(), serde_json::from_slice(&text)?);
            let root = copy.tree.root.clone();
            return Ok(Built { root, copy, sites: left, unviable, programs });
        }
        tell(&format!("checking core with {} mutants", left.len()));
        let said = cargo(tree, &copy, &["check", "-p", "ivory-core", "--lib"])?;
        if said.ok {
            break;
        }
        let wrong = culprits_in(&said, &files);
        ensure!(!wrong.is_empty(), "core does not compile:\n{}", errors(&said));
        // What people wrote is not left out in silence.
        if let Some((name, _)) = wrong.iter().find(|(name, _)| !is_mechanical(name)) {
            bail!("`{name}` does not compile:\n{}", errors(&said));
        }
        dropped.extend(wrong);
        fs::create_dir_all(copy.tree.root.join("target"))?;
        fs::write(&remembered, serde_json::to_vec(&dropped)?)?;
    }
    let (root, unviable) = (copy.tree.root.clone(), all - left.len());
    let mut built = Built { root, copy, sites: left, unviable, programs: BTreeMap::new() };
    tell("building the unit tests");
    built.add(tree, &["-p", "ivory-core", "--lib"])?;
    Ok(built)
}

impl Built {
    /// Builds what the detectors after the unit tests run, unless it is there.
    ///
    /// # Errors
    /// If it can't be built.
    pub(super) fn simulator(&mut self, tree: &Tree, tell: &dyn Fn(&str)) -> anyhow::Result<()> {
        if self.has_simulator() {
            return Ok(());
        }
        tell("building the simulator");
        // Its tests bring its program along.
        let tests = ["scenarios", "worlds", "kube_laws"].map(|name| ["--test", name]).concat();
        self.add(tree, &[&["-p", "ivory-sim"], &tests[..]].concat())
    }

    /// Whether that was built.
    pub(super) fn has_simulator(&self) -> bool {
        self.programs.contains_key("worlds")
    }

    fn add(&mut self, tree: &Tree, what: &[&str]) -> anyhow::Result<()> {
        let said = cargo(tree, &self.copy, &[&["test", "--no-run"], what].concat())?;
        ensure!(said.ok, "the copy can't be built:\n{}", said.stderr.trim());
        self.programs.extend(executables(&said));
        fs::write(self.root.join(PROGRAMS), serde_json::to_vec(&self.programs)?)?;
        Ok(())
    }
}

/// Gives the copy's crates a version of their own: cargo calls what it builds by name, version and place in the workspace,
/// and would take the copy's for the original's in the folder that both share for their dependencies.
fn apart(tree: &Tree, copy: &Copy) -> anyhow::Result<()> {
    let which = super::choose::number(&copy.tree.root.to_string_lossy());
    let own = |text: &str| -> String {
        let lines = text.lines().map(|line| match line.starts_with("version = ") {
            true => format!("version = \"0.0.0-mutants.{which}\"\n"),
            false => format!("{line}\n"),
        });
        lines.collect()
    };
    let manifest = tree.text("Cargo.toml").context("Cargo.toml is not there")?;
    copy.write("Cargo.toml", &own(&manifest))?;
    let lock = tree.text("Cargo.lock").context("Cargo.lock is not there")?;
    let (head, packages) = lock.split_once("[[package]]").context("Cargo.lock is empty")?;
    let packages =
        packages.split("[[package]]").map(|package| match package.contains("source = ") {
            true => package.to_owned(),
            false => own(package),
        });
    let packages: Vec<String> = packages.collect();
    copy.write("Cargo.lock", &format!("{head}[[package]]{}", packages.join("[[package]]")))
}

/// Runs cargo in the copy. What is built there must not lie where the sound programs are, but dependencies are shared.
fn cargo(tree: &Tree, copy: &Copy, args: &[&str]) -> anyhow::Result<Said> {
    let mut command = command();
    if std::env::var_os("CARGO_BUILD_BUILD_DIR").is_none() {
        command.env("CARGO_BUILD_BUILD_DIR", &tree.target);
    }
    command
        .args(args)
        .arg("--message-format=json")
        .current_dir(&copy.tree.root)
        .env("CARGO_TARGET_DIR", copy.tree.root.join("target"))
        .env("CARGO_TERM_COLOR", "never");
    said(&mut command).with_context(|| format!("cargo {}", args.join(" ")))
}

fn messages<'a>(said: &'a Said, reason: &'static str) -> impl Iterator<Item = Value> + 'a {
    let parsed = said.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(move |message| message["reason"] == reason)
}

/// The compiler's errors as people read them.
fn errors(said: &Said) -> String {
    let errors = messages(said, "compiler-message").filter(|m| m["message"]["level"] == "error");
    let texts = errors.filter_map(|m| m["message"]["rendered"].as_str().map(str::to_owned));
    texts.take(5).collect::<String>() + &said.stderr
}

fn executables(said: &Said) -> Vec<(String, PathBuf)> {
    let of = |message: Value| {
        let path = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
    };
    messages(said, "compiler-artifact").filter_map(of).collect()
}

/// The sites that the compiler's errors are about, by name and text.
fn culprits_in(said: &Said, files: &BTreeMap<String, Edited>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for message in messages(said, "compiler-message") {
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let mut spans: Vec<&Value> = message["spans"].as_array().into_iter().flatten().collect();
        spans.sort_by_key(|span| span["is_primary"] != true);
        for (file, edited) in files {
            let here = spans.iter().filter(|span| span["file_name"] == **file);
            let range = |span: &&Value| {
                let byte = |key: &str| usize::try_from(span[key].as_u64()?).ok();
                Some(byte("byte_start")?..byte("byte_end")?)
            };
            found.extend(culprits(&edited.places, &here.filter_map(range).collect::<Vec<_>>()));
        }
    }
    found
}
