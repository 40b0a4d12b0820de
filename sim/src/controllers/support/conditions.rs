//! `status.conditions`: one entry a type, whose transition time moves only with its status.

use serde_json::{Map, Value, json};

/// The condition of a type in a status.
#[must_use]
pub fn find<'a>(status: &'a Map<String, Value>, kind: &str) -> Option<&'a Value> {
    status
        .get("conditions")?
        .as_array()?
        .iter()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
}

/// Sets a condition. `extra` holds further fields, such as `observedGeneration` or `lastUpdateTime`; when
/// nothing but times would change, nothing does.
pub fn set(
    status: &mut Map<String, Value>,
    kind: &str,
    holds: &str,
    reason: &str,
    message: &str,
    now: &str,
    extra: &[(&str, Value)],
) {
    let before = find(status, kind).cloned();
    let text = |key: &str| before.as_ref().and_then(|c| c.get(key)?.as_str());
    let same_status = text("status") == Some(holds);
    let is_time = |key: &str| key.starts_with("last");
    let same_extra = extra
        .iter()
        .filter(|(k, _)| !is_time(k))
        .all(|(k, v)| before.as_ref().and_then(|c| c.get(*k)) == Some(v));
    if same_status
        && same_extra
        && text("reason") == Some(reason)
        && text("message") == Some(message)
    {
        return;
    }
    let since = text("lastTransitionTime").filter(|_| same_status);
    let mut condition = json!({
        "type": kind, "status": holds, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or(now),
    });
    for (key, value) in extra {
        condition[*key] = value.clone();
    }
    remove(status, kind);
    let all = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(all) = all.as_array_mut() {
        all.push(condition);
    }
}

/// Takes a condition away.
pub fn remove(status: &mut Map<String, Value>, kind: &str) {
    if let Some(all) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        all.retain(|c| c.get("type").and_then(Value::as_str) != Some(kind));
        if all.is_empty() {
            status.remove("conditions");
        }
    }
}
