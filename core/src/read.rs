//! What may be looked at, and what came of it. `Unknown` is not `Absent`: a Secret that could not be
//! read is not an empty Secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::command::Command;
use crate::kind::Kind;
use crate::object::{Object, Uid};

/// The outcome of looking at something.
#[derive(Clone, PartialEq, Debug)]
pub enum Read<T> {
    /// It was there, or (for lists) the answer is complete.
    Known(T),
    /// It is certainly not there.
    Absent,
    /// It could not be told; the text says why, for people.
    Unknown(Arc<str>),
}

impl<T> Read<T> {
    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Whether nothing can be said.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Maps a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Known(value) => Read::Known(f(value)),
            Self::Absent => Read::Absent,
            Self::Unknown(why) => Read::Unknown(why),
        }
    }
}

/// A label selector: every pair must match; a `None` value asks only that the key exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Selector(pub BTreeMap<String, Option<String>>);

impl Selector {
    /// Selects objects with one label value.
    #[must_use]
    pub fn label(key: &str, value: &str) -> Self {
        Self(BTreeMap::from([(key.to_owned(), Some(value.to_owned()))]))
    }

    /// Whether this selects objects with one label value, and asks for nothing else.
    #[must_use]
    pub fn is_label(&self, key: &str, value: &str) -> bool {
        self.0.len() == 1 && self.0.get(key).is_some_and(|v| v.as_deref() == Some(value))
    }

    /// Whether the labels satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, wanted)| match (labels.get(key), wanted) {
            (Some(_), None) => true,
            (Some(found), Some(wanted)) => found == wanted,
            (None, _) => false,
        })
    }
}

/// One thing that a decision may look at. A driver fetches exactly these, and watches them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReadKey {
    /// One object by name. Cluster-scoped kinds have an empty namespace.
    One {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// All objects of a kind in a namespace that match a selector.
    Select {
        /// Their kind.
        kind: Kind,
        /// Their namespace; empty for all, or for cluster-scoped kinds.
        namespace: String,
        /// Their labels.
        selector: Selector,
    },
}

/// A question to a program inside a container, which changes nothing there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Query {
    /// Where to ask.
    pub target: Target,
    /// What to ask.
    pub command: Command,
    /// How long the answer may take, in seconds.
    pub deadline_s: u32,
    /// How old an answer may be and still serve, in seconds.
    pub max_age_s: u32,
}

/// After so long, in seconds, something that gave no answer is asked again, if a later answer would have served.
pub const SILENT_S: i64 = 30;

impl Query {
    /// Whether what came of it so many seconds ago still serves. What gives no answer is left alone for a while:
    /// each time may cost the whole deadline.
    #[must_use]
    pub fn serves(&self, found: &Read<Answer>, age_s: i64) -> bool {
        let max_s = i64::from(self.max_age_s);
        age_s < if found.is_unknown() { max_s.min(SILENT_S) } else { max_s }
    }
}

/// A container of a certain life of a Pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The Pod's UID: an answer from an earlier Pod of the same name is no answer.
    pub uid: Uid,
    /// The container.
    pub container: String,
}

/// What a command in a container gave back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Exit status; 0 is success.
    pub exit: i32,
    /// Standard output.
    pub stdout: Arc<str>,
    /// Standard error.
    pub stderr: Arc<str>,
}

/// An answer, and when it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What came back.
    pub output: Output,
    /// When.
    pub at: Timestamp,
}

/// What was read for one [`ReadKey`]: the objects, in name order. `One` gives one or [`Read::Absent`];
/// `Select` gives any number.
pub type Objects = Read<Vec<Arc<Object>>>;
