//! What the operator is given to do: the custom resource, a namespace, clusters.

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ivory_core::{Kind, api};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::Args;

/// So many requests are under way at once.
const AT_ONCE: usize = 8;

/// How a kind is addressed.
pub(super) fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.version().to_owned(),
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

/// Makes the definition and the namespaces, and waits until the API server serves them.
pub(super) async fn install(client: &Client, args: &Args) -> anyhow::Result<()> {
    let all = |kind| -> Api<DynamicObject> { Api::all_with(client.clone(), &resource(kind)) };
    apply(&all(Kind::CustomResourceDefinition), &api::crd_ivorycluster()).await?;
    for number in 0..args.namespaces {
        let meta = json!({"name": args.namespace_of(number)});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta});
        apply(&all(Kind::Namespace), &namespace).await?;
    }
    let clusters = all(Kind::IvoryCluster);
    for _ in 0..50 {
        if clusters.list(&kube::api::ListParams::default().limit(1)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    anyhow::bail!("the API server does not serve IvoryClusters")
}

/// Creates the clusters.
pub(super) async fn create(client: &Client, args: &Args) -> anyhow::Result<()> {
    let all = stream::iter(0..args.clusters).map(|number| {
        let (namespace, object) = (args.namespace_of(number), cluster(number, args));
        let kind = resource(Kind::IvoryCluster);
        let clusters: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
        async move { apply(&clusters, &object).await }
    });
    all.buffer_unordered(AT_ONCE).try_collect().await
}

/// Applies an object of the harness.
pub(super) async fn apply(api: &Api<DynamicObject>, object: &Value) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].as_str().context("an object without a name")?;
    let params = PatchParams::apply("ivory-scale").force();
    api.patch(name, &params, &Patch::Apply(object)).await.with_context(|| name.to_owned())?;
    Ok(())
}

fn cluster(number: u32, args: &Args) -> Value {
    let claim =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json!({
        "apiVersion": Kind::IvoryCluster.api_version(), "kind": "IvoryCluster",
        "metadata": {"name": format!("c{number:04}"), "namespace": args.namespace_of(number)},
        "spec": {
            "postgresVersion": 18,
            "image": "example.org/database:1",
            "instances": [{"name": "i", "replicas": args.instances, "dataVolumeClaimSpec": claim}],
            "backups": {"pgbackrest": {
                "image": "example.org/pgbackrest:1",
                "repos": [{"name": "repo1", "volume": {"volumeClaimSpec": claim}}],
            }},
        },
    })
}
