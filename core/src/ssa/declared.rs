//! Whether an applied configuration fits its schema, before anything is merged.

use std::collections::BTreeSet;

use serde_json::Value;

use super::merge::item_key;
use super::schema::{Arena, ListKind, Scalar, Schema, Shape, Type, TypeId};

/// What does not fit, in the real server's words: undeclared fields, wrong types, items without their
/// keys or with the same keys.
#[must_use]
pub fn check_applied(schema: &Schema, view: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(schema.arena(), schema.root(), view, "", &mut out);
    out
}

fn walk(arena: &Arena, ty: TypeId, value: &Value, path: &str, out: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match (arena.get(ty), value) {
        (Type::Struct(of), Value::Object(map)) => {
            for (key, below) in map {
                let path = format!("{path}.{key}");
                match arena.declared(ty, key) {
                    Some(ty) => walk(arena, ty, below, &path, out),
                    None if of.fields.is_empty() => {}
                    None => out.push(format!("{path}: field not declared in schema")),
                }
            }
        }
        (Type::Map { value: item, .. }, Value::Object(map)) => {
            for (key, below) in map {
                walk(arena, *item, below, &format!("{path}.{key}"), out);
            }
        }
        (Type::List { kind, item }, Value::Array(list)) => {
            let mut seen = BTreeSet::new();
            for (at, below) in list.iter().enumerate() {
                let key = item_key(kind, below);
                let step = match &key {
                    Some(key) => key.text(),
                    None => format!("[{at}]"),
                };
                match (&key, kind) {
                    (None, ListKind::Map(keys)) => {
                        let keys: Vec<_> = keys.iter().map(|k| format!("{:?}", k.0)).collect();
                        out.push(format!(
                            "{path}: element {at}: associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                            keys.join(" ")
                        ));
                    }
                    (Some(key), _) if !seen.insert(key.clone()) => {
                        out.push(format!("{path}: duplicate entries for key {}", key.text()));
                    }
                    _ => {}
                }
                walk(arena, *item, below, &format!("{path}{step}"), out);
            }
        }
        (Type::Any, _) => {}
        (Type::Scalar(scalar), value) => {
            let expected = match (scalar, value) {
                (Scalar::Int | Scalar::Number, Value::Number(_))
                | (Scalar::Bool, Value::Bool(_))
                | (Scalar::IntOrText | Scalar::Quantity, Value::Number(_) | Value::String(_)) => {
                    return;
                }
                (Scalar::Int | Scalar::Number, _) => "numeric (int or float)",
                (Scalar::Bool, _) => "boolean",
                (_, Value::String(_)) => return,
                _ => "string",
            };
            out.push(format!(
                "{path}: expected {expected}, got &value.valueUnstructured{{Value:{value}}}"
            ));
        }
        (Type::List { .. }, value) => {
            out.push(format!("{path}: expected list, got &{{{value}}}"));
        }
        (_, value) => {
            if let Shape::Map | Shape::Leaf = arena.shape(ty, value) {
                out.push(format!("{path}: expected map, got &{{{value}}}"));
            }
        }
    }
}
