//! Exploration: stories, disturbed at every message of the operator and of Patroni. It owns which messages there are
//! (`message.rs`), what can be done to each (`cut.rs`), the undisturbed run that all is compared with (`base.rs`), which
//! cuts are worth a try (`plan.rs`), how a disturbed story ends (`fork.rs`), in what its end may differ (`ends.rs`), cuts
//! after a cut (`pairs.rs`) and what to say when one ends badly (`failure.rs`).
//!
//! It deliberately doesn't know how stories are played (`scenario`), what is true in a world (the checkers), or how
//! results are printed and threads are used (`cli/sweep/`).

pub mod base;
pub mod cut;
pub mod drawn;
mod ends;
pub mod failure;
pub mod fork;
pub mod message;
pub mod pairs;
pub mod plan;
pub mod shrink;
pub mod swarm;

#[cfg(test)]
mod tests;
