//! Commands in containers, and Pods of our own: one for statements by hand, one for each client, and one that
//! may kill the processes of other Pods.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// The label of everything that we make ourselves.
pub(crate) const OURS: &str = "ivory-e2e";
/// The namespace of the Pod that may kill; it needs rights that no other namespace should give.
pub(crate) const TOOLS: &str = "ivory-e2e";

/// What a program said.
pub(crate) struct Said {
    /// Whether it ended well.
    pub(crate) ok: bool,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs `sh -s` in a container with a script on its standard input, at most for so long.
///
/// # Errors
/// When it could not be run, or did not end.
pub(crate) async fn sh(
    client: &Client,
    (namespace, pod): (&str, &str),
    script: &str,
    limit: Duration,
) -> anyhow::Result<Said> {
    let work = sh_unbounded(client, namespace, pod, script);
    tokio::time::timeout(limit, work)
        .await
        .with_context(|| format!("a command in Pod {pod} did not end in {} s", limit.as_secs()))?
}

async fn sh_unbounded(
    client: &Client,
    namespace: &str,
    pod: &str,
    script: &str,
) -> anyhow::Result<Said> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = AttachParams::default().stdin(true).stdout(true).stderr(true);
    let mut process = api.exec(pod, ["sh", "-s"], &params).await?;
    let status = process.take_status();
    let (stdin, out, err) = (process.stdin(), process.stdout(), process.stderr());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A script may end without reading all; its exit status tells.
            let _ = stdin.write_all(script.as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let ended = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let ((), out, err, status) = tokio::join!(feed, drain(out), drain(err), ended);
    let ok = status.is_some_and(|s| s.status.as_deref() == Some("Success"));
    Ok(Said { ok, out, err })
}

async fn drain(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes a Pod of ours, and waits until it runs.
///
/// # Errors
/// When it is refused, or does not run within two minutes.
pub(crate) async fn start(client: &Client, manifest: Value) -> anyhow::Result<()> {
    let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(OURS).force();
    let over = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Failed" | "Succeeded"))
    };
    // One that ended is of an earlier run, for example from before the node was restarted.
    if api.get_opt(name).await?.as_ref().is_some_and(over) {
        stop(client, namespace, name).await;
    }
    for _ in 0..1200 {
        let pod = api.get_opt(name).await?;
        let phase = pod.as_ref().and_then(|p| p.status.as_ref()?.phase.clone());
        match (pod, phase.as_deref()) {
            (None, _) => {
                api.patch(name, &params, &Patch::Apply(&manifest)).await?;
            }
            (Some(pod), Some("Running")) if pod.metadata.deletion_timestamp.is_none() => {
                return Ok(());
            }
            (Some(pod), Some("Failed")) if pod.metadata.deletion_timestamp.is_none() => {
                anyhow::bail!("Pod {name} failed")
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    anyhow::bail!("Pod {name} does not run after two minutes")
}

/// Deletes a Pod of ours at once.
pub(crate) async fn stop(client: &Client, namespace: &str, name: &str) {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    // It may be gone already.
    let _ = api.delete(name, &DeleteParams::default().grace_period(0)).await;
}

/// A Pod that sleeps, within Pod Security's `restricted`.
pub(crate) fn harmless(namespace: &str, name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {OURS: "true"}},
        "spec": {
            "enableServiceLinks": false,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

/// A Pod on a node that sees all processes of it.
pub(crate) fn reaper(name: &str, image: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": TOOLS, "labels": {OURS: "true"}},
        "spec": {
            "nodeName": node,
            "hostPID": true,
            "terminationGracePeriodSeconds": 1,
            "restartPolicy": "Never",
            "containers": [{
                "name": "main",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "1000000"],
                "securityContext": {"privileged": true, "runAsUser": 0},
            }],
        },
    })
}
