//! What to say of a story that a cut led to a bad end.

use super::cut::Cut;
use super::message::Message;
use crate::promises::{self, Promise, eventually_stable};
use crate::scenario::run;

/// How many last lines of the story are told.
const LAST: usize = 14;

/// A bad end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The number of the message, from 1.
    pub number: usize,
    /// The message, names being aliased.
    pub message: String,
    /// The message's reason.
    pub reason: String,
    /// What was done to it.
    pub cut: Cut,
    /// The message that was cut after that, if one was: its number, counted from the first, its name, and the cut.
    pub then: Option<(usize, String, Cut)>,
    /// Which promise was broken.
    pub promise: &'static Promise,
    /// How, one sentence each.
    pub wrong: Vec<String>,
    /// What is awaited, by whom, since when.
    pub awaited: Vec<String>,
    /// The last lines of the story.
    pub last: Vec<String>,
}

impl Failure {
    pub(super) fn new(
        (message, cut): (&Message, Cut),
        then: Option<(&Message, Cut)>,
        promise: &'static Promise,
        wrong: Vec<String>,
        awaited: Vec<String>,
        told: &str,
    ) -> Self {
        let lines: Vec<String> = told.lines().map(str::to_owned).collect();
        Self {
            number: message.number,
            message: message.name.clone(),
            reason: message.reason.clone(),
            cut,
            then: then.map(|(message, cut)| (message.number, message.name.clone(), cut)),
            promise,
            wrong,
            awaited,
            last: lines[lines.len().saturating_sub(LAST)..].to_vec(),
        }
    }
}

/// The promise that a failed step or end of a story breaks: what it awaits in vain has not become stable.
pub(super) fn promise_of(failure: &run::Failure) -> &'static Promise {
    failure.promise.map_or(&eventually_stable::PROMISE, promises::numbered)
}
