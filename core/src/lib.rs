//! Every decision of the IvorySQL operator, as pure functions.
//!
//! The real operator and the simulator both drive these: `reads` says what to look at,
//! `queries` what to ask inside pods, and `plan` what to do. Nothing here knows a clock, a random
//! source, a network or a file; time and entropy are handed in.

pub mod answers;
pub mod api;
pub mod build;
pub mod check;
pub mod cluster;
pub mod command;
pub mod context;
pub mod crypto;
pub mod election;
pub mod gates;
pub mod grants;
pub mod hash;
pub mod kind;
pub mod labels;
pub mod memo;
pub mod names;
pub mod object;
pub mod observed;
pub mod pace;
pub mod pass;
pub mod patroni;
pub mod pgbackrest;
pub mod plan;
pub mod postgres;
pub mod quantity;
pub mod queries;
pub mod read;
pub mod reads;
pub mod report;
pub mod rules;
pub mod scripts;
pub mod sensitive;
pub mod setbacks;
pub mod ssa;
pub mod steps;
#[cfg(test)]
mod test_support;
pub mod unbuilt;
pub mod wake;

pub use kind::Kind;
pub use object::Object;
pub use sensitive::Sensitive;
