//! The repository host, and the pgBackRest containers and volumes that it shares with instances
//! (`reference/components.md` §1.3, §1.5).

use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, ExecAction, KeyToPath, PersistentVolumeClaimVolumeSource,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SecretProjection, Volume,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::build::furniture::{self, label_map, mount, projected, push_volume, resources};
use crate::build::meta::{annotations_of, labels_of, owned};
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// The labels that select the repository host's Pod.
#[must_use]
pub fn selector(cluster: &Cluster) -> [(&str, &str); 3] {
    [(labels::CLUSTER, &cluster.name), (labels::PGBACKREST, ""), (labels::PGBACKREST_DEDICATED, "")]
}

/// The StatefulSet of the repository host. `claims` names the volume claim of each repository on a volume.
#[must_use]
pub fn stateful_set(
    cluster: &Cluster,
    name: &str,
    claims: &[(String, String)],
    replicas: i32,
) -> Object {
    let own = [
        (labels::PGBACKREST, ""),
        (labels::PGBACKREST_DEDICATED, ""),
        (labels::DATA, labels::data::PGBACKREST),
    ];
    let sources = [&cluster.spec.metadata, &cluster.spec.backups.pgbackrest.metadata];
    let spec = StatefulSetSpec {
        // A broken rollout must not keep a mended Pod from being made.
        pod_management_policy: Some("Parallel".into()),
        replicas: Some(replicas),
        selector: LabelSelector {
            match_labels: Some(label_map(&selector(cluster))),
            match_expressions: None,
        },
        service_name: Some(names::pod_service(&cluster.name)),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels_of(cluster, &own, &sources)),
                annotations: Some(annotations_of(&sources)).filter(|a| !a.is_empty()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(cluster, claims)),
        },
        ..StatefulSetSpec::default()
    };
    owned(cluster, Kind::StatefulSet, name, &own, &sources).with("spec", spec)
}

fn pod(cluster: &Cluster, claims: &[(String, String)]) -> PodSpec {
    let host = &cluster.spec.backups.pgbackrest.repo_host;
    let mut pod = furniture::pod(cluster, true);
    pod.automount_service_account_token = Some(false);
    pod.share_process_namespace = Some(true);
    pod.affinity = host.affinity.clone();
    pod.priority_class_name = host.priority_class_name.clone();
    pod.tolerations = (!host.tolerations.is_empty()).then(|| host.tolerations.clone());
    pod.topology_spread_constraints = furniture::spread(cluster, &host.topology_spread_constraints);
    let wanted = resources(host.resources.as_ref());
    let sidecar = &cluster.spec.backups.pgbackrest.sidecars.pgbackrest_config;
    pod.containers =
        server_containers(cluster, wanted.clone(), resources(sidecar.resources.as_ref())).into();
    let mut log = container(cluster, "pgbackrest-log-dir");
    let first = claims.first().map_or("repo1", |(repo, _)| repo);
    log.command = Some(["bash", "-c"].map(String::from).to_vec());
    log.command.get_or_insert_default().push(format!("mkdir -p /pgbackrest/{first}/log"));
    log.resources = wanted.clone();
    for (repo, claim) in claims {
        let source =
            PersistentVolumeClaimVolumeSource { claim_name: claim.clone(), read_only: None };
        let volume = Volume {
            name: repo.clone(),
            persistent_volume_claim: Some(source),
            ..Volume::default()
        };
        push_volume(&mut pod, volume);
        let path = format!("/pgbackrest/{repo}");
        mount(&mut log, repo, &path, false);
        mount(&mut pod.containers[0], repo, &path, false);
    }
    pod.init_containers = Some(vec![log]);
    add_server_volume(&mut pod, &names::pgbackrest_secret(&cluster.name), "pgbackrest-repo-host");
    add_config_volume(&mut pod, cluster, "pgbackrest_repo.conf");
    let mut nss = container(cluster, "nss-wrapper-init");
    nss.resources = wanted;
    furniture::add_nss_wrapper(&mut pod, nss);
    furniture::add_tmp(&mut pod);
    pod
}

fn container(cluster: &Cluster, name: &str) -> Container {
    furniture::container(cluster, name, cluster.images.pgbackrest.as_ref())
}

/// The TLS server, and the helper that makes it read new settings and certificates.
#[must_use]
pub fn server_containers(
    cluster: &Cluster,
    server_resources: Option<ResourceRequirements>,
    helper_resources: Option<ResourceRequirements>,
) -> [Container; 2] {
    let words = |words: [&str; 2]| Some(words.map(String::from).to_vec());
    let mut server = container(cluster, "pgbackrest");
    server.command = words(["pgbackrest", "server"]);
    server.liveness_probe = Some(Probe {
        exec: Some(ExecAction { command: words(["pgbackrest", "server-ping"]) }),
        ..Probe::default()
    });
    server.resources = server_resources;
    let mut helper = container(cluster, "pgbackrest-config");
    helper.command = Some(crate::scripts::pgbackrest_reload());
    helper.resources = helper_resources;
    [server, helper]
}

/// Adds the server's certificate: `secret` holds it under `<prefix>.crt` and `<prefix>.key`.
pub fn add_server_volume(pod: &mut PodSpec, secret_name: &str, prefix: &str) {
    let mut private = key(&format!("{prefix}.key"), "server-tls.key");
    private.mode = Some(0o600);
    let items = vec![key(&format!("{prefix}.crt"), "server-tls.crt"), private];
    push_volume(pod, projected("pgbackrest-server", vec![secret(secret_name, items, None)], None));
    for container in &mut pod.containers {
        if ["pgbackrest", "pgbackrest-config"].contains(&&*container.name) {
            mount(container, "pgbackrest-server", "/etc/pgbackrest/server", true);
        }
    }
}

/// Adds pgBackRest's settings, the user's files first so that ours win.
pub fn add_config_volume(pod: &mut PodSpec, cluster: &Cluster, file: &str) {
    let mut sources = cluster.spec.backups.pgbackrest.configuration.clone();
    let mut files = vec![key(file, file), key("config-hash", "config-hash")];
    if cluster.has_repo_host() {
        files.push(key("pgbackrest-server.conf", "~ivory-operator_server.conf"));
    }
    sources.push(config_map(&names::pgbackrest_config(&cluster.name), files));
    if cluster.has_repo_host() {
        let mut private = key("pgbackrest-client.key", "~ivory-operator/client-tls.key");
        private.mode = Some(0o600);
        let items = vec![
            key("pgbackrest.ca-roots", "~ivory-operator/tls-ca.crt"),
            key("pgbackrest-client.crt", "~ivory-operator/client-tls.crt"),
            private,
        ];
        sources.push(secret(&names::pgbackrest_secret(&cluster.name), items, Some(true)));
    }
    push_volume(pod, projected("pgbackrest-config", sources, None));
    for container in &mut pod.containers {
        if ["database", "pgbackrest", "pgbackrest-config"].contains(&&*container.name) {
            mount(container, "pgbackrest-config", "/etc/pgbackrest/conf.d", true);
        }
    }
}

/// One key of a ConfigMap or Secret as a file.
#[must_use]
pub fn key(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.into(), path: path.into(), mode: None }
}

/// Keys of a ConfigMap as files.
#[must_use]
pub fn config_map(name: &str, items: Vec<KeyToPath>) -> VolumeProjection {
    let config_map = ConfigMapProjection { name: name.into(), items: Some(items), optional: None };
    VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() }
}

/// Keys of a Secret as files.
#[must_use]
pub fn secret(name: &str, items: Vec<KeyToPath>, optional: Option<bool>) -> VolumeProjection {
    let secret = SecretProjection { name: name.into(), items: Some(items), optional };
    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
}
