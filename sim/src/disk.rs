//! What is on a volume. Processes come and go; this stays, as long as the volume does.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::pgbackrest::Repository;
use crate::postgres::DataDirectory;
use crate::time::Span;

/// Why nothing can be written to a volume.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trouble {
    /// Nothing more fits (ENOSPC). Growth ends it.
    Full,
    /// Its file system takes no writes (EROFS), as Linux has it after an error of the device.
    ReadOnly,
}

impl Trouble {
    /// In the words of the C library.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Full => "No space left on device",
            Self::ReadOnly => "Read-only file system",
        }
    }

    /// The number of the error in Linux, as pgBackRest prints it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Full => 28,
            Self::ReadOnly => 30,
        }
    }
}

/// A volume's contents.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// How much fits, in bytes.
    pub capacity_bytes: u64,
    /// PostgreSQL data directories by their name at the volume's root: `pg18`, `pg18_bootstrap` (a restored one
    /// that waits for its instance), `pg18.failed`.
    pub directories: BTreeMap<Arc<str>, DataDirectory>,
    /// Why nothing can be written to it (a fault).
    pub trouble: Option<Trouble>,
    /// How much longer a flush takes than on a good disk (a fault).
    pub slow: Span,
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
        (self.capacity_bytes, self.trouble, self.slow).hash(&mut hash);
        for (name, directory) in &self.directories {
            name.hash(&mut hash);
            directory.fingerprint(hash);
        }
        if let Some(repository) = &self.repository {
            repository.fingerprint(hash);
        }
    }
}
