//! Listening to one actor: every message that it sends and every change that its watches hear, in order.
//! Whoever explores a world learns here which messages there are to cut.

use std::sync::Arc;

use crate::kube::Change;
use crate::time::Time;
use crate::world::World;
use crate::world::actor::{KubeId, WatchId};
use crate::world::message::Envelope;

/// A tap on one actor, through all its lives.
#[derive(Clone)]
pub struct Tap {
    /// The actor's name.
    pub name: Arc<str>,
    /// What passed so far.
    pub passed: Arc<Vec<Passed>>,
}

/// One message of the actor.
#[derive(Clone, Debug)]
pub enum Passed {
    /// It sent this.
    Sent(Time, Envelope),
    /// At this time its watch in this Kubernetes will hear of this change.
    Heard(Time, KubeId, WatchId, Arc<Change>),
}

impl Tap {
    /// A tap on the actor of this name.
    #[must_use]
    pub fn on(name: &str) -> Self {
        Self { name: name.into(), passed: Arc::default() }
    }

    pub(super) fn heard(&mut self, at: Time, kube: KubeId, watch: WatchId, change: &Arc<Change>) {
        Arc::make_mut(&mut self.passed).push(Passed::Heard(at, kube, watch, change.clone()));
    }
}

impl World {
    pub(super) fn tap_sent(&mut self, envelope: &Envelope) {
        if self.tap.is_none() {
            return;
        }
        let (now, name) = (self.now, self.name_of(envelope.from));
        if let Some(tap) = &mut self.tap
            && *tap.name == *name
        {
            Arc::make_mut(&mut tap.passed).push(Passed::Sent(now, envelope.clone()));
        }
    }
}
