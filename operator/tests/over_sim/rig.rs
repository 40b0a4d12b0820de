//! A cluster to look after, operators that do, and what they made of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ivory_core::plan::Propagation;
use ivory_core::{Kind, Object, steps};
use ivory_face::{Action, Caller, Faults, Living, Server, Told, pipe};
use ivory_operator::api::ApiServer;
use ivory_operator::chance::Chance;
use ivory_operator::clock::Clock;
use ivory_operator::health::Health;
use ivory_operator::lease::Lease;
use ivory_operator::metrics::Metrics;
use ivory_operator::pass::Planner;
use ivory_operator::run::{Setup, serve};
use ivory_sim::kube::{Body, DeleteOptions, ObjectRef, Request, Subresource, Verb};
use ivory_sim::lab::{Lab, NAMESPACE, config};
use ivory_sim::scenario::parse::default_world;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// The operators are quiet when they wrote nothing for so long.
const QUIET: Duration = Duration::from_secs(40);

/// One world and what goes wrong in it.
#[derive(Clone)]
pub struct Rig {
    pub sim: Arc<Living>,
    pub faults: Arc<Faults>,
}

/// An operator that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Tells it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("no panic").expect("an orderly end");
    }

    /// Ends it as a crash does: nothing is heard of it any more.
    pub fn crash(self, rig: &Rig, name: &'static str) {
        rig.faults.next(usize::MAX, Action::Refuse, move |a| a.by == name);
        self.task.abort();
    }
}

impl Rig {
    pub fn new() -> Self {
        Self { sim: world(), faults: Arc::default() }
    }

    /// The clock of this world.
    fn clock(&self) -> Clock {
        let sim = self.sim.clone();
        Clock::new(move || sim.now())
    }

    /// Starts an operator.
    pub fn operator(&self, name: &'static str) -> Running {
        self.operator_with(name, steps::plan)
    }

    /// Starts an operator with another planner.
    pub fn operator_with(&self, name: &'static str, planner: Planner) -> Running {
        let server = Server { faults: self.faults.clone(), ..Server::new(self.sim.clone()) };
        let metrics = Arc::new(Metrics::new());
        let mut caller = Caller::admin(name, "ivory-operator/test");
        caller.manager = Some(ivory_core::names::FIELD_MANAGER.into());
        let client = kube::Client::new(pipe(server, caller), NAMESPACE);
        let api = ApiServer::new(client, metrics.clone());
        let (stop, stopped) = watch::channel(false);
        let lease = Lease {
            api: api.clone(),
            namespace: NAMESPACE.to_owned(),
            name: "ivory-operator".to_owned(),
            identity: name.to_owned(),
            clock: self.clock(),
        };
        let setup = Setup {
            api,
            config: config(),
            planner,
            clock: self.clock(),
            chance: Chance::system(),
            namespaces: vec![String::new()],
            workers: 4,
            metrics,
            health: Arc::new(Health::default()),
            stop: stopped,
        };
        let task = tokio::spawn(serve(setup, Some(lease)));
        Running { stop, task }
    }

    /// Asks the API server for something, as a person does.
    pub async fn kubectl(&self, verb: Verb) {
        let mut request = Request::new("kubectl", verb);
        request.manager = Some("kubectl".into());
        self.sim.request("kubectl", request).await.expect("granted");
    }

    /// Creates a cluster of so many instances, with a repository on a volume.
    pub async fn create(&self, name: &str, instances: u32) {
        let object = Object::from_value(cluster(name, instances)).expect("a cluster");
        self.kubectl(Verb::Create(Arc::new(object))).await;
    }

    /// Changes a cluster by a merge patch.
    pub async fn change(&self, name: &str, patch: Value) {
        self.kubectl(Verb::Patch {
            target: ObjectRef::new(Kind::IvoryCluster, NAMESPACE, name),
            subresource: Subresource::None,
            body: Body::Merge(Arc::new(patch)),
        })
        .await;
    }

    /// Deletes a cluster.
    pub async fn delete(&self, name: &str) {
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..Default::default() };
        let target = ObjectRef::new(Kind::IvoryCluster, NAMESPACE, name);
        self.kubectl(Verb::Delete { target, options }).await;
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<Arc<Object>> {
        self.sim.with(|world, kube| world.kube(kube).api.get(kind, NAMESPACE, name).cloned())
    }

    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.sim
            .with(|world, kube| world.kube(kube).api.list(kind, Some(NAMESPACE)).cloned().collect())
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, cluster: &str, kind: &str) -> Option<(String, String, String)> {
        let cluster = self.get(Kind::IvoryCluster, cluster)?;
        let condition = cluster.condition(kind)?;
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// The writes that reached the world.
    pub fn writes(&self) -> Vec<Told> {
        let mut told = self.faults.told();
        told.retain(|t| t.asked.writes() && t.arrived);
        told
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(1200);
        while !so(self) {
            assert!(Instant::now() < end, "{what} never came: {}", self.outline());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a cluster is as its spec has it, with its first backup, and nobody writes any more.
    pub async fn settled(&self, name: &str) {
        self.until("the settled state", |rig| {
            let Some(cluster) = rig.get(Kind::IvoryCluster, name) else { return false };
            let good = ["Ready", "Reconciled", "PGBackRestReplicaCreate"];
            let observed = cluster.i64_at(&["status", "observedGeneration"]);
            let last = rig.faults.last_write().map(|t| t.at);
            good.iter().all(|kind| cluster.condition_true(kind))
                && observed == Some(cluster.meta.generation)
                && last.is_some_and(|at| at.elapsed() > QUIET)
        })
        .await;
    }

    /// What there is and what was said last, for failures.
    pub fn outline(&self) -> String {
        let mut text = String::new();
        for cluster in self.all(Kind::IvoryCluster) {
            let _ = writeln!(
                text,
                "{cluster:?}: {:#}",
                cluster.at(&["status", "conditions"]).unwrap_or(&Value::Null)
            );
        }
        let told = self.faults.told();
        let telling = |t: &&Told| t.asked.kind != Kind::Lease && t.asked.verb != "watch";
        for t in told.iter().rev().filter(telling).take(60).collect::<Vec<_>>().iter().rev() {
            let (ago, asked) = (t.at.elapsed().as_secs(), &t.asked);
            let (by, verb, resource, name) = (&asked.by, asked.verb, &asked.resource, &asked.name);
            let _ = writeln!(text, "{ago} s ago: {by} {verb} {resource} {name} {:?}", t.code);
        }
        text
    }
}

pub fn cluster(name: &str, instances: u32) -> Value {
    let claim =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json!({
        "apiVersion": Kind::IvoryCluster.api_version(), "kind": "IvoryCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "postgresVersion": 18,
            "instances": [{"name": "i", "replicas": instances, "dataVolumeClaimSpec": claim}],
            "backups": {"pgbackrest": {"repos": [{"name": "repo1", "volume": {"volumeClaimSpec": claim}}]}},
        },
    })
}

/// A Kubernetes with three nodes and without an operator.
fn world() -> Arc<Living> {
    let mut lab = Lab::new(&default_world());
    let kube = lab.kubes[0];
    let operator = lab.operator(kube).expect("the lab has an operator");
    lab.world.kill(operator, 0);
    Living::new(lab.world, kube, 1)
}
