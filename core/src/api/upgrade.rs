//! IvyUpgrade: a major version upgrade of an IvoryCluster.

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{ImagePullPolicy, Metadata, is_default, some_text};

/// What to upgrade, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "ivory-operator.ivorysql.org",
    version = "v1beta1",
    kind = "IvyUpgrade",
    plural = "ivyupgrades",
    singular = "ivyupgrade",
    namespaced,
    status = "IvyUpgradeStatus",
    derive = "PartialEq",
    doc = "An upgrade of an IvoryCluster to another major version of PostgreSQL.",
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".spec.ivoryclusterName","description":"The IvoryCluster to upgrade"}"#,
    printcolumn = r#"{"name":"From","type":"integer","jsonPath":".spec.fromIvoryVersion","description":"Major version before"}"#,
    printcolumn = r#"{"name":"To","type":"integer","jsonPath":".spec.toIvoryVersion","description":"Major version after"}"#,
    printcolumn = r#"{"name":"Succeeded","type":"string","jsonPath":".status.conditions[?(@.type==\"Succeeded\")].status","description":"Whether the upgrade is done"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct IvyUpgradeSpec {
    /// Where the Pods of the upgrade may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The major version that the cluster has.
    #[schemars(range(min = 10, max = 18))]
    pub from_ivory_version: i32,
    /// Image with the programs of both versions. When absent, the operator's
    /// RELATED_IMAGE_PGUPGRADE variable decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the image is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets in this namespace by which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The IvoryCluster in this namespace to upgrade. It must be shut down and must carry the
    /// annotation ivory-operator.ivorysql.org/allow-upgrade with the name of this object.
    #[schemars(length(min = 1))]
    pub ivorycluster_name: String,
    /// Labels and annotations for the Jobs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,
    /// The PriorityClass of the Pods.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// CPU and memory for the upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Has no effect. Kept so that old manifests are accepted.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub to_ivory_image: Option<String>,
    /// The major version that the cluster shall have.
    #[schemars(range(min = 10, max = 18))]
    pub to_ivory_version: i32,
    /// Taints of nodes that the Pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// How far the upgrade is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IvyUpgradeStatus {
    /// What is true of the upgrade, and what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the specification that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
}
