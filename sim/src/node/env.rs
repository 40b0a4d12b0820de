//! A container's environment: values, references to its own Pod, to Secrets and to ConfigMaps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

use crate::node::json::{at, list, text};
use crate::node::quantity::milli_of;

/// Environment variables. They may hold passwords, so that they can't be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variables' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a kubelet knows of a Pod beyond its object.
pub struct Facts<'a> {
    /// The Pod.
    pub pod: &'a Object,
    /// Its node.
    pub node: &'a str,
    /// Its address.
    pub ip: &'a str,
    /// Its node's address.
    pub host_ip: &'a str,
    /// Finds ConfigMaps and Secrets of its namespace.
    pub find: &'a dyn Fn(Kind, &str) -> Option<Arc<Object>>,
}

/// Resolves a container's environment.
///
/// # Errors
/// The message of `CreateContainerConfigError` when something that is not optional is missing.
pub fn resolve(container: &Value, facts: &Facts<'_>) -> Result<Env, String> {
    let mut env = Env::default();
    for from in list(container, &["envFrom"]) {
        let prefix = text(from, &["prefix"]).unwrap_or_default();
        for (kind, key) in [(Kind::ConfigMap, "configMapRef"), (Kind::Secret, "secretRef")] {
            let Some(reference) = from.get(key) else {
                continue;
            };
            let Some(object) = found(kind, reference, facts)? else {
                continue;
            };
            let names = object.at(&["data"]).and_then(Value::as_object);
            for name in names.into_iter().flat_map(serde_json::Map::keys) {
                if let Some(value) = object.data(name) {
                    let value = value.expose_text().unwrap_or_default().to_owned();
                    env.0.insert(format!("{prefix}{name}"), value);
                }
            }
        }
    }
    for variable in list(container, &["env"]) {
        let Some(name) = text(variable, &["name"]) else {
            continue;
        };
        let value = match variable.get("valueFrom").filter(|v| !v.is_null()) {
            Some(from) => referred(from, container, facts)?,
            None => Some(expand(text(variable, &["value"]).unwrap_or_default(), &env)),
        };
        if let Some(value) = value {
            env.0.insert(name.to_owned(), value);
        }
    }
    Ok(env)
}

/// The object of a reference; `None` when it is missing and may be.
fn found(kind: Kind, reference: &Value, facts: &Facts<'_>) -> Result<Option<Arc<Object>>, String> {
    let name = text(reference, &["name"]).unwrap_or_default();
    let optional = at(reference, &["optional"]).and_then(Value::as_bool) == Some(true);
    match (facts.find)(kind, name) {
        None if optional => Ok(None),
        None => Err(format!("{} {name:?} not found", word(kind))),
        object => Ok(object),
    }
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Secret { "secret" } else { "configmap" }
}

fn referred(from: &Value, container: &Value, facts: &Facts<'_>) -> Result<Option<String>, String> {
    for (kind, key) in [(Kind::ConfigMap, "configMapKeyRef"), (Kind::Secret, "secretKeyRef")] {
        let Some(reference) = from.get(key) else {
            continue;
        };
        let Some(object) = found(kind, reference, facts)? else {
            return Ok(None);
        };
        let key = text(reference, &["key"]).unwrap_or_default();
        let optional = at(reference, &["optional"]).and_then(Value::as_bool) == Some(true);
        return match object.data(key) {
            Some(value) => Ok(value.expose_text().map(str::to_owned)),
            None if optional => Ok(None),
            None => Err(format!(
                "couldn't find key {key} in {} {}",
                if kind == Kind::Secret { "Secret" } else { "ConfigMap" },
                object.full_name()
            )),
        };
    }
    if let Some(resource) = text(from, &["resourceFieldRef", "resource"]) {
        return Ok(Some(resource_of(resource, container)));
    }
    Ok(text(from, &["fieldRef", "fieldPath"]).map(|path| field(path, facts)))
}

fn resource_of(resource: &str, container: &Value) -> String {
    let (group, name) = resource.split_once('.').unwrap_or((resource, ""));
    let amount = milli_of(at(container, &["resources", group, name]));
    // The divisor's default is 1: whole cores, whole bytes, rounded up.
    ((amount + 999) / 1_000).to_string()
}

fn field(path: &str, facts: &Facts<'_>) -> String {
    let pod = facts.pod;
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = keyed("metadata.labels") {
        return pod.label(key).unwrap_or_default().to_owned();
    }
    if let Some(key) = keyed("metadata.annotations") {
        return pod.annotation(key).unwrap_or_default().to_owned();
    }
    match path {
        "metadata.name" => pod.meta.name.to_string(),
        "metadata.namespace" => pod.meta.namespace.to_string(),
        "metadata.uid" => pod.meta.uid.to_string(),
        "spec.nodeName" => facts.node.to_owned(),
        "spec.serviceAccountName" => {
            pod.str_at(&["spec", "serviceAccountName"]).unwrap_or("default").to_owned()
        }
        "status.podIP" | "status.podIPs" => facts.ip.to_owned(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_owned(),
        _ => String::new(),
    }
}

/// Replaces `$(NAME)` by variables that are known already; `$$` stands for one `$`.
fn expand(text: &str, env: &Env) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let reference = rest.strip_prefix('(').and_then(|r| r.split_once(')'));
        if let Some((name, after)) = reference {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = rest.strip_prefix('$').unwrap_or(rest);
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_references_and_what_is_missing() {
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "labels": {"a/b": "L"}},
        }))
        .expect("a Pod");
        let secret = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"},
            "data": {"k": "QkI="},
        }))
        .map(Arc::new)
        .expect("a Secret");
        let find = |kind, name: &str| (kind == Kind::Secret && name == "s").then(|| secret.clone());
        let facts =
            Facts { pod: &pod, node: "n1", ip: "10.0.0.1", host_ip: "10.9.9.9", find: &find };
        let check = |variable: Value, expected: Result<Option<&str>, &str>| {
            let container = json!({
                "resources": {"limits": {"memory": "1Gi"}},
                "env": [{"name": "A", "value": "1"}, variable],
            });
            let resolved = resolve(&container, &facts).map(|env| env.get("X").map(str::to_owned));
            let expected = expected.map(|v| v.map(str::to_owned)).map_err(str::to_owned);
            assert_eq!(resolved, expected, "{variable}");
        };
        let field =
            |path: &str| json!({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let key = |name: &str, key: &str, optional: bool| json!({"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": optional}}});
        check(json!({"name": "X", "value": "a$(A)b$(B)$$(A)"}), Ok(Some("a1b$(B)$(A)")));
        check(field("metadata.name"), Ok(Some("p")));
        check(field("metadata.labels['a/b']"), Ok(Some("L")));
        check(field("status.podIP"), Ok(Some("10.0.0.1")));
        check(field("spec.nodeName"), Ok(Some("n1")));
        check(key("s", "k", false), Ok(Some("BB")));
        check(key("s", "z", true), Ok(None));
        check(key("s", "z", false), Err("couldn't find key z in Secret n/s"));
        check(key("t", "k", false), Err("secret \"t\" not found"));
        check(key("t", "k", true), Ok(None));
        let limit =
            json!({"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}});
        check(limit, Ok(Some("1073741824")));
    }
}
