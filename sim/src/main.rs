//! Sim.
fn main() {}
