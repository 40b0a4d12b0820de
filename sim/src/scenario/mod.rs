//! Scenarios: stories in YAML, the language they are written in, the player, and how they are told.
//! `scenarios/README.md` is the language's reference. Nothing here knows how the world works inside;
//! `driver.rs` is all that is asked of it.

pub mod act;
pub mod alias;
mod brief;
pub mod check;
pub mod driver;
pub mod fields;
pub mod language;
pub mod manifests;
pub mod node;
pub mod parse;
mod parse_expect;
mod parse_fault;
mod parse_steps;
pub mod path;
mod play;
pub mod resolve;
pub mod run;
pub mod target;
pub mod transcript;
pub mod words;
pub mod world_driver;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
