//! A plan carried out: its writes, one at a time, in order. Whatever goes wrong ends it, since what comes next
//! was decided on the assumption that it went well; what was refused, or ran and failed, ends less.

use std::collections::BTreeSet;
use std::time::Duration;

use ivory_core::Kind;
use ivory_core::Object;
use ivory_core::command::Failure;
use ivory_core::grants::{Grant, needs};
use ivory_core::plan::{Op, Plan, Trail, Write};
use ivory_core::setbacks::{Refusals, Setbacks};
use tokio::time::Instant;

use crate::api::Life;
use crate::caches::{Left, Written};
use crate::fault::{Fault, FaultKind};
use crate::pass::Shell;

/// After so long a plan is too old to go on with.
const PLAN_AGE_MAX: Duration = Duration::from_secs(10);

/// What came of a plan.
#[derive(Default)]
pub struct Executed {
    /// What was written, to be seen again before the next plan.
    pub written: Vec<Written>,
    /// How many writes succeeded.
    pub count: usize,
    /// The permissions that were missing. Those writes did nothing, and the others went on.
    pub denied: BTreeSet<Grant>,
    /// What was refused for another reason, and why.
    pub refused: Refusals,
    /// The commands that ran and failed, and the writes that were refused: what they were about, and what went wrong. What
    /// does not count on them went on.
    pub failures: Vec<(String, Fault)>,
    /// What ended it early: what it was about, and what went wrong.
    pub fault: Option<(String, Fault)>,
}

/// Carries out a plan that was made at `made`, by somebody who knew of the permissions in `known` that they are
/// missing, and of what else is `refused`. Commands end before `deadline`.
pub async fn execute(
    shell: &Shell,
    plan: &Plan,
    (known, refused): (&BTreeSet<Grant>, &Refusals),
    made: Instant,
    deadline: Instant,
) -> Executed {
    let mut done = Executed::default();
    let mut setbacks = Setbacks::new(refused);
    let mut trail = Trail::default();
    for (index, write) in plan.writes.iter().enumerate() {
        if !plan.stands(index, &setbacks) {
            continue;
        }
        let records = plan.records(index);
        // The status was drawn up in the belief that all the rest is permitted. The next one knows better.
        let belied = !done.denied.is_subset(known) && !records;
        if belied && matches!(write.op, Op::Status { .. }) {
            continue;
        }
        let what = write.op.about();
        let command = matches!(write.op, Op::Exec { .. });
        let fault = match hindrance(shell, made, records) {
            Some(text) => Some(Fault { kind: FaultKind::Conflict, text: text.into() }),
            None => match perform(shell, &plan.op(index, trail), deadline).await {
                Ok(left) => {
                    trail.wrote(left.as_ref().and_then(version));
                    told(shell, write, &what);
                    done.written.extend(left);
                    done.count += 1;
                    None
                }
                Err(fault) if is_done(&write.op, &fault) => None,
                Err(Fault { kind: FaultKind::Forbidden(grants), text }) => {
                    tracing::warn!(object = what, error = text, "not permitted");
                    done.denied.extend(grants);
                    if command {
                        setbacks.command(write.step);
                    }
                    None
                }
                Err(fault) if matches!(fault.kind, FaultKind::Command | FaultKind::TooEarly) => {
                    setbacks.command(write.step);
                    done.failures.push((what.clone(), fault));
                    None
                }
                Err(fault) if goes_on(&mut setbacks, write, &fault) => {
                    trail.wrote(None);
                    done.failures.push((what.clone(), fault));
                    None
                }
                Err(fault) => Some(fault),
            },
        };
        if let Some(fault) = fault {
            done.fault = Some((what, fault));
            break;
        }
    }
    done.refused = setbacks.refusals();
    done
}

/// Whether an error is about this write alone.
fn goes_on(setbacks: &mut Setbacks, write: &Write, fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Refused(code) if setbacks.answered(write, code, &fault.text))
}

fn hindrance(shell: &Shell, made: Instant, records: bool) -> Option<&'static str> {
    if made.elapsed() > PLAN_AGE_MAX && !records {
        return Some("the plan grew too old");
    }
    (!shell.may_act()).then_some("this replica no longer acts")
}

fn told(shell: &Shell, write: &Write, what: &str) {
    let verb = verb_of(&write.op);
    shell.metrics.wrote(kind_of(&write.op), verb);
    tracing::info!(step = %write.step, verb, object = what, because = %write.reason, "wrote");
}

/// What was to be deleted is gone; what was to be told is told.
fn is_done(op: &Op, fault: &Fault) -> bool {
    match op {
        Op::Delete { .. } => fault.kind == FaultKind::NotFound,
        Op::Event { .. } => fault.kind == FaultKind::Conflict,
        _ => false,
    }
}

async fn perform(shell: &Shell, op: &Op, deadline: Instant) -> Result<Option<Written>, Fault> {
    let api = shell.caches.api();
    let grants = needs(op);
    match op {
        Op::Apply { object } => api.apply(object, grants).await.map(|o| Some(left(&o))),
        Op::Create { object } => api.create(object, grants).await.map(|o| Some(left(&o))),
        Op::Event { object } => api.create(object, grants).await.map(|_| None),
        Op::MergePatch { kind, namespace, name, patch } => {
            let target = (*kind, &**namespace, &**name);
            let answer = api.merge(target, patch, false, grants).await?;
            Ok(Some(left(&answer)))
        }
        Op::Status { kind, namespace, name, patch } => {
            let target = (*kind, &**namespace, &**name);
            let answer = api.merge(target, patch, true, grants).await?;
            Ok(Some(left(&answer)))
        }
        Op::Delete { kind, namespace, name, uid, resource_version, propagation } => {
            let life = Life {
                kind: *kind,
                namespace,
                name,
                uid,
                resource_version: *resource_version,
                propagation: *propagation,
            };
            api.delete(&life, grants).await?;
            Ok(Some(Written {
                kind: *kind,
                namespace: namespace.clone(),
                name: name.clone(),
                left: Left::Gone(uid.clone()),
            }))
        }
        Op::Exec { target, command, deadline_s } => {
            shell.same_life(target)?;
            let time_left = deadline.saturating_duration_since(Instant::now());
            let time = Duration::from_secs(u64::from(*deadline_s)).min(time_left);
            let output = api.exec(target, command, time, grants).await?;
            command.outcome(&output).map_err(|failure| {
                let early = matches!(failure, Failure::NotYet(_));
                let kind = if early { FaultKind::TooEarly } else { FaultKind::Command };
                Fault { kind, text: failure.to_string() }
            })?;
            Ok(None)
        }
    }
}

fn version(written: &Written) -> Option<(Kind, u64)> {
    match written.left {
        Left::Version(version) => Some((written.kind, version)),
        Left::Gone(_) => None,
    }
}

fn left(object: &Object) -> Written {
    Written {
        kind: object.kind,
        namespace: object.meta.namespace.to_string(),
        name: object.meta.name.to_string(),
        left: Left::Version(object.meta.resource_version),
    }
}

fn verb_of(op: &Op) -> &'static str {
    match op {
        Op::Apply { .. } => "apply",
        Op::Create { .. } | Op::Event { .. } => "create",
        Op::Delete { .. } => "delete",
        Op::MergePatch { .. } => "patch",
        Op::Status { .. } => "status",
        Op::Exec { .. } => "exec",
    }
}

fn kind_of(op: &Op) -> Kind {
    match op {
        Op::Apply { object } | Op::Create { object } | Op::Event { object } => object.kind,
        Op::Delete { kind, .. } | Op::MergePatch { kind, .. } | Op::Status { kind, .. } => *kind,
        Op::Exec { .. } => Kind::Pod,
    }
}
