//! One pass under way: asking, then writing, one message at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::observed::Observed;
use ivory_core::plan::{Op, Plan, Trail, Write};
use ivory_core::queries::queries;
use ivory_core::read::{Answer, Output, Query, Read};
use ivory_core::report::Step;
use ivory_core::setbacks::Setbacks;

use crate::kube::{Body, DeleteOptions, ObjectRef, Request, Response, Subresource, Verb};
use crate::operator::Operator;
use crate::time::{Span, Time};
use crate::world::call::CallError;
use crate::world::journal::Milestone;
use crate::world::{Cx, Key, Ticket};

/// After so long a plan is too old to go on with.
const PLAN_AGE_MAX: Span = Span::s(10);
/// Core is asked for more questions so often at most.
const ROUNDS_MAX: u32 = 4;

/// A pass under way.
#[derive(Clone)]
pub(super) enum Run {
    /// Questions are out.
    Asking { observed: Arc<Observed>, round: u32, out: BTreeMap<Ticket, Query> },
    /// A write is out.
    Writing { course: Course, index: usize, ticket: Ticket },
}

/// How far a plan has come.
#[derive(Clone)]
pub(super) struct Course {
    plan: Arc<Plan>,
    began: Time,
    /// Whether anything was written.
    wrote: bool,
    /// What the writes so far have left.
    trail: Trail,
    /// What went wrong so far, and kept only what counts on it from being tried.
    setbacks: Setbacks,
    /// What the first of it was about, and what went wrong.
    fault: Option<(String, String)>,
}

impl Run {
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        match self {
            Run::Asking { out, .. } => out.contains_key(&ticket),
            Run::Writing { ticket: t, .. } => *t == ticket,
        }
    }
}

impl Operator {
    /// Asks what core wants to know; plans at once when it wants nothing.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, key: &Key, observed: Observed) {
        self.ask_more(cx, key, observed, 0);
    }

    fn ask_more(&mut self, cx: &mut Cx<'_>, key: &Key, mut observed: Observed, round: u32) {
        let mut wanted = queries(&observed, self.config());
        wanted.retain(|q| !observed.answers.contains_key(q));
        let now = cx.now().timestamp();
        let known = &self.state(key).answers;
        wanted.retain(|query| match known.to(query, now) {
            Some(found) => {
                observed.answers.insert(query.clone(), found.clone());
                false
            }
            None => true,
        });
        if wanted.is_empty() || round >= ROUNDS_MAX {
            return self.plan(cx, key, &observed);
        }
        let out: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|q| (cx.exec(&q.target, &q.command, Span::s(i64::from(q.deadline_s))), q))
            .collect();
        self.tickets.extend(out.keys().map(|ticket| (*ticket, key.clone())));
        self.state(key).run = Some(Run::Asking { observed: Arc::new(observed), round, out });
    }

    /// Begins to carry out a plan.
    pub(super) fn carry_out(&mut self, cx: &mut Cx<'_>, key: &Key, plan: Plan) {
        let course = Course {
            plan: Arc::new(plan),
            began: cx.now(),
            wrote: false,
            trail: Trail::default(),
            setbacks: Setbacks::new(&self.state(key).refused),
            fault: None,
        };
        self.next_write(cx, key, course, 0);
    }

    fn next_write(&mut self, cx: &mut Cx<'_>, key: &Key, course: Course, from: usize) {
        let plan = &course.plan;
        let index = (from..plan.writes.len()).find(|i| plan.stands(*i, &course.setbacks));
        let Some(index) = index else {
            // All that was planned was tried.
            self.state(key).refused = course.setbacks.refusals();
            return match course.fault {
                None => self.finished(cx, key, plan),
                Some((what, error)) => self.failed(cx, key, what, error, false, course.wrote),
            };
        };
        if cx.now() - course.began > PLAN_AGE_MAX && !plan.records(index) {
            let (what, error) = ("the plan".to_owned(), "it grew too old".to_owned());
            return self.failed(cx, key, what, error, true, course.wrote);
        }
        self.writes += 1;
        let ticket = match plan.op(index, course.trail).as_ref() {
            Op::Exec { target, command, deadline_s } => {
                cx.exec(target, command, Span::s(i64::from(*deadline_s)))
            }
            op => cx.submit(request(op)),
        };
        self.tickets.insert(ticket, key.clone());
        self.state(key).run = Some(Run::Writing { course, index, ticket });
    }

    pub(super) fn answered(&mut self, cx: &mut Cx<'_>, ticket: Ticket, response: Response) {
        let Some(key) = self.owner(ticket) else {
            return;
        };
        let Some(Run::Writing { mut course, index, .. }) = self.state(&key).run.take() else {
            return;
        };
        let write = &course.plan.writes[index];
        match response {
            Ok(reply) => {
                let mut left = None;
                if let Some(object) = reply.into_object() {
                    let version = object.meta.resource_version;
                    left = Some((object.kind, version));
                    let seen = self.state(&key).written.entry(object.kind).or_default();
                    *seen = version.max(*seen);
                }
                self.wrote(cx, &key, write);
                course.wrote = true;
                course.trail.wrote(left);
                self.next_write(cx, &key, course, index + 1);
            }
            // What was to be deleted is gone; what was to be told is told.
            Err(status) if is_done(&write.op, status.code) => {
                course.trail.wrote(None);
                self.next_write(cx, &key, course, index + 1);
            }
            Err(status) => {
                let fault = (write.op.about(), status.to_string());
                if course.setbacks.answered(write, status.code, &status.message) {
                    course.fault.get_or_insert(fault);
                    course.trail.wrote(None);
                    return self.next_write(cx, &key, course, index + 1);
                }
                let soon = status.code == 409;
                self.failed(cx, &key, fault.0, fault.1, soon, course.wrote);
            }
        }
    }

    pub(super) fn output(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        output: Result<Output, CallError>,
    ) {
        let Some(key) = self.owner(ticket) else {
            return;
        };
        match self.state(&key).run.take() {
            Some(Run::Asking { observed, round, mut out }) => {
                let mut observed = Arc::unwrap_or_clone(observed);
                if let Some(query) = out.remove(&ticket) {
                    let at = cx.now().timestamp();
                    let answer = match output {
                        Ok(output) if output.exit == 0 => Read::Known(Answer { output, at }),
                        Ok(output) => Read::Unknown(format!("exit status {}", output.exit).into()),
                        Err(error) => Read::Unknown(format!("{error:?}").into()),
                    };
                    self.state(&key).answers.keep(&query, at, &answer);
                    observed.answers.insert(query, answer);
                }
                if out.is_empty() {
                    self.ask_more(cx, &key, observed, round + 1);
                } else {
                    self.state(&key).run =
                        Some(Run::Asking { observed: Arc::new(observed), round, out });
                }
            }
            Some(Run::Writing { mut course, index, .. }) => {
                let write = &course.plan.writes[index];
                let result = match (&write.op, output) {
                    (Op::Exec { command, .. }, Ok(output)) => command.outcome(&output),
                    (_, Ok(_)) => Ok(()),
                    // Nobody knows what it did.
                    (op, Err(error)) => {
                        let (what, error) = (op.about(), error_text(&error));
                        return self.failed(cx, &key, what, error, false, course.wrote);
                    }
                };
                match result {
                    Ok(()) => {
                        self.wrote(cx, &key, write);
                        course.wrote = true;
                        course.trail.wrote(None);
                    }
                    Err(failure) => {
                        course.setbacks.command(write.step);
                        let fault = (write.op.about(), failure.to_string());
                        course.fault.get_or_insert(fault);
                    }
                }
                self.next_write(cx, &key, course, index + 1);
            }
            None => {}
        }
    }

    fn wrote(&mut self, cx: &mut Cx<'_>, key: &Key, write: &Write) {
        let step = step_name(write);
        cx.note(Milestone::Wrote {
            cluster: key.1.clone(),
            step,
            verb: verb_of(write),
            object: write.op.about(),
            reason: write.reason.to_string(),
        });
    }
}

fn error_text(error: &CallError) -> String {
    match error {
        CallError::Refused => "nobody answered".into(),
        CallError::TimedOut => "no answer in time".into(),
        CallError::Reset => "the container went away".into(),
        CallError::Api(status) => status.to_string(),
    }
}

fn is_done(op: &Op, code: u16) -> bool {
    match op {
        Op::Delete { .. } => code == 404,
        Op::Event { .. } => code == 409,
        _ => false,
    }
}

fn step_name(write: &Write) -> &'static str {
    match write.step {
        Step::Validate => "validate",
        Step::Finalizer => "finalizer",
        Step::Paused => "paused",
        Step::Permissions => "permissions",
        Step::Pki => "pki",
        Step::Services => "services",
        Step::Rbac => "rbac",
        Step::Patroni => "patroni",
        Step::Repository => "repository",
        Step::Instances => "instances",
        Step::Disruption => "disruption",
        Step::Rollout => "rollout",
        Step::Switchover => "switchover",
        Step::Databases => "databases",
        Step::Users => "users",
        Step::Backups => "backups",
        Step::InitSql => "init SQL",
        Step::Status => "status",
    }
}

fn verb_of(write: &Write) -> &'static str {
    use ivory_core::report::Reason;
    match (&write.op, &write.reason) {
        (Op::Create { .. }, _) | (Op::Apply { .. }, Reason::Missing { .. }) => "create",
        (Op::Apply { .. } | Op::MergePatch { .. }, _) => "update",
        (Op::Delete { .. }, _) => "delete",
        (Op::Status { .. }, _) => "status",
        (Op::Event { .. }, _) => "event",
        (Op::Exec { .. }, _) => "exec",
    }
}

/// The request that a write amounts to.
fn request(op: &Op) -> Request {
    let target = |kind, namespace: &str, name: &str| ObjectRef::new(kind, namespace, name);
    let verb = match op {
        Op::Apply { object } => Verb::Patch {
            target: ObjectRef::of(object),
            subresource: Subresource::None,
            body: Body::Apply { object: object.clone(), force: true },
        },
        Op::Create { object } | Op::Event { object } => Verb::Create(object.clone()),
        Op::Delete { kind, namespace, name, uid, resource_version, propagation } => Verb::Delete {
            target: target(*kind, namespace, name),
            options: DeleteOptions {
                uid: Some(uid.clone()),
                resource_version: *resource_version,
                propagation: Some(*propagation),
                grace_s: None,
            },
        },
        Op::MergePatch { kind, namespace, name, patch } => Verb::Patch {
            target: target(*kind, namespace, name),
            subresource: Subresource::None,
            body: Body::Merge(Arc::new(patch.clone())),
        },
        Op::Status { kind, namespace, name, patch } => Verb::Patch {
            target: target(*kind, namespace, name),
            subresource: Subresource::Status,
            body: Body::Merge(Arc::new(patch.clone())),
        },
        Op::Exec { .. } => unreachable!("commands go by exec"),
    };
    let mut request = Request::new(ivory_core::names::FIELD_MANAGER, verb);
    request.manager = Some(ivory_core::names::FIELD_MANAGER.into());
    request
}
