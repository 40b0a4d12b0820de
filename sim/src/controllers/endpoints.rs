//! Endpoints of Services with a selector. Those of Services without one are somebody else's (Patroni's), but
//! go with the Service even so: measured on Kubernetes 1.34, deleting a Service deletes the Endpoints of its
//! name. Left out: the annotation of the last change, and the truncation at 1000 addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::pods_of_service::{
    HEADLESS, behind, describe, headless, ports, publishes_unready, selector, services_of,
};
use crate::controllers::support::pods;
use crate::time::Span;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Endpoints with this annotation are locks of the control plane.
pub(super) const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// The controller.
pub(super) struct EndpointsOfServices;

impl Controller for EndpointsOfServices {
    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Service, Kind::Pod, Kind::Endpoints]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        if object.kind != Kind::Endpoints {
            return services_of(seen, caches, keys);
        }
        // Only their end is of interest; Patroni's heartbeat is not.
        if seen.new.is_none() {
            keys.push(Key::beside(object, Kind::Service, &object.meta.name));
        }
    }

    /// What a Service that went unseen left behind.
    fn first_keys(&self, caches: &Caches, keys: &mut Keys) {
        for endpoints in caches.all(Kind::Endpoints) {
            let name = &endpoints.meta.name;
            let orphan = caches.get(Kind::Service, &endpoints.meta.namespace, name).is_none();
            if orphan && endpoints.annotation(LEADER).is_none() {
                keys.push(Key::beside(endpoints, Kind::Service, name));
            }
        }
    }

    /// It never decides by what it has replaced itself (`staleEndpointsTracker`): of a change of Endpoints it is not told,
    /// so nothing would put that right.
    fn patience(&self) -> Span {
        Span::s(3600)
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let existing = caches.get(Kind::Endpoints, &key.namespace, &key.name);
        let Some(service) = caches.get(Kind::Service, &key.namespace, &key.name) else {
            if let Some(endpoints) = existing {
                sync.delete(endpoints);
            }
            return;
        };
        if selector(service).is_none() {
            return;
        }
        let mut wanted = match existing {
            Some(endpoints) => (**endpoints).clone(),
            None => Object::new(Kind::Endpoints, &key.namespace, &key.name),
        };
        let mut labels = (*service.meta.labels).clone();
        labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
        if headless(service) {
            labels.insert(HEADLESS.into(), String::new());
        }
        wanted.meta.labels = Arc::new(labels);
        let subsets = subsets(service, caches);
        if subsets.is_empty() {
            wanted.body_mut().remove("subsets");
        } else {
            wanted.body_mut().insert("subsets".into(), subsets.into());
        }
        match existing {
            Some(endpoints) if **endpoints == wanted => {}
            Some(_) => sync.update(wanted),
            None => sync.create(wanted),
        }
    }
}

fn subsets(service: &Object, caches: &Caches) -> Vec<Value> {
    let unready_too = publishes_unready(service);
    let mut groups: BTreeMap<String, (Vec<Value>, [Vec<Value>; 2])> = BTreeMap::new();
    for (ip, pod) in behind(service, caches, unready_too) {
        let ports = ports(service, pod);
        // Of a headless Service without ports the addresses are told all the same.
        let portless = headless(service) && service.at(&["spec", "ports"]).is_none();
        if ports.is_empty() && !portless {
            continue;
        }
        let mut address = json!({"ip": ip});
        describe(pod, service, &mut address);
        let key = ports.iter().map(Value::to_string).collect();
        let group = groups.entry(key).or_insert_with(|| (ports, Default::default()));
        let serves = unready_too || pods::ready(pod);
        group.1[usize::from(!serves)].push(address);
    }
    let subset = |(ports, [ready, not_ready]): (Vec<Value>, [Vec<Value>; 2])| {
        let mut subset = json!({});
        for (key, list) in
            [("addresses", ready), ("notReadyAddresses", not_ready), ("ports", ports)]
        {
            if !list.is_empty() {
                subset[key] = list.into();
            }
        }
        subset
    };
    groups.into_values().map(subset).collect()
}
