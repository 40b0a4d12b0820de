//! What a person is shown of a world: tables, YAML, differences. It reads stored objects and prints
//! nothing itself; drawn names and secrets are shown as what they are for, never as what they are.

mod diff;
mod table;
mod tables;
mod yaml;

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::Value;

pub use diff::{Change, changes, show};
pub use table::Table;
pub use tables::{connection, objects, pods, services};
pub use yaml::yaml;

use crate::scenario::driver::Driver;
use crate::world::KubeId;

/// The Pods to which a Service leads now, ready ones only. A Service whose endpoint is another Service's
/// address leads where that one does.
#[must_use]
pub fn behind_service(
    driver: &dyn Driver,
    kube: KubeId,
    namespace: &str,
    service: &str,
) -> Vec<Arc<Object>> {
    behind(driver, kube, namespace, service, 2)
}

fn behind(
    driver: &dyn Driver,
    kube: KubeId,
    namespace: &str,
    service: &str,
    hops: u8,
) -> Vec<Arc<Object>> {
    let Some(endpoints) = driver.get(kube, Kind::Endpoints, namespace, service) else {
        return Vec::new();
    };
    let subsets = endpoints.at(&["subsets"]).and_then(Value::as_array);
    let addresses = subsets
        .into_iter()
        .flatten()
        .filter_map(|s| s.get("addresses")?.as_array())
        .flatten()
        .filter_map(|a| a.get("ip")?.as_str());
    let pods = driver.list(kube, Kind::Pod, Some(namespace));
    let services = driver.list(kube, Kind::Service, Some(namespace));
    let mut found: Vec<Arc<Object>> = Vec::new();
    for ip in addresses {
        if let Some(pod) = pods.iter().find(|p| p.str_at(&["status", "podIP"]) == Some(ip)) {
            found.push(pod.clone());
            continue;
        }
        let next = services
            .iter()
            .find(|s| s.str_at(&["spec", "clusterIP"]) == Some(ip) && &*s.meta.name != service);
        if let Some(next) = next
            && hops > 0
        {
            found.extend(behind(driver, kube, namespace, &next.meta.name, hops - 1));
        }
    }
    found
}
