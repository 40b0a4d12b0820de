//! A simulated Kubernetes with Patroni, PostgreSQL and pgBackRest, in which the operator's own core is the
//! operator. Deterministic: a run is a pure function of its inputs and one seed.

pub mod cli;
pub mod client;
pub mod controllers;
pub mod disk;
pub mod explore;
pub mod kube;
pub mod lab;
pub mod look;
pub mod node;
pub mod operator;
pub mod patroni;
pub mod pgbackrest;
pub mod postgres;
pub mod promises;
pub mod rng;
pub mod scenario;
pub mod time;
pub mod tokens;
pub mod view;
pub mod world;
