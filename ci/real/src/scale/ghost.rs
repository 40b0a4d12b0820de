//! Who plays what an API server without nodes lacks: the controllers of StatefulSets, volumes and Jobs,
//! kubelets, and Patroni with its heartbeat. It knows nothing of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use ivory_core::command::Command;
use ivory_core::hash::digest;
use ivory_core::{Kind, Sensitive, labels, names};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::load::{apply, resource};

/// How often Patroni renews its lease.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// So many requests of the ghost are under way at once.
const AT_ONCE: usize = 16;

/// Namespace and name.
type Name = (String, String);

fn name_of(object: &DynamicObject) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The ghost.
pub(super) struct Ghost {
    client: Client,
    /// The Pod that leads each cluster.
    leaders: Mutex<BTreeMap<Name, String>>,
    ready: Mutex<BTreeSet<Name>>,
    /// The conditions that a ready cluster has.
    conditions: Vec<String>,
    hands: Arc<Semaphore>,
}

impl Ghost {
    pub(super) fn new(client: Client, conditions: Vec<String>) -> Self {
        Self {
            client,
            conditions,
            leaders: Mutex::default(),
            ready: Mutex::default(),
            hands: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Begins, for as long as the process runs.
    pub(super) fn haunt(self: &Arc<Self>) {
        for kind in [Kind::StatefulSet, Kind::PersistentVolumeClaim, Kind::Job, Kind::IvoryCluster]
        {
            tokio::spawn(self.clone().follow(kind));
        }
        tokio::spawn(self.clone().beat());
    }

    /// How many clusters are ready and in sync.
    pub(super) fn ready(&self) -> usize {
        lock(&self.ready).len()
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    async fn follow(self: Arc<Self>, kind: Kind) {
        let watch = watcher(
            Api::<DynamicObject>::all_with(self.client.clone(), &resource(kind)),
            watcher::Config::default(),
        );
        let mut objects = std::pin::pin!(watch.default_backoff().applied_objects());
        while let Some(found) = objects.next().await {
            let Ok(object) = found else { continue };
            if kind == Kind::IvoryCluster {
                self.look(&object);
                continue;
            }
            let ghost = self.clone();
            tokio::spawn(async move {
                let _hand = ghost.hands.acquire().await;
                let done = match kind {
                    Kind::StatefulSet => ghost.stateful_set(&object).await,
                    Kind::PersistentVolumeClaim => ghost.claim(&object).await,
                    _ => ghost.job(&object).await,
                };
                if let Err(error) = done {
                    eprintln!("ghost, {kind} {}: {error:#}", object.name_any());
                }
            });
        }
    }

    fn look(&self, cluster: &DynamicObject) {
        let holds = |kind: &String| {
            let conditions = cluster.data["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|c| c["type"] == **kind && c["status"] == "True")
        };
        let mut ready = lock(&self.ready);
        if self.conditions.iter().all(holds) {
            ready.insert(name_of(cluster));
        } else {
            ready.remove(&name_of(cluster));
        }
    }

    async fn stateful_set(&self, set: &DynamicObject) -> anyhow::Result<()> {
        let ((namespace, name), template) = (name_of(set), &set.data["spec"]["template"]);
        let revision = format!("{name}-{:08x}", digest(&template.to_string()) >> 32);
        let status = json!({
            "observedGeneration": set.metadata.generation, "replicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "updatedReplicas": 1, "currentReplicas": 1,
            "currentRevision": revision, "updateRevision": revision,
        });
        if set.metadata.deletion_timestamp.is_some() || set.data["status"] == status {
            return Ok(());
        }
        let pod = format!("{name}-0");
        let mut metadata = template["metadata"].clone();
        metadata["name"] = pod.as_str().into();
        metadata["labels"]["controller-revision-hash"] = revision.into();
        metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name,
            "uid": set.uid(), "controller": true, "blockOwnerDeletion": true}]);
        let cluster = metadata["labels"][labels::CLUSTER].as_str().unwrap_or_default().to_owned();
        if metadata["labels"].get(labels::INSTANCE).is_some() {
            self.enter(&(namespace.clone(), cluster), &pod, &mut metadata).await?;
        }
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
        self.run((&namespace, &pod), &object).await?;
        let sets = self.api(Kind::StatefulSet, &namespace);
        sets.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
            .await?;
        Ok(())
    }

    /// A member comes into a cluster: the first one makes it, and leads.
    async fn enter(&self, cluster: &Name, pod: &str, metadata: &mut Value) -> anyhow::Result<()> {
        let (leader, first) = {
            let mut leaders = lock(&self.leaders);
            let first = !leaders.contains_key(cluster);
            let leader = leaders.entry(cluster.clone()).or_insert_with(|| pod.to_owned());
            (leader.clone(), first)
        };
        let leads = leader == pod;
        let (role, label) = if leads {
            ("primary", labels::role::MASTER)
        } else {
            ("replica", labels::role::REPLICA)
        };
        let status = json!({"state": "running", "role": role, "replication_state": "streaming", "timeline": 1, "xlog_location": 50_332_000});
        metadata["annotations"]["status"] = status.to_string().into();
        metadata["labels"][labels::ROLE] = label.into();
        if first {
            self.annotate(cluster, &names::scope(&cluster.1), json!({"leader": pod})).await?;
            let made = json!({"initialize": "7000000000000000001", "config": "{}"});
            self.annotate(cluster, &names::scope_config(&cluster.1), made).await?;
        }
        Ok(())
    }

    /// Writes annotations of Patroni's Endpoints, and makes them when they are not there.
    async fn annotate(&self, cluster: &Name, name: &str, annotations: Value) -> anyhow::Result<()> {
        let (namespace, cluster) = cluster;
        let object = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": name, "namespace": namespace, "annotations": annotations,
                "labels": {labels::CLUSTER: cluster, labels::PATRONI: names::scope(cluster)},
            },
        });
        apply(&self.api(Kind::Endpoints, namespace), &object).await
    }

    /// Starts a Pod in the stead of whatever bears its name.
    async fn run(&self, (namespace, name): (&str, &str), object: &Value) -> anyhow::Result<()> {
        let pods = self.api(Kind::Pod, namespace);
        let new: DynamicObject = serde_json::from_value(object.clone())?;
        let now = DeleteParams::default().grace_period(0);
        // It may not be there.
        let _ = pods.delete(name, &now).await;
        pods.create(&PostParams::default(), &new).await?;
        let containers = object["spec"]["containers"].as_array().into_iter().flatten();
        let statuses: Vec<Value> = containers
            .map(|c| {
                json!({"name": c["name"], "image": c["image"], "imageID": c["image"], "ready": true,
                    "restartCount": 0, "started": true, "state": {"running": {"startedAt": time()}}})
            })
            .collect();
        let condition =
            |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time()});
        let all = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
        let status = json!({"status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": all,
            "containerStatuses": statuses}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    async fn claim(&self, claim: &DynamicObject) -> anyhow::Result<()> {
        if claim.data["status"]["phase"] == "Bound" {
            return Ok(());
        }
        let (namespace, name) = name_of(claim);
        let claims = self.api(Kind::PersistentVolumeClaim, &namespace);
        let volume = format!("pvc-{}", claim.uid().unwrap_or_default());
        let bound = json!({"spec": {"volumeName": volume}});
        claims.patch(&name, &PatchParams::default(), &Patch::Merge(bound)).await?;
        let status = json!({"status": {"phase": "Bound", "accessModes": claim.data["spec"]["accessModes"],
            "capacity": claim.data["spec"]["resources"]["requests"]}});
        claims.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    async fn job(&self, job: &DynamicObject) -> anyhow::Result<()> {
        if job.data["status"]["succeeded"] == 1 {
            return Ok(());
        }
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time(), "lastProbeTime": time()});
        let all = ["SuccessCriteriaMet", "Complete"].map(condition);
        let status = json!({"status": {"succeeded": 1, "startTime": time(), "completionTime": time(),
            "conditions": all, "uncountedTerminatedPods": {}}});
        let (namespace, name) = name_of(job);
        let jobs = self.api(Kind::Job, &namespace);
        jobs.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Patroni's heartbeat of all clusters, spread over its period.
    async fn beat(self: Arc<Self>) {
        loop {
            let clusters: Vec<Name> = lock(&self.leaders).keys().cloned().collect();
            let share = HEARTBEAT / u32::try_from(clusters.len().max(1)).unwrap_or(u32::MAX);
            let mut ticks = tokio::time::interval(share);
            for (namespace, cluster) in clusters {
                ticks.tick().await;
                let (ghost, name) = (self.clone(), names::scope(&cluster));
                tokio::spawn(async move {
                    let _hand = ghost.hands.acquire().await;
                    let patch = json!({"metadata": {"annotations": {"renewTime": time(), "optime": time()}}});
                    let endpoints = ghost.api(Kind::Endpoints, &namespace);
                    // The next one comes anyway.
                    let _ =
                        endpoints.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                });
            }
            ticks.tick().await;
        }
    }

    /// What a container answers to a command, on standard output.
    pub(super) async fn execute(
        &self,
        (namespace, pod): (&str, &str),
        argv: &[String],
        stdin: Vec<u8>,
    ) -> anyhow::Result<String> {
        let stdin = (!stdin.is_empty()).then(|| Sensitive::new(stdin));
        let Some(command) = Command::parse(argv, stdin.as_ref()) else {
            // Another operator's; whatever it asks, it is told that it was done.
            return Ok(String::new());
        };
        match command {
            Command::ReplaceDynamicConfiguration { config } => {
                let of = |(cluster, leader): (&Name, &String)| {
                    (cluster.0 == namespace && leader == pod).then(|| cluster.clone())
                };
                let cluster = lock(&self.leaders).iter().find_map(of);
                if let Some(cluster) = cluster {
                    let made = json!({"initialize": "7000000000000000001", "config": config});
                    self.annotate(&cluster, &names::scope_config(&cluster.1), made).await?;
                }
            }
            // Nothing waits to be archived.
            Command::ArchiveState => {
                return Ok(format!("0 0 0 0 {} works\n", jiff::Timestamp::now().as_second()));
            }
            _ => {}
        }
        Ok(String::new())
    }
}

fn time() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
