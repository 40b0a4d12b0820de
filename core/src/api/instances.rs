//! `spec.instances`: sets of database instances.

use k8s_openapi::api::core::v1::{
    Affinity, Container, PersistentVolumeClaimSpec, ResourceRequirements, Toleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Metadata, Sidecar, is_default, some_text};

/// A set of instances that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSet {
    /// Where the Pods may run, beside the default spreading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// Containers of your own to run beside the database. Needs the feature gate InstanceSidecars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,

    /// The volume claim for the data of each instance.
    pub data_volume_claim_spec: PersistentVolumeClaimSpec,

    /// Labels and annotations for the objects of this set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: Metadata,

    /// How many Pods of this set, or what share of them, a voluntary disruption must leave
    /// running. When absent, 1 if the set has several instances, else there is no limit; 0 means
    /// no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,

    /// The name of this set, part of the names of its instances. When empty, the set is called
    /// by its place in the list: 00, 01 and so on.
    #[serde(default)]
    #[schemars(regex(pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"), length(max = 63))]
    pub name: String,

    /// The PriorityClass of the Pods.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,

    /// How many instances this set has.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub replicas: i32,

    /// CPU and memory for the database container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Settings of the containers that the operator adds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecars: InstanceSidecars,

    /// Volumes for tablespaces. Needs the feature gate TablespaceVolumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tablespace_volumes: Vec<TablespaceVolume>,

    /// Taints of nodes that the Pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// How the Pods spread over nodes and zones, before the default constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// A separate volume claim for the write-ahead log of each instance. When it is taken away,
    /// the log is moved back to the data volume before the claim is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_volume_claim_spec: Option<PersistentVolumeClaimSpec>,
}

impl InstanceSet {
    /// The set's name when it stands at this place (from 0) of `spec.instances`.
    #[must_use]
    pub fn name_at(&self, index: usize) -> String {
        if self.name.is_empty() { format!("{index:02}") } else { self.name.clone() }
    }
}

/// The containers that the operator adds to an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSidecars {
    /// The container replication-cert-copy, which keeps the replication certificate fresh.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replica_cert_copy: Sidecar,
}

/// A volume for tablespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TablespaceVolume {
    /// The volume claim of each instance.
    pub data_volume_claim_spec: PersistentVolumeClaimSpec,
    /// The name of the volume. It appears at /tablespaces/NAME.
    #[schemars(regex(pattern = "^[a-z][a-z0-9]*$"), length(min = 1))]
    pub name: String,
}

fn one() -> i32 {
    1
}
