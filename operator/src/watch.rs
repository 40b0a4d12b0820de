//! One watch: list, then follow, and begin again whenever the stream breaks.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use ivory_core::grants::Grant;
use ivory_core::{Kind, Object};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api::ApiServer;
use crate::chance::Chance;
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::wire::Wire;

/// So many objects are listed at once. While a page is read each object is a tree of a hundred kilobytes.
const PAGE: u32 = 25;
/// The same of objects of which only the metadata is listed.
const PAGE_OF_NAMES: u32 = 250;
/// The pause after a failure, doubled with each in a row, and spread: up to twice as long.
const BACKOFF: Duration = Duration::from_millis(800);
/// The longest pause, before it is spread. Every watch waits by itself and a plan needs them all, so after an outage it
/// is the longest of them that counts; and some twenty watches are no burden for a server that has just come back.
const BACKOFF_MAX: Duration = Duration::from_secs(4);

/// What one watch follows, and what it has seen.
pub struct Watched {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for all, and for kinds that have none.
    pub namespace: String,
    /// Which objects of it.
    pub which: Which,
    store: Mutex<Store>,
}

/// Which objects of a kind are followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    All,
    /// Those with a label, whatever its value.
    Labelled(&'static str),
    /// Those of a name.
    Named(String),
    /// All, but of each only that it is there and its version. What it holds is asked for when somebody reads it.
    Names,
}

/// What a watch learned.
#[derive(Clone, Copy)]
pub enum News<'a> {
    /// An object came, changed or went: before and after.
    Changed(Option<&'a Object>, Option<&'a Object>),
    /// What is known is complete: a list came, or the stream goes on after trouble. `unknown` says that nothing was
    /// known before, so that this is news even without any object.
    Complete {
        /// Whether nothing was known before.
        unknown: bool,
    },
    /// It failed. `forbidden` says that it is for want of a permission, and that this is new.
    Failed {
        /// Whether a permission is missing that was there before.
        forbidden: bool,
    },
}

impl Watched {
    /// A watch that has not begun.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, which: Which) -> Self {
        let store = Mutex::new(Store::new(kind, which == Which::Names));
        Self { kind, namespace: namespace.to_owned(), which, store }
    }

    /// What it has seen. A panic while it was held left at worst one object out.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it follows objects of a namespace.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace == namespace
    }

    /// Follows for ever. Everything that the store learns is given to `tell` after it knows it.
    pub async fn follow(
        &self,
        api: &ApiServer,
        metrics: &Metrics,
        chance: &Chance,
        tell: impl Fn(News<'_>),
    ) {
        let config = match &self.which {
            Which::All | Which::Names => watcher::Config::default(),
            Which::Labelled(key) => watcher::Config::default().labels(key),
            Which::Named(name) => {
                watcher::Config::default().fields(&format!("metadata.name={name}"))
            }
        };
        let names = self.which == Which::Names;
        let config = config.page_size(if names { PAGE_OF_NAMES } else { PAGE });
        // A watch that goes on where it broke says nothing until something changes.
        let opened = Arc::new(Notify::new());
        let api = api.watched(self.kind, &self.namespace, names, &opened);
        let stream = watcher::watcher(api, config);
        let mut stream = pin!(stream.backoff(Pauses { chance: chance.clone(), next: BACKOFF }));
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = opened.notified() => {
                    let unknown = self.store().goes_on(Instant::now());
                    tell(News::Complete { unknown });
                    continue;
                }
            };
            let Some(event) = event else { return };
            match event {
                Ok(event) => self.learn(event, &tell),
                Err(error) => {
                    metrics.watch_failed(self.kind);
                    let (text, denied) = reason(error, self.kind);
                    let forbidden = denied.is_some();
                    let news = self.store().failed(Instant::now(), text.clone(), denied);
                    if news {
                        tracing::warn!(kind = %self.kind, namespace = %self.namespace, error = %text, "watch failed");
                    }
                    tell(News::Failed { forbidden: forbidden && news });
                }
            }
        }
    }

    fn learn(&self, event: Event<Wire>, tell: &impl Fn(News<'_>)) {
        match event {
            Event::Init => self.store().begin(),
            Event::InitApply(wire) => {
                if let Some((object, value)) = self.read(wire) {
                    self.store().listed(&object, &value);
                }
            }
            Event::InitDone => {
                let unknown = self.store().unknown(Instant::now()).is_some();
                let changes = self.store().complete();
                for difference in changes {
                    let (old, new) = self.store().unpack(&difference);
                    tell(News::Changed(old.as_ref(), new.as_ref()));
                }
                tell(News::Complete { unknown });
            }
            Event::Apply(wire) => {
                if let Some((object, value)) = self.read(wire) {
                    let old = self.store().apply(&object, &value);
                    tell(News::Changed(old.as_ref(), Some(&object)));
                }
            }
            Event::Delete(wire) => {
                if let Some((object, _)) = self.read(wire) {
                    self.store().delete(&object);
                    tell(News::Changed(Some(&object), None));
                }
            }
        }
    }

    fn read(&self, wire: Wire) -> Option<(Object, serde_json::Value)> {
        let read = wire.read(self.kind);
        read.inspect_err(
            |error| tracing::error!(kind = %self.kind, %error, "an object can't be read"),
        )
        .ok()
    }
}

/// The pauses after failures.
struct Pauses {
    chance: Chance,
    next: Duration,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(BACKOFF_MAX);
        Some(pause + pause.mul_f64(self.chance.share()))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = BACKOFF;
    }
}

/// What went wrong, and the permission that was missing if that is it.
fn reason(error: watcher::Error, kind: Kind) -> (String, Option<Grant>) {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let (error, verb) = match error {
        InitialListFailed(error) => (error, "list"),
        WatchStartFailed(error) | WatchFailed(error) => (error, "watch"),
        WatchError(status) => return (status.message, None),
        other @ watcher::Error::NoResourceVersion => return (other.to_string(), None),
    };
    let fault = Fault::of(error, || vec![Grant::new(kind, verb)]);
    let denied = match fault.kind {
        FaultKind::Forbidden(grants) => grants.into_iter().next(),
        _ => None,
    };
    (fault.text, denied)
}
