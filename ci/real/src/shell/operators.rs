//! One Kubernetes of a story, and the shells that run in it. They run without a lease, as the simulator's operator does:
//! what the lease does is tested elsewhere, and with it every start would wait for the end of the last one's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ivory_core::{Kind, names, steps};
use ivory_face::{Caller, Living, Server, pipe};
use ivory_operator::api::ApiServer;
use ivory_operator::chance::Chance;
use ivory_operator::clock::Clock;
use ivory_operator::health::Health;
use ivory_operator::metrics::Metrics;
use ivory_operator::run::{Setup, serve};
use ivory_sim::kube::Filter;
use ivory_sim::lab::{NAMESPACE, config_of};
use ivory_sim::world::KubeId;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Service as _;
use tracing::Instrument as _;

use super::said::Said;
use crate::e2e::changes;

/// The shell's own default.
const WORKERS: usize = 16;

/// One Kubernetes, and the shells in it.
pub(super) struct Station {
    /// Its world.
    pub(super) living: Arc<Living>,
    /// Its API server, as the shells meet it.
    pub(super) server: Server,
    kube: KubeId,
    seed: u64,
    running: BTreeMap<&'static str, Running>,
    /// How many shells were started.
    started: u64,
    /// How many newer releases there were.
    release: u32,
}

struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    /// What a dead process sends reaches nobody.
    alive: Arc<AtomicBool>,
    /// Kept, since its end would mean that the process is to stop.
    _stop: watch::Sender<bool>,
}

impl Station {
    /// A Kubernetes without shells, whose clusters' conditions are told from now on.
    pub(super) fn new(living: Arc<Living>, kube: KubeId, seed: u64, said: &Said) -> Self {
        let server = Server::new(living.clone());
        tokio::spawn(conditions(living.clone(), kube, said.clone()));
        Self { living, server, kube, seed, running: BTreeMap::new(), started: 0, release: 0 }
    }

    /// Starts the shell of a name, or kills it; one that is as it should be is left alone.
    pub(super) fn switch(&mut self, name: &'static str, up: bool) {
        match (self.running.contains_key(name), up) {
            (true, false) => {
                if let Some(running) = self.running.remove(name) {
                    running.alive.store(false, Ordering::Relaxed);
                    running.task.abort();
                }
            }
            (false, true) => {
                self.started += 1;
                let running = self.start(name);
                self.running.insert(name, running);
            }
            _ => {}
        }
    }

    /// The shells from now on are of a newer release.
    pub(super) fn upgrade(&mut self) {
        self.release += 1;
    }

    fn start(&self, name: &'static str) -> Running {
        let alive = Arc::new(AtomicBool::new(true));
        let mut caller = Caller::admin(name, "ivory-operator/shell");
        caller.manager = Some(names::FIELD_MANAGER.into());
        let (inner, lives) = (pipe(self.server.clone(), caller), alive.clone());
        let service = tower::service_fn(move |request| {
            let answer = lives.load(Ordering::Relaxed).then(|| inner.clone().call(request));
            async move {
                match answer {
                    Some(answer) => answer.await,
                    None => Err("the process is dead".into()),
                }
            }
        });
        let metrics = Arc::new(Metrics::new());
        let client = kube::Client::new(service, NAMESPACE);
        let (stop, stopped) = watch::channel(false);
        let living = self.living.clone();
        let setup = Setup {
            api: ApiServer::new(client, metrics.clone()),
            config: config_of(self.release),
            planner: steps::plan,
            clock: Clock::new(move || living.now()),
            chance: self.chance(name),
            namespaces: vec![String::new()],
            workers: WORKERS,
            metrics,
            health: Arc::new(Health::default()),
            stop: stopped,
        };
        let span = tracing::info_span!("operator", kube = self.kube.0);
        let task = tokio::spawn(serve(setup, None).instrument(span));
        Running { task, alive, _stop: stop }
    }

    /// Draws that come again whenever the story is played.
    fn chance(&self, name: &str) -> Chance {
        let seed = format!("{} {} {name} {}", self.seed, self.kube.0, self.started);
        let drawn = AtomicU64::new(0);
        Chance::new(move |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let number = drawn.fetch_add(1, Ordering::Relaxed);
                let block = Sha256::digest(format!("{seed} {number}"));
                chunk.copy_from_slice(&block[..chunk.len()]);
            }
            Ok(())
        })
    }
}

/// Tells what the conditions of clusters become.
async fn conditions(living: Arc<Living>, kube: KubeId, said: Said) {
    let mut version = living.version();
    let mut from = *version.borrow_and_update();
    let mut before = BTreeMap::new();
    while version.changed().await.is_ok() {
        let (changed, now) = living.with(|world, id| {
            let api = &world.kube(id).api;
            let changed = api.watch(Kind::IvoryCluster, None, &Filter::default(), from.max(1));
            (changed.unwrap_or_default(), api.resource_version())
        });
        from = now;
        for (_, object) in changed {
            let key = (object.meta.namespace.clone(), object.meta.name.clone());
            let old = before.insert(key, object.clone());
            for (_, what) in changes::between(old.as_deref(), &object) {
                said.happened(kube, what);
            }
        }
    }
}
