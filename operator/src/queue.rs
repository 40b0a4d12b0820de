//! When which cluster gets its turn. Pure: it is told the time and draws nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Key;

/// How soon after a change a pass begins, so that changes that come together are seen together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long after a failed pass the next one begins; doubled with every failure in a row.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
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
}

/// The clusters, and when each is due.
#[derive(Default)]
pub struct Queue {
    clusters: BTreeMap<Key, Entry>,
    due: BTreeSet<(Instant, Key)>,
    running: usize,
}

impl Queue {
    /// Something changed.
    pub fn wake(&mut self, key: &Key, now: Instant) {
        let entry = self.clusters.entry(key.clone()).or_default();
        entry.dirty = true;
        if !entry.running {
            self.schedule(key, now + DEBOUNCE);
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

    /// A pass ended. `jitter` is between 0 and 1, drawn anew.
    pub fn ended(&mut self, key: &Key, now: Instant, end: End, jitter: f64) {
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.clusters.get_mut(key) else {
            return;
        };
        entry.running = false;
        entry.failures = match end {
            End::Conflict | End::Failed => entry.failures + 1,
            End::Stopped => 1,
            _ => 0,
        };
        let spread = |pause: Duration| pause + pause.mul_f64(jitter / 10.0);
        let backoff = BACKOFF * (1 << entry.failures.min(12));
        let pause = match end {
            End::Gone if !entry.dirty => {
                self.clusters.remove(key);
                return;
            }
            // Those who met each other must not meet again.
            End::Conflict => {
                (SOON * (1 << entry.failures.min(12))).min(CONFLICT_MAX).mul_f64(0.5 + jitter)
            }
            End::Stopped | End::Failed => spread(backoff.min(BACKOFF_MAX)),
            End::Gone | End::Wrote => DEBOUNCE,
            End::Quiet(_) if entry.dirty => DEBOUNCE,
            End::Quiet(after) => after.unwrap_or(spread(RESYNC)).min(spread(RESYNC)),
        };
        self.schedule(key, now + pause);
    }

    fn schedule(&mut self, key: &Key, at: Instant) {
        let entry = self.clusters.entry(key.clone()).or_default();
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
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
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
