//! Listening to one actor: every message that it sends and every change that its watches hear, in order.
//! Whoever explores a world learns here which messages there are to cut. And an onlooker, who is shown the whole
//! world after every event and can't touch it.

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

type Eye = Box<dyn FnMut(&World) + Send + Sync>;

/// Somebody who looks at a world after every event and changes nothing in it. Nobody looks at a fork: it tells
/// another story.
#[derive(Default)]
pub struct Onlooker(Option<Eye>);

impl Onlooker {
    /// An onlooker with this eye.
    #[must_use]
    pub fn new(eye: impl FnMut(&World) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(eye)))
    }

    /// Whether anybody looks.
    #[must_use]
    pub fn looks(&self) -> bool {
        self.0.is_some()
    }
}

impl Clone for Onlooker {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl World {
    pub(super) fn show(&mut self) {
        if let Some(mut eye) = self.onlooker.0.take() {
            eye(self);
            self.onlooker.0 = Some(eye);
        }
    }

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
