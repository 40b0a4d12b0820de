//! `spec.backups`: pgBackRest, its repositories, and the Jobs that use them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapProjection, PersistentVolumeClaimSpec, ResourceRequirements,
    SecretProjection, Toleration, TopologySpreadConstraint, VolumeProjection,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_source::ClusterDataSource;
use super::shared::{Metadata, Sidecar, is_default, some_text};

/// How the cluster is backed up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backups {
    /// Backups and the archive of write-ahead log by pgBackRest.
    pub pgbackrest: PgBackRest,
}

/// Settings of pgBackRest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBackRest {
    /// Sources of configuration files, for example Secrets with the keys of an object store. The
    /// files appear in /etc/pgbackrest/conf.d.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<VolumeProjection>,

    /// Options for the section global of pgBackRest's configuration, for example
    /// repo1-retention-full. They take precedence over those of the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub global: BTreeMap<String, String>,

    /// Image of every container that runs pgBackRest apart from the database's. When absent, the
    /// operator's RELATED_IMAGE_PGBACKREST variable decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Settings of all backup Jobs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub jobs: BackupJobs,

    /// A backup by hand. It is taken when the annotation
    /// ivory-operator.ivorysql.org/pgbackrest-backup gets a new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualBackup>,

    /// Labels and annotations for the objects that serve backups.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,

    /// Settings of the Pod that owns the repositories on volumes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repo_host: RepoHost,

    /// The repositories, up to four. New replicas are made from the first one.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub repos: Vec<Repo>,

    /// A restore of this cluster over its own data. It is carried out when the annotation
    /// ivory-operator.ivorysql.org/pgbackrest-restore gets a new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,

    /// Settings of the containers that the operator adds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecars: PgBackRestSidecars,
}

/// Settings of all backup Jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupJobs {
    /// Where the Pods may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The PriorityClass of the Pods.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// CPU and memory for the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Taints of nodes that the Pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How long a finished Job stays, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// A backup by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualBackup {
    /// Options for the command pgbackrest backup, for example --type=full. The option --repo is
    /// not for here; repoName says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The repository to back up to.
    #[schemars(regex(pattern = "^repo[1-4]$"))]
    pub repo_name: String,
}

/// Settings of the Pod that owns the repositories on volumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoHost {
    /// Where the Pod may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The PriorityClass of the Pod.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// CPU and memory for the pgbackrest container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Has no effect: connections to the repository host use TLS. Kept so that old manifests
    /// are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_config_map: Option<ConfigMapProjection>,
    /// Has no effect: connections to the repository host use TLS. Kept so that old manifests
    /// are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_secret: Option<SecretProjection>,
    /// Taints of nodes that the Pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How the Pod spreads over nodes and zones, before the default constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

/// A pgBackRest repository. Exactly one of volume, s3, gcs and azure says where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repo {
    /// A repository in Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureRepo>,
    /// A repository in Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsRepo>,
    /// The name: repo1, repo2, repo3 or repo4.
    #[schemars(regex(pattern = "^repo[1-4]$"))]
    pub name: String,
    /// A repository in S3 or a store that speaks its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Repo>,
    /// When backups to this repository start by themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schedules: Schedules,
    /// A repository on a volume of this Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<RepoVolume>,
}

/// A repository in Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureRepo {
    /// The name of the blob container.
    pub container: String,
}

/// A repository in Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsRepo {
    /// The name of the bucket.
    pub bucket: String,
}

/// A repository in S3.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Repo {
    /// The name of the bucket.
    pub bucket: String,
    /// The address of the store.
    pub endpoint: String,
    /// The region of the store.
    pub region: String,
}

/// When backups start, as cron expressions of five fields in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedules {
    /// When differential backups start: what changed since the last full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6))]
    pub differential: Option<String>,
    /// When full backups start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6))]
    pub full: Option<String>,
    /// When incremental backups start: what changed since the last one of any kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6))]
    pub incremental: Option<String>,
}

/// A repository on a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoVolume {
    /// The volume claim of the repository.
    pub volume_claim_spec: PersistentVolumeClaimSpec,
}

/// A restore of a cluster over its own data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    /// Whether the pgbackrest-restore annotation has an effect.
    #[serde(default)]
    pub enabled: bool,
    /// What to restore, and how.
    #[serde(flatten)]
    pub source: ClusterDataSource,
}

/// The containers that the operator adds for pgBackRest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBackRestSidecars {
    /// The pgBackRest server in the Pods of instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pgbackrest: Sidecar,
    /// The container that loads changed pgBackRest configuration.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pgbackrest_config: Sidecar,
}
