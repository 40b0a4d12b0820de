//! The tables that `ivory-sim try` ends with: what exists, who runs where, which Service leads where,
//! and how an application connects.

use std::collections::BTreeMap;

use ivory_core::{Kind, labels};
use serde_json::Value;

use super::{Table, behind_service};
use crate::scenario::alias::Aliases;
use crate::scenario::driver::Driver;
use crate::world::KubeId;

/// Kinds of a namespace that are shown as objects; Pods and Services have tables of their own.
fn shown(kind: Kind) -> bool {
    let elsewhere =
        [Kind::Pod, Kind::Event, Kind::EndpointSlice, Kind::ControllerRevision, Kind::Lease];
    kind.namespaced() && !elsewhere.contains(&kind)
}

/// Objects by kind: how many, and their names.
#[must_use]
pub fn objects(driver: &dyn Driver, kube: KubeId, namespace: &str, aliases: &Aliases) -> Table {
    let mut table = Table::new(&["KIND", "NUMBER", "NAMES"]);
    for &kind in Kind::ALL.iter().filter(|k| shown(**k)) {
        let objects = driver.list(kube, kind, Some(namespace));
        if objects.is_empty() {
            continue;
        }
        let mut names: Vec<String> = Vec::new();
        for object in &objects {
            // A name of two words, such as `instance1/1 pgdata`, must not look like two names.
            names.push(aliases.show(kube, &object.meta.name).replace(' ', "\u{a0}"));
        }
        table.row([kind.name().to_owned(), names.len().to_string(), names.join(", ")]);
    }
    table
}

/// Pods: instance or name, node, role, readiness, restarts.
#[must_use]
pub fn pods(driver: &dyn Driver, kube: KubeId, namespace: &str, aliases: &Aliases) -> Table {
    let mut table = Table::new(&["POD", "NODE", "ROLE", "STATE", "CONTAINERS READY"]);
    for pod in driver.list(kube, Kind::Pod, Some(namespace)) {
        let role = match pod.label(labels::ROLE) {
            Some(role) if labels::role::is_leader(role) => "primary",
            Some(role) => role,
            None if pod.label(labels::PGBACKREST_DEDICATED).is_some() => "repo-host",
            None => pod.controller().map_or("", |o| match &*o.kind {
                "Job" => "job",
                _ => "",
            }),
        };
        let statuses = pod.at(&["status", "containerStatuses"]);
        let statuses = statuses.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ready = |s: &&Value| s.get("ready") == Some(&Value::Bool(true));
        let state = match pod.str_at(&["status", "phase"]) {
            _ if pod.terminating() => "Terminating",
            Some("Running") if pod.condition_true("Ready") => "Ready",
            Some(phase) => phase,
            None => "Pending",
        };
        table.row([
            aliases.show(kube, &pod.meta.name),
            pod.str_at(&["spec", "nodeName"]).unwrap_or("-").to_owned(),
            role.to_owned(),
            state.to_owned(),
            format!("{}/{}", statuses.iter().filter(ready).count(), statuses.len()),
        ]);
    }
    table
}

/// Services: type, ports, and the Pods to which they lead.
#[must_use]
pub fn services(driver: &dyn Driver, kube: KubeId, namespace: &str, aliases: &Aliases) -> Table {
    let mut table = Table::new(&["SERVICE", "TYPE", "PORTS", "LEADS TO"]);
    for service in driver.list(kube, Kind::Service, Some(namespace)) {
        let kind = match service.str_at(&["spec", "clusterIP"]) {
            Some("None") => "headless",
            _ => service.str_at(&["spec", "type"]).unwrap_or("ClusterIP"),
        };
        let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
        let port = |p: &Value| {
            let number = p.get("port").map(Value::to_string).unwrap_or_default();
            match p.get("nodePort") {
                Some(node) => format!("{number}:{node}"),
                None => number,
            }
        };
        let ports: Vec<String> = ports.into_iter().flatten().map(port).collect();
        let pods = behind_service(driver, kube, namespace, &service.meta.name);
        let pods: Vec<String> = pods.iter().map(|p| aliases.show(kube, &p.meta.name)).collect();
        table.row([
            service.meta.name.to_string(),
            kind.to_owned(),
            or_dash(ports.join(", ")),
            or_dash(pods.join(", ")),
        ]);
    }
    table
}

fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// How an application connects as each user of a cluster: the Secret, its keys, and the open parts of
/// them.
#[must_use]
pub fn connection(driver: &dyn Driver, kube: KubeId, namespace: &str, cluster: &str) -> String {
    let mut text = String::new();
    for secret in driver.list(kube, Kind::Secret, Some(namespace)) {
        if secret.label(labels::CLUSTER) != Some(cluster) {
            continue;
        }
        let Some(user) = secret.label(labels::PGUSER) else {
            continue;
        };
        let open = |key: &str| {
            let value = secret.data(key);
            value.and_then(|v| v.expose_text().map(str::to_owned))
        };
        let keys: BTreeMap<&str, ()> = secret
            .at(&["data"])
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|m| m.keys().map(|k| (k.as_str(), ())))
            .collect();
        let keys: Vec<&str> = keys.into_keys().collect();
        text.push_str(&format!("  user {user}: Secret {}\n", secret.meta.name));
        text.push_str(&format!("    keys      {}\n", keys.join(", ")));
        if let (Some(host), Some(port)) = (open("host"), open("port")) {
            text.push_str(&format!("    host      {host}, port {port}, over TLS\n"));
        }
        if let Some(database) = open("dbname") {
            text.push_str(&format!("    database  {database}\n"));
        }
    }
    text
}
