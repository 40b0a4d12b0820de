//! `spec.dataSource`: where the data of a new cluster comes from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration, VolumeProjection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backups::Repo;
use super::shared::some_text;

/// Where the data of a new cluster comes from. It has no effect once the cluster has data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataSource {
    /// Backups of an IvoryCluster in this Kubernetes. Takes precedence over pgbackrest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ivory_cluster: Option<ClusterDataSource>,
    /// A pgBackRest repository in an object store, whether or not its cluster still exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgbackrest: Option<RepoDataSource>,
    /// Volumes that already hold the data of a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Volumes>,
}

/// Backups of an IvoryCluster: which, and how they are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDataSource {
    /// Where the restore Job may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The IvoryCluster whose backups are restored. When absent, this one.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// The namespace of that IvoryCluster. When absent, this one.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub cluster_namespace: Option<String>,
    /// Options for the command pgbackrest restore, for example --type=time and --target. The
    /// options --repo, --stanza, --pg1-path, --target-action and --link-map are not for here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The PriorityClass of the restore Job.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The repository, in that IvoryCluster, to restore from.
    #[schemars(regex(pattern = "^repo[1-4]$"))]
    pub repo_name: String,
    /// CPU and memory for the restore Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Taints of nodes that the restore Job tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// A pgBackRest repository in an object store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoDataSource {
    /// Where the restore Job may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Sources of configuration files, for example Secrets with the keys of the object store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<VolumeProjection>,
    /// Options for the section global of pgBackRest's configuration during the restore, for
    /// example repo1-path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub global: BTreeMap<String, String>,
    /// Options for the command pgbackrest restore, for example --type=time and --target. The
    /// options --repo, --stanza, --pg1-path, --target-action and --link-map are not for here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The PriorityClass of the restore Job.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The repository to restore from: s3, gcs or azure.
    pub repo: Repo,
    /// CPU and memory for the restore Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The stanza in the repository, the name under which pgBackRest keeps one database.
    #[serde(default = "default_stanza")]
    pub stanza: String,
    /// Taints of nodes that the restore Job tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// Volumes that already hold the data of a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volumes {
    /// A volume with a pgBackRest repository. It becomes the first of backups.pgbackrest.repos,
    /// which must be on a volume.
    #[serde(rename = "pgBackRestVolume", skip_serializing_if = "Option::is_none")]
    pub pg_back_rest_volume: Option<ExistingVolume>,
    /// A volume with a data directory. It becomes the data of the first instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_data_volume: Option<ExistingVolume>,
    /// A volume with the write-ahead log that belongs to pgDataVolume.
    #[serde(rename = "pgWALVolume", skip_serializing_if = "Option::is_none")]
    pub pg_wal_volume: Option<ExistingVolume>,
}

/// A volume claim that exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExistingVolume {
    /// The directory, on the volume, whose content is moved to where this cluster expects it.
    /// When absent, nothing is moved.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The name of the PersistentVolumeClaim in this namespace.
    pub pvc_name: String,
}

fn default_stanza() -> String {
    "db".to_owned()
}
