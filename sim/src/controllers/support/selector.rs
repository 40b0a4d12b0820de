//! `LabelSelector` as workloads and disruption budgets have it.

use ivory_core::object::StringMap;
use serde_json::Value;

/// Whether a `LabelSelector` (`matchLabels`, `matchExpressions`) selects these labels. An empty one selects everything.
#[must_use]
pub fn selects(selector: &Value, labels: &StringMap) -> bool {
    let pairs = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    pairs
        .into_iter()
        .flatten()
        .all(|(key, wanted)| labels.get(key).map(String::as_str) == wanted.as_str())
        && expressions.into_iter().flatten().all(|e| satisfied(e, labels))
}

/// Whether a plain map of labels, as a Service has it, selects these labels.
#[must_use]
pub fn map_selects(selector: &Value, labels: &StringMap) -> bool {
    selector.as_object().is_some_and(|pairs| {
        pairs.iter().all(|(key, wanted)| labels.get(key).map(String::as_str) == wanted.as_str())
    })
}

fn satisfied(expression: &Value, labels: &StringMap) -> bool {
    let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
    let found = labels.get(text("key"));
    let among = || {
        let values = expression.get("values").and_then(Value::as_array);
        values.into_iter().flatten().any(|v| found.map(String::as_str) == v.as_str())
    };
    match text("operator") {
        "In" => found.is_some() && among(),
        "NotIn" => found.is_none() || !among(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let labels =
            StringMap::from([("app".into(), "db".into()), ("empty".into(), String::new())]);
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "db"}}), true),
            (json!({"matchLabels": {"app": "web"}}), false),
            (json!({"matchLabels": {"empty": ""}}), true),
            (json!({"matchLabels": {"missing": ""}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "db"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "no", "operator": "In", "values": ["a"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}),
                false,
            ),
            (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
        ] {
            assert_eq!(selects(&selector, &labels), expected, "{selector}");
        }
    }
}
