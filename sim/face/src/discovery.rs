//! What clients ask before they ask for anything: which groups, versions and resources there are, and how the server
//! is. Schemas are not told (`/openapi`): clients that check bodies themselves leave it to the server then.

use std::collections::BTreeSet;

use ivory_core::Kind;
use serde_json::{Value, json};

/// The answer at a path that names no object; `None` where nothing is.
pub(crate) fn answer(path: &str) -> Option<Answer> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    Some(match parts.as_slice() {
        ["healthz" | "readyz" | "livez", ..] => Answer::Text("ok"),
        ["version"] => Answer::Json(version()),
        ["api"] => Answer::Json(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => Answer::Json(groups()),
        ["api", "v1"] => Answer::Json(resources("", "v1")?),
        ["apis", group] if !group.is_empty() => Answer::Json(group_of(group)?),
        ["apis", group, version] => Answer::Json(resources(group, version)?),
        _ => return None,
    })
}

/// What is said.
pub(crate) enum Answer {
    /// A document.
    Json(Value),
    /// A word.
    Text(&'static str),
}

/// The version that the model was compared with.
fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

fn named_groups() -> BTreeSet<(&'static str, &'static str)> {
    let named = Kind::ALL.iter().filter(|kind| !kind.group().is_empty());
    named.map(|kind| (kind.group(), kind.version())).collect()
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn groups() -> Value {
    let groups: Vec<Value> = named_groups().iter().map(|(name, v)| group(name, v)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_of(wanted: &str) -> Option<Value> {
    let groups = named_groups();
    let (name, version) = groups.iter().find(|(name, _)| *name == wanted)?;
    let mut found = group(name, version);
    found["kind"] = "APIGroup".into();
    found["apiVersion"] = "v1".into();
    Some(found)
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut found = Vec::new();
    for kind in Kind::ALL.iter().filter(|k| k.group() == group && k.version() == version) {
        let entry = |name: String, verbs: &[&str]| {
            json!({"name": name, "singularName": kind.name().to_lowercase(), "kind": kind.name(),
                "namespaced": kind.namespaced(), "verbs": verbs})
        };
        found.push(entry(kind.plural().to_owned(), &all));
        found.push(entry(format!("{}/status", kind.plural()), &["get", "patch", "update"]));
        if *kind == Kind::Pod {
            found.push(entry("pods/exec".to_owned(), &["create", "get"]));
            found.push(entry("pods/eviction".to_owned(), &["create"]));
        }
    }
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!found.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found})
    })
}
