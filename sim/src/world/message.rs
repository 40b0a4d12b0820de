//! The one pipeline: every request, watch event and call passes the same four points, and at each it
//! can be lost, delayed, refused or doubled.

use std::sync::Arc;

use ivory_core::command::Command;
use ivory_core::read::Target;

use crate::kube::{Request, Response, Verb};
use crate::time::Span;
use crate::world::actor::{ActorId, KubeId, WatchId};
use crate::world::call::{Call, CallError, Reply};

/// Names one message of one world; the answer bears the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Whom to call.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Where {
    /// A certain life of an actor.
    Actor(ActorId),
    /// Whoever listens at an address.
    Address {
        /// IP address.
        ip: Arc<str>,
        /// Port.
        port: u16,
    },
}

/// The four points of a message's way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Point {
    /// It leaves its sender.
    Sent,
    /// It reaches its receiver, and has changed nothing yet.
    Arrived,
    /// It has taken effect, and nobody knows yet.
    Applied,
    /// Its answer leaves for the sender.
    Answered,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Its name.
    pub ticket: Ticket,
    /// Its sender.
    pub from: ActorId,
    /// The Kubernetes in which it travels.
    pub kube: KubeId,
    /// What it carries.
    pub what: What,
}

/// What a message carries.
#[derive(Clone, Debug)]
pub enum What {
    /// A request to the API server.
    Request(Arc<Request>),
    /// A command in a container, by way of the API server.
    Exec {
        /// Where.
        target: Arc<Target>,
        /// What.
        command: Arc<Command>,
        /// How long the sender waits.
        deadline: Span,
    },
    /// A call to another actor.
    Call {
        /// To whom.
        to: Where,
        /// What.
        call: Arc<Call>,
    },
    /// The opening of a watch.
    Watch(WatchId),
}

impl What {
    /// Whether it may change something beside its receiver's memory.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        match self {
            What::Request(request) => !matches!(request.verb, Verb::Get(_) | Verb::List { .. }),
            What::Exec { command, .. } => !command.is_query(),
            What::Call { .. } => true,
            What::Watch(_) => false,
        }
    }
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Back {
    /// From the API server.
    Response(Box<Response>),
    /// From another actor.
    Reply(Result<Reply, CallError>),
}

/// What a fault does to a message at a point.
#[derive(Clone, PartialEq, Debug)]
pub enum Cut {
    /// Nothing: it goes on.
    Pass,
    /// It is gone. At `Applied` and `Answered` it has taken effect all the same.
    Lose,
    /// It goes on later.
    Delay(Span),
    /// The API server answers with an error instead of applying it.
    Refuse(Box<crate::kube::Status>),
    /// It goes on twice.
    Double,
    /// Its sender dies at this moment.
    Crash,
    /// Its sender dies at this moment, and it goes on so much later, when a successor may be at work.
    Orphan(Span),
}
