//! Pods of nodes that no longer exist. Left out: the limit on ended Pods (12,500), Pods that were never
//! scheduled (the API server deletes those at once), and the out-of-service taint.

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Step, Sync};
use crate::controllers::support::{conditions, pods};
use crate::kube::Subresource;
use crate::time::Span;

/// How long a node must be missing before its Pods are taken for lost: the quarantine of 40 s and, on average,
/// half of the period of 20 s in which the real one looks.
const QUARANTINE: Span = Span::s(50);

/// The controller.
pub(super) struct PodCollector;

impl Controller for PodCollector {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Node]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::Node if seen.new.is_none() => {
                let stranded = caches.all(Kind::Pod);
                let stranded = stranded.filter(|pod| node(pod) == Some(&*object.meta.name));
                stranded.for_each(|pod| keys.push_after(Key::of(pod), QUARANTINE));
            }
            Kind::Pod if seen.new.is_some() && seen.differs(|pod| node(pod)) => {
                let lost = node(object).is_some_and(|n| caches.get(Kind::Node, "", n).is_none());
                if lost {
                    keys.push_after(Key::of(object), QUARANTINE);
                }
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(pod) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let Some(node) = node(pod).filter(|n| caches.get(Kind::Node, "", n).is_none()) else {
            return;
        };
        let mut lost = (**pod).clone();
        let mut status = lost.at(&["status"]).and_then(|s| s.as_object()).cloned();
        let map = status.get_or_insert_default();
        if !pods::finished(pod) {
            map.insert("phase".into(), "Failed".into());
        }
        let message = "PodGC: node no longer exists";
        let (kind, reason) = ("DisruptionTarget", "DeletionByPodGC");
        conditions::set(map, kind, "True", reason, message, &sync.time_text(), &[]);
        lost.body_mut().insert("status".into(), status.unwrap_or_default().into());
        let mark = sync.update_request(lost, Subresource::Status);
        let delete = sync.delete_now_request(pod);
        let get = sync.get_request(Kind::Node, "", node);
        sync.ask(get, move |response| match response {
            Err(status) if status.code == 404 => {
                vec![Step::Request(mark.clone()), Step::Request(delete.clone())]
            }
            Err(_) => vec![Step::Fail],
            Ok(_) => Vec::new(),
        });
    }
}

fn node(pod: &Object) -> Option<&str> {
    pod.str_at(&["spec", "nodeName"]).filter(|n| !n.is_empty())
}
