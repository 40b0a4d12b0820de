//! One watch: list, then follow, and begin again whenever the stream breaks.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use ivory_core::grants::Grant;
use ivory_core::{Kind, Object};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::time::Instant;

use crate::api::ApiServer;
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::wire::Wire;

/// So many objects are listed at once. While a page is read each object is a tree of a hundred kilobytes.
const PAGE: u32 = 50;

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
}

/// What a watch learned.
#[derive(Clone, Copy)]
pub enum News<'a> {
    /// An object came, changed or went: before and after.
    Changed(Option<&'a Object>, Option<&'a Object>),
    /// A list is complete. `unknown` says that nothing was known before, so that even an empty one is news.
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
        Self { kind, namespace: namespace.to_owned(), which, store: Mutex::new(Store::new(kind)) }
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
    pub async fn follow(&self, api: &ApiServer, metrics: &Metrics, tell: impl Fn(News<'_>)) {
        let config = match &self.which {
            Which::All => watcher::Config::default(),
            Which::Labelled(key) => watcher::Config::default().labels(key),
            Which::Named(name) => {
                watcher::Config::default().fields(&format!("metadata.name={name}"))
            }
        };
        let config = config.page_size(PAGE);
        let stream = watcher::watcher(api.of(self.kind, &self.namespace), config);
        let mut stream = pin!(stream.default_backoff());
        while let Some(event) = stream.next().await {
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
