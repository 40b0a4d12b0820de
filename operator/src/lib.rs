//! The operator's shell: it drives core over the Kubernetes API with kube-rs, and decides nothing itself.
//!
//! Watches fill [`caches`], [`observe`] makes of them what a plan may read, [`execute`] carries plans out
//! write by write, [`pass`] is one round of that for one cluster, and [`run`] makes rounds happen.

pub mod api;
pub mod args;
pub mod caches;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod environment;
pub mod exec;
pub mod execute;
pub mod fault;
pub mod health;
pub mod lease;
pub mod logging;
pub mod manifests;
pub mod metrics;
pub mod observe;
mod packed;
pub mod pass;
pub mod queue;
pub mod rbac;
pub mod run;
pub mod store;
pub mod watch;
pub mod wire;
