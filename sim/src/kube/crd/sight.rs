//! What the rules of a definition's root look at. They are judged at each change of a status, and most changes are of
//! nothing that they see.

use ivory_core::object::Object;
use serde_json::{Map, Value};

/// One thing that rules look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sight {
    /// Its way from the root.
    path: Vec<String>,
    /// Whether they only ask if it is there.
    presence: bool,
}

/// All that the rules at the root of a schema look at, `metadata.name` aside, which never changes. None if they may see
/// more than fields of `spec` and `status` by name: the object as a whole, or how it was before.
pub(super) fn of_root(schema: &Value) -> Option<Vec<Sight>> {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let mut all = Vec::new();
    for rule in rules.into_iter().flatten() {
        // A message may be an expression too, and a rule may look back without naming what was.
        if rule.get("messageExpression").is_some() || rule.get("optionalOldSelf").is_some() {
            return None;
        }
        let text = rule.get("rule")?.as_str()?;
        if text.contains("oldSelf") {
            return None;
        }
        for (at, word) in text.match_indices("self") {
            let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
            if text[..at].ends_with(inside) {
                return None;
            }
            all.extend(sight(&text[..at], &text[at + word.len()..])?);
        }
    }
    Some(all)
}

/// What stands between the two texts around one `self`. The outer none: anything; the inner: what never changes.
fn sight(before: &str, after: &str) -> Option<Option<Sight>> {
    let end = after.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
    let (chain, rest) = after.split_at(end.unwrap_or(after.len()));
    let mut path: Vec<_> = chain.strip_prefix('.')?.split('.').map(str::to_owned).collect();
    // The last word before a parenthesis is a function's.
    if rest.starts_with('(') {
        path.pop();
    }
    let presence = before.ends_with("has(") && rest.starts_with(')');
    match path.first()?.as_str() {
        "metadata" if path == ["metadata", "name"] => Some(None),
        "spec" | "status" => Some(Some(Sight { path, presence })),
        _ => None,
    }
}

impl Sight {
    fn at<'a>(&self, object: &'a Object) -> Option<&'a Value> {
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        object.at(&path)
    }

    /// Whether it is as it was.
    pub(super) fn same(&self, old: &Object, new: &Object) -> bool {
        let (old, new) = (self.at(old), self.at(new));
        if self.presence { old.is_some() == new.is_some() } else { old == new }
    }
}

/// An object as far as rules look at it.
pub(super) fn shown(sees: &[Sight], object: &Object) -> Value {
    let mut shown = serde_json::json!({"metadata": {"name": &*object.meta.name}});
    // What they look into comes after what they only ask for, of which no more than an empty map may be there.
    for sight in sees.iter().filter(|s| s.presence).chain(sees.iter().filter(|s| !s.presence)) {
        let Some(value) = sight.at(object) else { continue };
        let mut place = &mut shown;
        for step in &sight.path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[step.as_str()];
        }
        if !sight.presence {
            *place = value.clone();
        } else if place.is_null() && !value.is_null() {
            *place = Value::Object(Map::new());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn root(rule: &str) -> Option<Vec<Sight>> {
        of_root(&json!({"x-kubernetes-validations": [{"rule": rule}]}))
    }

    #[test]
    fn what_a_rule_looks_at_is_read_from_it() {
        let rule = "!has(self.status) || size(self.metadata.name) < 9 || self.status.of.exists(o, o == self.spec.a)";
        let sight = |path: &[&str], presence| Sight {
            path: path.iter().map(|step| (*step).to_owned()).collect(),
            presence,
        };
        let all = [
            sight(&["status"], true),
            sight(&["status", "of"], false),
            sight(&["spec", "a"], false),
        ];
        assert_eq!(root(rule).as_deref(), Some(&all[..]));
        for unknown in [
            "self.spec == oldSelf.spec",
            "f(self)",
            "self[\"spec\"].a",
            "self.kind == ''",
            "myself.a",
        ] {
            assert_eq!(root(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_object_is_shown_as_far_as_rules_look() {
        let sees = root("has(self.status) && has(self.spec.b) && self.spec.a == 1").expect("known");
        let object = |body: Value| {
            let mut object = Object::new(ivory_core::Kind::IvoryCluster, "db", "hippo");
            object.body = std::sync::Arc::new(body.as_object().cloned().unwrap_or_default());
            object
        };
        let old = object(json!({"spec": {"a": 1, "b": 2, "c": 3}, "status": {"x": 1}}));
        let expected =
            json!({"metadata": {"name": "hippo"}, "spec": {"a": 1, "b": {}}, "status": {}});
        assert_eq!(shown(&sees, &old), expected);
        for (new, same) in [
            (json!({"spec": {"a": 1, "b": 5, "c": 4}, "status": {"x": 2}}), true),
            (json!({"spec": {"a": 2, "b": 2, "c": 3}, "status": {"x": 1}}), false),
            (json!({"spec": {"a": 1, "b": 2, "c": 3}}), false),
        ] {
            let new = object(new);
            assert_eq!(sees.iter().all(|sight| sight.same(&old, &new)), same);
        }
    }
}
