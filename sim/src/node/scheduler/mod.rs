//! The scheduler as an actor: finds Pods without a node, chooses one for each, binds. It keeps its own
//! caches, which lag, and remembers what it has bound until it sees that. It does not preempt.

mod affinity;
mod choose;
mod claims;
mod queue;
mod spread;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::object::time_text;
use ivory_core::read::Selector;
use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use crate::kube::{Response, Verb};
use crate::node::events::Recorder;
use crate::node::json::items;
use crate::node::requests;
use crate::time::{Span, Time};
use crate::world::informer::Learned;
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Informer, Input, Ticket};
use claims::{Claim, SELECTED_NODE};
use queue::Queue;
use view::NodeView;

/// How long one attempt takes.
const CYCLE: Span = Span::ms(5);
/// How long a Pod waits for its volumes to be made on the chosen node (`bindTimeoutSeconds`).
const BIND_TIMEOUT: Span = Span::s(600);
const NAME: &str = "default-scheduler";

/// The scheduler.
#[derive(Clone, Default)]
pub struct Scheduler {
    caches: Option<Caches>,
    queue: Queue,
    /// Bound, or about to be, and not yet seen as bound: the Pod and its node.
    assumed: BTreeMap<Arc<str>, (Arc<Object>, Arc<str>)>,
    /// Pods whose volumes are being made.
    provisioning: BTreeMap<Arc<str>, Provisioning>,
    asked: BTreeMap<Ticket, Asked>,
    recorder: Option<Recorder>,
    wake_at: Option<Time>,
}

#[derive(Clone)]
struct Caches {
    pods: Informer,
    nodes: Informer,
    claims: Informer,
    volumes: Informer,
    classes: Informer,
}

#[derive(Clone)]
struct Provisioning {
    pod: Arc<Object>,
    node: Arc<str>,
    claims: Vec<Arc<str>>,
    deadline: Time,
    /// Whether all claims were seen with the chosen node; from then on its loss means that it can't be made there.
    announced: bool,
}

#[derive(Clone)]
enum Asked {
    Bind(Arc<Object>, Arc<str>),
    Claim(Arc<str>),
}

impl Scheduler {
    fn learn(&mut self, cx: &mut Cx<'_>, input: &Input) -> bool {
        let Some(caches) = &mut self.caches else {
            return false;
        };
        match caches.pods.learn(input) {
            Learned::NotMine => {}
            Learned::All => {
                self.list_pods(cx.now());
                return true;
            }
            Learned::One { old, new, .. } => {
                self.pod_changed(old.as_deref(), new.as_ref(), cx.now());
                return true;
            }
        }
        let mut others =
            [&mut caches.nodes, &mut caches.claims, &mut caches.volumes, &mut caches.classes];
        let learned = others.iter_mut().map(|c| c.learn(input));
        let Some(learned) = learned.into_iter().find(|l| !matches!(l, Learned::NotMine)) else {
            return false;
        };
        if let Learned::One { old: Some(old), new: Some(new), .. } = &learned
            && new.kind == Kind::Node
            && same_for_us(old, new)
        {
            return true;
        }
        self.queue.stir();
        self.watch_volumes(cx);
        true
    }

    fn list_pods(&mut self, now: Time) {
        let Some(pods) = self.caches.as_ref().map(|c| c.pods.clone()) else {
            return;
        };
        for uid in self.queue.uids() {
            if !pods.iter().any(|p| p.meta.uid == uid && wants_node(p)) {
                self.queue.remove(&uid);
            }
        }
        self.assumed.retain(|uid, _| pods.iter().any(|p| p.meta.uid == *uid && wants_node(p)));
        for pod in pods.iter() {
            self.pod_changed(None, Some(pod), now);
        }
    }

    fn pod_changed(&mut self, old: Option<&Object>, new: Option<&Arc<Object>>, now: Time) {
        if let Some(old) = old
            && new.is_none_or(|n| n.meta.uid != old.meta.uid)
        {
            self.forget(&old.meta.uid.clone());
            self.queue.stir();
        }
        let Some(new) = new else { return };
        let uid = &new.meta.uid;
        if wants_node(new) {
            if !self.assumed.contains_key(uid) && !self.queue.holds(uid) {
                let priority = new.i64_at(&["spec", "priority"]).unwrap_or(0);
                let key = (new.meta.namespace.clone(), new.meta.name.clone());
                self.queue.put(key, uid.clone(), priority, now);
            }
            return;
        }
        // What matters of a placed Pod: that it was placed, that it ended, and its labels.
        let unchanged = old.is_some_and(|o| {
            !wants_node(o)
                && ended(o) == ended(new)
                && o.terminating() == new.terminating()
                && o.meta.labels == new.meta.labels
        });
        if !unchanged {
            self.forget(uid);
            self.queue.stir();
        }
    }

    fn forget(&mut self, uid: &str) {
        self.queue.remove(uid);
        self.assumed.remove(uid);
        self.provisioning.remove(uid);
    }

    /// Tries the next Pod.
    fn cycle(&mut self, cx: &mut Cx<'_>) {
        let Some(caches) = &self.caches else { return };
        let ready = [&caches.pods, &caches.nodes, &caches.claims, &caches.volumes, &caches.classes];
        if !ready.iter().all(|c| c.synced()) {
            return;
        }
        let Some(next) = self.queue.next(cx.now()) else {
            return;
        };
        let Some(pod) = caches.pods.get(&next.key.0, &next.key.1).cloned() else {
            return self.queue.remove(&next.uid);
        };
        if pod.meta.uid != next.uid || !wants_node(&pod) {
            return self.queue.remove(&next.uid);
        }
        let nodes = self.view(caches);
        let find = |kind: Kind, namespace: &str, name: &str| {
            let cache = match kind {
                Kind::PersistentVolumeClaim => &caches.claims,
                Kind::PersistentVolume => &caches.volumes,
                _ => &caches.classes,
            };
            cache.get(namespace, name).cloned()
        };
        let claims = claims::of(&pod, &find);
        let chosen = match &claims {
            Ok(claims) => choose::choose(&pod, &nodes, claims),
            Err(why) => Err(choose::unavailable(nodes.len(), why)),
        };
        match chosen {
            Ok(index) => {
                let node = nodes[index].node.meta.name.clone();
                self.assumed.insert(pod.meta.uid.clone(), (pod.clone(), node.clone()));
                self.place(cx, pod, node, &claims.unwrap_or_default());
            }
            Err(message) => self.refuse(cx, &pod, &message),
        }
    }

    fn view(&self, caches: &Caches) -> Vec<NodeView> {
        let mut on: BTreeMap<Arc<str>, Vec<Arc<Object>>> = BTreeMap::new();
        for pod in caches.pods.iter().filter(|p| !ended(p)) {
            let node = match pod.str_at(&["spec", "nodeName"]).filter(|n| !n.is_empty()) {
                Some(node) => Arc::from(node),
                None => match self.assumed.get(&pod.meta.uid) {
                    Some((_, node)) => node.clone(),
                    None => continue,
                },
            };
            on.entry(node).or_default().push(pod.clone());
        }
        let view = |node: &Arc<Object>| {
            NodeView::new(node.clone(), on.remove(&node.meta.name).unwrap_or_default())
        };
        caches.nodes.iter().map(view).collect()
    }

    /// The node is chosen: volumes first, then the binding.
    fn place(&mut self, cx: &mut Cx<'_>, pod: Arc<Object>, node: Arc<str>, claims: &[Claim]) {
        let delayed: Vec<_> = claims
            .iter()
            .filter_map(|c| match c {
                Claim::Delayed { claim, .. } => Some(claim.clone()),
                _ => None,
            })
            .collect();
        if delayed.is_empty() {
            return self.bind(cx, pod, node);
        }
        for claim in &delayed {
            if claim.annotation(SELECTED_NODE) == Some(&*node) {
                continue;
            }
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: &*node}}});
            let verb = requests::merge(claim.kind, &claim.meta.namespace, &claim.meta.name, patch);
            let ticket = self.ask(cx, verb);
            self.asked.insert(ticket, Asked::Claim(pod.meta.uid.clone()));
        }
        let provisioning = Provisioning {
            node,
            claims: delayed.iter().map(|c| c.meta.name.clone()).collect(),
            deadline: cx.now() + BIND_TIMEOUT,
            announced: false,
            pod: pod.clone(),
        };
        self.provisioning.insert(pod.meta.uid.clone(), provisioning);
    }

    /// Goes on with the Pods whose volumes are made, and gives up those whose volumes can't be.
    fn watch_volumes(&mut self, cx: &mut Cx<'_>) {
        let Some(caches) = self.caches.clone() else {
            return;
        };
        for (uid, mut waiting) in std::mem::take(&mut self.provisioning) {
            let claims: Vec<_> = waiting
                .claims
                .iter()
                .map(|name| caches.claims.get(&waiting.pod.meta.namespace, name))
                .collect();
            let found = claims.iter().all(Option::is_some);
            if found && claims.iter().flatten().all(|c| claims::bound(c)) {
                self.bind(cx, waiting.pod, waiting.node);
                continue;
            }
            let unbound = || claims.iter().flatten().filter(|c| !claims::bound(c));
            let selected = unbound().all(|c| c.annotation(SELECTED_NODE) == Some(&*waiting.node));
            if !found || cx.now() >= waiting.deadline || (waiting.announced && !selected) {
                self.give_up(&uid, cx.now());
                continue;
            }
            waiting.announced |= selected;
            self.provisioning.insert(uid, waiting);
        }
    }

    fn bind(&mut self, cx: &mut Cx<'_>, pod: Arc<Object>, node: Arc<str>) {
        let verb = requests::bind(&pod, &node);
        let ticket = self.ask(cx, verb);
        self.asked.insert(ticket, Asked::Bind(pod, node));
    }

    fn give_up(&mut self, uid: &str, now: Time) {
        self.assumed.remove(uid);
        self.provisioning.remove(uid);
        self.queue.failed(uid, now);
    }

    fn answered(&mut self, cx: &mut Cx<'_>, ticket: Ticket, response: &Response) {
        match (self.asked.remove(&ticket), response) {
            (Some(Asked::Bind(pod, node)), Ok(_)) => {
                self.queue.remove(&pod.meta.uid);
                cx.note(Milestone::Scheduled { pod: pod.meta.name.clone(), node: node.clone() });
                let text = format!(
                    "Successfully assigned {}/{} to {node}",
                    pod.meta.namespace, pod.meta.name
                );
                self.event(cx, &pod, true, "Scheduled", &text);
            }
            (Some(Asked::Bind(pod, _)), Err(_)) => self.give_up(&pod.meta.uid, cx.now()),
            (Some(Asked::Claim(uid)), Err(_)) => self.give_up(&uid, cx.now()),
            (Some(Asked::Claim(_)), Ok(_)) | (None, _) => {}
        }
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, pod: &Arc<Object>, message: &str) {
        self.queue.hopeless(&pod.meta.uid, cx.now());
        self.event(cx, pod, false, "FailedScheduling", message);
        let before = pod.condition("PodScheduled");
        let is = |key: &str, value: &str| {
            before.and_then(|c| c.get(key)).and_then(Value::as_str) == Some(value)
        };
        if is("status", "False") && is("reason", "Unschedulable") && is("message", message) {
            return;
        }
        cx.note(Milestone::Unschedulable { pod: pod.meta.name.clone(), why: message.to_owned() });
        let since = before
            .filter(|_| is("status", "False"))
            .and_then(|c| c.get("lastTransitionTime"))
            .cloned()
            .unwrap_or_else(|| time_text(cx.now().timestamp()).into());
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastProbeTime": null, "lastTransitionTime": since,
        });
        let patch =
            json!({"metadata": {"uid": &*pod.meta.uid}, "status": {"conditions": [condition]}});
        let verb = requests::patch_status(pod, patch);
        self.ask(cx, verb);
    }

    fn event(&mut self, cx: &mut Cx<'_>, pod: &Object, normal: bool, reason: &str, text: &str) {
        self.recorder
            .get_or_insert_with(|| Recorder::new(NAME))
            .record(cx, pod, normal, reason, text);
    }

    fn ask(&mut self, cx: &mut Cx<'_>, verb: Verb) -> Ticket {
        cx.submit(requests::request("kube-scheduler", verb))
    }

    /// Sets the timer for what comes next, if none is set that rings early enough.
    fn set_timer(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let deadlines = self.provisioning.values().map(|p| p.deadline);
        let Some(at) = self.queue.next_at(now).into_iter().chain(deadlines).min() else {
            return;
        };
        let at = at.max(now + CYCLE);
        if self.wake_at.is_none_or(|set| set <= now || at < set) {
            self.wake_at = Some(at);
            cx.timer(at - now, 0);
        }
    }
}

impl Actor for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match &input {
            Input::Start => {
                let mut open = |kind| Informer::open(cx, kind, None, Selector::default());
                self.caches = Some(Caches {
                    pods: open(Kind::Pod),
                    nodes: open(Kind::Node),
                    claims: open(Kind::PersistentVolumeClaim),
                    volumes: open(Kind::PersistentVolume),
                    classes: open(Kind::StorageClass),
                });
            }
            Input::Timer(_) => {
                if self.wake_at.is_some_and(|at| cx.now() < at) {
                    return;
                }
                self.wake_at = None;
                if self.provisioning.values().any(|p| p.deadline <= cx.now()) {
                    self.watch_volumes(cx);
                }
                self.cycle(cx);
            }
            Input::Response(ticket, response) => self.answered(cx, *ticket, response),
            _ => {
                self.learn(cx, &input);
            }
        }
        self.set_timer(cx);
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        hash.write_usize(self.provisioning.len());
    }

    crate::actor_boilerplate!();
}

/// Whether a Pod is ours to place.
fn wants_node(pod: &Object) -> bool {
    let ours =
        pod.str_at(&["spec", "schedulerName"]).is_none_or(|name| name.is_empty() || name == NAME);
    ours && pod.str_at(&["spec", "nodeName"]).is_none_or(str::is_empty)
        && !pod.terminating()
        && !ended(pod)
        && items(pod, &["spec", "schedulingGates"]).is_empty()
}

/// Whether a Pod has run to its end, and takes no room any more.
fn ended(pod: &Object) -> bool {
    matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

/// Whether a Node's change is nothing that could make a Pod fit.
fn same_for_us(old: &Object, new: &Object) -> bool {
    old.meta.labels == new.meta.labels
        && old.at(&["spec"]) == new.at(&["spec"])
        && old.at(&["status", "allocatable"]) == new.at(&["status", "allocatable"])
}
