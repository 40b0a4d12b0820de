//! All watches together, and which clusters a change concerns. Most are filtered by our label. Of users' objects,
//! which don't bear it, only the names are watched; what they hold is kept for as long as a cluster names them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ivory_core::grants::Grant;
use ivory_core::object::Uid;
use ivory_core::reads::LABELLED;
use ivory_core::{Kind, Object, labels, names, wake};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::api::ApiServer;
use crate::chance::Chance;
use crate::metrics::Metrics;
use crate::store::Key;
use crate::watch::{News, Watched, Which};

/// How long a pass waits for its own writes to come back. One that never comes was deleted meanwhile.
const ECHO_MAX: Duration = Duration::from_secs(5);
/// The kinds of which users' own objects are read.
const OF_USERS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];
/// How long the first pass waits for the first lists.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// All watches.
pub struct Caches {
    api: ApiServer,
    metrics: Arc<Metrics>,
    chance: Chance,
    standing: Vec<Arc<Watched>>,
    /// Who reads objects by name that no watch by label has.
    readers: Mutex<BTreeMap<Name, BTreeSet<Key>>>,
    wake: mpsc::UnboundedSender<Key>,
    /// Counts what was learned, so that somebody can wait for the next thing.
    learned: watch::Sender<u64>,
}

/// Kind, namespace and name of something that a cluster names.
pub type Name = (Kind, String, String);

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
    /// Opens the watches; they end when the given set is dropped. An empty namespace means all.
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
            for kind in OF_USERS {
                add(kind, Which::Names);
            }
        }
        let caches = Arc::new(Self {
            api,
            metrics,
            chance,
            standing,
            readers: Mutex::default(),
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

    /// The watches of a kind that cover a namespace and bring whole objects.
    pub fn of(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Watched>> {
        let whole = |w: &&Arc<Watched>| w.which != Which::Names;
        self.covering(kind, namespace).filter(whole)
    }

    fn covering(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Watched>> {
        let covers = move |w: &&Arc<Watched>| w.kind == kind && w.covers(namespace);
        self.standing.iter().filter(covers)
    }

    /// How long a watch that covers a namespace has been failing: the longest.
    #[must_use]
    pub fn blind_for(&self, namespace: &str) -> Option<Duration> {
        let watches = self.standing.iter().filter(|w| w.covers(namespace));
        watches.filter_map(|w| w.store().fails_for(Instant::now())).max()
    }

    /// The permissions for want of which a watch that covers a namespace fails.
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

    /// Waits until every watch has its first list, or failed to get it; not for ever.
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

    /// The watch that tells whether an object of this name is there, for kinds that have one. Until it names it no
    /// more, the cluster is told of changes.
    pub fn names(&self, reader: &Key, name: &Name) -> Option<&Arc<Watched>> {
        let watched = self.covering(name.0, &name.1).find(|w| w.which == Which::Names)?;
        self.lock().entry(name.clone()).or_default().insert(reader.clone());
        Some(watched)
    }

    /// A cluster reads these by name and no others. What nobody reads any more is not kept.
    pub fn keep_named(&self, reader: &Key, wanted: &BTreeSet<Name>) {
        self.lock().retain(|name, readers| {
            if !wanted.contains(name) {
                readers.remove(reader);
            }
            if readers.is_empty() {
                let watches = self.covering(name.0, &name.1).filter(|w| w.which == Which::Names);
                watches.for_each(|w| w.store().empty(&name.1, &name.2));
            }
            !readers.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, BTreeSet<Key>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, watched: &Watched, news: News<'_>) {
        self.learned.send_modify(|n| *n += 1);
        match news {
            News::Changed(old, new) => self.changed(watched, old, new),
            // Who waits for a list waits for one without objects too, and a permission that is missing has to
            // be told.
            News::Complete { unknown: true } | News::Failed { forbidden: true } => {
                let covered = |key: &Key| watched.covers(&key.0);
                self.wake_all(self.clusters().into_iter().filter(covered));
            }
            News::Complete { .. } | News::Failed { .. } => {}
        }
    }

    fn changed(&self, watched: &Watched, old: Option<&Object>, new: Option<&Object>) {
        let Some(any) = new.or(old) else { return };
        if let (Some(old), Some(new)) = (old, new)
            && watched.which != Which::Names
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
            (kind, Which::Names) => {
                let name = (kind, any.meta.namespace.to_string(), any.meta.name.to_string());
                keys.extend(self.lock().get(&name).into_iter().flatten().cloned());
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
