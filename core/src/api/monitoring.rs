//! `spec.monitoring`: the metrics exporter.

use k8s_openapi::api::core::v1::{ResourceRequirements, SecretProjection, VolumeProjection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{is_default, some_text};

/// Monitoring of the database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Metrics in the manner of pgMonitor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pgmonitor: PgMonitor,
}

/// Metrics in the manner of pgMonitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgMonitor {
    /// The exporter of Prometheus metrics beside each instance. Present, even empty, it is switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
}

/// The exporter of Prometheus metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exporter {
    /// Sources of files with queries, which replace the default ones. The files appear in /conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<VolumeProjection>,
    /// A Secret with the certificate of the exporter, in tls.crt and tls.key. Metrics are then served over HTTPS.
    #[serde(rename = "customTLSSecret", skip_serializing_if = "Option::is_none")]
    pub custom_tls_secret: Option<SecretProjection>,
    /// Image of the exporter. When absent, the operator's RELATED_IMAGE_PGEXPORTER variable decides.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// CPU and memory for the exporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}
