//! What every step of a plan found, as one value. Conditions, Events, logs and transcripts are displays
//! of it; nobody writes such a text by hand elsewhere.

use std::fmt;

use crate::kind::Kind;

/// The steps of a plan, in the order in which they are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The spec makes sense.
    Validate,
    /// The finalizer is on, or the cluster is being taken down.
    Finalizer,
    /// `spec.paused`.
    Paused,
    /// What the operator is permitted to do.
    Permissions,
    /// The certificate authority and the certificates.
    Pki,
    /// Services and the primary's Endpoints.
    Services,
    /// The permissions of the instances.
    Rbac,
    /// Patroni's settings.
    Patroni,
    /// pgBackRest's settings, volumes and repository host.
    Repository,
    /// The instances: names, number, volumes, workloads.
    Instances,
    /// Disruption budgets.
    Disruption,
    /// Renewing instances that are not as they should be.
    Rollout,
    /// A change of the primary that was asked for.
    Switchover,
    /// Databases.
    Databases,
    /// Users, their Secrets and grants.
    Users,
    /// Stanza and first backup.
    Backups,
    /// The user's own SQL.
    InitSql,
    /// The status of the cluster.
    Status,
}

/// What a step found or did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Something is written now.
    Acted,
    /// Everything is as it should be.
    InSync,
    /// Something that will come by itself is awaited.
    Waiting(Reason),
    /// Nothing goes on until somebody changes something.
    Blocked(Reason),
}

/// The outcome of every step, in order of the steps; a step may report more than one thing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "an unread report is not actionable"]
pub struct Report {
    /// Step and outcome.
    pub lines: Vec<(Step, Outcome)>,
}

/// Why something is written, awaited or blocked. The text follows "because" or "waiting:".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// An object that should exist does not.
    Missing {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object differs from what it should be.
    Drifted {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Up to three of the fields that differ, as dotted paths.
        fields: Vec<String>,
    },
    /// An object is there that nobody wants any more.
    Unwanted {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Something could not be read.
    Unreadable {
        /// What.
        what: String,
    },
    /// The cluster is being deleted.
    Deleting,
    /// Free text for a reason with a stable word: the word is what conditions and metrics show.
    Because {
        /// CamelCase word.
        word: &'static str,
        /// The sentence for people.
        text: String,
    },
}

impl Reason {
    /// A CamelCase word for conditions, Events and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Missing { .. } => "Missing",
            Reason::Drifted { .. } => "Drifted",
            Reason::Unwanted { .. } => "Unwanted",
            Reason::Unreadable { .. } => "Unreadable",
            Reason::Deleting => "Deleting",
            Reason::Because { word, .. } => word,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Missing { kind, name } => write!(f, "{kind} {name} is missing"),
            Reason::Drifted { kind, name, fields } => {
                write!(f, "{kind} {name} differs in {}", fields.join(", "))
            }
            Reason::Unwanted { kind, name } => write!(f, "{kind} {name} is no longer wanted"),
            Reason::Unreadable { what } => write!(f, "{what} could not be read"),
            Reason::Deleting => f.write_str("the cluster is being deleted"),
            Reason::Because { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Acted => f.write_str("acted"),
            Outcome::InSync => f.write_str("in sync"),
            Outcome::Waiting(reason) => write!(f, "waiting: {reason}"),
            Outcome::Blocked(reason) => write!(f, "blocked: {reason}"),
        }
    }
}
