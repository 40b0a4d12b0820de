//! Patroni as a model.
pub mod rest;
