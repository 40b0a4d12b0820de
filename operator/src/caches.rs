//! All watches together, and which clusters a change concerns. Standing watches are filtered by our label;
//! objects of users are watched one by one, by name, for as long as a cluster names them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ivory_core::grants::Grant;
use ivory_core::object::Uid;
use ivory_core::reads::LABELLED;
use ivory_core::{Kind, Object, labels, names, wake};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::api::ApiServer;
use crate::chance::Chance;
use crate::metrics::Metrics;
use crate::store::Key;
use crate::watch::{News, Watched, Which};

/// How long a pass waits for its own writes to come back. One that never comes was deleted meanwhile.
const ECHO_MAX: Duration = Duration::from_secs(5);
/// How long the first pass waits for the first lists.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// All watches.
pub struct Caches {
    api: ApiServer,
    metrics: Arc<Metrics>,
    chance: Chance,
    standing: Vec<Arc<Watched>>,
    named: Mutex<BTreeMap<Name, Named>>,
    wake: mpsc::UnboundedSender<Key>,
    /// Counts what was learned, so that somebody can wait for the next thing.
    learned: watch::Sender<u64>,
}

/// Kind, namespace and name of something that a cluster names.
pub type Name = (Kind, String, String);

struct Named {
    watched: Arc<Watched>,
    task: AbortHandle,
    readers: BTreeSet<Key>,
}

/// What a write left behind, to be seen again before the next plan.
#[derive(Clone, Debug)]
pub struct Written {
    /// The kind.
    pub kind: Kind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// What it became.
    pub left: Left,
}

/// What became of an object that was written.
#[derive(Clone, Debug)]
pub enum Left {
    /// It has this version.
    Version(u64),
    /// This life of it is gone, or goes.
    Gone(Uid),
}

impl Caches {
    /// Opens the standing watches; they end when the given set is dropped. An empty namespace means all.
    pub fn open(
        api: ApiServer,
        metrics: Arc<Metrics>,
        chance: Chance,
        namespaces: &[String],
        wake: mpsc::UnboundedSender<Key>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Arc<Self> {
        let mut standing = vec![Arc::new(Watched::new(Kind::StorageClass, "", Which::All))];
        for namespace in namespaces {
            let mut add = |kind, which| {
                standing.push(Arc::new(Watched::new(kind, namespace, which)));
            };
            add(Kind::IvoryCluster, Which::All);
            add(Kind::Secret, Which::Named(names::ROOT_CA_SECRET.to_owned()));
            for &kind in LABELLED {
                add(kind, Which::Labelled(labels::CLUSTER));
            }
        }
        let caches = Arc::new(Self {
            api,
            metrics,
            chance,
            standing,
            named: Mutex::default(),
            wake,
            learned: watch::Sender::new(0),
        });
        for watched in &caches.standing {
            tasks.spawn(caches.clone().follow(watched.clone()));
        }
        caches
    }

    async fn follow(self: Arc<Self>, watched: Arc<Watched>) {
        let tell = |news: News<'_>| self.learn(&watched, news);
        watched.follow(&self.api, &self.metrics, &self.chance, tell).await;
    }

    /// The API server, for what no watch follows.
    #[must_use]
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// The standing watches of a kind that cover a namespace.
    pub fn of(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Watched>> {
        let covers = move |w: &&Arc<Watched>| w.kind == kind && w.covers(namespace);
        self.standing.iter().filter(covers)
    }

    /// The permissions for want of which a standing watch that covers a namespace fails.
    #[must_use]
    pub fn denied(&self, namespace: &str) -> BTreeSet<Grant> {
        let watches = self.standing.iter().filter(|w| w.covers(namespace));
        watches.filter_map(|w| w.store().denied(Instant::now())).collect()
    }

    /// The names of all clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<Key> {
        let watches = self.standing.iter().filter(|w| w.kind == Kind::IvoryCluster);
        watches.flat_map(|w| w.store().keys()).collect()
    }

    /// Waits until every standing watch has its first list, or failed to get it; not for ever.
    pub async fn settle(&self) {
        let settled = || self.standing.iter().all(|w| w.store().settled());
        self.until(SETTLE_MAX, settled).await;
    }

    /// Waits until own writes have come back. Whether they did.
    pub async fn caught_up(&self, written: &[Written]) -> bool {
        self.until(ECHO_MAX, || written.iter().all(|w| self.saw(w))).await
    }

    async fn until(&self, at_most: Duration, done: impl Fn() -> bool) -> bool {
        let mut learned = self.learned.subscribe();
        let wait = async {
            // `changed` fails only without a sender, which lives as long as `self`.
            while !done() && learned.changed().await.is_ok() {}
        };
        tokio::time::timeout(at_most, wait).await.is_ok()
    }

    fn saw(&self, written: &Written) -> bool {
        let mut watches = self.of(written.kind, &written.namespace).peekable();
        if watches.peek().is_none() {
            return true;
        }
        let (mut found, mut all_newer) = (None, true);
        for watch in watches {
            let store = watch.store();
            if let Some((uid, version, terminating)) = store.life(&written.namespace, &written.name)
            {
                found = Some((uid.clone(), version, terminating));
            }
            all_newer &= matches!(written.left, Left::Version(v) if store.seen() >= v);
        }
        match (&written.left, found) {
            (Left::Version(version), Some((_, seen, _))) => seen >= *version,
            // It was deleted meanwhile, if the watch has seen anything newer.
            (Left::Version(_), None) => all_newer,
            (Left::Gone(uid), Some((found, _, terminating))) => found != *uid || terminating,
            (Left::Gone(_), None) => true,
        }
    }

    /// The watch of something that a cluster names; opened if there is none, and then waited for.
    pub async fn named(self: &Arc<Self>, reader: &Key, name: &Name) -> Arc<Watched> {
        let watched = {
            let mut named = self.lock();
            let entry = named.entry(name.clone()).or_insert_with(|| {
                let (kind, namespace, name) = name;
                let watched = Watched::new(*kind, namespace, Which::Named(name.clone()));
                let watched = Arc::new(watched);
                let task = tokio::spawn(self.clone().follow(watched.clone()));
                Named { watched, task: task.abort_handle(), readers: BTreeSet::new() }
            });
            entry.readers.insert(reader.clone());
            entry.watched.clone()
        };
        self.until(ECHO_MAX, || watched.store().settled()).await;
        watched
    }

    /// A cluster reads these by name and no others. Watches that nobody wants any more end.
    pub fn keep_named(&self, reader: &Key, wanted: &BTreeSet<Name>) {
        self.lock().retain(|name, entry| {
            if !wanted.contains(name) {
                entry.readers.remove(reader);
            }
            let keep = !entry.readers.is_empty();
            if !keep {
                entry.task.abort();
            }
            keep
        });
    }

    /// Ends the watches by name, which own a part of this.
    pub fn close(&self) {
        for (_, entry) in std::mem::take(&mut *self.lock()) {
            entry.task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Named>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, watched: &Watched, news: News<'_>) {
        self.learned.send_modify(|n| *n += 1);
        match news {
            News::Changed(old, new) => self.changed(watched, old, new),
            // Who waits for a list waits for one without objects too, and a permission that is missing has to
            // be told. A watch by name is looked at by its reader.
            News::Complete { unknown: true } | News::Failed { forbidden: true }
                if self.standing.iter().any(|w| std::ptr::eq(&**w, watched)) =>
            {
                let covered = |key: &Key| watched.covers(&key.0);
                self.wake_all(self.clusters().into_iter().filter(covered));
            }
            News::Complete { .. } | News::Failed { .. } => {}
        }
    }

    fn changed(&self, watched: &Watched, old: Option<&Object>, new: Option<&Object>) {
        let Some(any) = new.or(old) else { return };
        if let (Some(old), Some(new)) = (old, new)
            && !wake::matters(old, new)
        {
            return;
        }
        let mut keys = BTreeSet::new();
        match (watched.kind, &watched.which) {
            (Kind::IvoryCluster, _) => {
                keys.insert((any.meta.namespace.clone(), any.meta.name.clone()));
            }
            (Kind::StorageClass, _) => keys.extend(self.clusters()),
            (_, Which::Named(name)) if name == names::ROOT_CA_SECRET => {
                let concerned = wake::of_root(old, new);
                let near = |key: &Key| {
                    key.0 == any.meta.namespace
                        && concerned.as_ref().is_none_or(|names| names.contains(&*key.1))
                };
                keys.extend(self.clusters().into_iter().filter(near));
            }
            (kind, Which::Named(name)) => {
                let name = (kind, watched.namespace.clone(), name.clone());
                if let Some(entry) = self.lock().get(&name) {
                    keys.extend(entry.readers.iter().cloned());
                }
            }
            _ => keys.extend([old, new].into_iter().flatten().filter_map(|o| {
                let cluster = o.label(labels::CLUSTER)?;
                Some((o.meta.namespace.clone(), Arc::from(cluster)))
            })),
        }
        self.wake_all(keys);
    }

    fn wake_all(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            // Nobody listens only while everything ends.
            let _ = self.wake.send(key);
        }
    }
}
