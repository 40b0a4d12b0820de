//! Two normalised answers, field by field.

use serde_json::{Map, Value};

use super::known::{Known, TABLE};
use super::normal::Answer;
use super::script::Step;

/// A field that differs.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Difference {
    /// `body.spec.ports[0].name`.
    pub(crate) path: String,
    /// What the real server has there, if anything.
    pub(crate) real: Option<Value>,
    /// What the model has there, if anything.
    pub(crate) model: Option<Value>,
}

/// All fields in which two answers differ.
pub(crate) fn compare(real: &Answer, model: &Answer) -> Vec<Difference> {
    let mut out = Vec::new();
    let value = |answer: &Answer| serde_json::to_value(answer).unwrap_or_default();
    differ("", Some(&value(real)), Some(&value(model)), &mut out);
    out
}

/// The known difference that this one is, as an index into the table.
pub(crate) fn known(step: &Step, difference: &Difference) -> Option<usize> {
    let is = |known: &Known| {
        let asked = known.word.is_empty() || step.known.as_deref() == Some(known.word);
        let says =
            || difference.real.as_ref().is_some_and(|real| real.to_string().contains(known.says));
        asked && difference.path.starts_with(known.path) && (known.says.is_empty() || says())
    };
    TABLE.iter().position(is)
}

/// Adds the fields in which two values differ.
pub(crate) fn differ(
    path: &str,
    real: Option<&Value>,
    model: Option<&Value>,
    out: &mut Vec<Difference>,
) {
    match (real, model) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<_> = a.keys().collect();
            keys.extend(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                differ(&below(path, key), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                differ(&format!("{path}[{at}]"), a.get(at), b.get(at), out);
            }
        }
        // One side has nothing here: name the fields that it lacks.
        (Some(Value::Object(a)), None) if !a.is_empty() => {
            let nothing = Value::Object(Map::new());
            differ(path, Some(&Value::Object(a.clone())), Some(&nothing), out);
        }
        (a, b) if a == b => {}
        (a, b) => {
            out.push(Difference { path: path.to_owned(), real: a.cloned(), model: b.cloned() })
        }
    }
}

fn below(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    match (path, plain) {
        ("", _) => key.to_owned(),
        (path, true) => format!("{path}.{key}"),
        (path, false) => format!("{path}[{key:?}]"),
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(400) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            }
        };
        let (real, model) = (side(&self.real), side(&self.model));
        if real.len() + model.len() < 80 {
            return write!(f, "{}: real {real}, model {model}", self.path);
        }
        write!(f, "{}:\n        real  {real}\n        model {model}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_differing_field_is_named() {
        let check = |real: Value, model: Value, expected: &[&str]| {
            let mut out = Vec::new();
            differ("body", Some(&real), Some(&model), &mut out);
            let texts: Vec<_> = out.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected);
        };
        check(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 2}]}), &[]);
        check(
            json!({"a": [1, {"b": 2}]}),
            json!({"a": [1, {"b": 3}]}),
            &["body.a[1].b: real 2, model 3"],
        );
        check(json!({"a": [1]}), json!({"a": []}), &["body.a[0]: real 1, model nothing"]);
        check(json!({}), json!({"f:a/b": 1}), &["body[\"f:a/b\"]: real nothing, model 1"]);
        check(json!({"a": {"b": 1}}), json!({}), &["body.a.b: real 1, model nothing"]);
        check(json!({"a": {}}), json!({}), &["body.a: real {}, model nothing"]);
    }
}
