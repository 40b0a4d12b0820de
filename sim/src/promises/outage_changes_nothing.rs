//! > After a control-plane outage of any length, the operator makes no change but what the same spec and the elapsed time
//! > would have caused without it; never a restart, delete or switchover from stale facts.
//!
//! By comparing two runs: of a world at rest, one copy has an outage and the other does not; the operator writes the same
//! in both ([`compare`]). Without the API Patroni gives the leader up and elects anew when it is back; that is no change
//! of ours, nor is telling it. And before every write that takes an instance down after an outage: what the plan knew of the cluster's
//! Pods is what they are.

use std::collections::BTreeMap;

use ivory_core::{Kind, labels};

use super::seen::{Log, Seen, Write, Writes, key};
use super::{Checker, Promise, When};
use crate::scenario::driver::{Break, Driver};
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::{Entry, Milestone};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 15,
    name: "outage changes nothing",
    words: "After a control-plane outage of any length, the operator makes no change but what the same spec and the \
            elapsed time would have caused without it; never a restart, delete or switchover from stale facts.",
    when: &[When::Write, When::Comparison],
    file: file!(),
    held_by: &[],
};

/// For how long after an outage facts may be stale because of it: readers try again within a minute.
const AFTER: Span = Span::s(300);
/// How old the facts of what is written may be: a watch that fails counts as one that stands for 15 s, and a plan is carried
/// out within 11 s.
const AGE: Span = Span::s(26);

/// When what plans look at changed last.
#[derive(Clone, Default)]
pub(super) struct State {
    changed: BTreeMap<(KubeId, std::sync::Arc<str>, std::sync::Arc<str>), Time>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, _: &mut Log<'_>) {
        for (kube, change) in seen.changes.iter().filter(|(_, c)| c.object.kind == Kind::Pod) {
            let meta = &change.object.meta;
            self.changed.insert((*kube, meta.namespace.clone(), meta.name.clone()), seen.now());
        }
    }

    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        if !disrupts(write) {
            return;
        }
        let now = write.world.now();
        log.looked(&PROMISE);
        if !write.world.outage(write.kube, AFTER) {
            return;
        }
        let Some(cluster) = write.live().and_then(|o| write.cluster_of(o)) else { return };
        let meta = &cluster.meta;
        let Some(plan) = write.plans.get(&key(write.kube, cluster)) else { return };
        for ((kube, namespace, pod), at) in &self.changed {
            if (*kube, &**namespace) != (write.kube, &*meta.namespace) || now - *at < AGE {
                continue;
            }
            let live = write.get(Kind::Pod, namespace, pod);
            let mine = live.is_some_and(|p| p.label(labels::CLUSTER) == Some(&*meta.name));
            let old = plan.pods.get(pod).is_none_or(|_| *at > plan.at);
            if mine && old {
                let text = format!(
                    "{} after an outage, from a plan that did not know {pod} as it is since {:.1} s",
                    write.text(),
                    at.seconds()
                );
                log.broken(&PROMISE, text);
            }
        }
    }
}

/// Whether a write restarts, deletes or hands over an instance.
fn disrupts(write: &Write<'_>) -> bool {
    match write.what {
        Writes::Exec(..) => write.what.disrupts(),
        Writes::Request(_) => write.deletes().is_some_and(|o| o.label(labels::INSTANCE).is_some()),
    }
}

/// How long a copy is watched after the outage.
const WATCHED: Span = Span::s(600);

/// What an outage of the control plane makes the operator do in a world at rest: its writes, those apart that tell what
/// is, which it does not make in the same world without one. Empty when the promise holds.
///
/// # Errors
/// A sentence, when the world can't be copied or has no API server to lose.
pub fn compare(world: &dyn Driver, outage: Span) -> Result<Vec<String>, String> {
    let run = |down: bool| {
        let mut copy = world.fork().ok_or("this world can't be copied")?;
        let (before, until) = (copy.journal().len(), copy.now() + outage + WATCHED);
        if down {
            copy.fault(KubeId(0), &Break::ApiOutage(outage))?;
        }
        copy.advance_to(until);
        Ok::<_, String>(copy.journal()[before..].iter().filter_map(change).collect::<Vec<_>>())
    };
    Ok(differ(&run(false)?, &run(true)?))
}

/// A write of the operator that is more than telling what is, in words.
fn change(entry: &Entry) -> Option<String> {
    let Milestone::Wrote { verb, .. } = &entry.what else { return None };
    let telling = ["status", "event"].contains(verb);
    (!telling).then(|| format!("{:?}", entry.what))
}

fn differ(without: &[String], with: &[String]) -> Vec<String> {
    let more = with.iter().filter(|write| !without.contains(write));
    more.map(|write| format!("only after an outage: {write}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::*;
    use super::*;
    use crate::kube::Status;
    use crate::lab::NAMESPACE;
    use crate::lab::site::LabSite;
    use crate::scenario::world_driver::WorldDriver;
    use crate::world::Cut;

    #[test]
    fn a_deletion_from_facts_of_before_an_outage_is_seen() {
        let mut world = ready();
        let pod = members(&world)[1].config().name.clone();
        let request = deletion(&the(&world, Kind::Pod, &pod));
        let mut plans = plans(&world, false);
        let key = (KUBE, NAMESPACE.into(), pod.clone());
        let mut state = State { changed: [(key, world.now() + Span::s(20))].into() };
        for plan in plans.values_mut() {
            plan.pods.insert(pod.clone(), 1);
        }
        let refuse = Cut::Refuse(Box::new(Status::unavailable("connection refused")));
        let calm = world.clone();
        let from = world.now();
        world.faults.api_outage("outage", KUBE, from, Span::s(30), refuse);
        for (mut world, wanted) in [(calm, 0), (world, 1)] {
            world.advance(Span::s(60));
            let write = writes(&world, &request, &plans);
            let wrong = found(world.now(), |log| state.write(&write, log));
            assert_eq!(wrong.len(), wanted, "{wrong:?}");
        }
    }

    #[test]
    fn an_outage_changes_nothing_and_what_one_changes_is_seen() {
        let driver = WorldDriver::new(ready(), LabSite::default());
        assert_eq!(compare(&driver, Span::s(3600)), Ok(Vec::new()));
        let [a, b] = ["a", "b"].map(|write| vec![write.to_owned()]);
        assert_eq!(differ(&a, &a), [""; 0]);
        assert_eq!(differ(&a, &b), ["only after an outage: b"]);
    }
}
