//! The installation: the files of `examples/kustomize/install` through an overlay that changes the names of
//! images, and the form of the operator's log lines, since those are read here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ivory_core::{Kind, labels};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::faults::DEPLOYMENT;
use super::live::{Live, api};
use super::operator_log::OPERATOR;
use super::pods;

/// The namespace of the installation.
pub(crate) const NAMESPACE: &str = "ivory-operator";
/// The image that the manifests name.
const SHIPPED: &str = "docker.io/ivorysql/ivory-operator";
/// The Secret with the root certificate is nobody's: clusters share it, and it outlives them.
const ROOT: &str = "ivyo-root-cacert";

/// Which images are used.
pub(crate) struct Images {
    /// The operator's, with its tag.
    pub(crate) operator: String,
    /// A digest of the operator's image, if it was made here.
    pub(crate) digest: String,
    /// The database's.
    pub(crate) database: String,
    /// pgBackRest's.
    pub(crate) pgbackrest: String,
    /// PgBouncer's.
    pub(crate) pgbouncer: String,
    /// The database's major version.
    pub(crate) version: u32,
}

/// Installs the operator, and waits until it is ready. Gives the number of its replicas.
///
/// # Errors
/// When kubectl fails, or the operator is not ready in two minutes.
pub(crate) async fn install(
    client: &Client,
    root: &Path,
    folder: &Path,
    images: &Images,
) -> anyhow::Result<i32> {
    let install = root.join("examples/kustomize/install");
    kubectl(&["apply", "-k", &install.join("namespace").display().to_string()], None)?;
    // Where Pods with rights live that no namespace of databases should give.
    let tools = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": pods::TOOLS, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    kubectl(&["apply", "-f", "-"], Some(&tools.to_string()))?;
    restrict(NAMESPACE)?;
    let overlay = overlay(&install.join("default"), folder, images)?;
    kubectl(
        &["apply", "--server-side", "--force-conflicts", "-k", &overlay.display().to_string()],
        None,
    )?;
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    for _ in 0..600 {
        let deployment = api.get(DEPLOYMENT).await?;
        let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        let status = deployment.status.clone().unwrap_or_default();
        let seen = status.observed_generation >= deployment.metadata.generation;
        let whole = [status.updated_replicas, status.ready_replicas, status.replicas];
        if seen && whole.iter().all(|n| *n == Some(wanted)) {
            return Ok(wanted);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!(
        "the operator is not ready after two minutes; see `kubectl -n {NAMESPACE} get pods`"
    )
}

/// Everything that is made in a namespace must keep to `restricted`: the tests enforce what the example only warns of.
fn restrict(namespace: &str) -> anyhow::Result<()> {
    let level = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "--overwrite", "namespace", namespace, level], None)
}

/// Makes a namespace for stories.
///
/// # Errors
/// When kubectl fails.
pub(crate) fn make_namespace(name: &str) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    kubectl(&["apply", "-f", "-"], Some(&namespace.to_string()))?;
    restrict(name)
}

/// Writes the overlay. kustomize wants bases as relative paths.
fn overlay(base: &Path, folder: &Path, images: &Images) -> anyhow::Result<PathBuf> {
    let overlay = folder.join("overlay");
    std::fs::create_dir_all(&overlay)?;
    let here = overlay.canonicalize()?;
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let base = base.canonicalize()?;
    let base = up.join(base.strip_prefix("/").context("an absolute path")?);
    let (name, tag) = name_and_tag(&images.operator)?;
    let variable = |name: String, value: &str| json!({"name": name, "value": value});
    let patch = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT},
        "spec": {"template": {
            // Another image under the same tag is another operator.
            "metadata": {"annotations": {"ivory-e2e/image": images.digest}},
            "spec": {"containers": [{"name": "operator", "env": [
                variable(format!("RELATED_IMAGE_IVORY_{}", images.version), &images.database),
                variable("RELATED_IMAGE_PGBACKREST".into(), &images.pgbackrest),
                variable("RELATED_IMAGE_PGBOUNCER".into(), &images.pgbouncer),
                variable("IVYO_LOG_FORMAT".into(), "json"),
            ]}]},
        }},
    });
    let kustomization = json!({
        "resources": [base],
        "images": [{"name": SHIPPED, "newName": name, "newTag": tag}],
        "patches": [{"path": "operator.yaml"}],
    });
    // JSON is YAML.
    std::fs::write(here.join("operator.yaml"), patch.to_string())?;
    std::fs::write(here.join("kustomization.yaml"), kustomization.to_string())?;
    Ok(here)
}

/// The tag must be another than `latest`, which Kubernetes would try to pull.
fn name_and_tag(image: &str) -> anyhow::Result<(&str, &str)> {
    let (name, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
    ensure!(!tag.contains('/'), "{image} has no tag");
    Ok((name, tag))
}

fn kubectl(arguments: &[&str], input: Option<&str>) -> anyhow::Result<()> {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .spawn()
        .context("kubectl is needed for the installation")?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        std::io::Write::write_all(&mut stdin, input.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "`kubectl {}` failed", arguments.join(" "));
    Ok(())
}

/// Refuses a cluster in which there are databases already: they might be somebody's, and every story begins by
/// taking away all there are.
///
/// # Errors
/// When there are any, or when it can't be told.
pub(crate) async fn refuse_strangers() -> anyhow::Result<()> {
    let client = Client::try_default().await.context("KUBECONFIG names no cluster")?;
    let found = match api(&client, Kind::IvoryCluster, "").list(&ListParams::default()).await {
        Ok(list) => list.items,
        // The kind itself is not there.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error).context("the IvoryClusters that are there already"),
    };
    let Some(one) = found.first() else { return Ok(()) };
    let (namespace, name) = (
        one.metadata.namespace.as_deref().unwrap_or_default(),
        one.metadata.name.as_deref().unwrap_or_default(),
    );
    anyhow::bail!(
        "there are {} IvoryClusters already, {namespace}/{name} among them, and these tests delete all; point \
         KUBECONFIG at another cluster, or say --wipe",
        found.len()
    )
}

/// Makes a namespace for stories as it was before the first: no IvoryClusters that are looked at and nothing of
/// them, none of our Pods, no Events, no root certificate, nothing refused, the operator up.
///
/// # Errors
/// What is left after five minutes.
pub(crate) async fn clean(live: &Live, namespace: &str, replicas: i32) -> anyhow::Result<()> {
    super::policy::end(&live.client).await?;
    super::faults::scale(live, NAMESPACE, replicas).await?;
    let client = &live.client;
    let at_once = DeleteParams::default().grace_period(0);
    let ours = ListParams::default().labels(pods::OURS);
    for cluster in live.list(Kind::IvoryCluster, None) {
        let api = api(client, Kind::IvoryCluster, &cluster.meta.namespace);
        let _ = api.delete(&cluster.meta.name, &DeleteParams::default()).await;
    }
    api(client, Kind::Pod, namespace).delete_collection(&at_once, &ours).await?;
    let mut left = String::new();
    for _ in 0..600 {
        left = left_over(live, namespace);
        if left.is_empty() {
            let all = ListParams::default();
            let _ =
                api(client, Kind::Secret, namespace).delete(ROOT, &DeleteParams::default()).await;
            api(client, Kind::Event, namespace).delete_collection(&at_once, &all).await?;
            // The watches see it a moment later.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    anyhow::bail!("{left} is left after five minutes")
}

/// What is left of an earlier story; empty if nothing is.
fn left_over(live: &Live, namespace: &str) -> String {
    for &kind in Kind::ALL.iter().filter(|k| k.namespaced() && **k != Kind::Event) {
        for object in live.list(kind, None) {
            let of_cluster = kind == Kind::IvoryCluster || object.label(labels::CLUSTER).is_some();
            if of_cluster
                || object.label(pods::OURS).is_some() && &*object.meta.namespace == namespace
            {
                return format!("{kind} {}", object.meta.name);
            }
        }
    }
    let pods = live.list(Kind::Pod, Some(NAMESPACE));
    let mut operators = pods.iter().filter(|p| p.label(OPERATOR.0) == Some(OPERATOR.1));
    match operators.any(|p| p.condition_true("Ready")) {
        true => String::new(),
        false => "no operator that is ready".to_owned(),
    }
}

/// A cluster's manifest with the database's major version that is installed.
pub(crate) fn with_version(manifest: &mut Value, version: u32) {
    let cluster = manifest["kind"] == "IvoryCluster";
    if cluster && manifest["spec"]["postgresVersion"].is_number() {
        manifest["spec"]["postgresVersion"] = version.into();
    }
}
