//! PostgreSQL as a model: timelines, LSNs, roles, databases, parameters, streaming; no pages, no SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Sensitive;

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
        /// SQLSTATE, for example `25006`.
        code: &'static str,
        /// Message in PostgreSQL's words.
        message: String,
    },
}

/// Replication protocol.
#[derive(Clone, Debug)]
pub enum StreamRequest {}
/// Replication protocol.
#[derive(Clone, Debug)]
pub enum StreamReply {}

/// A data directory.
#[derive(Clone, Debug, Default)]
pub struct DataDirectory {
    /// Rows by client, as placeholder of tables.
    pub rows: BTreeMap<Arc<str>, Vec<u64>>,
}

impl DataDirectory {
    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, _hash: &mut dyn std::hash::Hasher) {}
}
