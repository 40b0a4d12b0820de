//! The messages of the operator: what it asks the API server for, what it runs in containers, and what its watches
//! tell it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ivory_core::wake;

use super::cut::Cut;
use crate::kube::{Body, ChangeType, Request, Subresource, Verb};
use crate::time::Time;
use crate::world::fingerprint::normal;
use crate::world::journal::{Entry, Milestone};
use crate::world::{KubeId, Passed, WatchId, What};

/// One message of one story.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its number in the story, from 1.
    pub number: usize,
    /// When it was sent, or was to be heard.
    pub at: Time,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// What it is, with the real names: `create Service hippo-ha`.
    pub name: String,
    /// Why the operator sent it; empty where it gives no reason.
    pub reason: String,
    /// How it is recognised in a fork.
    pub which: Which,
    /// The tick of the player in which it passes.
    pub tick: usize,
    /// What it is and what the world was like before it: cuts of equal messages are equal.
    pub key: u64,
}

/// How a message is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// A request to the API server, by its ticket.
    Request(u64),
    /// A command in a container, by its ticket.
    Exec(u64),
    /// The opening of a watch, by its ticket.
    Watch(u64),
    /// The delivery of a change to a watch.
    Heard(WatchId, u64),
}

impl Message {
    /// The cuts that make sense for it.
    #[must_use]
    pub fn cuts(&self) -> &'static [Cut] {
        use Cut::{Conflict, CrashAfter, CrashBefore, Error, Late, Lost, Missed, Stale, Throttled};
        match self.which {
            Which::Request(_) => &[CrashBefore, CrashAfter, Lost, Late, Conflict, Error, Throttled],
            Which::Exec(_) => &[CrashBefore, CrashAfter, Lost, Late, Error],
            Which::Watch(_) => &[CrashBefore, Stale],
            Which::Heard(..) => &[CrashBefore, Stale, Missed],
        }
    }
}

/// The messages that passed a tap during one tick; `state` is the fingerprint before it.
#[must_use]
pub fn messages(passed: &[Passed], tick: usize, state: u64, before: usize) -> Vec<Message> {
    let mut key = state;
    let mut all = Vec::new();
    for passed in passed {
        let Some((at, kube, name, which)) = told(passed) else { continue };
        let number = before + all.len() + 1;
        let mut hash = ivory_core::hash::Digest::default();
        (key, normal(&name)).hash(&mut hash);
        key = hash.finish();
        all.push(Message { number, at, kube, name, reason: String::new(), which, tick, key });
    }
    all
}

fn told(passed: &Passed) -> Option<(Time, KubeId, String, Which)> {
    Some(match passed {
        Passed::Sent(at, envelope) => {
            let ticket = envelope.ticket.0;
            let (name, which) = match &envelope.what {
                What::Request(request) => (request_name(request), Which::Request(ticket)),
                What::Exec { target, command, .. } => {
                    let name = format!("{} in Pod {}", command.label(), target.pod);
                    (name, Which::Exec(ticket))
                }
                What::Watch(_) => ("open a watch".to_owned(), Which::Watch(ticket)),
                What::Call { .. } => return None,
            };
            (*at, envelope.kube, name, which)
        }
        Passed::Heard(at, kube, watch, change) => {
            let object = &change.object;
            let word = match change.what {
                ChangeType::Added => "added",
                ChangeType::Modified => "modified",
                ChangeType::Deleted => "deleted",
            };
            // What wakes nobody is no message.
            if let (ChangeType::Modified, Some(old)) = (change.what, &change.old)
                && !wake::matters(old, object)
            {
                return None;
            }
            let name = format!("hear that {} {} was {word}", object.kind, object.meta.name);
            (*at, *kube, name, Which::Heard(*watch, change.resource_version))
        }
    })
}

fn request_name(request: &Request) -> String {
    match &request.verb {
        Verb::Create(object) => match object.str_at(&["reason"]) {
            Some(reason) => format!("create {} {reason}", object.kind),
            None => format!("create {} {}", object.kind, object.meta.name),
        },
        Verb::Patch { target, subresource, body } => {
            let verb = match (subresource, body) {
                (Subresource::Status, _) => "patch the status of",
                (_, Body::Apply { .. }) => "apply",
                _ => "patch",
            };
            format!("{verb} {} {}", target.kind, target.name)
        }
        Verb::Delete { target, .. } => format!("delete {} {}", target.kind, target.name),
        Verb::Update { object, .. } => format!("update {} {}", object.kind, object.meta.name),
        Verb::Get(target) => format!("get {} {}", target.kind, target.name),
        Verb::List { kind, .. } | Verb::DeleteCollection { kind, .. } => format!("list {kind}"),
        _ => "ask the API server".to_owned(),
    }
}

/// Finds each message's reason: the next entry of the journal that tells of its object.
pub fn reasons(messages: &mut [Message], journal: &Arc<Vec<Entry>>) {
    for message in messages {
        let first = journal.partition_point(|e| e.at < message.at);
        let told = journal[first..].iter().take(60).find_map(|entry| match &entry.what {
            Milestone::Wrote { object, reason, .. }
                if entry.kube == message.kube && message.name.ends_with(&**object) =>
            {
                Some(reason.clone())
            }
            _ => None,
        });
        if !matches!(message.which, Which::Heard(..)) {
            message.reason = told.unwrap_or_default();
        }
    }
}
