//! What is read from outside, whatever it may be: each target takes any bytes, and panics if whoever reads them does, or if
//! a law of what was read is broken. `cargo fuzz` drives them by coverage; the tests drive them by seeds and what is near.
//!
//! Not here: what only this operator writes and reads, whose properties stand beside it.

mod database;
mod kubernetes;
mod texts;

pub use database::{certificates, commands, patroni, pgbackrest};
pub use kubernetes::{cluster, requests};
pub use texts::{cron, quantity};

/// A target: any bytes, and a panic where something is wrong. It tells whether the bytes meant anything.
pub type Target = fn(&[u8]) -> bool;

/// All targets by their names, which are those of the programs and of the folders of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("certificates", certificates),
    ("cluster", cluster),
    ("commands", commands),
    ("cron", cron),
    ("patroni", patroni),
    ("pgbackrest", pgbackrest),
    ("quantity", quantity),
    ("requests", requests),
];

/// The text up to a line of `--`, and what comes after it.
fn halves(text: &str) -> (&str, &str) {
    text.split_once("\n--\n").unwrap_or((text, ""))
}
