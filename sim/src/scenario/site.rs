//! The simulated world's nodes, operators and clients, as stories use them. What each fault does, the
//! kubelets and the processes know.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, labels, names};
use serde_json::Value;

use super::driver::{Break, ClientFacts, Driver};
use super::language::{ClientSpec, SqlAsk, SqlWhat, WorldSpec};
use super::world_driver::{Site, WorldDriver};
use crate::client::{Client, ClientStart, lost_rows};
use crate::lab::{Lab, OPERATOR, config};
use crate::node::faults;
use crate::operator::Operator;
use crate::patroni::check::violations;
use crate::postgres::{SqlReply, SqlRequest, Statement};
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Actor, ActorId, Cx, Input, KubeId, World};

/// How long a statement of `sql` may take.
const STATEMENT: Span = Span::s(10);
/// The name of the rows that `sql` inserts.
const SQL: &str = "sql";

/// Makes the world of a story.
///
/// # Errors
/// None at present; a world is always possible.
pub fn build(spec: &WorldSpec, trace: bool) -> Result<Box<dyn Driver>, String> {
    let mut lab = Lab::new(spec);
    if trace {
        lab.world.trace.keep_text();
    }
    Ok(Box::new(WorldDriver {
        world: lab.world,
        site: LabSite::default(),
    }))
}

/// What a story has started.
#[derive(Default)]
pub struct LabSite {
    clients: BTreeMap<String, Started>,
    /// Rows that `sql` has inserted, by namespace and Secret.
    inserted: u64,
}

struct Started {
    kube: KubeId,
    id: ActorId,
    namespace: String,
    cluster: String,
    /// What it knew when it was stopped.
    stopped: Option<ClientFacts>,
}

impl Site for LabSite {
    fn fault(&mut self, world: &mut World, kube: KubeId, fault: &Break) -> Result<(), String> {
        let done = match fault {
            Break::KillPod(namespace, pod) => faults::kill_pod(world, kube, namespace, pod),
            Break::KillContainer(namespace, pod, container) => {
                faults::kill_container(world, kube, namespace, pod, container)
            }
            Break::CrashNode(node) => faults::crash_node(world, kube, node),
            Break::RestartNode(node) => faults::restart_node(world, kube, node),
            Break::LoseNode(node, volumes) => {
                let there = faults::lose_node_forever(world, kube, node);
                faults::delete_node(world, kube, node);
                for volume in volumes {
                    world.kube_mut(kube).remove_volume(volume);
                }
                there
            }
            Break::LoseVolume(volume) => {
                world.kube_mut(kube).remove_volume(volume);
                users_of(world, kube, volume).iter().for_each(|(namespace, pod)| {
                    faults::kill_pod(world, kube, namespace, pod);
                });
                true
            }
            Break::Operator(true) => match world.find(kube, OPERATOR) {
                Some(_) => false,
                None => {
                    let operator = Operator::new(OPERATOR, config());
                    world.spawn(kube, Arc::new(operator), None, None);
                    true
                }
            },
            Break::Operator(false) => match world.find(kube, OPERATOR) {
                Some(operator) => {
                    world.kill(operator, 137);
                    true
                }
                None => false,
            },
            Break::Images(image, fail) => {
                let registry = &mut world.kube_mut(kube).registry;
                match fail {
                    true => registry.withhold(image),
                    false => registry.provide(image),
                }
                true
            }
            // The world itself does these.
            Break::Partition(..) | Break::HealNetwork | Break::ApiOutage(_) => false,
        };
        match done {
            true => Ok(()),
            false => Err("there is nothing to do this to".to_owned()),
        }
    }

    fn connect(
        &mut self,
        world: &mut World,
        kube: KubeId,
        client: &ClientSpec,
    ) -> Result<(), String> {
        let secret = (client.namespace.as_str(), client.secret.as_str());
        let (start, cluster) = start(world, kube, secret, &client.name, client.every)?;
        let id = world.spawn(kube, Arc::new(Client::new(start)), None, None);
        let started = Started {
            kube,
            id,
            namespace: client.namespace.clone(),
            cluster,
            stopped: None,
        };
        self.clients.insert(client.name.clone(), started);
        Ok(())
    }

    fn disconnect(&mut self, world: &mut World, name: &str) {
        let facts = self.client(world, name);
        if let Some(client) = self.clients.get_mut(name) {
            client.stopped = facts;
            world.kill(client.id, 0);
        }
    }

    fn client(&self, world: &World, name: &str) -> Option<ClientFacts> {
        let started = self.clients.get(name)?;
        let Some(client) = world.actor::<Client>(started.id) else {
            return started.stopped;
        };
        let scope = names::scope(&started.cluster);
        let lost = lost_rows(world, started.kube, &started.namespace, &scope, &[started.id]);
        Some(ClientFacts {
            acknowledged: client.acked().len(),
            // With no primary nothing can be said; the story's other expectations notice that.
            lost_rows: lost.map_or(0, |l| l.values().map(|rows| rows.len() as u64).sum()),
            longest_gap: client.gap_until(world.now()),
            writes: client.writable(),
        })
    }

    fn sql(
        &mut self,
        world: &mut World,
        kube: KubeId,
        secret: (&str, &str),
        ask: &SqlAsk,
    ) -> Result<(), String> {
        let (mut start, cluster) = start(world, kube, secret, SQL, STATEMENT)?;
        if ask.replicas {
            start.host = format!("{}.{}.svc", names::replica_service(&cluster), secret.0).into();
        }
        let mut one = |statement: Statement| ask_once(world, kube, &start, statement);
        match ask.what {
            SqlWhat::Insert(count) => {
                for _ in 0..count {
                    self.inserted += 1;
                    let row = self.inserted;
                    match one(Statement::Insert {
                        client: SQL.into(),
                        row,
                    })? {
                        SqlReply::Committed => {}
                        other => return Err(unexpected(&other)),
                    }
                }
                Ok(())
            }
            SqlWhat::Rows(wanted) => match one(Statement::Rows { client: SQL.into() })? {
                SqlReply::Rows(rows) if rows.len() as u64 == wanted => Ok(()),
                SqlReply::Rows(rows) => Err(format!("there are {} rows, not {wanted}", rows.len())),
                other => Err(unexpected(&other)),
            },
            SqlWhat::ReadOnly(wanted) => match one(Statement::Ping)? {
                SqlReply::Pong { read_only } if read_only == wanted => Ok(()),
                SqlReply::Pong { read_only: true } => Err("the server is read-only".to_owned()),
                SqlReply::Pong { read_only: false } => Err("the server takes writes".to_owned()),
                other => Err(unexpected(&other)),
            },
        }
    }

    fn findings(&self, world: &World) -> Vec<String> {
        let mut found = Vec::new();
        for kube in world.kube_ids() {
            for cluster in world.kube(kube).api.list(Kind::IvoryCluster, None) {
                let scope = names::scope(&cluster.meta.name);
                found.extend(violations(world, kube, &cluster.meta.namespace, &scope));
            }
        }
        found
    }
}

/// A client's start from a user's Secret, checking the server by the cluster's certificate authority; and
/// the cluster.
fn start(
    world: &World,
    kube: KubeId,
    (namespace, secret): (&str, &str),
    name: &str,
    every: Span,
) -> Result<(ClientStart, String), String> {
    let object = world.kube(kube).api.get(Kind::Secret, namespace, secret);
    let object = object.ok_or_else(|| format!("there is no Secret {secret}"))?;
    let cluster = object
        .label(labels::CLUSTER)
        .ok_or_else(|| format!("Secret {secret} belongs to no cluster"))?
        .to_owned();
    let certificate = names::cluster_cert(&cluster);
    ClientStart::from_secrets(world, kube, namespace, secret, Some(&certificate), name, every)
        .map(|start| (start, cluster))
        .ok_or_else(|| format!("Secret {secret} or {certificate} lacks a key"))
}

fn unexpected(reply: &SqlReply) -> String {
    match reply {
        SqlReply::Error { code, message } => format!("{message} ({code})"),
        _ => "the server answered something else".to_owned(),
    }
}

/// The Pods that use a volume: namespace and name.
fn users_of(world: &World, kube: KubeId, volume: &str) -> Vec<(String, String)> {
    let api = &world.kube(kube).api;
    let Some(volume) = api.get(Kind::PersistentVolume, "", volume) else {
        return Vec::new();
    };
    let claim = |key: &str| volume.str_at(&["spec", "claimRef", key]);
    let (Some(namespace), Some(claim)) = (claim("namespace"), claim("name")) else {
        return Vec::new();
    };
    let uses = |v: &Value| {
        let name = v.pointer("/persistentVolumeClaim/claimName");
        name.and_then(Value::as_str) == Some(claim)
    };
    api.list(Kind::Pod, Some(namespace))
        .filter(|p| {
            let volumes = p.at(&["spec", "volumes"]).and_then(Value::as_array);
            volumes.is_some_and(|v| v.iter().any(uses))
        })
        .map(|p| (namespace.to_owned(), p.meta.name.to_string()))
        .collect()
}

/// Runs one statement in a connection of its own.
fn ask_once(
    world: &mut World,
    kube: KubeId,
    start: &ClientStart,
    statement: Statement,
) -> Result<SqlReply, String> {
    let asker = Asker {
        start: Arc::new(start.clone()),
        statement,
        answer: None,
    };
    let id = world.spawn(kube, Arc::new(asker), None, None);
    let end = world.now() + STATEMENT + Span::s(1);
    loop {
        if let Some(answer) = world.actor::<Asker>(id).and_then(|a| a.answer.clone()) {
            world.kill(id, 0);
            return answer;
        }
        if world.next_at().is_none_or(|at| at > end) {
            world.kill(id, 1);
            return Err("timeout".to_owned());
        }
        world.step();
    }
}

/// Somebody with `psql`.
#[derive(Clone)]
struct Asker {
    start: Arc<ClientStart>,
    statement: Statement,
    answer: Option<Result<SqlReply, String>>,
}

impl Actor for Asker {
    fn name(&self) -> &str {
        "client/sql"
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => {
                let start = &self.start;
                let Some(to) = cx.resolve(&start.namespace, &start.host, start.port) else {
                    let why = format!("could not translate host name {}", start.host);
                    self.answer = Some(Err(why));
                    return;
                };
                let verify = start.roots.as_ref().map(|r| (r.clone(), start.host.clone()));
                let request = SqlRequest {
                    user: start.user.clone(),
                    password: start.password.clone(),
                    database: start.database.clone(),
                    verify,
                    statement: self.statement.clone(),
                };
                cx.call(to, Call::Sql(request), STATEMENT);
            }
            Input::Reply(_, reply) => {
                self.answer = Some(match reply {
                    Ok(Reply::Sql(reply)) => Ok(reply),
                    Err(CallError::TimedOut) => Err("timeout".to_owned()),
                    Err(CallError::Refused) => Err("connection refused".to_owned()),
                    _ => Err("server closed the connection unexpectedly".to_owned()),
                });
            }
            _ => {}
        }
    }

    crate::actor_boilerplate!();
}
