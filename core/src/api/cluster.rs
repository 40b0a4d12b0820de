//! `spec` of an IvoryCluster: what concerns the cluster as a whole. Every larger topic has a file of its own.

use k8s_openapi::api::core::v1::{LocalObjectReference, SecretProjection, VolumeProjection};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backups::Backups;
use super::data_source::DataSource;
use super::instances::InstanceSet;
use super::monitoring::Monitoring;
use super::patroni::Patroni;
use super::proxy::{PgBouncer, Proxy};
use super::shared::{ImagePullPolicy, Metadata, ServiceSpec, is_default, some_text};
use super::status::IvoryClusterStatus;
use super::user_interface::{PgAdmin, UserInterface};
use super::users::User;

/// What the database cluster shall be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "ivory-operator.ivorysql.org",
    version = "v1beta1",
    kind = "IvoryCluster",
    plural = "ivoryclusters",
    singular = "ivorycluster",
    namespaced,
    status = "IvoryClusterStatus",
    derive = "PartialEq",
    doc = "A highly available IvorySQL database cluster.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"Whether the cluster serves as specified"}"#,
    printcolumn = r#"{"name":"Primary","type":"string","jsonPath":".status.patroni.primary","description":"The instance that accepts writes"}"#,
    printcolumn = r#"{"name":"Version","type":"integer","jsonPath":".spec.postgresVersion","description":"Major version of PostgreSQL"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct IvoryClusterSpec {
    /// How the cluster is backed up.
    pub backups: Backups,

    /// Files for the database server beside those that the operator writes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub config: ServerConfig,

    /// A Secret with the client certificate that replicas use towards the primary. Its keys are
    /// tls.crt, tls.key and ca.crt, unless items map others to these paths. Give it together with
    /// customTLSSecret; both must come from the same certificate authority.
    #[serde(rename = "customReplicationTLSSecret", skip_serializing_if = "Option::is_none")]
    pub custom_replication_tls_secret: Option<SecretProjection>,

    /// A Secret with the certificate of the database server. Its keys are tls.crt, tls.key and
    /// ca.crt, unless items map others to these paths. Give it together with
    /// customReplicationTLSSecret; both must come from the same certificate authority.
    #[serde(rename = "customTLSSecret", skip_serializing_if = "Option::is_none")]
    pub custom_tls_secret: Option<SecretProjection>,

    /// Where the data of a new cluster comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<DataSource>,

    /// SQL to run once in the new cluster.
    #[serde(rename = "databaseInitSQL", skip_serializing_if = "Option::is_none")]
    pub database_init_sql: Option<DatabaseInitSql>,

    /// Leave out the two constraints by which the operator spreads Pods over nodes and zones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disable_default_pod_scheduling: bool,

    /// Image of the database container. When absent, the operator's RELATED_IMAGE_IVORY variable
    /// for the version decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// When images are pulled, for every container of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets in this namespace by which images are pulled, for every Pod of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Sets of database instances. All instances of all sets form one cluster with one primary.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub instances: Vec<InstanceSet>,

    /// Labels and annotations for almost every object of the cluster. Changing an annotation
    /// restarts the instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,

    /// Monitoring of the database.
    #[serde(default, skip_serializing_if = "is_default")]
    pub monitoring: Monitoring,

    /// Whether the cluster runs on OpenShift, where security context constraints choose file
    /// system groups. Detected when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openshift: Option<bool>,

    /// High availability settings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patroni: Patroni,

    /// Leave the cluster alone: the operator changes nothing but the Progressing condition while
    /// this is true. Deletion still works.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,

    /// The port of the database server and of its Services.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,

    /// Version of PostGIS, for example 3.5. It selects an image that has PostGIS, and its extensions are created.
    #[serde(
        rename = "postGISVersion",
        default,
        deserialize_with = "some_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub post_gis_version: Option<String>,

    /// Major version of PostgreSQL that the image has.
    #[schemars(range(min = 10, max = 18))]
    pub postgres_version: i32,

    /// The connection pooler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,

    /// How the Service that leads to the primary is published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: ServiceSpec,

    /// Stop the cluster: no Pod runs and no scheduled backup starts while this is true. Volumes
    /// and Services stay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shutdown: bool,

    /// Follow another cluster, read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,

    /// Further group IDs for the processes of Pods that have volumes, for storage that is
    /// accessible by group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 2_147_483_647)))]
    pub supplemental_groups: Vec<i64>,

    /// A user interface for the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_interface: Option<UserInterface>,

    /// Database roles that the operator creates, and their databases. When absent, one role and
    /// one database named after the cluster; an empty list means none. Taking a role off the list
    /// deletes its Secret and keeps the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub users: Option<Vec<User>>,
}

impl IvoryClusterSpec {
    /// The connection pooler, if one is wanted.
    #[must_use]
    pub fn pg_bouncer(&self) -> Option<&PgBouncer> {
        self.proxy.as_ref().map(|proxy| &proxy.pg_bouncer)
    }

    /// The user interface, if one is wanted.
    #[must_use]
    pub fn pg_admin(&self) -> Option<&PgAdmin> {
        self.user_interface.as_ref().map(|ui| &ui.pg_admin)
    }

    /// The standby settings, if they are there and not switched off.
    #[must_use]
    pub fn active_standby(&self) -> Option<&Standby> {
        self.standby.as_ref().filter(|standby| standby.enabled)
    }

    /// Every instance set with its name; an unnamed set is called by its place in the list (`00`, `01`, …).
    pub fn sets(&self) -> impl Iterator<Item = (String, &InstanceSet)> {
        let sets = self.instances.iter().enumerate();
        sets.map(|(index, set)| (set.name_at(index), set))
    }
}

/// Files for the database server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// Sources whose files appear, read-only, under /etc/postgres in the database container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VolumeProjection>,
}

/// A ConfigMap with SQL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInitSql {
    /// The key in the ConfigMap that holds the SQL.
    pub key: String,
    /// The name of a ConfigMap in this namespace.
    pub name: String,
}

/// What a standby cluster follows: an archive, a server, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standby {
    /// Whether the cluster follows. Setting it to false promotes the cluster.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Address of the server to stream from.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port of the server to stream from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: Option<i32>,
    /// The repository of this cluster's backups that holds the archive to follow.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^repo[1-4]$"))]
    pub repo_name: Option<String>,
}

fn default_port() -> i32 {
    5432
}

fn yes() -> bool {
    true
}
