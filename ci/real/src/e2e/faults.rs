//! What can be broken in a cluster that belongs to somebody: processes of Pods, and the operator. Machines
//! and networks can't.

use std::time::Duration;

use anyhow::Context as _;
use ivory_core::{Kind, Object};
use ivory_sim::scenario::driver::Break;
use ivory_sim::scenario::resolve::Ref;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::live::Live;
use super::operator_log::OPERATOR;
use super::pods;

/// The operator's Deployment, as the manifests name it.
pub(crate) const DEPLOYMENT: &str = "ivyo";
const KILL_MAX: Duration = Duration::from_secs(20);

/// What is needed to break things.
pub(crate) struct Faults {
    /// The operator's namespace.
    pub(crate) namespace: String,
    /// How many replicas the operator has when it is up.
    pub(crate) replicas: i32,
    /// An image with a shell.
    pub(crate) image: String,
}

impl Faults {
    /// Breaks or heals something.
    ///
    /// # Errors
    /// When it could not be done.
    pub(crate) async fn strike(&self, live: &Live, fault: &Break) -> anyhow::Result<()> {
        match fault {
            Break::KillPod(namespace, pod) => self.kill(live, namespace, pod, None).await,
            Break::KillContainer(namespace, pod, container) => {
                self.kill(live, namespace, pod, Some(container)).await
            }
            Break::Operator(up) => self.operator(live, *up).await,
            other => anyhow::bail!("a real cluster can't do it: {other:?}"),
        }
    }

    /// Kills the processes of a Pod's containers, as the kernel would. The first process of a container can't be
    /// killed from inside, so a Pod on the same node does it that sees all processes.
    async fn kill(
        &self,
        live: &Live,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
    ) -> anyhow::Result<()> {
        let r = Ref { kind: Kind::Pod, namespace: namespace.into(), name: pod.into() };
        let pod = live.get(&r).with_context(|| format!("Pod {pod} is not there"))?;
        let node = pod.str_at(&["spec", "nodeName"]).context("the Pod is on no node")?;
        let ids = containers(&pod, container);
        anyhow::ensure!(!ids.is_empty(), "no such container runs");
        let reaper = format!("reaper-{}", node.replace('.', "-"));
        let manifest = pods::reaper(&reaper, &self.image, node);
        pods::start(&live.client, manifest).await?;
        let script = format!(
            "victims=\nfor p in /proc/[0-9]*; do\n\
             if grep -q -E '{}' \"$p/cgroup\" 2>/dev/null; then victims=\"$victims ${{p#/proc/}}\"; fi\n\
             done\n[ -n \"$victims\" ] && kill -KILL $victims\n",
            ids.join("|")
        );
        let said = pods::sh(&live.client, (pods::TOOLS, &reaper), &script, KILL_MAX).await?;
        anyhow::ensure!(said.ok, "nothing was killed: {}", said.err.trim());
        Ok(())
    }

    /// Stops the operator, or starts it again.
    async fn operator(&self, live: &Live, up: bool) -> anyhow::Result<()> {
        scale(live, &self.namespace, if up { self.replicas } else { 0 }).await?;
        for _ in 0..600 {
            let pods = live.list(Kind::Pod, Some(&self.namespace));
            let mut ours = pods.iter().filter(|p| p.label(OPERATOR.0) == Some(OPERATOR.1));
            let done = match up {
                true => ours.any(|p| p.condition_true("Ready")),
                false => ours.next().is_none(),
            };
            if done {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the operator's Pods did not follow within a minute")
    }
}

/// Sets the number of the operator's replicas.
///
/// # Errors
/// When the API server refuses it.
pub(crate) async fn scale(live: &Live, namespace: &str, replicas: i32) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(live.client.clone(), namespace);
    let patch = json!({"spec": {"replicas": replicas}});
    api.patch(DEPLOYMENT, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The identifiers of a Pod's running containers, or of one of them.
fn containers(pod: &Object, only: Option<&str>) -> Vec<String> {
    let all = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let wanted = |c: &&Value| only.is_none_or(|name| c["name"] == name);
    let ids = all.into_iter().flatten().filter(wanted).filter_map(|c| c["containerID"].as_str());
    ids.filter_map(|id| id.split_once("://").map(|(_, id)| id.to_owned())).collect()
}
