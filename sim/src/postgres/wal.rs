//! The write-ahead log: positions, records, segments and timelines.

use std::sync::Arc;

use ivory_core::Sensitive;

use crate::time::Time;

/// A position in the log, in bytes.
pub type Lsn = u64;

/// Bytes of a segment file.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Where the log of a fresh `initdb` ends, about: a few segments' worth of catalogue.
pub const FIRST_LSN: Lsn = 0x0152_8A00;

/// What a record changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// One committed row of a client.
    Row {
        /// The client.
        client: Arc<str>,
        /// Its number.
        row: u64,
    },
    /// A database is created.
    Database(Arc<str>),
    /// A role is created or altered.
    Role {
        /// Its name.
        name: Arc<str>,
        /// Its verifier; none leaves the former.
        verifier: Option<Sensitive>,
        /// Databases that it may connect to, besides those it already may.
        databases: Arc<[Arc<str>]>,
    },
    /// The five parameters that a standby must not have lower ([`Floors`]).
    Parameters(Floors),
    /// The rest of a segment is skipped.
    Switch,
    /// A checkpoint; a shutdown's is the last record of its process.
    Checkpoint {
        /// Whether it is a shutdown's.
        shutdown: bool,
    },
    /// The first record of a new timeline.
    EndOfRecovery,
}

impl Change {
    /// About how many bytes it takes in the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Change::Row { .. } => 192,
            Change::Database(_) => 2 << 20,
            Change::Role { .. } => 1_024,
            Change::Parameters(_) | Change::EndOfRecovery => 96,
            Change::Checkpoint { .. } => 120,
            Change::Switch => 0,
        }
    }
}

/// `max_connections`, `max_worker_processes`, `max_wal_senders`, `max_prepared_transactions`,
/// `max_locks_per_transaction`: what a standby's control file demands at least (patroni.md §6.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Floors(pub [u32; 5]);

/// The names of [`Floors`], in its order.
pub const FLOOR_NAMES: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

impl Default for Floors {
    fn default() -> Self {
        Self([100, 8, 10, 0, 64])
    }
}

impl Floors {
    /// Whether every value is at least the other's.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| *a >= b)
    }
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it ends.
    pub end: Lsn,
    /// When it was written.
    pub at: Time,
    /// On which timeline.
    pub timeline: u32,
    /// What it changes.
    pub change: Change,
}

/// One ancestor of a timeline: `N.history` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ancestor {
    /// The ancestor.
    pub timeline: u32,
    /// Where its successor branched off.
    pub switch: Lsn,
}

/// The name of the segment file in which a position lies.
#[must_use]
pub fn segment_name(timeline: u32, lsn: Lsn) -> String {
    let segment = lsn / SEGMENT_BYTES;
    format!("{timeline:08X}{:08X}{:08X}", segment >> 8, segment & 0xff)
}

/// Where the segment of a position begins.
#[must_use]
pub fn segment_start(lsn: Lsn) -> Lsn {
    lsn / SEGMENT_BYTES * SEGMENT_BYTES
}

/// Where the segment of a position ends.
#[must_use]
pub fn segment_end(lsn: Lsn) -> Lsn {
    (lsn / SEGMENT_BYTES + 1) * SEGMENT_BYTES
}

/// Records of one server, oldest first, as far back as they are kept.
#[derive(Clone, Debug, Default)]
pub struct Wal {
    records: Arc<Vec<Record>>,
    /// How many of them in front are recycled. They go only when they are as many as the others, which are moved then.
    gone: usize,
    /// Everything at or before this position is recycled.
    recycled: Lsn,
}

impl Wal {
    /// A log that begins after a position.
    #[must_use]
    pub fn from(lsn: Lsn) -> Self {
        Self { recycled: lsn, ..Self::default() }
    }

    /// The position after which everything is here.
    #[must_use]
    pub fn begin(&self) -> Lsn {
        self.recycled
    }

    fn kept(&self) -> &[Record] {
        &self.records[self.gone..]
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        Arc::make_mut(&mut self.records).push(record);
    }

    /// The records after a position; none when some of them are recycled.
    #[must_use]
    pub fn after(&self, lsn: Lsn) -> Option<&[Record]> {
        if lsn < self.recycled {
            return None;
        }
        let kept = self.kept();
        Some(&kept[kept.partition_point(|r| r.end <= lsn)..])
    }

    /// When the newest transaction up to a position was committed, if it is kept.
    #[must_use]
    pub fn last_transaction(&self, lsn: Lsn) -> Option<Time> {
        let commits = |r: &&Record| {
            let change = &r.change;
            matches!(change, Change::Row { .. } | Change::Role { .. } | Change::Database(_))
        };
        self.kept().iter().rev().filter(|r| r.end <= lsn).find(commits).map(|r| r.at)
    }

    /// Forgets the records at or before a position.
    pub fn recycle(&mut self, lsn: Lsn) {
        if lsn > self.recycled {
            self.recycled = lsn;
            self.gone += self.kept().partition_point(|r| r.end <= lsn);
            if self.gone > 0 && self.gone * 2 >= self.records.len() {
                Arc::make_mut(&mut self.records).drain(..self.gone);
                self.gone = 0;
            }
        }
    }

    /// Forgets the records after a position.
    pub fn truncate(&mut self, lsn: Lsn) {
        let keep = self.gone + self.kept().partition_point(|r| r.end <= lsn);
        if keep < self.records.len() {
            Arc::make_mut(&mut self.records).truncate(keep);
        }
    }
}
