//! All mutants there are, and which of them are tried.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};

use super::handmade::Handmade;
use super::report::Report;
use super::sites::Site;
use super::{Args, edit, sites};
use crate::tree::Tree;

/// What of core is broken: a path's beginning, and how much likelier than elsewhere its mutants are drawn.
const SCOPE: &[(&str, f64)] = &[
    ("core/src/rules/", 2.0),
    ("core/src/steps.rs", 4.0),
    ("core/src/pass.rs", 3.0),
    ("core/src/command", 1.0),
    ("core/src/build/", 1.0),
    ("core/src/patroni/", 1.0),
    ("core/src/pgbackrest/", 1.0),
    ("core/src/postgres/", 1.0),
    ("core/src/wake.rs", 1.0),
    ("core/src/reads.rs", 1.0),
    ("core/src/queries.rs", 1.0),
];

/// Which mutants are meant.
pub(super) fn chosen<'a>(args: &Args, sites: &'a [Site], report: &Report) -> Vec<&'a Site> {
    if args.survivors {
        let survives = |site: &&Site| report.row(site).is_some_and(|row| row.kill.is_none());
        let named = |site: &&Site| args.only.as_ref().is_none_or(|text| site.name.contains(text));
        return sites.iter().filter(survives).filter(named).collect();
    }
    if let Some(text) = &args.only {
        return sites.iter().filter(|site| site.name.contains(text)).collect();
    }
    let mechanical: Vec<&Site> = sites.iter().filter(|site| is_mechanical(&site.name)).collect();
    let weight = |site: &Site| {
        let of = |(start, weight): &(&str, f64)| site.file.starts_with(start).then_some(*weight);
        SCOPE.iter().find_map(of).unwrap_or(1.0)
    };
    let mut chosen: Vec<&Site> = sites.iter().filter(|site| !is_mechanical(&site.name)).collect();
    chosen.extend(drawn(mechanical, args.seed, weight, args.sample));
    chosen
}

/// Whether a mutant of this name was made mechanically: those are named by their place.
pub(super) fn is_mechanical(name: &str) -> bool {
    name.starts_with("core/")
}

/// So many, drawn by a seed. Whether one is drawn follows from its name, so that what comes and goes elsewhere in core
/// changes little.
pub(super) fn drawn(
    mut sites: Vec<&Site>,
    seed: u64,
    weight: impl Fn(&Site) -> f64,
    count: usize,
) -> Vec<&Site> {
    // The smaller the key, the sooner; of a uniform number u, that is -ln(u) / weight (Efraimidis and Spirakis).
    let key = |site: &&Site| {
        let number = number(&format!("{seed} {}", site.name)) >> 11;
        let uniform = (number as f64 + 1.0) / (1_u64 << 53) as f64;
        -uniform.ln() / weight(site)
    };
    sites.sort_by(|a, b| key(a).total_cmp(&key(b)));
    sites.truncate(count);
    sites
}

/// Every way to break core, those made by hand first.
///
/// # Errors
/// If a file can't be read, or a text of those made by hand is not in its place.
pub(super) fn all_sites(tree: &Tree, handmade: &Handmade) -> anyhow::Result<Vec<Site>> {
    let mut all = handmade.sites(tree)?;
    for path in tree.files()? {
        let within = SCOPE.iter().any(|(start, _)| path.starts_with(start));
        if within && path.ends_with(".rs") && !path.ends_with("tests.rs") {
            let text = tree.text(&path).with_context(|| path.clone())?;
            all.extend(sites::sites(&path, &text).with_context(|| path.clone())?);
        }
    }
    let all = edit::nested(all);
    let names: BTreeSet<&String> = all.iter().map(|site| &site.name).collect();
    ensure!(names.len() == all.len(), "two mutants have one name");
    Ok(all)
}

/// A text on one line, and not too long.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// A number for a text: FNV-1a of 64 bits, and its bits mixed.
pub(super) fn number(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}
