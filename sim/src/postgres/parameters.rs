//! Parameters: which need a restart, and the five that standbys must not have lower than their primary.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::postgres::wal::{FLOOR_NAMES, Floors};

/// Settings by name.
pub type Parameters = Arc<BTreeMap<String, String>>;

/// Parameters that only a restart changes (context `postmaster`), of those that people set.
pub const POSTMASTER: &[&str] = &[
    "archive_mode",
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "hot_standby",
    "huge_pages",
    "jit_provider",
    "max_connections",
    "max_files_per_process",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "shared_buffers",
    "shared_preload_libraries",
    "track_activity_query_size",
    "track_commit_timestamp",
    "unix_socket_directories",
    "wal_buffers",
    "wal_level",
    "wal_log_hints",
];

/// The wanted values of the five ordered parameters; what is not set has its default.
#[must_use]
pub fn floors(wanted: &BTreeMap<String, String>) -> Floors {
    let mut floors = Floors::default();
    for (value, name) in floors.0.iter_mut().zip(FLOOR_NAMES) {
        if let Some(set) = wanted.get(name).and_then(|v| v.parse().ok()) {
            *value = set;
        }
    }
    floors
}

/// A parameter that waits for a restart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Waiting {
    /// Its name.
    pub name: &'static str,
    /// What the server runs with; empty for the default.
    pub old: String,
    /// What it will run with; empty for the default.
    pub new: String,
}

/// What a running server needs a restart for, to have what is wanted (patroni.md §6.6, §8.4-14).
#[must_use]
pub fn pending_restart(
    running: &BTreeMap<String, String>,
    running_floors: &Floors,
    wanted: &BTreeMap<String, String>,
) -> Vec<Waiting> {
    let numbers = running_floors.0.into_iter().zip(floors(wanted).0).zip(FLOOR_NAMES);
    let numbers = numbers.map(|((old, new), name)| (name, old.to_string(), new.to_string()));
    let value = |map: &BTreeMap<String, String>, name| map.get(name).cloned().unwrap_or_default();
    let others = POSTMASTER.iter().filter(|name| !FLOOR_NAMES.contains(name));
    let others = others.map(|name| (*name, value(running, *name), value(wanted, *name)));
    numbers
        .chain(others)
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| Waiting { name, old, new })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn only_postmaster_parameters_need_a_restart() {
        let running = map(&[("max_connections", "100"), ("shared_buffers", "128MB")]);
        for (wanted, pending) in [
            (map(&[("max_connections", "100"), ("shared_buffers", "128MB")]), false),
            (map(&[("shared_buffers", "128MB"), ("work_mem", "1GB")]), false),
            (map(&[("max_connections", "200"), ("shared_buffers", "128MB")]), true),
            (map(&[("shared_buffers", "256MB")]), true),
            (map(&[]), true),
        ] {
            let floors = floors(&running);
            let waiting = pending_restart(&running, &floors, &wanted);
            assert_eq!(!waiting.is_empty(), pending, "{wanted:?}");
        }
    }
}
