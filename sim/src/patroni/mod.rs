//! Patroni as a model: the high-availability loop of one member ([`Member`]), which also is the PostgreSQL
//! beneath it, in the container `database`. It follows Patroni 4.1.4, with the differences of 3.x by
//! [`config::Version`]. Deliberately absent: Citus, watchdog, callbacks, slots, tags beyond `nofailover` and
//! `failover_priority`.

mod action;
mod archiver;
pub mod check;
mod clone;
pub mod config;
mod cycle;
pub mod dcs;
mod demote;
mod elect;
mod exec;
mod failsafe;
pub mod fault;
mod follow;
mod member;
pub mod programs;
mod receive;
pub mod rest;
mod serve;
mod status;
mod storage;
mod switchover;
mod sync;
#[cfg(test)]
mod tests;
mod waits;
mod wal_place;

pub use member::{Member, MemberStart};

use crate::time::Span;

/// How long things take (patroni.md §8.3 and §8.6, measured with PostgreSQL 15 and tiny data).
pub mod durations {
    use super::Span;

    /// Starting PostgreSQL until it accepts connections.
    pub const START: Span = Span::ms(300);
    /// Until Patroni notices that a start has failed: it looks once a second.
    pub const START_FAILS: Span = Span::ms(1000);
    /// Crash recovery in single-user mode.
    pub const CRASH_RECOVERY: Span = Span::ms(250);
    /// `initdb` and what follows it.
    pub const INITDB: Span = Span::ms(900);
    /// Bootstrap by renaming a directory and starting it.
    pub const EXISTING: Span = Span::ms(700);
    /// `pg_ctl promote` until writes are accepted.
    pub const PROMOTE: Span = Span::ms(150);
    /// The checkpoint after a promotion.
    pub const CHECKPOINT: Span = Span::ms(1000);
    /// An immediate stop.
    pub const STOP_IMMEDIATE: Span = Span::ms(50);
    /// A fast stop.
    pub const STOP_FAST: Span = Span::ms(100);
    /// A checkpoint before a wanted stop.
    pub const CHECKPOINT_BEFORE_STOP: Span = Span::ms(400);
    /// Until Patroni notices that a stopping server has written its shutdown checkpoint.
    pub const NOTICE_SHUTDOWN: Span = Span::ms(1350);
    /// Grace for standbys after the shutdown checkpoint (3.2.1+).
    pub const GRACE: Span = Span::ms(1000);
    /// The pause after a demotion that gave the key away.
    pub const AFTER_DEMOTE: Span = Span::ms(2000);
    /// The least that a base backup takes.
    pub const BASEBACKUP: Span = Span::ms(1400);
    /// Bytes that a copy moves in a second.
    pub const COPY_BYTES_PER_S: u64 = 200 << 20;
    /// `pg_rewind`.
    pub const REWIND: Span = Span::ms(400);
    /// The wait after `synchronous_standby_names` was changed.
    pub const SYNC_WAIT: Span = Span::ms(2000);
    /// Reload until `pending_restart` is known.
    pub const RELOAD: Span = Span::ms(1000);
    /// Between two attempts of a walreceiver (`wal_retrieve_retry_interval`).
    pub const RECEIVE_RETRY: Span = Span::s(5);
    /// How long a walreceiver waits in silence (`wal_receiver_timeout`).
    pub const RECEIVE_TIMEOUT: Span = Span::s(60);
    /// Between two tries of a failed write to the store.
    pub const RETRY: Span = Span::ms(1000);
    /// How long a probe of another member may take.
    pub const PROBE: Span = Span::s(2);
    /// From the last write to the process's end.
    pub const EXIT: Span = Span::ms(250);
    /// Until patronictl has started and read the store.
    pub const PATRONICTL: Span = Span::ms(150);
    /// Between the last archived segment and a forced switch (`archive_timeout`).
    pub const ARCHIVE_TIMEOUT: Span = Span::s(60);

    /// How long it takes to copy so many bytes, at least `least`.
    #[must_use]
    pub fn copy(bytes: u64, least: Span) -> Span {
        let us = bytes.saturating_mul(1_000_000) / COPY_BYTES_PER_S;
        least.max(Span::us(i64::try_from(us).unwrap_or(i64::MAX)))
    }
}
