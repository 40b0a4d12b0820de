//! The StatefulSet of one instance (`reference/reconcile.md` §2.10).

mod volumes;

use k8s_openapi::api::apps::v1::{StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::build::furniture::{self, field_variable, label_map, resources, variable};
use crate::build::meta::{annotations_of, labels_of, owned};
use crate::build::services::PORT_NAME;
use crate::cluster::{Cluster, Set};
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// What a StatefulSet depends on besides its cluster: which volume claims it mounts, and how many Pods.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instance {
    /// The instance's name.
    pub name: String,
    /// The data volume claim.
    pub data_claim: String,
    /// The WAL volume claim, mounted whenever it exists.
    pub wal_claim: Option<String>,
    /// 1, or 0 while the instance is shut down.
    pub replicas: i32,
}

/// The StatefulSet.
#[must_use]
pub fn stateful_set(cluster: &Cluster, set: &Set<'_>, instance: &Instance) -> Object {
    let selector = [
        (labels::CLUSTER, &*cluster.name),
        (labels::INSTANCE_SET, &*set.name),
        (labels::INSTANCE, &*instance.name),
    ];
    let own = [
        (labels::INSTANCE_SET, &*set.name),
        (labels::INSTANCE, &*instance.name),
        (labels::DATA, labels::data::IVORY),
    ];
    let scope = names::scope(&cluster.name);
    let mut template_labels = own.to_vec();
    template_labels.push((labels::PATRONI, &scope));
    let sources = [&cluster.spec.metadata, &set.spec.metadata];
    let mut annotations = annotations_of(&sources);
    annotations.insert("kubectl.kubernetes.io/default-container".into(), "database".into());
    let spec = StatefulSetSpec {
        replicas: Some(instance.replicas),
        revision_history_limit: Some(0),
        selector: LabelSelector {
            match_labels: Some(label_map(&selector)),
            match_expressions: None,
        },
        service_name: Some(names::pod_service(&cluster.name)),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels_of(cluster, &template_labels, &sources)),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(cluster, set, instance)),
        },
        // A Pod is renewed when the rollout says so, not when its template changes.
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("OnDelete".into()),
            rolling_update: None,
        }),
        ..StatefulSetSpec::default()
    };
    owned(cluster, Kind::StatefulSet, &instance.name, &own, &sources).with("spec", spec)
}

fn pod(cluster: &Cluster, set: &Set<'_>, instance: &Instance) -> PodSpec {
    let mut pod = furniture::pod(cluster, true);
    pod.service_account_name = Some(names::instance_rbac(&cluster.name));
    // One process tree, so that the helpers can signal PostgreSQL and pgBackRest.
    pod.share_process_namespace = Some(true);
    pod.affinity = set.spec.affinity.clone();
    pod.priority_class_name = set.spec.priority_class_name.clone();
    pod.tolerations = (!set.spec.tolerations.is_empty()).then(|| set.spec.tolerations.clone());
    pod.topology_spread_constraints =
        furniture::spread(cluster, &set.spec.topology_spread_constraints);
    pod.containers = vec![database(cluster, set), replication_cert_copy(cluster, set)];
    if cluster.has_repo_host() {
        pod.containers.extend(pgbackrest(cluster));
    }
    pod.containers.extend(set.spec.containers.iter().cloned());
    pod.init_containers = Some(vec![startup(cluster, set)]);
    volumes::add(&mut pod, cluster, set, instance);
    let mut nss =
        furniture::container(cluster, "nss-wrapper-init", cluster.images.database.as_ref());
    nss.resources = resources(set.spec.resources.as_ref());
    furniture::add_nss_wrapper(&mut pod, nss);
    furniture::add_tmp(&mut pod);
    pod
}

fn database(cluster: &Cluster, set: &Set<'_>) -> Container {
    let mut container =
        furniture::container(cluster, names::DATABASE_CONTAINER, cluster.images.database.as_ref());
    container.command = Some(["patroni", "/etc/patroni"].map(String::from).to_vec());
    container.ports = Some(vec![ContainerPort {
        name: Some(PORT_NAME.into()),
        container_port: cluster.spec.port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }]);
    container.resources = resources(set.spec.resources.as_ref());
    container.liveness_probe = Some(probe(cluster, "/liveness"));
    container.readiness_probe = Some(probe(cluster, "/readiness"));
    let mut env = postgres_environment(cluster);
    env.extend(patroni_environment(cluster));
    container.env = Some(env);
    container
}

fn postgres_environment(cluster: &Cluster) -> Vec<k8s_openapi::api::core::v1::EnvVar> {
    vec![
        variable("PGDATA", &cluster.data_directory()),
        variable("PGHOST", "/tmp/postgres"),
        variable("PGPORT", &cluster.spec.port.to_string()),
        variable("KRB5_CONFIG", "/etc/postgres/krb5.conf"),
        variable("KRB5RCACHEDIR", "/tmp"),
    ]
}

/// `$(PATRONI_NAME)` is expanded by the kubelet, so it comes first.
fn patroni_environment(cluster: &Cluster) -> Vec<k8s_openapi::api::core::v1::EnvVar> {
    let (port, rest) = (cluster.spec.port, cluster.spec.patroni.port);
    let address = |port| format!("$(PATRONI_NAME).{}:{port}", names::pod_service(&cluster.name));
    let directory = cluster.data_directory();
    vec![
        field_variable("PATRONI_NAME", "metadata.name"),
        field_variable("PATRONI_KUBERNETES_POD_IP", "status.podIP"),
        // The same ports as the leader Service has, or Patroni and the endpoints controller would quarrel.
        variable(
            "PATRONI_KUBERNETES_PORTS",
            &format!("- name: {PORT_NAME}\n  port: {port}\n  protocol: TCP\n"),
        ),
        variable("PATRONI_POSTGRESQL_CONNECT_ADDRESS", &address(port)),
        variable("PATRONI_POSTGRESQL_LISTEN", &format!("*:{port}")),
        variable("PATRONI_POSTGRESQL_CONFIG_DIR", &directory),
        variable("PATRONI_POSTGRESQL_DATA_DIR", &directory),
        variable("PATRONI_RESTAPI_CONNECT_ADDRESS", &address(rest)),
        variable("PATRONI_RESTAPI_LISTEN", &format!("*:{rest}")),
        variable("PATRONICTL_CONFIG_FILE", "/etc/patroni"),
    ]
}

/// A probe that fails no sooner than the leader's lease ends (`reference/reconcile.md` appendix C).
fn probe(cluster: &Cluster, path: &str) -> Probe {
    let patroni = &cluster.spec.patroni;
    let (lease, period) =
        (patroni.leader_lease_duration_seconds, patroni.sync_period_seconds.max(1));
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(patroni.port),
            scheme: Some("HTTPS".into()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(3),
        period_seconds: Some(period),
        timeout_seconds: Some((period / 2).max(1)),
        success_threshold: Some(1),
        failure_threshold: Some((lease / period).max(1)),
        ..Probe::default()
    }
}

fn replication_cert_copy(cluster: &Cluster, set: &Set<'_>) -> Container {
    let image = cluster.images.database.as_ref();
    let mut container = furniture::container(cluster, "replication-cert-copy", image);
    container.command = Some(crate::scripts::replication_cert_copy());
    container.resources = resources(set.spec.sidecars.replica_cert_copy.resources.as_ref());
    container
}

fn pgbackrest(cluster: &Cluster) -> [Container; 2] {
    let sidecars = &cluster.spec.backups.pgbackrest.sidecars;
    super::repo_host::server_containers(
        cluster,
        resources(sidecars.pgbackrest.resources.as_ref()),
        resources(sidecars.pgbackrest_config.resources.as_ref()),
    )
}

fn startup(cluster: &Cluster, set: &Set<'_>) -> Container {
    let image = cluster.images.database.as_ref();
    let mut container = furniture::container(cluster, "ivory-startup", image);
    let tablespaces: Vec<String> =
        set.spec.tablespace_volumes.iter().map(|t| t.name.clone()).collect();
    container.command = Some(crate::scripts::startup(
        cluster.spec.postgres_version,
        &cluster.wal_directory(set.spec),
        &tablespaces,
    ));
    container.env = Some(postgres_environment(cluster));
    container.resources = resources(set.spec.resources.as_ref());
    container
}
