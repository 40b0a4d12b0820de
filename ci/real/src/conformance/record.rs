//! Recordings: what a real API server answered to a script, one exchange a line, in
//! `ci/conformance/recorded/NAME.jsonl`. The first line says which server it was.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::normal::Answer;
use super::script::{Script, folder};

/// What a real API server answered to a script.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The server's version.
    pub(crate) kubernetes: String,
    /// An answer a request.
    pub(crate) answers: Vec<Answer>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    kubernetes: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    request: Value,
    #[serde(flatten)]
    answer: Answer,
}

fn path(name: &str) -> PathBuf {
    folder().join("recorded").join(format!("{name}.jsonl"))
}

impl Recording {
    /// Writes it.
    pub(crate) fn write(self, script: &Script) -> anyhow::Result<()> {
        let mut lines = vec![serde_json::to_string(&Head { kubernetes: self.kubernetes })?];
        for (step, answer) in script.requests.iter().zip(self.answers) {
            lines.push(serde_json::to_string(&Line { request: step.to_value()?, answer })?);
        }
        lines.push(String::new());
        let path = path(&script.name);
        std::fs::write(&path, lines.join("\n")).with_context(|| path.display().to_string())
    }

    /// Reads it; it must be of this very script.
    pub(crate) fn read(script: &Script) -> anyhow::Result<Self> {
        let path = path(&script.name);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("{}: record it with `ivory-ci conformance record`", path.display())
        })?;
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
        let lines = lines.map(serde_json::from_str).collect::<Result<Vec<Line>, _>>()?;
        let name = &script.name;
        ensure!(
            lines.len() == script.requests.len(),
            "{name} has {} requests, its recording {}: record it anew",
            script.requests.len(),
            lines.len()
        );
        for (at, (step, line)) in script.requests.iter().zip(&lines).enumerate() {
            ensure!(
                step.to_value()? == line.request,
                "{name} request {at}, {}, is not the one that was recorded: record it anew",
                step.title()
            );
        }
        let answers = lines.into_iter().map(|line| line.answer).collect();
        Ok(Self { kubernetes: head.kubernetes, answers })
    }

    /// Recordings of scripts that there are no more.
    pub(crate) fn orphans(scripts: &[Script]) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in folder().join("recorded").read_dir()? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default();
            if scripts.iter().all(|script| *script.name != *name) {
                found.push(path);
            }
        }
        Ok(found)
    }
}
