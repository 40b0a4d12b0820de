//! The event queue: what comes next, and among equals what was queued first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::kube::Change;
use crate::node::Mounts;
use crate::time::{Span, Time};
use crate::world::actor::{ActorId, Input, Signal, WatchId};
use crate::world::message::{Back, Envelope, Ticket};

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// An actor begins.
    Start(ActorId),
    /// A timer rings.
    Timer(ActorId, u64),
    /// A message reaches its receiver.
    Arrive(Box<Envelope>),
    /// An answer reaches the sender of its question.
    Back(ActorId, Ticket, Box<Back>),
    /// The sender of a call waits no longer.
    Deadline(Ticket),
    /// A change reaches a watch.
    Change(WatchId, Arc<Change>),
    /// A broken watch is opened anew.
    Relist(WatchId),
    /// A signal reaches a process.
    Signal(ActorId, Signal),
    /// New files reach a process.
    Mounts(ActorId, Arc<Mounts>),
    /// The clock of its machine jumps by so much under a process.
    Clock(ActorId, Span),
    /// A process has ended; its parent hears of it.
    Exited {
        /// The parent.
        parent: ActorId,
        /// The process.
        child: ActorId,
        /// Its exit status.
        code: i32,
    },
}

#[derive(Clone, Debug)]
struct Queued {
    at: Time,
    seq: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Queued>>,
    seq: u64,
}

impl Queue {
    /// Queues an event.
    pub fn push(&mut self, at: Time, event: Event) {
        self.seq += 1;
        self.heap.push(Reverse(Queued { at, seq: self.seq, event }));
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|q| q.0.at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|q| (q.0.at, q.0.event))
    }
}

impl Event {
    /// The actor and the input that an event amounts to, for those that need no more work.
    pub(super) fn plain(self) -> Option<(ActorId, Input)> {
        match self {
            Event::Start(actor) => Some((actor, Input::Start)),
            Event::Timer(actor, token) => Some((actor, Input::Timer(token))),
            Event::Signal(actor, signal) => Some((actor, Input::Signal(signal))),
            Event::Clock(actor, jump) => Some((actor, Input::Clock(jump))),
            Event::Mounts(actor, mounts) => Some((actor, Input::Mounts(mounts))),
            Event::Exited { parent, child, code } => Some((parent, Input::Exited(child, code))),
            _ => None,
        }
    }
}
