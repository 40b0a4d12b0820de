//! What a gate has to say about one place in the tree.

use std::fmt;

use serde::Serialize;

/// Whether a finding stops the commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth a look; the gate stays green.
    Warn,
    /// The gate is red.
    Fail,
}

/// One complaint about one place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// A path from the root, with `:line` where there is one, or the name of a package.
    pub(crate) place: String,
    /// What is wrong, and what to do about it.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn fail(place: impl Into<String>, what: impl Into<String>) -> Self {
        let (place, what) = (place.into(), what.into());
        Self { severity: Severity::Fail, place, what }
    }

    pub(crate) fn warn(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, ..Self::fail(place, what) }
    }

    pub(crate) fn fails(&self) -> bool {
        self.severity == Severity::Fail
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warn => "warning: ",
            Severity::Fail => "",
        };
        write!(f, "{}: {word}{}", self.place, self.what)
    }
}
