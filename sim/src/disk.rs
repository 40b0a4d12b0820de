//! What is on a volume. Processes come and go; this stays, as long as the volume does.

use std::hash::{Hash, Hasher};

use crate::pgbackrest::Repository;
use crate::postgres::DataDirectory;

/// A volume's contents.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// How much fits, in bytes.
    pub capacity_bytes: u64,
    /// A PostgreSQL data directory (and what the operator's scripts keep beside it).
    pub data: Option<DataDirectory>,
    /// A pgBackRest repository.
    pub repository: Option<Repository>,
}

impl Volume {
    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, hash: &mut dyn Hasher) {
        let mut hash = hash;
        self.capacity_bytes.hash(&mut hash);
        if let Some(data) = &self.data {
            data.fingerprint(hash);
        }
        if let Some(repository) = &self.repository {
            repository.fingerprint(hash);
        }
    }
}
