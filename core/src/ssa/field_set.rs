//! A set of fields, as `fieldsV1` in `metadata.managedFields` has it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;

use serde_json::Value;

use super::schema::{Arena, Shape, Type, TypeId};

/// One step of a path into an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathElement {
    /// `f:name`, a field of a map.
    Field(String),
    /// `k:{…}`, an item of a list by its key fields (canonical JSON).
    Key(String),
    /// `v:…`, an item of a set by its value (canonical JSON).
    Value(String),
}

/// A set of fields: a tree whose nodes may themselves be members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldSet {
    /// Whether the node itself is in the set, `.` on the wire (a leaf is an empty map there).
    pub member: bool,
    /// What lies below.
    pub children: BTreeMap<PathElement, FieldSet>,
}

impl PathElement {
    /// The step as messages have it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    /// Appends the step as messages have it: `.name`, `[name="database"]`, `[="value"]`.
    fn write_to(&self, text: &mut String) {
        let written = match self {
            Self::Field(name) => write!(text, ".{name}"),
            Self::Value(item) => write!(text, "[={item}]"),
            Self::Key(fields) => {
                let keys: BTreeMap<String, Value> =
                    serde_json::from_str(fields).unwrap_or_default();
                let keys: Vec<_> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(text, "[{}]", keys.join(","))
            }
        };
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
}

impl FieldSet {
    /// The set of one path of field names: `of(&["spec", "replicas"])`; `of(&[])` is empty.
    #[must_use]
    pub fn of(path: &[&str]) -> Self {
        let Some((first, rest)) = path.split_first() else {
            return Self::default();
        };
        let mut below = Self::of(rest);
        below.member = rest.is_empty();
        Self {
            member: false,
            children: BTreeMap::from([(PathElement::Field((*first).to_owned()), below)]),
        }
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    /// Adds a subtree below a step, unless it is empty.
    pub(crate) fn put(&mut self, element: PathElement, below: FieldSet) {
        if !below.is_empty() {
            self.children.insert(element, below);
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &FieldSet) -> FieldSet {
        self.extend(other);
        self
    }

    fn extend(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (element, theirs) in &other.children {
            match self.children.get_mut(element) {
                Some(ours) => ours.extend(theirs),
                None => {
                    self.children.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.zip(other, |a, b| a && b, false)
    }

    /// Adds what is in another, which is used up.
    pub(super) fn take_in(&mut self, other: FieldSet) {
        self.member |= other.member;
        for (element, theirs) in other.children {
            match self.children.entry(element) {
                Entry::Occupied(mut ours) => ours.get_mut().take_in(theirs),
                Entry::Vacant(place) => drop(place.insert(theirs)),
            }
        }
    }

    /// Takes out the members of another and everything below them.
    pub(super) fn take_out(&mut self, other: &FieldSet) {
        if other.member {
            *self = FieldSet::default();
            return;
        }
        for (element, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(element) {
                ours.take_out(theirs);
                if ours.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// Whether all of it is in another.
    pub(super) fn is_within(&self, other: &FieldSet) -> bool {
        let inside = |(element, ours): (&PathElement, &FieldSet)| match other.children.get(element)
        {
            Some(theirs) => ours.is_within(theirs),
            None => ours.is_empty(),
        };
        (!self.member || other.member) && self.children.iter().all(inside)
    }

    /// Whether anything is in both.
    #[must_use]
    pub(super) fn meets(&self, other: &FieldSet) -> bool {
        let (few, many) =
            if self.children.len() < other.children.len() { (self, other) } else { (other, self) };
        let met = |(element, child): (&PathElement, &FieldSet)| {
            many.children.get(element).is_some_and(|other| child.meets(other))
        };
        (self.member && other.member) || few.children.iter().any(met)
    }

    /// What is in this one but not in the other. A node leaves only if that very node is in the other;
    /// what lies below it stays.
    #[must_use]
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        self.zip(other, |a, b| a && !b, true)
    }

    fn zip(&self, other: &FieldSet, f: fn(bool, bool) -> bool, keep: bool) -> FieldSet {
        let mut out = FieldSet { member: f(self.member, other.member), children: BTreeMap::new() };
        for (element, ours) in &self.children {
            match other.children.get(element) {
                Some(theirs) => out.put(element.clone(), ours.zip(theirs, f, keep)),
                None if keep => out.put(element.clone(), ours.clone()),
                None => {}
            }
        }
        out
    }

    /// What is in this one, without the members of the other and everything below them.
    #[must_use]
    pub fn recursive_difference(mut self, other: &FieldSet) -> FieldSet {
        self.take_out(other);
        self
    }

    /// The members without those that have members below them.
    #[must_use]
    pub fn leaves(&self) -> FieldSet {
        let mut out = FieldSet::default();
        for (element, child) in &self.children {
            out.put(element.clone(), child.leaves());
        }
        out.member = self.member && out.children.is_empty();
        out
    }

    /// The members as messages name them, for example
    /// `.spec.template.spec.containers[name="database"].image`, in the API server's order: those of one
    /// level before those below it.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        fn walk(set: &FieldSet, prefix: &str, out: &mut Vec<String>) {
            let below: Vec<_> = set
                .children
                .iter()
                .map(|(element, child)| {
                    let mut path = prefix.to_owned();
                    element.write_to(&mut path);
                    (path, child)
                })
                .collect();
            out.extend(below.iter().filter(|(_, c)| c.member).map(|(p, _)| p.clone()));
            for (path, child) in &below {
                walk(child, path, out);
            }
        }
        let mut out = Vec::new();
        walk(self, "", &mut out);
        out
    }

    /// Whether the path of field names is a member.
    #[must_use]
    pub fn has(&self, path: &[&str]) -> bool {
        let mut node = self;
        for name in path {
            match node.children.get(&PathElement::Field((*name).to_owned())) {
                Some(child) => node = child,
                None => return false,
            }
        }
        node.member
    }

    /// Every named field on the way to a member becomes a member too; keys of free maps and items of
    /// lists do not. Pruning needs it: a structure that lost its last field goes as well.
    pub(crate) fn with_named_fields(&self, arena: &Arena, ty: TypeId) -> FieldSet {
        let mut out = FieldSet { member: self.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let (below, named) = match (element, arena.get(ty)) {
                (PathElement::Field(name), _) => arena.child(ty, name),
                (_, Type::List { item, .. }) => (*item, false),
                _ => (super::schema::ANY, false),
            };
            let mut set = child.with_named_fields(arena, below);
            set.member |= named && !child.children.is_empty();
            out.children.insert(element.clone(), set);
        }
        out
    }

    /// Reads `fieldsV1`. What can't be understood is left out.
    #[must_use]
    pub fn from_value(value: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = value.as_object() else {
            return set;
        };
        for (key, below) in map {
            let element = match key.split_at_checked(2) {
                Some(("f:", name)) => PathElement::Field(name.to_owned()),
                Some(("k:", fields)) => PathElement::Key(fields.to_owned()),
                Some(("v:", item)) => PathElement::Value(item.to_owned()),
                _ => {
                    set.member |= key == ".";
                    continue;
                }
            };
            let mut child = Self::from_value(below);
            child.member |= child.children.is_empty();
            set.children.insert(element, child);
        }
        set
    }

    /// Writes `fieldsV1`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = serde_json::Map::new();
        for (element, child) in &self.children {
            let key = match element {
                PathElement::Field(name) => format!("f:{name}"),
                PathElement::Key(fields) => format!("k:{fields}"),
                PathElement::Value(item) => format!("v:{item}"),
            };
            let mut below = child.to_value();
            if child.member && !child.children.is_empty() {
                below["."] = Value::Object(serde_json::Map::new());
            }
            map.insert(key, below);
        }
        Value::Object(map)
    }
}

impl FieldSet {
    /// Adds the fields of a value at a key of a map of type `ty`.
    pub(super) fn put_field(&mut self, arena: &Arena, ty: TypeId, key: &str, below: &Value) {
        let (ty, member) = member_below(arena, ty, key, below);
        let mut child = fields_of_value(arena, ty, below);
        child.member |= member;
        self.put(PathElement::Field(key.to_owned()), child);
    }
}

/// The type of a value at a key of a map of type `ty`, and whether the key itself is a member then.
pub(super) fn member_below(arena: &Arena, ty: TypeId, key: &str, below: &Value) -> (TypeId, bool) {
    let (ty, named) = arena.child(ty, key);
    let empty = below.is_null() || below.as_object().is_some_and(serde_json::Map::is_empty);
    (ty, !named || empty)
}

/// The fields of a value: what an apply of it owns, before metadata that nobody owns is taken out.
pub(crate) fn fields_of_value(arena: &Arena, ty: TypeId, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match arena.shape(ty, value) {
        Shape::Leaf => set.member = true,
        Shape::Map => {
            for (key, below) in value.as_object().into_iter().flatten() {
                set.put_field(arena, ty, key, below);
            }
        }
        Shape::List(kind, item) => {
            for below in value.as_array().into_iter().flatten() {
                if let Some(element) = super::merge::item_key(kind, below) {
                    let mut child = fields_of_value(arena, item, below);
                    child.member = true;
                    set.put(element, child);
                }
            }
        }
    }
    set
}
