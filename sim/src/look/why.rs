//! Why the operator did what it did: the pass that an event belongs to, what it read and what its steps found.

use std::sync::Arc;

use ivory_core::read::{Read, ReadKey};
use ivory_core::report::Outcome;

use super::Recording;
use super::shape::Event;
use crate::operator::Pass;
use crate::world::KubeId;

/// A pass in words.
#[derive(Clone, Debug, Default)]
pub struct Why {
    /// How many objects of which kind it read, and whose answers.
    pub read: String,
    /// What it could not read, and why not.
    pub unknown: Vec<String>,
    /// What its steps write or wait for: `Step: …`. A step of which nothing is said found all as it should be.
    pub found: Vec<String>,
}

/// The number of the pass that an event of the operator belongs to.
#[must_use]
pub fn pass_of(recording: &Recording, event: &Event) -> Option<usize> {
    if event.pass.is_some() {
        return event.pass;
    }
    let first = event.items.first()?;
    let of = |(kube, pass): &(KubeId, Arc<Pass>)| {
        *kube == first.kube && *pass.cluster.1 == *first.cluster && pass.at <= event.at
    };
    recording.film.passes.iter().rposition(of)
}

/// A pass in words.
#[must_use]
pub fn why(recording: &Recording, kube: KubeId, pass: &Pass) -> Why {
    let show = |text: &str| recording.aliases.show(kube, text);
    let mut why = Why::default();
    for writes in pass.plan.writes.chunk_by(|a, b| a.step == b.step) {
        why.found.push(format!("{}: writes {}", writes[0].step, writes.len()));
    }
    for (step, outcome) in &pass.plan.report.lines {
        if !matches!(outcome, Outcome::InSync | Outcome::Acted) {
            why.found.push(format!("{step}: {}", show(&outcome.to_string())));
        }
    }
    let mut read = Vec::new();
    for (key, objects) in &pass.observed.objects {
        match (key, objects) {
            (ReadKey::Select { kind, .. }, Read::Known(list)) if !list.is_empty() => {
                read.push(format!("{} {kind}", list.len()));
            }
            (key, Read::Unknown(reason)) => {
                why.unknown.push(format!("{}: {reason}", show(&key_text(key))));
            }
            _ => {}
        }
    }
    for (query, answer) in &pass.observed.answers {
        let what = show(&format!("{} in Pod {}", query.command.label(), query.target.pod));
        match answer {
            Read::Known(_) => read.push(format!("the answer of “{what}”")),
            Read::Absent => {}
            Read::Unknown(reason) => why.unknown.push(format!("{what}: {reason}")),
        }
    }
    why.read = read.join(", ");
    why
}

fn key_text(key: &ReadKey) -> String {
    match key {
        ReadKey::One { kind, name, .. } => format!("{kind} {name}"),
        ReadKey::Select { kind, .. } => format!("all {kind}"),
    }
}
