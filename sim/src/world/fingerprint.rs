//! The normal form of a world's state, modulo what differs between two runs to the same end: UIDs, versions,
//! times, log positions, drawn names and generated secrets. All checkers share this one normaliser: the fingerprint
//! is its digest, and a difference is told from the same values.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ivory_core::hash::Digest;
use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::tokens;
use crate::world::{Actor, KubeId, World};

/// Keys whose values are times, versions, identities, positions or drawn, wherever they stand.
const VOLATILE: &[&str] = &[
    "uid",
    "resourceVersion",
    "observedGeneration",
    // What stands at a moment that is not over yet, or not at all.
    "completionTime",
    "lastProbeTime",
    "time",
    "containerID",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    // With OnDelete it says for ever how many are left of the revision that a set began with.
    "currentReplicas",
    // Of a Node: it follows from where the Pods are.
    "volumesInUse",
    // Drawn by initdb; digests of that, of passwords, and of a volume's name, which is a UID.
    "systemIdentifier",
    "databaseRevision",
    "usersRevision",
    "ivory-operator.ivorysql.org/applied-hash",
    "renewTime",
    "acquireTime",
    "optime",
    "slots",
    "history",
    "initialize",
    "xlog_location",
    "replayed_location",
    "received_location",
    "receive_lsn",
    "replay_lsn",
];

/// Keys of which only matters that they are there: which of equal nodes a Pod comes to is nobody's promise.
const PLACES: &[&str] = &["nodeName", "hostIP", "volume.kubernetes.io/selected-node"];

/// Keys of lists whose order means nothing: whoever writes them does so as they come.
const UNORDERED: &[&str] = &["endpoints", "addresses", "notReadyAddresses", "conditions"];

/// The symbols of drawn name endings: no vowels.
const SYMBOLS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Kinds that tell of the past, or beat.
const LEFT_OUT: [Kind; 3] = [Kind::Event, Kind::Lease, Kind::ControllerRevision];

/// The normal form of objects: name and leaves by path, in the order of names. Several objects may bear the same
/// normal name.
pub type Normal = Vec<(String, BTreeMap<String, String>)>;

/// Digests of objects that were seen before. Objects never change, so a digest holds as long as the object lives,
/// which the cache sees to.
#[derive(Default)]
pub struct Digests(BTreeMap<usize, (Arc<Object>, u64)>);

/// How many digests are kept.
const KEPT: usize = 20_000;

impl Digests {
    fn of(&mut self, object: &Arc<Object>) -> u64 {
        let key = Arc::as_ptr(object) as usize;
        if let Some((_, digest)) = self.0.get(&key) {
            return *digest;
        }
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        let mut hash = Digest::default();
        hash_object(object, &mut hash);
        let digest = hash.finish();
        self.0.insert(key, (object.clone(), digest));
        digest
    }
}

impl World {
    /// The fingerprint: equal for worlds that have the same objects, disks, actors' states and faults that last.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint_with(&mut Digests::default())
    }

    /// The same, with digests that are known already.
    #[must_use]
    pub fn fingerprint_with(&self, digests: &mut Digests) -> u64 {
        // Sums, since what bears drawn names comes in any order.
        let mut sum = 0_u64;
        for id in self.kube_ids() {
            let kube = self.kube(id);
            for &kind in Kind::ALL.iter().filter(|k| !LEFT_OUT.contains(k)) {
                for object in kube.api.list(kind, None) {
                    let digest = ivory_core::hash::digest(&(id, digests.of(object)));
                    sum = sum.wrapping_add(digest);
                }
            }
            for (name, volume) in kube.volumes() {
                let mut hash = Digest::default();
                normal(name).hash(&mut hash);
                volume.fingerprint(&mut hash);
                sum = sum.wrapping_add(hash.finish());
            }
        }
        if self.net.troubled() {
            sum = sum.wrapping_add(ivory_core::hash::digest(&self.net));
        }
        for name in self.faults.lasting(self.now) {
            sum = sum.wrapping_add(ivory_core::hash::digest(&name));
        }
        for (_, kube, actor) in self.actors() {
            sum = sum.wrapping_add(part(kube, actor));
        }
        sum
    }

    /// All objects in their normal form.
    #[must_use]
    pub fn normal(&self) -> Normal {
        let mut all = Normal::new();
        for id in self.kube_ids() {
            for &kind in Kind::ALL.iter().filter(|k| !LEFT_OUT.contains(k)) {
                for object in self.kube(id).api.list(kind, None) {
                    let mut leaves = Leaves::default();
                    walk(object, &mut leaves);
                    let name = normal(&object.meta.name);
                    all.push((format!("{kind} {name}"), leaves.found));
                }
            }
        }
        all.sort();
        all
    }
}

/// The part of a fingerprint that an actor is; the whole is the sum of its parts.
pub fn part(kube: KubeId, actor: &dyn Actor) -> u64 {
    let mut hash = Digest::default();
    // Which of equal nodes has which Pods is left out.
    let name = actor.name();
    let name = if name.starts_with("kubelet/") { "kubelet" } else { name };
    (kube, normal(name)).hash(&mut hash);
    actor.fingerprint(&mut hash);
    hash.finish()
}

/// How one end differs from another, one sentence a leaf.
#[must_use]
pub fn differences(wanted: &Normal, seen: &Normal) -> Vec<String> {
    let (mut missing, mut more) = (Vec::new(), Vec::new());
    let mut left: Vec<_> = seen.iter().collect();
    for object in wanted {
        match left.iter().position(|o| *o == object) {
            Some(index) => drop(left.remove(index)),
            None => missing.push(object),
        }
    }
    more.append(&mut left);
    let mut told = Vec::new();
    for (name, leaves) in missing {
        let Some(index) = more.iter().position(|(n, _)| n == name) else {
            told.push(format!("{name} is missing"));
            continue;
        };
        let (_, others) = more.remove(index);
        let paths: std::collections::BTreeSet<_> = leaves.keys().chain(others.keys()).collect();
        for path in paths {
            let (before, after) = (leaves.get(path), others.get(path));
            if before != after {
                let show = |v: Option<&String>| v.map_or("nothing".to_owned(), |v| short(v));
                told.push(format!("{name} {path} is {}, not {}", show(after), show(before)));
            }
        }
    }
    told.extend(more.into_iter().map(|(name, _)| format!("{name} is left over")));
    told
}

fn short(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a walk over an object meets.
trait Meets {
    fn enter(&mut self, key: &str);
    fn leave(&mut self);
    fn leaf(&mut self, text: &str);
}

impl Meets for Digest {
    fn enter(&mut self, key: &str) {
        (1_u8, key).hash(self);
    }
    fn leave(&mut self) {
        2_u8.hash(self);
    }
    fn leaf(&mut self, text: &str) {
        (3_u8, text).hash(self);
    }
}

/// Leaves by their paths.
#[derive(Default)]
struct Leaves {
    path: Vec<String>,
    found: BTreeMap<String, String>,
}

impl Meets for Leaves {
    fn enter(&mut self, key: &str) {
        self.path.push(key.to_owned());
    }
    fn leave(&mut self) {
        self.path.pop();
    }
    fn leaf(&mut self, text: &str) {
        self.found.insert(self.path.join("."), text.to_owned());
    }
}

/// Feeds an object in its normal form.
pub fn hash_object(object: &Object, hash: &mut Digest) {
    (object.kind, &*object.meta.namespace, normal(&object.meta.name)).hash(hash);
    walk(object, hash);
}

fn walk(object: &Object, meets: &mut impl Meets) {
    let mut at = |key: &str, text: &str| {
        meets.enter(key);
        meets.leaf(text);
        meets.leave();
    };
    if object.terminating() {
        at("deletionTimestamp", "set");
    }
    for finalizer in object.meta.finalizers.iter() {
        at(finalizer, "finalizer");
    }
    for owner in object.meta.owners.iter() {
        at("owner", &normal(&format!("{} {}", owner.kind, owner.name)));
    }
    for (key, value) in object.meta.labels.iter().filter(|(k, _)| !volatile(k)) {
        at(&format!("labels[{key}]"), &normal(value));
    }
    for (key, value) in object.meta.annotations.iter().filter(|(k, _)| !volatile(k)) {
        meets.enter(&format!("annotations[{key}]"));
        // Patroni keeps its state as JSON.
        match serde_json::from_str(value) {
            _ if PLACES.contains(&key.as_str()) => meets.leaf("<node>"),
            _ if is_time(value) => meets.leaf("<time>"),
            Ok(value @ (Value::Object(_) | Value::Array(_))) => walk_value(&value, meets),
            _ => meets.leaf(&normal(value)),
        }
        meets.leave();
    }
    for (key, value) in object.body.iter() {
        meets.enter(key);
        match value {
            // Which keys there are is state; what was drawn for them is not.
            Value::Object(map) if object.kind == Kind::Secret && key == "data" => {
                for key in map.keys() {
                    meets.enter(key);
                    meets.leaf("set");
                    meets.leave();
                }
            }
            value => walk_member(key, value, meets),
        }
        meets.leave();
    }
}

/// What stands under a key.
fn walk_member(key: &str, value: &Value, meets: &mut impl Meets) {
    match value {
        Value::Array(items) if UNORDERED.contains(&key) => {
            let digest = |value: &&Value| {
                let mut hash = Digest::default();
                walk_value(value, &mut hash);
                hash.finish()
            };
            let mut items: Vec<&Value> = items.iter().collect();
            items.sort_by_cached_key(digest);
            walk_items(items.into_iter(), meets);
        }
        value => walk_value(value, meets),
    }
}

fn walk_items<'a>(items: impl Iterator<Item = &'a Value>, meets: &mut impl Meets) {
    for (index, value) in items.enumerate() {
        // A condition is known by its type.
        match value.get("type").and_then(Value::as_str) {
            Some(kind) if value.get("status").is_some() => meets.enter(kind),
            _ => meets.enter(&index.to_string()),
        }
        walk_value(value, meets);
        meets.leave();
    }
}

fn walk_value(value: &Value, meets: &mut impl Meets) {
    match value {
        Value::Null => meets.leaf("null"),
        Value::Bool(b) => meets.leaf(if *b { "true" } else { "false" }),
        Value::Number(n) => meets.leaf(&n.to_string()),
        Value::String(s) if is_time(s) => meets.leaf("<time>"),
        Value::String(s) => meets.leaf(&normal(s)),
        Value::Array(items) => walk_items(items.iter(), meets),
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(k, _)| !volatile(k)) {
                meets.enter(key);
                match PLACES.contains(&key.as_str()) {
                    true => meets.leaf("<node>"),
                    false => walk_member(key, value, meets),
                }
                meets.leave();
            }
        }
    }
}

/// Whether a text is a moment as the API writes it.
fn is_time(text: &str) -> bool {
    (20..=30).contains(&text.len())
        && text.ends_with('Z')
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn volatile(key: &str) -> bool {
    VOLATILE.contains(&key)
}

/// A text without UIDs, addresses, moments and drawn endings of names.
#[must_use]
pub fn normal(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.bytes().any(|b| matches!(b, b'-' | b'.')) {
        return text.into();
    }
    // Of what bears names nothing has a capital Z.
    if !text.contains('Z') {
        return tokens::replace(text, token).into();
    }
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', '.', ';', ':']);
        match is_time(bare) {
            true => format!("<time>{}", &word[bare.len()..]),
            false => tokens::replace(word, token),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ").into()
}

fn token(token: &str, shown: &mut String) {
    let uuid = |t: &str| t.len() == 36 && t.bytes().filter(|b| *b == b'-').count() == 4;
    if uuid(token) {
        return shown.push_str("<uid>");
    }
    if token.strip_prefix("pvc-").is_some_and(uuid) {
        return shown.push_str("pvc-<uid>");
    }
    if token.parse::<std::net::Ipv4Addr>().is_ok() {
        return shown.push_str("<address>");
    }
    for (index, part) in token.split('-').enumerate() {
        if index > 0 {
            shown.push('-');
        }
        let (word, rest) = part.split_at(part.find('.').unwrap_or(part.len()));
        let drawn = index > 0
            && matches!(word.len(), 4 | 5 | 8..=10)
            && word.bytes().all(|b| SYMBOLS.contains(&b));
        shown.push_str(if drawn { "*" } else { word });
        shown.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_no_difference() {
        for (text, wanted) in [
            ("hippo-instance1-zj5s-0", "hippo-instance1-*-0"),
            ("hippo-instance1-zj5s-0.hippo-pods", "hippo-instance1-*-0.hippo-pods"),
            ("hippo-backup-x2x2-z9z9z", "hippo-backup-*-*"),
            ("pvc-0a1b2c3d-0000-4000-8000-0123456789ab", "pvc-<uid>"),
            ("on 10.1.2.3: 0a1b2c3d-0000-4000-8000-0123456789ab", "on <address>: <uid>"),
            ("hippo-replicas and hippo-cluster-cert", "hippo-replicas and hippo-cluster-cert"),
            ("zj5s", "zj5s"),
            (
                "WAL waits since 2026-01-01T00:01:24Z, about 1 GiB",
                "WAL waits since <time>, about 1 GiB",
            ),
            ("18.1 – größer", "18.1 – größer"),
        ] {
            assert_eq!(normal(text), wanted);
        }
    }

    #[test]
    fn a_difference_is_told_by_its_path() {
        let object = |leaf: &str| {
            vec![("Service a".to_owned(), BTreeMap::from([("spec.port".to_owned(), leaf.into())]))]
        };
        assert_eq!(differences(&object("1"), &object("1")), Vec::<String>::new());
        assert_eq!(differences(&object("1"), &object("2")), ["Service a spec.port is 2, not 1"]);
        assert_eq!(differences(&object("1"), &Vec::new()), ["Service a is missing"]);
        assert_eq!(differences(&Vec::new(), &object("1")), ["Service a is left over"]);
    }
}
