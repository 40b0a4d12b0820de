//! Events as client-go's recorder writes them: the first of its kind is created, each repetition counts up.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::hash::digest;
use ivory_core::object::time_text;
use ivory_core::{Kind, Object};
use serde_json::json;

use crate::node::requests;
use crate::world::{Cx, Ticket};

/// Writes Events for one component. Failures to write one are nobody's concern.
#[derive(Clone, Debug)]
pub struct Recorder {
    component: &'static str,
    /// UID, and digest of reason and message → the Event's name and how often it happened.
    known: BTreeMap<(Arc<str>, u64), (Arc<str>, i64)>,
}

impl Recorder {
    /// How many kinds of Events are remembered; client-go's cache has as many.
    const REMEMBERED: usize = 4096;

    /// A recorder that signs with a component's name.
    #[must_use]
    pub fn new(component: &'static str) -> Self {
        Self { component, known: BTreeMap::new() }
    }

    /// Records that something happened to an object. `normal` false makes it a warning.
    pub fn record(
        &mut self,
        cx: &mut Cx<'_>,
        about: &Object,
        normal: bool,
        reason: &str,
        message: &str,
    ) -> Ticket {
        let key = (about.meta.uid.clone(), digest(&(reason, message)));
        let namespace: Arc<str> = if about.meta.namespace.is_empty() {
            "default".into()
        } else {
            about.meta.namespace.clone()
        };
        let now = time_text(cx.clock().timestamp());
        let verb = if let Some((name, count)) = self.known.get_mut(&key) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": now});
            requests::merge(Kind::Event, &namespace, name, patch)
        } else {
            // Real names end in the time in hexadecimal; equal times need something more.
            let name: Arc<str> =
                format!("{}.{:016x}", about.meta.name, cx.now().0 as u64 ^ key.1).into();
            if self.known.len() >= Self::REMEMBERED {
                self.known.clear();
            }
            self.known.insert(key, (name.clone(), 1));
            let mut event = Object::new(Kind::Event, &namespace, &name);
            let body = event.body_mut();
            body.insert(
                "involvedObject".into(),
                json!({
                    "apiVersion": about.kind.api_version(), "kind": about.kind.name(),
                    "namespace": &*about.meta.namespace, "name": &*about.meta.name, "uid": &*about.meta.uid,
                }),
            );
            body.insert("type".into(), if normal { "Normal" } else { "Warning" }.into());
            body.insert("reason".into(), reason.into());
            body.insert("message".into(), message.into());
            body.insert("source".into(), json!({"component": self.component}));
            body.insert("reportingComponent".into(), self.component.into());
            body.insert("reportingInstance".into(), "".into());
            body.insert("count".into(), 1.into());
            body.insert("firstTimestamp".into(), now.clone().into());
            body.insert("lastTimestamp".into(), now.into());
            requests::create(event)
        };
        cx.submit(requests::request(self.component, verb))
    }
}
