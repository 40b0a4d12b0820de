//! `spec.patroni`: high availability.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shared::some_text;

/// Settings of Patroni, which keeps one instance the primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patroni {
    /// Patroni's dynamic configuration, as its documentation has it; PostgreSQL parameters are
    /// below postgresql.parameters. What the operator depends on takes precedence.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::shared::free_form")]
    pub dynamic_configuration: Map<String, Value>,

    /// How long the primary keeps the lead without renewing it, in seconds (Patroni's ttl).
    #[serde(default = "default_lease")]
    #[schemars(range(min = 3))]
    pub leader_lease_duration_seconds: i32,

    /// The port of Patroni's REST interface.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,

    /// A change of the primary by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover: Option<Switchover>,

    /// How often Patroni looks at the state of the cluster, in seconds (its loop_wait). Must be
    /// less than leaderLeaseDurationSeconds.
    #[serde(default = "default_sync_period")]
    #[schemars(range(min = 1))]
    pub sync_period_seconds: i32,
}

impl Default for Patroni {
    fn default() -> Self {
        Self {
            dynamic_configuration: Map::new(),
            leader_lease_duration_seconds: default_lease(),
            port: default_port(),
            switchover: None,
            sync_period_seconds: default_sync_period(),
        }
    }
}

/// A change of the primary by hand. It is carried out when the annotation
/// `ivory-operator.ivorysql.org/trigger-switchover` gets a new value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switchover {
    /// Whether the trigger-switchover annotation has an effect.
    pub enabled: bool,
    /// The instance that shall become the primary. Needed for a Failover; otherwise, when absent,
    /// Patroni chooses.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub target_instance: Option<String>,
    /// Switchover for a primary that is healthy; Failover also works when it is not, and may lose
    /// transactions.
    #[serde(rename = "type", default)]
    pub type_: SwitchoverType,
}

/// The kinds of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "explained at `Switchover::type_`")]
pub enum SwitchoverType {
    #[default]
    Switchover,
    Failover,
}

fn default_lease() -> i32 {
    30
}

fn default_port() -> i32 {
    8008
}

fn default_sync_period() -> i32 {
    10
}
