//! `kubectl drain` as an actor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Object;
use ivory_core::object::Uid;

use crate::node::requests;
use crate::time::Span;
use crate::world::informer::Learned;
use crate::world::{Actor, Cx, Informer, Input, Ticket};

/// How long kubectl waits after a refusal.
const RETRY: Span = Span::s(5);

/// Evicts the Pods of a node until none is left, those of DaemonSets and those that have ended apart.
#[derive(Clone)]
pub struct Drain {
    name: String,
    node: String,
    pods: Option<Informer>,
    asked: BTreeMap<Ticket, Uid>,
    /// Evictions that were granted.
    granted: BTreeSet<Uid>,
}

impl Drain {
    /// Of a node.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            name: format!("user/drain-{node}"),
            node: node.to_owned(),
            pods: None,
            asked: BTreeMap::new(),
            granted: BTreeSet::new(),
        }
    }

    fn left(&self) -> Vec<Arc<Object>> {
        let stays = |pod: &Object| pod.controller().is_some_and(|o| o.kind == "DaemonSet");
        let all = self.pods.iter().flat_map(Informer::iter);
        all.filter(|p| !stays(p)).cloned().collect()
    }

    fn go_on(&mut self, cx: &mut Cx<'_>) {
        let left = self.left();
        if left.is_empty() {
            return cx.exit(0);
        }
        for pod in left {
            let uid = &pod.meta.uid;
            let done = self.granted.contains(uid) || self.asked.values().any(|u| u == uid);
            if pod.terminating() || done {
                continue;
            }
            let ticket = cx.submit(requests::request("kubectl", requests::evict(&pod)));
            self.asked.insert(ticket, uid.clone());
        }
    }
}

impl Actor for Drain {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match &input {
            Input::Start => self.pods = Some(Informer::pods_of(cx, &self.node)),
            Input::Timer(_) => self.go_on(cx),
            Input::Response(ticket, response) => {
                let Some(uid) = self.asked.remove(ticket) else {
                    return;
                };
                match response {
                    Ok(_) => {
                        self.granted.insert(uid);
                    }
                    // 404: gone meanwhile. 429 and the rest: again.
                    Err(status) if status.code == 404 => {}
                    Err(_) => cx.timer(RETRY, 0),
                }
            }
            _ => {
                let learned = self.pods.as_mut().map_or(Learned::NotMine, |p| p.learn(&input));
                match learned {
                    Learned::All => self.go_on(cx),
                    Learned::One { new: None, .. } if self.left().is_empty() => cx.exit(0),
                    _ => {}
                }
            }
        }
    }

    crate::actor_boilerplate!();
}
