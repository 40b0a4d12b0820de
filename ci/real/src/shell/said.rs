//! What the shells say, as entries of the story's journal: their log has one line for each write, with the same words as
//! the simulator's journal.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ivory_face::Living;
use ivory_sim::promises::clusters_apart;
use ivory_sim::world::journal::{Entry, Milestone};
use ivory_sim::world::{Finding, KubeId};
use serde_json::Value;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;

use crate::e2e::operator_log::{intern, word};

/// The client logs each failure of its own as well, without saying of what.
const LEVEL: &str = "info,kube_client=off,kube_runtime=off";

/// What was said and is not told yet, and what never should have been.
#[derive(Clone)]
pub(super) struct Said {
    living: Arc<Living>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    findings: Vec<Finding>,
}

impl Said {
    /// Nothing, in a world whose time is noted.
    pub(super) fn of(living: Arc<Living>) -> Self {
        Self { living, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the shells' log goes.
    pub(super) fn dispatch(&self) -> Dispatch {
        let said = self.clone();
        let lines = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(EnvFilter::new(LEVEL))
            .with_writer(move || Line { said: said.clone(), text: Vec::new() })
            .finish();
        Dispatch::new(lines)
    }

    /// Takes what was said since the last time.
    pub(super) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.lock().entries)
    }

    /// What no shell may ever say: a plan that the checker refused, a pass that panicked or hung.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.lock().findings.clone()
    }

    /// Something happened now.
    pub(super) fn happened(&self, kube: KubeId, what: Milestone) {
        let at = self.living.time();
        self.lock().entries.push(Entry { at, kube, actor: "operator".into(), what });
    }

    fn line(&self, line: &Value) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let kube = line.pointer("/spans/0/kube").and_then(Value::as_u64).unwrap_or_default();
        let kube = KubeId(u8::try_from(kube).unwrap_or_default());
        let cluster = line.pointer("/span/cluster").and_then(Value::as_str).unwrap_or_default();
        let cluster: Arc<str> = cluster.rsplit('/').next().unwrap_or_default().into();
        let error = ["error", "finding"].map(text).concat();
        match (&*text("message"), &*text("level")) {
            ("wrote", _) => {
                let (step, object) = (intern(&text("step")), text("object"));
                let reason = text("because");
                let made = |_| reason == format!("{object} is missing");
                let verb = word(&text("verb"), &object, made);
                self.happened(kube, Milestone::Wrote { cluster, step, verb, object, reason });
            }
            ("write failed", _) => {
                let (object, error) = error.split_once(": ").unwrap_or(("", &error));
                let (object, error) = (object.to_owned(), error.to_owned());
                self.happened(kube, Milestone::WriteFailed { cluster, object, error });
            }
            (message, "ERROR") => {
                let text = format!("{cluster}: {message} {error}");
                let (promise, at) = (clusters_apart::PROMISE.number, self.living.time());
                self.lock().findings.push(Finding { promise, at, text });
            }
            (message, "WARN") => {
                let text = format!("{message} {error}");
                self.happened(kube, Milestone::Note { text });
            }
            _ => {}
        }
    }
}

/// One line of the log, which comes in parts.
struct Line {
    said: Said,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Ok(line) = serde_json::from_slice(&self.text) {
            self.said.line(&line);
        }
    }
}
