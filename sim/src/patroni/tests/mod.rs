//! The differential cases of patroni.md §8.5 against what was measured with real Patroni (§8.6).

mod bench;
mod backups;
mod bootstrap;
mod cases;
