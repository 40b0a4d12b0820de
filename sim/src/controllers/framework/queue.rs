//! A work queue as client-go has it: first come first served, no key twice, and per-key back-off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::controllers::framework::Key;
use crate::time::{Span, Time};

/// The first wait after a failure, as client-go's default rate limiter has it.
const BASE: Span = Span::ms(5);
/// The longest wait after failures.
const CAP: Span = Span::s(1000);

/// A work queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Key>,
    queued: BTreeSet<Key>,
    failures: BTreeMap<Key, u32>,
    /// When a key comes back by itself. An earlier time replaces a later one.
    due: BTreeMap<Key, Time>,
}

impl Queue {
    /// Puts a key at the end, unless it is in the queue already.
    pub(super) fn push(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Takes the first key for which `may` holds.
    pub(super) fn pop(&mut self, may: impl Fn(&Key) -> bool) -> Option<Key> {
        let index = self.ready.iter().position(may)?;
        let key = self.ready.remove(index)?;
        self.queued.remove(&key);
        Some(key)
    }

    /// Notes a failure and says how long to wait before the next attempt.
    pub(super) fn failed(&mut self, key: &Key) -> Span {
        let count = self.failures.entry(key.clone()).or_insert(0);
        let wait = BASE.0.checked_shl(*count).filter(|w| *w > 0);
        *count = (*count + 1).min(40);
        Span(wait.unwrap_or(CAP.0).min(CAP.0))
    }

    /// Whether the last attempt at a key failed.
    pub(super) fn failing(&self, key: &Key) -> bool {
        self.failures.contains_key(key)
    }

    /// Forgets the failures of a key.
    pub(super) fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// Notes that a key shall come back at a time. True when that needs a new timer.
    pub(super) fn later(&mut self, key: &Key, at: Time) -> bool {
        if self.due.get(key).is_some_and(|due| *due <= at) {
            return false;
        }
        self.due.insert(key.clone(), at);
        true
    }

    /// Moves all keys whose time has come into the queue.
    pub(super) fn wake(&mut self, now: Time) {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let keys: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.due.remove(&key);
            self.push(key);
        }
    }

    /// Feeds what waits for being worked on into a fingerprint.
    pub(super) fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        // What is due later follows from the objects.
        hash.write_usize(self.ready.len());
        hash.write_usize(self.failures.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivory_core::Kind;

    fn key(name: &str) -> Key {
        Key { kind: Kind::Pod, namespace: "ns".into(), name: name.into() }
    }

    #[test]
    fn a_key_waits_once_and_in_order() {
        let mut queue = Queue::default();
        for name in ["b", "a", "b"] {
            queue.push(key(name));
        }
        assert_eq!(queue.pop(|_| true), Some(key("b")));
        assert_eq!(queue.pop(|k| &*k.name != "a"), None);
        assert_eq!(queue.pop(|_| true), Some(key("a")));
        assert_eq!(queue.pop(|_| true), None);
    }

    #[test]
    fn the_back_off_doubles_up_to_its_cap_and_ends_with_success() {
        let mut queue = Queue::default();
        let waits: Vec<i64> = (0..3).map(|_| queue.failed(&key("a")).0 / 1000).collect();
        assert_eq!(waits, [5, 10, 20]);
        let last = (0..70).map(|_| queue.failed(&key("a"))).last();
        assert_eq!(last, Some(CAP));
        assert!(queue.failing(&key("a")));
        queue.succeeded(&key("a"));
        assert!(!queue.failing(&key("a")));
        assert_eq!(queue.failed(&key("a")), BASE);
    }

    #[test]
    fn an_earlier_time_replaces_a_later_one() {
        let mut queue = Queue::default();
        assert!(queue.later(&key("a"), Time(20)));
        assert!(!queue.later(&key("a"), Time(30)));
        assert!(queue.later(&key("a"), Time(10)));
        queue.wake(Time(9));
        assert_eq!(queue.pop(|_| true), None);
        queue.wake(Time(10));
        assert_eq!(queue.pop(|_| true), Some(key("a")));
    }
}
