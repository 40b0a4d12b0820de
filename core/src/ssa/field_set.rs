//! A set of fields, as `fieldsV1` in `metadata.managedFields` has it.

use std::collections::BTreeMap;

use serde_json::Value;

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

impl FieldSet {
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
