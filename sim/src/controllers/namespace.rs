//! The end of namespaces: everything inside is deleted, Pods first, and when nothing is left the namespace
//! may go. Left out: the conditions that say what remains.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use serde_json::Value;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Step, Sync, items_in};
use crate::kube::Response;
use crate::time::Span;

/// How long objects with finalizers are expected to take.
const FINALIZERS: Span = Span::s(15);

/// The controller.
pub(super) struct Namespaces;

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Namespace]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        keys.extend(seen.new.filter(|n| n.terminating()).map(Key::of));
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let namespace = caches.get(key.kind, "", &key.name);
        let Some(namespace) = namespace.filter(|n| n.terminating()) else {
            return;
        };
        let finalizers = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
        if finalizers.is_none_or(Vec::is_empty) {
            return;
        }
        // Pods first, and nothing else before the last of them is gone (KEP-5080).
        let others = Kind::ALL.iter().filter(|k| k.namespaced() && **k != Kind::Pod);
        let others: Vec<Kind> = others.copied().collect();
        for kinds in [&[Kind::Pod][..], &others] {
            for &kind in kinds {
                delete_all(kind, &key.name, sync);
            }
            for &kind in kinds {
                let list = sync.list_request(kind, &key.name);
                sync.ask(list, |response| match found(response) {
                    Some([]) => Vec::new(),
                    Some(items) => vec![Step::Stop(wait_for(items))],
                    None => vec![Step::Fail],
                });
            }
        }
        let mut done = (**namespace).clone();
        if let Some(spec) = done.body_mut().get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("finalizers".into(), Value::Array(Vec::new()));
        }
        sync.finalize(done);
    }
}

fn delete_all(kind: Kind, namespace: &str, sync: &mut Sync) {
    let list = sync.list_request(kind, namespace);
    let maker = Sync::new(sync.user.clone(), sync.now, sync.rng.clone());
    sync.ask(list, move |response| {
        let Some(items) = found(response) else {
            return vec![Step::Fail];
        };
        let alive = items.iter().filter(|o| !o.terminating());
        let delete = |o: &Arc<Object>| maker.delete_request(o, Propagation::Background);
        alive.map(|o| Step::Request(delete(o))).collect()
    });
}

/// What a list holds; nothing where the kind's definition isn't installed.
fn found(response: &Response) -> Option<&[Arc<Object>]> {
    match response {
        Err(status) if status.code == 404 => Some(&[]),
        _ => items_in(response),
    }
}

/// Half of what the slowest is expected to take, and a second, as the real one.
fn wait_for(items: &[Arc<Object>]) -> Span {
    let estimate = |o: &Arc<Object>| match o.kind {
        Kind::Pod => o.meta.deletion_grace_seconds.unwrap_or(0),
        _ => FINALIZERS.0 / 1_000_000,
    };
    let slowest = items.iter().map(estimate).max().unwrap_or(0);
    Span::s(slowest / 2 + 1)
}
