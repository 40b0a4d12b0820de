//! The volumes of an instance's Pod and who mounts them (`reference/reconcile.md` §2.10).

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, KeyToPath,
    ObjectFieldSelector, PersistentVolumeClaimVolumeSource, PodSpec, ResourceFieldSelector,
    SecretProjection, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Instance;
use crate::build::config_maps::{CLUSTER_KEY, INSTANCE_KEY};
use crate::build::furniture::{mount, projected, push_volume};
use crate::build::repo_host::{add_config_volume, add_server_volume, config_map, key, secret};
use crate::cluster::{Cluster, Set};
use crate::names;

pub(super) fn add(pod: &mut PodSpec, cluster: &Cluster, set: &Set<'_>, instance: &Instance) {
    push_volume(pod, projected("cert-volume", certificates(cluster), Some(0o600)));
    mount_in(
        pod,
        &["database", "replication-cert-copy", "ivory-startup"],
        "cert-volume",
        "/pgconf/tls",
        true,
    );
    claim(pod, "ivory-data", &instance.data_claim);
    let data = ["database", "pgbackrest", "ivory-startup"];
    mount_in(pod, &data, "ivory-data", "/pgdata", false);
    container_info(pod);
    for tablespace in &set.spec.tablespace_volumes {
        let volume = format!("tablespace-{}", tablespace.name);
        claim(pod, &volume, &names::tablespace_volume(&instance.name, &tablespace.name));
        mount_in(pod, &data, &volume, &format!("/tablespaces/{}", tablespace.name), false);
    }
    if !cluster.spec.config.files.is_empty() {
        push_volume(pod, projected("ivory-config", cluster.spec.config.files.clone(), None));
        mount_in(pod, &["database"], "ivory-config", "/etc/postgres", true);
    }
    if let Some(wal) = &instance.wal_claim {
        claim(pod, "ivory-wal", wal);
        mount_in(pod, &data, "ivory-wal", "/pgwal", false);
    }
    if cluster.has_repo_host() {
        add_server_volume(pod, &names::instance_certs(&instance.name), "pgbackrest-server");
    }
    add_config_volume(pod, cluster, "pgbackrest_instance.conf");
    patroni(pod, cluster, instance);
    let memory = EmptyDirVolumeSource { medium: Some("Memory".into()), size_limit: None };
    push_volume(pod, Volume { name: "dshm".into(), empty_dir: Some(memory), ..Volume::default() });
    mount_in(pod, &["database"], "dshm", "/dev/shm", false);
}

fn mount_in(pod: &mut PodSpec, containers: &[&str], volume: &str, path: &str, read_only: bool) {
    let all = pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten());
    for container in all.filter(|c| containers.contains(&&*c.name)) {
        mount(container, volume, path, read_only);
    }
}

fn claim(pod: &mut PodSpec, name: &str, claim: &str) {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.into(), read_only: None };
    let volume =
        Volume { name: name.into(), persistent_volume_claim: Some(source), ..Volume::default() };
    push_volume(pod, volume);
}

/// The server's certificate, then the replication client's below `replication/`. A custom Secret's own
/// mapping of keys to paths is kept.
fn certificates(cluster: &Cluster) -> Vec<VolumeProjection> {
    let files = ["tls.crt", "tls.key", "ca.crt"];
    let server = cluster.spec.custom_tls_secret.clone().unwrap_or_else(|| SecretProjection {
        name: names::cluster_cert(&cluster.name),
        items: Some(files.map(|f| key(f, f)).to_vec()),
        optional: None,
    });
    let below = |path: &str| format!("replication/{path}");
    let custom = cluster.spec.custom_replication_tls_secret.clone();
    let mut client = custom.unwrap_or_else(|| SecretProjection {
        name: names::replication_cert(&cluster.name),
        items: None,
        optional: None,
    });
    client.items = Some(match client.items.take() {
        Some(items) if !items.is_empty() => {
            items.into_iter().map(|i| KeyToPath { path: below(&i.path), ..i }).collect()
        }
        _ => files.map(|f| key(f, &below(f))).to_vec(),
    });
    [server, client]
        .map(|s| VolumeProjection { secret: Some(s), ..VolumeProjection::default() })
        .to_vec()
}

/// What the exporter's extension reads of the container's own limits.
fn container_info(pod: &mut PodSpec) {
    let resource = |path: &str, resource: &str, divisor: &str| DownwardAPIVolumeFile {
        path: path.into(),
        resource_field_ref: Some(ResourceFieldSelector {
            container_name: Some("database".into()),
            resource: resource.into(),
            divisor: Some(Quantity(divisor.into())),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let field = |path: &str| DownwardAPIVolumeFile {
        path: path.into(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".into()),
            field_path: format!("metadata.{path}"),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let items = vec![
        resource("cpu_limit", "limits.cpu", "1m"),
        resource("cpu_request", "requests.cpu", "1m"),
        resource("mem_limit", "limits.memory", "1Mi"),
        resource("mem_request", "requests.memory", "1Mi"),
        field("labels"),
        field("annotations"),
    ];
    let source = DownwardAPIVolumeSource { items: Some(items), default_mode: None };
    let name = "database-containerinfo";
    push_volume(pod, Volume { name: name.into(), downward_api: Some(source), ..Volume::default() });
    mount_in(pod, &["database"], name, "/etc/database-containerinfo", true);
}

/// Patroni reads the files of its directory in alphabetical order: names with a tilde come last and win.
fn patroni(pod: &mut PodSpec, cluster: &Cluster, instance: &Instance) {
    let sources = vec![
        config_map(
            &names::cluster_config(&cluster.name),
            vec![key(CLUSTER_KEY, "~ivory-operator_cluster.yaml")],
        ),
        config_map(
            &names::instance_config(&instance.name),
            vec![key(INSTANCE_KEY, "~ivory-operator_instance.yaml")],
        ),
        secret(
            &names::instance_certs(&instance.name),
            vec![
                key("patroni.ca-roots", "~ivory-operator/patroni.ca-roots"),
                key("patroni.crt-combined", "~ivory-operator/patroni.crt+key"),
            ],
            None,
        ),
    ];
    push_volume(pod, projected("patroni-config", sources, None));
    mount_in(pod, &["database"], "patroni-config", "/etc/patroni", true);
}
