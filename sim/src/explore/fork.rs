//! One disturbed story: it goes on as the undisturbed one did, and must come to the same end.

use super::base::Base;
use super::cut::Cut;
use super::ends::{comparable, timeline};
use super::failure::{Failure, promise_of};
use super::message::{Message, Sender};
use crate::promises::Promise;
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
/// How often a fork is compared with the undisturbed run at most, soon after the cut. One that stays apart is compared
/// less and less often, for it has no end to what it may have missed: what has rejoined stays so.
const COMPARED: Span = Span::ms(500);
/// The share of the time since the cut that lies between two looks.
const APART: i64 = 16;
/// For how long after news it is compared: what follows from them shows by then.
const NEWS: Span = Span::s(5);

/// How a disturbed story ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It became what the undisturbed one was at some time, which went on well, for so long.
    Rejoined(Span),
    /// It came to the same end by itself.
    Same,
    /// It too, but the disturbance made something untrue that the story itself awaits or expects on its way.
    Otherwise,
    /// It did not.
    Failed(Box<Failure>),
}

/// A story under way that was cut.
pub struct Fork<'a> {
    /// Where it stands.
    pub player: Player,
    story: &'a Scenario,
    base: &'a Base,
    first: (&'a Message, Cut),
    second: Option<(&'a Message, Cut)>,
    /// Until when the cuts have effects of their own.
    pub over: Time,
    compared: Time,
    news: ((u64, usize), Time),
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
        go_to(&mut player, story, &mut tick, message.tick)?;
        let mut fork = Fork::of(&player, story, base, (message, cut))?;
        if !on(message, cut, fork.go_on(Some(&mut digests))) {
            break;
        }
    }
    Ok(())
}

/// Plays an undisturbed story on, from one tick to another.
///
/// # Errors
/// Why it failed.
pub fn go_to(
    player: &mut Player,
    story: &Scenario,
    from: &mut usize,
    to: usize,
) -> Result<(), String> {
    while *from < to {
        player.tick(story).map_err(|f| f.wrong.join("; "))?;
        *from += 1;
    }
    Ok(())
}

impl<'a> Fork<'a> {
    /// A copy of a story that has come to the tick of a message, which is cut.
    ///
    /// # Errors
    /// A sentence, when the world can't be copied.
    pub fn of(
        player: &Player,
        story: &'a Scenario,
        base: &'a Base,
        (message, cut): (&'a Message, Cut),
    ) -> Result<Self, String> {
        let mut player = player.fork().ok_or("this world can't be copied")?;
        player.grant(GRACE);
        player.memory.failovers = message.sender != Sender::Operator;
        let over = cut.arm(&mut *player.driver, message);
        player.memory.disturbed = over;
        Ok(Self {
            player,
            story,
            base,
            first: (message, cut),
            second: None,
            over,
            compared: Time::START,
            news: ((0, 0), Time::START),
        })
    }

    /// A copy of it that is cut once more.
    ///
    /// # Errors
    /// A sentence, when the world can't be copied.
    pub fn and(&self, (message, cut): (&'a Message, Cut)) -> Result<Self, String> {
        let mut player = self.player.fork().ok_or("this world can't be copied")?;
        player.memory.failovers |= message.sender != Sender::Operator;
        let over = self.over.max(cut.arm(&mut *player.driver, message));
        player.memory.disturbed = over;
        Ok(Self { player, second: Some((message, cut)), over, ..*self })
    }

    /// Tells the rest. Without digests it is told to its end even where it rejoins.
    pub fn go_on(&mut self, mut digests: Option<&mut Digests>) -> End {
        loop {
            if let Some(end) = self.tick(digests.as_deref_mut()) {
                return end;
            }
        }
    }

    /// Goes on by one tick; says how it ended, if it did.
    pub fn tick(&mut self, digests: Option<&mut Digests>) -> Option<End> {
        match self.player.tick(self.story) {
            Ok(true) => digests.filter(|_| self.worth_comparing()).and_then(|d| self.rejoined(d)),
            Ok(false) => {
                let end = self.player.driver.world().map(|w| w.normal()).unwrap_or_default();
                let fewer = timeline(&end) < timeline(&self.base.end);
                let failovers = self.player.memory.failovers || fewer;
                let [undisturbed, end] =
                    [self.base.end.clone(), end].map(|end| comparable(end, failovers));
                let wrong = same_end::compare(&undisturbed, &end);
                Some(match (wrong.is_empty(), self.player.memory.passed_over) {
                    (true, 0) => End::Same,
                    (true, _) => End::Otherwise,
                    (false, _) => self.failed(&same_end::PROMISE, wrong),
                })
            }
            Err(_) if self.player.pass_over(self.story) => None,
            Err(failure) => {
                let promise = promise_of(&failure);
                let mut wrong = vec![format!("{} (line {}):", failure.step, failure.at.line)];
                wrong.extend(failure.wrong);
                Some(self.failed(promise, wrong))
            }
        }
    }

    fn failed(&mut self, promise: &'static Promise, wrong: Vec<String>) -> End {
        let awaited = awaited(&mut *self.player.driver, &self.player.aliases);
        let told = self.player.outcome(self.story, None).transcript;
        let failure = Failure::new(self.first, self.second, promise, wrong, awaited, &told);
        End::Failed(Box::new(failure))
    }

    fn worth_comparing(&mut self) -> bool {
        let now = self.player.driver.now();
        let seen = (self.player.driver.version(), self.player.driver.journal().len());
        if seen != self.news.0 {
            self.news = (seen, now);
        }
        let pause = COMPARED.max(Span((now - self.over).0 / APART));
        let worth = now > self.over && now - self.compared >= pause && now - self.news.1 <= NEWS;
        if worth {
            self.compared = now;
        }
        worth
    }

    /// Whether it has become what the undisturbed story was after the cut.
    fn rejoined(&mut self, digests: &mut Digests) -> Option<End> {
        let place = self.player.place();
        let state = self.player.driver.world()?.fingerprint_with(digests);
        let later = |tick: &usize| *tick > self.first.0.tick;
        let well = self.base.states.get(&(place, state)).is_some_and(later)
            && self.player.memory.passed_over == 0
            && self.player.client_figures().1 == 0
            && self.player.driver.findings().is_empty();
        well.then(|| End::Rejoined(self.base.over - self.player.driver.now()))
    }
}
