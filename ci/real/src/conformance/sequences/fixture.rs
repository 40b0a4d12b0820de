//! Recordings of sequences: what several runs came to, one request a line, in `ci/conformance/sequences/NAME.jsonl`. The
//! first line says which version of Kubernetes it was, and how many runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::play::Outcome;
use crate::conformance::script::{Script, folder};

/// What a script came to where the real controllers run.
#[derive(Debug)]
pub(super) struct Fixture {
    head: Head,
    /// One a request.
    pub(super) moments: Vec<Moment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    kubernetes: String,
    runs: usize,
}

/// What one request led to, over all runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Moment {
    /// What was answered.
    pub(super) code: u16,
    /// Of each object, each way that its states went.
    pub(super) states: BTreeMap<String, Vec<Vec<Value>>>,
    /// Each order in which objects came and went.
    pub(super) lives: Vec<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    request: Value,
    #[serde(flatten)]
    moment: Moment,
}

fn path(name: &str) -> PathBuf {
    folder().join("sequences").join(format!("{name}.jsonl"))
}

impl Fixture {
    pub(super) fn new(kubernetes: &str) -> Self {
        let head = Head { kubernetes: kubernetes.to_owned(), runs: 0 };
        Self { head, moments: Vec::new() }
    }

    /// Takes in a run.
    pub(super) fn add(&mut self, run: Vec<Outcome>) {
        let before = self.head.runs;
        self.head.runs += 1;
        self.moments.resize_with(run.len(), Moment::default);
        for (moment, mut outcome) in self.moments.iter_mut().zip(run) {
            moment.code = outcome.code;
            for (key, ways) in &mut moment.states {
                let way = outcome.states.remove(key).unwrap_or_default();
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            for (key, way) in outcome.states {
                let ways = if before == 0 { vec![way] } else { vec![Vec::new(), way] };
                moment.states.insert(key, ways);
            }
            if !moment.lives.contains(&outcome.lives) {
                moment.lives.push(outcome.lives);
            }
        }
    }

    /// How many objects were followed.
    pub(super) fn sequences(&self) -> usize {
        let keys: BTreeSet<_> = self.moments.iter().flat_map(|m| m.states.keys()).collect();
        keys.len()
    }

    /// How many states they had, in the first run.
    pub(super) fn states(&self) -> usize {
        let ways = self.moments.iter().flat_map(|m| m.states.values());
        ways.filter_map(|ways| ways.first()).map(Vec::len).sum()
    }

    pub(super) fn write(&self, script: &Script) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for (step, moment) in script.requests.iter().zip(&self.moments) {
            // The request first, and then what came of it.
            let moment = serde_json::to_string(moment)?;
            let request = serde_json::to_string(&step.to_value()?)?;
            text += &format!("{{\"request\":{request},{}\n", &moment[1..]);
        }
        let path = path(&script.name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Reads it; it must be of this very script.
    pub(super) fn read(script: &Script) -> anyhow::Result<Self> {
        let (path, name) = (path(&script.name), &script.name);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("{}: record it with `ivory-ci conformance record`", path.display())
        })?;
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
        let lines = lines.map(serde_json::from_str).collect::<Result<Vec<Line>, _>>()?;
        let steps = script.requests.iter().map(crate::conformance::script::Step::to_value);
        let steps = steps.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(
            steps.iter().eq(lines.iter().map(|line| &line.request)),
            "{name} is not the script that was recorded: record it anew"
        );
        Ok(Self { head, moments: lines.into_iter().map(|line| line.moment).collect() })
    }
}

/// Recordings of scripts that there are no more.
pub(crate) fn orphans(scripts: &[Script]) -> anyhow::Result<Vec<PathBuf>> {
    let files = folder().join("sequences").read_dir()?;
    let files = files.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    let has_script = |path: &PathBuf| {
        let name = path.file_stem().unwrap_or_default();
        scripts.iter().any(|script| *script.name == *name)
    };
    Ok(files.into_iter().filter(|path| !has_script(path)).collect())
}
