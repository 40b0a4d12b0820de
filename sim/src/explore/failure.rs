//! What to say of a story that a cut led to a bad end.

use ivory_core::Kind;

use super::cut::Cut;
use super::message::Message;
use crate::scenario::run::{self, Player};
use crate::world::KubeId;

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
    /// Which promise was broken.
    pub promise: Promise,
    /// How, one sentence each.
    pub wrong: Vec<String>,
    /// What is awaited, by whom, since when.
    pub awaited: Vec<String>,
    /// The last lines of the story.
    pub last: Vec<String>,
}

/// The promises that a cut can break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Promise {
    /// What a checker found in the world or in a plan.
    Checked,
    /// No acknowledged row is lost.
    NoLoss,
    /// Steady state: no writes.
    Quiet,
    /// The same final state.
    SameEnd,
    /// Eventually stable.
    Converges,
}

impl Promise {
    /// The promise in words, with its number where it has one.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Checked => "safety: what the checkers forbid, at any moment",
            Self::NoLoss => {
                "2: no acknowledged commit is lost by an action that the operator chose"
            }
            Self::Quiet => "7: steady state means zero writes",
            Self::SameEnd => {
                "8: a kill, conflict, timeout or stale cache after any single write leads to the same final state, \
                 with nothing leaked"
            }
            Self::Converges => {
                "16: when faults stop, every cluster reaches its spec within a bound and then is quiet"
            }
        }
    }

    /// The promise that a failed step or end of a story is about.
    pub(super) fn of(failure: &run::Failure, silent: bool) -> Self {
        let has = |part: &str| failure.wrong.iter().any(|w| w.contains(part));
        if has("members are writable")
            || has("addresses")
            || has("the plan ")
            || has("another cluster's data")
        {
            Self::Checked
        } else if has("rows are lost") {
            Self::NoLoss
        } else if silent || has("of quiet") {
            Self::Quiet
        } else {
            Self::Converges
        }
    }
}

impl Failure {
    pub(super) fn new(
        message: &Message,
        cut: Cut,
        promise: Promise,
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
            promise,
            wrong,
            awaited,
            last: lines[lines.len().saturating_sub(LAST)..].to_vec(),
        }
    }
}

/// What every cluster says that it waits for: its conditions that are not as they should be.
pub(super) fn awaited(player: &Player) -> Vec<String> {
    let mut all = Vec::new();
    for kube in (0..player.driver.kubes()).filter_map(|k| u8::try_from(k).ok()).map(KubeId) {
        for cluster in player.driver.list(kube, Kind::IvoryCluster, None) {
            let conditions = cluster.at(&["status", "conditions"]).and_then(|c| c.as_array());
            for condition in conditions.into_iter().flatten() {
                let text = |key: &str| condition[key].as_str().unwrap_or_default();
                if text("status") == "True" && text("type") != "Progressing" {
                    continue;
                }
                let message = player.aliases.show(kube, text("message"));
                all.push(format!(
                    "{}: {} is {} ({}) since {}: {message}",
                    cluster.meta.name,
                    text("type"),
                    text("status"),
                    text("reason"),
                    text("lastTransitionTime"),
                ));
            }
        }
    }
    all
}
