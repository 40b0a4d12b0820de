//! > An error on a read never changes what is rendered.
//!
//! Looked at for some of the plans: one of the reads that went into it is made unknown, and the plan that follows may do
//! nothing that the first one does not do. Core's own tests do it for every read of two states.

use ivory_core::plan::Op;
use ivory_core::read::Read;
use ivory_core::steps;

use super::seen::{Log, Pass};
use super::{Checker, Promise, When};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 6,
    name: "read errors change nothing",
    words: "An error on a read never changes what is rendered.",
    when: &[When::Pass],
    file: file!(),
    held_by: &["core/src/steps/tests.rs::an_unknown_read_never_makes_a_plan_smaller_or_deletes"],
};

/// One plan of so many is looked at.
const EVERY: usize = 16;

/// Which plan, and which of its reads, is next.
#[derive(Clone, Default)]
pub(super) struct State {
    plans: usize,
}

impl Checker for State {
    fn pass(&mut self, pass: &Pass<'_>, log: &mut Log<'_>) {
        self.plans += 1;
        if !self.plans.is_multiple_of(EVERY) || pass.observed.objects.is_empty() {
            return;
        }
        log.looked(&PROMISE);
        let mut observed = pass.observed.clone();
        let index = (self.plans / EVERY) % observed.objects.len();
        let Some((key, read)) = observed.objects.iter_mut().nth(index) else { return };
        let key = key.clone();
        *read = Read::Unknown("made unknown by a checker".into());
        let plan = steps::plan(&observed, pass.context, &mut pass.memos.clone());
        for write in &plan.writes {
            let tells = matches!(write.op, Op::Status { .. } | Op::Event { .. });
            if !tells && !pass.plan.writes.iter().any(|w| w.op == write.op) {
                let cluster = &pass.observed.cluster.meta.name;
                let text = format!(
                    "{cluster}: if {key:?} could not be read, the operator would also write {} because {}",
                    write.op.about(),
                    write.reason
                );
                log.broken(&PROMISE, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planning;
    use super::*;

    #[test]
    fn what_only_a_plan_with_unknown_reads_does_is_seen() {
        let planning = Planning::without_services();
        assert!(!planning.plan.writes.is_empty(), "a Service is missing");
        let mut idle = planning.plan.clone();
        idle.writes.clear();
        let ask = |plan: &ivory_core::plan::Plan, turn: usize| {
            planning.found(&mut State { plans: EVERY * turn - 1 }, plan)
        };
        let turns = 1..=planning.observed.objects.len();
        for turn in turns.clone() {
            assert_eq!(ask(&planning.plan, turn), [""; 0]);
        }
        let wrong = turns.flat_map(|turn| ask(&idle, turn));
        let seen = wrong.filter(|w| w.contains("the operator would also write Service"));
        assert!(seen.count() > 0);
    }
}
