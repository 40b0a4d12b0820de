//! The simulated world as the world of a story. What depends on the kubelets, the operator and the
//! clients is left to a [`Site`], which whoever assembles the world implements.

use std::sync::Arc;

use ivory_core::{Kind, Object};

use super::driver::{Ask, Break, ClientFacts, Driver, Refusal};
use super::language::{ClientSpec, Cutting, SqlAsk, Whose};
use super::resolve::Ref;
use crate::kube::{
    Body, DeleteOptions, ObjectRef, Request, Response, Status, Subresource, UnknownFields, Verb,
};
use crate::time::{Span, Time};
use crate::world::journal::{Entry, Milestone};
use crate::world::{Actor, Cut, Cx, Finding, Input, KubeId, Matcher, Point, Rule, World};

/// How long `kubectl` waits for an answer.
pub const PATIENCE: Span = Span::s(60);

/// How late a slow message comes.
const SLOW: Span = Span::s(3);

/// What a world has beside its API servers: nodes, operators, clients, checkers.
pub trait Site {
    /// Breaks or heals something that is no message: Pods, containers, nodes, operators, images.
    ///
    /// # Errors
    /// A sentence, when there is nothing to break.
    fn fault(&mut self, world: &mut World, kube: KubeId, fault: &Break) -> Result<(), String>;

    /// Starts a client.
    ///
    /// # Errors
    /// A sentence, when it can't be started.
    fn connect(
        &mut self,
        world: &mut World,
        kube: KubeId,
        client: &ClientSpec,
    ) -> Result<(), String>;

    /// Stops a client; what it knows stays.
    fn disconnect(&mut self, world: &mut World, name: &str);

    /// What a client knows, living or stopped.
    fn client(&self, world: &World, name: &str) -> Option<ClientFacts>;

    /// Runs a statement with the credentials of a Secret of a namespace, letting time pass until the answer.
    ///
    /// # Errors
    /// A sentence: the error of the server or the network, or how the answer differs.
    fn sql(
        &mut self,
        world: &mut World,
        kube: KubeId,
        secret: (&str, &str),
        ask: &SqlAsk,
    ) -> Result<(), String>;
}

/// A world and its site.
#[derive(Clone)]
pub struct WorldDriver<S> {
    /// The world.
    pub world: World,
    /// What is in it.
    pub site: S,
    /// What breaks or heals at a moment to come.
    later: Vec<(Time, KubeId, Break)>,
}

impl<S> WorldDriver<S> {
    /// A world in which a story can be played.
    pub fn new(world: World, site: S) -> Self {
        Self { world, site, later: Vec::new() }
    }
}

/// Breaks or heals something in a world and its site, at once.
///
/// # Errors
/// A sentence, when there is nothing to break.
pub fn strike(
    world: &mut World,
    site: &mut impl Site,
    kube: KubeId,
    fault: &Break,
) -> Result<(), String> {
    match fault {
        Break::Partition(a, b) => world.partition(kube, a, b),
        Break::HealNetwork => world.heal_network(),
        Break::ApiOutage(span) => {
            let from = world.now();
            let down = Status::unavailable("connection refused");
            let how = Cut::Refuse(Box::new(down));
            world.faults.api_outage("outage", kube, from, *span, how);
            world.end_watches(kube);
        }
        Break::Messages(whose, cutting, every, span) => {
            cut_messages(world, kube, *whose, *cutting, (*every, *span));
        }
        Break::Refuse(kind, updates, because, span) => {
            let status = Status::refused(*kind, because);
            let (creates, alters) = match updates {
                false => (Some(*kind), None),
                true => (None, Some(*kind)),
            };
            let what = Matcher { creates, alters, kube: Some(kube), ..Matcher::default() };
            cut_for(world, *span, what, Point::Arrived, Cut::Refuse(Box::new(status)), 1);
        }
        other => return site.fault(world, kube, other),
    }
    Ok(())
}

fn cut_messages(
    world: &mut World,
    kube: KubeId,
    whose: Whose,
    cutting: Cutting,
    (every, span): (u32, Span),
) {
    let refuse = |status: Status| (Point::Arrived, Cut::Refuse(Box::new(status)));
    let (point, cut) = match cutting {
        Cutting::Lost => (Point::Applied, Cut::Lose),
        Cutting::Dropped => (Point::Sent, Cut::Lose),
        Cutting::Slow => (Point::Sent, Cut::Delay(SLOW)),
        Cutting::Doubled => (Point::Sent, Cut::Double),
        Cutting::Conflict => refuse(Status::conflicting()),
        Cutting::Error => refuse(Status::internal("etcdserver: leader changed")),
        Cutting::Throttled => refuse(Status::throttled()),
    };
    let sender = match whose {
        Whose::Operator => Some(crate::lab::OPERATOR.into()),
        Whose::Everybody => None,
    };
    let what = Matcher { sender, kube: Some(kube), api: Some(true), ..Matcher::default() };
    cut_for(world, span, what, point, cut, every);
}

fn cut_for(world: &mut World, span: Span, what: Matcher, point: Point, cut: Cut, every: u32) {
    let from = world.now();
    let until = Some(from + span);
    let name = "story".into();
    world.faults.add(Rule { name, from, until, left: None, every, seen: 0, what, point, cut });
}

impl<S: Site + Clone + 'static> Driver for WorldDriver<S> {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn kubes(&self) -> usize {
        self.world.kube_ids().count()
    }

    fn advance_to(&mut self, until: Time) {
        while let Some(index) = self.later.iter().position(|l| l.0 <= until) {
            let (at, kube, fault) = self.later.remove(index);
            self.world.advance_to(at);
            // What is not there any more can't break.
            let _ = strike(&mut self.world, &mut self.site, kube, &fault);
        }
        self.world.advance_to(until);
    }

    fn ask(&mut self, kube: KubeId, ask: &Ask) -> Result<(), Refusal> {
        let person = Person { request: Some(request(ask)), answer: None };
        let id = self.world.spawn(kube, Arc::new(person), None, None);
        let end = self.world.now() + PATIENCE;
        loop {
            let answer = self.world.actor::<Person>(id).and_then(|p| p.answer.clone());
            if let Some(answer) = answer {
                self.world.kill(id, 0);
                return answer.map(drop).map_err(refusal);
            }
            if self.world.next_at().is_none_or(|at| at > end) {
                self.world.kill(id, 1);
                return Err(Refusal {
                    code: 504,
                    message: "the API server does not answer".to_owned(),
                    fields: Vec::new(),
                });
            }
            self.world.step();
        }
    }

    fn get(&self, kube: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.world.kube(kube).api.get(kind, namespace, name).cloned()
    }

    fn list(&self, kube: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.world.kube(kube).api.list(kind, namespace).cloned().collect()
    }

    fn version(&self) -> u64 {
        let kubes = self.world.kube_ids();
        kubes.map(|k| self.world.kube(k).api.resource_version()).sum()
    }

    fn journal(&self) -> &[Entry] {
        self.world.journal()
    }

    fn remark(&mut self, what: Milestone) {
        self.world.remark(what);
    }

    fn fault(&mut self, kube: KubeId, fault: &Break) -> Result<(), String> {
        if let Break::Operator(_) = fault {
            // The story decides when the operator runs.
            self.later.retain(|l| !matches!(l.2, Break::Operator(_)));
        }
        strike(&mut self.world, &mut self.site, kube, fault)
    }

    fn connect(&mut self, kube: KubeId, client: &ClientSpec) -> Result<(), String> {
        self.site.connect(&mut self.world, kube, client)
    }

    fn disconnect(&mut self, name: &str) {
        self.site.disconnect(&mut self.world, name);
    }

    fn client(&self, name: &str) -> Option<ClientFacts> {
        self.site.client(&self.world, name)
    }

    fn sql(
        &mut self,
        kube: KubeId,
        namespace: &str,
        secret: &str,
        ask: &SqlAsk,
    ) -> Result<(), String> {
        self.site.sql(&mut self.world, kube, (namespace, secret), ask)
    }

    fn findings(&self) -> Vec<Finding> {
        self.world.findings().to_vec()
    }

    fn digest(&self) -> u64 {
        self.world.trace.digest()
    }

    fn trace(&self) -> &str {
        self.world.trace.text()
    }

    fn fork(&self) -> Option<Box<dyn Driver>> {
        Some(Box::new(self.clone()))
    }

    fn world(&mut self) -> Option<&mut World> {
        Some(&mut self.world)
    }

    fn fault_at(&mut self, at: Time, kube: KubeId, fault: Break) {
        self.later.push((at, kube, fault));
    }
}

/// What `kubectl` sends.
#[must_use]
pub fn request(ask: &Ask) -> Request {
    let mut request = Request::new("kubectl", verb(ask));
    request.manager = Some("kubectl".into());
    request.unknown_fields = UnknownFields::Strict;
    request
}

fn verb(ask: &Ask) -> Verb {
    let target = |r: &Ref| ObjectRef::new(r.kind, &r.namespace, &r.name);
    match ask {
        Ask::Apply(object) => Verb::Patch {
            target: ObjectRef::of(object),
            subresource: Subresource::None,
            body: Body::Apply { object: object.clone(), force: true },
        },
        Ask::Merge { of, with } => Verb::Patch {
            target: target(of),
            subresource: Subresource::None,
            body: Body::Merge(Arc::new(with.clone())),
        },
        Ask::Delete { of, grace_s, propagation } => Verb::Delete {
            target: target(of),
            options: DeleteOptions {
                propagation: *propagation,
                grace_s: *grace_s,
                ..DeleteOptions::default()
            },
        },
    }
}

/// A refusal in the words of the story's language.
#[must_use]
pub fn refusal(status: Status) -> Refusal {
    let fields = status.causes.into_iter();
    Refusal {
        code: status.code,
        message: status.message,
        fields: fields.filter(|c| !c.field.is_empty()).map(|c| (c.field, c.message)).collect(),
    }
}

/// The name of somebody who asks by hand.
pub const PERSON: &str = "user/kubectl";

/// Somebody outside who sends one request and waits for its answer.
#[derive(Clone)]
struct Person {
    request: Option<Request>,
    answer: Option<Response>,
}

impl Actor for Person {
    fn name(&self) -> &str {
        PERSON
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => {
                if let Some(request) = self.request.take() {
                    cx.submit(request);
                }
            }
            Input::Response(_, response) => self.answer = Some(response),
            _ => {}
        }
    }

    crate::actor_boilerplate!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::ApiServer;
    use crate::world::Kube;
    use serde_json::json;

    #[derive(Clone)]
    struct Nothing;

    impl Site for Nothing {
        fn fault(&mut self, _: &mut World, _: KubeId, _: &Break) -> Result<(), String> {
            Err("there is nothing here".into())
        }
        fn connect(&mut self, _: &mut World, _: KubeId, _: &ClientSpec) -> Result<(), String> {
            Ok(())
        }
        fn disconnect(&mut self, _: &mut World, _: &str) {}
        fn client(&self, _: &World, _: &str) -> Option<ClientFacts> {
            None
        }
        fn sql(
            &mut self,
            _: &mut World,
            _: KubeId,
            _: (&str, &str),
            _: &SqlAsk,
        ) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn people_reach_the_api_server_through_the_pipeline() {
        let mut world = World::new(1);
        let kube = world.add_kube(Kube::new(ApiServer::new()));
        let mut driver = WorldDriver::new(world, Nothing);
        let object = |value| Arc::new(Object::from_value(value).expect("an object"));
        let namespace =
            object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "db"}}));
        let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "db"}, "data": {"a": "1"}});
        driver.ask(kube, &Ask::Apply(namespace)).expect("created");
        driver.ask(kube, &Ask::Apply(object(settings))).expect("created");
        let of = Ref { kind: Kind::ConfigMap, namespace: "db".into(), name: "c".into() };
        let with = json!({"data": {"a": "2"}});
        driver.ask(kube, &Ask::Merge { of: of.clone(), with }).expect("merged");
        let found = driver.get(kube, Kind::ConfigMap, "db", "c").expect("stored");
        assert_eq!(found.str_at(&["data", "a"]), Some("2"));
        assert_eq!(&*found.meta.managed[0].manager, "kubectl");
        let delete = Ask::Delete { of, grace_s: None, propagation: None };
        driver.ask(kube, &delete).expect("deleted");
        let refusal = driver.ask(kube, &delete).expect_err("gone");
        assert_eq!(refusal.code, 404, "{refusal:?}");
        assert!(driver.now() > Time::START, "requests take time");
        driver.fault(kube, &Break::ApiOutage(Span::s(600))).expect("an outage");
        let refusal = driver.ask(kube, &delete).expect_err("nobody listens");
        assert_eq!(refusal.code, 503, "{refusal:?}");
    }
}
