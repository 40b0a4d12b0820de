//! What every namespace has: a ServiceAccount `default`, without which no Pod is admitted to it, and the
//! ConfigMap `kube-root-ca.crt`, without which no Pod's token volume can be mounted.

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::json;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};

const ACCOUNT: &str = "default";
const ROOT: &str = "kube-root-ca.crt";

/// The controller.
pub(super) struct DefaultAccounts;

impl Controller for DefaultAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Namespace, Kind::ServiceAccount, Kind::ConfigMap]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::Namespace => keys.extend(seen.new.map(Key::of)),
            _ if seen.new.is_none() && [ACCOUNT, ROOT].contains(&&*object.meta.name) => {
                keys.push(Key {
                    kind: Kind::Namespace,
                    namespace: "".into(),
                    name: object.meta.namespace.clone(),
                });
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let namespace = caches.get(key.kind, "", &key.name);
        if namespace.is_none_or(|n| n.terminating()) {
            return;
        }
        if caches.get(Kind::ServiceAccount, &key.name, ACCOUNT).is_none() {
            sync.create(Object::new(Kind::ServiceAccount, &key.name, ACCOUNT));
        }
        if caches.get(Kind::ConfigMap, &key.name, ROOT).is_none() {
            // Nobody reads the certificate itself: the API's own TLS is not modelled.
            let data = json!({"ca.crt": "the root certificate of the simulated API server"});
            sync.create(Object::new(Kind::ConfigMap, &key.name, ROOT).with("data", data));
        }
    }
}
