//! Sim.

pub mod kube;
