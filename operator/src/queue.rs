//! When which cluster gets its turn. Pure: it is told the time and draws nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ivory_core::pace::Pace;
use tokio::time::Instant;

use crate::store::Key;

/// How many of those who lose against each other may try at once, in one namespace: what they share (the authority, whose
/// owners all of them are) lets one of them win each time, and a pass costs some thirty requests until it finds out.
const TURNS: usize = 2;
/// How soon after a change a pass begins, so that changes that come together are seen together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long after a failed pass the next one begins; doubled with every failure in a row.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest such pause: after an API server has answered nothing but errors, a cluster is looked after within half a minute,
/// and its conditions are true again within one.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The pause after a conflict: caches need a moment, no more. It is doubled with every conflict in a row …
const SOON: Duration = Duration::from_millis(50);
/// … up to this. Somebody else got on, so that this is no trouble that would need to be left alone: with longer
/// pauses, the last of a hundred clusters that join the owners of one certificate waits for minutes.
const CONFLICT_MAX: Duration = Duration::from_secs(5);
/// Everything is looked at again so often, even if nothing is seen to change.
const RESYNC: Duration = Duration::from_secs(3600);

/// What came of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// There is no such cluster any more.
    Gone,
    /// Writes were made: look again at what came of them.
    Wrote,
    /// Nothing was to be done; look again after so long.
    Quiet(Option<Duration>),
    /// Something changed while the plan was carried out.
    Conflict,
    /// It failed after some writes were made: the trouble is not the one of the pass before.
    Stopped,
    /// It failed, and nothing was done.
    Failed,
}

#[derive(Default)]
struct Entry {
    due: Option<Instant>,
    running: bool,
    /// Something changed during the pass.
    dirty: bool,
    failures: u32,
    pace: Pace,
    /// No pass begins before, whatever changes: too much was written lately.
    rests_until: Option<Instant>,
}

/// The clusters, and when each is due.
#[derive(Default)]
pub struct Queue {
    clusters: BTreeMap<Key, Entry>,
    due: BTreeSet<(Instant, Key)>,
    running: usize,
    /// From when on paces count.
    epoch: Option<Instant>,
    /// By namespace, those who lost and have not won since, in their order; the first of them may try.
    losers: BTreeMap<Arc<str>, VecDeque<Key>>,
}

impl Queue {
    /// Something changed.
    pub fn wake(&mut self, key: &Key, now: Instant) {
        let entry = self.clusters.entry(key.clone()).or_default();
        entry.dirty = true;
        // Whoever waits for his turn will see it then.
        if !entry.running && self.may_try(key) {
            self.schedule(key, now + DEBOUNCE);
        }
    }

    /// Whether a cluster need not wait for others who lost before it.
    fn may_try(&self, key: &Key) -> bool {
        let place = self.losers.get(&key.0).and_then(|all| all.iter().position(|k| k == key));
        place.is_none_or(|place| place < TURNS)
    }

    /// A cluster lost, or did not: those whose turn it is then are due.
    fn settle(&mut self, key: &Key, now: Instant, lost: bool) {
        let all = self.losers.entry(key.0.clone()).or_default();
        match (all.iter().position(|k| k == key), lost) {
            (None, true) => all.push_back(key.clone()),
            (Some(place), false) => drop(all.remove(place)),
            (None, false) | (Some(_), true) => {}
        }
        let first: Vec<Key> = all.iter().take(TURNS).filter(|k| *k != key).cloned().collect();
        if all.is_empty() {
            self.losers.remove(&key.0);
        }
        for key in first {
            if self.clusters.get(&key).is_some_and(|e| !e.running && e.due.is_none()) {
                self.schedule(&key, now + DEBOUNCE);
            }
        }
    }

    /// The next cluster whose time has come, if there is one; its pass begins.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let entry = self.clusters.entry(key.clone()).or_default();
        (entry.due, entry.running, entry.dirty) = (None, true, false);
        self.running += 1;
        Some(key)
    }

    /// A pass ended. `jitter` is between 0 and 1, drawn anew. Returns whether the cluster must rest from now on, which it
    /// did not before.
    pub fn ended(&mut self, key: &Key, now: Instant, end: End, jitter: f64) -> bool {
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.clusters.get_mut(key) else {
            return false;
        };
        entry.running = false;
        let dirty = entry.dirty;
        entry.failures = match end {
            End::Conflict | End::Failed => entry.failures + 1,
            End::Stopped => 1,
            _ => 0,
        };
        let rested = entry.rests_until.is_some();
        if end == End::Wrote {
            let since = now - *self.epoch.get_or_insert(now);
            let rest = entry.pace.wrote(since);
            entry.rests_until = (!rest.is_zero()).then_some(now + rest);
        }
        let begins = entry.rests_until.is_some() && !rested;
        let spread = |pause: Duration| pause + pause.mul_f64(jitter / 10.0);
        let backoff = BACKOFF * (1 << entry.failures.min(12));
        let pause = match end {
            End::Gone if !dirty => {
                self.clusters.remove(key);
                self.settle(key, now, false);
                return false;
            }
            // Those who met each other must not meet again.
            End::Conflict => {
                (SOON * (1 << entry.failures.min(12))).min(CONFLICT_MAX).mul_f64(0.5 + jitter)
            }
            End::Stopped | End::Failed => spread(backoff.min(BACKOFF_MAX)),
            End::Gone | End::Wrote => DEBOUNCE,
            End::Quiet(_) if dirty => DEBOUNCE,
            End::Quiet(after) => after.unwrap_or(spread(RESYNC)).min(spread(RESYNC)),
        };
        self.settle(key, now, end == End::Conflict);
        if self.may_try(key) {
            self.schedule(key, now + pause);
        }
        begins
    }

    fn schedule(&mut self, key: &Key, at: Instant) {
        let entry = self.clusters.entry(key.clone()).or_default();
        let at = entry.rests_until.map_or(at, |until| at.max(until));
        if entry.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(later) = entry.due.replace(at) {
            self.due.remove(&(later, key.clone()));
        }
        self.due.insert((at, key.clone()));
    }

    /// When the next cluster is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many clusters there are, how many are due by now, and how many are worked on.
    #[must_use]
    pub fn load(&self, now: Instant) -> (usize, usize, usize) {
        let waiting = self.due.iter().take_while(|(at, _)| *at <= now).count();
        (self.clusters.len(), waiting, self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        ("ns".into(), name.into())
    }

    #[test]
    fn changes_during_a_pass_make_one_more_pass() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let a = key("a");
        queue.wake(&a, now);
        queue.wake(&a, now);
        assert_eq!(queue.take(now), None, "not before the debounce");
        assert_eq!(queue.take(now + S), Some(a.clone()));
        queue.wake(&a, now + S);
        assert_eq!(queue.take(now + 9 * S), None, "one pass at a time");
        queue.ended(&a, now + S, End::Quiet(None), 0.0);
        assert_eq!(queue.take(now + 2 * S), Some(a.clone()));
        queue.ended(&a, now + 2 * S, End::Quiet(None), 0.0);
        assert_eq!(queue.next(), Some(now + 2 * S + RESYNC));
    }

    #[test]
    fn failures_back_off_and_do_not_delay_others() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let (a, b) = (key("a"), key("b"));
        queue.wake(&a, now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            now = queue.next().unwrap();
            assert_eq!(queue.take(now), Some(a.clone()));
            queue.ended(&a, now, End::Failed, 0.0);
            pauses.push((queue.next().unwrap() - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30]);
        // Whoever gets on is not held up by what is over.
        now = queue.next().unwrap();
        queue.take(now);
        queue.ended(&a, now, End::Stopped, 0.0);
        assert_eq!(queue.next().unwrap() - now, S);
        queue.wake(&b, now);
        assert_eq!(queue.take(now + S), Some(b));
        // A change ends the pause at once.
        queue.wake(&a, now);
        assert_eq!(queue.take(now + S), Some(a));
    }

    #[test]
    fn who_is_undone_each_time_rests_and_no_change_wakes_it() {
        let (mut queue, mut now, a) = (Queue::default(), Instant::now(), key("a"));
        let mut rests = Vec::new();
        for pass in 0..300 {
            queue.wake(&a, now);
            now = queue.next().unwrap();
            assert_eq!(queue.take(now), Some(a.clone()));
            queue.wake(&a, now);
            if queue.ended(&a, now, End::Wrote, 0.0) {
                rests.push(pass);
            }
        }
        assert_eq!(rests, [102], "it is told once");
        queue.wake(&a, now);
        assert!(queue.next().unwrap() >= now + S.mul_f64(0.9), "a pass a second");
    }

    #[test]
    fn who_loses_against_others_tries_again_soon_and_at_another_moment() {
        let (mut queue, now, a) = (Queue::default(), Instant::now(), key("a"));
        let mut pause = |jitter| {
            queue.wake(&a, now);
            queue.take(now + S);
            queue.ended(&a, now, End::Conflict, jitter);
            queue.next().unwrap() - now
        };
        let first: Vec<_> =
            [0.0, 0.5, 1.0].map(&mut pause).iter().map(Duration::as_millis).collect();
        assert_eq!(first, [50, 200, 600]);
        let later: Vec<_> = (0..100).map(|_| pause(0.5)).collect();
        assert_eq!(later.last(), Some(&CONFLICT_MAX));
    }

    #[test]
    fn those_who_lose_against_each_other_take_turns() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let names: Vec<Key> = (0..5).map(|n| key(&n.to_string())).collect();
        let other: Key = ("other".into(), "a".into());
        names.iter().chain([&other]).for_each(|k| queue.wake(k, now));
        while queue.take(now + S).is_some() {}
        for name in names.iter().chain([&other]) {
            queue.ended(name, now + S, End::Conflict, 0.0);
        }
        let take = |queue: &mut Queue, at: Instant| {
            let mut all = BTreeSet::new();
            all.extend(std::iter::from_fn(|| queue.take(at)));
            all
        };
        let first = take(&mut queue, now + 2 * S);
        assert_eq!(first, BTreeSet::from([names[0].clone(), names[1].clone(), other.clone()]));
        // What changes meanwhile wakes nobody who waits.
        names.iter().for_each(|k| queue.wake(k, now + 2 * S));
        assert_eq!(take(&mut queue, now + 9 * S), BTreeSet::new());
        // One wins and one loses again: there is one more turn, and the loser's.
        queue.ended(&names[0], now + 9 * S, End::Wrote, 0.0);
        queue.ended(&names[1], now + 9 * S, End::Conflict, 0.0);
        let second = take(&mut queue, now + 10 * S);
        assert_eq!(second, names[..3].iter().cloned().collect());
        for name in &names[..3] {
            queue.ended(name, now + 10 * S, End::Quiet(None), 0.0);
        }
        // Who failed otherwise, or is gone, holds up nobody.
        assert_eq!(take(&mut queue, now + 11 * S), names[3..].iter().cloned().collect());
        queue.ended(&names[3], now + 11 * S, End::Failed, 0.0);
        queue.ended(&names[4], now + 11 * S, End::Gone, 0.0);
        assert_eq!(queue.losers.len(), 1, "{:?}", queue.losers);
    }

    #[test]
    fn what_is_gone_is_forgotten_unless_it_came_again() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let a = key("a");
        queue.wake(&a, now);
        queue.take(now + S);
        queue.wake(&a, now + S);
        queue.ended(&a, now + S, End::Gone, 0.0);
        assert_eq!(queue.take(now + 2 * S), Some(a.clone()));
        queue.ended(&a, now + 2 * S, End::Gone, 0.0);
        assert_eq!((queue.next(), queue.load(now)), (None, (0, 0, 0)));
    }
}
