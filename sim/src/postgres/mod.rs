//! PostgreSQL as a model: timelines, LSNs, roles, databases, parameters, streaming; no pages, no SQL.
//! This module holds the client contract ([`SqlRequest`], [`SqlReply`]) and the replication protocol.

pub mod acceptance;
pub mod auth;
pub mod contents;
pub mod data;
pub mod parameters;
pub mod psql;
pub mod roles;
pub mod server;
pub mod sync_names;
pub mod wal;

use std::sync::Arc;

use ivory_core::Sensitive;

pub use data::DataDirectory;
use wal::{Ancestor, Lsn, Record};

/// A statement of a client, with its credentials.
#[derive(Clone, Debug)]
pub struct SqlRequest {
    /// Role.
    pub user: Arc<str>,
    /// Password; checked against the role's SCRAM verifier.
    pub password: Sensitive,
    /// Database.
    pub database: Arc<str>,
    /// The root certificates (PEM) with which the client checks the server (`sslmode=verify-full`), and
    /// the host name that it connected to; none does not check.
    pub verify: Option<(Arc<str>, Arc<str>)>,
    /// What to do.
    pub statement: Statement,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// Inserts and commits one numbered row of a client.
    Insert {
        /// The client.
        client: Arc<str>,
        /// The row's number.
        row: u64,
    },
    /// Reads a client's rows: their numbers.
    Rows {
        /// The client.
        client: Arc<str>,
    },
    /// Reads nothing; shows that a connection works, and whether the server is read-only.
    Ping,
}

/// What the server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SqlReply {
    /// The commit is acknowledged.
    Committed,
    /// Rows.
    Rows(Vec<u64>),
    /// Connected.
    Pong {
        /// Whether the server is in recovery.
        read_only: bool,
    },
    /// An error: SQLSTATE and message.
    Error {
        /// SQLSTATE, for example `25006`. Errors that libpq makes itself (refused, TLS) have `08001`,
        /// a connection lost in a statement has `08006`.
        code: &'static str,
        /// Message in PostgreSQL's words.
        message: String,
    },
}

/// Replication protocol.
#[derive(Clone, Debug)]
pub enum StreamRequest {
    /// A standby asks for log after a position, and thereby says that it has flushed everything before.
    /// The answer is held until there is something.
    Fetch {
        /// The standby's `application_name`.
        standby: Arc<str>,
        /// Its system identifier.
        system_id: u64,
        /// Its timeline.
        timeline: u32,
        /// Where its log ends.
        from: Lsn,
    },
    /// `IDENTIFY_SYSTEM`, and what Patroni asks beside it before it decides on `pg_rewind`.
    Identify,
    /// A base backup, or what `pg_rewind` copies.
    Copy,
}

/// Replication protocol.
#[derive(Clone, Debug)]
pub enum StreamReply {
    /// Log that follows on what the standby has.
    Records(Arc<[Record]>),
    /// Who the server is.
    Identity(Identity),
    /// The directory as it is now.
    Copy(Arc<DataDirectory>),
    /// No, in PostgreSQL's words.
    Refused(String),
}

/// Who a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// System identifier.
    pub system_id: u64,
    /// Timeline.
    pub timeline: u32,
    /// Where its log ends.
    pub end: Lsn,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Whether the last checkpoint is on this timeline, without which `pg_rewind` can't use it.
    pub checkpointed: bool,
    /// The timeline's ancestors.
    pub history: Arc<Vec<Ancestor>>,
}
