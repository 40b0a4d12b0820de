//! A simulated Kubernetes with Patroni, PostgreSQL and pgBackRest, in which the operator's own core is the
//! operator. Deterministic: a run is a pure function of its inputs and one seed.

pub mod client;
pub mod disk;
pub mod kube;
pub mod node;
pub mod patroni;
pub mod pgbackrest;
pub mod postgres;
pub mod rng;
pub mod time;
pub mod world;
