//! Label selectors and node selectors as manifests write them.

use ivory_core::Object;
use ivory_core::object::StringMap;
use serde_json::Value;

use crate::node::json::{list, text};

/// Whether labels satisfy a `LabelSelector`. A null selector matches nothing, an empty one everything.
pub fn labels_match(selector: Option<&Value>, labels: &StringMap) -> bool {
    let Some(selector) = selector.filter(|s| !s.is_null()) else {
        return false;
    };
    let pairs = selector.get("matchLabels").and_then(Value::as_object);
    pairs.is_none_or(|pairs| {
        pairs.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    }) && list(selector, &["matchExpressions"])
        .iter()
        .all(|e| expression(e, text(e, &["key"]).and_then(|k| labels.get(k)).map(String::as_str)))
}

/// Whether a node satisfies a `NodeSelector`: one of its terms.
pub fn node_matches(selector: &Value, node: &Object) -> bool {
    list(selector, &["nodeSelectorTerms"]).iter().any(|term| term_matches(term, node))
}

/// Whether a node satisfies one `NodeSelectorTerm`; a term without requirements matches nothing.
pub fn term_matches(term: &Value, node: &Object) -> bool {
    let (labels, fields) = (list(term, &["matchExpressions"]), list(term, &["matchFields"]));
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|e| expression(e, text(e, &["key"]).and_then(|key| node.label(key))))
        && fields.iter().all(|e| expression(e, Some(&*node.meta.name)))
}

fn expression(expression: &Value, found: Option<&str>) -> bool {
    let values = list(expression, &["values"]);
    let among = || found.is_some_and(|f| values.iter().any(|v| v.as_str() == Some(f)));
    let numbers = || {
        let wanted: i64 = values.first()?.as_str()?.parse().ok()?;
        Some((found?.parse::<i64>().ok()?, wanted))
    };
    match text(expression, &["operator"]) {
        Some("In") => among(),
        Some("NotIn") => !among(),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some("Gt") => numbers().is_some_and(|(f, w)| f > w),
        Some("Lt") => numbers().is_some_and(|(f, w)| f < w),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions() {
        let labels: StringMap = [("a".to_owned(), "1".to_owned())].into();
        let check = |key: &str, operator: &str, values: &[&str], expected: bool| {
            let selector =
                json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
            assert_eq!(
                labels_match(Some(&selector), &labels),
                expected,
                "{key} {operator} {values:?}"
            );
        };
        check("a", "In", &["0", "1"], true);
        check("a", "In", &["0"], false);
        check("b", "In", &["0"], false);
        check("a", "NotIn", &["1"], false);
        check("b", "NotIn", &["1"], true);
        check("a", "Exists", &[], true);
        check("b", "DoesNotExist", &[], true);
        check("a", "Gt", &["0"], true);
        check("a", "Lt", &["0"], false);
        check("a", "Like", &["1"], false);
        assert!(!labels_match(None, &labels));
        assert!(labels_match(Some(&json!({})), &labels));
        assert!(!labels_match(Some(&json!({"matchLabels": {"a": "2"}})), &labels));
    }
}
