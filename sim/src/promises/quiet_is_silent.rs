//! > Steady state: zero writes. Identical input: byte-identical plan, whatever the order of the input.
//!
//! Silence is looked at in the end of stories that ask for it: a quiet world is watched for ten minutes. The second half
//! is looked at for some of the plans, which are made once more of the same input turned round.

use ivory_core::read::Read;
use ivory_core::steps;

use super::seen::{Log, Pass};
use super::{Checker, Promise, When};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 7,
    name: "quiet is silent",
    words: "Steady state: zero writes. Identical input: byte-identical plan, whatever the order of the input.",
    when: &[When::Pass, When::End],
    file: file!(),
    held_by: &[
        "core/src/steps/tests.rs::any_spec_becomes_quiet_by_plans_that_follow_from_their_input_alone",
    ],
};

/// One plan of so many is made again.
const EVERY: usize = 16;

/// Which plan is next.
#[derive(Clone, Default)]
pub(super) struct State {
    plans: usize,
}

impl Checker for State {
    fn pass(&mut self, pass: &Pass<'_>, log: &mut Log<'_>) {
        self.plans += 1;
        // Not the plans of which reads are made unknown: as many again are looked at.
        if self.plans % EVERY != EVERY / 2 {
            return;
        }
        log.looked(&PROMISE);
        let mut turned = pass.observed.clone();
        for read in turned.objects.values_mut() {
            if let Read::Known(list) = read {
                list.reverse();
            }
        }
        let plan = steps::plan(&turned, pass.context, &mut pass.memos.clone());
        if plan != *pass.plan {
            let cluster = &pass.observed.cluster.meta.name;
            log.broken(&PROMISE, format!("{cluster}: the order of what was read changes the plan"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planning;
    use super::*;

    #[test]
    fn a_plan_that_does_not_follow_from_its_input_is_seen() {
        let planning = Planning::without_services();
        let mut other = planning.plan.clone();
        other.writes.pop();
        for (plan, wrong) in [(&planning.plan, 0), (&other, 1)] {
            let mut state = State { plans: EVERY / 2 - 1 };
            assert_eq!(planning.found(&mut state, plan).len(), wrong);
        }
    }
}
