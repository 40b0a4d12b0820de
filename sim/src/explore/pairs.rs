//! Pairs of cuts: a disturbed story is disturbed once more, at a message that passes before it rejoins.

use std::collections::BTreeSet;
use std::sync::Mutex;

use ivory_core::hash::digest;

use super::base::Base;
use super::cut::Cut;
use super::fork::{End, Fork, go_to};
use super::message::{Before, Message, Whose, messages};
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::run::Player;
use crate::time::Time;
use crate::world::Tap;
use crate::world::fingerprint::Digests;

/// Cuts that were tried, or are being tried.
pub type Known = Mutex<BTreeSet<(u64, Cut)>>;

/// Which second cuts are tried after each first one.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// By which seed they are drawn.
    pub seed: u64,
    /// How many that nobody has tried.
    pub size: usize,
}

/// What came of a first cut.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// How many second cuts there are.
    pub all: usize,
    /// How many of them equal one that was tried before.
    pub equal: usize,
    /// How those that were tried ended.
    pub ends: Vec<End>,
}

/// Where the second cuts are: the messages of a disturbed story before it rejoined.
struct Seconds {
    messages: Vec<Message>,
    /// Index of the message, cut, and by what it is known.
    cuts: Vec<(usize, Cut, (u64, Cut))>,
}

/// Tries second cuts after each of some first cuts, which are in order; `on` hears of every first cut and says whether
/// to go on.
///
/// # Errors
/// A sentence, when the world can't be made.
pub fn pairs(
    (story, base): (&Scenario, &Base),
    firsts: &[(usize, Cut)],
    (whose, sample): (Whose, Sample),
    known: &Known,
    build: &Build<'_>,
    on: &mut dyn FnMut(Looked) -> bool,
) -> Result<(), String> {
    let mut player = super::base::player(story, build)?;
    let mut digests = Digests::default();
    let mut tick = 0;
    for &(index, cut) in firsts {
        let first = (&base.messages[index], cut);
        go_to(&mut player, story, &mut tick, first.0.tick)?;
        let seconds = seconds(&player, (story, base), first, whose, &mut digests)?;
        let mut looked = Looked { all: seconds.cuts.len(), ..Looked::default() };
        let chosen = choose(&seconds, sample, known, &mut looked);
        let mut fork = Fork::of(&player, story, base, first)?;
        let mut at = 0;
        for (index, cut) in chosen {
            let second = &seconds.messages[index];
            while at < second.tick && fork.tick(None).is_none() {
                at += 1;
            }
            looked.ends.push(fork.and((second, cut))?.go_on(Some(&mut digests)));
        }
        if !on(looked) {
            break;
        }
    }
    Ok(())
}

/// The messages of a story after its first cut, as far as it is disturbed, ticks being counted from there; and until when
/// the first cut has effects of its own.
///
/// # Errors
/// A sentence, when the world can't be copied.
pub fn after(
    player: &Player,
    (story, base): (&Scenario, &Base),
    first: (&Message, Cut),
    whose: Whose,
    digests: &mut Digests,
) -> Result<(Vec<Message>, Time), String> {
    let mut fork = Fork::of(player, story, base, first)?;
    let mut all: Vec<Message> = Vec::new();
    for tick in 0.. {
        let Some(world) = fork.player.driver.world() else { break };
        world.tap.get_or_insert_with(|| Tap::on(whose.actors()));
        let before = Before::now(world, whose, digests);
        let end = fork.tick(Some(digests));
        if let Some(world) = fork.player.driver.world() {
            let passed = messages(&world.overheard(), world, (tick, &before), all.len());
            // Of the tick of the first one, those before it are not disturbed.
            all.extend(passed.into_iter().filter(|m| m.at > first.0.at));
        }
        match end {
            None => {}
            // What fails by itself is found by the sweep of single cuts.
            Some(End::Failed(_)) => return Ok((Vec::new(), fork.over)),
            Some(_) => break,
        }
    }
    for (index, message) in all.iter_mut().enumerate() {
        message.number = index + 1;
    }
    Ok((all, fork.over))
}

fn seconds(
    player: &Player,
    told: (&Scenario, &Base),
    first: (&Message, Cut),
    whose: Whose,
    digests: &mut Digests,
) -> Result<Seconds, String> {
    let (messages, over) = after(player, told, first, whose, digests)?;
    let salt = first.0.key(first.1);
    let mut cuts = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        for &cut in message.cuts() {
            let mut key = message.key(cut);
            // What the first cut has yet to do is no part of the state.
            if message.at <= over {
                key.0 = digest(&(salt, key.0));
            }
            cuts.push((index, cut, key));
        }
    }
    Ok(Seconds { messages, cuts })
}

/// Those of a round that nobody has tried, in order.
fn choose(
    seconds: &Seconds,
    sample: Sample,
    known: &Known,
    looked: &mut Looked,
) -> Vec<(usize, Cut)> {
    let mut known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut seen = BTreeSet::new();
    let mut left: Vec<_> = seconds.cuts.iter().collect();
    left.retain(|(.., key)| !known.contains(key) && seen.insert(*key));
    looked.equal = looked.all - left.len();
    left.sort_by_cached_key(|(.., key)| digest(&(sample.seed, key)));
    left.truncate(sample.size);
    left.sort_by_key(|(index, cut, _)| (*index, *cut));
    known.extend(left.iter().map(|(.., key)| *key));
    left.into_iter().map(|(index, cut, _)| (*index, *cut)).collect()
}
