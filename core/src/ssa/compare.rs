//! Which fields differ between two versions of an object: the basis of ownership by update, of
//! conflicts, and of what everybody loses when a value changes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::field_set::{FieldSet, PathElement};
use super::merge::item_key;
use super::schema::{Arena, ListKind, Shape, TypeId};

/// The fields that differ between an old and a new version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// Only in the new one.
    pub added: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// Only in the old one.
    pub removed: FieldSet,
}

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Without everything at and below the members of a set.
    #[must_use]
    pub fn without(mut self, ignored: &FieldSet) -> Self {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.take_out(ignored);
        }
        self
    }

    pub(super) fn put(&mut self, element: &PathElement, below: Comparison) {
        self.added.put(element.clone(), below.added);
        self.modified.put(element.clone(), below.modified);
        self.removed.put(element.clone(), below.removed);
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.added.member = true,
            (Some(_), None) => self.removed.member = true,
            (old, new) => self.modified.member |= old != new,
        }
    }
}

/// Compares two values of a type; `None` is absence.
pub(crate) fn compare(
    arena: &Arena,
    ty: TypeId,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Comparison {
    let mut out = Comparison::default();
    // Found out without allocating, and most of a changed object is as it was.
    if old == new {
        return out;
    }
    let shape_of = |v: Option<&Value>| v.map(|v| arena.shape(ty, v));
    let (a, b) = (shape_of(old), shape_of(new));
    let leaf = match (a, b) {
        // A value of free type that changed its shape counts as both.
        (Some(Shape::Leaf), Some(Shape::Map)) | (Some(Shape::Map), Some(Shape::Leaf)) => {
            out = maps(arena, ty, old, new);
            true
        }
        (_, Some(shape)) | (Some(shape), None) => match shape {
            Shape::Leaf => true,
            Shape::Map if is_empty(old) && is_empty(new) => true,
            Shape::List(..) if is_empty(old) && is_empty(new) => true,
            Shape::Map => {
                out = maps(arena, ty, old, new);
                false
            }
            Shape::List(kind, item) => {
                out = lists(arena, kind, item, old, new);
                false
            }
        },
        (None, None) => return out,
    };
    if leaf {
        out.leaf(old, new);
    } else if old.is_none() {
        out.added.member = true;
    } else if new.is_none() {
        out.removed.member = true;
    }
    out
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

fn maps(arena: &Arena, ty: TypeId, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut out = Comparison::default();
    let old = old.and_then(Value::as_object);
    let new = new.and_then(Value::as_object);
    let mut visit = |key: &String, a: Option<&Value>, b: Option<&Value>| {
        let (below, _) = arena.child(ty, key);
        let child = compare(arena, below, a, b);
        if !child.is_empty() {
            out.put(&PathElement::Field(key.clone()), child);
        }
    };
    for (key, value) in old.into_iter().flatten() {
        visit(key, Some(value), new.and_then(|m| m.get(key)));
    }
    for (key, value) in new.into_iter().flatten() {
        if old.is_none_or(|m| !m.contains_key(key)) {
            visit(key, None, Some(value));
        }
    }
    out
}

fn lists(
    arena: &Arena,
    kind: &ListKind,
    item: TypeId,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Comparison {
    let mut pairs: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for value in old.and_then(Value::as_array).into_iter().flatten() {
        if let Some(key) = item_key(kind, value) {
            pairs.entry(key).or_default().0.push(value);
        }
    }
    for value in new.and_then(Value::as_array).into_iter().flatten() {
        if let Some(key) = item_key(kind, value) {
            pairs.entry(key).or_default().1.push(value);
        }
    }
    let mut out = Comparison::default();
    for (key, (a, b)) in pairs {
        let mut child = Comparison::default();
        // Items with the same key are owned together, as one leaf.
        if a.len() >= 2 && b.len() >= 2 {
            child.modified.member = a != b;
        } else if a.len() >= 2 {
            if let Some(b) = b.first() {
                child = compare(arena, item, None, Some(b));
            }
            child.removed.member = true;
        } else if b.len() >= 2 {
            if let Some(a) = a.first() {
                child = compare(arena, item, Some(a), None);
            }
            child.added.member = true;
        } else {
            child = compare(arena, item, a.first().copied(), b.first().copied());
        }
        if !child.is_empty() {
            out.put(&key, child);
        }
    }
    out
}
