//! A watch cache of one kind, as every reader of the API has its own. It lags as far as its watch does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::read::Selector;

use crate::kube::{Change, ChangeType};
use crate::time::Time;
use crate::world::actor::{Cx, Input, WatchId};
use crate::world::watch::Retries;

/// Namespace and name.
pub type Key = (Arc<str>, Arc<str>);

/// Objects by namespace and name, so that neither asking for one nor for a namespace makes a key.
type Namespaces = BTreeMap<Arc<str>, Arc<BTreeMap<Arc<str>, Arc<Object>>>>;

/// Who bears which value of a label.
#[derive(Clone, Debug)]
struct Index {
    label: &'static str,
    /// Namespace and value, and the names of those that bear it. Heartbeats don't change it.
    names: Arc<BTreeMap<Arc<str>, Values>>,
}

/// Names by the value of a label.
type Values = BTreeMap<Box<str>, BTreeSet<Arc<str>>>;

/// A watch cache.
#[derive(Clone, Debug)]
pub struct Informer {
    /// The kind.
    pub kind: Kind,
    watch: WatchId,
    namespaces: Arc<Namespaces>,
    index: Option<Index>,
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
        Self { kind, watch, namespaces: Arc::default(), index: None, synced: false, seen: 0 }
    }

    /// Keeps an index by the values of a label, for [`Informer::candidates`].
    #[must_use]
    pub fn indexed(mut self, label: &'static str) -> Self {
        self.index = Some(Index { label, names: Arc::default() });
        self
    }

    /// Waits so long, whenever its watch is refused, before it is asked for again.
    #[must_use]
    pub fn trying_again_after(self, cx: &mut Cx<'_>, retries: Retries) -> Self {
        cx.try_watch_again_after(self.watch, retries);
        self
    }

    /// Since when its watch has been refused: what it knows is as old as that.
    #[must_use]
    pub fn fails_since(&self, cx: &Cx<'_>) -> Option<Time> {
        cx.watch_fails_since(self.watch)
    }

    /// A cache that has seen these objects and hears of nothing more; for calling on pure functions.
    #[must_use]
    pub fn filled(kind: Kind, objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let mut cache = Self::new(kind, WatchId(0));
        let objects: Vec<_> = objects.into_iter().collect();
        cache.fill(&objects);
        cache
    }

    /// Takes in what concerns this cache.
    pub fn learn(&mut self, input: &Input) -> Learned {
        match input {
            Input::Listed(watch, objects, version) if *watch == self.watch => {
                self.fill(objects);
                self.seen = self.seen.max(*version);
                Learned::All
            }
            Input::Changed(watch, change) if *watch == self.watch => self.take(change),
            _ => Learned::NotMine,
        }
    }

    fn fill(&mut self, objects: &[Arc<Object>]) {
        self.namespaces = Arc::default();
        if let Some(index) = &mut self.index {
            index.names = Arc::default();
        }
        for object in objects {
            if let Some(index) = &mut self.index {
                index.change(None, Some(object));
            }
            let (namespace, name) = key_of(object);
            let namespaces = Arc::make_mut(&mut self.namespaces);
            let names = namespaces.entry(namespace).or_default();
            Arc::make_mut(names).insert(name, object.clone());
        }
        self.synced = true;
    }

    fn take(&mut self, change: &Change) -> Learned {
        self.seen = self.seen.max(change.resource_version);
        let key = key_of(&change.object);
        let namespaces = Arc::make_mut(&mut self.namespaces);
        let (old, new) = match change.what {
            ChangeType::Deleted => {
                let names = namespaces.get_mut(&key.0);
                let old = names.and_then(|names| Arc::make_mut(names).remove(&key.1));
                (old, None)
            }
            ChangeType::Added | ChangeType::Modified => {
                let names = Arc::make_mut(namespaces.entry(key.0.clone()).or_default());
                (names.insert(key.1.clone(), change.object.clone()), Some(change.object.clone()))
            }
        };
        if let Some(index) = &mut self.index {
            index.change(old.as_deref(), new.as_deref());
        }
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
        self.namespaces.get(namespace)?.get(name)
    }

    /// All objects, in order of namespace and name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        self.namespaces.values().flat_map(|names| names.values())
    }

    /// The objects of a namespace, in name order.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.namespaces.get(namespace).into_iter().flat_map(|names| names.values())
    }

    /// The objects of a namespace that may satisfy a selector, in name order: all that do, and others.
    /// With an index of a label whose value the selector names, those that bear it; else the namespace.
    pub fn candidates<'a>(
        &'a self,
        namespace: &str,
        selector: &Selector,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let asked = self.index.as_ref().and_then(|index| {
            let value = selector.0.get(index.label)?.as_deref()?;
            Some((index, value))
        });
        let all = asked.is_none().then(|| self.in_namespace(namespace));
        let objects = self.namespaces.get(namespace);
        let names = asked.and_then(|(index, value)| index.names.get(namespace)?.get(value));
        let some = names.into_iter().flatten();
        let some = some.filter_map(move |name| objects?.get(name));
        all.into_iter().flatten().chain(some)
    }
}

impl Index {
    fn change(&mut self, old: Option<&Object>, new: Option<&Object>) {
        let before = old.and_then(|o| o.label(self.label));
        let after = new.and_then(|o| o.label(self.label));
        if before == after {
            return;
        }
        let Some(meta) = new.or(old).map(|o| &o.meta) else {
            return;
        };
        let values = Arc::make_mut(&mut self.names).entry(meta.namespace.clone()).or_default();
        if let Some(before) = before
            && let Some(names) = values.get_mut(before)
        {
            names.remove(&meta.name);
            if names.is_empty() {
                values.remove(before);
            }
        }
        if let Some(after) = after {
            values.entry(after.into()).or_default().insert(meta.name.clone());
        }
    }
}

/// The key of an object.
#[must_use]
pub fn key_of(object: &Object) -> Key {
    (object.meta.namespace.clone(), object.meta.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "cluster";

    fn object(namespace: &str, name: &str, value: Option<&str>) -> Arc<Object> {
        let mut object = Object::new(Kind::Pod, namespace, name);
        let label = value.map(|v| (LABEL.to_owned(), v.to_owned()));
        object.meta.labels = Arc::new(label.into_iter().collect());
        Arc::new(object)
    }

    fn changed(what: ChangeType, object: Arc<Object>) -> Input {
        Input::Changed(
            WatchId(0),
            Arc::new(Change { resource_version: 1, what, object, old: None }),
        )
    }

    /// What the index finds is what a look at every object finds, in the same order.
    fn check(cache: &Informer) {
        for namespace in ["a", "b", "none"] {
            for value in ["x", "y", "none"] {
                let selector = Selector::label(LABEL, value);
                let fits = |o: &&Arc<Object>| selector.matches(&o.meta.labels);
                let all: Vec<_> = cache.in_namespace(namespace).filter(fits).collect();
                let found: Vec<_> = cache.candidates(namespace, &selector).filter(fits).collect();
                assert_eq!(found, all, "{namespace} {value}");
                assert!(cache.candidates(namespace, &selector).count() <= all.len());
            }
            let any = cache.candidates(namespace, &Selector::default());
            assert_eq!(any.count(), cache.in_namespace(namespace).count());
        }
    }

    #[test]
    fn the_index_finds_what_a_look_at_everything_finds() {
        use ChangeType::{Added, Deleted, Modified};
        let mut cache = Informer::new(Kind::Pod, WatchId(0)).indexed(LABEL);
        let list = vec![object("a", "2", Some("x")), object("a", "1", Some("x"))];
        cache.learn(&Input::Listed(WatchId(0), list, 0));
        check(&cache);
        let steps = [
            (Added, "a", "3", Some("y")),
            (Added, "b", "1", Some("x")),
            (Modified, "a", "1", Some("y")),
            (Modified, "a", "2", None),
            (Modified, "b", "1", Some("x")),
            (Added, "a", "0", None),
            (Modified, "a", "0", Some("x")),
            (Deleted, "a", "3", Some("y")),
            (Deleted, "b", "1", Some("x")),
        ];
        for (what, namespace, name, value) in steps {
            cache.learn(&changed(what, object(namespace, name, value)));
            check(&cache);
        }
        let names: Vec<_> = cache.iter().map(|o| &*o.meta.name).collect();
        assert_eq!(names, ["0", "1", "2"]);
        cache.learn(&Input::Listed(WatchId(0), vec![object("b", "9", Some("y"))], 7));
        assert_eq!(cache.seen(), 7, "what is gone is seen to be gone");
        check(&cache);
        assert_eq!(cache.iter().count(), 1);
    }
}
