//! The mutants that people wrote: bugs that other controllers had, planted in core. `ci/mutants.yaml` has them, and why
//! survivors survive.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::sites::{ON, Site, Switch};
use crate::tree::Tree;

const FILE: &str = "ci/mutants.yaml";

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handmade {
    mutants: Vec<Planted>,
    /// Names of mutants that survive, and why that is right.
    pub(super) explained: BTreeMap<String, String>,
}

/// One bug.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planted {
    /// What goes wrong, as a sentence.
    name: String,
    /// The rows of the catalogue of controllers' bugs that it stands for.
    class: String,
    file: String,
    /// Where `text` stands, if it stands in the file more than once.
    within: Option<String>,
    /// An expression, or statements: what is there.
    text: String,
    /// What is there instead.
    instead: String,
}

impl Handmade {
    /// # Errors
    /// If the file can't be read.
    pub(super) fn read(tree: &Tree) -> anyhow::Result<Self> {
        let text = tree.text(FILE).with_context(|| format!("{FILE} is not there"))?;
        serde_saphyr::from_str(&text).with_context(|| FILE.to_owned())
    }

    /// Their sites.
    ///
    /// # Errors
    /// If a text is not in its file exactly once.
    pub(super) fn sites(&self, tree: &Tree) -> anyhow::Result<Vec<Site>> {
        self.mutants.iter().map(|planted| planted.site(tree)).collect()
    }
}

impl Planted {
    fn site(&self, tree: &Tree) -> anyhow::Result<Site> {
        let file = tree.text(&self.file).with_context(|| format!("{}: is gone", self.file))?;
        let once = |within: &str, text: &str| match &places(within, text)[..] {
            [place] => Ok(place.clone()),
            found => bail!("{}: stands {} times in {}: {text}", self.name, found.len(), self.file),
        };
        let place = match &self.within {
            Some(within) => {
                let around = once(&file, within)?;
                let inner = once(&file[around.clone()], &self.text)?;
                around.start + inner.start..around.start + inner.end
            }
            None => once(&file, &self.text)?,
        };
        let (text, instead) = (self.text.trim(), self.instead.trim());
        let (open, close) = match text.ends_with(';') || text.starts_with("for ") {
            true => (format!("if {ON} {{ {instead} }} else {{ "), " }"),
            false => (format!("(if {ON} {{ {instead} }} else {{ "), " })"),
        };
        let switch = Switch { start: place.start, end: place.end, open, close: close.to_owned() };
        Ok(Site {
            name: self.name.clone(),
            file: self.file.clone(),
            operator: self.class.clone(),
            text: super::choose::short(text),
            switch,
        })
    }
}

/// Where a text stands in another, white space aside.
fn places(within: &str, text: &str) -> Vec<Range<usize>> {
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let rest: Vec<&str> = words.collect();
    let end = |start: usize| {
        rest.iter().try_fold(start + first.len(), |at, word| {
            let left = &within[at..];
            let next = left.trim_start();
            let there = next.len() < left.len() && next.starts_with(word);
            there.then(|| at + left.len() - next.len() + word.len())
        })
    };
    let starts = within.match_indices(first).map(|(start, _)| start);
    starts.filter_map(|start| Some(start..end(start)?)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::Handmade;
    use crate::tree::Tree;

    #[test]
    fn a_text_is_found_however_its_lines_are_broken() {
        let within = "a(b,\n   c); a(b, c); a(b,c);";
        assert_eq!(super::places(within, "a(b, c);"), [0..11, 12..20]);
    }

    #[test]
    fn what_is_planted_by_hand_still_has_its_place_and_what_is_explained_still_exists() {
        let tree = Tree::around(Path::new(env!("CARGO_MANIFEST_DIR")), false).expect("a workspace");
        let handmade = Handmade::read(&tree).expect("the file");
        let sites = crate::mutants::choose::all_sites(&tree, &handmade).expect("every text once");
        for name in handmade.explained.keys() {
            assert!(sites.iter().any(|s| s.name == *name), "`{name}` is explained, and is none");
        }
        // A text that is a part of an expression only can't be switched, and nothing is tried then.
        let files: BTreeSet<&String> = sites.iter().map(|s| &s.file).collect();
        for file in files {
            let here: Vec<_> = sites.iter().filter(|s| s.file == *file).collect();
            let edited = crate::mutants::edit::edit(&tree.text(file).expect("a file"), &here);
            let parsed = syn::parse_file(&edited.text);
            assert!(parsed.is_ok(), "{file} with its mutants: {:?}", parsed.err());
        }
    }
}
