//! What the controllers of kube-controller-manager have in common: watch caches, a work queue, retries,
//! and not acting on a cache that has yet to see one's own last write. What is to be done is decided in
//! [`Controller::sync`], a pure function of the caches, the clock and a random stream.

mod caches;
mod manager;
mod queue;
mod steps;

pub use caches::Caches;
pub use manager::Manager;
pub use steps::{Disk, Step, Sync, Then, items_in, object_in};

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::time::Span;

/// What a controller works on: the name of an object, which may be gone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self {
            kind: object.kind,
            namespace: object.meta.namespace.clone(),
            name: object.meta.name.clone(),
        }
    }

    /// The key of another object in the same namespace.
    #[must_use]
    pub fn beside(object: &Object, kind: Kind, name: &str) -> Self {
        Self { kind, namespace: object.meta.namespace.clone(), name: name.into() }
    }

    /// The key of the managing controller of an object, when that is of a certain kind.
    #[must_use]
    pub fn controller(object: &Object, kind: Kind) -> Option<Self> {
        let owner = object.controller()?;
        (owner.kind == kind.name() && owner.api_version == kind.api_version())
            .then(|| Self::beside(object, kind, &owner.name))
    }
}

/// A change of a watched object, or its first sight (without `old`), or its end (without `new`).
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Before.
    pub old: Option<&'a Object>,
    /// After.
    pub new: Option<&'a Object>,
}

impl<'a> Seen<'a> {
    /// The newer of the two states.
    #[must_use]
    pub fn latest(self) -> &'a Object {
        self.new.or(self.old).expect("a change has at least one state")
    }

    /// Both states, the older first.
    pub fn both(self) -> impl Iterator<Item = &'a Object> {
        self.old.into_iter().chain(self.new)
    }

    /// Whether the object appeared or disappeared, or a fact about it differs.
    #[must_use]
    pub fn differs<T: PartialEq>(self, fact: impl Fn(&'a Object) -> T) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => fact(old) != fact(new),
            _ => true,
        }
    }
}

/// Keys that a change makes worth looking at.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    now: Vec<Key>,
    later: Vec<(Key, Span)>,
}

impl Keys {
    /// To be looked at as soon as possible.
    pub fn push(&mut self, key: Key) {
        self.now.push(key);
    }

    /// To be looked at after some time.
    pub fn push_after(&mut self, key: Key, after: Span) {
        self.later.push((key, after));
    }

    /// The keys to be looked at as soon as possible.
    #[must_use]
    pub fn ready(&self) -> &[Key] {
        &self.now
    }
}

impl Extend<Key> for Keys {
    fn extend<I: IntoIterator<Item = Key>>(&mut self, keys: I) {
        self.now.extend(keys);
    }
}

/// A controller. It has no state of its own: everything that it knows is in the caches.
pub trait Controller: Send + std::marker::Sync {
    /// Its name, for example `statefulset`; it speaks to the API server as `kcm/statefulset`.
    fn name(&self) -> &'static str;

    /// The kinds that it watches.
    fn watches(&self) -> &'static [Kind];

    /// Which keys a change makes worth looking at. Called for every change of a watched kind, heartbeats
    /// included, so it must be cheap when nothing of interest changed.
    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys);

    /// Keys to look at once, when the caches are complete for the first time.
    fn first_keys(&self, _caches: &Caches, _keys: &mut Keys) {}

    /// Decides what to do about a key.
    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync);

    /// When it looks at a key again after a failure; none for client-go's growing back-off.
    fn retries_after(&self) -> Option<Span> {
        None
    }

    /// How long at most it waits for its caches to see its own last writes.
    fn patience(&self) -> Span {
        Span::s(5)
    }
}
