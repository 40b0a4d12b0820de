//! Patroni's REST API between members, and with patronictl.

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestRequest {
    /// `GET /patroni`.
    Status,
    /// `POST /switchover` (with a leader) or `/failover` (without).
    Switchover {
        /// From whom.
        leader: Option<String>,
        /// To whom.
        candidate: Option<String>,
    },
    /// `POST /restart`.
    Restart {
        /// Only if PostgreSQL waits for a restart.
        pending: bool,
    },
    /// `PATCH /config` or, with `replace`, `PUT /config`.
    Config {
        /// A JSON document.
        document: String,
        /// Whether it replaces the whole.
        replace: bool,
    },
    /// `POST /reinitialize`.
    Reinitialize,
    /// `POST /failsafe`.
    Failsafe {
        /// Who leads and asks.
        leader: String,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestReply {
    /// To [`RestRequest::Status`].
    Status(Status),
    /// An HTTP code and the body's text.
    Code(u16, String),
}

/// What other members read of a status (§3.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// `state: running`.
    pub running: bool,
    /// PostgreSQL accepts writes.
    pub primary: bool,
    /// Flushed on a primary; received or replayed on a replica.
    pub position: u64,
    /// Timeline.
    pub timeline: u32,
    /// Tag `nofailover`, or a priority of nought.
    pub nofailover: bool,
    /// Tag `failover_priority`.
    pub priority: i64,
}
