//! Differences between two states of an object, field by field.

use ivory_core::{Kind, Object};
use serde_json::Value;

/// One field that differs. `None` is absent.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Its path, as `scenario/path.rs` reads it.
    pub path: String,
    /// Before.
    pub old: Option<Value>,
    /// After.
    pub new: Option<Value>,
}

/// What differs in what people and the operator set; the API server's own book-keeping and the status
/// are left out.
#[must_use]
pub fn changes(old: &Object, new: &Object) -> Vec<Change> {
    let mut found = Vec::new();
    let (old_value, new_value) = (cleaned(old), cleaned(new));
    walk("", Some(&old_value), Some(&new_value), &mut found);
    if old.kind == Kind::Secret {
        // That it changed may be told; what it is may not.
        for change in &mut found {
            let hide = |v: &Value| Value::from(format!("<{} bytes>", v.to_string().len()));
            if change.path.starts_with("data") || change.path.starts_with("stringData") {
                change.old = change.old.as_ref().map(hide);
                change.new = change.new.as_ref().map(hide);
            }
        }
    }
    found
}

fn cleaned(object: &Object) -> Value {
    let mut value = object.to_value();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "managedFields",
            "resourceVersion",
            "generation",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            meta.remove(key);
        }
    }
    value
}

fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                walk(&join(path, key), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if named(a) && named(b) => {
            let names: std::collections::BTreeSet<&str> =
                a.iter().chain(b).filter_map(name).collect();
            let find =
                |list: &'_ [Value], wanted: &str| list.iter().position(|v| name(v) == Some(wanted));
            for item in names {
                let one = find(a, item).map(|i| &a[i]);
                let other = find(b, item).map(|i| &b[i]);
                walk(&format!("{path}[name={item}]"), one, other, found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (one, other)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}[{index}]"), Some(one), Some(other), found);
            }
        }
        (a, b) if a == b => {}
        // Of a file only the lines that differ are told.
        (Some(Value::String(a)), Some(Value::String(b)))
            if a.contains('\n') && b.contains('\n') =>
        {
            found.push(lines(path, a, b));
        }
        (a, b) => found.push(Change { path: path.to_owned(), old: a.cloned(), new: b.cloned() }),
    }
}

/// The lines of one text that the other does not have, in both directions.
fn lines(path: &str, old: &str, new: &str) -> Change {
    let only = |text: &str, other: &str| {
        let mine = text.lines().filter(|l| !other.lines().any(|o| o == *l));
        let mine: Vec<&str> = mine.map(str::trim).collect();
        match mine.is_empty() {
            true => None,
            false => Some(Value::from(mine.join(" ⏎ "))),
        }
    };
    Change { path: path.to_owned(), old: only(old, new), new: only(new, old) }
}

fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/'])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}[{key}]"),
        (false, false) => format!("{path}.{key}"),
    }
}

fn name(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

/// Whether all items of a list have names, each another one.
fn named(items: &[Value]) -> bool {
    let names: Vec<&str> = items.iter().filter_map(name).collect();
    let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
    !items.is_empty() && names.len() == items.len() && distinct.len() == names.len()
}

/// A value in one short line.
#[must_use]
pub fn show(value: Option<&Value>) -> String {
    const MOST: usize = 60;
    let text = match value {
        None => return "(absent)".to_owned(),
        Some(Value::String(text)) if !text.is_empty() && !text.contains('\n') => text.clone(),
        Some(value) => value.to_string(),
    };
    match text.chars().count() > MOST {
        true => format!("{}…", text.chars().take(MOST - 1).collect::<String>()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: Value) -> Object {
        Object::from_value(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "x", "resourceVersion": "1"}, "spec": spec, "status": {"x": 1},
        }))
        .expect("an object")
    }

    #[test]
    fn fields_are_compared_by_path() {
        let old = object(
            json!({"replicas": 1, "c": [{"name": "a", "image": "1"}, {"name": "b"}], "l": [1, 2]}),
        );
        let new = object(
            json!({"replicas": 1, "c": [{"name": "b"}, {"name": "a", "image": "2"}], "l": [1, 2, 3]}),
        );
        let found: Vec<String> = changes(&old, &new)
            .iter()
            .map(|c| format!("{}: {} → {}", c.path, show(c.old.as_ref()), show(c.new.as_ref())))
            .collect();
        assert_eq!(found, ["spec.c[name=a].image: 1 → 2", "spec.l: [1,2] → [1,2,3]"]);
        assert_eq!(changes(&old, &old), []);
        let (old, new) = (object(json!({"file": "a\nb\n"})), object(json!({"file": "a\nc\nb\n"})));
        let found = changes(&old, &new);
        assert_eq!((&found[0].old, &found[0].new), (&None, &Some(json!("c"))));
    }

    #[test]
    fn values_of_secrets_are_not_told() {
        let secret = |v: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": v}});
            Object::from_value(value).expect("an object")
        };
        let found = changes(&secret("c2VjcmV0"), &secret("b3RoZXI="));
        assert_eq!(found.len(), 1);
        assert!(!format!("{found:?}").contains("c2Vj"), "{found:?}");
    }
}
