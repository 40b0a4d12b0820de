//! `spec.proxy`: the connection pooler PgBouncer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, ResourceRequirements, SecretProjection, Toleration,
    TopologySpreadConstraint, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Metadata, ServiceSpec, Sidecar, is_default, some_text};

/// The connection pooler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// PgBouncer. Present, even empty, it is switched on.
    pub pg_bouncer: PgBouncer,
}

/// Settings of PgBouncer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBouncer {
    /// Where the Pods may run, beside the default spreading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Settings in PgBouncer's own files. Changes are loaded without a restart where PgBouncer can.
    #[serde(default, skip_serializing_if = "is_default")]
    pub config: PgBouncerConfig,
    /// Containers of your own to run beside PgBouncer. Needs the feature gate PGBouncerSidecars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// A Secret with the certificate that PgBouncer shows to clients. Its keys are tls.crt,
    /// tls.key and ca.crt, unless items map others to these paths.
    #[serde(rename = "customTLSSecret", skip_serializing_if = "Option::is_none")]
    pub custom_tls_secret: Option<SecretProjection>,
    /// Image of PgBouncer. When absent, the operator's RELATED_IMAGE_PGBOUNCER variable decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Labels and annotations for the objects of PgBouncer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,
    /// How many Pods, or what share of them, a voluntary disruption must leave running. When
    /// absent, 1 if there are several, else there is no limit; 0 means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// The port of PgBouncer and of its Service.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// The PriorityClass of the Pods.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// How many Pods run PgBouncer.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// CPU and memory for the PgBouncer container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How PgBouncer's Service is published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: ServiceSpec,
    /// Settings of the containers that the operator adds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecars: PgBouncerSidecars,
    /// Taints of nodes that the Pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How the Pods spread over nodes and zones, before the default constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

/// Settings in PgBouncer's own files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBouncerConfig {
    /// Connection strings by database name, the section databases. When given, only these
    /// databases can be reached.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, String>,
    /// Sources whose files appear under /etc/pgbouncer. A file pgbouncer.ini among them is read
    /// before the settings here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VolumeProjection>,
    /// Settings of the section pgbouncer. They take precedence over those of the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub global: BTreeMap<String, String>,
    /// Settings by user name, the section users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, String>,
}

/// The containers that the operator adds to PgBouncer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBouncerSidecars {
    /// The container that loads changed PgBouncer configuration.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pgbouncer_config: Sidecar,
}

fn default_port() -> i32 {
    5432
}

fn one() -> i32 {
    1
}
