//! The messages of the operator and of Patroni: what they ask the API server for, what their watches tell them, what
//! the operator runs in containers, and what the members of a cluster ask each other by REST.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::hash::digest;
use ivory_core::wake;

use super::cut::Cut;
use crate::kube::{Body, ChangeType, Request, Subresource, Verb};
use crate::lab::OPERATOR;
use crate::patroni::Member;
use crate::patroni::rest::RestRequest;
use crate::time::Time;
use crate::world::call::Call;
use crate::world::fingerprint::{Digests, normal, part};
use crate::world::journal::{Entry, Milestone};
use crate::world::{ActorId, KubeId, Overheard, Passed, WatchId, What, World};

/// Whose messages are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The operator's.
    Operator,
    /// The operator's and those of every Patroni.
    Everybody,
}

impl Whose {
    /// Which actors, by their names.
    #[must_use]
    pub fn actors(self) -> fn(&str) -> bool {
        match self {
            Self::Operator => |name| name == OPERATOR,
            Self::Everybody => |name| name == OPERATOR || name.starts_with("patroni/"),
        }
    }
}

/// Who sent a message, or is to hear it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The operator.
    Operator,
    /// Patroni in the Pod of this namespace and name.
    Patroni(String, String),
}

/// One message of one story.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its number in the story, from 1.
    pub number: usize,
    /// When it was sent, or was to be heard.
    pub at: Time,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// Whose it is.
    pub sender: Sender,
    /// Which life of the sender: no other may send a message that bears the same ticket in a disturbed story.
    pub from: ActorId,
    /// What it is, with the real names: `create Service hippo-ha`.
    pub name: String,
    /// Why the operator sent it; empty where it gives no reason.
    pub reason: String,
    /// How it is recognised in a fork.
    pub which: Which,
    /// The tick of the player in which it passes.
    pub tick: usize,
    /// Whether it may change something.
    pub writes: bool,
    /// What it is and what the world was like before it: cuts of equal messages are equal.
    pub key: u64,
    /// What the world is like without its sender, before it and after it: a crash there is the same whatever the
    /// message is.
    pub without: [u64; 2],
}

/// How a message is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// A request to the API server, by its ticket.
    Request(u64),
    /// A command in a container, by its ticket.
    Exec(u64),
    /// A request to another member, by its ticket.
    Rest(u64),
    /// The opening of a watch, by its ticket.
    Watch(u64),
    /// The delivery of a change to a watch.
    Heard(WatchId, u64),
}

impl Message {
    /// The cuts that make sense for it. A question that lands late, or was answered to a sender that died, leaves
    /// what a crash before it leaves. An Event that is refused with 409 has been told before, since its name says what it
    /// tells: that answer to one that is not there is no fault of this world.
    #[must_use]
    pub fn cuts(&self) -> &'static [Cut] {
        use Cut::{Conflict, CrashAfter, CrashBefore, Error, Late, Lost, Missed, Stale, Throttled};
        match (self.which, self.writes) {
            (Which::Request(_), true) if self.name.starts_with("create Event ") => {
                &[CrashBefore, CrashAfter, Lost, Late, Error, Throttled]
            }
            (Which::Request(_), true) => {
                &[CrashBefore, CrashAfter, Lost, Late, Conflict, Error, Throttled]
            }
            (Which::Request(_), false) => &[CrashBefore, Lost, Error, Throttled],
            (Which::Exec(_) | Which::Rest(_), true) => {
                &[CrashBefore, CrashAfter, Lost, Late, Error]
            }
            (Which::Exec(_) | Which::Rest(_), false) => &[CrashBefore, Lost, Error],
            (Which::Watch(_), _) => &[CrashBefore, Stale],
            (Which::Heard(..), _) => &[CrashBefore, Stale, Missed],
        }
    }

    /// What a cut of it is recognised by: equal ones lead to the same.
    #[must_use]
    pub fn key(&self, cut: Cut) -> (u64, Cut) {
        match cut {
            Cut::CrashBefore => (self.without[0], Cut::CrashBefore),
            Cut::CrashAfter => (self.without[1], Cut::CrashBefore),
            cut => (self.key, cut),
        }
    }
}

/// The state of a world before a tick: its fingerprint, and which part of it each actor of interest is.
pub struct Before {
    state: u64,
    parts: BTreeMap<ActorId, u64>,
}

impl Before {
    /// The present state.
    pub fn now(world: &World, whose: Whose, digests: &mut Digests) -> Self {
        let wanted = whose.actors();
        let actors = world.actors().filter(|(_, _, actor)| wanted(actor.name()));
        let parts = actors.map(|(id, kube, actor)| (id, part(kube, actor))).collect();
        Self { state: world.fingerprint_with(digests), parts }
    }

    /// The fingerprint.
    #[must_use]
    pub fn state(&self) -> u64 {
        self.state
    }
}

/// The messages that passed a tap during one tick, `before` which there were so many. Each is told apart by the state
/// before the tick and by what its sender said and heard in the tick so far; a crash, by what the sender wrote.
#[must_use]
pub fn messages(
    passed: &[Passed],
    world: &World,
    (tick, state): (usize, &Before),
    before: usize,
) -> Vec<Message> {
    let mut keys = BTreeMap::new();
    let mut all = Vec::new();
    for passed in passed {
        let sender = sender(&passed.by);
        let Some((mut name, which)) = told(passed, &sender) else { continue };
        // One that died since has no role any more.
        let role = world.actor(passed.from).map_or("gone", Member::role);
        if let Sender::Patroni(_, pod) = &sender {
            name = format!("Patroni of {pod} ({role}): {name}");
        }
        let writes = writes(&passed.what);
        let (key, without) = keys.entry(passed.from).or_insert_with(|| {
            let part = state.parts.get(&passed.from).copied().unwrap_or(0);
            let rest = state.state.wrapping_sub(part);
            (digest(&(state.state, part)), digest(&(rest, normal(&passed.by), role)))
        });
        *key = digest(&(*key, normal(&name)));
        let alive = *without;
        if writes {
            *without = digest(&(*without, normal(&name)));
        }
        all.push(Message {
            number: before + all.len() + 1,
            at: passed.at,
            kube: passed.kube,
            sender,
            from: passed.from,
            name,
            reason: String::new(),
            which,
            tick,
            writes,
            key: *key,
            without: [alive, *without],
        });
    }
    all
}

fn writes(what: &Overheard) -> bool {
    let Overheard::Sent(envelope) = what else { return false };
    match &envelope.what {
        What::Call { call, .. } => !matches!(&**call, Call::Rest(RestRequest::Status)),
        what => what.changes_something(),
    }
}

fn sender(actor: &str) -> Sender {
    match actor.strip_prefix("patroni/").and_then(|place| place.split_once('/')) {
        Some((namespace, pod)) => Sender::Patroni(namespace.to_owned(), pod.to_owned()),
        None => Sender::Operator,
    }
}

fn told(passed: &Passed, sender: &Sender) -> Option<(String, Which)> {
    Some(match &passed.what {
        Overheard::Sent(envelope) => {
            let ticket = envelope.ticket.0;
            match &envelope.what {
                What::Request(request) => (request_name(request), Which::Request(ticket)),
                What::Exec { target, command, .. } => {
                    let name = format!("{} in Pod {}", command.label(), target.pod);
                    (name, Which::Exec(ticket))
                }
                What::Watch(_) => ("open a watch".to_owned(), Which::Watch(ticket)),
                What::Call { call, .. } => match &**call {
                    Call::Rest(rest) => (rest_name(rest).to_owned(), Which::Rest(ticket)),
                    _ => return None,
                },
            }
        }
        Overheard::Heard(watch, change) => {
            let object = &change.object;
            let word = match change.what {
                ChangeType::Added => "added",
                ChangeType::Modified => "modified",
                ChangeType::Deleted => "deleted",
            };
            // What wakes nobody is no message; Patroni counts heartbeats.
            if sender == &Sender::Operator
                && let (ChangeType::Modified, Some(old)) = (change.what, &change.old)
                && !wake::matters(old, object)
            {
                return None;
            }
            let name = format!("hear that {} {} was {word}", object.kind, object.meta.name);
            (name, Which::Heard(*watch, change.resource_version))
        }
    })
}

fn rest_name(request: &RestRequest) -> &'static str {
    match request {
        RestRequest::Status => "GET /patroni",
        RestRequest::Switchover { .. } => "POST /switchover",
        RestRequest::Restart { .. } => "POST /restart",
        RestRequest::Config { .. } => "PATCH /config",
        RestRequest::Reinitialize => "POST /reinitialize",
        RestRequest::Failsafe { .. } => "POST /failsafe",
    }
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
        if message.sender != Sender::Operator || matches!(message.which, Which::Heard(..)) {
            continue;
        }
        let told = journal[first..].iter().take(60).find_map(|entry| match &entry.what {
            Milestone::Wrote { object, reason, .. }
                if entry.kube == message.kube && message.name.ends_with(&**object) =>
            {
                Some(reason.clone())
            }
            _ => None,
        });
        message.reason = told.unwrap_or_default();
    }
}
