//! Where a story stands, and how it goes on: step by step, one look at a time, so that it can be left and taken
//! up again anywhere. A copy of a [`Player`] between two ticks tells the rest by itself.

use std::hash::{Hash, Hasher};

use super::act;
use super::fields::span_text;
use super::language::{Act, Expectation, Scenario, SqlWhat, Step};
use super::node::At;
use super::resolve::Ref;
use super::run::{Failure, Grace, LATE, LOOK, Player, Wait};
use crate::promises::edits_can_be_left::{self, left_after_deletion};
use crate::promises::eventually_stable::{self, awaited};
use crate::promises::{self, Promise, no_commit_lost, quiet_is_silent};
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// How long the operator must have been silent to count as quiet at the end.
const SILENCE: Span = Span::s(60);
/// How long it may take until it is quiet.
const CALM_DOWN: Span = Span::s(1200);
/// How long a quiet world is watched.
const WATCHED: Span = Span::s(600);
/// How it is said that rows are missing.
const LOST: &str = "rows are lost";
/// How it is said that a quiet world was not.
const OF_QUIET: &str = "of quiet";
/// As much time passes at once at most, so that a story can be left in between.
const STRIDE: Span = Span::s(1);

/// Where a story stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    /// The step at each depth of `each`, the outermost first; empty before the story.
    frames: Vec<Frame>,
    doing: Doing,
}

/// One list of steps under way.
#[derive(Clone, Debug, Default)]
struct Frame {
    next: usize,
    /// The objects of an `each`; none in the outermost list.
    turns: Vec<Ref>,
    turn: usize,
}

/// What the present step, or the end of the story, is at.
#[derive(Clone, Debug, Default)]
enum Doing {
    /// Nothing yet.
    #[default]
    Step,
    /// Waiting; then demanding it for a while.
    Wait(Wait, Option<Span>),
    /// Demanding something until then.
    Hold(Time),
    /// Letting time pass.
    Advance(Time),
    /// All steps are done; what must be true then may still become so.
    Settle(Wait),
    /// Waiting for silence; what was wrong so far.
    Calm(Wait, Vec<String>),
    /// Watching the silence, with so many writes before it.
    Watch(Time, u64, Vec<String>),
    /// It is told.
    Over,
}

impl Player {
    /// Grants time to a story that is under way, to what it waits for at this moment too.
    pub fn grant(&mut self, grace: Grace) {
        self.grace = Some(grace);
        let now = self.driver.now();
        match &mut self.cursor.doing {
            Doing::Wait(wait, _) | Doing::Settle(wait) => wait.extend(grace.patience),
            Doing::Hold(until) => {
                let left = *until - now;
                self.cursor.doing = Doing::Wait(Wait::new(now, grace.patience), Some(left));
            }
            // A quiet world that is disturbed becomes quiet again.
            Doing::Watch(..) => self.cursor.doing = Doing::Settle(Wait::new(now, grace.patience)),
            Doing::Step | Doing::Advance(_) | Doing::Calm(..) | Doing::Over => {}
        }
    }

    /// Goes on a little: begins a step, or looks once whether what is awaited is there. False at the end.
    ///
    /// # Errors
    /// Why the story failed.
    pub fn tick(&mut self, story: &Scenario) -> Result<bool, Failure> {
        if self.cursor.frames.is_empty() {
            self.cursor.frames.push(Frame::default());
        }
        let began = self.cursor.frames.last().map(|frame| frame.next);
        let doing = std::mem::take(&mut self.cursor.doing);
        let settling = matches!(doing, Doing::Settle(_) | Doing::Calm(..) | Doing::Watch(..));
        let done = match doing {
            Doing::Over => Ok(()),
            Doing::Step => self.next_step(story),
            doing if settling => self.settle(story, doing),
            doing => self.go_on(story, doing),
        };
        // What checkers find ends the story here and now.
        match done.and_then(|()| self.findings()) {
            Ok(()) => Ok(!matches!(self.cursor.doing, Doing::Over)),
            Err(wrong) => {
                let promise = self.broken(&wrong);
                let awaited = awaited(&mut *self.driver, &self.aliases);
                // A step that has just been done is the one of which checkers found it.
                if let Some(frame) = self.cursor.frames.last_mut()
                    && began.is_some_and(|began| began + 1 == frame.next)
                {
                    frame.next -= 1;
                }
                let (at, step, wrong) = match settling {
                    true => (story.finale.at, "expect at the end".to_owned(), wrong),
                    false => self.place_of_failure(story, wrong),
                };
                Err(Failure { at, step, wrong, promise: promise.map(|p| p.number), awaited })
            }
        }
    }

    /// A number for the place in the story, the same whenever the story stands there.
    #[must_use]
    pub fn place(&self) -> u64 {
        let mut hash = ivory_core::hash::Digest::default();
        for frame in &self.cursor.frames {
            (frame.next, frame.turn).hash(&mut hash);
        }
        std::mem::discriminant(&self.cursor.doing).hash(&mut hash);
        hash.finish()
    }

    /// The number of the step that the story is at, from 1, counted in the outermost list.
    #[must_use]
    pub fn at_step(&self) -> usize {
        self.cursor.frames.first().map_or(0, |f| f.next) + 1
    }

    /// Whether all steps are done, and the operator has fallen silent.
    #[must_use]
    pub fn silent(&self) -> bool {
        matches!(self.cursor.doing, Doing::Watch(..) | Doing::Over)
    }

    /// Passes over the step that has just failed, where the disturbance may be why: a failover of which the story knows
    /// nothing undoes what it demands of that very moment, and an operator that is away, or hears late, does not tell of
    /// what is over by then. What checkers found, and what the story does, is not passed over. Says whether it goes on.
    pub fn pass_over(&mut self, story: &Scenario) -> bool {
        let Some(depth) = self.cursor.frames.len().checked_sub(1) else { return false };
        let step = self.list(story, depth).get(self.cursor.frames[depth].next);
        let may = match step.map(|s| &s.act) {
            Some(Act::Wait { all, .. }) => self.memory.failovers || all.iter().any(passes),
            // What a story expects of a moment that went by otherwise.
            Some(Act::Expect { .. }) => self.memory.failovers || self.memory.passed_over > 0,
            Some(Act::Sql(ask)) => {
                self.memory.failovers && matches!(ask.what, SqlWhat::ReadOnly(_))
            }
            _ => false,
        };
        if !may || !self.driver.findings().is_empty() {
            return false;
        }
        let text = "the story goes otherwise: this is passed over".to_owned();
        self.driver.remark(Milestone::Note { text });
        self.memory.passed_over += 1;
        self.step_done();
        true
    }

    /// The steps of a depth.
    fn list<'a>(&self, story: &'a Scenario, depth: usize) -> &'a [Step] {
        let mut steps: &[Step] = &story.steps;
        for frame in &self.cursor.frames[..depth] {
            if let Some(Act::Each { steps: inner, .. }) = steps.get(frame.next).map(|s| &s.act) {
                steps = inner;
            }
        }
        steps
    }

    /// The object whose turn it is at a depth.
    fn turn(&self, depth: usize) -> Option<Ref> {
        let frame = self.cursor.frames.get(depth)?;
        frame.turns.get(frame.turn).cloned()
    }

    fn next_step(&mut self, story: &Scenario) -> Result<(), Vec<String>> {
        let depth = self.cursor.frames.len() - 1;
        let Some(step) = self.list(story, depth).get(self.cursor.frames[depth].next) else {
            if depth == 0 {
                self.cursor.doing = self.first_of_the_end(story);
            } else {
                let frame = &mut self.cursor.frames[depth];
                (frame.turn, frame.next) = (frame.turn + 1, 0);
                self.take_turn(story, depth);
            }
            return Ok(());
        };
        let it = self.turn(depth);
        self.steps += 1;
        let text = text_of(step, it.as_ref());
        self.driver.remark(Milestone::Step { text });
        self.begin(step, it.as_ref())
    }

    /// Goes on to the next object of an `each` that is still there; ends it after the last.
    fn take_turn(&mut self, story: &Scenario, depth: usize) {
        let step = &self.list(story, depth - 1)[self.cursor.frames[depth - 1].next];
        let (kube, cluster) = self.means(step);
        while let Some(r) = self.turn(depth) {
            if self.scene(kube, &cluster, None).object(&r).is_some() {
                return;
            }
            let text = format!("{} {} is gone by now, and left out", r.kind, r.name);
            self.driver.remark(Milestone::Note { text });
            self.cursor.frames[depth].turn += 1;
        }
        self.cursor.frames.pop();
        self.cursor.frames[depth - 1].next += 1;
    }

    fn means(&self, step: &Step) -> (KubeId, String) {
        let kube = KubeId(u8::try_from(step.kube).unwrap_or(0));
        (kube, step.cluster.clone().unwrap_or_else(|| self.cluster.clone()))
    }

    fn step_done(&mut self) {
        if let Some(frame) = self.cursor.frames.last_mut() {
            frame.next += 1;
        }
    }

    fn begin(&mut self, step: &Step, it: Option<&Ref>) -> Result<(), Vec<String>> {
        let (kube, cluster) = self.means(step);
        let one = |e: String| vec![e];
        let now = self.driver.now();
        let patience = self.grace.map_or(Span::ZERO, |g| g.patience);
        match &step.act {
            Act::Wait { within, .. } => {
                self.cursor.doing = Doing::Wait(Wait::new(now, *within + patience), None);
                return Ok(());
            }
            Act::Expect { hold, .. } => {
                self.cursor.doing = match patience {
                    Span::ZERO => Doing::Hold(now + *hold),
                    patience => Doing::Wait(Wait::new(now, patience), Some(*hold)),
                };
                return Ok(());
            }
            Act::Advance(span) => {
                self.cursor.doing = Doing::Advance(now + *span);
                return Ok(());
            }
            Act::Each { kinds, except, steps: _ } => {
                let scene = self.scene(kube, &cluster, None);
                let left_out: Vec<Ref> = except.iter().flat_map(|t| scene.refs(t)).collect();
                let owned = kinds.iter().flat_map(|kind| scene.owned(*kind));
                let mut turns: Vec<Ref> = owned.map(|o| Ref::to(&o)).collect();
                turns.retain(|r| !left_out.contains(r));
                if turns.is_empty() {
                    return Err(one("there is no such object".to_owned()));
                }
                self.cursor.frames.push(Frame { next: 0, turns, turn: 0 });
                return Ok(());
            }
            Act::Connect(client) => {
                self.clients.push(client.name.clone());
                self.driver.connect(kube, client).map_err(one)?;
            }
            Act::Disconnect(name) => self.driver.disconnect(name),
            Act::Sql(ask) => {
                let secret = ivory_core::names::pguser_secret(&cluster, &ask.user);
                let namespace = self.namespace.clone();
                self.driver.sql(kube, &namespace, &secret, ask).map_err(one)?;
            }
            Act::Mark(name) => {
                let mark = self.everything();
                self.memory.marks.insert(name.clone(), mark);
            }
            act => {
                if let Act::Apply(manifests) = act {
                    manifests.iter().for_each(|m| self.know(m));
                }
                self.remember_primaries(kube, &cluster);
                let done = act::deed(&self.scene(kube, &cluster, it), act).and_then(|deed| {
                    let Some(deed) = deed else { return Ok(()) };
                    self.perform(kube, deed, step.refused.as_deref())
                });
                match done {
                    Err(why) if step.optional => {
                        let text = format!("left out: {why}");
                        self.driver.remark(Milestone::Note { text });
                    }
                    done => done.map_err(one)?,
                }
            }
        }
        self.step_done();
        Ok(())
    }

    /// Goes on with a step that takes time.
    fn go_on(&mut self, story: &Scenario, doing: Doing) -> Result<(), Vec<String>> {
        let depth = self.cursor.frames.len() - 1;
        let step = &self.list(story, depth)[self.cursor.frames[depth].next];
        let it = self.turn(depth);
        let (kube, cluster) = self.means(step);
        let scene = (kube, &*cluster, it.as_ref());
        let all = match &step.act {
            Act::Wait { all, .. } | Act::Expect { all, .. } => &**all,
            _ => &[],
        };
        let now = self.driver.now();
        match doing {
            Doing::Wait(mut wait, hold) => {
                if !self.look(&scene, all, &mut wait)? {
                    self.cursor.doing = Doing::Wait(wait, hold);
                    return Ok(());
                }
                if let Some(hold) = hold.filter(|h| *h > Span::ZERO) {
                    self.cursor.doing = Doing::Hold(self.driver.now() + hold);
                    return Ok(());
                }
            }
            Doing::Hold(end) => {
                self.learn();
                self.findings()?;
                let wrong = self.wrong(&scene, all);
                if !wrong.is_empty() {
                    return Err(wrong);
                }
                if now < end {
                    self.driver.advance_to((now + LOOK).min(end));
                    self.cursor.doing = Doing::Hold(end);
                    return Ok(());
                }
            }
            Doing::Advance(until) if now < until => {
                self.driver.advance_to((now + STRIDE).min(until));
                self.cursor.doing = Doing::Advance(until);
                return Ok(());
            }
            _ => {
                self.learn();
                self.findings()?;
            }
        }
        self.step_done();
        Ok(())
    }

    /// With what the end of a story begins.
    fn first_of_the_end(&self, story: &Scenario) -> Doing {
        let patience = self.grace.map_or(Span::ZERO, |g| g.patience);
        let calm = Wait::new(self.driver.now(), CALM_DOWN);
        match patience {
            Span::ZERO => Doing::Calm(calm, self.wrong_at_the_end(story)),
            patience => Doing::Settle(Wait::new(self.driver.now(), patience)),
        }
    }

    fn wrong_at_the_end(&self, story: &Scenario) -> Vec<String> {
        self.wrong(&(KubeId(0), &story.cluster, None), &story.finale.all)
    }

    fn settle(&mut self, story: &Scenario, doing: Doing) -> Result<(), Vec<String>> {
        let cluster = story.cluster.clone();
        let scene = (KubeId(0), &*cluster, None);
        let most = story.finale.writes_when_quiet.or(self.grace.map(|_| 0));
        let now = self.driver.now();
        self.cursor.doing = match doing {
            Doing::Settle(mut wait) => match self.look(&scene, &story.finale.all, &mut wait)? {
                true => Doing::Calm(Wait::new(now, CALM_DOWN), Vec::new()),
                false => Doing::Settle(wait),
            },
            Doing::Calm(_, wrong) if most.is_none() => return self.end(story, wrong),
            // Silence before a disturbance has shown all its effects is none.
            doing @ Doing::Calm(..) if now < self.memory.disturbed + SILENCE => {
                self.driver.advance_to(now + STRIDE);
                doing
            }
            Doing::Calm(mut wait, mut wrong) => {
                match self.look(&scene, &[Expectation::Quiet(SILENCE)], &mut wait) {
                    Ok(false) => Doing::Calm(wait, wrong),
                    Ok(true) => Doing::Watch(now + WATCHED, self.writes(), wrong),
                    Err(seen) => {
                        wrong.extend(seen);
                        return self.end(story, wrong);
                    }
                }
            }
            Doing::Watch(until, before, wrong) if now < until => {
                self.driver.advance_to((now + STRIDE).min(until));
                Doing::Watch(until, before, wrong)
            }
            Doing::Watch(_, before, mut wrong) => {
                let (more, most) = (self.writes() - before, most.unwrap_or(0));
                self.looked(&quiet_is_silent::PROMISE);
                if more > most {
                    let span = span_text(WATCHED);
                    wrong.push(format!(
                        "the operator made {more} writes in {span} {OF_QUIET}, not {most}"
                    ));
                }
                return self.end(story, wrong);
            }
            other => other,
        };
        Ok(())
    }

    /// What must be true at the very end, beside what was wrong before.
    fn end(&mut self, story: &Scenario, mut wrong: Vec<String>) -> Result<(), Vec<String>> {
        let finale = &story.finale;
        self.learn();
        wrong.extend(self.findings().err().unwrap_or_default());
        let (gap, lost) = self.client_figures();
        let grace = self.grace.map_or(0.0, |g| g.gap.seconds());
        if finale.lost_rows.is_some() {
            self.looked(&no_commit_lost::PROMISE);
        }
        // A disturbed story ends as the undisturbed one did, so it can be left as that could.
        let disturbed = self.grace.is_some_and(|g| g.patience > Span::ZERO);
        if wrong.is_empty()
            && !disturbed
            && let Some(left) = left_after_deletion(&*self.driver)
        {
            self.looked(&edits_can_be_left::PROMISE);
            wrong.extend(left);
        }
        let gap_counts = self.memory.passed_over == 0;
        if let Some(most) = finale.write_gap_s.filter(|_| gap_counts).map(|most| most + grace)
            && gap > most
        {
            wrong.push(format!("a client could not write for {gap:.1} s, not {most} s at most"));
        }
        if let Some(most) = finale.lost_rows.filter(|_| !self.may_lose_rows(story))
            && lost > most
        {
            wrong.push(format!("{lost} acknowledged {LOST}, not {most}"));
        }
        if let Some(most) = finale.writes.filter(|_| self.grace.is_none())
            && self.writes() > most
        {
            wrong.push(format!("the operator made {} writes, not {most} at most", self.writes()));
        }
        self.cursor.doing = Doing::Over;
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong),
        }
    }

    /// Whether there may have been a failover of which the story does not tell, to a member that nobody waited for: its
    /// last rows are nobody's promise, but those that the operator's own actions cost (`no_commit_lost.rs`).
    fn may_lose_rows(&self, story: &Scenario) -> bool {
        let cluster = self.scene(KubeId(0), &story.cluster, None).cluster_object();
        let path = ["spec", "patroni", "dynamicConfiguration", "synchronous_mode"];
        let synchronous = cluster.is_some_and(|c| c.at(&path) == Some(&true.into()));
        self.memory.failovers && !synchronous
    }

    /// The promise that is broken, if it is not the story's own words alone.
    fn broken(&self, wrong: &[String]) -> Option<&'static Promise> {
        let has = |part: &str| wrong.iter().any(|w| w.contains(part));
        if let Some(finding) = self.driver.findings().first() {
            Some(promises::numbered(finding.promise))
        } else if has(LOST) {
            Some(&no_commit_lost::PROMISE)
        } else if has(OF_QUIET) {
            Some(&quiet_is_silent::PROMISE)
        } else if has(edits_can_be_left::LEFT) {
            Some(&edits_can_be_left::PROMISE)
        } else {
            has(LATE).then_some(&eventually_stable::PROMISE)
        }
    }

    /// Where the present step failed: around it, each step of an outer list says where.
    fn place_of_failure(
        &self,
        story: &Scenario,
        mut wrong: Vec<String>,
    ) -> (At, String, Vec<String>) {
        let mut depth = self.cursor.frames.len();
        // A step that has just begun an `each` is no step of it.
        loop {
            depth -= 1;
            let Some(step) = self.list(story, depth).get(self.cursor.frames[depth].next) else {
                return (story.finale.at, "after the last step".to_owned(), wrong);
            };
            let text = text_of(step, self.turn(depth).as_ref());
            let text = self.aliases.show(KubeId(0), &text);
            if depth == 0 {
                return (step.at, text, wrong);
            }
            wrong.insert(0, format!("at `{text}` (line {})", step.at.line));
        }
    }
}

/// Whether it is told of a trouble, which may be over before it is seen.
fn passes(wanted: &Expectation) -> bool {
    matches!(wanted, Expectation::Condition { status: Some(status), .. } if status == "False")
}

/// A step's text, `it` being named.
fn text_of(step: &Step, it: Option<&Ref>) -> String {
    match it {
        Some(r) => step.text.replace(" it", &format!(" {} {}", r.kind, r.name)),
        None => step.text.clone(),
    }
}
