//! What a member waits for: the loop, for one answer at a time; what runs beside it; its alarms. What follows on an answer
//! is elsewhere (`cycle.rs`, `member.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kube::Request;
use crate::patroni::rest::Status;
use crate::postgres::server::State;
use crate::time::Time;
use crate::world::Ticket;

/// What the loop waits for.
#[derive(Clone, Debug)]
pub(super) struct Doing {
    /// When the operation began; it has R from then on.
    pub since: Time,
    /// The write or read that is under way.
    pub ticket: Option<Ticket>,
    /// When it is asked for once more, if it was not answered.
    pub again_at: Time,
    /// The same, for another try.
    pub request: Option<Request>,
    /// Probes that are under way, and whom they ask.
    pub open: BTreeMap<Ticket, Arc<str>>,
    /// Probes that are answered.
    pub answers: Vec<(Arc<str>, Option<Status>)>,
    /// What follows.
    pub then: Then,
}

impl Doing {
    /// A wait that begins now, with nothing asked yet.
    pub fn since(now: Time, then: Then) -> Self {
        Self {
            since: now,
            ticket: None,
            again_at: now,
            request: None,
            open: BTreeMap::new(),
            answers: Vec::new(),
            then,
        }
    }
}

/// What follows on the loop's wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// The configuration object was repaired (A6, A7).
    Heal,
    /// A renewal of the key; `read` after a conflict, `again` for the second write.
    Renew { why: Renew, stage: Stage },
    /// The race for `initialize`.
    Initialize,
    /// Adoption of existing data (F4).
    Adopt,
    /// The end of a bootstrap: first its identity, then the configuration, then the key.
    Finish(u8),
    /// The leader's key.
    Acquire,
    /// The key is given away; then this.
    Release(Released),
    /// Who else could lead, before the own attempt.
    Race {
        /// The version of the leader's Endpoints with which the loop began.
        seen: Option<u64>,
    },
    /// Whether anybody could take over.
    Possible(Possible),
    /// Whether every member follows a primary that can't reach the store.
    Failsafe,
    /// How the own data relate to the leader's.
    Identify,
    /// The synchronous state is written.
    Sync,
    /// The synchronous state is cleared before a promotion.
    SyncBeforePromote,
    /// A pause in the loop.
    Nap,
}

/// Why the key is renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Renew {
    Busy,
    Starting,
    Healthy,
    Recover,
}

/// How far a renewal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    First,
    Read,
    Again,
}

/// What follows a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Released {
    /// The loop goes on as usual next time.
    Nothing,
    /// Exit with this status.
    Exit(i32),
}

/// Why it matters whether anybody could take over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Possible {
    /// A requested switchover.
    Switchover,
    /// The primary died, and shall not be waited for.
    Crash,
    /// The start takes too long.
    Timeout,
}

/// What runs beside the loop and waits for an answer.
#[derive(Clone, Debug)]
pub(super) enum Side {
    /// A write whose result matters little.
    Patch,
    /// The walreceiver's question.
    Fetch,
    /// The answer of the archive to a standby that can't stream.
    ArchiveGet,
    /// Log given to the archive, up to a position.
    ArchivePush(u64),
    /// Part of the running action.
    Action,
    /// The key is given away at the end of a graceful stop.
    StopRelease,
    /// A REST or patronictl conversation.
    Talk(Ticket, Talk),
}

/// Conversations that end in an answer to somebody.
#[derive(Clone, Debug)]
pub(super) enum Talk {
    /// A REST switchover asks the candidates.
    Candidates { request: super::dcs::FailoverRequest },
    /// A REST switchover writes its request.
    FailoverWritten { request: super::dcs::FailoverRequest, old: String },
    /// A configuration is written by REST.
    ConfigWritten,
    /// patronictl waits for a REST answer to a switchover.
    CtlSwitchover { request: super::dcs::FailoverRequest },
    /// patronictl has written the request itself.
    CtlWritten,
    /// patronictl waits for restarts.
    CtlRestart,
    /// patronictl has written a configuration.
    CtlConfig,
    /// The server that a standby cluster follows is asked who it is.
    Source,
    /// A stanza is created in one repository of several.
    Stanza,
    /// A repository is asked for WAL.
    Wal(super::wal_place::Search),
    /// A repository's contents are asked for `pgbackrest info`.
    Info(u8),
}

/// A one-shot alarm of the member's own.
#[derive(Clone, Debug)]
pub(super) enum Alarm {
    /// The running action's next step.
    Action,
    /// The walreceiver tries again.
    Receive,
    /// The checkpoint after a promotion is done.
    Checkpointed,
    /// The archive's next turn.
    Archive,
    /// The graceful stop's next look.
    Stop,
    /// A failed write is tried again.
    Retry,
    /// The loop's nap is over.
    Nap,
    /// Changed parameters are known to need a restart.
    Reloaded,
    /// A REST switchover looks whether it is done.
    Poll { asker: Ticket, request: super::dcs::FailoverRequest, old: String, left: u32 },
    /// A backup to a cloud repository, made in this container, is copied.
    Backup { asker: Ticket, repo: u8, kind: crate::pgbackrest::BackupKind, started: Time },
    /// patronictl has started.
    Ctl { asker: Ticket, command: ivory_core::command::Command },
    /// The process ends.
    Exit(i32),
    /// The harness wants the postmaster dead.
    CrashPostmaster,
    /// A slow disk has flushed a commit.
    Flushed(Ticket),
    /// The postmaster has recovered from the death of a backend, and is what it was.
    Reinitialized(State),
    /// Log that was held back is old enough now.
    Late,
}
