//! > A kill, conflict, timeout or stale cache after any single write leads to the same final state, with nothing leaked;
//! > "same" is modulo UIDs, versions, times and generated secrets, by one normaliser that all checkers share.
//!
//! By comparing two runs: the sweep forks a story at each message of the operator, cuts it in every way, and compares the
//! ends. The normaliser is `world/fingerprint.rs`.

use super::{Promise, When};
use crate::world::fingerprint::{Normal, differences};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 8,
    name: "same end after any cut",
    words: "A kill, conflict, timeout or stale cache after any single write leads to the same final state, with nothing \
            leaked; \"same\" is modulo UIDs, versions, times and generated secrets, by one normaliser that all checkers \
            share.",
    when: &[When::Comparison],
    file: file!(),
    held_by: &[],
};

/// How a disturbed run's end differs from the undisturbed one's, a sentence each; empty when the promise holds.
#[must_use]
pub fn compare(undisturbed: &Normal, disturbed: &Normal) -> Vec<String> {
    differences(undisturbed, disturbed)
}

#[cfg(test)]
mod tests {
    use ivory_core::{Kind, names};
    use serde_json::json;

    use super::super::planted::*;
    use super::*;
    use crate::kube::Subresource;

    #[test]
    fn what_is_left_behind_is_seen_and_what_is_drawn_is_not() {
        let world = ready();
        assert_eq!(
            compare(&world.normal(), &crate::lab::steady::steady(1, 3).world.normal()),
            [""; 0]
        );
        let mut other = world.clone();
        let service = the(&other, Kind::Service, &names::primary_service(CLUSTER));
        let label = json!({"metadata": {"labels": {"left": "behind"}}});
        done(&mut other, &patch(&service, Subresource::None, label));
        let wrong = compare(&world.normal(), &other.normal());
        assert!(wrong.iter().any(|w| w.contains("left")), "{wrong:?}");
    }
}
