//! The cluster that is played with: core's own objects and files, as its builders make them of an IvoryCluster. What
//! the distribution's PostgreSQL can't do (IvorySQL's libraries, archiving without pgBackRest) is taken out.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use ivory_core::build::{config_maps, instance, rbac, services};
use ivory_core::cluster::Cluster as Spec;
use ivory_core::context::Config;
use ivory_core::crypto::pki::Root;
use ivory_core::{Kind, Object, Sensitive, names};
use ivory_sim::node::EXTERNAL;
use ivory_sim::scenario::language::WorldSpec;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::needs::Needs;

pub(super) const NAMESPACE: &str = "db";
pub(super) const NAME: &str = "hippo";
/// How many members there are.
pub(super) const MEMBERS: u32 = 3;
/// `ttl`, `loop_wait` and `retry_timeout`, in seconds: the shortest that Patroni takes, of which most measurements are.
pub(super) const TTL_S: u32 = 20;
pub(super) const LOOP_S: u32 = 5;
pub(super) const RETRY_S: u32 = 5;

/// One member: its Pod, and what is in it.
#[derive(Clone)]
pub(super) struct Member {
    /// The Pod's name.
    pub(super) pod: String,
    /// The Pod's address, one of this machine.
    pub(super) ip: String,
    /// The node that it is bound to.
    pub(super) node: String,
    /// The Pod as it is created.
    pub(super) object: Object,
    /// The environment of the container `database`.
    pub(super) env: BTreeMap<String, String>,
    /// Files by their path in the container. Some are secret.
    pub(super) files: Vec<(String, Sensitive)>,
}

/// The cluster.
pub(super) struct Cluster {
    /// Objects that are there before any member.
    pub(super) objects: Vec<Object>,
    /// Patroni's file for the whole cluster.
    pub(super) cluster_yaml: String,
    /// Patroni's file for an instance.
    pub(super) instance_yaml: String,
    pub(super) members: Vec<Member>,
    /// The script of the init container, as arguments.
    pub(super) startup: Vec<String>,
}

impl Cluster {
    /// The cluster in the first Kubernetes of a world.
    pub(super) fn new(needs: &Needs, world: &WorldSpec) -> anyhow::Result<Self> {
        let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let dynamic = json!({
            "retry_timeout": RETRY_S,
            "postgresql": {
                "parameters": {"fsync": "off"},
                // Whoever watches the servers comes from this machine.
                "pg_hba": [format!("host all {} 127.0.0.0/8 trust", names::SUPERUSER)],
            },
        });
        let manifest = json!({
            "apiVersion": Kind::IvoryCluster.api_version(), "kind": "IvoryCluster",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": "7f0e4ad0-2a3c-4c6e-9a60-2f8a3f0c1d11"},
            "spec": {
                "postgresVersion": needs.major, "image": "postgres:local",
                "instances": [{"name": "i", "replicas": MEMBERS, "dataVolumeClaimSpec": claim}],
                "patroni": {"leaderLeaseDurationSeconds": TTL_S, "syncPeriodSeconds": LOOP_S, "dynamicConfiguration": dynamic},
                "backups": {"pgbackrest": {"image": "pgbackrest:local", "repos": [{"name": "repo1", "s3": {"bucket": "b", "endpoint": "e", "region": "r"}}]}},
            },
        });
        let object = Arc::new(Object::from_value(manifest)?);
        let spec = Spec::read(&object, &Config::default()).map_err(|why| anyhow!("{why:?}"))?;
        let set = spec.set("i").context("the set")?;
        let mut dynamic = config_maps::dynamic_configuration(&spec);
        // Of a distribution's server: it has none of these libraries, and nothing archives.
        if let Some(parameters) =
            dynamic.pointer_mut("/postgresql/parameters").and_then(Value::as_object_mut)
        {
            for name in [
                "shared_preload_libraries",
                "archive_mode",
                "archive_command",
                "archive_timeout",
                "restore_command",
            ] {
                parameters.remove(name);
            }
        }
        let text = |object: &Object, key: &str| {
            let text = object.str_at(&["data", key]).map(str::to_owned);
            text.with_context(|| format!("{object:?} has no {key}"))
        };
        let cluster_yaml =
            text(&config_maps::cluster(&spec, Some(&dynamic)), config_maps::CLUSTER_KEY)?;
        let first = names::instance(NAME, &spec.uid, "i", 0);
        let instance_yaml = text(
            &config_maps::instance(&spec, &set, &first, None, false),
            config_maps::INSTANCE_KEY,
        )?;
        let pki = Pki::new()?;
        let nodes = &world.kubes[0].nodes;
        let members = (0..MEMBERS)
            .map(|number| {
                let name = names::instance(NAME, &spec.uid, "i", number);
                let instance = instance::Instance {
                    data_claim: names::data_volume(&name),
                    wal_claim: None,
                    replicas: 1,
                    name,
                };
                let set_object = instance::stateful_set(&spec, &set, &instance);
                let place = (number, &*nodes[number as usize % nodes.len()].name);
                member(&spec, &instance, &set_object, place, &pki, (&cluster_yaml, &instance_yaml))
            })
            .collect::<anyhow::Result<_>>()?;
        let mut objects = vec![Object::new(Kind::Namespace, "", NAMESPACE)];
        objects.extend(rbac::instance(&spec));
        objects.extend([services::pods(&spec), services::leader(&spec)]);
        // The cluster itself is not in the API, so nothing may be owned by it.
        for object in &mut objects {
            object.meta.owners = Arc::default();
        }
        let major = i32::try_from(needs.major)?;
        let startup = ivory_core::scripts::startup(major, &spec.wal_directory(set.spec), &[]);
        Ok(Self { objects, cluster_yaml, instance_yaml, members, startup })
    }
}

fn member(
    spec: &Spec,
    instance: &instance::Instance,
    set: &Object,
    place: (u32, &str),
    pki: &Pki,
    yaml: (&str, &str),
) -> anyhow::Result<Member> {
    let pod = names::instance_pod(&instance.name);
    let (number, node) = place;
    let ip = format!("127.0.0.{}", 11 + number);
    let template = set.at(&["spec", "template"]).context("a template")?;
    let mut body = template["spec"].clone();
    // Its volumes are never mounted, so it need not wait for the scheduler.
    body["nodeName"] = node.into();
    body["hostname"] = pod.as_str().into();
    body["subdomain"] = names::pod_service(NAME).into();
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": body,
        "metadata": {
            "name": pod, "namespace": NAMESPACE, "labels": template["metadata"]["labels"],
            "annotations": {EXTERNAL: "true"},
        },
    });
    let containers = body["containers"].as_array().into_iter().flatten();
    let mut containers = containers.filter(|c| c["name"] == names::DATABASE_CONTAINER);
    let database = containers.next().context("the container of the database")?;
    let mut env = BTreeMap::new();
    for variable in database["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default();
        let value = match variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str)
        {
            Some("metadata.name") => pod.clone(),
            Some("status.podIP") => ip.clone(),
            _ => variable["value"].as_str().unwrap_or_default().to_owned(),
        };
        // As the kubelet expands it.
        env.insert(name.to_owned(), value.replace("$(PATRONI_NAME)", &pod));
    }
    // All members share this machine's network, so none may have its ports for itself.
    for name in ["PATRONI_POSTGRESQL_LISTEN", "PATRONI_RESTAPI_LISTEN"] {
        if let Some(value) = env.get_mut(name) {
            *value = value.replace('*', &ip);
        }
    }
    let host = format!("{pod}.{}", names::pod_service(NAME));
    let dns = names::dns_names(&host, NAMESPACE, &spec.domain);
    let (server, key) = pki.issue(&host, &dns)?;
    let (client, client_key) =
        pki.issue(names::REPLICATION_USER, &[names::REPLICATION_USER.to_owned()])?;
    let roots = Sensitive::text(&pki.roots);
    let combined = [server.expose(), key.expose()].concat();
    let files = [
        ("/etc/patroni/~ivory-operator_cluster.yaml", Sensitive::text(yaml.0)),
        ("/etc/patroni/~ivory-operator_instance.yaml", Sensitive::text(yaml.1)),
        ("/etc/patroni/~ivory-operator/patroni.ca-roots", roots.clone()),
        ("/etc/patroni/~ivory-operator/patroni.crt+key", Sensitive::new(combined)),
        ("/pgconf/tls/tls.crt", server),
        ("/pgconf/tls/tls.key", key),
        ("/pgconf/tls/ca.crt", roots.clone()),
        ("/pgconf/tls/replication/tls.crt", client),
        ("/pgconf/tls/replication/tls.key", client_key),
        ("/pgconf/tls/replication/ca.crt", roots),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    Ok(Member { pod, ip, node: node.to_owned(), object: Object::from_value(manifest)?, env, files })
}

/// The cluster's authority.
struct Pki {
    root: Root,
    roots: String,
    now: Timestamp,
}

impl Pki {
    fn new() -> anyhow::Result<Self> {
        // Nothing here outlives the run, or leaves this machine.
        let now = Timestamp::now();
        let seed = ivory_core::hash::digest(&("real", now.as_nanosecond(), std::process::id()));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes()[..8]);
        let issued = Root::generate(&bytes, now);
        let root = Root::read(&issued.certificate, &issued.key).map_err(|w| anyhow!("{w:?}"))?;
        Ok(Self { root, roots: issued.certificate, now })
    }

    fn issue(&self, name: &str, dns: &[String]) -> anyhow::Result<(Sensitive, Sensitive)> {
        let mut seed = [1; 32];
        let digest = ivory_core::hash::digest(&(name, self.now.as_nanosecond()));
        seed[..8].copy_from_slice(&digest.to_le_bytes()[..8]);
        let leaf = self.root.issue(&seed, name, dns, self.now).map_err(|w| anyhow!("{w:?}"))?;
        Ok((Sensitive::text(&leaf.certificate), leaf.key))
    }
}
