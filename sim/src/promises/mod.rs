//! The sixteen promises, each a checker in a file named for it, which opens with the promise's words. Here are what they
//! have in common: the table of all, the moments at which they look, and the witness that calls them.
//!
//! Every simulated world has this witness (`lab.rs`): in stories, in their forks, in what exploration draws. What a
//! checker finds ends the run. What the operator may plan is checked a second time by `ivory_core::check`, which a real
//! operator asks as well; its findings are told here under the promise that they break.

pub mod clusters_apart;
pub mod data_rewritten_only_on_request;
pub mod edits_can_be_left;
pub mod eventually_stable;
pub mod no_commit_lost;
pub mod no_secret_told;
pub mod one_down_at_a_time;
pub mod one_writable;
pub mod only_owned;
pub mod outage_changes_nothing;
#[cfg(test)]
mod planted;
pub mod quiet_is_silent;
pub mod read_errors_change_nothing;
pub mod same_end_after_any_cut;
mod seen;
pub mod sql_immune;
pub mod status_true;
pub mod volumes_kept;
mod witness;

use std::fmt;

pub use seen::{Log, Looks, Pass, Plans, Seen, Write};
pub use witness::{Checkers, planned_badly};

/// A promise.
#[derive(PartialEq, Eq, Debug)]
pub struct Promise {
    /// Its number, from 1.
    pub number: u8,
    /// A few words for tables.
    pub name: &'static str,
    /// The promise.
    pub words: &'static str,
    /// When it is looked at.
    pub when: &'static [When],
    /// The file that holds its checker.
    pub file: &'static str,
    /// The tests that hold what no event of a simulation can show; empty where all can be seen.
    pub held_by: &'static [&'static str],
}

/// A moment at which a promise is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum When {
    /// After every event that could matter.
    Event,
    /// Before each write of the operator takes effect.
    Write,
    /// When the operator has made a plan.
    Pass,
    /// At the end of a story, or where one waits.
    End,
    /// Two runs are put beside each other.
    Comparison,
}

impl When {
    /// The moment in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Event => "after every event",
            Self::Write => "before every write",
            Self::Pass => "at every plan",
            Self::End => "in waits and at the end",
            Self::Comparison => "by comparing two runs",
        }
    }
}

impl Promise {
    /// It was looked at.
    pub fn count(&self, looks: &mut Looks) {
        looks[usize::from(self.number) - 1] += 1;
    }

    /// The promise with its number.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}: {}", self.number, self.words)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {}", self.text())
    }
}

/// All promises, by their numbers.
pub static ALL: [&Promise; 16] = [
    &one_writable::PROMISE,
    &no_commit_lost::PROMISE,
    &volumes_kept::PROMISE,
    &data_rewritten_only_on_request::PROMISE,
    &one_down_at_a_time::PROMISE,
    &read_errors_change_nothing::PROMISE,
    &quiet_is_silent::PROMISE,
    &same_end_after_any_cut::PROMISE,
    &edits_can_be_left::PROMISE,
    &clusters_apart::PROMISE,
    &only_owned::PROMISE,
    &status_true::PROMISE,
    &no_secret_told::PROMISE,
    &sql_immune::PROMISE,
    &outage_changes_nothing::PROMISE,
    &eventually_stable::PROMISE,
];

/// The promise of a number.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn numbered(number: u8) -> &'static Promise {
    ALL[usize::from(number) - 1]
}

/// A promise's checker. It is asked at the moments that it has a say in, and tells what it sees by the log. What it
/// remembers goes along with a fork of the world.
pub trait Checker {
    /// An event is over that left an entry in the journal or changed something that checkers follow, or it is as late as
    /// a checker asked for.
    fn event(&mut self, _seen: &Seen<'_>, _log: &mut Log<'_>) {}

    /// A write of the operator is about to take effect.
    fn write(&mut self, _write: &Write<'_>, _log: &mut Log<'_>) {}

    /// The operator made a plan.
    fn pass(&mut self, _pass: &Pass<'_>, _log: &mut Log<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it looks at the checkers' own files")]
    fn each_promise_has_its_number_and_its_file_says_its_words() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (number, promise) in (1..).zip(ALL) {
            assert_eq!(promise.number, number);
            assert!(!promise.when.is_empty(), "{promise}");
            let text = std::fs::read_to_string(root.join(promise.file)).expect("its file");
            let head = text.lines().map_while(|line| line.strip_prefix("//! > "));
            assert_eq!(head.collect::<Vec<_>>().join(" "), promise.words, "{}", promise.file);
            for held in promise.held_by {
                let file = held.split("::").next().unwrap_or_default();
                assert!(root.join(file).is_file(), "{held}");
            }
        }
    }
}
