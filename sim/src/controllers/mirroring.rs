//! EndpointSlices that mirror Endpoints of Services without a selector: Patroni's, and the operator's own.
//! One deliberate difference: annotations are not mirrored. The real controller copies them, and so repeats
//! every heartbeat of Patroni as a write to a slice, which nobody reads.

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};

use crate::controllers::endpoints::LEADER;
use crate::controllers::endpointslice::{Content, MANAGED_BY, SERVICE, Slices, made_by};
use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};

const ME: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The controller.
pub(super) struct MirroredSlices;

impl Controller for MirroredSlices {
    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Endpoints, Kind::Service, Kind::EndpointSlice]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        let key = |name: &str| Key::beside(object, Kind::Endpoints, name);
        match object.kind {
            Kind::Endpoints => {
                let same_body = match (seen.old, seen.new) {
                    (Some(old), Some(new)) => std::sync::Arc::ptr_eq(&old.body, &new.body),
                    _ => false,
                };
                let differs = !same_body && seen.differs(|e| e.at(&["subsets"]));
                if differs || seen.differs(|e| &e.meta.labels) {
                    keys.push(key(&object.meta.name));
                }
            }
            Kind::Service => {
                if seen.differs(|s| s.at(&["spec", "selector"])) {
                    keys.push(key(&object.meta.name));
                }
            }
            _ => {
                let service = object.label(SERVICE);
                let mine = object.label(MANAGED_BY) == Some(ME);
                keys.extend(service.filter(|_| mine).map(key));
            }
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let service = caches.get(Kind::Service, &key.namespace, &key.name);
        let without_selector = service.is_some_and(|s| s.at(&["spec", "selector"]).is_none());
        let endpoints = caches.get(Kind::Endpoints, &key.namespace, &key.name);
        let endpoints = endpoints.filter(|e| {
            e.label(SKIP) != Some("true") && e.annotation(LEADER).is_none() && !e.terminating()
        });
        let Some(endpoints) = endpoints.filter(|_| without_selector) else {
            let stale = made_by(ME, &key.namespace, &key.name, caches);
            return stale.iter().for_each(|s| sync.delete(s));
        };
        let slices = Slices {
            maker: ME,
            owner: endpoints,
            labels: (*endpoints.meta.labels).clone(),
            wanted: contents(endpoints),
        };
        slices.bring_about(&key.name, caches, sync);
    }
}

fn contents(endpoints: &Object) -> Vec<Content> {
    let subsets = endpoints.at(&["subsets"]).and_then(Value::as_array);
    subsets.into_iter().flatten().map(content).collect()
}

fn content(subset: &Value) -> Content {
    let list = |key: &str| subset.get(key).and_then(Value::as_array).into_iter().flatten();
    let endpoint = |address: &Value, ready: bool| {
        let mut endpoint = json!({
            "addresses": [address.get("ip")], "conditions": {"ready": ready},
        });
        for key in ["hostname", "nodeName", "targetRef"] {
            if let Some(value) = address.get(key) {
                endpoint[key] = value.clone();
            }
        }
        endpoint
    };
    let ready = list("addresses").map(|a| endpoint(a, true));
    let not_ready = list("notReadyAddresses").map(|a| endpoint(a, false));
    Content { ports: list("ports").cloned().collect(), endpoints: ready.chain(not_ready).collect() }
}
