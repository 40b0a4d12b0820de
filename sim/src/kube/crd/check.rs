//! Validation of a value by an OpenAPI schema, in the real server's words.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Map, Value};

use super::super::status::{FieldError, Wrong};
use super::flag;

/// Adds what is wrong with a value.
pub(super) fn check(schema: &Value, value: &Value, path: &str, out: &mut Vec<FieldError>) {
    let here = if path.is_empty() { "<nil>" } else { path };
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if !type_fits(schema, value, here, out) {
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let texts: Vec<_> = allowed.iter().map(Value::to_string).collect();
        let detail = format!("supported values: {}", texts.join(", "));
        out.push(FieldError::new(here, Wrong::NotSupported(value.clone()), detail));
    }
    match value {
        Value::String(text) => string(schema, text, here, out),
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                self::number(schema, value, number, here, out);
            }
        }
        Value::Array(list) => array(schema, list, here, out),
        Value::Object(map) => object(schema, map, path, out),
        Value::Null | Value::Bool(_) => {}
    }
}

fn invalid(here: &str, value: impl Into<Value>, what: &str) -> FieldError {
    FieldError::invalid(here, value, format!("{here} in body {what}"))
}

fn type_fits(schema: &Value, value: &Value, here: &str, out: &mut Vec<FieldError>) -> bool {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(n) if n.as_f64().is_some_and(|f| f.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if flag(schema, "x-kubernetes-int-or-string") {
        "integer,string"
    } else {
        match schema.get("type").and_then(Value::as_str) {
            Some(wanted) => wanted,
            None => return true,
        }
    };
    if wanted.split(',').any(|w| w == found || (w == "number" && found == "integer")) {
        return true;
    }
    let detail = format!("{here} in body must be of type {wanted}: \"{found}\"");
    out.push(FieldError::new(here, Wrong::TypeInvalid(found.into()), detail));
    false
}

fn size(schema: &Value, key: &str) -> Option<usize> {
    schema.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn string(schema: &Value, text: &str, here: &str, out: &mut Vec<FieldError>) {
    let length = text.chars().count();
    if let Some(max) = size(schema, "maxLength").filter(|max| length > *max) {
        let detail = format!("may not be more than {max} bytes");
        out.push(FieldError::new(here, Wrong::TooLong, detail));
    }
    if let Some(min) = size(schema, "minLength").filter(|min| length < *min) {
        let what = format!("should be at least {min} chars long");
        out.push(invalid(here, text, &what));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !matches(pattern, text)
    {
        out.push(invalid(here, text, &format!("should match '{pattern}'")));
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time")
        && text.parse::<jiff::Timestamp>().is_err()
    {
        let what = format!("must be of type date-time: {text:?}");
        out.push(invalid(here, text, &what));
    }
}

/// Whether a text matches. A pattern that is none matches everything.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        // Compiling a pattern takes longer than all that it is ever asked for.
        static COMPILED: RefCell<BTreeMap<String, Option<Regex>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if !compiled.contains_key(pattern) {
            compiled.insert(pattern.to_owned(), Regex::new(pattern).ok());
        }
        compiled.get(pattern).and_then(Option::as_ref).is_none_or(|regex| regex.is_match(text))
    })
}

fn number(schema: &Value, value: &Value, number: f64, here: &str, out: &mut Vec<FieldError>) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let text = |key: &str| schema.get(key).map(Value::to_string).unwrap_or_default();
    if bound("minimum")
        .is_some_and(|min| number < min || (number == min && flag(schema, "exclusiveMinimum")))
    {
        let or = if flag(schema, "exclusiveMinimum") { "" } else { " or equal to" };
        let what = format!("should be greater than{or} {}", text("minimum"));
        out.push(invalid(here, value.clone(), &what));
    }
    if bound("maximum")
        .is_some_and(|max| number > max || (number == max && flag(schema, "exclusiveMaximum")))
    {
        let or = if flag(schema, "exclusiveMaximum") { "" } else { " or equal to" };
        let what = format!("should be less than{or} {}", text("maximum"));
        out.push(invalid(here, value.clone(), &what));
    }
    if let Some(step) = bound("multipleOf").filter(|step| (number / step).fract() != 0.0) {
        out.push(invalid(here, value.clone(), &format!("should be a multiple of {step}")));
    }
}

fn array(schema: &Value, list: &[Value], here: &str, out: &mut Vec<FieldError>) {
    if let Some(max) = size(schema, "maxItems").filter(|max| list.len() > *max) {
        let detail = format!("{}: must have at most {max} items", list.len());
        out.push(FieldError::new(here, Wrong::TooMany, detail));
    }
    if let Some(min) = size(schema, "minItems").filter(|min| list.len() < *min) {
        let what = format!("should have at least {min} items");
        out.push(invalid(here, list.len(), &what));
    }
    if let Some(items) = schema.get("items") {
        for (at, below) in list.iter().enumerate() {
            check(items, below, &format!("{here}[{at}]"), out);
        }
    }
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let mut seen = BTreeSet::new();
    for (at, item) in list.iter().enumerate() {
        let key = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => item.clone(),
            Some("map") => {
                let fields = keys.into_iter().flatten().filter_map(Value::as_str);
                let key: Map<_, _> =
                    fields.filter_map(|k| Some((k.to_owned(), item.get(k)?.clone()))).collect();
                Value::Object(key)
            }
            _ => return,
        };
        if !seen.insert(key.to_string()) {
            out.push(FieldError::new(format!("{here}[{at}]"), Wrong::Duplicate(key), ""));
        }
    }
}

fn object(schema: &Value, map: &Map<String, Value>, path: &str, out: &mut Vec<FieldError>) {
    let below = |key: &str| {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    };
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            out.push(FieldError::required(below(key), ""));
        }
    }
    let here = if path.is_empty() { "<nil>" } else { path };
    if let Some(max) = size(schema, "maxProperties").filter(|max| map.len() > *max) {
        let detail = format!("{}: must have at most {max} items", map.len());
        out.push(FieldError::new(here, Wrong::TooMany, detail));
    }
    if let Some(min) = size(schema, "minProperties").filter(|min| map.len() < *min) {
        out.push(invalid(here, map.len(), &format!("should have at least {min} properties")));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let rest = schema.get("additionalProperties").filter(|r| r.is_object());
    for (key, value) in map {
        if path.is_empty() && key == "metadata" {
            continue;
        }
        if let Some(schema) = properties.and_then(|p| p.get(key)).or(rest) {
            check(schema, value, &below(key), out);
        }
    }
}
