//! The custom resources IvoryCluster and IvyUpgrade as Rust types. Paths, types and defaults are those
//! of the Go operator's definitions, so that its manifests are read without a change.
//!
//! A default that the API server writes is here a serde default too, so a specification reads the
//! same whether or not it passed through one. Where absent and empty differ, the field is an
//! `Option`; where they don't, it isn't.

pub mod backups;
pub mod cluster;
mod crd;
pub mod data_source;
mod embedded;
pub mod instances;
pub mod monitoring;
pub mod patroni;
pub mod proxy;
mod read;
mod rules;
pub mod shared;
pub mod status;
pub mod upgrade;
pub mod user_interface;
pub mod users;

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod verdict_tests;

pub use cluster::{IvoryCluster, IvoryClusterSpec};
pub use crd::{crd_ivorycluster, crd_ivyupgrade};
pub use read::{InvalidResource, read, read_status, read_upgrade};
pub use status::IvoryClusterStatus;
pub use upgrade::{IvyUpgrade, IvyUpgradeSpec, IvyUpgradeStatus};
