//! What actors ask each other over the network or on one node: a closed set, so that a trace can name
//! every message and a fault can choose among them. What a call means is its receiver's business.

use ivory_core::command::Command;
use ivory_core::read::Output;

use crate::patroni::rest::{RestReply, RestRequest};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::{SqlReply, SqlRequest, StreamReply, StreamRequest};

/// A question from one actor to another.
#[derive(Clone, Debug)]
pub enum Call {
    /// A command in the container, by way of the kubelet.
    Exec(Command),
    /// Patroni's REST API.
    Rest(RestRequest),
    /// PostgreSQL's client protocol.
    Sql(SqlRequest),
    /// PostgreSQL's replication protocol, and base backups.
    Stream(StreamRequest),
    /// pgBackRest's protocol.
    Backrest(BackrestRequest),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Call::Exec`].
    Exec(Output),
    /// To [`Call::Rest`].
    Rest(RestReply),
    /// To [`Call::Sql`].
    Sql(SqlReply),
    /// To [`Call::Stream`].
    Stream(StreamReply),
    /// To [`Call::Backrest`].
    Backrest(BackrestReply),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// Nobody listens there.
    Refused,
    /// Nothing came back in time; it may have been done all the same.
    TimedOut,
    /// The other side went away in the middle.
    Reset,
    /// The API server refused to pass it on (commands in containers only).
    Api(crate::kube::Status),
}

impl Call {
    /// One word for traces.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Call::Exec(_) => "exec",
            Call::Rest(_) => "rest",
            Call::Sql(_) => "sql",
            Call::Stream(_) => "stream",
            Call::Backrest(_) => "pgbackrest",
        }
    }
}
