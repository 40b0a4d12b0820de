//! The custom resources IvoryCluster and IvyUpgrade as Rust types. Paths, types and defaults are those
//! of the Go operator's definitions, so that its manifests are read without a change.
//!
//! A default that the API server writes is here a serde default too, so a specification reads the
//! same whether or not it passed through one. Where absent and empty differ, the field is an
//! `Option`; where they don't, it isn't.

pub mod backups;
pub mod cluster;
pub mod data_source;
pub mod instances;
pub mod monitoring;
pub mod patroni;
pub mod proxy;
pub mod shared;
pub mod status;
pub mod upgrade;
pub mod user_interface;
pub mod users;

pub use cluster::{IvoryCluster, IvoryClusterSpec};
pub use status::IvoryClusterStatus;
pub use upgrade::{IvyUpgrade, IvyUpgradeSpec, IvyUpgradeStatus};
