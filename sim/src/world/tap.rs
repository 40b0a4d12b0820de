//! Listening to some actors: every message that they send and every change that their watches hear, in order.
//! Whoever explores a world learns here which messages there are to cut. And an onlooker, who is shown the whole
//! world after every event and can't touch it.

use std::sync::Arc;

use crate::kube::Change;
use crate::time::Time;
use crate::world::World;
use crate::world::actor::{ActorId, KubeId, WatchId};
use crate::world::message::Envelope;

/// A tap on some actors, through all their lives.
#[derive(Clone)]
pub struct Tap {
    wanted: fn(&str) -> bool,
    passed: Arc<Vec<Passed>>,
}

/// One message of an actor.
#[derive(Clone, Debug)]
pub struct Passed {
    /// When it was sent, or will be heard.
    pub at: Time,
    /// The actor's life.
    pub from: ActorId,
    /// The actor's name.
    pub by: Arc<str>,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// What it is.
    pub what: Overheard,
}

/// What a tap overhears.
#[derive(Clone, Debug)]
pub enum Overheard {
    /// The actor sends this.
    Sent(Envelope),
    /// A watch of the actor will hear of this change.
    Heard(WatchId, Arc<Change>),
}

impl Tap {
    /// A tap on the actors of these names.
    #[must_use]
    pub fn on(wanted: fn(&str) -> bool) -> Self {
        Self { wanted, passed: Arc::default() }
    }

    pub(super) fn hears(&self, name: &str) -> bool {
        (self.wanted)(name)
    }

    pub(super) fn pass(&mut self, passed: Passed) {
        Arc::make_mut(&mut self.passed).push(passed);
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

    /// What passed the tap since this was asked last.
    pub fn overheard(&mut self) -> Arc<Vec<Passed>> {
        self.tap.as_mut().map(|tap| std::mem::take(&mut tap.passed)).unwrap_or_default()
    }

    pub(super) fn tap_sent(&mut self, envelope: &Envelope) {
        if self.tap.is_none() {
            return;
        }
        let (at, by) = (self.now, self.name_of(envelope.from));
        if let Some(tap) = self.tap.as_mut().filter(|t| t.hears(&by)) {
            let what = Overheard::Sent(envelope.clone());
            tap.pass(Passed { at, from: envelope.from, by, kube: envelope.kube, what });
        }
    }
}
