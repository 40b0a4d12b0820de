//! One disturbed story: it goes on as the undisturbed one did, and must come to the same end.

use super::base::Base;
use super::cut::Cut;
use super::failure::{Failure, promise_of};
use super::message::Message;
use crate::promises::eventually_stable::awaited;
use crate::promises::same_end_after_any_cut as same_end;
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::run::{Grace, Player};
use crate::time::{Span, Time};
use crate::world::fingerprint::Digests;

/// How much longer a disturbed story may take, at each of its steps: an answer that is lost is missed after a minute
/// at most, and the longest back-off on the way is shorter.
pub const GRACE: Grace = Grace { patience: Span::s(300), gap: Span::s(30) };
/// How often a fork is compared with the undisturbed run at most.
const COMPARED: Span = Span::s(1);
/// For how long after news it is compared: what follows from them shows by then.
const NEWS: Span = Span::s(5);

/// How a disturbed story ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It became what the undisturbed one was at some time, which went on well.
    Rejoined,
    /// It came to the same end by itself.
    Same,
    /// It did not.
    Failed(Box<Failure>),
}

/// Tries cuts of one story, in order; `on` hears of every end and says whether to go on.
///
/// # Errors
/// A sentence, when the world can't be made.
pub fn explore(
    story: &Scenario,
    base: &Base,
    cuts: &[(usize, Cut)],
    build: &Build<'_>,
    on: &mut dyn FnMut(&Message, Cut, End) -> bool,
) -> Result<(), String> {
    let mut player = super::base::player(story, build)?;
    let mut digests = Digests::default();
    let mut tick = 0;
    for &(index, cut) in cuts {
        let message = &base.messages[index];
        while tick < message.tick {
            player.tick(story).map_err(|f| f.wrong.join("; "))?;
            tick += 1;
        }
        let Some(mut fork) = player.fork() else {
            return Err("this world can't be copied".to_owned());
        };
        let end = go_on(&mut fork, story, base, (message, cut), Some(&mut digests));
        if !on(message, cut, end) {
            break;
        }
    }
    Ok(())
}

/// Tells the rest of a story with one cut. Without digests it is told to its end even where it rejoins.
pub fn go_on(
    fork: &mut Player,
    story: &Scenario,
    base: &Base,
    (message, cut): (&Message, Cut),
    mut digests: Option<&mut Digests>,
) -> End {
    fork.grant(GRACE);
    let over = cut.arm(&mut *fork.driver, message);
    let mut compared = Time::START;
    let mut news = ((0, 0), Time::START);
    loop {
        let failed = |fork: &mut Player, promise, wrong| {
            let awaited = awaited(&mut *fork.driver, &fork.aliases);
            let told = fork.outcome(story, None).transcript;
            End::Failed(Box::new(Failure::new(message, cut, promise, wrong, awaited, &told)))
        };
        match fork.tick(story) {
            Ok(true) => {}
            Ok(false) => {
                let wanted = &base.end;
                let end = fork.driver.world().map(|w| w.normal()).unwrap_or_default();
                let wrong = same_end::compare(wanted, &end);
                return match wrong.is_empty() {
                    true => End::Same,
                    false => failed(fork, &same_end::PROMISE, wrong),
                };
            }
            Err(failure) => {
                let promise = promise_of(&failure);
                let mut wrong = vec![format!("{} (line {}):", failure.step, failure.at.line)];
                wrong.extend(failure.wrong);
                return failed(fork, promise, wrong);
            }
        }
        let Some(digests) = digests.as_deref_mut() else { continue };
        let now = fork.driver.now();
        let seen = (fork.driver.version(), fork.driver.journal().len());
        if seen != news.0 {
            news = (seen, now);
        }
        if now <= over || now - compared < COMPARED || now - news.1 > NEWS {
            continue;
        }
        compared = now;
        let place = fork.place();
        let state = fork.driver.world().map_or(0, |w| w.fingerprint_with(digests));
        let rejoins = base.states.get(&(place, state)).is_some_and(|tick| *tick > message.tick);
        if rejoins && fork.client_figures().1 == 0 && fork.driver.findings().is_empty() {
            return End::Rejoined;
        }
    }
}
