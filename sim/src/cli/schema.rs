//! A manifest against the schema of its custom resource, to point at the line of a mistake and to offer
//! the nearest field. The API server checks the same and more, but knows no lines.

use serde_json::Value;

use crate::scenario::fields::nearest;
use crate::scenario::node::{Bad, Node, Tree};

/// Checks a node against a structural schema.
///
/// # Errors
/// The first field that is unknown or of a wrong type.
pub(super) fn check(node: &Node, schema: &Value, path: &str) -> Result<(), Bad> {
    if node.tree == Tree::Null
        || schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
    {
        return Ok(());
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let int_or_text = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    let right = match &node.tree {
        Tree::Null => true,
        _ if int_or_text => matches!(node.tree, Tree::Int(_) | Tree::Text(_)),
        _ if wanted.is_empty() => return Ok(()),
        Tree::Map(_) => wanted == "object",
        Tree::List(_) => wanted == "array",
        Tree::Text(_) => wanted == "string",
        Tree::Bool(_) => wanted == "boolean",
        Tree::Int(_) => matches!(wanted, "integer" | "number"),
        Tree::Float(_) => wanted == "number",
    };
    if !right {
        let wanted = match (int_or_text, wanted) {
            (true, _) => "text or a whole number",
            (_, "object") => "a map",
            (_, "array") => "a list",
            (_, "string") => "text; write it in quotes",
            (_, "boolean") => "true or false",
            (_, "integer") => "a whole number",
            _ => "a number",
        };
        let mut bad = node.wrong(wanted);
        bad.message = format!("{path}: {}", bad.message);
        return Err(bad);
    }
    match &node.tree {
        Tree::Map(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let any = schema.get("additionalProperties").filter(|a| a.is_object());
            for (key, value) in map {
                let here = match path.is_empty() {
                    true => key.text.clone(),
                    false => format!("{path}.{}", key.text),
                };
                match properties.and_then(|p| p.get(&key.text)).or(any) {
                    Some(schema) => check(value, schema, &here)?,
                    // A map without known fields may hold anything.
                    None if properties.is_none() => {}
                    None => {
                        let known = properties.into_iter().flat_map(|p| p.keys());
                        let near = nearest(&key.text, known.map(String::as_str));
                        let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                        return Err(Bad {
                            at: key.at,
                            message: format!("unknown field `{here}`{hint}"),
                        });
                    }
                }
            }
            Ok(())
        }
        Tree::List(items) => {
            let Some(schema) = schema.get("items") else {
                return Ok(());
            };
            let mut numbered = items.iter().enumerate();
            numbered.try_for_each(|(i, item)| check(item, schema, &format!("{path}[{i}]")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::node::document;
    use serde_json::json;

    #[test]
    fn mistakes_are_found_at_their_place() {
        let schema = json!({"type": "object", "properties": {
            "port": {"type": "integer"}, "paused": {"type": "boolean"},
            "size": {"x-kubernetes-int-or-string": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "instances": {"type": "array", "items": {"type": "object", "properties": {
                "replicas": {"type": "integer"}, "name": {"type": "string"}}}},
        }});
        for (text, wanted) in [
            (
                "port: 1\nsize: 1Gi\nlabels: {a: b}\nfree: {x: [1]}\ninstances: [{name: a}]\npaused: ~",
                None,
            ),
            ("port: '1'", Some("1:7 port: expected a whole number, found \"1\"")),
            ("labels: {a: 1}", Some("1:13 labels.a: expected text; write it in quotes, found 1")),
            ("pausd: true", Some("1:1 unknown field `pausd`; did you mean `paused`?")),
            (
                "instances:\n- name: a\n  replica: 2",
                Some("3:3 unknown field `instances[0].replica`; did you mean `replicas`?"),
            ),
            ("instances: {}", Some("1:12 instances: expected a list, found a map")),
            ("size: [1]", Some("1:7 size: expected text or a whole number, found a list")),
        ] {
            let bad = check(&document(text).expect("YAML"), &schema, "").err();
            let bad = bad.map(|b| format!("{}:{} {}", b.at.line, b.at.column, b.message));
            assert_eq!(bad.as_deref(), wanted, "{text}");
        }
    }
}
