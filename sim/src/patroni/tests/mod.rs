//! The differential cases of patroni.md §8.5 against what was measured with real Patroni (§8.6).

mod backups;
mod bench;
mod bootstrap;
mod cases;
mod faults;
mod kubelet;
