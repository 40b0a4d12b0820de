//! Whether an apply would change anything: exact, so that a quiet cluster means no writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::apply::{Manager, apply, fields_of, meta_view, view};
use super::compare::compare;
use super::field_set::{FieldSet, PathElement, member_below};
use super::merge::item_key;
use super::normal::{Findings, normalise};
use super::schema::{Arena, Schema, Shape, TypeId};
use crate::object::{Meta, Object, StringMap};

/// The fields that a forced apply of `desired` by `manager` would change in `live`, or whose ownership it
/// would change, as messages name them. Empty exactly if the apply leaves the object as it is, its
/// resourceVersion included.
///
/// `desired` must not hold nulls or empty values in place of defaults, since defaults are the server's.
#[must_use]
pub fn would_change(
    schema: &Schema,
    desired: &Object,
    live: &Object,
    manager: &str,
) -> Vec<String> {
    // In the quiet state, where most questions are asked, both answers are had without building anything.
    if is_fields_of(schema, own_fields(live, manager), desired) && has_values(schema, desired, live)
    {
        return Vec::new();
    }
    would_change_of(schema, &fields_of(schema, desired), desired, live, manager)
}

/// What a manager applied last.
#[must_use]
pub fn applied<'a>(live: &'a Object, manager: &str) -> Option<&'a Arc<FieldSet>> {
    let mut entries = live.meta.managed.iter();
    let own = entries.find(|m| m.apply && m.subresource.is_empty() && *m.manager == *manager);
    own.map(|m| &m.fields)
}

fn own_fields<'a>(live: &'a Object, manager: &str) -> &'a FieldSet {
    static NONE: FieldSet = FieldSet { member: false, children: BTreeMap::new() };
    applied(live, manager).map_or(&NONE, |fields| &**fields)
}

/// [`would_change`] with the fields of `desired` at hand, for callers that keep them.
#[must_use]
pub fn would_change_of(
    schema: &Schema,
    fields: &FieldSet,
    desired: &Object,
    live: &Object,
    manager: &str,
) -> Vec<String> {
    let own = own_fields(live, manager);
    if own != fields {
        let more = fields.difference(own).leaves();
        let less = own.difference(fields).leaves();
        return more.union(&less).paths();
    }
    let (arena, root) = (schema.arena(), schema.root());
    if has_values(schema, desired, live) {
        return Vec::new();
    }
    let (wanted, found) = (view(desired), view(live));
    let who = Manager { name: manager, subresource: "", api_version: live.kind.api_version() };
    let Ok(applied) =
        apply(schema, &found, &live.meta.managed, &wanted, who, true, &FieldSet::default(), None)
    else {
        return fields.leaves().paths();
    };
    let after = if Schema::builtin(live.kind).is_some() {
        normalise(schema, applied.view, &mut Findings::default())
    } else {
        applied.view
    };
    let changes = compare(arena, root, Some(&found), Some(&after));
    if !changes.is_empty() {
        let all = changes.added.union(&changes.modified).union(&changes.removed);
        return all.leaves().paths();
    }
    if after != found {
        return vec![order_difference(&found, &after, String::new())];
    }
    // Another spelling of the same value takes ownership from those who share it.
    let lost = live
        .meta
        .managed
        .iter()
        .filter(|m| !applied.managed.iter().any(|n| n.same_owner(m) && n.fields == m.fields))
        .fold(FieldSet::default(), |all, m| all.union(&m.fields));
    lost.intersection(fields).paths()
}

impl crate::object::Managed {
    fn same_owner(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.apply == other.apply
            && self.subresource == other.subresource
            && self.api_version == other.api_version
    }
}

/// Whether everything in `wanted` is in `found` with the same value and in the same order: [`covers`] for the
/// [`view`]s of two objects, without making them.
#[must_use]
pub fn has_values(schema: &Schema, wanted: &Object, found: &Object) -> bool {
    let (arena, root) = (schema.arena(), schema.root());
    let below = |key: &str, wanted: &Value, found: &Value| {
        covers(arena, arena.child(root, key).0, wanted, found)
    };
    let mut body = wanted.body.iter();
    body.all(|(key, value)| found.body.get(key).is_some_and(|found| below(key, value, found)))
        && (covers_meta(&wanted.meta, &found.meta)
            || below("metadata", &meta_view(&wanted.meta), &meta_view(&found.meta)))
}

/// Whether metadata is covered in the plainest way. If not, it may be in another.
fn covers_meta(wanted: &Meta, found: &Meta) -> bool {
    fn in_order<T: PartialEq>(wanted: &[T], found: &[T]) -> bool {
        let mut rest = found.iter();
        wanted.iter().all(|w| rest.any(|f| f == w))
    }
    let strings =
        |wanted: &StringMap, found: &StringMap| wanted.iter().all(|(k, v)| found.get(k) == Some(v));
    strings(&wanted.labels, &found.labels)
        && strings(&wanted.annotations, &found.annotations)
        && in_order(&wanted.owners, &found.owners)
        && in_order(&wanted.finalizers, &found.finalizers)
        && (wanted.generate_name.is_none() || wanted.generate_name == found.generate_name)
}

/// Whether a set is [`fields_of`] an object, found out in one walk through both.
pub(super) fn is_fields_of(schema: &Schema, set: &FieldSet, object: &Object) -> bool {
    let (arena, root) = (schema.arena(), schema.root());
    let metadata = PathElement::Field("metadata".into());
    let bare = Object { body: Arc::default(), ..object.clone() };
    if set.member || set.children.get(&metadata) != fields_of(schema, &bare).children.get(&metadata)
    {
        return false;
    }
    let mut rest = set.children.iter().filter(|(element, _)| **element != metadata);
    object.body.iter().all(|(key, below)| is_field(arena, root, key, below, &mut rest))
        && rest.next().is_none()
}

/// Whether the next of the children of a set are the fields of a value at a key of a map of type `ty`.
fn is_field<'a>(
    arena: &Arena,
    ty: TypeId,
    key: &str,
    value: &Value,
    rest: &mut impl Iterator<Item = (&'a PathElement, &'a FieldSet)>,
) -> bool {
    let (ty, member) = member_below(arena, ty, key, value);
    if !member && has_no_fields(arena, ty, value) {
        return true;
    }
    match rest.next() {
        Some((PathElement::Field(name), set)) => {
            name == key && is_fields_of_value(arena, ty, value, member, set)
        }
        _ => false,
    }
}

fn is_fields_of_value(
    arena: &Arena,
    ty: TypeId,
    value: &Value,
    member: bool,
    set: &FieldSet,
) -> bool {
    match arena.shape(ty, value) {
        Shape::Leaf => set.member && set.children.is_empty(),
        Shape::Map => {
            let mut rest = set.children.iter();
            let mut map = value.as_object().into_iter().flatten();
            set.member == member
                && map.all(|(key, below)| is_field(arena, ty, key, below, &mut rest))
                && rest.next().is_none()
        }
        Shape::List(kind, item) => {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            let keys: BTreeMap<_, _> =
                list.iter().filter_map(|v| Some((item_key(kind, v)?, v))).collect();
            set.member == member
                && keys.len() == set.children.len()
                && keys.iter().zip(&set.children).all(|((key, value), (element, set))| {
                    key == element && is_fields_of_value(arena, item, value, true, set)
                })
        }
    }
}

/// Whether a value has no fields that an apply of it would own.
fn has_no_fields(arena: &Arena, ty: TypeId, value: &Value) -> bool {
    match arena.shape(ty, value) {
        Shape::Leaf => false,
        Shape::Map => value.as_object().into_iter().flatten().all(|(key, below)| {
            let (ty, member) = member_below(arena, ty, key, below);
            !member && has_no_fields(arena, ty, below)
        }),
        Shape::List(kind, _) => {
            value.as_array().into_iter().flatten().all(|item| item_key(kind, item).is_none())
        }
    }
}

/// Whether everything in `wanted` is in `found` with the same value and the same order. Cheap, and
/// true in the steady state.
fn covers(arena: &Arena, ty: TypeId, wanted: &Value, found: &Value) -> bool {
    match arena.shape(ty, wanted) {
        Shape::Leaf => wanted == found,
        Shape::Map => match (wanted, found) {
            (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(key, below)| {
                let (ty, _) = arena.child(ty, key);
                found.get(key).is_some_and(|found| covers(arena, ty, below, found))
            }),
            _ => wanted == found,
        },
        Shape::List(kind, item) => {
            let (Value::Array(wanted), Value::Array(found)) = (wanted, found) else {
                return wanted == found;
            };
            // Both lists are walked once: a match must come after the match before it.
            let mut rest = found.iter();
            wanted.iter().all(|below| {
                let key = item_key(kind, below);
                key.is_some()
                    && rest
                        .find(|f| item_key(kind, f) == key)
                        .is_some_and(|f| covers(arena, item, below, f))
            })
        }
    }
}

/// The list whose items only changed places.
fn order_difference(a: &Value, b: &Value, path: String) -> String {
    if let (Value::Object(x), Value::Object(y)) = (a, b) {
        for (key, below) in x {
            match y.get(key) {
                Some(other) if other != below => {
                    return order_difference(below, other, format!("{path}.{key}"));
                }
                _ => {}
            }
        }
    }
    path
}
