//! A witness: it sees every message before it takes effect, every change of an object, every plan of the operator, and
//! the world after every event. It changes nothing and goes along with a fork, so what it has seen is the story's own
//! past. What is right or wrong it decides itself; this module only shows it everything.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use ivory_core::context::Context;
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::plan::Plan;

use crate::kube::Change;
use crate::time::Time;
use crate::world::actor::KubeId;
use crate::world::message::Envelope;
use crate::world::{Cx, World};

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The number of the broken promise, from 1.
    pub promise: u8,
    /// When it was seen.
    pub at: Time,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seen at {:.3} s: {}", self.at.seconds(), self.text)
    }
}

/// A plan that the operator has just made, and all that it was made of.
pub struct Planned<'a> {
    /// When.
    pub at: Time,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// What was read.
    pub observed: &'a Observed,
    /// What else it was made of.
    pub context: &'a Context,
    /// What was decided.
    pub plan: &'a Plan,
    /// What is remembered of earlier plans; it serves other plans as well and changes none.
    pub memos: &'a Memos,
}

/// Somebody who sees everything.
pub trait Witness: Send + Sync {
    /// A message is about to take effect. It may still be refused.
    fn takes_effect(&mut self, world: &World, envelope: &Envelope);

    /// An object changed.
    fn changed(&mut self, kube: KubeId, change: &Change);

    /// The operator made a plan.
    fn planned(&mut self, planned: Planned<'_>);

    /// An event is over.
    fn after(&mut self, world: &World);

    /// What it found, in the order in which it was seen.
    fn findings(&self) -> &[Finding];

    /// A copy for a fork of the world.
    fn boxed(&self) -> Arc<dyn Witness>;

    /// For those who know what kind of witness it is.
    fn any(&self) -> &dyn Any;
}

impl World {
    /// Lets a witness see all that happens from now on.
    pub fn watch_with(&mut self, witness: Arc<dyn Witness>) {
        self.witness = Some(witness);
    }

    /// The witness, if it is of this kind.
    #[must_use]
    pub fn witness<T: 'static>(&self) -> Option<&T> {
        self.witness.as_ref()?.any().downcast_ref()
    }

    /// What the witness found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.witness.as_ref().map_or(&[], |w| w.findings())
    }

    pub(super) fn witness_effect(&mut self, envelope: &Envelope) {
        self.testify(|witness, world| witness.takes_effect(world, envelope));
    }

    pub(super) fn witness_event(&mut self) {
        self.testify(|witness, world| witness.after(world));
    }

    fn testify(&mut self, work: impl FnOnce(&mut dyn Witness, &Self)) {
        let Some(mut witness) = self.witness.take() else { return };
        work(own(&mut witness), self);
        self.witness = Some(witness);
    }
}

/// What is shared with a fork is copied before it changes.
pub(super) fn own(witness: &mut Arc<dyn Witness>) -> &mut dyn Witness {
    if Arc::get_mut(witness).is_none() {
        *witness = witness.boxed();
    }
    Arc::get_mut(witness).expect("just made unique")
}

impl Cx<'_> {
    /// Shows the witness a plan.
    pub fn planned(&mut self, observed: &Observed, context: &Context, plan: &Plan, memos: &Memos) {
        let (at, kube) = (self.now(), self.kube);
        if let Some(witness) = &mut self.world.witness {
            own(witness).planned(Planned { at, kube, observed, context, plan, memos });
        }
    }
}
