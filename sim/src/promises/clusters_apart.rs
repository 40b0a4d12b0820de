//! > One cluster's fault (panic, hang, bad spec) does not delay another's.
//!
//! Looked at whenever the operator has made a plan in a world with several clusters: none of the others may be overdue.
//! Panics and hangs are the real shell's matter; its own tests hold that.

use super::seen::{Log, Seen};
use super::{Checker, Promise, When};
use crate::operator::Operator;
use crate::time::{Span, Time};
use crate::world::{Key, KubeId};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 10,
    name: "clusters apart",
    words: "One cluster's fault (panic, hang, bad spec) does not delay another's.",
    when: &[When::Event],
    file: file!(),
    held_by: &[],
};

/// How much later than due a pass may begin. An operator has one thing to do at a time, and no plan takes this long.
const LATE: Span = Span::s(1);

/// Nothing needs to be remembered.
#[derive(Clone, Default)]
pub(super) struct State;

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        for (_, kube, actor) in seen.world.actors() {
            let Some(operator) = actor.any().downcast_ref::<Operator>() else { continue };
            if operator.clusters() < 2 {
                continue;
            }
            log.looked(&PROMISE);
            for wrong in left_alone(operator, kube, seen.now()) {
                log.broken(&PROMISE, wrong);
            }
        }
    }
}

/// The clusters that an operator leaves alone.
fn left_alone(operator: &Operator, kube: KubeId, now: Time) -> Vec<String> {
    let text = |((namespace, name), due): (&Key, Time)| {
        let due = due.seconds();
        format!(
            "{namespace}/{name} of Kubernetes {} is left alone, and was due at {due:.1} s",
            kube.0
        )
    };
    operator.overdue(now, LATE).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::*;
    use super::*;
    use crate::lab::OPERATOR;

    #[test]
    fn a_cluster_that_is_left_alone_is_seen() {
        let world = ready();
        let operator = world.find(KUBE, OPERATOR).expect("it runs");
        let operator = world.actor::<Operator>(operator).expect("it is one");
        assert_eq!(left_alone(operator, KUBE, world.now()), [""; 0]);
        // Nobody looks after it for a day.
        let wrong = left_alone(operator, KUBE, world.now() + Span::s(86_400));
        assert!(wrong.len() == 1 && wrong[0].contains("hippo0"), "{wrong:?}");
    }
}
