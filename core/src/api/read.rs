//! Reads the specification and the status of a stored custom resource. An error names the field and what belongs
//! there, never the value that stands there: it may be a secret in the wrong place.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::data_source::ClusterDataSource;
use super::{IvoryClusterSpec, IvoryClusterStatus, IvyUpgradeSpec};
use crate::object::Object;

/// Why a custom resource can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidResource {
    /// The field, for example `spec.instances[0].replicas`.
    pub path: String,
    /// What is wrong with it, for example `expected a whole number, found a text`.
    pub problem: String,
}

/// Free-form maps, in which a null means something.
const FREE_FORM: &[&str] = &["dynamicConfiguration", "settings"];

/// Reads an IvoryCluster's `spec`, defaults filled in, for an API server that did not.
///
/// # Errors
/// When a field has the wrong type or a mandatory one is missing. Bounds, patterns and rules are
/// the API server's to check.
pub fn read(object: &Object) -> Result<IvoryClusterSpec, InvalidResource> {
    read_spec(object)
}

/// Reads an IvyUpgrade's `spec`.
///
/// # Errors
/// As for [`read`].
pub fn read_upgrade(object: &Object) -> Result<IvyUpgradeSpec, InvalidResource> {
    read_spec(object)
}

/// Reads an IvoryCluster's `status`; one that is absent says nothing.
///
/// # Errors
/// As for [`read`].
pub fn read_status(object: &Object) -> Result<IvoryClusterStatus, InvalidResource> {
    let status = part(object, "status");
    status.map_or_else(|| Ok(IvoryClusterStatus::default()), |status| parse("status", &status))
}

fn read_spec<T: DeserializeOwned>(object: &Object) -> Result<T, InvalidResource> {
    let spec = part(object, "spec").ok_or_else(|| missing("spec".to_owned()))?;
    parse("spec", &spec)
}

/// A top-level field without its nulls.
fn part<'a>(object: &'a Object, name: &str) -> Option<Cow<'a, Value>> {
    let mut part = Cow::Borrowed(object.at(&[name]).filter(|part| !part.is_null())?);
    if has_nulls(&part) {
        drop_nulls(part.to_mut());
    }
    Some(part)
}

/// Hardly any value has, and then it need not be copied.
fn has_nulls(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_nulls),
        Value::Array(items) => items.iter().any(has_nulls),
        _ => false,
    }
}

/// A null stands for an absent field, as it does for the API server when a field is not nullable.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map.iter_mut() {
                if !FREE_FORM.contains(&key.as_str()) {
                    drop_nulls(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn parse<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, InvalidResource> {
    // Keeping track of where it stands takes a reader as long again; so it is done for what can't be read alone.
    if let Ok(read) = T::deserialize(value) {
        return Ok(read);
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let found = find(value, error.path());
        let path = match below.as_str() {
            "." => root.to_owned(),
            below => format!("{root}.{below}"),
        };
        // The fields of a restore are read together, so that the error says only that one of
        // them is wrong; reading them once more alone tells which.
        if below == "backups.pgbackrest.restore"
            && let Some(Err(inner)) = found.map(|found| parse::<ClusterDataSource>(&path, found))
        {
            return inner;
        }
        explain(path, &error.inner().to_string(), found)
    })
}

/// The value at a path, or the last one on the way to it.
fn find<'a>(root: &'a Value, path: &serde_path_to_error::Path) -> Option<&'a Value> {
    use serde_path_to_error::Segment;
    path.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// Turns serde's words into the user's.
fn explain(path: String, message: &str, found: Option<&Value>) -> InvalidResource {
    if let Some(field) = quoted(message, "missing field ") {
        let path = format!("{path}.{field}");
        return missing(path);
    }
    // What precedes the last "expected" may quote the value.
    let expected = match message.rsplit_once("expected ") {
        Some((_, "i32" | "i64")) => "a whole number within bounds",
        Some((_, "a string")) => "a text",
        Some((_, "a boolean")) => "true or false",
        Some((_, "a sequence")) => "a list",
        Some((_, "enum IntOrString" | "IntOrString" | "Quantity")) => "a number or a text",
        Some((_, "a map")) => "a map",
        Some((_, words)) if words.starts_with("struct ") => "a map",
        Some((_, words)) => words,
        None => "something else",
    };
    let found = found.map_or("nothing", |value| match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    });
    InvalidResource { path, problem: format!("expected {expected}, found {found}") }
}

fn missing(path: String) -> InvalidResource {
    let problem = "missing; it is mandatory".to_owned();
    InvalidResource { path, problem }
}

/// The name in backquotes after a prefix.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(prefix)?;
    rest.split('`').nth(1)
}
