//! The lab as the place of a story: what can break in it, and who connects.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::context::Config;
use ivory_core::{Kind, Object, labels, names};

use crate::client::{Client, ClientStart, lost_rows};
use crate::disk::Trouble;
use crate::lab::{Lab, OPERATOR, config_of};
use crate::node::faults;
use crate::operator::Operator;
use crate::patroni::Member;
use crate::patroni::check::member_of_pod;
use crate::patroni::fault;
use crate::postgres::{SqlReply, SqlRequest, Statement};
use crate::scenario::driver::{Break, ClientFacts, Driver};
use crate::scenario::language::{ClientSpec, Flow, Sick, SqlAsk, SqlWhat, WorldSpec};
use crate::scenario::world_driver::{Site, WorldDriver};
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Actor, ActorId, Cx, Input, KubeId, World};

/// The name of a second operator.
pub const SECOND: &str = "second-operator";
/// How long a statement by hand may take.
const STATEMENT: Span = Span::s(10);

/// The parts of the lab that are no messages.
#[derive(Clone, Default)]
pub struct LabSite {
    clients: BTreeMap<String, Joined>,
    asked: u32,
    /// How many newer releases of the operator there were.
    release: u32,
}

/// A client that was started.
#[derive(Clone)]
struct Joined {
    kube: KubeId,
    namespace: String,
    cluster: String,
    actor: ActorId,
    /// What it knew when it was stopped.
    last: Option<ClientFacts>,
}

/// A lab in which a story can be played.
///
/// # Errors
/// Those of [`Lab::built`].
pub fn build(spec: &WorldSpec, trace: bool) -> Result<Box<dyn Driver>, String> {
    let mut world = Lab::built(spec)?.world;
    if trace {
        world.trace.keep_text();
    }
    Ok(Box::new(WorldDriver::new(world, LabSite::default())))
}

impl Site for LabSite {
    fn fault(&mut self, world: &mut World, kube: KubeId, fault: &Break) -> Result<(), String> {
        let found = |done: bool, what: &str| {
            done.then_some(()).ok_or_else(|| format!("{what} is not there"))
        };
        match fault {
            Break::KillPod(namespace, pod) => {
                found(faults::kill_pod(world, kube, namespace, pod), &format!("Pod {pod}"))
            }
            Break::KillContainer(namespace, pod, container) => found(
                faults::kill_container(world, kube, namespace, pod, container),
                &format!("container {container} of Pod {pod}"),
            ),
            Break::OutOfMemory(namespace, pod, container) => found(
                faults::run_out_of_memory(world, kube, namespace, pod, container),
                &format!("container {container} of Pod {pod}"),
            ),
            Break::KillBackend(namespace, pod) => {
                let member = member(world, kube, namespace, pod)?;
                fault::kill_backend(world, member);
                Ok(())
            }
            Break::PauseNode(node, span) => {
                let done = faults::pause_node(world, kube, node, *span);
                // Patroni that stood still has yet to learn that its time is over.
                for process in world.processes_where(kube, |p| done && *p.node == **node) {
                    if world.actor::<Member>(process).is_some() {
                        fault::hang_patroni(world, process, span.seconds() as u8);
                    }
                }
                found(done, &format!("node {node}"))
            }
            Break::Clock(node, ahead) => {
                world.set_clock(kube, node, *ahead);
                Ok(())
            }
            Break::Dns(works) => {
                world.resolve_names(kube, *works);
                Ok(())
            }
            Break::UpgradeOperator => {
                switch(world, kube, OPERATOR, config_of(self.release), false);
                self.release += 1;
                switch(world, kube, OPERATOR, config_of(self.release), true);
                Ok(())
            }
            Break::CrashNode(node) => {
                found(faults::crash_node(world, kube, node), &format!("node {node}"))
            }
            Break::RestartNode(node) => {
                found(faults::restart_node(world, kube, node), &format!("node {node}"))
            }
            Break::LoseNode(node, volumes) => {
                let done = faults::lose_node_forever(world, kube, node);
                faults::delete_node(world, kube, node);
                for volume in volumes {
                    world.kube_mut(kube).remove_volume(volume);
                }
                found(done, &format!("node {node}"))
            }
            Break::LoseVolume(volume) => {
                let capacity = world.kube(kube).volume(volume).map(|v| v.capacity_bytes);
                let capacity = capacity.ok_or_else(|| format!("volume {volume} is not there"))?;
                let empty = crate::disk::Volume { capacity_bytes: capacity, ..Default::default() };
                world.kube_mut(kube).add_volume(volume, empty);
                kill_users_of(world, kube, volume);
                Ok(())
            }
            Break::Disk(volume, sick) => {
                let disk = world.kube_mut(kube).volume_mut(volume);
                let disk = disk.ok_or_else(|| format!("volume {volume} is not there"))?;
                match *sick {
                    Sick::Full(full) => disk.trouble = full.then_some(Trouble::Full),
                    Sick::ReadOnly(only) => disk.trouble = only.then_some(Trouble::ReadOnly),
                    Sick::Slow(span) => disk.slow = span,
                }
                Ok(())
            }
            Break::Operator(up) => {
                switch(world, kube, OPERATOR, config_of(self.release), *up);
                Ok(())
            }
            Break::Images(image, failing) => {
                let registry = &mut world.kube_mut(kube).registry;
                if *failing {
                    registry.withhold(image)
                } else {
                    registry.provide(image)
                }
                Ok(())
            }
            Break::Lag(span) => {
                let operator = world.find(kube, OPERATOR).ok_or("the operator is down")?;
                world.lag_watches(operator, *span);
                Ok(())
            }
            Break::Drain(node) => {
                faults::drain_node(world, kube, node);
                Ok(())
            }
            Break::Uncordon(node) => {
                if let Some(drain) = world.find(kube, &format!("user/drain-{node}")) {
                    world.kill(drain, 0);
                }
                faults::cordon(world, kube, node, false);
                Ok(())
            }
            Break::HangPatroni(namespace, pod, span) => {
                let member = member(world, kube, namespace, pod)?;
                fault::hang_patroni(world, member, span.seconds() as u8);
                Ok(())
            }
            Break::Replication(namespace, pod, how) => {
                let member = member(world, kube, namespace, pod)?;
                match *how {
                    Flow::Flows(flows) => fault::freeze_replication(world, member, !flows),
                    Flow::Late(span) => {
                        fault::delay_replication(world, member, span.seconds() as u32);
                    }
                }
                Ok(())
            }
            Break::KillPostgres(namespace, pod) => {
                let member = member(world, kube, namespace, pod)?;
                fault::crash_postmaster(world, member);
                Ok(())
            }
            Break::SecondOperator(up) => {
                switch(world, kube, SECOND, config_of(self.release), *up);
                Ok(())
            }
            Break::Partition(..)
            | Break::HealNetwork
            | Break::ApiOutage(_)
            | Break::Messages(..)
            | Break::Refuse(..) => {
                unreachable!("the driver itself breaks messages and the network")
            }
        }
    }

    fn connect(
        &mut self,
        world: &mut World,
        kube: KubeId,
        client: &ClientSpec,
    ) -> Result<(), String> {
        let namespace = &client.namespace;
        let secret = (&**namespace, &*client.secret);
        let (cluster, start) = start(world, kube, secret, &client.name, client.every)?;
        let actor = world.spawn(kube, Arc::new(Client::new(start)), None, None);
        let joined = Joined { kube, namespace: namespace.clone(), cluster, actor, last: None };
        self.clients.insert(client.name.clone(), joined);
        Ok(())
    }

    fn disconnect(&mut self, world: &mut World, name: &str) {
        let facts = self.client(world, name);
        if let Some(joined) = self.clients.get_mut(name) {
            joined.last = facts;
            world.kill(joined.actor, 0);
        }
    }

    fn client(&self, world: &World, name: &str) -> Option<ClientFacts> {
        let joined = self.clients.get(name)?;
        let Some(client) = world.actor::<Client>(joined.actor) else { return joined.last };
        let scope = names::scope(&joined.cluster);
        let lost = lost_rows(world, joined.kube, &joined.namespace, &scope, &[joined.actor]);
        let acknowledged = client.acked().len();
        Some(ClientFacts {
            acknowledged,
            // Without a primary nobody can say that a row is there.
            lost_rows: lost.map_or(0, |l| l.values().map(|rows| rows.len() as u64).sum()),
            longest_gap: client.gap_until(world.now()),
            writes: client.writable(),
        })
    }

    fn sql(
        &mut self,
        world: &mut World,
        kube: KubeId,
        (namespace, secret): (&str, &str),
        ask: &SqlAsk,
    ) -> Result<(), String> {
        let (cluster, mut start) = start(world, kube, (namespace, secret), "hand", STATEMENT)?;
        if ask.replicas {
            start.host = format!("{}.{namespace}.svc", names::replica_service(&cluster)).into();
        }
        match ask.what {
            SqlWhat::Insert(rows) => {
                for _ in 0..rows {
                    self.asked += 1;
                    let statement =
                        Statement::Insert { client: "hand".into(), row: u64::from(self.asked) };
                    match statement_by_hand(world, kube, &start, statement)? {
                        SqlReply::Committed => {}
                        other => return Err(format!("the server answered {other:?}")),
                    }
                }
                Ok(())
            }
            SqlWhat::Rows(wanted) => {
                let statement = Statement::Rows { client: "hand".into() };
                match statement_by_hand(world, kube, &start, statement)? {
                    SqlReply::Rows(rows) if rows.len() as u64 == wanted => Ok(()),
                    SqlReply::Rows(rows) => {
                        Err(format!("{} rows are there, not {wanted}", rows.len()))
                    }
                    other => Err(format!("the server answered {other:?}")),
                }
            }
            SqlWhat::ReadOnly(wanted) => {
                match statement_by_hand(world, kube, &start, Statement::Ping)? {
                    SqlReply::Pong { read_only } if read_only == wanted => Ok(()),
                    SqlReply::Pong { read_only } => {
                        Err(format!("the server's read_only is {read_only}"))
                    }
                    other => Err(format!("the server answered {other:?}")),
                }
            }
        }
    }
}

/// Starts the operator of a name, or kills it; one that is as it should be is left alone.
fn switch(world: &mut World, kube: KubeId, name: &str, config: Config, up: bool) {
    match (world.find(kube, name), up) {
        (Some(operator), false) => world.kill(operator, 137),
        (None, true) => {
            world.spawn(kube, Arc::new(Operator::new(name, config)), None, None);
        }
        _ => {}
    }
}

/// The living member of a Pod.
fn member(world: &World, kube: KubeId, namespace: &str, pod: &str) -> Result<ActorId, String> {
    member_of_pod(world, kube, namespace, pod)
        .ok_or_else(|| format!("Patroni of Pod {pod} does not run"))
}

/// How a client of a user's Secret starts, and the cluster that it connects to.
fn start(
    world: &World,
    kube: KubeId,
    (namespace, secret): (&str, &str),
    name: &str,
    every: Span,
) -> Result<(String, ClientStart), String> {
    let cluster = cluster_of(world, kube, namespace, secret)?;
    let object = world.kube(kube).api.get(Kind::IvoryCluster, namespace, &cluster);
    let roots = roots(object.map(|o| &**o), &cluster);
    let trusted = Some((&*roots.0, &*roots.1));
    let start = ClientStart::from_secrets(world, kube, namespace, secret, trusted, name, every);
    let start = start.ok_or_else(|| {
        format!("Secret {secret} or {} lacks what an application needs to connect", roots.0)
    })?;
    Ok((cluster, start))
}

/// The Secret with the authorities that a cluster's clients are given to trust, and the key: the user's own, if the spec
/// brings one.
#[must_use]
pub fn roots(object: Option<&Object>, cluster: &str) -> (String, String) {
    let file = "ca.crt";
    let own = object.and_then(|o| o.at(&["spec", "customTLSSecret"]));
    let Some(own) = own.filter(|o| !o.is_null()) else {
        return (names::cluster_cert(cluster), file.to_owned());
    };
    let items = own["items"].as_array().into_iter().flatten();
    let key = items.filter(|i| i["path"] == file).find_map(|i| i["key"].as_str());
    (own["name"].as_str().unwrap_or_default().to_owned(), key.unwrap_or(file).to_owned())
}

fn cluster_of(
    world: &World,
    kube: KubeId,
    namespace: &str,
    secret: &str,
) -> Result<String, String> {
    let api = &world.kube(kube).api;
    let object = api.get(Kind::Secret, namespace, secret);
    let object = object.ok_or_else(|| format!("there is no Secret {secret} in {namespace}"))?;
    let cluster = object.label(labels::CLUSTER);
    cluster.map(str::to_owned).ok_or_else(|| format!("Secret {secret} bears no cluster's label"))
}

/// Processes that use a volume do not survive its loss.
fn kill_users_of(world: &mut World, kube: KubeId, volume: &str) {
    let api = &world.kube(kube).api;
    let claims = api.list(Kind::PersistentVolumeClaim, None);
    let claim =
        claims.into_iter().find(|c| c.str_at(&["spec", "volumeName"]) == Some(volume)).cloned();
    let Some(claim) = claim else { return };
    let uses = |pod: &&Arc<ivory_core::Object>| {
        let volumes = pod.at(&["spec", "volumes"]).and_then(|v| v.as_array());
        volumes.into_iter().flatten().any(|v| {
            v.pointer("/persistentVolumeClaim/claimName").and_then(|c| c.as_str())
                == Some(&claim.meta.name)
        })
    };
    let pods: Vec<_> = world
        .kube(kube)
        .api
        .list(Kind::Pod, Some(&claim.meta.namespace))
        .filter(uses)
        .map(|p| (p.meta.namespace.clone(), p.meta.name.clone()))
        .collect();
    for (namespace, pod) in pods {
        faults::kill_pod(world, kube, &namespace, &pod);
    }
}

/// One statement over one connection, waited for.
fn statement_by_hand(
    world: &mut World,
    kube: KubeId,
    start: &ClientStart,
    statement: Statement,
) -> Result<SqlReply, String> {
    let hand = Hand { start: Arc::new(start.clone()), statement, answer: None };
    let id = world.spawn(kube, Arc::new(hand), None, None);
    let end = world.now() + STATEMENT + Span::s(1);
    while world.now() < end {
        if let Some(answer) = world.actor::<Hand>(id).and_then(|h| h.answer.clone()) {
            world.kill(id, 0);
            return answer;
        }
        if !world.step() {
            break;
        }
    }
    world.kill(id, 1);
    Err("no answer came".into())
}

/// Somebody who sends one statement.
#[derive(Clone)]
struct Hand {
    start: Arc<ClientStart>,
    statement: Statement,
    answer: Option<Result<SqlReply, String>>,
}

impl Actor for Hand {
    fn name(&self) -> &'static str {
        "user/psql"
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => {
                let start = self.start.clone();
                let Some(server) = cx.resolve(&start.namespace, &start.host, start.port) else {
                    self.answer = Some(Err(format!("{} leads nowhere", start.host)));
                    return;
                };
                let request = SqlRequest {
                    user: start.user.clone(),
                    password: start.password.clone(),
                    database: start.database.clone(),
                    verify: start.roots.clone().map(|roots| (roots, start.host.clone())),
                    statement: self.statement.clone(),
                };
                cx.call(server, Call::Sql(request), STATEMENT);
            }
            Input::Reply(_, reply) => {
                self.answer = Some(match reply {
                    Ok(Reply::Sql(SqlReply::Error { code, message })) => {
                        Err(format!("{code}: {message}"))
                    }
                    Ok(Reply::Sql(reply)) => Ok(reply),
                    Ok(_) => Err("the server speaks another protocol".into()),
                    Err(CallError::Refused) => Err("connection refused".into()),
                    Err(error) => Err(format!("{error:?}")),
                });
            }
            _ => {}
        }
    }

    crate::actor_boilerplate!();
}
