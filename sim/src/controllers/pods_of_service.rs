//! Which Pods stand behind a Service, at which addresses and ports: what Endpoints and EndpointSlices share.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Map, Value, json};

use crate::controllers::framework::{Caches, Key, Keys, Seen};
use crate::controllers::support::pods;
use crate::controllers::support::selector::map_selects;

/// The label that headless Services' endpoints bear.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The selector of a Service, if it has one that counts.
pub(super) fn selector(service: &Object) -> Option<&Value> {
    let selector = service.at(&["spec", "selector"])?;
    let external = service.str_at(&["spec", "type"]) == Some("ExternalName");
    let empty = selector.as_object().is_none_or(Map::is_empty);
    (!external && !empty).then_some(selector)
}

/// Whether a Service has no address of its own.
pub(super) fn headless(service: &Object) -> bool {
    service.str_at(&["spec", "clusterIP"]) == Some("None")
}

/// Whether a Service's Pods are published before they are ready.
pub(super) fn publishes_unready(service: &Object) -> bool {
    service.at(&["spec", "publishNotReadyAddresses"]) == Some(&Value::Bool(true))
}

/// The Services that a change concerns: a changed Service, or those that select a changed Pod or did.
pub(super) fn services_of(seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
    let object = seen.latest();
    match object.kind {
        Kind::Service => keys.push(Key::of(object)),
        Kind::Pod if pods::matters(seen) => {
            for service in caches.list(Kind::Service, &object.meta.namespace) {
                let selects = |s| seen.both().any(|pod| map_selects(s, &pod.meta.labels));
                if selector(service).is_some_and(selects) {
                    keys.push(Key::of(service));
                }
            }
        }
        _ => {}
    }
}

/// The Pods with an address that a Service selects, in order of their addresses. Ended ones never count.
pub(super) fn behind<'a>(
    service: &'a Object,
    caches: &'a Caches,
    terminating_too: bool,
) -> Vec<(&'a str, &'a Arc<Object>)> {
    let Some(selector) = selector(service) else {
        return Vec::new();
    };
    let pods = caches.list(Kind::Pod, &service.meta.namespace);
    let mut found: Vec<_> = pods
        .filter(|pod| map_selects(selector, &pod.meta.labels))
        .filter(|pod| !pods::finished(pod) && (terminating_too || !pod.terminating()))
        .filter_map(|pod| Some((pod.str_at(&["status", "podIP"])?, pod)))
        .filter(|(ip, _)| !ip.is_empty())
        .collect();
    found.sort_by_key(|(ip, _)| *ip);
    found
}

/// The ports that a Service leads to in a Pod. A named port that the Pod lacks is left out.
pub(super) fn ports(service: &Object, pod: &Object) -> Vec<Value> {
    let all = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let all = all.into_iter().flatten();
    all.filter_map(|port| port_in(port, pod)).collect()
}

fn port_in(port: &Value, pod: &Object) -> Option<Value> {
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    let number = match port.get("targetPort").or_else(|| port.get("port"))? {
        Value::String(name) => named_port(pod, name, protocol)?,
        number => number.as_i64().filter(|n| *n != 0).or_else(|| port.get("port")?.as_i64())?,
    };
    let mut found = json!({"port": number, "protocol": protocol});
    for key in ["name", "appProtocol"] {
        if let Some(value) = port.get(key) {
            found[key] = value.clone();
        }
    }
    Some(found)
}

fn named_port(pod: &Object, name: &str, protocol: &str) -> Option<i64> {
    let containers = pod.at(&["spec", "containers"])?.as_array()?;
    let ports = containers.iter().filter_map(|c| c.get("ports")?.as_array()).flatten();
    let text = |p: &Value, key: &str| p.get(key).and_then(Value::as_str).map(str::to_owned);
    ports
        .filter(|p| text(p, "name").as_deref() == Some(name))
        .find(|p| text(p, "protocol").as_deref().unwrap_or("TCP") == protocol)?
        .get("containerPort")?
        .as_i64()
}

/// Node, host name (where the Pod has its own DNS name under this Service) and reference of a Pod.
pub(super) fn describe(pod: &Object, service: &Object, into: &mut Value) {
    if let Some(node) = pod.at(&["spec", "nodeName"]) {
        into["nodeName"] = node.clone();
    }
    let subdomain = pod.str_at(&["spec", "subdomain"]);
    if let Some(host) = pod.at(&["spec", "hostname"])
        && subdomain == Some(&service.meta.name)
    {
        into["hostname"] = host.clone();
    }
    into["targetRef"] = json!({
        "kind": "Pod", "namespace": &*pod.meta.namespace, "name": &*pod.meta.name, "uid": &*pod.meta.uid,
    });
}
