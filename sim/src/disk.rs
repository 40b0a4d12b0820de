//! What is on a volume. Processes come and go; this stays, as long as the volume does.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::pgbackrest::Repository;
use crate::postgres::DataDirectory;

/// A volume's contents.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// How much fits, in bytes.
    pub capacity_bytes: u64,
    /// PostgreSQL data directories by their name at the volume's root: `pg18`, `pg18_bootstrap` (a restored one
    /// that waits for its instance), `pg18.failed`.
    pub directories: BTreeMap<Arc<str>, DataDirectory>,
    /// Whether nothing more fits (a fault). Growth ends it.
    pub full: bool,
    /// A pgBackRest repository.
    pub repository: Option<Repository>,
}

impl Volume {
    /// An empty volume.
    #[must_use]
    pub fn of(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, ..Self::default() }
    }

    /// Renames a data directory over whatever bears the new name. False when there is none.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        match self.directories.remove(from) {
            Some(directory) => {
                self.directories.insert(to.into(), directory);
                true
            }
            None => false,
        }
    }

    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, hash: &mut dyn Hasher) {
        let mut hash = hash;
        (self.capacity_bytes, self.full).hash(&mut hash);
        for (name, directory) in &self.directories {
            name.hash(&mut hash);
            directory.fingerprint(hash);
        }
        if let Some(repository) = &self.repository {
            repository.fingerprint(hash);
        }
    }
}
