//! One pass in the making: what it reads, and what it has decided so far. Rules speak through it, so that
//! "is this write needed?" is answered in one place, exactly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::IvoryClusterStatus;
use crate::cluster::Cluster;
use crate::command::Command;
use crate::context::Context;
use crate::kind::Kind;
use crate::memo::Memo;
use crate::names::FIELD_MANAGER;
use crate::object::Object;
use crate::observed::Observed;
use crate::patroni::dcs::Leader;
use crate::plan::{NEVER, Op, Plan, Propagation, Write};
use crate::read::{Read, SILENT_S};
use crate::reads::NAMED;
use crate::report::{Outcome, Reason, Report, Step};
use crate::{labels, ssa};

/// What became of an object that should be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ensured {
    /// It is as it should be.
    InSync,
    /// A write that makes it so is in the plan.
    Writes,
    /// It can't be touched now; the report says why.
    NotNow,
}

/// How soon something that could not be read is read again, and who gave no answer is asked again.
const UNREADABLE: Duration = Duration::from_secs(SILENT_S.unsigned_abs());

/// One pass in the making.
pub struct Pass<'a> {
    /// What was read.
    pub observed: &'a Observed,
    /// Time, entropy, settings.
    pub context: &'a Context,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Results of earlier passes, by their whole input.
    pub memo: &'a mut Memo,
    /// The status as it will be written.
    pub status: IvoryClusterStatus,
    writes: Vec<Write>,
    report: Report,
    requeue: Option<Duration>,
}

impl<'a> Pass<'a> {
    /// An empty pass.
    pub fn new(
        observed: &'a Observed,
        context: &'a Context,
        cluster: &'a Cluster,
        memo: &'a mut Memo,
    ) -> Self {
        let status = (*cluster.status).clone();
        let report = Report::default();
        Self { observed, context, cluster, memo, status, writes: Vec::new(), report, requeue: None }
    }

    /// The plan that has come together. What could not be read may be readable soon, what gave no answer may answer,
    /// and no change of any object tells when.
    pub fn finish(mut self) -> Plan {
        let unreadable = |o: &Outcome| matches!(o, Outcome::Waiting(Reason::Unreadable { .. }));
        if self.report.lines.iter().any(|(_, o)| unreadable(o))
            || self.observed.answers.values().any(Read::is_unknown)
        {
            self.look_again(UNREADABLE);
        }
        Plan { writes: self.writes, report: self.report, requeue: self.requeue }
    }

    /// The writes so far.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether a write of one of these steps is planned.
    #[must_use]
    pub fn writes_in(&self, steps: &[Step]) -> bool {
        self.writes.iter().any(|w| steps.contains(&w.step))
    }

    /// The report so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Adds a line to the report.
    pub fn say(&mut self, step: Step, outcome: Outcome) {
        self.report.lines.push((step, outcome));
    }

    /// Something that will come by itself is awaited.
    pub fn wait(&mut self, step: Step, word: &'static str, text: impl Into<String>) {
        self.say(step, Outcome::Waiting(Reason::Because { word, text: text.into() }));
    }

    /// Nothing goes on with this until somebody changes something.
    pub fn block(&mut self, step: Step, word: &'static str, text: impl Into<String>) {
        self.say(step, Outcome::Blocked(Reason::Because { word, text: text.into() }));
    }

    /// Something could not be read, so nothing that depends on it is decided.
    pub fn unreadable(&mut self, step: Step, what: impl Into<String>) {
        self.say(step, Outcome::Waiting(Reason::Unreadable { what: what.into() }));
    }

    /// Looks again after so long, or sooner if something else wants it sooner.
    pub fn look_again(&mut self, after: Duration) {
        self.requeue = Some(self.requeue.map_or(after, |r| r.min(after)));
    }

    /// Whether nobody holds the lease any more; if somebody does, looks again when it ends unless it is renewed.
    pub fn lease_is_over(&mut self, lease: &Leader) -> bool {
        let now = self.context.now;
        let over = lease.is_over(now);
        lease.lasts_still(now).filter(|_| !over).into_iter().for_each(|left| self.look_again(left));
        over
    }

    /// Adds a write.
    pub fn write(&mut self, step: Step, reason: Reason, op: Op) {
        self.writes.push(Write { step, reason, op });
    }

    /// Whether a write to this object is planned already.
    #[must_use]
    pub fn writes_to(&self, kind: Kind, name: &str) -> bool {
        self.writes.iter().any(|w| match &w.op {
            Op::Apply { object } | Op::Create { object } => {
                object.kind == kind && &*object.meta.name == name
            }
            Op::Delete { kind: k, name: n, .. } => *k == kind && n == name,
            _ => false,
        })
    }

    /// Whether the deletion of this object is planned.
    #[must_use]
    pub fn deletes(&self, kind: Kind, name: &str) -> bool {
        let is_it = |w: &Write| matches!(&w.op, Op::Delete { kind: k, name: n, .. } if *k == kind && n == name);
        self.writes.iter().any(is_it)
    }

    /// Makes an object as it should be: plans an apply exactly when that would change something.
    pub fn ensure(&mut self, step: Step, desired: Object) -> Ensured {
        self.ensure_shared(step, Arc::new(desired))
    }

    /// [`Pass::ensure`] for an object that follows from the cluster and from `input` alone, which spells out
    /// everything else that `build` uses.
    pub fn ensure_built(
        &mut self,
        step: Step,
        input: String,
        build: impl FnOnce() -> Object,
    ) -> Ensured {
        let desired = self.memo.built(input, build);
        self.ensure_shared(step, desired)
    }

    /// [`Pass::ensure`] for an object that a memo shares.
    pub fn ensure_shared(&mut self, step: Step, desired: Arc<Object>) -> Ensured {
        let (kind, name) = (desired.kind, desired.meta.name.clone());
        match self.observed.find(kind, &name) {
            Read::Unknown(_) => {
                self.unreadable(step, format!("{kind} {name}"));
                Ensured::NotNow
            }
            Read::Absent => {
                // What was drawn at random is created bare first, which proves that it was not there.
                if self.writes_to(kind, &name) {
                    let text = format!("{kind} {name} gets its content");
                    let reason = Reason::Because { word: "Content", text };
                    self.write(step, reason, Op::Apply { object: desired });
                    return Ensured::Writes;
                }
                let mut object = desired;
                if NAMED.contains(&kind) {
                    Arc::make_mut(&mut object).meta.resource_version = NEVER;
                }
                // Any other may be there without its label. Its name has the cluster's UID in it.
                let reason = Reason::Missing { kind, name: name.to_string() };
                self.write(step, reason, Op::Apply { object });
                Ensured::Writes
            }
            Read::Known(live) => {
                let live = live.clone();
                self.ensure_live(step, desired, &live)
            }
        }
    }

    fn ensure_live(&mut self, step: Step, desired: Arc<Object>, live: &Arc<Object>) -> Ensured {
        let (kind, name) = (desired.kind, desired.meta.name.to_string());
        if live.terminating() {
            self.wait(step, "Terminating", format!("{kind} {name} is being deleted"));
            return Ensured::NotNow;
        }
        if let Some(text) = self.not_ours(&desired, live) {
            self.block(step, "NotOurs", text);
            return Ensured::NotNow;
        }
        let fields = self.memo.would_change(&desired, live);
        if fields.is_empty() {
            return Ensured::InSync;
        }
        // The UID pins the write to this life of the object.
        let mut object = (*desired).clone();
        object.meta.uid = live.meta.uid.clone();
        if kind == Kind::Secret {
            // What is kept of a Secret was read from it; a newer edit must not be lost.
            object.meta.resource_version = live.meta.resource_version;
        }
        let fields = fields.iter().take(3).cloned().collect();
        let reason = Reason::Drifted { kind, name, fields };
        self.write(step, reason, Op::Apply { object: Arc::new(object) });
        Ensured::Writes
    }

    /// Whose a live object is, if it is not ours. One without a controller is taken over only if it bears
    /// the cluster's label: that is what an orphaning deletion of the cluster leaves behind.
    #[must_use]
    pub fn not_ours(&self, desired: &Object, live: &Object) -> Option<String> {
        let (kind, name) = (live.kind, &live.meta.name);
        match live.controller() {
            Some(other) if *other.uid != *self.cluster.uid => {
                Some(format!("{kind} {name} belongs to {} {}", other.kind, other.name))
            }
            None if desired.controller().is_some()
                && live.label(labels::CLUSTER) != Some(&self.cluster.name) =>
            {
                Some(format!("{kind} {name} was there before and belongs to somebody else"))
            }
            _ => None,
        }
    }

    /// Deletes an object that is ours and no longer wanted.
    pub fn delete(&mut self, step: Step, object: &Object, reason: Reason) {
        if object.terminating() {
            return;
        }
        let op = Op::Delete {
            kind: object.kind,
            namespace: object.meta.namespace.to_string(),
            name: object.meta.name.to_string(),
            uid: object.meta.uid.clone(),
            resource_version: None,
            propagation: Propagation::Background,
        };
        self.write(step, reason, op);
    }

    /// Notes something on the cluster itself, or takes the note away: what must outlive a lost status. It is said
    /// of the cluster as it was read: a note that lands late must not undo what a successor noted.
    pub fn annotate_cluster(
        &mut self,
        step: Step,
        reason: Reason,
        key: &'static str,
        value: Option<String>,
    ) {
        let object = self.cluster.object.clone();
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.patch_as_read(step, reason, &object, patch);
    }

    /// Sets the Pods of a StatefulSet of which the spec knows nothing more, and leaves the rest of it as it is.
    pub fn scale(&mut self, step: Step, reason: Reason, workload: &Object, replicas: i32) {
        self.patch_as_read(step, reason, workload, json!({"spec": {"replicas": replicas}}));
    }

    /// Changes labels of an object that others made, and leaves the rest of it as it is.
    pub fn relabel(
        &mut self,
        step: Step,
        reason: Reason,
        object: &Object,
        labels: &BTreeMap<String, String>,
    ) {
        self.patch_as_read(step, reason, object, json!({"metadata": {"labels": labels}}));
    }

    /// A merge patch of an object in the version that was read: a newer one is not overwritten.
    pub fn patch_as_read(&mut self, step: Step, reason: Reason, object: &Object, mut patch: Value) {
        patch["metadata"]["uid"] = json!(&*object.meta.uid);
        patch["metadata"]["resourceVersion"] = json!(object.meta.resource_version.to_string());
        let op = Op::MergePatch {
            kind: object.kind,
            namespace: object.meta.namespace.to_string(),
            name: object.meta.name.to_string(),
            patch,
        };
        self.write(step, reason, op);
    }

    /// Hands leadership over from the Pod that has it, to the candidate or to whom Patroni chooses.
    pub fn hand_over(
        &mut self,
        step: Step,
        why: String,
        leader: &Object,
        candidate: Option<String>,
    ) {
        let command = Command::Switchover {
            scope: crate::names::scope(&self.cluster.name),
            leader: leader.meta.name.to_string(),
            candidate,
        };
        let reason = Reason::Because { word: "HandOver", text: why };
        self.exec(step, reason, leader, command, 30);
    }

    /// Runs a command in a container of a Pod. Until it has run, the spec is not carried out: the report
    /// says so, since the status is written before it.
    pub fn exec(
        &mut self,
        step: Step,
        reason: Reason,
        pod: &Object,
        command: Command,
        deadline_s: u32,
    ) {
        let target = crate::queries::database(pod);
        self.say(step, Outcome::Waiting(reason.clone()));
        self.write(step, reason, Op::Exec { target, command, deadline_s });
    }

    /// Writes into the status that the command before it has run: one that fails is not remembered, and
    /// does not keep the rest of the status from being told.
    pub fn remember(&mut self, step: Step, part: Value) {
        let text = "what was done is remembered".into();
        let op = self.status_op(json!({ "status": part }));
        self.write(step, Reason::Because { word: "Remember", text }, op);
    }

    /// The same for what tells more than that the command has run: it must not overwrite what a successor has found
    /// since. Where somebody wrote the cluster meanwhile, the command is run again.
    pub fn remember_as_read(&mut self, step: Step, part: Value) {
        let text = "what was done is remembered".into();
        let op = self.status_as_read(part);
        self.write(step, Reason::Because { word: "Remember", text }, op);
    }

    /// A merge patch of the status of the cluster in the version that was read: one that lands late must not overwrite
    /// what is true by then.
    #[must_use]
    pub fn status_as_read(&self, part: Value) -> Op {
        let version = self.observed.cluster.meta.resource_version.to_string();
        self.status_op(json!({"metadata": {"resourceVersion": version}, "status": part}))
    }

    fn status_op(&self, patch: Value) -> Op {
        Op::Status {
            kind: Kind::IvoryCluster,
            namespace: self.cluster.namespace.clone(),
            name: self.cluster.name.clone(),
            patch,
        }
    }

    /// Adds writes before the first command, or at the end when there is none: a command that fails again
    /// and again ends every plan at its place.
    pub fn write_before_commands(&mut self, writes: Vec<Write>) {
        let first = self.writes.iter().position(|w| matches!(w.op, Op::Exec { .. }));
        let at = first.unwrap_or(self.writes.len());
        self.writes.splice(at..at, writes);
    }
}

/// The differing fields that a forced apply by us would change.
#[must_use]
pub fn would_change(desired: &Object, live: &Object) -> Vec<String> {
    match ssa::Schema::builtin(desired.kind) {
        Some(schema) => ssa::would_change(schema, desired, live, FIELD_MANAGER),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::services;
    use crate::object::OwnerRef;
    use crate::read::ReadKey;
    use crate::test_support::{NAMESPACE, World, texts};

    const REPLICAS: &str = "hippo-replicas";

    /// What a pass makes of the Service of the replicas in a world, and what it says.
    fn ensure(world: &World) -> (Ensured, Plan) {
        let (observed, context) = (world.observed(), world.context());
        let cluster = Cluster::read(&world.cluster(), &world.config).expect("a cluster");
        let mut memo = Memo::default();
        let mut pass = Pass::new(&observed, &context, &cluster, &mut memo);
        let ensured = pass.ensure(Step::Services, services::replicas(&cluster));
        assert_eq!(pass.writes().len(), usize::from(ensured == Ensured::Writes));
        assert_eq!(pass.writes_to(Kind::Service, REPLICAS), ensured == Ensured::Writes);
        assert_eq!(pass.writes_in(&[Step::Services]), ensured == Ensured::Writes);
        assert!(!pass.writes_in(&[Step::Backups]) && !pass.deletes(Kind::Service, REPLICAS));
        (ensured, pass.finish())
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_left_alone() {
        let mut world = World::settled(1);
        assert_eq!(ensure(&world).0, Ensured::InSync);
        world.remove(Kind::Service, REPLICAS);
        let (ensured, plan) = ensure(&world);
        assert_eq!(ensured, Ensured::Writes, "{:?}", texts(&plan));
        assert_eq!(plan.requeue, None);
        // Sent late, it does not land on what another has made since.
        let Op::Apply { object } = &plan.writes[0].op else { panic!("{:?}", texts(&plan)) };
        assert_eq!(object.meta.resource_version, NEVER);
    }

    #[test]
    fn what_could_not_be_read_is_not_made_and_is_read_again() {
        let mut world = World::settled(1);
        world.remove(Kind::Service, REPLICAS);
        world.unknown.insert(ReadKey::One {
            kind: Kind::Service,
            namespace: NAMESPACE.to_owned(),
            name: REPLICAS.to_owned(),
        });
        let (ensured, plan) = ensure(&world);
        assert_eq!((ensured, plan.requeue), (Ensured::NotNow, Some(UNREADABLE)));
        assert_eq!(plan.report.lines.len(), 1);
    }

    #[test]
    fn who_gave_no_answer_is_asked_again_soon_whatever_the_question() {
        let world = World::settled(1);
        let (mut observed, context) = (world.observed(), world.context());
        let requeue = |observed: &Observed| {
            crate::steps::plan(observed, &context, &mut Default::default()).requeue
        };
        assert!(requeue(&observed).is_some_and(|after| after > UNREADABLE));
        observed.answers.values_mut().for_each(|a| *a = Read::Unknown("a test says so".into()));
        assert_eq!(requeue(&observed), Some(UNREADABLE));
    }

    #[test]
    fn a_changed_object_is_written_as_that_very_object() {
        let mut world = World::settled(1);
        world.change(Kind::Service, REPLICAS, |s| s["spec"]["type"] = "NodePort".into());
        let (ensured, plan) = ensure(&world);
        assert_eq!(ensured, Ensured::Writes);
        let Op::Apply { object } = &plan.writes[0].op else { panic!("{:?}", texts(&plan)) };
        assert_eq!(object.meta.uid, world.the(Kind::Service, REPLICAS).meta.uid);
        assert_eq!(object.meta.resource_version, 0);
    }

    #[test]
    fn an_object_of_somebody_else_or_on_its_way_out_is_not_touched() {
        type Change = fn(&mut Object);
        let changes: [(Change, &str); 4] = [
            (|o| o.meta.deleted_at = Some(jiff::Timestamp::UNIX_EPOCH), "Terminating"),
            (
                |o| {
                    let mut other = OwnerRef::controller_of(o);
                    other.uid = "another".into();
                    o.meta.owners = vec![other].into();
                },
                "NotOurs",
            ),
            (
                |o| {
                    o.meta.owners = Vec::new().into();
                    o.meta.labels = Arc::default();
                },
                "NotOurs",
            ),
            // An orphaning deletion of the cluster leaves this: it is taken over.
            (|o| o.meta.owners = Vec::new().into(), ""),
        ];
        for (change, word) in changes {
            let mut world = World::settled(1);
            let mut object = (**world.the(Kind::Service, REPLICAS)).clone();
            change(&mut object);
            let cluster = Cluster::read(&world.cluster(), &world.config).expect("a cluster");
            let (observed, context, mut memo) =
                (world.observed(), world.context(), Memo::default());
            let mut pass = Pass::new(&observed, &context, &cluster, &mut memo);
            let desired = Arc::new(services::replicas(&cluster));
            let live = world.put(object);
            let ensured = pass.ensure_live(Step::Services, desired, &live);
            let expected = if word.is_empty() { Ensured::Writes } else { Ensured::NotNow };
            assert_eq!(ensured, expected, "{word}");
            let plan = pass.finish();
            assert!(plan.report.lines.iter().all(|(_, o)| format!("{o:?}").contains(word)));
            assert_eq!(plan.report.lines.len(), usize::from(!word.is_empty()), "{word}");
        }
    }

    #[test]
    fn the_soonest_look_again_counts() {
        let world = World::settled(1);
        let (observed, context) = (world.observed(), world.context());
        let cluster = Cluster::read(&world.cluster(), &world.config).expect("a cluster");
        let mut memo = Memo::default();
        let mut pass = Pass::new(&observed, &context, &cluster, &mut memo);
        [5, 3, 7].iter().for_each(|s| pass.look_again(Duration::from_secs(*s)));
        assert_eq!(pass.finish().requeue, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_planned_deletion_is_a_write_to_that_object_and_to_no_other() {
        let world = World::settled(1);
        let (observed, context) = (world.observed(), world.context());
        let cluster = Cluster::read(&world.cluster(), &world.config).expect("a cluster");
        let mut memo = Memo::default();
        let mut pass = Pass::new(&observed, &context, &cluster, &mut memo);
        pass.delete(Step::Services, world.the(Kind::Service, REPLICAS), Reason::Deleting);
        assert!(pass.writes_to(Kind::Service, REPLICAS) && pass.deletes(Kind::Service, REPLICAS));
        assert!(!pass.writes_to(Kind::Endpoints, REPLICAS) && !pass.writes_to(Kind::Service, "x"));
    }
}
