//! The Pods that wait for a node: ready to be tried, held back after a failure, or hopeless until
//! something in the cluster changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::{Span, Time};
use crate::world::informer::Key;

const FIRST_BACKOFF: Span = Span::s(1);
const LONGEST_BACKOFF: Span = Span::s(10);
/// Hopeless Pods are tried again after this, whatever happens.
const FLUSH_AFTER: Span = Span::s(300);

/// A Pod in the queue.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: Arc<str>,
    priority: i64,
    since: Time,
    attempts: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    BackingOff(Time),
    Hopeless { failed: Time },
    InHand,
}

/// All of them, by UID.
#[derive(Clone, Debug, Default)]
pub struct Queue(BTreeMap<Arc<str>, Waiting>);

impl Queue {
    /// A Pod came, or its spec changed.
    pub fn put(&mut self, key: Key, uid: Arc<str>, priority: i64, now: Time) {
        let entry = self.0.entry(uid.clone()).or_insert(Waiting {
            key,
            uid,
            priority,
            since: now,
            attempts: 0,
            state: State::Ready,
        });
        entry.priority = priority;
    }

    /// A Pod is gone or has its node.
    pub fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// Whether a Pod waits here.
    pub fn holds(&self, uid: &str) -> bool {
        self.0.contains_key(uid)
    }

    /// The UIDs of all that wait.
    pub fn uids(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }

    /// Takes the next one to try: the highest priority, then the longest wait.
    pub fn next(&mut self, now: Time) -> Option<Waiting> {
        for entry in self.0.values_mut() {
            let over = match entry.state {
                State::BackingOff(until) => until <= now,
                State::Hopeless { failed } => failed + FLUSH_AFTER <= now,
                State::Ready | State::InHand => false,
            };
            if over {
                entry.state = State::Ready;
            }
        }
        let next = self
            .0
            .values_mut()
            .filter(|w| w.state == State::Ready)
            .min_by_key(|w| (-w.priority, w.since, w.key.clone()))?;
        next.state = State::InHand;
        next.attempts += 1;
        Some(next.clone())
    }

    /// No node took it: it waits for a change.
    pub fn hopeless(&mut self, uid: &str, now: Time) {
        if let Some(entry) = self.0.get_mut(uid) {
            entry.state = State::Hopeless { failed: now };
        }
    }

    /// Something went wrong on the way: it is tried again soon.
    pub fn failed(&mut self, uid: &str, now: Time) {
        if let Some(entry) = self.0.get_mut(uid) {
            entry.state = State::BackingOff(now + backoff(entry.attempts));
        }
    }

    /// Something changed: whoever was hopeless is tried again once its back-off is over.
    pub fn stir(&mut self) {
        for entry in self.0.values_mut() {
            if let State::Hopeless { failed } = entry.state {
                entry.state = State::BackingOff(failed + backoff(entry.attempts));
            }
        }
    }

    /// When the next one becomes ready.
    pub fn next_at(&self, now: Time) -> Option<Time> {
        let at = |w: &Waiting| match w.state {
            State::Ready => Some(now),
            State::BackingOff(until) => Some(until),
            State::Hopeless { failed } => Some(failed + FLUSH_AFTER),
            State::InHand => None,
        };
        self.0.values().filter_map(at).min()
    }
}

fn backoff(attempts: u32) -> Span {
    let doubled = FIRST_BACKOFF.0 << attempts.saturating_sub(1).min(10);
    Span(doubled).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_then_age_and_the_hopeless_wait_for_a_change() {
        let mut queue = Queue::default();
        let at = |s: i64| Time::START + Span::s(s);
        for (name, priority, since) in [("old", 0, 0), ("young", 0, 1), ("vip", 9, 2)] {
            queue.put(("ns".into(), name.into()), name.into(), priority, at(since));
        }
        let mut order = Vec::new();
        while let Some(next) = queue.next(at(3)) {
            order.push(next.key.1.to_string());
            queue.hopeless(&next.uid, at(3));
        }
        assert_eq!(order, ["vip", "old", "young"]);
        assert_eq!(queue.next_at(at(3)), Some(at(303)));
        queue.stir();
        assert_eq!(queue.next_at(at(3)), Some(at(4)));
        assert!(queue.next(at(3)).is_none());
        assert_eq!(queue.next(at(4)).map(|w| w.attempts), Some(2));
    }
}
