//! A world with an API server, the controllers, somebody who writes, and a stand-in for scheduler and kubelet.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, time_text};
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use serde_json::{Value, json};

use super::harness::{NS, objects};
use crate::actor_boilerplate;
use crate::controllers::framework::Manager;
use crate::controllers::{ALL, spawn_all, spawn_apart};
use crate::kube::{ApiServer, Body, DeleteOptions, ObjectRef, Request, Subresource, Verb};
use crate::time::Span;
use crate::world::{Actor, ActorId, Cx, Informer, Input, Kube, KubeId, Learned, World};

/// Writes what a test wants, and keeps what was refused.
#[derive(Clone, Default)]
struct Hand {
    refusals: Vec<String>,
}

impl Actor for Hand {
    fn name(&self) -> &str {
        "user/hand"
    }
    fn on(&mut self, _: &mut Cx<'_>, input: Input) {
        if let Input::Response(_, Err(status)) = input {
            self.refusals.push(status.to_string());
        }
    }
    actor_boilerplate!();
}

/// Places Pods on the node `n1` and lets them do what their label `fate` says: `run`, `ok`, `fail`, else nothing.
#[derive(Clone, Default)]
struct Node {
    pods: Option<Informer>,
}

impl Actor for Node {
    fn name(&self) -> &str {
        "test/node"
    }
    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        if let Input::Start = input {
            self.pods = Some(Informer::open(cx, Kind::Pod, None, Selector::default()));
        }
        let learned = self.pods.as_mut().map(|pods| pods.learn(&input));
        if let Some(Learned::One { new: Some(pod), .. }) = learned
            && let Some(verb) = next(&pod, cx)
        {
            cx.submit(Request::new("kubelet", verb));
        }
    }
    actor_boilerplate!();
}

fn next(pod: &Object, cx: &Cx<'_>) -> Option<Verb> {
    let target = ObjectRef::of(pod);
    if pod.terminating() && pod.meta.deletion_grace_seconds != Some(0) {
        let options = DeleteOptions { grace_s: Some(0), ..DeleteOptions::default() };
        return Some(Verb::Delete { target, options });
    }
    if pod.str_at(&["spec", "nodeName"]).is_none() {
        return Some(Verb::Bind { target, node: "n1".into() });
    }
    if pod.str_at(&["status", "phase"]) != Some("Pending") {
        return None;
    }
    let now = time_text(cx.now().timestamp());
    let ended = json!([{"name": "c", "state": {"terminated": {"finishedAt": now, "exitCode": 0}}}]);
    let status = match pod.label("fate")? {
        "run" => {
            json!({"phase": "Running", "podIP": format!("10.0.0.{}", pod.meta.resource_version % 250),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]})
        }
        "ok" => json!({"phase": "Succeeded", "containerStatuses": ended}),
        "fail" => json!({"phase": "Failed", "containerStatuses": ended}),
        _ => return None,
    };
    Some(Verb::Patch {
        target,
        subresource: Subresource::Status,
        body: Body::Merge(Arc::new(json!({"status": status}))),
    })
}

/// The world of one test.
pub(super) struct Lab {
    pub(super) world: World,
    pub(super) kube: KubeId,
    hand: ActorId,
}

impl Lab {
    /// All controllers in one actor, as in reality.
    pub(super) fn new() -> Self {
        Self::with(|world, kube| {
            spawn_all(world, kube);
        })
    }

    /// Every controller an actor of its own.
    pub(super) fn apart() -> Self {
        Self::with(|world, kube| {
            spawn_apart(world, kube);
        })
    }

    /// All controllers in one actor that can be cut off from the API server, since it runs on a node.
    pub(super) fn elsewhere(node: &str) -> Self {
        let name = format!("kubelet/{node}");
        Self::with(|world, kube| {
            world.spawn(kube, Arc::new(Manager::new(&name, ALL)), None, None);
        })
    }

    fn with(controllers: impl Fn(&mut World, KubeId)) -> Self {
        let mut world = World::new(7);
        let kube = world.add_kube(Kube::new(ApiServer::new()));
        world.kube_mut(kube).history = crate::kube::REMEMBERED;
        let hand = world.spawn(kube, Arc::new(Hand::default()), None, None);
        let mut lab = Self { world, kube, hand };
        for name in [NS, "kube-node-lease"] {
            lab.write(Verb::Create(Arc::new(Object::new(Kind::Namespace, "", name))));
        }
        // It was heard of in the far future, so that no test has to keep it alive.
        lab.create("- {kind: Node, name: n1, status: {conditions: [{type: Ready, status: 'True', lastHeartbeatTime: '2099-01-01T00:00:00Z'}]}}\n");
        lab.world.spawn(kube, Arc::new(Node::default()), None, None);
        controllers(&mut lab.world, kube);
        lab.run(1);
        lab
    }

    /// Lets so many seconds pass.
    pub(super) fn run(&mut self, seconds: i64) {
        self.world.advance(Span::s(seconds));
    }

    /// Sends a request.
    pub(super) fn write(&mut self, verb: Verb) {
        self.world.submit(self.hand, self.kube, Request::new("kubectl", verb));
    }

    /// Creates the objects of a list in the harness' shorthand.
    pub(super) fn create(&mut self, yaml: &str) {
        for mut object in objects(yaml) {
            object.meta.uid = "".into();
            (object.meta.resource_version, object.meta.generation) = (0, 0);
            object.meta.created_at = None;
            self.write(Verb::Create(Arc::new(object)));
        }
    }

    /// Changes an object by a JSON merge patch.
    pub(super) fn patch(&mut self, target: &ObjectRef, patch: Value) {
        self.write(Verb::Patch {
            target: target.clone(),
            subresource: Subresource::None,
            body: Body::Merge(Arc::new(patch)),
        });
    }

    /// Deletes an object.
    pub(super) fn delete(&mut self, target: &ObjectRef, propagation: Propagation) {
        self.write(Verb::Delete {
            target: target.clone(),
            options: DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() },
        });
    }

    /// An object, which must exist.
    pub(super) fn get(&self, target: &ObjectRef) -> Arc<Object> {
        let found =
            self.world.kube(self.kube).api.get(target.kind, &target.namespace, &target.name);
        found.unwrap_or_else(|| panic!("no {target:?}")).clone()
    }

    /// All objects of a kind.
    pub(super) fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.world.kube(self.kube).api.list(kind, None).cloned().collect()
    }

    /// The names of all objects of a kind.
    pub(super) fn names(&self, kind: Kind) -> Vec<String> {
        self.all(kind).iter().map(|o| o.meta.name.to_string()).collect()
    }

    /// What the API server refused the writer, asserted to be nothing; and that nothing is written any more.
    pub(super) fn is_quiet(&mut self) {
        let refusals = &self.world.actor::<Hand>(self.hand).expect("alive").refusals;
        assert_eq!(*refusals, Vec::<String>::new());
        let before = self.world.kube(self.kube).api.resource_version();
        self.run(300);
        let api = &self.world.kube(self.kube).api;
        let late: Vec<String> = api
            .changes_since(before, None)
            .expect("remembered")
            .map(|c| format!("{:?} {:?}", c.what, c.object))
            .collect();
        assert_eq!(late, Vec::<String>::new(), "writes of a system that should be quiet");
    }
}

/// An object of the tests' namespace.
pub(super) fn at(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, if kind.namespaced() { NS } else { "" }, name)
}
