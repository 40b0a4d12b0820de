//! The Job that takes a backup (`reference/components.md` §1.10): a helper in the image finds the Pod
//! with the repository or the primary, and runs pgBackRest there.

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::backups::Repo;
use crate::build::furniture::{self, resources, variable};
use crate::build::meta::{annotations_of, labels_of, owned};
use crate::build::repo_host;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// What distinguishes one backup Job from another.
#[derive(Clone, Debug)]
pub struct BackupJob<'a> {
    /// The Job's name.
    pub name: &'a str,
    /// Where the backup goes.
    pub repo: &'a Repo,
    /// `replica-create` or `manual`.
    pub purpose: &'a str,
    /// Annotations that remember what it was made for.
    pub annotations: Vec<(&'a str, String)>,
    /// More options for pgBackRest.
    pub options: Vec<String>,
}

/// The container in which the backup command runs: that of the repository host, or the database itself.
#[must_use]
pub fn target_container(repo: &Repo) -> &'static str {
    if repo.volume.is_some() { "pgbackrest" } else { names::DATABASE_CONTAINER }
}

/// The Job.
#[must_use]
pub fn job(cluster: &Cluster, job: &BackupJob<'_>) -> Object {
    let settings = &cluster.spec.backups.pgbackrest;
    let own = [
        (labels::PGBACKREST, ""),
        (labels::PGBACKREST_REPO, &*job.repo.name),
        (labels::PGBACKREST_BACKUP, job.purpose),
    ];
    let sources = [&cluster.spec.metadata, &settings.metadata];
    let mut annotations = annotations_of(&sources);
    annotations.extend(job.annotations.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    // With the group of volumes, so that the helper can read the key among the settings that it compares.
    let mut pod = furniture::pod(cluster, true);
    pod.service_account_name = Some(names::pgbackrest_rbac(&cluster.name));
    // A failed attempt gets a new Pod, with the settings of that moment.
    pod.restart_policy = Some("Never".into());
    pod.affinity = settings.jobs.affinity.clone();
    pod.priority_class_name = settings.jobs.priority_class_name.clone();
    let tolerations = &settings.jobs.tolerations;
    pod.tolerations = (!tolerations.is_empty()).then(|| tolerations.clone());
    let image = cluster.images.pgbackrest.as_ref();
    let mut container = furniture::container(cluster, "pgbackrest", image);
    container.command = Some(vec!["/opt/crunchy/bin/pgbackrest".into()]);
    container.resources = resources(settings.jobs.resources.as_ref());
    container.env = Some(vec![
        variable("COMMAND", "backup"),
        variable("COMMAND_OPTS", &options(cluster, job)),
        variable("COMPARE_HASH", "true"),
        variable("CONTAINER", target_container(job.repo)),
        variable("NAMESPACE", &cluster.namespace),
        variable("SELECTOR", &selector(cluster, job.repo)),
    ]);
    pod.containers = vec![container];
    let file = match job.repo.volume {
        Some(_) => "pgbackrest_repo.conf",
        None => "pgbackrest_instance.conf",
    };
    repo_host::add_config_volume(&mut pod, cluster, file);
    let spec = JobSpec {
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels_of(cluster, &own, &sources)),
                annotations: Some(annotations.clone()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod),
        },
        ttl_seconds_after_finished: settings.jobs.ttl_seconds_after_finished,
        ..JobSpec::default()
    };
    let mut object = owned(cluster, Kind::Job, job.name, &own, &sources).with("spec", spec);
    object.meta.annotations = annotations.into();
    object
}

fn options(cluster: &Cluster, job: &BackupJob<'_>) -> String {
    let number = job.repo.name.trim_start_matches("repo");
    let mut words = vec![
        format!("--stanza={}", names::STANZA),
        format!("--repo={number}"),
        format!("--pg-version-force={}", cluster.spec.postgres_version),
    ];
    words.extend(job.options.iter().cloned());
    words.join(" ")
}

/// The label selector of the one Pod that runs the command, in sorted order.
fn selector(cluster: &Cluster, repo: &Repo) -> String {
    if repo.volume.is_some() {
        let pairs = repo_host::selector(cluster);
        return pairs.map(|(key, value)| format!("{key}={value}")).join(",");
    }
    [
        format!("{}={}", labels::CLUSTER, cluster.name),
        labels::INSTANCE.to_owned(),
        format!("{}={}", labels::ROLE, labels::role::MASTER),
    ]
    .join(",")
}
