//! How fast a cluster may be written to. What is written may be undone at once, time and again: by a second operator of
//! another release, by a webhook, by a tool that keeps its own copy of the objects. Then neither side may ask the API
//! server for more than it can bear. It owns the count of one cluster's passes; when a pass begins is its caller's.

use std::time::Duration;

/// What a pass that wrote something costs; so much is forgotten in as much time.
const COST: Duration = Duration::from_secs(1);
/// So many passes that wrote may follow each other without a pause. No story of this project comes to 30.
const BURST: u32 = 100;

/// How much a cluster was written to lately.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pace {
    spent: Duration,
    at: Duration,
}

impl Pace {
    /// A pass wrote something at `now`, a time since any moment that stays the same. Returns for how long the next one
    /// has to wait; nothing, unless so many came before it that somebody must be undoing what they write.
    #[must_use]
    pub fn wrote(&mut self, now: Duration) -> Duration {
        let most = COST * BURST;
        let before = self.spent.saturating_sub(now.saturating_sub(self.at));
        *self = Self { spent: (before + COST).min(most + COST), at: now };
        self.spent.saturating_sub(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_there_is_one_pass_a_second() {
        let (mut pace, mut now, mut passes) = (Pace::default(), Duration::ZERO, 0);
        while now < Duration::from_secs(60) {
            now += Duration::from_millis(20) + pace.wrote(now);
            passes += 1;
        }
        assert!((150..=165).contains(&passes), "{passes}");
        // After as long a rest as there were passes, everything is as it was.
        now += COST * BURST;
        assert_eq!(pace.wrote(now), Duration::ZERO);
        assert_eq!(pace, Pace { spent: COST, at: now });
    }

    #[test]
    fn who_writes_less_often_never_waits() {
        let mut pace = Pace::default();
        let waits = (0..1000).filter(|second| !pace.wrote(COST * *second).is_zero());
        assert_eq!(waits.count(), 0);
    }
}
