//! What goes wrong while a plan is carried out, and which of its writes are still meant then. It owns which answers are
//! about one write alone, and what depends on what; sending, and when to try again, are the drivers' matter.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels;
use crate::plan::{Op, Plan, Write};
use crate::report::Step;

/// What the API server refuses to have written, as `Kind name`, and its words. Quotas, admission webhooks and policies
/// refuse what no permission is missing for.
pub type Refusals = BTreeMap<String, String>;

/// After so many of these in a pass the API server itself is in trouble, and is left alone.
const ERRORS_MAX: u32 = 3;
/// Steps whose objects don't need each other.
const APART: [Step; 4] = [Step::Services, Step::Rbac, Step::Disruption, Step::Users];

/// What went wrong so far.
#[derive(Clone, Debug, Default)]
pub struct Setbacks {
    known: BTreeSet<String>,
    commands: BTreeSet<Step>,
    refused: Vec<Refused>,
    errors: u32,
}

#[derive(Clone, Debug)]
struct Refused {
    step: Step,
    what: String,
    instance: Option<String>,
    why: String,
}

impl Setbacks {
    /// Nothing went wrong yet. The plan was made by somebody who knew that these writes are refused.
    #[must_use]
    pub fn new(known: &Refusals) -> Self {
        Self { known: known.keys().cloned().collect(), ..Self::default() }
    }

    /// A command of a step ran and failed, or may not be run.
    pub fn command(&mut self, step: Step) {
        self.commands.insert(step);
    }

    /// The API server answered a write with this status code. Whether that is about this write alone, so that others may
    /// well be accepted.
    ///
    /// 403 is for drivers who know that no permission is missing. A webhook that can't be reached, and an object that two
    /// field managers made contradictory, are answered with 500.
    pub fn answered(&mut self, write: &Write, code: u16, why: &str) -> bool {
        self.errors += u32::from(code == 500);
        let alone =
            matches!(code, 400 | 403 | 413 | 422) || (code == 500 && self.errors < ERRORS_MAX);
        let object = !matches!(write.op, Op::Exec { .. } | Op::Event { .. });
        if alone && object {
            self.refused.push(Refused {
                step: write.step,
                what: write.op.about(),
                instance: instance(&write.op),
                why: why.to_owned(),
            });
        }
        alone && object
    }

    /// What was refused, for the next plan to tell.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refused.iter().map(|r| (r.what.clone(), r.why.clone())).collect()
    }
}

impl Refused {
    /// Whether a write counted on this one.
    fn undermines(&self, write: &Write) -> bool {
        if matches!(write.op, Op::Event { .. }) || write.step == Step::Status {
            return false;
        }
        // All that follows is signed, or cleaned up, by what was refused.
        if self.step <= Step::Pki {
            return true;
        }
        if self.step != write.step {
            return false;
        }
        let makes = matches!(write.op, Op::Apply { .. } | Op::Create { .. });
        let apart = match (instance(&write.op), &self.instance) {
            (Some(theirs), Some(ours)) => theirs != *ours,
            _ => APART.contains(&self.step),
        };
        !(makes && apart && write.op.about() != self.what)
    }
}

impl Plan {
    /// Whether the write at an index is still meant after what went wrong before it. What follows a command that failed
    /// in the same step was decided in the belief that the command goes well; no other step counts on it, so that a user's
    /// bad options don't keep backups from being made. So it is with what the API server refuses, but that one instance
    /// needs nothing of another's. A status that was drawn up in the belief that all would be written waits for the next
    /// pass, which knows better.
    #[must_use]
    pub fn stands(&self, index: usize, setbacks: &Setbacks) -> bool {
        let Some(write) = self.writes.get(index) else { return false };
        if setbacks.commands.contains(&write.step) {
            return false;
        }
        let status = matches!(write.op, Op::Status { .. }) && !self.records(index);
        let belied = |r: &Refused| status && !setbacks.known.contains(&r.what);
        !setbacks.refused.iter().any(|r| belied(r) || r.undermines(write))
    }
}

/// The instance that an object is of.
fn instance(op: &Op) -> Option<String> {
    match op {
        Op::Apply { object } | Op::Create { object } => {
            object.label(labels::INSTANCE).map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kind::Kind;
    use crate::object::Object;
    use crate::plan::Propagation;
    use crate::report::{Reason, Report};

    fn write(step: Step, op: Op) -> Write {
        Write { step, reason: Reason::Deleting, op }
    }

    fn apply(step: Step, kind: Kind, name: &str, instance: &str) -> Write {
        let mut object = Object::new(kind, "ns", name);
        if !instance.is_empty() {
            let labels = [(labels::INSTANCE.to_owned(), instance.to_owned())];
            object.meta.labels = Arc::new(labels.into());
        }
        write(step, Op::Apply { object: Arc::new(object) })
    }

    fn delete(step: Step, name: &str) -> Write {
        write(
            step,
            Op::Delete {
                kind: Kind::Pod,
                namespace: "ns".into(),
                name: name.into(),
                uid: "1".into(),
                resource_version: None,
                propagation: Propagation::Background,
            },
        )
    }

    fn status() -> Write {
        let (namespace, name) = ("ns".to_owned(), "hippo".to_owned());
        let patch = serde_json::json!({});
        write(Step::Status, Op::Status { kind: Kind::IvoryCluster, namespace, name, patch })
    }

    fn plan(writes: Vec<Write>) -> Plan {
        Plan { writes, report: Report::default(), requeue: None }
    }

    /// Which of the writes after the first still stand when that is answered with 403.
    fn left(writes: Vec<Write>) -> Vec<bool> {
        let mut setbacks = Setbacks::default();
        assert!(setbacks.answered(&writes[0], 403, "no"));
        let plan = plan(writes);
        (1..plan.writes.len()).map(|i| plan.stands(i, &setbacks)).collect()
    }

    #[test]
    fn one_instance_needs_nothing_of_another_and_all_of_its_own() {
        let of = |kind, name, instance| apply(Step::Instances, kind, name, instance);
        let stands = left(vec![
            of(Kind::PersistentVolumeClaim, "a-pgdata", "a"),
            of(Kind::StatefulSet, "a", "a"),
            of(Kind::StatefulSet, "b", "b"),
            of(Kind::Secret, "shared", ""),
            delete(Step::Instances, "c-0"),
            delete(Step::Rollout, "c-0"),
            apply(Step::Users, Kind::Secret, "user", ""),
        ]);
        assert_eq!(stands, [false, true, false, false, true, true]);
    }

    #[test]
    fn what_signs_all_that_follows_ends_all_that_follows() {
        let root = apply(Step::Pki, Kind::Secret, "root", "");
        let stands = left(vec![root, apply(Step::Services, Kind::Service, "s", ""), status()]);
        assert_eq!(stands, [false, false], "and the status did not know");
    }

    #[test]
    fn objects_that_do_not_need_each_other_are_written_but_never_the_same_one() {
        for (step, kind, apart) in
            [(Step::Services, Kind::Service, true), (Step::Repository, Kind::StatefulSet, false)]
        {
            let one = |name| apply(step, kind, name, "");
            assert_eq!(left(vec![one("a"), one("a"), one("b")]), [false, apart]);
        }
    }

    #[test]
    fn the_status_is_written_by_the_plan_that_knows() {
        let writes = vec![apply(Step::Services, Kind::Service, "a", ""), status()];
        let mut setbacks = Setbacks::default();
        assert!(setbacks.answered(&writes[0], 422, "no"));
        let told = setbacks.refusals();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [("Service a".into(), "no".into())]);
        let plan = plan(writes);
        assert!(!plan.stands(1, &setbacks));
        let mut next = Setbacks::new(&setbacks.refusals());
        assert!(next.answered(&plan.writes[0], 422, "still no"));
        assert!(plan.stands(1, &next));
    }

    #[test]
    fn what_is_not_about_one_write_alone_ends_the_pass() {
        let service = apply(Step::Services, Kind::Service, "a", "");
        for code in [404, 409, 429, 503, 504] {
            let mut setbacks = Setbacks::default();
            assert!(!setbacks.answered(&service, code, "no"), "{code}");
            assert!(setbacks.refusals().is_empty());
        }
        let mut setbacks = Setbacks::default();
        let errors = [(); 3].map(|()| setbacks.answered(&service, 500, "no"));
        assert_eq!(errors, [true, true, false], "then the API server is in trouble");
    }
}
