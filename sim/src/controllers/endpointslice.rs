//! EndpointSlices of Services with a selector: one slice for every set of ports, of IPv4. Left out: more
//! than one slice of the same ports (over 100 endpoints), zones and hints.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef, StringMap};
use serde_json::{Value, json};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::pods_of_service::{
    HEADLESS, behind, describe, headless, ports, publishes_unready, selector, services_of,
};
use crate::controllers::support::pods;

/// The label that names a slice's maker.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The label that names a slice's Service.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";
const ME: &str = "endpointslice-controller.k8s.io";

/// The controller.
pub(super) struct SlicesOfServices;

impl Controller for SlicesOfServices {
    fn name(&self) -> &'static str {
        "endpointslice"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Service, Kind::Pod, Kind::EndpointSlice]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        if object.kind != Kind::EndpointSlice {
            services_of(seen, caches, keys);
        } else if let Some(service) = object.label(SERVICE)
            && object.label(MANAGED_BY) == Some(ME)
        {
            keys.push(Key::beside(object, Kind::Service, service));
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let service = caches.get(Kind::Service, &key.namespace, &key.name);
        // The slices of a Service that is gone are collected as its dependents.
        let Some(service) = service.filter(|s| selector(s).is_some() && !s.terminating()) else {
            return;
        };
        let mut labels = (*service.meta.labels).clone();
        if headless(service) {
            labels.insert(HEADLESS.into(), String::new());
        }
        let slices = Slices { maker: ME, owner: service, labels, wanted: wanted(service, caches) };
        slices.bring_about(&key.name, caches, sync);
    }
}

fn wanted(service: &Object, caches: &Caches) -> Vec<Content> {
    let always = publishes_unready(service);
    let mut groups: BTreeMap<String, Content> = BTreeMap::new();
    for (ip, pod) in behind(service, caches, true) {
        let ports = ports(service, pod);
        let serving = pods::ready(pod);
        let mut endpoint = json!({
            "addresses": [ip],
            "conditions": {
                "ready": always || (serving && !pod.terminating()),
                "serving": serving, "terminating": pod.terminating(),
            },
        });
        describe(pod, service, &mut endpoint);
        let key = ports.iter().map(Value::to_string).collect();
        let group = groups.entry(key).or_insert_with(|| Content { ports, endpoints: Vec::new() });
        group.endpoints.push(endpoint);
    }
    if groups.is_empty() {
        groups.insert(String::new(), Content::default());
    }
    groups.into_values().collect()
}

/// What a slice holds.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Content {
    pub(super) ports: Vec<Value>,
    pub(super) endpoints: Vec<Value>,
}

/// The slices that a maker wants for a Service.
pub(super) struct Slices<'a> {
    pub(super) maker: &'static str,
    pub(super) owner: &'a Object,
    /// Beside the two that every slice has.
    pub(super) labels: StringMap,
    pub(super) wanted: Vec<Content>,
}

impl Slices<'_> {
    /// Makes, changes and deletes slices until they are as wanted.
    pub(super) fn bring_about(self, service: &str, caches: &Caches, sync: &mut Sync) {
        let existing = made_by(self.maker, &self.owner.meta.namespace, service, caches);
        let mut labels = self.labels;
        labels.insert(MANAGED_BY.into(), self.maker.into());
        labels.insert(SERVICE.into(), service.into());
        let labels = Arc::new(labels);
        let count = self.wanted.len();
        for (index, content) in self.wanted.into_iter().enumerate() {
            let old = existing.get(index);
            let mut slice = old.map_or_else(
                || {
                    let mut new = Object::new(Kind::EndpointSlice, &self.owner.meta.namespace, "");
                    new.meta.generate_name = Some(format!("{service}-").into());
                    new.meta.owners = Arc::new(vec![OwnerRef::controller_of(self.owner)]);
                    new.body_mut().insert("addressType".into(), "IPv4".into());
                    new
                },
                |old| (**old).clone(),
            );
            slice.meta.labels = labels.clone();
            for (key, list) in [("endpoints", content.endpoints), ("ports", content.ports)] {
                let unset = slice.at(&[key]).is_none_or(Value::is_null);
                if !(unset && list.is_empty() && old.is_some()) {
                    slice.body_mut().insert(key.into(), list.into());
                }
            }
            match old {
                Some(old) if **old == slice => {}
                Some(_) => sync.update(slice),
                None => sync.create(slice),
            }
        }
        existing.iter().skip(count).for_each(|s| sync.delete(s));
    }
}

/// The slices of a Service that a maker made.
pub(super) fn made_by(
    maker: &str,
    namespace: &str,
    service: &str,
    caches: &Caches,
) -> Vec<Arc<Object>> {
    caches
        .list(Kind::EndpointSlice, namespace)
        .filter(|s| s.label(SERVICE) == Some(service) && s.label(MANAGED_BY) == Some(maker))
        .cloned()
        .collect()
}
