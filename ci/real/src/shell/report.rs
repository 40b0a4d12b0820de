//! How it went: a line a story, and the sum.

use std::time::Duration;

use ivory_sim::scenario::language::Scenario;
use ivory_sim::scenario::run::Outcome;
use ivory_sim::world::KubeId;
use ivory_sim::world::fingerprint::differences;
use ivory_sim::world::journal::Entry;
use serde_json::{Value, json};

use super::differences::reason;
use super::driver::Remains;
use super::{once, rights};
use crate::e2e::compare::{Side, compare};
use crate::e2e::kept::Kept;
use crate::e2e::milestones::milestones;

/// How one story went.
pub(super) struct Story {
    pub(super) name: String,
    /// By the clock, the simulated run included.
    pub(super) took: Duration,
    pub(super) how: How,
}

/// Whether it was played, and how that went.
pub(super) enum How {
    /// It could not begin.
    Broken(String),
    /// It was played.
    Played(Box<Played>),
}

/// Both runs of a story.
pub(super) struct Played {
    /// What is wrong; nothing in a story that passed.
    wrong: Vec<String>,
    /// Differences that have a reason.
    excused: Vec<String>,
    /// How many milestones both runs have in common.
    common: usize,
    shell: Outcome,
    model: Outcome,
}

impl Played {
    /// Compares both runs.
    pub(super) fn of(
        scenario: &Scenario,
        (model, kept): (Outcome, &Kept),
        (shell, remains): (Outcome, Remains),
    ) -> Self {
        let (mut wrong, mut excused) = (Vec::new(), Vec::new());
        for (who, outcome) in [("the shell", &shell), ("the simulator's operator", &model)] {
            if let Some(failure) = &outcome.failure {
                let (file, at) = (&scenario.file, failure.at);
                wrong.push(format!("{who}, {file}:{}:{}: {}", at.line, at.column, failure.step));
                wrong.extend(failure.wrong.iter().map(|w| format!("  {w}")));
            }
        }
        for told in &remains.told {
            wrong.extend(rights::missing(told));
            wrong.extend(once::twice(told, &remains.led));
        }
        let mut common = 0;
        // A story that broke off has an end of its own.
        if wrong.is_empty() {
            let ends = differences(&kept.normal(), &remains.normal);
            wrong.extend(ends.into_iter().map(|d| format!("at the end, {d}")));
            let theirs = kept.journal();
            for number in 0..remains.told.len() {
                let kube = KubeId(u8::try_from(number).unwrap_or_default());
                let (here, here_flaps) = milestones(scenario, &of(kube, &remains.journal));
                let (there, there_flaps) = milestones(scenario, &of(kube, &theirs));
                let found = compare(
                    Side { name: "with the shell", facts: &here, flaps: &here_flaps },
                    Side { name: "simulated", facts: &there, flaps: &there_flaps },
                );
                common += found.common;
                for difference in found.wrong {
                    match reason(scenario, &difference) {
                        Some(reason) => excused.push(format!("{difference} ({reason})")),
                        None => wrong.push(difference),
                    }
                }
                excused.extend(found.excused);
            }
        }
        Self { wrong, excused, common, shell, model }
    }
}

/// What happened in one Kubernetes, as if there were no other.
fn of(kube: KubeId, journal: &[Entry]) -> Vec<Entry> {
    let here = journal.iter().filter(|entry| entry.kube == kube);
    here.map(|entry| Entry { kube: KubeId(0), ..entry.clone() }).collect()
}

impl Story {
    /// Whether it went wrong.
    pub(super) fn failed(&self) -> bool {
        match &self.how {
            How::Broken(_) => true,
            How::Played(p) => !p.wrong.is_empty(),
        }
    }

    /// What is wrong, for a test.
    #[cfg(test)]
    pub(super) fn wrong(&self) -> Vec<String> {
        match &self.how {
            How::Broken(error) => vec![error.clone()],
            How::Played(p) => p.wrong.clone(),
        }
    }

    fn json(&self) -> Value {
        let name = &self.name;
        let took_s = tenths(self.took.as_secs_f64());
        match &self.how {
            How::Broken(error) => json!({"name": name, "result": "failed", "wrong": [error]}),
            How::Played(p) => json!({
                "name": name,
                "result": if p.wrong.is_empty() { "passed" } else { "failed" },
                "wrong": p.wrong,
                "seconds": tenths(p.shell.virtual_s),
                "took_s": took_s,
                "writes": p.shell.writes,
                "write_gap_s": tenths(p.shell.write_gap_s),
                "lost_rows": p.shell.lost_rows,
                "milestones": {"common": p.common, "excused": p.excused},
                "simulated": {
                    "seconds": tenths(p.model.virtual_s),
                    "writes": p.model.writes,
                    "write_gap_s": tenths(p.model.write_gap_s),
                },
            }),
        }
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Whether all held that was to be shown: nothing failed, and something was played.
pub(super) fn all_held(stories: &[Story]) -> bool {
    let played = |s: &Story| matches!(s.how, How::Played(_));
    stories.iter().any(played) && !stories.iter().any(Story::failed)
}

/// Tells of one story.
pub(super) fn tell(story: &Story, verbose: bool) {
    let name = &story.name;
    match &story.how {
        How::Broken(error) => println!("✗ {name:<34} {error}"),
        How::Played(p) => {
            let mark = if p.wrong.is_empty() { "✓" } else { "✗" };
            println!(
                "{mark} {name:<34} {:>7.1} s {:>4} writes ({:>4}) {:>4} milestones, {:>3} differ {:>4.0} s",
                p.shell.virtual_s,
                p.shell.writes,
                p.model.writes,
                p.common,
                p.excused.len(),
                story.took.as_secs_f64(),
            );
            p.wrong.iter().for_each(|wrong| println!("    {wrong}"));
            if verbose {
                p.excused.iter().for_each(|excused| println!("    - {excused}"));
                p.shell.transcript.lines().for_each(|line| println!("    {line}"));
            }
        }
    }
}

/// The sum of all, or everything for a program.
pub(super) fn sum(stories: &[Story], json: bool) {
    if json {
        let all: Vec<Value> = stories.iter().map(Story::json).collect();
        println!("{}", json!({ "scenarios": all }));
        return;
    }
    let failed = stories.iter().filter(|s| s.failed()).count();
    println!(
        "\n{} passed, {failed} failed; seconds are virtual, writes in brackets the simulator's,\n\
         milestones those of both; `differ` counts differences that have a reason (--verbose tells them)",
        stories.len() - failed
    );
}
