//! `status` of an IvoryCluster: what the operator found and remembers. The types of its conditions
//! are listed with the code that sets them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the database cluster is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IvoryClusterStatus {
    /// What is true of the cluster, and what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The ConfigMap whose SQL was run.
    #[serde(rename = "databaseInitSQL", skip_serializing_if = "Option::is_none")]
    pub database_init_sql: Option<String>,
    /// Identifies the databases and extensions that were last made as specified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_revision: Option<String>,
    /// The instance sets: those of the specification, and others that still have Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub instances: Vec<InstanceSetStatus>,
    /// State of monitoring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<MonitoringStatus>,
    /// The generation of the specification that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// State of high availability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patroni: Option<PatroniStatus>,
    /// State of backups and restores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgbackrest: Option<PgBackRestStatus>,
    /// The major version to which the data was last upgraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_version: Option<i32>,
    /// State of the connection pooler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyStatus>,
    /// The instance that starts first and stops last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_instance: Option<String>,
    /// The set of startupInstance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_instance_set: Option<String>,
    /// State of the user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_interface: Option<UserInterfaceStatus>,
    /// Identifies the roles that were last made as specified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_revision: Option<String>,
}

impl IvoryClusterStatus {
    /// A condition by its type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.type_ == kind)
    }

    /// Whether a condition is there, and is False.
    #[must_use]
    pub fn says_no(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|c| c.status == "False")
    }
}

/// State of an instance set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSetStatus {
    /// The name of the set.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many of its Pods are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// How many Pods it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How many of its Pods are as specified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<i32>,
}

/// State of monitoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringStatus {
    /// Identifies what was last set up in the database for the exporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter_configuration: Option<String>,
}

/// State of high availability.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatroniStatus {
    /// The instance that leads: the primary, or in a standby cluster the one that follows the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The value of the trigger-switchover annotation that was carried out last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover: Option<String>,
    /// The timeline at which the requested switchover began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover_timeline: Option<i64>,
    /// PostgreSQL's system identifier. While it is there, the cluster has data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
}

/// State of backups and restores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBackRestStatus {
    /// The backup that was asked for by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manual_backup: Option<JobStatus>,
    /// The Pod that owns the repositories on volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_host: Option<RepoHostStatus>,
    /// The repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub repos: Vec<RepoStatus>,
    /// The restore in place, or the restore that filled this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<JobStatus>,
    /// The Jobs of scheduled backups that are still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduled_backups: Vec<ScheduledBackupStatus>,
}

/// State of a Job that was asked for by an annotation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// How many of its Pods run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<i32>,
    /// When it completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How many of its Pods failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<i32>,
    /// Whether it ended, well or not.
    pub finished: bool,
    /// The value of the annotation that asked for it.
    pub id: String,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How many of its Pods succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<i32>,
}

/// State of the Pod that owns the repositories on volumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoHostStatus {
    /// API version of the workload, apps/v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the workload, StatefulSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

/// State of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoStatus {
    /// Whether its volume claim is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<bool>,
    /// The name of the repository.
    pub name: String,
    /// Whether it has the backup from which replicas are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_create_backup_complete: Option<bool>,
    /// Identifies the place in the object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_options_hash: Option<String>,
    /// Whether pgBackRest's stanza exists in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stanza_created: Option<bool>,
    /// The PersistentVolume that its claim is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// State of a scheduled backup's Job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledBackupStatus {
    /// How many of its Pods run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<i32>,
    /// When it completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The CronJob that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_job_name: Option<String>,
    /// How many of its Pods failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<i32>,
    /// The repository that it backs up to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How many of its Pods succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<i32>,
    /// The type of backup: full, diff or incr.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

/// State of the connection pooler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// State of PgBouncer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_bouncer: Option<PgBouncerStatus>,
}

/// State of PgBouncer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBouncerStatus {
    /// Identifies what was last set up in the database for PgBouncer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_revision: Option<String>,
    /// How many of its Pods are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// How many Pods it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}

/// State of the user interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserInterfaceStatus {
    /// State of pgAdmin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_admin: Option<PgAdminStatus>,
}

/// State of pgAdmin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgAdminStatus {
    /// Identifies the users that were last written to pgAdmin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_revision: Option<String>,
}
