//! Addresses and ports of Services. Allocation takes the next free one, so that it is deterministic;
//! the real server draws at random. One address family.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};

use super::defaulting::{fields, items, set};
use super::status::{FieldError, Status};
use super::store::ApiServer;

/// The first address of 10.96.0.0/12; the very first is the API server's own.
const FIRST: u32 = 0x0a60_0001;
const ADDRESSES: u32 = (1 << 20) - 2;
const FIRST_PORT: u32 = 30_000;
const PORTS: u32 = 2768;

impl ApiServer {
    /// Gives a Service what its type needs and takes what it no longer may have. What it had, stays.
    pub(crate) fn allocate(
        &mut self,
        new: &mut Object,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let text = |o: &Object, key: &str| o.str_at(&["spec", key]).unwrap_or_default().to_owned();
        let kind = text(new, "type");
        let was = old.map(|o| text(o, "type")).unwrap_or_default();
        if kind == "ExternalName" {
            let Some(spec) = fields(new.body_mut(), "spec") else {
                return Ok(());
            };
            if !was.is_empty() && was != kind {
                for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                    spec.remove(key);
                }
            }
            return Ok(());
        }
        if let Some(old) = old.filter(|_| was != "ExternalName") {
            keep(new, old);
        }
        let asked = text(new, "clusterIP");
        let address = match &*asked {
            "" => self.next_address(),
            "None" => asked,
            other => {
                let taken = self.list(Kind::Service, None).any(|s| {
                    s.str_at(&["spec", "clusterIP"]) == Some(other)
                        && (s.meta.name != new.meta.name || s.meta.namespace != new.meta.namespace)
                });
                if taken {
                    let wrong = FieldError::invalid(
                        "spec.clusterIPs",
                        json!([other]),
                        format!("failed to allocate IP {other}: provided IP is already allocated"),
                    );
                    return Err(Status::invalid(new.kind, &new.meta.name, &[wrong]));
                }
                asked
            }
        };
        let mut used = self.used_ports();
        let needs_ports = kind == "NodePort"
            || (kind == "LoadBalancer"
                && new.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)));
        let mut next = self.next_node_port;
        if let Some(spec) = fields(new.body_mut(), "spec") {
            spec.insert("clusterIP".into(), address.as_str().into());
            spec.insert("clusterIPs".into(), json!([address]));
            // Nobody knows of what family the addresses of a headless Service without selector will be.
            let any = address == "None" && !spec.contains_key("selector");
            let families = if any { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
            let policy = if any { "RequireDualStack" } else { "SingleStack" };
            set(spec, "ipFamilies", families);
            set(spec, "ipFamilyPolicy", policy);
            for port in items(spec, "ports") {
                if needs_ports && port.get("nodePort").is_none() {
                    let number = (0..PORTS)
                        .map(|n| FIRST_PORT + (next + n) % PORTS)
                        .find(|n| !used.contains(n));
                    if let Some(number) = number {
                        used.insert(number);
                        next = number - FIRST_PORT + 1;
                        port.insert("nodePort".into(), number.into());
                    }
                }
            }
        }
        self.next_node_port = next;
        Ok(())
    }

    fn next_address(&mut self) -> String {
        let used: BTreeSet<String> = self
            .list(Kind::Service, None)
            .filter_map(|s| s.str_at(&["spec", "clusterIP"]).map(str::to_owned))
            .collect();
        loop {
            self.next_cluster_ip = self.next_cluster_ip % ADDRESSES + 1;
            let address = Ipv4Addr::from(FIRST + self.next_cluster_ip).to_string();
            if !used.contains(&address) {
                return address;
            }
        }
    }

    fn used_ports(&self) -> BTreeSet<u32> {
        self.list(Kind::Service, None)
            .filter_map(|s| s.at(&["spec", "ports"]).and_then(Value::as_array))
            .flatten()
            .filter_map(|p| p.get("nodePort").and_then(Value::as_u64))
            .filter_map(|n| u32::try_from(n).ok())
            .collect()
    }
}

/// A client that replaces a Service need not repeat what was allocated.
fn keep(new: &mut Object, old: &Object) {
    let old_spec = old.body.get("spec").cloned().unwrap_or_default();
    let Some(spec) = fields(new.body_mut(), "spec") else {
        return;
    };
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = old_spec.get(key) {
            set(spec, key, value.clone());
        }
    }
    let needs =
        |v: Option<&Value>| matches!(v.and_then(Value::as_str), Some("NodePort" | "LoadBalancer"));
    if needs(spec.get("type")) && needs(old_spec.get("type")) {
        let old_ports = old_spec.get("ports").and_then(Value::as_array).cloned();
        for port in items(spec, "ports") {
            let same = |p: &&Value| {
                p.get("port") == port.get("port") && p.get("protocol") == port.get("protocol")
            };
            if let Some(number) =
                old_ports.iter().flatten().find(same).and_then(|p| p.get("nodePort"))
            {
                set(port, "nodePort", number.clone());
            }
        }
    } else if !needs(spec.get("type")) && needs(old_spec.get("type")) {
        for port in items(spec, "ports") {
            let number = port.get("nodePort").cloned();
            let had = old_spec
                .get("ports")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|p| p.get("nodePort").is_some() && p.get("nodePort") == number.as_ref());
            if had {
                port.remove("nodePort");
            }
        }
        if old_spec.get("externalTrafficPolicy") == spec.get("externalTrafficPolicy")
            && !spec.contains_key("externalIPs")
        {
            spec.remove("externalTrafficPolicy");
        }
        if spec.get("allocateLoadBalancerNodePorts")
            == old_spec.get("allocateLoadBalancerNodePorts")
        {
            spec.remove("allocateLoadBalancerNodePorts");
        }
    }
}
