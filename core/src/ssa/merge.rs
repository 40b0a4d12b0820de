//! Merging an applied configuration into the live object, and taking fields out again. The order of
//! list items follows structured-merge-diff of Kubernetes 1.34.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::field_set::{FieldSet, PathElement};
use super::schema::{Arena, ListKind, Shape, TypeId};

/// How ownership names an item of a list; `None` when it lacks its keys.
pub(crate) fn item_key(kind: &ListKind, item: &Value) -> Option<PathElement> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => Some(PathElement::Value(item.to_string())),
        ListKind::Map(keys) => {
            // Absent keys without a default are left out of the key, as the server does; all absent is an error.
            let mut text = String::from("{");
            for (name, default) in keys {
                let Some(value) = item.get(&**name).or(default.as_ref()) else {
                    continue;
                };
                if text.len() > 1 {
                    text.push(',');
                }
                // Names of fields need no escapes; writing to a String can't fail.
                let _ = write!(text, "\"{name}\":{value}");
            }
            text.push('}');
            (text.len() > 2).then_some(PathElement::Key(text))
        }
    }
}

/// Merges: what `applied` has wins, what only `live` has stays. `None` when nothing remains.
pub(crate) fn merge(
    arena: &Arena,
    ty: TypeId,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Option<Value> {
    let (Some(old), Some(new)) = (live, applied) else {
        return applied.or(live).cloned();
    };
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Object(m) => m.is_empty(),
        Value::Array(l) => l.is_empty(),
        _ => false,
    };
    match arena.shape(ty, new) {
        Shape::Leaf => Some(new.clone()),
        _ if empty(old) && empty(new) => Some(new.clone()),
        Shape::Map => {
            let none = Map::new();
            let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let out: Map<_, _> = keys
                .into_iter()
                .filter_map(|key| {
                    let (below, _) = arena.child(ty, key);
                    Some((key.clone(), merge(arena, below, old.get(key), new.get(key))?))
                })
                .collect();
            Some(Value::Object(out))
        }
        Shape::List(kind, item) => {
            let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
            let out = merge_lists(arena, kind, item, &list(old), &list(new));
            (!out.is_empty()).then_some(Value::Array(out))
        }
    }
}

/// Walks both lists at once: items of the live list keep their places relative to those that both have,
/// and the applied list decides the order of those that both have.
fn merge_lists(
    arena: &Arena,
    kind: &ListKind,
    item: TypeId,
    live: &[Value],
    applied: &[Value],
) -> Vec<Value> {
    let keyed = |list: &'_ [Value]| -> Vec<PathElement> {
        list.iter().filter_map(|v| item_key(kind, v)).collect()
    };
    let (left, right) = (keyed(live), keyed(applied));
    let first = |keys: &[PathElement]| -> BTreeMap<PathElement, usize> {
        let mut map = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            map.entry(key.clone()).or_insert(at);
        }
        map
    };
    let (in_left, in_right) = (first(&left), first(&right));
    let mut shared = right.iter().filter(|k| in_left.contains_key(*k));
    let mut next_shared = shared.next();
    let mut merged = BTreeSet::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let both = |key: &PathElement, out: &mut Vec<Value>| {
        let a = in_left.get(key).map(|&at| &live[at]);
        let b = in_right.get(key).map(|&at| &applied[at]);
        out.extend(merge(arena, item, a, b));
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(key), Some(other)) = (left.get(l), right.get(r)) {
            if key == other {
                merged.insert(key.clone());
                both(key, &mut out);
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if in_right.contains_key(key) && next_shared.is_some_and(|n| n != key) {
                l += 1;
                continue;
            }
        }
        if let Some(key) = left.get(l) {
            if !in_right.contains_key(key) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if merged.contains(key) {
                l += 1;
            }
        }
        if let Some(key) = right.get(r) {
            merged.insert(key.clone());
            both(key, &mut out);
            r += 1;
            if next_shared == Some(key) {
                next_shared = shared.next();
            }
        }
    }
    out
}

/// Takes the members of a set out of a value. A map or list that lost everything becomes null.
pub(crate) fn remove(arena: &Arena, ty: TypeId, value: &Value, set: &FieldSet) -> Value {
    match arena.shape(ty, value) {
        Shape::Leaf if value.is_object() || value.is_array() => Value::Null,
        Shape::Leaf => value.clone(),
        Shape::Map => {
            let mut out = Map::new();
            for (key, below) in value.as_object().into_iter().flatten() {
                match set.children.get(&PathElement::Field(key.clone())) {
                    Some(child) if child.member => {}
                    Some(child) if !child.is_empty() => {
                        let (ty, _) = arena.child(ty, key);
                        out.insert(key.clone(), remove(arena, ty, below, child));
                    }
                    _ => {
                        out.insert(key.clone(), below.clone());
                    }
                }
            }
            if out.is_empty() {
                return Value::Null;
            }
            Value::Object(out)
        }
        Shape::List(kind, item) => {
            let mut out = Vec::new();
            for below in value.as_array().into_iter().flatten() {
                match item_key(kind, below).and_then(|key| set.children.get(&key)) {
                    Some(child) if child.member => {}
                    Some(child) if !child.is_empty() => {
                        out.push(remove(arena, item, below, child));
                    }
                    _ => out.push(below.clone()),
                }
            }
            if out.is_empty() {
                return Value::Null;
            }
            Value::Array(out)
        }
    }
}
