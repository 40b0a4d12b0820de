//! Ownership of fields under apply and update: who owns what afterwards, what is pruned, and who is in
//! the way. The algorithm is that of structured-merge-diff 6 with one version per kind.
//!
//! Left out: `kubectl`'s migration of its last-applied annotation, and the cap of ten updating managers.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, compare};
use super::field_set::{FieldSet, PathElement, fields_of_value};
use super::merge::{merge, remove};
use super::schema::Schema;
use crate::object::{Managed, Meta, Object, StringMap};

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manager<'a> {
    /// The field manager's name.
    pub name: &'a str,
    /// `status` for the status subresource, else empty.
    pub subresource: &'a str,
    /// The version in which it names fields.
    pub api_version: &'a str,
}

/// What an apply makes of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The new [`view`], before defaults and the canonical form.
    pub view: Value,
    /// Who owns what.
    pub managed: Vec<Managed>,
}

/// A field that somebody else owns with another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Who, as messages have it: `"kubectl" with subresource "status" using v1`.
    pub manager: String,
    /// The field, for example `.spec.replicas`.
    pub field: String,
}

/// The part of an object that ownership of fields is about: body and shared metadata, without what
/// only the server sets.
#[must_use]
pub fn view(object: &Object) -> Value {
    let mut map: Map<String, Value> = (*object.body).clone();
    map.insert("metadata".into(), meta_view(&object.meta));
    Value::Object(map)
}

pub(super) fn meta_view(meta: &Meta) -> Value {
    let shared = Object {
        kind: crate::Kind::Pod,
        meta: Meta {
            generate_name: meta.generate_name.clone(),
            labels: Arc::clone(&meta.labels),
            annotations: Arc::clone(&meta.annotations),
            owners: Arc::clone(&meta.owners),
            finalizers: Arc::clone(&meta.finalizers),
            ..Meta::default()
        },
        body: Arc::default(),
    };
    shared.to_value()["metadata"].take()
}

/// Puts a [`view`] back into an object; metadata that the view does not have stays.
#[must_use]
pub fn with_view(object: &Object, view: Value) -> Object {
    let mut out = object.clone();
    let Value::Object(mut map) = view else {
        return out;
    };
    let meta = map.remove("metadata").unwrap_or_default();
    map.remove("apiVersion");
    map.remove("kind");
    let strings = |key: &str| -> StringMap {
        let map = meta.get(key).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect()
    };
    set(&mut out.meta.labels, strings("labels"));
    set(&mut out.meta.annotations, strings("annotations"));
    let rest = json!({
        "apiVersion": object.kind.api_version(), "kind": object.kind.name(),
        "metadata": {
            "ownerReferences": meta.get("ownerReferences").cloned().unwrap_or_default(),
            "finalizers": meta.get("finalizers").cloned().unwrap_or_default(),
        },
    });
    if let Ok(rest) = Object::from_value(rest) {
        set(&mut out.meta.owners, (*rest.meta.owners).clone());
        set(&mut out.meta.finalizers, (*rest.meta.finalizers).clone());
    }
    if *out.body != map {
        out.body = Arc::new(map);
    }
    out
}

fn set<T: PartialEq>(slot: &mut Arc<T>, value: T) {
    if **slot != value {
        *slot = Arc::new(value);
    }
}

/// The fields that an apply of this object owns.
#[must_use]
pub fn fields_of(schema: &Schema, object: &Object) -> FieldSet {
    let (arena, root) = (schema.arena(), schema.root());
    let mut set = FieldSet::default();
    set.put_field(arena, root, "metadata", &meta_view(&object.meta));
    // What nobody owns stands in metadata.
    let mut set = strip(&set);
    for (key, below) in object.body.iter() {
        set.put_field(arena, root, key, below);
    }
    set
}

/// The fields that differ between two objects. What both share by `Arc` costs nothing.
#[must_use]
pub fn compare_objects(schema: &Schema, old: &Object, new: &Object) -> Comparison {
    if Arc::ptr_eq(&old.body, &new.body) {
        return compare_fields(schema, old, new, []);
    }
    let added = new.body.keys().filter(|key| !old.body.contains_key(*key));
    compare_fields(schema, old, new, old.body.keys().chain(added))
}

/// The fields that differ between two objects whose bodies are known to differ in these top-level fields at most.
pub fn compare_fields<'a>(
    schema: &Schema,
    old: &Object,
    new: &Object,
    keys: impl IntoIterator<Item = &'a String>,
) -> Comparison {
    let (arena, root) = (schema.arena(), schema.root());
    let mut out = Comparison::default();
    for key in keys {
        let (ty, _) = arena.child(root, key);
        let child = compare(arena, ty, old.body.get(key), new.body.get(key));
        if !child.is_empty() {
            out.put(&PathElement::Field(key.to_owned()), child);
        }
    }
    let metadata = compare_meta(schema, &old.meta, &new.meta);
    if !metadata.is_empty() {
        out.put(&PathElement::Field("metadata".into()), metadata);
    }
    out
}

/// Labels and annotations are compared as they are, since leases are renewed in them all the time.
fn compare_meta(schema: &Schema, old: &Meta, new: &Meta) -> Comparison {
    let mut out = Comparison::default();
    let same = |a: &Meta, b: &Meta| {
        a.generate_name == b.generate_name
            && (Arc::ptr_eq(&a.owners, &b.owners) || a.owners == b.owners)
            && (Arc::ptr_eq(&a.finalizers, &b.finalizers) || a.finalizers == b.finalizers)
    };
    if !same(old, new) {
        let rest = |meta: &Meta| {
            meta_view(&Meta { labels: Arc::default(), annotations: Arc::default(), ..meta.clone() })
        };
        let ty = schema.arena().child(schema.root(), "metadata").0;
        let (a, b) = (rest(old), rest(new));
        out = compare(schema.arena(), ty, Some(&a), Some(&b));
    }
    for (name, a, b) in
        [("labels", &old.labels, &new.labels), ("annotations", &old.annotations, &new.annotations)]
    {
        if !Arc::ptr_eq(a, b) {
            out.put(&PathElement::Field(name.into()), compare_strings(a, b));
        }
    }
    out
}

/// An empty map is written as none, so that it comes and goes with its keys.
fn compare_strings(old: &StringMap, new: &StringMap) -> Comparison {
    let mut out = Comparison::default();
    let leaf = |set: &mut FieldSet, key: &str| {
        let below = FieldSet { member: true, ..FieldSet::default() };
        set.children.insert(PathElement::Field(key.to_owned()), below);
    };
    for (key, value) in new {
        match old.get(key) {
            None => leaf(&mut out.added, key),
            Some(before) if before != value => leaf(&mut out.modified, key),
            Some(_) => {}
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        leaf(&mut out.removed, key);
    }
    out.added.member = old.is_empty() && !new.is_empty();
    out.removed.member = new.is_empty() && !old.is_empty();
    out
}

/// Without the fields that nobody owns: what identifies the object and what only the server sets.
fn strip(set: &FieldSet) -> FieldSet {
    set.difference(stripped())
}

fn stripped() -> &'static FieldSet {
    static STRIPPED: OnceLock<FieldSet> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let meta = [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ];
        let start = ["apiVersion", "kind", "metadata"].map(|name| FieldSet::of(&[name]));
        let below = meta.map(|name| FieldSet::of(&["metadata", name]));
        start.iter().chain(&below).fold(FieldSet::default(), FieldSet::union)
    })
}

/// Applies `desired` to `live`, both as [`view`]s. `ignored` are the fields that this endpoint never
/// stores, for example `status` at the main one. `now` is the time of the new entry.
///
/// # Errors
/// Without `force`, the fields that others own with other values.
#[expect(clippy::too_many_arguments, reason = "what an apply is made of")]
pub fn apply(
    schema: &Schema,
    live: &Value,
    managed: &[Managed],
    desired: &Value,
    who: Manager<'_>,
    force: bool,
    ignored: &FieldSet,
    now: Option<Timestamp>,
) -> Result<Applied, Vec<Conflict>> {
    let (arena, root) = (schema.arena(), schema.root());
    let merged = merge(arena, root, Some(live), Some(desired)).unwrap_or_default();
    let set = fields_of_value(arena, root, desired).recursive_difference(ignored);
    let own = managed.iter().find(|m| is(m, who, true));
    let view = match own {
        Some(own) if !own.fields.is_empty() => prune(schema, &merged, &own.fields, &set, managed),
        _ => merged,
    };
    let changes = compare(arena, root, Some(live), Some(&view)).without(ignored);
    let taken = changes.modified.union(&changes.added);
    let mut out = Vec::with_capacity(managed.len() + 1);
    let mut conflicts = Vec::new();
    for entry in managed.iter().filter(|m| !is(m, who, true)) {
        let conflict = entry.fields.intersection(&taken);
        if !force {
            conflicts.extend(
                conflict
                    .paths()
                    .into_iter()
                    .map(|field| Conflict { manager: manager_text(entry), field }),
            );
        }
        lose(entry, &conflict, &changes.removed, &mut out);
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let set = strip(&set);
    if !set.is_empty() {
        out.push(Managed {
            manager: who.name.into(),
            apply: true,
            subresource: who.subresource.into(),
            api_version: who.api_version.into(),
            // The time moves only when the object does, so a new co-owner of an unchanged object has none.
            time: if view == *live { own.and_then(|m| m.time) } else { now },
            fields: match own {
                Some(own) if *own.fields == set => Arc::clone(&own.fields),
                _ => Arc::new(set),
            },
        });
    }
    sort_managed(&mut out);
    Ok(Applied { view, managed: out })
}

/// Ownership after an update (PUT, any patch but apply, create): the writer owns what it changed.
#[must_use]
pub fn update(
    schema: &Schema,
    old: &Value,
    new: &Value,
    managed: &[Managed],
    who: Manager<'_>,
    ignored: &FieldSet,
    now: Timestamp,
) -> Vec<Managed> {
    let changes = compare(schema.arena(), schema.root(), Some(old), Some(new));
    update_by(changes, managed, who, ignored, now)
}

/// [`update`], when it is already known what changed.
#[must_use]
pub fn update_by(
    changes: Comparison,
    managed: &[Managed],
    who: Manager<'_>,
    ignored: &FieldSet,
    now: Timestamp,
) -> Vec<Managed> {
    let Comparison { added, modified: mut taken, removed } = changes.without(ignored);
    taken.take_in(added);
    let own_set = match taken.meets(stripped()) {
        true => Cow::Owned(strip(&taken)),
        false => Cow::Borrowed(&taken),
    };
    let mut out = Vec::with_capacity(managed.len() + 1);
    let mut own_written = false;
    for entry in managed {
        let is_own = is(entry, who, false);
        // A writer that changes values which it owns already, and nothing else, keeps its set.
        if is_own && removed.is_empty() && own_set.is_within(&entry.fields) {
            own_written = true;
            let time = if own_set.is_empty() { entry.time } else { Some(now) };
            out.push(Managed { time, ..entry.clone() });
            continue;
        }
        let before = out.len();
        // Hardly any entry loses something, and then no set is made.
        let met = entry.fields.meets(&taken).then(|| entry.fields.intersection(&taken));
        lose(entry, &met.unwrap_or_default(), &removed, &mut out);
        if is_own && !own_set.is_empty() {
            own_written = true;
            if out.len() == before {
                out.push(Managed { fields: Arc::default(), ..entry.clone() });
            }
            if let Some(own) = out.last_mut() {
                own.fields = Arc::new((*own.fields).clone().union(&own_set));
                own.time = Some(now);
            }
        }
    }
    if !own_written && !own_set.is_empty() {
        out.push(Managed {
            manager: who.name.into(),
            apply: false,
            subresource: who.subresource.into(),
            api_version: who.api_version.into(),
            time: Some(now),
            fields: Arc::new(own_set.into_owned()),
        });
    }
    sort_managed(&mut out);
    out
}

/// The order in which `metadata.managedFields` is written.
pub fn sort_managed(managed: &mut [Managed]) {
    managed.sort_by(|a, b| {
        let seconds = |m: &Managed| m.time.map_or(0, Timestamp::as_second);
        b.apply
            .cmp(&a.apply)
            .then_with(|| seconds(a).cmp(&seconds(b)))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
}

fn is(entry: &Managed, who: Manager<'_>, apply: bool) -> bool {
    entry.apply == apply
        && *entry.manager == *who.name
        && *entry.subresource == *who.subresource
        && (apply || *entry.api_version == *who.api_version)
}

/// An entry after others took some of its fields; it goes when nothing is left.
fn lose(entry: &Managed, taken: &FieldSet, removed: &FieldSet, out: &mut Vec<Managed>) {
    let untouched = || !entry.fields.is_empty() && !entry.fields.meets(removed);
    if taken.is_empty() && (removed.is_empty() || untouched()) {
        out.push(entry.clone());
        return;
    }
    let fields = entry.fields.difference(taken).difference(removed);
    if fields.is_empty() {
        return;
    }
    let fields = if fields == *entry.fields { Arc::clone(&entry.fields) } else { Arc::new(fields) };
    out.push(Managed { fields, ..entry.clone() });
}

/// Takes out what the manager applied last time, did not apply now, and nobody else owns.
fn prune(
    schema: &Schema,
    merged: &Value,
    last: &FieldSet,
    now: &FieldSet,
    managed: &[Managed],
) -> Value {
    if last.difference(now).is_empty() {
        return merged.clone();
    }
    let (arena, root) = (schema.arena(), schema.root());
    let named = |set: &FieldSet| set.with_named_fields(arena, root);
    let last_named = named(last);
    let mut pruned = remove(arena, root, merged, &last_named);
    // Everybody's sets at their own versions; the applier counts with its new set.
    let others = managed
        .iter()
        .filter(|m| *m.fields != *last)
        .fold(now.clone(), |all, m| all.union(&m.fields));
    // A manager with exactly the same set as the applier's last one must count as well.
    let twins = managed.iter().filter(|m| *m.fields == *last).count() > 1;
    let owned = if twins { others.union(last) } else { others };
    let all = named(&fields_of_value(arena, root, merged));
    let kept = named(&fields_of_value(arena, root, &pruned)).union(&named(&owned));
    pruned = remove(arena, root, merged, &all.difference(&kept));
    // What was never the applier's is put back, even if it hung below something that went.
    let left = named(&fields_of_value(arena, root, &pruned));
    remove(arena, root, merged, &all.difference(&left).intersection(&last_named))
}

fn manager_text(entry: &Managed) -> String {
    let mut text = format!("{:?}", &*entry.manager);
    if !entry.subresource.is_empty() {
        text = format!("{text} with subresource {:?}", &*entry.subresource);
    }
    if !entry.apply {
        text = format!("{text} using {}", entry.api_version);
    }
    text
}
