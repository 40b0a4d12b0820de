//! Patroni: the files and the dynamic configuration that it is given, and what it writes on its Pods
//! and Endpoints. Works with Patroni 3.x and 4.x.

pub mod config;
pub mod dcs;
pub mod dynamic;
pub mod kept;
pub mod status;
