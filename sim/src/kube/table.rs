//! Custom resources as the table that kubectl prints, by the columns of their definition.

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};

use super::store::ApiServer;

impl ApiServer {
    /// `metav1.Table` of the objects of a custom kind, without the objects; `None` when there is no definition. Cells
    /// of type `date` hold the time itself, where the real server says how long ago it was.
    #[must_use]
    pub fn table(&self, kind: Kind, namespace: Option<&str>) -> Option<Value> {
        let name = format!("{}.{}", kind.plural(), kind.group());
        let definition = self.get(Kind::CustomResourceDefinition, "", &name)?;
        let versions = definition.at(&["spec", "versions"])?.as_array()?;
        let version = versions.iter().find(|v| v["name"] == kind.version())?;
        let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let columns = columns.map(Vec::as_slice).unwrap_or_default();
        let mut heads = vec![json!({"name": "Name", "type": "string", "format": "name",
            "description": "", "priority": 0})];
        for column in columns {
            let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default();
            let described = match text("description") {
                "" => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text("jsonPath")
                ),
                given => given.to_owned(),
            };
            heads.push(json!({"name": text("name"), "type": text("type"), "format": text("format"),
                "description": described, "priority": column.get("priority").cloned().unwrap_or(0.into())}));
        }
        let row = |object: &Object| {
            let whole = object.to_value();
            let mut cells = vec![Value::from(&*object.meta.name)];
            for column in columns {
                let path = column.get("jsonPath").and_then(Value::as_str).unwrap_or_default();
                let kind = column.get("type").and_then(Value::as_str).unwrap_or_default();
                cells.push(cell(kind, at(&whole, path)));
            }
            json!({ "cells": cells })
        };
        let rows: Vec<_> = self.list(kind, namespace).map(|object| row(object)).collect();
        Some(
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "Table", "columnDefinitions": heads, "rows": rows}),
        )
    }
}

/// A value in a column: what is of another type than the column's is left empty.
fn cell(kind: &str, value: Option<&Value>) -> Value {
    let Some(value) = value else {
        return Value::Null;
    };
    match kind {
        "integer" if value.is_i64() => value.clone(),
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" if value.is_string() => value.clone(),
        "string" => match value {
            Value::String(text) => text.as_str().into(),
            other => other.to_string().into(),
        },
        _ => Value::Null,
    }
}

/// The value at a path of the forms `.a.b` and `.a[?(@.k=="v")].b`.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (filter, tail) = filter.split_once(")]")?;
            let (key, wanted) = filter.split_once("==")?;
            let wanted = wanted.trim_matches(['"', '\'']);
            let list = here.as_array()?;
            here =
                list.iter().find(|item| item.get(key).and_then(Value::as_str) == Some(wanted))?;
            rest = tail;
        } else {
            let tail = rest.strip_prefix('.')?;
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            here = here.get(&tail[..end])?;
            rest = &tail[end..];
        }
    }
    Some(here)
}
