//! A data directory: what of PostgreSQL survives its processes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::postgres::contents::Contents;
use crate::postgres::wal::{
    Ancestor, Change, FIRST_LSN, Floors, Lsn, Record, Wal, segment_end, segment_start,
};
use crate::time::Time;

/// How much log is kept for standbys beyond the last checkpoint (`wal_keep_size`, Patroni's default).
const WAL_KEEP_BYTES: u64 = 128 << 20;

/// The state in `pg_control` (patroni.md §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Control {
    /// A primary runs, or crashed.
    InProduction,
    /// A primary was stopped cleanly.
    ShutDown,
    /// A standby runs, or was killed.
    InArchiveRecovery,
    /// A standby was stopped cleanly.
    ShutDownInRecovery,
}

/// A data directory.
#[derive(Clone, Debug)]
pub struct DataDirectory {
    /// `PG_VERSION`.
    pub version: i32,
    /// The cluster's identity, drawn by `initdb`.
    pub system_id: u64,
    /// The state in `pg_control`.
    pub control: Control,
    /// The timeline of the newest record.
    pub timeline: u32,
    /// The timeline of the last checkpoint, which a promotion's comes a little after.
    pub checkpoint_timeline: u32,
    /// The ancestors of [`DataDirectory::timeline`], oldest first.
    pub history: Arc<Vec<Ancestor>>,
    /// Where the log ends: flushed on a primary, received on a standby.
    pub end: Lsn,
    /// What the last record was: a clean shutdown's checkpoint needs no rewind.
    pub ends_with_shutdown: bool,
    /// Up to which record the contents are.
    pub replayed: Lsn,
    /// Replay waits: a parameter is lower than the primary's (§6.6).
    pub replay_paused: bool,
    /// Whether `standby.signal` is there.
    pub standby_signal: bool,
    /// What the control file demands of a standby's parameters.
    pub floors: Floors,
    /// The contents as of `replayed`.
    pub contents: Contents,
    /// The kept log.
    pub wal: Wal,
    /// Up to where the log was archived by this directory's server.
    pub archived: Lsn,
    /// Since when finished log waits for the archive: the oldest `.ready` file in `archive_status`.
    pub ready_since: Option<Time>,
    /// `patroni.dynamic.json`.
    pub dynamic: Option<Arc<str>>,
    /// Where `pg_wal` really is, for example `/pgdata/pg18_wal`.
    pub wal_directory: Arc<str>,
    /// Whether `pg_control` became unreadable (an interrupted copy).
    pub broken: bool,
}

impl DataDirectory {
    /// `initdb`.
    #[must_use]
    pub fn initialize(version: i32, system_id: u64, wal_directory: &str) -> Self {
        Self {
            version,
            system_id,
            control: Control::ShutDown,
            timeline: 1,
            checkpoint_timeline: 1,
            history: Arc::default(),
            end: FIRST_LSN,
            ends_with_shutdown: true,
            replayed: FIRST_LSN,
            replay_paused: false,
            standby_signal: false,
            floors: Floors::default(),
            contents: Contents::fresh(),
            wal: Wal::from(FIRST_LSN),
            archived: FIRST_LSN,
            ready_since: None,
            dynamic: None,
            wal_directory: wal_directory.into(),
            broken: false,
        }
    }

    /// A primary writes a record; it is flushed when this returns its end.
    pub fn write(&mut self, now: Time, change: Change) -> Lsn {
        self.contents.apply(&change);
        self.end = match change {
            Change::Switch => segment_end(self.end),
            _ => self.end + change.bytes(),
        };
        self.ends_with_shutdown = change == Change::Checkpoint { shutdown: true };
        if let Change::Parameters(floors) = change {
            self.floors = floors;
        }
        self.replayed = self.end;
        self.wal.push(Record { end: self.end, at: now, timeline: self.timeline, change });
        self.end
    }

    /// A standby receives records, which follow on what it has; and replays them unless `floors`
    /// (what it runs with) are lower than a record demands.
    pub fn receive(&mut self, records: &[Record], floors: &Floors) {
        for record in records {
            // A late answer of a former upstream is no way back to its timeline.
            if record.end <= self.end || record.timeline < self.timeline {
                continue;
            }
            if record.timeline != self.timeline {
                self.branch(record.timeline);
            }
            self.end = record.end;
            self.ends_with_shutdown =
                matches!(record.change, Change::Checkpoint { shutdown: true });
            self.wal.push(record.clone());
        }
        self.replay(floors);
    }

    /// Replays what was received.
    pub fn replay(&mut self, floors: &Floors) {
        if self.replayed == self.end {
            return;
        }
        let Some(records) = self.wal.after(self.replayed) else {
            return;
        };
        for record in records {
            match record.change {
                Change::Parameters(wanted) => {
                    self.floors = wanted;
                    if !floors.cover(&wanted) {
                        self.replay_paused = true;
                        self.replayed = record.end;
                        return;
                    }
                }
                Change::Checkpoint { .. } => self.checkpoint_timeline = record.timeline,
                _ => {}
            }
            self.contents.apply(&record.change);
            self.replayed = record.end;
        }
    }

    /// Makes the log go on on another timeline from here.
    fn branch(&mut self, timeline: u32) {
        Arc::make_mut(&mut self.history)
            .push(Ancestor { timeline: self.timeline, switch: self.end });
        self.timeline = timeline;
    }

    /// Promotion: a new timeline begins.
    pub fn promote(&mut self, now: Time, timeline: u32) {
        self.replay_paused = false;
        self.replay(&Floors([u32::MAX; 5]));
        self.branch(timeline);
        self.standby_signal = false;
        self.control = Control::InProduction;
        self.write(now, Change::EndOfRecovery);
    }

    /// A checkpoint; recycles old log.
    pub fn checkpoint(&mut self, now: Time, shutdown: bool) {
        self.write(now, Change::Checkpoint { shutdown });
        self.checkpoint_timeline = self.timeline;
        self.recycle();
    }

    /// Forgets log that nobody is promised any more. What is not archived stays, however much that is.
    pub fn recycle(&mut self) {
        let keep = self.end.saturating_sub(WAL_KEEP_BYTES);
        self.wal.recycle(keep.min(self.archived));
    }

    /// A standby takes the segments that it received whole for archived, since that is the primary's business
    /// (`archive_mode` is `on`, not `always`). After a promotion it archives the last one, and what follows.
    pub fn received_whole(&mut self) {
        self.archived = self.archived.max(segment_start(self.end));
    }

    /// The state left by a stop; `clean` is a fast shutdown, otherwise a crash.
    pub fn stopped(&mut self, now: Time, primary: bool, clean: bool) {
        match (primary, clean) {
            (true, true) => {
                self.checkpoint(now, true);
                self.control = Control::ShutDown;
            }
            (true, false) => self.control = Control::InProduction,
            (false, true) => self.control = Control::ShutDownInRecovery,
            (false, false) => self.control = Control::InArchiveRecovery,
        }
    }

    /// Crash recovery in single-user mode: the state of a clean stop.
    pub fn recover_single_user(&mut self, now: Time) {
        self.checkpoint(now, true);
        self.control = Control::ShutDown;
    }

    /// Where a timeline's successor branched off in this directory's history; none if it is no ancestor.
    #[must_use]
    pub fn switch_of(&self, timeline: u32) -> Option<Lsn> {
        switch_of(&self.history, timeline)
    }

    /// What a server with this directory can send to a standby that has the log up to a position on a
    /// timeline.
    ///
    /// # Errors
    /// In PostgreSQL's words, when it can't follow.
    pub fn stream(&self, system_id: u64, timeline: u32, from: Lsn) -> Result<&[Record], String> {
        use ivory_core::command::lsn_text;

        use crate::postgres::wal::segment_name;
        if system_id != self.system_id {
            return Err("database system identifier differs between the primary and standby".into());
        }
        if timeline == self.timeline {
            if from > self.end {
                return Err(format!(
                    "requested starting point {} is ahead of the WAL flush position of this server {}",
                    lsn_text(from),
                    lsn_text(self.end)
                ));
            }
        } else {
            match self.switch_of(timeline) {
                Some(switch) if from <= switch => {}
                Some(_) => {
                    return Err(format!(
                        "requested starting point {} on timeline {timeline} is not in this server's history",
                        lsn_text(from)
                    ));
                }
                None => {
                    return Err(format!(
                        "requested timeline {timeline} is not in this server's history"
                    ));
                }
            }
        }
        self.wal.after(from).ok_or_else(|| {
            format!(
                "requested WAL segment {} has already been removed",
                segment_name(timeline, from)
            )
        })
    }

    /// A copy for a standby: what `pg_basebackup`, and in effect `pg_rewind`, leaves.
    #[must_use]
    pub fn copy_for_standby(&self, wal_directory: &str) -> Self {
        Self {
            control: Control::InArchiveRecovery,
            standby_signal: true,
            dynamic: None,
            wal_directory: wal_directory.into(),
            archived: self.end,
            ready_since: None,
            ..self.clone()
        }
    }

    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, hash: &mut dyn Hasher) {
        let mut hash = hash;
        (self.version, self.control, self.timeline).hash(&mut hash);
        (self.standby_signal, self.floors, self.broken).hash(&mut hash);
        self.contents.fingerprint(hash);
    }
}

/// Where a timeline's successor branched off, by a list of ancestors.
#[must_use]
pub fn switch_of(history: &[Ancestor], timeline: u32) -> Option<Lsn> {
    history.iter().find(|a| a.timeline == timeline).map(|a| a.switch)
}
