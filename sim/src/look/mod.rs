//! Looking at a run instead of reading it: a film of everything that happened, a page that shows it, and a
//! comparison of two. It prints nothing and decides nothing.

mod compare;
mod facts;
pub mod film;
mod hide;
mod page;
mod screen;
mod shape;
#[cfg(test)]
mod tests;
mod viewer;
mod why;

use std::sync::Arc;

pub use compare::{Comparison, Pair, compare};
pub use facts::{headline, moment, span_words};
pub use film::Film;
pub use page::{index, page};
pub use screen::{draw, opening, screen};
pub use shape::{Event, Lane, Shape, shape};
pub use viewer::{KEYS, Key, View, Viewer};
pub use why::{Why, pass_of, why};

use crate::scenario::alias::Aliases;
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::run::{Outcome, Player};
use crate::time::Time;
use crate::world::journal::Entry;

/// A run that was looked at.
#[derive(Clone)]
pub struct Recording {
    /// The story's name.
    pub name: String,
    /// The story in words.
    pub description: String,
    /// The seed of its random numbers.
    pub seed: u64,
    /// The names of its Kubernetes clusters.
    pub kubes: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub film: Film,
    /// What happened, for people.
    pub journal: Vec<Entry>,
    /// Names.
    pub aliases: Aliases,
    /// When it ended.
    pub end: Time,
}

/// Plays a story and looks at it.
///
/// # Errors
/// A sentence, when the world can't be made, or is none that can be looked at.
pub fn record(
    scenario: &Scenario,
    seed: Option<u64>,
    trace: bool,
    build: &Build<'_>,
) -> Result<Recording, String> {
    let mut player = Player::of(scenario, seed, trace, build)?;
    let world = player.driver.world().ok_or("only a simulated world can be looked at")?;
    let film = film::begin(world);
    let outcome = player.play(scenario);
    // The world holds the other end.
    if let Some(world) = player.driver.world() {
        world.onlooker = Default::default();
    }
    let film = Arc::try_unwrap(film).map_err(|_| "somebody still looks at the world")?;
    Ok(Recording {
        name: scenario.name.clone(),
        description: scenario.description.trim().to_owned(),
        seed: seed.unwrap_or(scenario.world.seed),
        kubes: scenario.world.kubes.iter().map(|k| k.name.clone()).collect(),
        outcome,
        film: film.into_inner().map_err(|_| "the film is torn")?,
        journal: player.driver.journal().to_vec(),
        aliases: player.aliases.clone(),
        end: player.driver.now(),
    })
}
