//! One side of the play: a simulated API server, and members that are real or modelled. The play asks both for the
//! same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use ivory_core::command::Command;
use ivory_core::object::Object;
use ivory_core::read::Output;
use ivory_core::{Kind, names};
use ivory_face::{Face, Holder, Living, Reach, Server};
use ivory_sim::kube::{Body, ObjectRef, Request, Subresource, Verb};
use ivory_sim::lab::Lab;
use ivory_sim::scenario::language::WorldSpec;
use serde_json::json;

use super::cluster::{Cluster, NAME, NAMESPACE};
use super::container::Container;
use super::model::Modelled;
use super::needs::Needs;
use super::trace::{Log, What};

/// How often a server is asked what it does.
const ASKS_EVERY: Duration = Duration::from_millis(250);

/// One side.
pub(super) struct Side {
    /// What happens on it.
    pub(super) log: Log,
    /// The members' Pods, in order.
    pub(super) members: Vec<String>,
    living: Arc<Living>,
    inner: Inner,
}

enum Inner {
    Real {
        face: Arc<Face>,
        containers: BTreeMap<String, Container>,
        asking: Vec<tokio::task::JoinHandle<()>>,
    },
    Model(Modelled),
}

impl Side {
    /// The side of the real programs.
    pub(super) async fn real(
        cluster: &Cluster,
        needs: &Needs,
        folder: &Path,
        world: &WorldSpec,
    ) -> anyhow::Result<Self> {
        let living = prepared(cluster, world).await?;
        let log = Log::new(living.clone(), addresses(cluster));
        let address = "127.0.0.1:0".parse().context("an address")?;
        let face = Face::listen(Server::new(living.clone()), address).await?;
        let api = (face.address(), face.authority());
        let mut containers = BTreeMap::new();
        let mut asking = Vec::new();
        for member in &cluster.members {
            let container = Container::new(cluster, member, needs, folder, api)?;
            container.token(&face.token(Holder::Account {
                namespace: NAMESPACE.to_owned(),
                name: names::instance_rbac(NAME),
                pod: Some(member.pod.clone()),
            })?)?;
            let psql = needs.postgres.join("psql");
            asking.push(tokio::spawn(ask(
                log.clone(),
                psql,
                member.pod.clone(),
                member.ip.clone(),
            )));
            containers.insert(member.pod.clone(), container);
        }
        let inner = Inner::Real { face: Arc::new(face), containers, asking };
        Ok(Self { log, members: pods(cluster), living, inner })
    }

    /// The side of the model.
    pub(super) async fn model(
        cluster: &Cluster,
        needs: &Needs,
        world: &WorldSpec,
    ) -> anyhow::Result<Self> {
        let living = prepared(cluster, world).await?;
        let log = Log::new(living.clone(), addresses(cluster));
        let modelled = Modelled::new(cluster, needs, living.clone(), log.clone())?;
        Ok(Self { log, members: pods(cluster), living, inner: Inner::Model(modelled) })
    }

    /// Starts a member.
    pub(super) fn start(&mut self, member: &str) -> anyhow::Result<()> {
        match &mut self.inner {
            Inner::Real { containers, .. } => {
                containers.get_mut(member).context("no such member")?.start()
            }
            Inner::Model(modelled) => modelled.start(member),
        }
    }

    /// Ends a member as the death of its node does.
    pub(super) async fn crash(&mut self, member: &str) -> anyhow::Result<()> {
        match &mut self.inner {
            Inner::Real { containers, .. } => {
                containers.get_mut(member).context("no such member")?.kill().await
            }
            Inner::Model(modelled) => modelled.crash(member),
        }
    }

    /// Has leadership handed over, as the operator does.
    pub(super) async fn switchover(&mut self, from: &str, to: &str) -> anyhow::Result<Output> {
        let command = Command::Switchover {
            scope: names::scope(NAME),
            leader: from.to_owned(),
            candidate: Some(to.to_owned()),
        };
        match &mut self.inner {
            Inner::Real { containers, .. } => {
                let container = containers.get(from).context("no such member")?;
                let rendered = command.render();
                container.run(&rendered.argv, rendered.stdin.as_ref()).await
            }
            Inner::Model(modelled) => modelled.run(from, &command).await,
        }
    }

    /// Puts the API server out of everybody's reach for some seconds, from now on.
    pub(super) fn outage(&mut self, seconds: u32) {
        match &mut self.inner {
            Inner::Real { face, .. } => {
                let face = face.clone();
                face.reach(Reach::Refused);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
                    face.reach(Reach::Open);
                });
            }
            Inner::Model(modelled) => modelled.outage(seconds),
        }
    }

    /// The last lines that a member printed.
    pub(super) fn printed(&self, member: &str) -> String {
        match &self.inner {
            Inner::Real { containers, .. } => {
                containers.get(member).map_or_else(String::new, |c| c.log(12))
            }
            Inner::Model(_) => self.living.with(|world, _| {
                let entries = world.journal().iter().rev().take(12);
                entries.map(|e| format!("{} {} {:?}\n", e.at, e.actor, e.what)).collect()
            }),
        }
    }

    /// How many requests of each kind the API server answered, and with which codes.
    pub(super) fn requests(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        if let Inner::Real { face, .. } = &self.inner {
            for told in face.server.faults.told() {
                let code = told.code.map_or("none".to_owned(), |c| c.to_string());
                let key = format!("{} {} {code}", told.asked.verb, told.asked.resource);
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }

    /// Ends everything.
    pub(super) async fn stop(&mut self) {
        if let Inner::Real { containers, asking, .. } = &mut self.inner {
            for container in containers.values_mut() {
                // What can't be ended ends with this program.
                let _ = container.kill().await;
            }
            asking.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
}

fn pods(cluster: &Cluster) -> Vec<String> {
    cluster.members.iter().map(|m| m.pod.clone()).collect()
}

fn addresses(cluster: &Cluster) -> BTreeMap<String, String> {
    cluster.members.iter().map(|m| (m.ip.clone(), m.pod.clone())).collect()
}

/// A Kubernetes with everything that members need, and their Pods, which are external.
async fn prepared(cluster: &Cluster, world: &WorldSpec) -> anyhow::Result<Arc<Living>> {
    let mut lab = Lab::new(world);
    let kube = lab.kubes[0];
    // The cluster is nobody's: there is no IvoryCluster of which it is made.
    if let Some(operator) = lab.operator(kube) {
        lab.world.kill(operator, 0);
    }
    let living = Living::new(lab.world, kube, 1);
    let create = async |object: &Object| {
        let request = Request::new("kubectl", Verb::Create(Arc::new(object.clone())));
        let made = living.request("kubectl", request).await;
        made.map_err(|status| anyhow!("{object:?}: {status}"))
    };
    for object in &cluster.objects {
        create(object).await?;
    }
    for member in &cluster.members {
        create(&member.object).await?;
        let status = json!({"status": {
            "phase": "Running", "podIP": member.ip, "podIPs": [{"ip": member.ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        let patch = Verb::Patch {
            target: ObjectRef::new(Kind::Pod, NAMESPACE, &member.pod),
            subresource: Subresource::Status,
            body: Body::Merge(Arc::new(status)),
        };
        let patched = living.request("kubelet", Request::new("kubelet", patch)).await;
        patched.map_err(|status| anyhow!("{}: {status}", member.pod))?;
    }
    Ok(living)
}

/// Asks a server again and again what it does.
async fn ask(log: Log, psql: std::path::PathBuf, pod: String, ip: String) {
    loop {
        let mut command = tokio::process::Command::new(&psql);
        command.args([
            "-X",
            "-A",
            "-t",
            "-h",
            &ip,
            "-U",
            names::SUPERUSER,
            "-d",
            names::MAINTENANCE_DATABASE,
        ]);
        command.args(["-c", "SELECT pg_catalog.pg_is_in_recovery()"]);
        command.env("PGCONNECT_TIMEOUT", "2").env("PGSSLMODE", "disable").kill_on_drop(true);
        let output = command.output().await;
        let says = output.as_ref().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        let value = match says.as_deref() {
            Ok("f") => "primary",
            Ok("t") => "standby",
            _ => "down",
        };
        log.set((What::Postgres, Some(pod.clone())), value);
        tokio::time::sleep(ASKS_EVERY).await;
    }
}
