//! A plan in words, for tests to compare and to fail with.

use crate::command::Command;
use crate::plan::{Op, Plan, Write};

/// A write as one line: step, verb and object.
pub fn text(write: &Write) -> String {
    let what = match &write.op {
        Op::Apply { object } => format!("apply {} {}", object.kind, object.meta.name),
        Op::Create { object } => format!("create {} {}", object.kind, object.meta.name),
        Op::Delete { kind, name, .. } => format!("delete {kind} {name}"),
        Op::MergePatch { kind, name, .. } => format!("patch {kind} {name}"),
        Op::Status { kind, name, .. } => format!("status {kind} {name}"),
        Op::Event { object } => format!("event {}", object.str_at(&["reason"]).unwrap_or("?")),
        Op::Exec { target, command, .. } => format!("exec {} in {}", command.label(), target.pod),
    };
    format!("{}: {what} because {}", write.step, write.reason)
}

/// All writes of a plan, one line each, and what it reports.
pub fn texts(plan: &Plan) -> Vec<String> {
    let report = plan.report.lines.iter().map(|(step, outcome)| format!("{step} {outcome}"));
    plan.writes.iter().map(text).chain(report).collect()
}

/// The objects that a plan deletes, as `kind name`.
pub fn deletes(plan: &Plan) -> Vec<String> {
    let of = |w: &Write| match &w.op {
        Op::Delete { kind, name, .. } => Some(format!("{kind} {name}")),
        _ => None,
    };
    plan.writes.iter().filter_map(of).collect()
}

/// [`deletes`] but for disruption budgets, which hold nothing.
pub fn taken(plan: &Plan) -> Vec<String> {
    deletes(plan).into_iter().filter(|d| !d.starts_with("PodDisruptionBudget")).collect()
}

/// The commands of a plan.
pub fn commands(plan: &Plan) -> Vec<(String, Command)> {
    let of = |w: &Write| match &w.op {
        Op::Exec { target, command, .. } => Some((target.pod.clone(), command.clone())),
        _ => None,
    };
    plan.writes.iter().filter_map(of).collect()
}

/// A plan's whole content as text, secrets included: two plans are equal exactly if these are.
pub fn whole(plan: &Plan) -> String {
    let of = |w: &Write| match &w.op {
        Op::Apply { object } | Op::Create { object } | Op::Event { object } => {
            format!("{} {}", text(w), object.to_value())
        }
        Op::Exec { command, .. } => {
            let stdin = command.render().stdin.map(|s| s.expose().to_vec());
            format!("{} {:?} {stdin:?}", text(w), w.op)
        }
        _ => format!("{} {:?}", text(w), w.op),
    };
    let writes: Vec<String> = plan.writes.iter().map(of).collect();
    format!("{}\n{:?}\n{:?}", writes.join("\n"), plan.report, plan.requeue)
}
