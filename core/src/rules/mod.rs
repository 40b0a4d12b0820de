//! Rules: one decision a file, each a function of what was observed. The order in which they are asked,
//! and every gate between them, stands in [`steps`](crate::steps).

pub mod account;
pub mod archiving;
pub mod backups;
pub mod config;
pub mod databases;
pub mod disruption;
pub mod dynamic_configuration;
pub mod events;
pub mod expiry;
pub mod finalize;
pub mod init_sql;
pub mod instance_names;
pub mod instances;
pub mod leftovers;
pub mod members;
pub mod pending_restart;
pub mod permissions;
pub mod pki;
pub mod pod_labels;
pub mod promotion;
pub mod rbac;
pub mod repository;
pub mod rollout;
pub mod safety;
pub mod scale_down;
pub mod services;
pub mod shutdown;
pub mod standby_lag;
pub mod status;
pub mod switchover;
pub mod trust;
pub mod users;
pub mod validate;
pub mod volumes;
pub mod wal_volume;
