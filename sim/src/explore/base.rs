//! The undisturbed run of a story: its messages, the states that it goes through, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::message::{Before, Message, Whose, messages, reasons};
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::run::{Grace, Player};
use crate::time::{Span, Time};
use crate::world::Tap;
use crate::world::fingerprint::{Digests, Normal};

/// An undisturbed run.
pub struct Base {
    /// The operator's messages, in order.
    pub messages: Vec<Message>,
    /// The last tick at which the story stood at a place with a fingerprint.
    pub states: BTreeMap<(u64, u64), usize>,
    /// The objects at the end.
    pub end: Normal,
    /// When it was over.
    pub over: Time,
}

/// A player before the first step, who awaits silence at the end.
///
/// # Errors
/// A sentence, when the world can't be made.
pub fn player(story: &Scenario, build: &Build<'_>) -> Result<Player, String> {
    let driver = build(&story.world, false)?;
    let mut player = Player::new(driver, &story.cluster, &story.namespace);
    player.grace = Some(Grace { patience: Span::ZERO, gap: Span::ZERO });
    Ok(player)
}

/// Plays a story undisturbed.
///
/// # Errors
/// Why it failed, or can't be explored.
pub fn base(story: &Scenario, whose: Whose, build: &Build<'_>) -> Result<Base, String> {
    let mut player = player(story, build)?;
    let Some(world) = player.driver.world() else {
        return Err("only a simulated world can be explored".to_owned());
    };
    world.tap = Some(Tap::on(whose.actors()));
    let mut digests = Digests::default();
    let mut before = Before::now(world, whose, &mut digests);
    let (mut all, mut states) = (Vec::new(), BTreeMap::new());
    for tick in 0.. {
        let more = player.tick(story).map_err(|failure| {
            format!("it fails undisturbed, at {}: {}", failure.step, failure.wrong.join("; "))
        })?;
        let place = player.place();
        if let Some(world) = player.driver.world() {
            all.extend(messages(&world.overheard(), world, (tick, &before), all.len()));
            before = Before::now(world, whose, &mut digests);
        }
        states.insert((place, before.state()), tick);
        if !more {
            break;
        }
    }
    reasons(&mut all, &Arc::new(player.driver.journal().to_vec()));
    let end = player.driver.world().map(|w| w.normal()).unwrap_or_default();
    Ok(Base { messages: all, states, end, over: player.driver.now() })
}
