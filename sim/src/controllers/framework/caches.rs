//! The watch caches that controllers share, one a kind. They lag as far as their watches do.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::world::Informer;

/// Watch caches by kind. A kind that nobody watches is empty.
#[derive(Clone, Debug)]
pub struct Caches {
    informers: Vec<Option<Informer>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self { informers: vec![None; Kind::ALL.len()] }
    }
}

impl Caches {
    /// Caches that hold these objects and hear of nothing more.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = Object>) -> Self {
        let objects: Vec<_> = objects.into_iter().map(Arc::new).collect();
        let mut caches = Self::default();
        for &kind in Kind::ALL {
            let mine = objects.iter().filter(|o| o.kind == kind).cloned();
            caches.add(Informer::filled(kind, mine));
        }
        caches
    }

    pub(super) fn add(&mut self, informer: Informer) {
        let slot = informer.kind as usize;
        self.informers[slot] = Some(informer);
    }

    pub(super) fn informer_mut(&mut self, kind: Kind) -> Option<&mut Informer> {
        self.informers[kind as usize].as_mut()
    }

    /// The cache of a kind, if it is watched.
    #[must_use]
    pub fn informer(&self, kind: Kind) -> Option<&Informer> {
        self.informers[kind as usize].as_ref()
    }

    /// The kinds that are watched.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.informers.iter().flatten().map(|i| i.kind)
    }

    /// Whether every first list has come.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.informers.iter().flatten().all(Informer::synced)
    }

    /// An object by name.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.informer(kind)?.get(namespace, name)
    }

    /// All objects of a kind in a namespace, in name order.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let namespace: Arc<str> = namespace.into();
        self.informer(kind).into_iter().flat_map(move |i| i.in_namespace(&namespace))
    }

    /// All objects of a kind, in order of namespace and name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.informer(kind).into_iter().flat_map(Informer::iter)
    }

    /// The objects of a kind whose managing controller is `owner`, in name order.
    pub fn controlled<'a>(
        &'a self,
        kind: Kind,
        owner: &'a Object,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.list(kind, &owner.meta.namespace).filter(|o| o.controlled_by(&owner.meta.uid))
    }
}
