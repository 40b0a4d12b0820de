//! What became of a command. Exit statuses alone do not tell: `patronictl` ends with 0 even when
//! Patroni refused, so its words are read too (`reference/reconcile.md` §3.5).

use std::fmt;

use super::Command;
use super::render::{EXTENSIONS_FAILED, HASH_MISMATCH, lsn_text};
use crate::read::Output;

/// Longest excerpt of a program's output in a failure, in characters.
const EXCERPT: usize = 300;

/// Why a command did not do what it should.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// Something that will come by itself is not there yet: try again in a while.
    NotYet(&'static str),
    /// A repository belongs to a cluster with another system identifier. Nothing was written to it.
    ForeignRepository,
    /// The databases exist, but an extension could not be created in some of them.
    Extensions(String),
    /// The program ran, and was told no. Holds what it said.
    Refused(String),
    /// The program failed.
    Exit {
        /// Its exit status.
        code: i32,
        /// The last line of what it said.
        text: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(what) => write!(f, "not yet: {what}"),
            Self::ForeignRepository => f.write_str("the repository belongs to another cluster"),
            Self::Extensions(text) => write!(f, "extensions could not be created: {text}"),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::Exit { code, text } => write!(f, "exit status {code}: {text}"),
        }
    }
}

impl Command {
    /// Whether the command did what it should.
    ///
    /// # Errors
    /// Why it did not. Texts in it come from the program's output, which by the way the commands
    /// are rendered holds no secret.
    pub fn outcome(&self, output: &Output) -> Result<(), Failure> {
        let said = |words: &str| output.stdout.contains(words) || output.stderr.contains(words);
        if output.exit != 0 {
            return Err(match self {
                Self::StanzaCreate { .. } | Self::StanzaUpgrade { .. } if said(HASH_MISMATCH) => {
                    Failure::NotYet("the settings of pgBackRest have not reached the Pod")
                }
                Self::StanzaCreate { .. }
                    if said("info files exist but do not match the database") =>
                {
                    Failure::ForeignRepository
                }
                Self::Databases { .. } if output.exit == EXTENSIONS_FAILED => {
                    Failure::Extensions(excerpt(output))
                }
                _ => Failure::Exit { code: output.exit, text: excerpt(output) },
            });
        }
        let fine = match self {
            // `Switched over to "y" instead of "x"` means that another member won.
            Self::Switchover { .. } => said("Successfully switched over"),
            // Where the REST API of the one that the lease names does not answer, Patroni finds the request in its store.
            Self::Failover { .. } => {
                said("Successfully failed over") || said("falling back to DCS")
            }
            Self::RestartPending { .. } => !said("Failed: "),
            _ => true,
        };
        if fine { Ok(()) } else { Err(Failure::Refused(excerpt(output))) }
    }

    /// What the command does, for logs and transcripts; it holds no secret.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Databases { databases, extensions } => {
                format!("create databases {} and extensions {}", list(databases), list(extensions))
            }
            Self::Users { users } => {
                let names: Vec<_> = users.iter().map(|u| u.name.clone()).collect();
                format!("set up users {}", list(&names))
            }
            Self::ReplaceDynamicConfiguration { .. } => {
                "replace Patroni's dynamic configuration".to_owned()
            }
            Self::Switchover { scope, leader, candidate } => format!(
                "switch {scope} over from {leader} to {}",
                candidate.as_deref().unwrap_or("any member")
            ),
            Self::Failover { scope, candidate } => format!("fail {scope} over to {candidate}"),
            Self::RestartPending { member, .. } => {
                format!("restart PostgreSQL of {member}, if it waits for that")
            }
            Self::StanzaCreate { .. } => "create the pgBackRest stanza".to_owned(),
            Self::StanzaUpgrade { .. } => "upgrade the pgBackRest stanza".to_owned(),
            Self::BackupInfo => "ask pgBackRest for its backups".to_owned(),
            Self::Checkpoint { timeout_s } => format!("checkpoint within {timeout_s} s"),
            Self::StartInitSql { .. } => "start the init SQL".to_owned(),
            Self::InitSqlState { .. } => "ask how far the init SQL is".to_owned(),
            Self::SourceState { host, port } => format!("ask whether {host}:{port} accepts writes"),
            Self::StandbyState => "ask what reaches the standby".to_owned(),
            Self::ArchiveState => "ask how archiving goes".to_owned(),
            Self::ParameterState { .. } => "ask what became of the parameters".to_owned(),
            Self::VolumeState => "ask whether the volumes can be written to".to_owned(),
            Self::WalDirectory => "ask where pg_wal is".to_owned(),
            Self::WalPlace { position, .. } => {
                format!("ask where the WAL after {} is", lsn_text(*position))
            }
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "(none)".to_owned();
    }
    names.join(", ")
}

/// The last line that was said, on standard error rather than on standard output.
fn excerpt(output: &Output) -> String {
    let last = |text: &str| text.lines().rfind(|l| !l.trim().is_empty()).map(str::to_owned);
    let line = last(&output.stderr).or_else(|| last(&output.stdout));
    line.unwrap_or_default().chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests;
