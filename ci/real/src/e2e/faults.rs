//! What can be broken in a cluster that belongs to somebody: processes of Pods, and the operator. Machines,
//! networks and the API server can't, unless whoever owns the cluster gives a command for it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use ivory_core::{Kind, Object};
use ivory_sim::scenario::driver::Break;
use ivory_sim::scenario::language::Fault;
use ivory_sim::scenario::resolve::Ref;
use ivory_sim::scenario::words::{Group, Live, WORDS, Word};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::live::Live as Cluster;
use super::operator_log::OPERATOR;
use super::{pods, policy};

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
    /// Commands for faults, by their word in the scenario language.
    pub(crate) commands: BTreeMap<String, String>,
}

/// Whether it breaks nothing outside the story's namespace.
pub(crate) fn within_namespace(fault: &Fault) -> bool {
    matches!(fault, Fault::KillPod(_) | Fault::KillContainer { .. })
}

/// Whether every real cluster can do it, as the language's table says.
pub(crate) fn anywhere(word: &str) -> bool {
    let is = |w: &&Word| w.group == Group::Fault && w.word == word;
    WORDS.iter().find(is).is_some_and(|w| w.live == Live::Yes)
}

/// The word of a fault whose names are known, and what its command is told: seconds, names. None for those that only
/// a simulated world knows how to do.
fn told(fault: &Break) -> Option<(&'static str, Vec<String>)> {
    Some(match fault {
        Break::KillPod(namespace, pod) => ("kill_pod", vec![namespace.clone(), pod.clone()]),
        Break::KillContainer(namespace, pod, container) => {
            ("kill_container", vec![namespace.clone(), pod.clone(), container.clone()])
        }
        Break::CrashNode(node) => ("crash_node", vec![node.clone()]),
        Break::RestartNode(node) => ("restart_node", vec![node.clone()]),
        Break::LoseNode(node, volumes) => {
            ("lose_node", std::iter::once(node).chain(volumes).cloned().collect())
        }
        Break::Partition(a, b) => ("partition", vec![a.clone(), b.clone()]),
        Break::HealNetwork => ("heal", Vec::new()),
        Break::ApiOutage(span) => ("api_outage", vec![span.seconds().to_string()]),
        Break::LoseVolume(volume) => ("lose_volume", vec![volume.clone()]),
        Break::Operator(up) => ("operator", vec![if *up { "up" } else { "down" }.to_owned()]),
        Break::Images(image, failing) => {
            ("images", vec![image.clone(), if *failing { "failing" } else { "working" }.to_owned()])
        }
        Break::Drain(node) => ("drain", vec![node.clone()]),
        Break::Uncordon(node) => ("uncordon", vec![node.clone()]),
        Break::OutOfMemory(namespace, pod, container) => {
            ("oom", vec![namespace.clone(), pod.clone(), container.clone()])
        }
        Break::PauseNode(node, span) => {
            ("pause_node", vec![node.clone(), span.seconds().to_string()])
        }
        Break::Clock(node, ahead) => ("clock", vec![node.clone(), ahead.seconds().to_string()]),
        Break::Dns(up) => ("dns", vec![if *up { "up" } else { "down" }.to_owned()]),
        Break::UpgradeOperator => ("upgrade", Vec::new()),
        Break::Messages(..)
        | Break::KillBackend(..)
        | Break::Lag(_)
        | Break::HangPatroni(..)
        | Break::Replication(..)
        | Break::KillPostgres(..)
        | Break::Disk(..)
        | Break::Refuse(..)
        | Break::SecondOperator(_) => return None,
    })
}

/// Reads `NAME=COMMAND`.
///
/// # Errors
/// When it has no `=`, or the fault is not one of the language's.
pub(crate) fn binding(text: &str) -> Result<(String, String), String> {
    let (name, command) = text.split_once('=').ok_or("not NAME=COMMAND")?;
    let known = |w: &&Word| w.group == Group::Fault && w.word == name;
    WORDS.iter().find(known).ok_or_else(|| format!("{name} is no fault of scenarios/README.md"))?;
    Ok((name.to_owned(), command.to_owned()))
}

impl Faults {
    /// Breaks or heals something.
    ///
    /// # Errors
    /// When it could not be done.
    pub(crate) async fn strike(&self, live: &Cluster, fault: &Break) -> anyhow::Result<()> {
        if let Some((word, arguments)) = told(fault)
            && let Some(command) = self.commands.get(word)
        {
            return run(command, &arguments).await;
        }
        match fault {
            Break::KillPod(namespace, pod) => self.kill(live, namespace, pod, None).await,
            Break::KillContainer(namespace, pod, container) => {
                self.kill(live, namespace, pod, Some(container)).await
            }
            Break::Operator(up) => self.operator(live, *up).await,
            Break::Refuse(kind, updates, because, span) => {
                let how_long = (*span).into();
                policy::refuse(&live.client, *kind, *updates, because, how_long).await
            }
            other => anyhow::bail!("a real cluster can't do it: {other:?}"),
        }
    }

    /// Kills the processes of a Pod's containers, as the kernel would. The first process of a container can't be
    /// killed from inside, so a Pod on the same node does it that sees all processes.
    async fn kill(
        &self,
        live: &Cluster,
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
    async fn operator(&self, live: &Cluster, up: bool) -> anyhow::Result<()> {
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

/// Starts a command with the fault's arguments, and waits until it ends. What it leaves running in the
/// background ends the fault, as an API server that comes back.
async fn run(command: &str, arguments: &[String]) -> anyhow::Result<()> {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("{command} \"$@\""), "fault"]).args(arguments);
    shell.stdin(Stdio::null()).stdout(Stdio::null());
    let status = tokio::task::spawn_blocking(move || shell.status()).await??;
    anyhow::ensure!(status.success(), "`{command} {}` failed", arguments.join(" "));
    Ok(())
}

/// Sets the number of the operator's replicas.
///
/// # Errors
/// When the API server refuses it.
pub(crate) async fn scale(live: &Cluster, namespace: &str, replicas: i32) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_bound_to_a_fault_of_the_language() {
        let bound = ("api_outage".to_owned(), "stop --now=1".to_owned());
        assert_eq!(binding("api_outage=stop --now=1"), Ok(bound));
        assert!(binding("api-restart=x").is_err());
        assert!(binding("api_outage").is_err());
    }

    #[tokio::test]
    async fn a_command_is_told_what_to_break() {
        let sleep = |s: &str| vec![s.to_owned()];
        assert!(run("test 2 =", &sleep("2")).await.is_ok());
        assert!(run("test 2 =", &sleep("3")).await.is_err());
    }
}
