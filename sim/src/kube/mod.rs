//! A faithful model of kube-apiserver: a pure, synchronous, deterministic state machine. Requests go in
//! one at a time by [`ApiServer::handle`]; time and UIDs are handed in. What it does was compared with
//! a real API server of Kubernetes 1.34.
//!
//! Not here: delivery of requests and watch events, authentication and authorisation, the controllers
//! (garbage collection, workloads, namespaces' content), admission webhooks, quotas and limit ranges.

mod admission;
mod crd;
mod create;
mod defaulting;
mod delete;
mod eviction;
mod handle;
mod immutable;
mod list;
mod names;
mod patch;
mod pods;
mod request;
mod services;
mod status;
mod store;
mod strategic;
mod strategy;
mod table;
mod tokens;
mod update;
mod validation;
mod watch;

pub use request::{
    Body, Content, DeleteOptions, Filter, ObjectRef, Reply, Request, Response, Subresource,
    UnknownFields, Verb,
};
pub use status::{Cause, Status};
pub use store::{ApiServer, Change, ChangeType, Expired, REMEMBERED};
