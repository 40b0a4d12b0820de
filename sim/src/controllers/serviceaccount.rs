//! Every namespace has a ServiceAccount `default`, without which no Pod is admitted to it. The ConfigMap of
//! the root certificate is left out.

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};

const NAME: &str = "default";

/// The controller.
pub(super) struct DefaultAccounts;

impl Controller for DefaultAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Namespace, Kind::ServiceAccount]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::Namespace => keys.extend(seen.new.map(Key::of)),
            _ if seen.new.is_none() && &*object.meta.name == NAME => keys.push(Key {
                kind: Kind::Namespace,
                namespace: "".into(),
                name: object.meta.namespace.clone(),
            }),
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let namespace = caches.get(key.kind, "", &key.name);
        let lives = namespace.is_some_and(|n| !n.terminating());
        if lives && caches.get(Kind::ServiceAccount, &key.name, NAME).is_none() {
            sync.create(Object::new(Kind::ServiceAccount, &key.name, NAME));
        }
    }
}
