//! A watch cache of one kind, as every reader of the API has its own. It lags as far as its watch does.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::read::Selector;

use crate::kube::{Change, ChangeType};
use crate::world::actor::{Cx, Input, WatchId};

/// Namespace and name.
pub type Key = (Arc<str>, Arc<str>);

/// A watch cache.
#[derive(Clone, Debug)]
pub struct Informer {
    /// The kind.
    pub kind: Kind,
    watch: WatchId,
    objects: Arc<BTreeMap<Key, Arc<Object>>>,
    synced: bool,
    seen: u64,
}

/// What an informer learned from an input.
#[derive(Clone, Debug)]
pub enum Learned {
    /// The input was not for this informer.
    NotMine,
    /// A new complete list; any object may have changed.
    All,
    /// One object changed: its former and its new state.
    One {
        /// Its key.
        key: Key,
        /// Before.
        old: Option<Arc<Object>>,
        /// After; none when it is gone.
        new: Option<Arc<Object>>,
    },
}

impl Informer {
    /// Opens the watch.
    pub fn open(cx: &mut Cx<'_>, kind: Kind, namespace: Option<&str>, selector: Selector) -> Self {
        Self::new(kind, cx.watch(kind, namespace, selector))
    }

    /// Opens a watch of the Pods that are bound to a node.
    pub fn pods_of(cx: &mut Cx<'_>, node: &str) -> Self {
        Self::new(Kind::Pod, cx.watch_pods_of(node))
    }

    fn new(kind: Kind, watch: WatchId) -> Self {
        Self { kind, watch, objects: Arc::default(), synced: false, seen: 0 }
    }

    /// A cache that has seen these objects and hears of nothing more; for calling on pure functions.
    #[must_use]
    pub fn filled(kind: Kind, objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let objects: BTreeMap<_, _> = objects.into_iter().map(|o| (key_of(&o), o)).collect();
        Self {
            kind,
            watch: WatchId(0),
            seen: objects.values().map(|o| o.meta.resource_version).max().unwrap_or(0),
            objects: Arc::new(objects),
            synced: true,
        }
    }

    /// Takes in what concerns this cache.
    pub fn learn(&mut self, input: &Input) -> Learned {
        match input {
            Input::Listed(watch, objects) if *watch == self.watch => {
                self.objects = Arc::new(objects.iter().map(|o| (key_of(o), o.clone())).collect());
                self.synced = true;
                let newest = objects.iter().map(|o| o.meta.resource_version).max();
                self.seen = self.seen.max(newest.unwrap_or(0));
                Learned::All
            }
            Input::Changed(watch, change) if *watch == self.watch => self.take(change),
            _ => Learned::NotMine,
        }
    }

    fn take(&mut self, change: &Change) -> Learned {
        self.seen = self.seen.max(change.resource_version);
        let key = key_of(&change.object);
        let objects = Arc::make_mut(&mut self.objects);
        let (old, new) = match change.what {
            ChangeType::Deleted => (objects.remove(&key), None),
            ChangeType::Added | ChangeType::Modified => {
                (objects.insert(key.clone(), change.object.clone()), Some(change.object.clone()))
            }
        };
        Learned::One { key, old, new }
    }

    /// Whether the first list has come.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// The newest resourceVersion of this kind that was seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// An object by name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(Arc::from(namespace), Arc::from(name)))
    }

    /// All objects, in order of namespace and name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The objects of a namespace, in name order.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let namespace: Arc<str> = namespace.into();
        let from: Key = (namespace.clone(), "".into());
        self.objects.range(from..).take_while(move |((ns, _), _)| *ns == namespace).map(|(_, o)| o)
    }
}

/// The key of an object.
#[must_use]
pub fn key_of(object: &Object) -> Key {
    (object.meta.namespace.clone(), object.meta.name.clone())
}
