//! Which of several operators acts, decided from a Lease as client-go does it: a holder is believed for as
//! long as its record keeps changing, measured by the observer's own clock, so that clocks need not agree.
//! Reading and writing the Lease is the driver's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::object::Object;
use crate::read::Read;

/// How long others believe a holder whose record does not change.
pub const LEASE: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long stops acting: before others may begin.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a holder renews. Two tries fit before the deadline.
pub const RENEW_EVERY: Duration = Duration::from_secs(4);
/// How often the others look, and a holder whose renewal failed tries again.
pub const RETRY: Duration = Duration::from_secs(2);

/// One candidate's view. All times called `elapsed` are its own monotonic clock.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    /// The record as last seen, and since when it has been so.
    seen: Option<(Value, Duration)>,
    /// When the last renewal that was acknowledged had been sent.
    renewed: Option<Duration>,
}

/// What a candidate does next.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Create the Lease; a conflict means that another was faster.
    Create(Object),
    /// Replace the Lease, which fails if it changed meanwhile.
    Replace(Object),
    /// Look again after so long.
    Wait(Duration),
}

impl Election {
    /// A candidate that has seen nothing yet. No two may have the same identity.
    #[must_use]
    pub fn new(identity: &str) -> Self {
        Self { identity: identity.to_owned(), seen: None, renewed: None }
    }

    /// Until when the candidate may act; none while it doesn't lead.
    #[must_use]
    pub fn leads_until(&self) -> Option<Duration> {
        self.renewed.map(|at| at + RENEW_DEADLINE)
    }

    /// Takes note of the Lease and says what to do.
    pub fn decide(
        &mut self,
        namespace: &str,
        name: &str,
        lease: &Read<Arc<Object>>,
        elapsed: Duration,
        now: Timestamp,
    ) -> Decision {
        let lease = match lease {
            Read::Unknown(_) => return Decision::Wait(RETRY),
            Read::Absent => {
                self.renewed = None;
                return Decision::Create(self.record(
                    &Object::new(Kind::Lease, namespace, name),
                    now,
                    true,
                ));
            }
            Read::Known(lease) => lease,
        };
        let spec = lease.at(&["spec"]).cloned().unwrap_or_default();
        let since = match &self.seen {
            Some((known, since)) if *known == spec => *since,
            _ => elapsed,
        };
        self.seen = Some((spec, since));
        let holder = lease.str_at(&["spec", "holderIdentity"]).unwrap_or("");
        if holder == self.identity {
            let due = self.renewed.map(|at| at + RENEW_EVERY);
            return match due.filter(|due| *due > elapsed) {
                Some(due) => Decision::Wait(due - elapsed),
                None => Decision::Replace(self.record(lease, now, false)),
            };
        }
        // Another one holds it, so whatever was held before is lost.
        self.renewed = None;
        let lease_s =
            lease.i64_at(&["spec", "leaseDurationSeconds"]).and_then(|s| u64::try_from(s).ok());
        let expires = since + lease_s.map_or(LEASE, Duration::from_secs);
        if !holder.is_empty() && expires > elapsed {
            return Decision::Wait(RETRY.min(expires - elapsed));
        }
        Decision::Replace(self.record(lease, now, true))
    }

    /// The write that [`Election::decide`] wanted was acknowledged. `sent` is when it was sent, not when
    /// the answer came: others count from before the answer.
    pub fn acknowledged(&mut self, lease: &Object, sent: Duration) {
        self.seen = lease.at(&["spec"]).cloned().map(|spec| (spec, sent));
        self.renewed = Some(sent);
    }

    /// Gives up leadership by own will; others need not wait for it to expire.
    #[must_use]
    pub fn release(&mut self, lease: &Object, now: Timestamp) -> Option<Object> {
        self.renewed.take()?;
        let mut released = self.record(lease, now, false);
        if let Some(spec) = released.body_mut().get_mut("spec") {
            spec["holderIdentity"] = "".into();
            spec["leaseDurationSeconds"] = 1.into();
        }
        Some(released)
    }

    fn record(&self, lease: &Object, now: Timestamp, taken: bool) -> Object {
        let mut spec =
            lease.at(&["spec"]).cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        if taken {
            let before = spec["leaseTransitions"].as_i64();
            spec["leaseTransitions"] = before.map_or(0, |n| n + 1).into();
            spec["acquireTime"] = time.clone().into();
        }
        spec["holderIdentity"] = self.identity.clone().into();
        spec["leaseDurationSeconds"] = LEASE.as_secs().into();
        spec["renewTime"] = time.into();
        let mut lease = lease.clone();
        lease.meta.managed = Arc::default();
        lease.body_mut().insert("spec".into(), spec);
        lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Lease that lives in a test, and candidates that write it.
    struct Stage {
        lease: Read<Arc<Object>>,
    }

    impl Stage {
        /// One look of a candidate at second `at`; whether it leads afterwards.
        fn look(&mut self, who: &mut Election, at: u64) -> bool {
            let elapsed = Duration::from_secs(at);
            let now = Timestamp::from_second(1_000_000 + i64::try_from(at).unwrap()).unwrap();
            match who.decide("ns", "lease", &self.lease, elapsed, now) {
                Decision::Create(object) | Decision::Replace(object) => {
                    who.acknowledged(&object, elapsed);
                    self.lease = Read::Known(Arc::new(object));
                }
                Decision::Wait(_) => {}
            }
            who.leads_until().is_some_and(|until| until > elapsed)
        }
    }

    #[test]
    fn the_first_leads_and_the_second_waits_for_its_silence() {
        let (mut a, mut b) = (Election::new("a"), Election::new("b"));
        let mut stage = Stage { lease: Read::Absent };
        assert!(stage.look(&mut a, 0));
        for at in (0..60).step_by(2) {
            assert!(stage.look(&mut a, at), "a leads at {at}");
            assert!(!stage.look(&mut b, at), "b waits at {at}");
        }
        // Now a falls silent; it renewed at 56: it stops by itself before b begins.
        for at in (60..71).step_by(2) {
            assert!(!stage.look(&mut b, at), "b still waits at {at}");
        }
        assert!(a.leads_until().unwrap() < Duration::from_secs(71));
        assert!(stage.look(&mut b, 72));
        assert!(!stage.look(&mut a, 75), "a sees that b holds it");
        let lease = stage.lease.known().unwrap();
        assert_eq!(lease.i64_at(&["spec", "leaseTransitions"]), Some(1));
    }

    #[test]
    fn clocks_need_not_agree() {
        let mut b = Election::new("b");
        let mut old = Object::new(Kind::Lease, "ns", "lease");
        old.body_mut().insert(
            "spec".into(),
            json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z"}),
        );
        let lease = Read::Known(Arc::new(old));
        let decide = |b: &mut Election, at| {
            b.decide("ns", "lease", &lease, Duration::from_secs(at), Timestamp::UNIX_EPOCH)
        };
        assert!(matches!(decide(&mut b, 100), Decision::Wait(_)));
        assert!(matches!(decide(&mut b, 114), Decision::Wait(_)));
        assert!(matches!(decide(&mut b, 115), Decision::Replace(_)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (mut a, mut b) = (Election::new("a"), Election::new("b"));
        let mut stage = Stage { lease: Read::Absent };
        assert!(stage.look(&mut a, 0));
        let held = stage.lease.known().unwrap().clone();
        let released = a.release(&held, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(a.leads_until(), None);
        stage.lease = Read::Known(Arc::new(released));
        assert!(stage.look(&mut b, 1));
    }

    #[test]
    fn nothing_is_decided_on_what_could_not_be_read() {
        let mut a = Election::new("a");
        let unknown = Read::Unknown("no answer".into());
        let decision = a.decide("ns", "l", &unknown, Duration::ZERO, Timestamp::UNIX_EPOCH);
        assert_eq!(decision, Decision::Wait(RETRY));
    }
}
