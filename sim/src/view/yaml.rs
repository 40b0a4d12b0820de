//! An object as YAML for people: without what only machines need, and without secrets.

use base64::Engine as _;
use ivory_core::{Kind, Object};
use serde_json::Value;

/// One document, beginning with `---`. Values of Secrets are shown by their length.
#[must_use]
pub fn yaml(object: &Object) -> String {
    let mut value = object.to_value();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    if object.kind == Kind::Secret {
        for field in ["data", "stringData"] {
            if let Some(data) = value.get_mut(field).and_then(Value::as_object_mut) {
                data.values_mut().for_each(|v| hide(v, field == "data"));
            }
        }
    }
    // In the order in which people write them.
    let mut text = String::from("---\n");
    let map = value.as_object().cloned().unwrap_or_default();
    let first = ["apiVersion", "kind", "metadata"];
    let rest = map.keys().map(String::as_str).filter(|k| !first.contains(k));
    for key in first.into_iter().chain(rest) {
        let part = serde_json::json!({key: map.get(key)});
        text.push_str(serde_saphyr::to_string(&part).unwrap_or_default().trim_end());
        text.push('\n');
    }
    text
}

fn hide(value: &mut Value, encoded: bool) {
    let text = value.as_str().unwrap_or_default();
    let bytes = match encoded {
        true => {
            base64::engine::general_purpose::STANDARD.decode(text).map_or(text.len(), |b| b.len())
        }
        false => text.len(),
    };
    *value = format!("<{bytes} bytes>").into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_only_their_length() {
        let value = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"password": "aHVudGVyMg=="},
        });
        let shown = yaml(&Object::from_value(value).expect("an object"));
        assert!(shown.starts_with("---\napiVersion: v1\nkind: Secret\n"), "{shown}");
        assert!(shown.contains("password: <7 bytes>"), "{shown}");
        assert!(!shown.contains("aHVu"), "{shown}");
    }
}
