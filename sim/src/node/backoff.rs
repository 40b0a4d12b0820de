//! Waiting longer after each failure, in the two ways that a kubelet has.

use crate::time::{Span, Time};

/// Doubles from a first to a longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubling {
    first: Span,
    longest: Span,
    next: Span,
}

impl Doubling {
    /// Starts at `first` and ends at `longest`.
    pub const fn new(first: Span, longest: Span) -> Self {
        Self { first, longest, next: first }
    }

    /// The wait after one more failure.
    pub fn fail(&mut self) -> Span {
        let wait = self.next;
        self.next = (wait + wait).min(self.longest);
        wait
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The back-off of restarts: none before the first restart, then 10 s and doubling to 5 min, and none again
/// for a container that had run for 10 min (`flowcontrol.Backoff` as kubelet uses it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    last: Option<(Time, Span)>,
}

impl Restarts {
    const FIRST: Span = Span::s(10);
    const LONGEST: Span = Span::s(300);

    /// How long after its end at `ended` a container must wait; zero is at once.
    pub fn wait_after(&mut self, ended: Time) -> Span {
        let reset_after = Self::LONGEST + Self::LONGEST;
        let current = self.last.filter(|(at, _)| ended - *at <= reset_after);
        let wait = current.map_or(Span::ZERO, |(_, wait)| wait);
        let next = if wait == Span::ZERO { Self::FIRST } else { (wait + wait).min(Self::LONGEST) };
        self.last = Some((ended + wait, next));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_ever_longer_until_a_long_life() {
        let mut restarts = Restarts::default();
        let mut now = Time::START;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = restarts.wait_after(now);
            waits.push(wait.0 / 1_000_000);
            now = now + wait + Span::s(1);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(restarts.wait_after(now + Span::s(601)), Span::ZERO);
    }

    #[test]
    fn doubling_stops_at_the_longest_and_can_be_reset() {
        let mut pulls = Doubling::new(Span::s(10), Span::s(300));
        let waits: Vec<_> = (0..7).map(|_| pulls.fail().0 / 1_000_000).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        pulls.reset();
        assert_eq!(pulls.fail(), Span::s(10));
    }
}
