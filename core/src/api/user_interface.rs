//! `spec.userInterface`: pgAdmin.

use k8s_openapi::api::core::v1::{
    Affinity, PersistentVolumeClaimSpec, ResourceRequirements, SecretKeySelector, Toleration,
    TopologySpreadConstraint, VolumeProjection,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shared::{Metadata, ServiceSpec, is_default, some_text};

/// A user interface for the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserInterface {
    /// pgAdmin. Present, it is switched on.
    pub pg_admin: PgAdmin,
}

/// Settings of pgAdmin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgAdmin {
    /// Where the Pod may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Settings of pgAdmin itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub config: PgAdminConfig,
    /// The volume claim for pgAdmin's own data.
    pub data_volume_claim_spec: PersistentVolumeClaimSpec,
    /// Image of pgAdmin. When absent, the operator's RELATED_IMAGE_PGADMIN variable decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Labels and annotations for the objects of pgAdmin.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,
    /// The PriorityClass of the Pod.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// 1 to run pgAdmin, 0 to stop it.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1))]
    pub replicas: i32,
    /// CPU and memory for pgAdmin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How pgAdmin's Service is published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: ServiceSpec,
    /// Taints of nodes that the Pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How the Pod spreads over nodes and zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

/// Settings of pgAdmin itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgAdminConfig {
    /// Sources whose files appear in /etc/pgadmin/conf.d.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VolumeProjection>,
    /// The key of a Secret with the password for the LDAP server (pgAdmin's LDAP_BIND_PASSWORD).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ldap_bind_password: Option<SecretKeySelector>,
    /// Settings in capital letters, as pgAdmin's documentation has them. SERVER_MODE is always true.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::shared::free_form")]
    pub settings: Map<String, Value>,
}

fn one() -> i32 {
    1
}
