//! The models of kube-controller-manager's controllers (`ivory_sim::controllers`) against the real ones, as ordered
//! states of objects.
//!
//! A script (`ci/conformance/controllers`) makes objects, and plays the kubelet by writing what Pods come to. After each
//! of its requests, everything that then happens to the objects of the kinds that it follows is taken down until nothing
//! more happens: of each object the distinct states in order, and of all together the order in which they came, were
//! asked to go, and went. How long anything took is not compared.
//!
//! The real ones are concurrent, so a script is recorded several times. Of one object's states each way that was
//! seen is right; of the order between objects, only what was so in all runs is demanded.

mod compare;
mod fixture;
mod known;
mod play;
mod real;
mod states;
#[cfg(test)]
mod tests;
mod world;

use futures_util::stream::{self, StreamExt as _, TryStream, TryStreamExt as _};
use serde_json::{Value, json};

pub(crate) use fixture::orphans;

use self::compare::{Mismatch, compare};
use self::fixture::Fixture;
use self::known::{Known, TABLE};
use super::real::Real;
use super::script::{Script, read_all};

/// So many runs make a recording.
const RUNS: usize = 3;
/// So many scripts are played at once, each in a namespace of its own.
const AT_ONCE: usize = 16;

/// All scripts, by name.
pub(crate) fn scripts() -> anyhow::Result<Vec<Script>> {
    read_all("controllers")
}

/// The outcome over all scripts.
#[derive(Default)]
pub(crate) struct Report {
    scripts: usize,
    sequences: usize,
    states: usize,
    mismatches: Vec<Mismatch>,
    /// How many mismatches each known difference explains.
    known: Vec<usize>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { known: vec![0; TABLE.len()], ..Self::default() }
    }

    /// Compares the model with a recording.
    fn add(&mut self, script: &Script, recorded: &Fixture) -> anyhow::Result<()> {
        let modelled = world::play(script)?;
        self.scripts += 1;
        self.sequences += recorded.sequences();
        self.states += recorded.states();
        self.mismatches.extend(compare(script, recorded, &modelled, &mut self.known));
        Ok(())
    }

    /// How many objects' sequences were compared.
    pub(crate) fn sequences(&self) -> usize {
        self.sequences
    }

    pub(crate) fn mismatches(&self) -> usize {
        self.mismatches.len()
    }

    /// Known differences that no sequence showed.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let all = TABLE.iter().zip(&self.known).filter(|(_, seen)| **seen == 0);
        all.map(|(known, _)| format!("{} {}: {}", known.word, known.object, known.reason)).collect()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.mismatches.iter().map(ToString::to_string).collect();
        for (known, seen) in TABLE.iter().zip(&self.known).filter(|(_, seen)| **seen > 0) {
            lines.push(format!("known difference, {seen} sequences, {}", known.reason));
        }
        lines.push(format!(
            "{} sequences of {} states in {} scripts, {} mismatches",
            self.sequences,
            self.states,
            self.scripts,
            self.mismatches.len()
        ));
        lines.join("\n")
    }

    /// Known differences, for programs.
    pub(crate) fn known(&self) -> Vec<Value> {
        let all = TABLE.iter().zip(&self.known);
        let path = |k: &Known| [&[k.object], k.path].concat().join(" ");
        all.map(|(k, seen)| json!({"path": path(k), "reason": k.reason, "sequences": seen}))
            .collect()
    }

    /// Mismatches, for programs.
    pub(crate) fn mismatched(&self) -> Vec<Value> {
        self.mismatches.iter().map(Mismatch::json).collect()
    }
}

/// Compares the model with what was recorded.
pub(crate) fn replay(scripts: &[Script], report: &mut Report) -> anyhow::Result<()> {
    scripts.iter().try_for_each(|script| report.add(script, &Fixture::read(script)?))
}

/// Plays scripts where the real controllers run, one by one, and writes down what happens.
pub(crate) async fn record(real: &Real, scripts: &[Script]) -> anyhow::Result<()> {
    let mut all = at_once(real, scripts);
    while let Some((script, fixture)) = all.try_next().await? {
        fixture.write(script)?;
    }
    Ok(())
}

/// Compares the model with the real controllers, without recordings.
pub(crate) async fn live(
    real: &Real,
    scripts: &[Script],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut all = at_once(real, scripts);
    while let Some((script, fixture)) = all.try_next().await? {
        report.add(script, &fixture)?;
    }
    Ok(())
}

/// All scripts, some at a time: most of the time they wait.
fn at_once<'a>(
    real: &'a Real,
    scripts: &'a [Script],
) -> impl TryStream<Ok = (&'a Script, Fixture), Error = anyhow::Error> + Unpin {
    let runs = move |script| async move { anyhow::Ok((script, real_runs(real, script).await?)) };
    Box::pin(stream::iter(scripts).map(runs).buffer_unordered(AT_ONCE))
}

async fn real_runs(real: &Real, script: &Script) -> anyhow::Result<Fixture> {
    let mut fixture = Fixture::new(&real.version().await?);
    for run in 1..=RUNS {
        eprintln!(
            "{} {run}/{RUNS}: {} requests. {}",
            script.name,
            script.requests.len(),
            script.shows
        );
        fixture.add(real::play(real, script).await?);
    }
    Ok(fixture)
}
