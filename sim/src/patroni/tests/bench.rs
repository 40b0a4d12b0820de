//! A world with a bare API server and members that are spawned by hand: no kubelet, no operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::command::{Command, UserStatement};
use ivory_core::crypto::scram;
use ivory_core::object::Object;
use ivory_core::read::{Output, Target};
use ivory_core::{Kind, Sensitive};
use serde_json::{Value, json};

use crate::client::{Client, ClientStart};
use crate::disk::Volume;
use crate::kube::{ApiServer, Body, ObjectRef, Request, Subresource, Verb};
use crate::patroni::config::{MemberConfig, Version};
use crate::patroni::rest::{RestReply, RestRequest};
use crate::patroni::{Member, MemberStart, check};
use crate::pgbackrest::server::{BackrestServer, ServerStart};
use crate::pgbackrest::{RepoPlace, RepoTarget};
use crate::postgres::auth::Certificate;
use crate::promises::data_rewritten_only_on_request::{identifier, strangers};
use crate::promises::one_writable::violations;
use crate::time::{Span, Time};
use crate::world::call::{Call, Reply};
use crate::world::{Actor, ActorId, Cx, Input, Kube, KubeId, Place, Signal, Where, World};

pub const NS: &str = "db";
pub const SCOPE: &str = "hippo-ha";
const CLUSTER: &str = "hippo";

/// A cluster of members.
pub struct Bench {
    pub world: World,
    pub kube: KubeId,
    pub version: Version,
    pub dynamic: Value,
    pub tester: ActorId,
    pub alive: BTreeMap<String, ActorId>,
    /// Repositories of members that are started from now on.
    pub repositories: Vec<RepoTarget>,
    /// `bootstrap.method`, and what else differs in the cluster's file.
    pub method: Option<&'static str>,
    /// Extra YAML of a member's own file.
    pub extra: BTreeMap<String, String>,
    uids: BTreeMap<String, Arc<str>>,
}

/// Somebody who asks one thing and keeps the answer.
#[derive(Clone, Default)]
pub struct Tester {
    pub exec: Option<(Target, Command)>,
    pub call: Option<(Where, Call)>,
    pub output: Option<Output>,
    pub reply: Option<Reply>,
    pub done_at: Option<Time>,
}

impl Actor for Tester {
    crate::actor_boilerplate!();
    fn name(&self) -> &str {
        "user/tester"
    }
    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => {
                if let Some((target, command)) = &self.exec {
                    cx.exec(target, command, Span::s(120));
                }
                if let Some((to, call)) = &self.call {
                    cx.call(to.clone(), call.clone(), Span::s(120));
                }
            }
            Input::Output(_, Ok(output)) => {
                self.output = Some(output);
                self.done_at = Some(cx.now());
            }
            Input::Reply(_, Ok(reply)) => {
                self.reply = Some(reply);
                self.done_at = Some(cx.now());
            }
            _ => {}
        }
    }
}

pub fn name(index: usize) -> String {
    format!("pod{index}")
}

impl Bench {
    pub fn new(seed: u64, version: Version, dynamic: Value) -> Self {
        let mut world = World::new(seed);
        let kube = world.add_kube(Kube::new(ApiServer::default()));
        let tester = world.spawn(kube, Arc::new(Tester::default()), None, None);
        let mut bench = Self {
            world,
            kube,
            version,
            dynamic,
            tester,
            alive: BTreeMap::new(),
            repositories: Vec::new(),
            method: None,
            extra: BTreeMap::new(),
            uids: BTreeMap::new(),
        };
        let namespace = Object::new(Kind::Namespace, "", NS);
        bench.request(Verb::Create(Arc::new(namespace)));
        let account = Object::new(Kind::ServiceAccount, NS, "default");
        bench.request(Verb::Create(Arc::new(account)));
        let mut service = Object::new(Kind::Service, NS, SCOPE);
        service
            .body_mut()
            .insert("spec".into(), json!({"ports": [{"name": "ivory", "port": 5432}]}));
        bench.request(Verb::Create(Arc::new(service)));
        bench
    }

    /// Another cluster of the same scope's name in a second Kubernetes of this world.
    pub fn beside(mut self, dynamic: Value) -> Self {
        let kube = self.world.add_kube(Kube::new(ApiServer::default()));
        let tester = self.world.spawn(kube, Arc::new(Tester::default()), None, None);
        self.kube = kube;
        self.tester = tester;
        self.dynamic = dynamic;
        self.alive.clear();
        for object in
            [Object::new(Kind::Namespace, "", NS), Object::new(Kind::ServiceAccount, NS, "default")]
        {
            self.request(Verb::Create(Arc::new(object)));
        }
        self
    }

    /// T/L/R = 20/5/5, as most of the measurements.
    pub fn quick() -> Value {
        json!({"ttl": 20, "loop_wait": 5, "retry_timeout": 5, "postgresql": {"use_pg_rewind": true}})
    }

    /// A healthy cluster of `n` members, all streaming, twenty seconds old.
    pub fn healthy(seed: u64, version: Version, dynamic: Value, n: usize) -> Self {
        let mut bench = Self::new(seed, version, dynamic);
        for index in 0..n {
            bench.add(&name(index));
        }
        bench.run(20.0);
        assert!(bench.leader().is_some(), "no leader:\n{}", bench.journal());
        bench
    }

    pub fn request(&mut self, verb: Verb) {
        let request = Request::new("tester", verb);
        self.world.submit(self.tester, self.kube, request);
        self.world.advance(Span::ms(10));
    }

    fn config(&self, name: &str, index: usize) -> MemberConfig {
        let mut cluster = json!({
            "scope": SCOPE,
            "kubernetes": {
                "namespace": NS, "scope_label": "patroni", "role_label": "role", "use_endpoints": true,
                "labels": {"cluster": "hippo"},
            },
            "bootstrap": {"dcs": self.dynamic, "initdb": ["data-checksums", {"waldir": "/pgdata/pg18_wal"}]},
        });
        if let Some(method) = self.method {
            cluster["bootstrap"]["method"] = method.into();
        }
        let env = BTreeMap::from(
            [
                ("PATRONI_NAME", name.to_owned()),
                ("PATRONI_KUBERNETES_POD_IP", format!("10.0.0.{index}")),
                ("PATRONI_KUBERNETES_PORTS", "- {name: ivory, port: 5432, protocol: TCP}".into()),
                ("PATRONI_POSTGRESQL_CONNECT_ADDRESS", format!("{name}.hippo-pods:5432")),
                ("PATRONI_RESTAPI_CONNECT_ADDRESS", format!("{name}.hippo-pods:8008")),
                ("PATRONI_POSTGRESQL_DATA_DIR", "/pgdata/pg18".into()),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        let own = self.extra.get(name).map_or("", String::as_str);
        MemberConfig::read(&[&cluster.to_string(), own], &env, self.version).expect("readable")
    }

    /// Makes a Pod and its volume, and starts the member.
    pub fn add(&mut self, name: &str) {
        let index = self.uids.len();
        let mut pod = Object::new(Kind::Pod, NS, name);
        pod.meta.labels = Arc::new(BTreeMap::from([
            ("cluster".to_owned(), "hippo".to_owned()),
            ("patroni".to_owned(), SCOPE.to_owned()),
        ]));
        let containers = json!([{"name": "database", "image": "ivory"}]);
        let spec = json!({"nodeName": format!("node{index}"), "containers": containers});
        pod.body_mut().insert("spec".into(), spec);
        self.request(Verb::Create(Arc::new(pod)));
        self.request(Verb::Patch {
            target: ObjectRef::new(Kind::Pod, NS, name),
            subresource: Subresource::Status,
            body: Body::Merge(Arc::new(json!({"status": {"podIP": format!("10.0.0.{index}")}}))),
        });
        let uid =
            self.world.kube(self.kube).api.get(Kind::Pod, NS, name).expect("made").meta.uid.clone();
        self.uids.insert(name.into(), uid);
        self.world.kube_mut(self.kube).add_volume(name, Volume::of(1 << 30));
        self.start(name);
    }

    /// Starts the member of an existing Pod.
    pub fn start(&mut self, name: &str) {
        let index = self.uids.keys().position(|n| n == name).expect("known");
        let config = self.config(name, index);
        let member = Member::new(MemberStart {
            wal_volume: None,
            config,
            volume: name.into(),
            certificate: None,
            repositories: self.repositories.clone(),
            config_hash: "".into(),
            files: None,
        });
        let place = Place {
            node: format!("node{index}").into(),
            namespace: NS.into(),
            pod: name.into(),
            pod_uid: self.uids[name].clone(),
            container: "database".into(),
            ip: format!("10.0.0.{index}").into(),
            ports: vec![5432, 8008],
        };
        let id = self.world.spawn(self.kube, Arc::new(member), Some(place), None);
        self.alive.insert(name.into(), id);
    }

    pub fn run(&mut self, seconds: f64) {
        let until = self.world.now() + Span::us((seconds * 1e6) as i64);
        self.run_to(until);
    }

    /// Runs, checking the invariants after every event.
    pub fn run_to(&mut self, until: Time) {
        while self.world.next_at().is_some_and(|at| at <= until) {
            self.world.step();
            let members = check::members(&self.world, self.kube, NS, SCOPE).map(|(_, m)| m);
            let members: Vec<&Member> = members.collect();
            let mut wrong = violations(&self.world, self.kube, NS, SCOPE, &members);
            if let Some(id) = identifier(&self.world, self.kube, NS, CLUSTER) {
                wrong.extend(strangers(&self.world, self.kube, id, &members));
            }
            assert!(wrong.is_empty(), "{} {wrong:?}\n{}", self.world.now(), self.journal());
        }
        self.world.advance_to(until);
    }

    /// Runs until something holds, at most so many seconds; gives how long it took.
    pub fn until(&mut self, seconds: f64, what: impl Fn(&Self) -> bool) -> f64 {
        let began = self.world.now();
        let end = began + Span::us((seconds * 1e6) as i64);
        while !what(self) {
            match self.world.next_at() {
                Some(at) if at <= end => self.run_to(at),
                _ => panic!("not within {seconds} s:\n{}", self.journal()),
            }
        }
        (self.world.now() - began).seconds()
    }

    pub fn member(&self, name: &str) -> &Member {
        self.world.actor(self.alive[name]).expect("alive")
    }

    /// The one writable member.
    pub fn leader(&self) -> Option<String> {
        let primaries = check::writable_primaries(&self.world, self.kube, NS, SCOPE);
        let [one] = primaries.as_slice() else {
            return None;
        };
        self.world.actor::<Member>(*one).map(|m| m.config().name.to_string())
    }

    pub fn timeline(&self, name: &str) -> u32 {
        self.data(name).timeline
    }

    pub fn data(&self, name: &str) -> &crate::postgres::DataDirectory {
        &self.world.kube(self.kube).volume(name).expect("volume").directories["pg18"]
    }

    pub fn annotation(&self, object: &str, key: &str) -> Option<String> {
        let object = self.world.kube(self.kube).api.get(Kind::Endpoints, NS, object)?;
        object.annotation(key).map(str::to_owned)
    }

    pub fn status_of(&self, name: &str) -> String {
        let pod = self.world.kube(self.kube).api.get(Kind::Pod, NS, name).expect("pod");
        pod.annotation("status").unwrap_or("").to_owned()
    }

    pub fn label_of(&self, name: &str) -> Option<String> {
        let pod = self.world.kube(self.kube).api.get(Kind::Pod, NS, name).expect("pod");
        pod.label("role").map(str::to_owned)
    }

    /// Whether a replica is connected to its upstream.
    pub fn streams(&self, name: &str) -> bool {
        self.alive.get(name).is_some_and(|id| {
            let member = self.world.actor::<Member>(*id);
            member.is_some_and(|m| m.accepts() && m.receiver.streaming())
        })
    }

    pub fn kill(&mut self, name: &str) {
        let id = self.alive.remove(name).expect("alive");
        self.world.kill(id, 137);
    }

    pub fn term(&mut self, name: &str) {
        let id = self.alive[name];
        self.world.signal(id, Signal::Term);
    }

    pub fn gone(&self, name: &str) -> bool {
        !self.world.alive(self.alive[name])
    }

    pub fn annotate(&mut self, object: &str, key: &str, value: Value) {
        self.request(Verb::Patch {
            target: ObjectRef::new(Kind::Endpoints, NS, object),
            subresource: Subresource::None,
            body: Body::Merge(Arc::new(json!({"metadata": {"annotations": {key: value}}}))),
        });
    }

    fn ask(&mut self, tester: Tester) -> (Tester, f64) {
        let began = self.world.now();
        let id = self.world.spawn(self.kube, Arc::new(tester), None, None);
        self.until(120.0, |b| b.world.actor::<Tester>(id).is_some_and(|t| t.done_at.is_some()));
        let tester = self.world.actor::<Tester>(id).expect("alive").clone();
        self.world.kill(id, 0);
        (tester, (self.world.now() - began).seconds())
    }

    pub fn exec(&mut self, pod: &str, command: Command) -> Output {
        let target = Target {
            namespace: NS.into(),
            pod: pod.into(),
            uid: self.uids[pod].clone(),
            container: "database".into(),
        };
        let tester = Tester { exec: Some((target, command)), ..Tester::default() };
        self.ask(tester).0.output.expect("answered")
    }

    pub fn rest(&mut self, pod: &str, request: RestRequest) -> (u16, String, f64) {
        let tester = Tester {
            call: Some((Where::Actor(self.alive[pod]), Call::Rest(request))),
            ..Tester::default()
        };
        let (tester, seconds) = self.ask(tester);
        match tester.reply {
            Some(Reply::Rest(RestReply::Code(code, text))) => (code, text, seconds),
            _ => (200, String::new(), seconds),
        }
    }

    /// A repository host, `repo-host-0`, with one repository that all members know.
    pub fn repo_host(&mut self, certificate: Option<Certificate>) {
        let index = self.uids.len();
        let mut pod = Object::new(Kind::Pod, NS, "repo-host-0");
        pod.meta.labels = Arc::new(BTreeMap::from([("repo".to_owned(), "host".to_owned())]));
        let containers = json!([{"name": "pgbackrest", "image": "pgbackrest"}]);
        pod.body_mut()
            .insert("spec".into(), json!({"nodeName": "node9", "containers": containers}));
        self.request(Verb::Create(Arc::new(pod)));
        let ip = format!("10.0.1.{index}");
        self.request(Verb::Patch {
            target: ObjectRef::new(Kind::Pod, NS, "repo-host-0"),
            subresource: Subresource::Status,
            body: Body::Merge(Arc::new(json!({"status": {"podIP": ip}}))),
        });
        self.world.kube_mut(self.kube).add_volume("repo1", Volume::of(1 << 30));
        let server = BackrestServer::new(ServerStart {
            namespace: NS.into(),
            pod: "repo-host-0".into(),
            volumes: BTreeMap::from([(1, "repo1".into())]),
            instances: (0..3).map(|i| (format!("{}.hippo-pods", name(i)).into(), 5432)).collect(),
            config_hash: "".into(),
            certificate,
            files: None,
        });
        let place = Place {
            node: "node9".into(),
            namespace: NS.into(),
            pod: "repo-host-0".into(),
            pod_uid: "uid-repo".into(),
            container: "pgbackrest".into(),
            ip: ip.into(),
            ports: vec![8432],
        };
        self.world.spawn(self.kube, Arc::new(server), Some(place), None);
        self.repositories = vec![RepoTarget {
            number: 1,
            place: RepoPlace::Host { host: "repo-host-0.hippo-pods".into(), port: 8432 },
        }];
    }

    /// Runs a process until it ends; gives whether it ended well, by what it told the journal.
    pub fn process(&mut self, actor: Arc<dyn Actor>) -> Vec<String> {
        let before = self.world.journal().len();
        let id = self.world.spawn(self.kube, actor, None, None);
        self.until(300.0, |b| !b.world.alive(id));
        self.world.journal()[before..].iter().map(|e| format!("{:?}", e.what)).collect()
    }

    /// An application that commits every 50 ms.
    pub fn client(&mut self) -> ActorId {
        let leader = self.leader().expect("a leader");
        let users = vec![UserStatement {
            name: "app".into(),
            options: String::new(),
            databases: vec!["app".into()],
            verifier: scram::verifier(b"secret", &[1; 16]),
        }];
        let databases = vec!["app".into()];
        assert_eq!(
            self.exec(&leader, Command::Databases { databases, extensions: Vec::new() }).exit,
            0
        );
        assert_eq!(self.exec(&leader, Command::Users { users }).exit, 0);
        let start = ClientStart {
            name: "app".into(),
            namespace: NS.into(),
            every: Span::ms(50),
            host: format!("{SCOPE}.{NS}.svc").into(),
            port: 5432,
            user: "app".into(),
            password: Sensitive::text("secret"),
            database: "app".into(),
            roots: None,
        };
        self.world.spawn(self.kube, Arc::new(Client::new(start)), None, None)
    }

    pub fn journal(&self) -> String {
        let lines =
            self.world.journal().iter().map(|e| format!("{} {} {:?}\n", e.at, e.actor, e.what));
        lines.collect()
    }
}

/// Measured figures are compared with this much room: max(1.5 s, L/2) as the reference proposes is for
/// real runs; the model is held closer unless a case says otherwise.
#[track_caller]
pub fn about(got: f64, expected: f64, within: f64) {
    assert!((got - expected).abs() <= within, "{got} s is not about {expected} s");
}
