//! Whether an apply would change anything: exact, so that a quiet cluster means no writes.

use serde_json::Value;

use super::apply::{Manager, apply, fields_of, meta_view, view};
use super::compare::compare;
use super::field_set::FieldSet;
use super::merge::item_key;
use super::normal::{Findings, normalise};
use super::schema::{Arena, Schema, Shape, TypeId};
use crate::object::Object;

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
    would_change_of(schema, &fields_of(schema, desired), desired, live, manager)
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
    let own = live
        .meta
        .managed
        .iter()
        .find(|m| m.apply && m.subresource.is_empty() && *m.manager == *manager);
    let own = own.map(|m| &*m.fields);
    let empty = FieldSet::default();
    let own = own.unwrap_or(&empty);
    if own != fields {
        let more = fields.difference(own).leaves();
        let less = own.difference(fields).leaves();
        return more.union(&less).paths();
    }
    let (arena, root) = (schema.arena(), schema.root());
    if covers_object(schema, desired, live) {
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
        normalise(schema, &applied.view, &mut Findings::default())
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

/// [`covers`] for the [`view`]s of two objects, without making them.
fn covers_object(schema: &Schema, wanted: &Object, found: &Object) -> bool {
    let (arena, root) = (schema.arena(), schema.root());
    let below = |key: &str, wanted: &Value, found: &Value| {
        covers(arena, arena.child(root, key).0, wanted, found)
    };
    let mut body = wanted.body.iter();
    body.all(|(key, value)| found.body.get(key).is_some_and(|found| below(key, value, found)))
        && below("metadata", &meta_view(&wanted.meta), &meta_view(&found.meta))
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
