//! Commands that run inside containers, as a closed set. `render` is the one place where they
//! become argument vectors and standard input, `parse` reads those back where a real client sends them,
//! and `outcome` tells success from failure. The simulator interprets the enum and never a shell.

mod archive;
pub mod init_sql;
mod outcome;
mod parameters;
mod parse;
mod render;
mod source;
mod standby;
mod volumes;
mod wal;

pub use archive::ArchiveState;
pub use outcome::Failure;
pub use parameters::{ParameterState, Setting};
pub use source::SourceState;
pub use standby::StandbyState;
pub use volumes::VolumeTrouble;
pub use wal::WalPlace;

pub use render::lsn_text;

use crate::sensitive::Sensitive;

/// A command in a container. Everything secret travels on standard input, never in an argument.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Command {
    /// Creates missing databases and, in every database, the extensions that the operator promises.
    Databases {
        /// Names, sorted.
        databases: Vec<String>,
        /// Extensions, in the order in which they are created.
        extensions: Vec<String>,
    },
    /// Creates missing roles and sets options, verifiers and grants of all of them.
    Users {
        /// The users, in name order.
        users: Vec<UserStatement>,
    },
    /// Replaces Patroni's dynamic configuration.
    ReplaceDynamicConfiguration {
        /// The whole document, as compact JSON with sorted keys.
        config: String,
    },
    /// Hands leadership over, now.
    Switchover {
        /// Patroni's scope.
        scope: String,
        /// The member that leads now.
        leader: String,
        /// The member that should lead; none leaves the choice to Patroni.
        candidate: Option<String>,
    },
    /// Makes a member the leader even if there is none that could hand leadership over.
    Failover {
        /// Patroni's scope.
        scope: String,
        /// The member that should lead.
        candidate: String,
    },
    /// Restarts a member's PostgreSQL in place, if a parameter waits for that.
    RestartPending {
        /// Patroni's scope.
        scope: String,
        /// The member, by its Pod's name.
        member: String,
    },
    /// Creates the pgBackRest stanza in every repository, if the configuration on disk is the one meant.
    StanzaCreate {
        /// What `config-hash` must read.
        config_hash: String,
        /// PostgreSQL's major version, which IvorySQL's own version number hides from pgBackRest.
        postgres_version: i32,
    },
    /// Enters a new system identifier into the stanza of every repository, after a major upgrade. Only
    /// for a repository whose newest one is this cluster's previous one (`pgbackrest::info`): done
    /// to another's, it takes that cluster's backups away from it (`reference/incidents.md` BKP-1).
    StanzaUpgrade {
        /// What `config-hash` must read.
        config_hash: String,
        /// PostgreSQL's major version after the upgrade.
        postgres_version: i32,
    },
    /// Query: the backups in every repository, for `pgbackrest::info`.
    BackupInfo,
    /// Writes a checkpoint, so that a stop right after it is short.
    Checkpoint {
        /// How long the statement may take, in seconds.
        timeout_s: u32,
    },
    /// Query: how archiving goes ([`ArchiveState`]).
    ArchiveState,
    /// Query: what the server has made of the parameters in its files ([`ParameterState`]).
    ParameterState {
        /// Which configuration it should have: another one is another question.
        configuration: String,
    },
    /// Query: where the WAL is that a replica needs next, asked of the leader ([`WalPlace`]).
    WalPlace {
        /// The replica's timeline.
        timeline: u64,
        /// How far the replica has come, in bytes of WAL.
        position: u64,
    },
    /// Query: where `pg_wal` really is.
    WalDirectory,
    /// Starts psql with the user's own SQL, as superuser in the maintenance database, and leaves it alone. Does
    /// nothing while it runs.
    StartInitSql {
        /// What its traces are called.
        token: String,
        /// The SQL. People write passwords into such files.
        sql: Sensitive,
    },
    /// Query: whether the server that a standby cluster follows accepts writes, and whether they arrive
    /// ([`SourceState`]).
    SourceState {
        /// Its address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Query: what reaches a standby cluster's leader ([`StandbyState`]).
    StandbyState,
    /// Query: whether an instance's volumes can be written to ([`VolumeTrouble`]).
    VolumeState,
    /// Query: how far the SQL is that was started ([`init_sql::State`]).
    InitSqlState {
        /// What its traces are called.
        token: String,
    },
}

impl Command {
    /// Whether it only asks.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Self::ArchiveState
                | Self::BackupInfo
                | Self::ParameterState { .. }
                | Self::WalDirectory
                | Self::WalPlace { .. }
                | Self::InitSqlState { .. }
                | Self::SourceState { .. }
                | Self::StandbyState
                | Self::VolumeState
        )
    }
}

/// One user in [`Command::Users`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserStatement {
    /// The role's name.
    pub name: String,
    /// Text after `ALTER ROLE … WITH`.
    pub options: String,
    /// Databases on which all privileges are granted.
    pub databases: Vec<String>,
    /// SCRAM (or MD5) verifier. A verifier is no password but still secret: it allows guessing.
    pub verifier: Sensitive,
}

/// A rendered command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Standard input, if there is any.
    pub stdin: Option<Sensitive>,
}
