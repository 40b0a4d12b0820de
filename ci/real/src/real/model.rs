//! The side of the model: the simulator's members, from the same files and environment as the real ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use ivory_core::command::Command;
use ivory_core::read::{Output, Target};
use ivory_core::{Kind, names};
use ivory_face::Living;
use ivory_sim::disk::Volume;
use ivory_sim::patroni::config::MemberConfig;
use ivory_sim::patroni::{Member, MemberStart};
use ivory_sim::time::Span;
use ivory_sim::world::{ActorId, Cut, Place};

use super::cluster::{Cluster, NAMESPACE};
use super::needs::Needs;
use super::trace::{Log, What};

const LOOKS_EVERY: Duration = Duration::from_millis(40);
/// As much as the manifest asks for.
const VOLUME_BYTES: u64 = 1 << 30;

/// The members.
pub(super) struct Modelled {
    living: Arc<Living>,
    starts: BTreeMap<String, (MemberConfig, Place)>,
}

impl Modelled {
    /// Members that don't run yet, each with an empty volume.
    pub(super) fn new(
        cluster: &Cluster,
        needs: &Needs,
        living: Arc<Living>,
        log: Log,
    ) -> anyhow::Result<Self> {
        let yaml = [&*cluster.cluster_yaml, &*cluster.instance_yaml];
        let mut starts = BTreeMap::new();
        for member in &cluster.members {
            let config = MemberConfig::read(&yaml, &member.env, needs.version);
            let config = config.map_err(|why| anyhow!("the model of {}: {why}", member.pod))?;
            let uid = living.with(|world, kube| {
                world.kube_mut(kube).add_volume(&member.pod, Volume::of(VOLUME_BYTES));
                let pod = world.kube(kube).api.get(Kind::Pod, NAMESPACE, &member.pod);
                pod.map(|pod| pod.meta.uid.clone())
            });
            let place = Place {
                node: member.node.as_str().into(),
                namespace: NAMESPACE.into(),
                pod: member.pod.as_str().into(),
                pod_uid: uid.context("the Pod")?,
                container: names::DATABASE_CONTAINER.into(),
                ip: member.ip.as_str().into(),
                ports: vec![5432, 8008],
            };
            starts.insert(member.pod.clone(), (config, place));
        }
        let pods: Vec<String> = starts.keys().cloned().collect();
        tokio::spawn(look(living.clone(), log, pods));
        Ok(Self { living, starts })
    }

    pub(super) fn start(&self, member: &str) -> anyhow::Result<()> {
        let (config, place) = self.starts.get(member).context("no such member")?.clone();
        let actor = Member::new(MemberStart {
            config,
            volume: member.into(),
            wal_volume: None,
            certificate: None,
            repositories: Vec::new(),
            config_hash: "".into(),
            files: None,
        });
        self.living.with(|world, kube| world.spawn(kube, Arc::new(actor), Some(place), None));
        Ok(())
    }

    pub(super) fn crash(&self, member: &str) -> anyhow::Result<()> {
        let place = &self.starts.get(member).context("no such member")?.1;
        self.living.with(|world, kube| {
            let all = world.processes_where(kube, |p| p.pod == place.pod);
            all.into_iter().for_each(|actor: ActorId| world.kill(actor, 137));
        });
        Ok(())
    }

    pub(super) async fn run(&self, member: &str, command: &Command) -> anyhow::Result<Output> {
        let place = &self.starts.get(member).context("no such member")?.1;
        let target = Target {
            namespace: NAMESPACE.to_owned(),
            pod: member.to_owned(),
            uid: place.pod_uid.clone(),
            container: names::DATABASE_CONTAINER.to_owned(),
        };
        let output = self.living.exec("operator", &target, command, Span::s(60)).await;
        output.map_err(|error| anyhow!("{error:?}"))
    }

    pub(super) fn outage(&self, seconds: u32) {
        self.living.with(|world, kube| {
            let (now, span) = (world.now(), Span::s(seconds.into()));
            let how = Cut::Refuse(Box::new(ivory_sim::kube::Status::unavailable("out of reach")));
            world.faults.api_outage("outage", kube, now, span, how);
        });
    }
}

/// Looks again and again at what the servers do.
async fn look(living: Arc<Living>, log: Log, pods: Vec<String>) {
    loop {
        for pod in &pods {
            let value = living.with(|world, kube| {
                let process = world.kube(kube).process(NAMESPACE, pod, names::DATABASE_CONTAINER);
                let member = process.and_then(|(actor, _)| world.actor::<Member>(actor));
                match member {
                    Some(member) if member.writable() => "primary",
                    Some(member) if member.accepts() => "standby",
                    _ => "down",
                }
            });
            log.set((What::Postgres, Some(pod.clone())), value);
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}
