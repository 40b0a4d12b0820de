//! Builders: from a cluster to Kubernetes objects. They know nothing of the world, make no decision
//! about it and can't fail. An object built here holds exactly the fields that are ours.

pub mod backup_job;
pub mod config_maps;
pub mod disruption;
pub mod furniture;
pub mod instance;
pub mod meta;
pub mod rbac;
pub mod repo_host;
pub mod secrets;
pub mod services;
pub mod volumes;

#[cfg(test)]
pub(crate) mod tests;
