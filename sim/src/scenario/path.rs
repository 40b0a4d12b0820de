//! Paths into objects as scenarios and reports write them: `spec.instances[0].replicas`,
//! `status.conditions[type=Ready].status`, `metadata.annotations[a.b/c]`.

use serde_json::Value;

/// The value at a path.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    parts(path).into_iter().try_fold(value, |value, part| {
        let (key, bracket) = part;
        match value {
            Value::Object(map) => map.get(key),
            Value::Array(items) if bracket => match key.split_once('=') {
                Some((name, wanted)) => {
                    items.iter().find(|i| i.get(name).and_then(Value::as_str) == Some(wanted))
                }
                None => items.get(key.parse::<usize>().ok()?),
            },
            _ => None,
        }
    })
}

/// The parts of a path, and whether each stood in brackets.
fn parts(path: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.trim_start_matches('.');
        if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']').unwrap_or(inner.len());
            parts.push((&inner[..end], true));
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 {
                parts.push((&rest[..end], false));
            }
            rest = &rest[end..];
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let value = json!({
            "spec": {"instances": [{"name": "a", "replicas": 2}]},
            "metadata": {"annotations": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (path, wanted) in [
            ("spec.instances[0].replicas", Some(json!(2))),
            ("spec.instances[name=a].replicas", Some(json!(2))),
            ("metadata.annotations[a.b/c]", Some(json!("x"))),
            ("status.conditions[type=Ready].status", Some(json!("True"))),
            ("spec.instances[1].replicas", None),
            ("spec.nothing.there", None),
        ] {
            assert_eq!(at(&value, path), wanted.as_ref(), "{path}");
        }
    }
}
