//! What one watch has seen. Objects are kept packed, which is a hundredth of the size of the tree that they
//! become while a plan reads them; most objects are not read for hours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ivory_core::grants::Grant;
use ivory_core::labels;
use ivory_core::object::Uid;
use ivory_core::{Kind, Object};
use serde_json::Value;
use tokio::time::Instant;

use crate::packed::{Packed, Press};

/// Namespace and name.
pub type Key = (Arc<str>, Arc<str>);

/// A watch that fails for longer than this knows nothing any more. Each watch waits by itself: after an outage one is fresh
/// and another as old as the outage, and whoever took both for the present would take down an instance that it does not know.
const PATIENCE: Duration = Duration::from_secs(15);
/// Failures further apart than this are not the same trouble: retries come every 8 s at most.
const STREAK: Duration = Duration::from_secs(40);

/// A change of one object: created, changed, deleted.
pub type Change = (Option<Object>, Option<Object>);

/// An object that a new list shows to be another than before.
pub struct Difference {
    key: Key,
    old: Option<Entry>,
}

/// What one watch has seen.
pub struct Store {
    kind: Kind,
    /// Whether the watch brings names alone; what they hold is filled in for those who read it.
    names: bool,
    press: Press,
    objects: BTreeMap<Key, Entry>,
    /// Namespace, cluster, name of those with the cluster's label.
    labelled: BTreeSet<(Arc<str>, Arc<str>, Arc<str>)>,
    /// What a new list has brought so far.
    listing: Option<BTreeMap<Key, Entry>>,
    synced: bool,
    seen: u64,
    trouble: Option<Trouble>,
}

struct Trouble {
    first: Instant,
    last: Instant,
    text: String,
    denied: Option<Grant>,
}

struct Entry {
    cluster: Option<Arc<str>>,
    uid: Uid,
    resource_version: u64,
    terminating: bool,
    /// What it holds; none if only its name was told.
    packed: Option<Packed>,
}

impl Entry {
    fn new(press: &mut Press, object: &Object, value: &Value) -> Self {
        // A value that was parsed can be written.
        let json = serde_json::to_vec(value).unwrap_or_default();
        let cluster = object.label(labels::CLUSTER).map(Arc::from);
        Self { cluster, packed: Some(press.pack(&json)), ..Self::name(object) }
    }

    /// Its life alone.
    fn name(object: &Object) -> Self {
        Self {
            cluster: None,
            uid: object.meta.uid.clone(),
            resource_version: object.meta.resource_version,
            terminating: object.terminating(),
            packed: None,
        }
    }

    fn object(&self) -> Option<Object> {
        let value = serde_json::from_slice(&self.packed.as_ref()?.json()?).ok()?;
        Object::from_value(value).ok()
    }
}

impl Store {
    /// An empty one, which knows nothing yet.
    #[must_use]
    pub fn new(kind: Kind, names: bool) -> Self {
        Self {
            kind,
            names,
            press: Press::default(),
            objects: BTreeMap::new(),
            labelled: BTreeSet::new(),
            listing: None,
            synced: false,
            seen: 0,
            trouble: None,
        }
    }

    /// A list begins.
    pub fn begin(&mut self) {
        self.listing = Some(BTreeMap::new());
    }

    /// The list brought an object.
    pub fn listed(&mut self, object: &Object, value: &Value) {
        let entry = self.entry(object, value);
        if let Some(listing) = &mut self.listing {
            listing.insert(key_of(object), entry);
        }
    }

    fn entry(&mut self, object: &Object, value: &Value) -> Entry {
        if self.names { Entry::name(object) } else { Entry::new(&mut self.press, object, value) }
    }

    /// The list is complete. Gives what differs from before, to be unpacked one by one: all of it at once
    /// would be most of the memory that this process ever needs.
    pub fn complete(&mut self) -> Vec<Difference> {
        self.synced = true;
        self.trouble = None;
        let listing = self.listing.take().unwrap_or_default();
        let mut before = std::mem::replace(&mut self.objects, listing);
        let mut changes = Vec::new();
        for (key, new) in &self.objects {
            let old = before.remove(key);
            if old.as_ref().is_none_or(|old| old.resource_version != new.resource_version) {
                let key = key.clone();
                changes.push(Difference { key, old });
            }
            self.seen = self.seen.max(new.resource_version);
        }
        changes.extend(before.into_iter().map(|(key, old)| {
            let old = Some(old);
            Difference { key, old }
        }));
        let entries = self.objects.iter().filter_map(|(k, p)| index(k, p));
        self.labelled = entries.collect();
        changes
    }

    /// What a difference is about.
    #[must_use]
    pub fn unpack(&self, difference: &Difference) -> Change {
        let object = |entry: &Entry| {
            if !self.names {
                return entry.object();
            }
            let mut object = Object::new(self.kind, &difference.key.0, &difference.key.1);
            object.meta.uid = entry.uid.clone();
            object.meta.resource_version = entry.resource_version;
            Some(object)
        };
        let old = difference.old.as_ref().and_then(object);
        let new = self.objects.get(&difference.key).and_then(object);
        (old, new)
    }

    /// What an object holds of which only the name was told. It is forgotten when the watch tells of a change.
    pub fn fill(&mut self, object: &Object) {
        let new = Entry::new(&mut self.press, object, &object.to_value());
        if let Some(entry) = self.objects.get_mut(&key_of(object))
            && entry.resource_version <= new.resource_version
        {
            *entry = Entry { cluster: None, ..new };
        }
    }

    /// Nobody reads any more what an object holds.
    pub fn empty(&mut self, namespace: &str, name: &str) {
        if let Some(entry) = self.objects.get_mut(&(namespace.into(), name.into())) {
            entry.packed = None;
        }
    }

    /// An object appeared or changed. Gives what it was before.
    pub fn apply(&mut self, object: &Object, value: &Value) -> Option<Object> {
        self.trouble = None;
        let key = key_of(object);
        let new = self.entry(object, value);
        self.seen = self.seen.max(new.resource_version);
        let told = |old: &Entry| old.resource_version >= new.resource_version;
        if self.names && self.objects.get(&key).is_some_and(told) {
            return None;
        }
        let entry = index(&key, &new);
        let old = self.objects.insert(key.clone(), new);
        if let Some(old) = &old
            && let Some(before) = index(&key, old)
        {
            self.labelled.remove(&before);
        }
        self.labelled.extend(entry);
        old.as_ref().and_then(Entry::object)
    }

    /// An object went away.
    pub fn delete(&mut self, object: &Object) {
        self.trouble = None;
        self.seen = self.seen.max(object.meta.resource_version);
        let key = key_of(object);
        // What was filled in may be the next life already.
        let newer = |old: &Entry| old.resource_version > object.meta.resource_version;
        if self.names && self.objects.get(&key).is_some_and(newer) {
            return;
        }
        if let Some(old) = self.objects.remove(&key)
            && let Some(entry) = index(&key, &old)
        {
            self.labelled.remove(&entry);
        }
    }

    /// The watch failed, for want of a permission if one is given. Whether that is news.
    pub fn failed(&mut self, now: Instant, text: String, denied: Option<Grant>) -> bool {
        match &mut self.trouble {
            Some(t) if now - t.last < STREAK => {
                t.last = now;
                t.denied = denied;
                std::mem::replace(&mut t.text, text.clone()) != text
            }
            trouble => {
                *trouble = Some(Trouble { first: now, last: now, text, denied });
                true
            }
        }
    }

    /// The stream is open again where it broke, so nothing was missed. Whether nothing could be said before.
    pub fn goes_on(&mut self, now: Instant) -> bool {
        let unknown = self.synced && self.unknown(now).is_some();
        if self.synced {
            self.trouble = None;
        }
        unknown
    }

    /// Why nothing can be said now, if that is so. A short interruption is none: what was planned from a
    /// slightly old view is refused by its preconditions.
    #[must_use]
    pub fn unknown(&self, now: Instant) -> Option<String> {
        match self.trouble(now) {
            Some(t) if !self.synced || now - t.first > PATIENCE => {
                Some(format!("{} can't be watched: {}", self.kind.plural(), t.text))
            }
            None if !self.synced => Some(format!("{} are not listed yet", self.kind.plural())),
            _ => None,
        }
    }

    /// How long the watch has been failing, if it does.
    #[must_use]
    pub fn fails_for(&self, now: Instant) -> Option<Duration> {
        self.trouble(now).map(|t| now - t.first)
    }

    /// The permission for want of which the watch fails now.
    #[must_use]
    pub fn denied(&self, now: Instant) -> Option<Grant> {
        self.trouble(now)?.denied.clone()
    }

    fn trouble(&self, now: Instant) -> Option<&Trouble> {
        self.trouble.as_ref().filter(|t| now - t.last < STREAK)
    }

    /// Whether the first list came, or failed.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.synced || self.trouble.is_some()
    }

    /// One object; none as well if only its name is known.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let packed = self.objects.get(&(namespace.into(), name.into()))?;
        packed.object().map(Arc::new)
    }

    /// UID and version of an object, and whether it is being deleted.
    #[must_use]
    pub fn life(&self, namespace: &str, name: &str) -> Option<(&Uid, u64, bool)> {
        let packed = self.objects.get(&(namespace.into(), name.into()))?;
        Some((&packed.uid, packed.resource_version, packed.terminating))
    }

    /// The newest version of any object that was seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// All objects with the cluster's label, in name order.
    #[must_use]
    pub fn of_cluster(&self, namespace: &str, cluster: &str) -> Vec<Arc<Object>> {
        let (namespace, cluster): (Arc<str>, Arc<str>) = (namespace.into(), cluster.into());
        let from = (namespace.clone(), cluster.clone(), Arc::from(""));
        self.labelled
            .range(from..)
            .take_while(|(ns, c, _)| *ns == namespace && *c == cluster)
            .filter_map(|(ns, _, name)| self.objects.get(&(ns.clone(), name.clone()))?.object())
            .map(Arc::new)
            .collect()
    }

    /// All objects, in order of namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Object>> {
        let objects = self.objects.values().filter_map(Entry::object);
        objects.map(Arc::new).collect()
    }

    /// All names.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
    }
}

fn key_of(object: &Object) -> Key {
    (object.meta.namespace.clone(), object.meta.name.clone())
}

fn index(key: &Key, packed: &Entry) -> Option<(Arc<str>, Arc<str>, Arc<str>)> {
    Some((key.0.clone(), packed.cluster.clone()?, key.1.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, cluster: Option<&str>, version: u64) -> (Object, Value) {
        let labels = cluster.map_or(json!({}), |c| json!({labels::CLUSTER: c}));
        let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
            "namespace": "ns", "name": name, "uid": name, "resourceVersion": version.to_string(), "labels": labels,
        }});
        (Object::from_value(value.clone()).unwrap(), value)
    }

    fn names(store: &Store, cluster: &str) -> Vec<String> {
        let all = store.of_cluster("ns", cluster);
        all.iter().map(|o| o.meta.name.to_string()).collect()
    }

    #[test]
    fn objects_are_found_by_the_label_that_they_have_now() {
        let mut store = Store::new(Kind::Secret, false);
        store.begin();
        for (o, v) in [
            object("b", Some("hippo"), 1),
            object("a", Some("hippo"), 2),
            object("c", Some("hippo2"), 3),
            object("d", None, 4),
        ] {
            store.listed(&o, &v);
        }
        assert!(store.unknown(Instant::now()).is_some());
        assert_eq!(store.complete().len(), 4);
        assert_eq!(store.unknown(Instant::now()), None);
        assert_eq!(names(&store, "hippo"), ["a", "b"]);
        let (o, v) = object("a", Some("hippo2"), 5);
        assert_eq!(store.apply(&o, &v).unwrap().meta.resource_version, 2);
        assert_eq!(names(&store, "hippo"), ["b"]);
        assert_eq!(names(&store, "hippo2"), ["a", "c"]);
        store.delete(&o);
        assert_eq!(names(&store, "hippo2"), ["c"]);
        assert_eq!(store.seen(), 5);
        // A new list after a gap tells what happened in the gap.
        store.begin();
        let (o, v) = object("b", Some("hippo"), 9);
        store.listed(&o, &v);
        let changes = store.complete();
        let tell = |(old, new): &Change| {
            let name = |o: &Option<Object>| o.as_ref().map(|o| o.meta.name.to_string());
            (name(old), name(new))
        };
        let (b, gone) = (Some("b".to_owned()), |n: &str| (Some(n.to_owned()), None));
        let told: Vec<_> = changes.iter().map(|d| tell(&store.unpack(d))).collect();
        assert_eq!(told, [(b.clone(), b), gone("c"), gone("d")]);
    }

    #[test]
    fn of_a_name_is_kept_what_was_filled_in_until_it_changes() {
        let mut store = Store::new(Kind::Secret, true);
        let version = |n| object("a", None, n);
        let get = |store: &Store| store.get("ns", "a").map(|o| o.meta.resource_version);
        store.fill(&version(1).0);
        assert_eq!(store.life("ns", "a"), None, "the watch alone says what is there");
        store.begin();
        store.listed(&version(2).0, &version(2).1);
        let changes = store.complete();
        let (old, new) = store.unpack(&changes[0]);
        assert_eq!((old, new.map(|o| o.meta.name)), (None, Some("a".into())));
        assert_eq!((store.life("ns", "a").is_some(), get(&store)), (true, None));
        store.fill(&version(1).0);
        assert_eq!(get(&store), None, "that was before");
        store.fill(&version(4).0);
        assert_eq!(get(&store), Some(4));
        // The watch tells of it later, as it does of the life before.
        store.apply(&version(3).0, &version(3).1);
        store.delete(&version(3).0);
        store.apply(&version(4).0, &version(4).1);
        assert_eq!(get(&store), Some(4));
        store.apply(&version(5).0, &version(5).1);
        assert_eq!(get(&store), None);
        store.fill(&version(5).0);
        store.empty("ns", "a");
        assert_eq!((store.life("ns", "a").is_some(), get(&store)), (true, None));
        store.delete(&version(6).0);
        assert_eq!(store.life("ns", "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_for_long_knows_nothing() {
        let mut store = Store::new(Kind::Secret, false);
        store.begin();
        store.complete();
        assert!(store.failed(Instant::now(), "no answer".into(), None));
        assert_eq!(store.unknown(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(31)).await;
        let denied = Grant::new(Kind::Secret, "watch");
        assert!(!store.failed(Instant::now(), "no answer".into(), Some(denied.clone())));
        assert_eq!(store.denied(Instant::now()), Some(denied));
        assert!(store.unknown(Instant::now()).is_some());
        // Quiet means that the watch stands again: a failing one would have said so.
        tokio::time::advance(STREAK).await;
        assert_eq!((store.unknown(Instant::now()), store.denied(Instant::now())), (None, None));
    }
}
