//! The side of the model: a simulated world with an API server and all controllers, and nobody else.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_sim::actor_boilerplate;
use ivory_sim::controllers::spawn_all;
use ivory_sim::kube::{ApiServer, ChangeType, REMEMBERED, Request, Response, Verb};
use ivory_sim::time::Span;
use ivory_sim::world::{Actor, ActorId, Cx, Input, Kube, KubeId, Ticket, World};
use serde_json::{Value, json};

use super::play::{self, NODE, Outcome, Side};
use crate::conformance::AGENT;
use crate::conformance::ask::{Ask, Memory, Raw};
use crate::conformance::model;
use crate::conformance::script::Script;

/// Who writes what scripts ask for, and keeps the last answer.
#[derive(Clone, Default)]
struct Writer {
    last: Option<(Ticket, Response)>,
}

impl Actor for Writer {
    fn name(&self) -> &str {
        "user/conformance"
    }
    fn on(&mut self, _: &mut Cx<'_>, input: Input) {
        if let Input::Response(ticket, response) = input {
            self.last = Some((ticket, response));
        }
    }
    actor_boilerplate!();
}

/// The simulated world.
struct Simulated {
    world: World,
    kube: KubeId,
    writer: ActorId,
    follows: Vec<Kind>,
    /// Changes up to this version were given out.
    told: u64,
}

/// Plays a script there.
pub(super) fn play(script: &Script) -> anyhow::Result<Vec<Outcome>> {
    let mut memory = Memory::new("the-namespace");
    let mut side = Simulated::new(script, &memory.namespace)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(play::play(&mut side, script, &mut memory))
}

impl Simulated {
    fn new(script: &Script, namespace: &str) -> anyhow::Result<Self> {
        let mut world = World::new(7);
        let kube = world.add_kube(Kube::new(ApiServer::new()));
        world.kube_mut(kube).history = REMEMBERED;
        let writer = world.spawn(kube, Arc::new(Writer::default()), None, None);
        spawn_all(&mut world, kube);
        let mut side = Self { world, kube, writer, follows: play::follows(script)?, told: 0 };
        // It was heard of in the far future, so that nobody has to keep it alive.
        let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2099-01-01T00:00:00Z"}]);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": {"conditions": ready}});
        for object in [model::namespace("kube-node-lease"), model::namespace(namespace), node] {
            let object = Object::from_value(object)?;
            let made = side.ask(Request::new(AGENT, Verb::Create(Arc::new(object))))?;
            made.map_err(|status| anyhow::anyhow!("{status}"))?;
        }
        side.world.advance(Span::s(2));
        side.told = side.world.kube(kube).api.resource_version();
        Ok(side)
    }

    fn ask(&mut self, request: Request) -> anyhow::Result<Response> {
        let ticket = self.world.submit(self.writer, self.kube, request);
        let answered = |world: &World, writer: ActorId| {
            let last = world.actor::<Writer>(writer)?.last.clone();
            last.filter(|(of, _)| *of == ticket).map(|(_, response)| response)
        };
        loop {
            if let Some(response) = answered(&self.world, self.writer) {
                return Ok(response);
            }
            anyhow::ensure!(self.world.step(), "no answer came");
        }
    }
}

impl Side for Simulated {
    fn now(&self) -> jiff::Timestamp {
        self.world.now().timestamp()
    }

    async fn answer(&mut self, ask: &Ask<'_>) -> anyhow::Result<Raw> {
        match model::request(ask) {
            Ok(request) => Ok(model::raw(ask, self.ask(request)?)),
            Err(stop) => Ok(stop.raw()),
        }
    }

    async fn pass(&mut self) -> anyhow::Result<Vec<(Value, bool)>> {
        self.world.advance(Span::s(1));
        let api = &self.world.kube(self.kube).api;
        let changes = api.changes_since(self.told, None).map_err(|e| anyhow::anyhow!("{e}"))?;
        let changes = changes.filter(|change| self.follows.contains(&change.object.kind));
        let changes = changes
            .map(|change| (change.object.to_value(), change.what == ChangeType::Deleted))
            .collect();
        self.told = api.resource_version();
        Ok(changes)
    }
}
