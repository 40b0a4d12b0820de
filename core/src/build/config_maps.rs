//! ConfigMaps: Patroni's settings for the cluster and for each instance, and pgBackRest's
//! (`reference/api.md` §4.5).

use serde_json::{Value, json};

use crate::build::meta::owned;
use crate::cluster::{Cluster, Set};
use crate::kind::Kind;
use crate::object::Object;
use crate::patroni::config::{
    Bootstrap, ClusterInputs, InstanceInputs, cluster_yaml, instance_yaml,
};
use crate::patroni::dynamic;
use crate::pgbackrest::commands::replica_create;
use crate::pgbackrest::config::{Inputs, Repo, config_hash, instance_conf, repo_conf, server_conf};
use crate::postgres::hba::Components;
use crate::postgres::parameters::{self, Parameters};
use crate::{labels, names};

/// The key of Patroni's settings in the cluster's ConfigMap.
pub const CLUSTER_KEY: &str = "patroni.yaml";
/// The key of Patroni's settings in an instance's ConfigMap.
pub const INSTANCE_KEY: &str = "patroni.yaml";

/// Patroni's settings for the whole cluster. Until the bootstrap they bring the dynamic configuration along.
#[must_use]
pub fn cluster(cluster: &Cluster, bootstrap: Option<&Value>) -> Object {
    let text = cluster_yaml(&ClusterInputs {
        cluster: &cluster.name,
        namespace: &cluster.namespace,
        bootstrap,
    });
    let name = names::cluster_config(&cluster.name);
    owned(cluster, Kind::ConfigMap, &name, &[], &[&cluster.spec.metadata])
        .with("data", json!({ CLUSTER_KEY: text }))
}

/// Patroni's settings for one instance. `repo` is the repository from which replicas are made.
#[must_use]
pub fn instance(
    cluster: &Cluster,
    set: &Set<'_>,
    name: &str,
    repo: Option<&str>,
    bootstrapped: bool,
) -> Object {
    let wal_directory = cluster.wal_directory(set.spec);
    let number = repo.and_then(|r| r.trim_start_matches("repo").parse().ok());
    let command = number.map(|n: u8| replica_create(n, &wal_directory));
    let text = instance_yaml(&InstanceInputs {
        postgres_version: cluster.spec.postgres_version,
        wal_directory: &wal_directory,
        replica_create: command.as_deref(),
        bootstrap: (!bootstrapped).then_some(Bootstrap::Initdb),
    });
    let own = [(labels::INSTANCE_SET, &*set.name), (labels::INSTANCE, name)];
    let sources = [&cluster.spec.metadata, &set.spec.metadata];
    owned(cluster, Kind::ConfigMap, &names::instance_config(name), &own, &sources)
        .with("data", json!({ INSTANCE_KEY: text }))
}

/// The dynamic configuration that the spec gives.
#[must_use]
pub fn dynamic_configuration(cluster: &Cluster) -> Value {
    let spec = &cluster.spec;
    let standby = spec.active_standby();
    let number = |repo: &String| repo.trim_start_matches("repo").parse().ok();
    let parameters = Parameters::new(parameters::Inputs {
        exporter: false,
        huge_pages: cluster.sets().any(|s| wants_huge_pages(&s)),
        standby_repo: standby.and_then(|s| s.repo_name.as_ref()).and_then(number),
    });
    let user = Value::Object(spec.patroni.dynamic_configuration.clone());
    let seconds = |value: i32| u32::try_from(value).unwrap_or(0);
    let inputs = dynamic::Inputs {
        lease_s: seconds(spec.patroni.leader_lease_duration_seconds),
        sync_period_s: seconds(spec.patroni.sync_period_seconds),
        postgres_version: spec.postgres_version,
        parameters: &parameters,
        components: Components { exporter: false, pgbouncer: false },
        standby: standby.map(|s| dynamic::Standby {
            host: s.host.as_deref(),
            port: s.port.and_then(|p| u16::try_from(p).ok()),
            repo: s.repo_name.is_some(),
        }),
    };
    dynamic::configuration(&inputs, Some(&user))
}

fn wants_huge_pages(set: &Set<'_>) -> bool {
    let limits = set.spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    limits.into_iter().flatten().any(|(name, amount)| {
        let amount = amount.0.parse::<crate::quantity::Quantity>();
        name.starts_with("hugepages-") && amount.is_ok_and(|a| a.value() > 0)
    })
}

/// pgBackRest's settings for instances, for the repository host and for its server.
#[must_use]
pub fn pgbackrest(cluster: &Cluster, repos: &[Repo], host: &str, instances: &[String]) -> Object {
    let service = names::pod_service(&cluster.name);
    let fqdn = |name: &str| {
        let host = format!("{}.{service}", names::instance_pod(name));
        names::dns_names(&host, &cluster.namespace, &cluster.domain).swap_remove(0)
    };
    let has_host = cluster.has_repo_host();
    let host = has_host.then(|| fqdn(host));
    let mut instances: Vec<String> = instances.iter().map(|i| fqdn(i)).collect();
    instances.sort();
    let inputs = Inputs {
        repos,
        global: &cluster.spec.backups.pgbackrest.global,
        repo_host: host.as_deref(),
        instances: &instances,
        postgres_version: cluster.spec.postgres_version,
        port: u16::try_from(cluster.spec.port).unwrap_or(0),
    };
    let ipv6 = cluster.object.annotation(labels::PGBACKREST_IP_VERSION);
    let ipv6 = ipv6.is_some_and(|v| v.eq_ignore_ascii_case("ipv6"));
    let server = if has_host { server_conf(&cluster.uid, ipv6) } else { String::new() };
    let mut data = json!({
        "pgbackrest_instance.conf": instance_conf(&inputs),
        "pgbackrest-server.conf": server,
        "config-hash": config_hash(repos),
    });
    if let Some(text) = repo_conf(&inputs) {
        data["pgbackrest_repo.conf"] = text.into();
    }
    let own = [(labels::PGBACKREST, ""), (labels::PGBACKREST_CONFIG, "")];
    let sources = [&cluster.spec.metadata, &cluster.spec.backups.pgbackrest.metadata];
    let name = names::pgbackrest_config(&cluster.name);
    owned(cluster, Kind::ConfigMap, &name, &own, &sources).with("data", data)
}
