//! The objects, the one counter of versions, and the log of changes that watchers read. Cheap to clone:
//! a clone shares everything until one side writes, and then copies one namespace of one kind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use super::crd::CustomKind;

type Names = BTreeMap<Arc<str>, Arc<Object>>;
pub(crate) type Collection = BTreeMap<Arc<str>, Arc<Names>>;

/// How many changes are remembered at least; a watcher further behind must list again.
pub const REMEMBERED: usize = 8192;
const CHUNK: usize = 64;
/// How many lists with more pages to come are remembered.
const OPEN_LISTS: usize = 32;

/// The simulated API server: its whole state, a value.
#[derive(Clone)]
pub struct ApiServer {
    kinds: Vec<Arc<Collection>>,
    resource_version: u64,
    /// Full chunks and at last one that is being filled.
    log: VecDeque<Arc<Vec<Change>>>,
    /// The version up to which changes were forgotten.
    forgotten: u64,
    pub(crate) open_lists: Arc<VecDeque<(u64, Kind, Arc<Collection>)>>,
    pub(crate) custom: Arc<BTreeMap<Kind, Arc<CustomKind>>>,
    /// Whether a custom kind ever changed, so that what is stored may be wrong by its present definition.
    pub(crate) redefined: bool,
    /// Whether Pods need a service account that exists, and get its token.
    pub(crate) service_accounts: bool,
    pub(crate) next_cluster_ip: u32,
    pub(crate) next_node_port: u32,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that the store had after it; also the object's, deleted ones included.
    pub resource_version: u64,
    /// What happened.
    pub what: ChangeType,
    /// The object after it; for a deletion, as it was last.
    pub object: Arc<Object>,
    /// The object before it.
    pub old: Option<Arc<Object>>,
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeType {
    /// It came.
    Added,
    /// It changed.
    Modified,
    /// It went.
    Deleted,
}

/// The changes since a version are no longer remembered: list again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too old resource version: {requested} ({oldest})")]
pub struct Expired {
    /// The version asked for.
    pub requested: u64,
    /// The oldest version that could be served.
    pub oldest: u64,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiServer {
    /// A server with nothing in it, not even namespaces.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kinds: vec![Arc::default(); Kind::ALL.len()],
            resource_version: 1,
            log: VecDeque::new(),
            forgotten: 1,
            open_lists: Arc::default(),
            custom: Arc::default(),
            redefined: false,
            service_accounts: true,
            next_cluster_ip: 0,
            next_node_port: 0,
        }
    }

    /// The same without the admission plugin `ServiceAccount`, as API servers without controllers run.
    #[must_use]
    pub fn without_service_accounts(mut self) -> Self {
        self.service_accounts = false;
        self
    }

    /// The version of the whole: that of the last change.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.resource_version
    }

    /// One object, as it is now.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.kinds[kind as usize].get(namespace)?.get(name)
    }

    /// The objects of a kind, of one namespace or of all, in the order of namespaces and names.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Object>> {
        let all = &self.kinds[kind as usize];
        let (one, every) = match namespace {
            Some(namespace) => (all.get(namespace), None),
            None => (None, Some(all.values())),
        };
        one.into_iter().chain(every.into_iter().flatten()).flat_map(|names| names.values())
    }

    /// The changes after a version, of one kind or of all, oldest first.
    ///
    /// # Errors
    /// When some of them are forgotten.
    pub fn changes_since(
        &self,
        resource_version: u64,
        kind: Option<Kind>,
    ) -> Result<impl Iterator<Item = &Change>, Expired> {
        if resource_version < self.forgotten {
            return Err(Expired { requested: resource_version, oldest: self.forgotten });
        }
        let from = self
            .log
            .partition_point(|c| c.last().is_none_or(|c| c.resource_version <= resource_version));
        Ok(self.log.iter().skip(from).flat_map(|chunk| chunk.iter()).filter(move |c| {
            c.resource_version > resource_version && kind.is_none_or(|k| c.object.kind == k)
        }))
    }

    /// Forgets all changes up to now and all open lists, as etcd's compaction does.
    pub fn compact(&mut self) {
        self.log.clear();
        self.forgotten = self.resource_version;
        self.open_lists = Arc::default();
    }

    /// Forgets all but so many changes, or a few more: those that nobody will ask for keep the former versions of
    /// their objects alive.
    pub fn forget_all_but(&mut self, changes: usize) {
        while self.log.len() > changes / CHUNK + 1 {
            self.forget_chunk();
        }
    }

    fn forget_chunk(&mut self) {
        if let Some(last) = self.log.pop_front().as_ref().and_then(|chunk| chunk.last()) {
            self.forgotten = last.resource_version;
        }
    }

    pub(crate) fn collection(&self, kind: Kind) -> &Arc<Collection> {
        &self.kinds[kind as usize]
    }

    pub(crate) fn remember_list(&mut self, kind: Kind) {
        let here = (self.resource_version, kind, Arc::clone(self.collection(kind)));
        let lists = Arc::make_mut(&mut self.open_lists);
        if lists.iter().any(|l| l.0 == here.0 && l.1 == kind) {
            return;
        }
        lists.push_back(here);
        if lists.len() > OPEN_LISTS {
            lists.pop_front();
        }
    }

    /// Stores a new version of an object and gives it its resourceVersion.
    pub(crate) fn put(&mut self, mut object: Object) -> Arc<Object> {
        self.resource_version += 1;
        object.meta.resource_version = self.resource_version;
        let object = Arc::new(object);
        let namespaces = Arc::make_mut(&mut self.kinds[object.kind as usize]);
        let names = namespaces.entry(Arc::clone(&object.meta.namespace)).or_default();
        let old = Arc::make_mut(names).insert(Arc::clone(&object.meta.name), Arc::clone(&object));
        let what = match old {
            Some(_) => ChangeType::Modified,
            None => ChangeType::Added,
        };
        self.log(what, Arc::clone(&object), old);
        object
    }

    /// Removes an object. Watchers and the caller get it as it was stored last, with the version of the removal: what a
    /// request that removed it changed besides, its deletionTimestamp or its last finalizer, was never stored.
    pub(crate) fn remove(&mut self, gone: &Object) -> Arc<Object> {
        self.resource_version += 1;
        let namespaces = Arc::make_mut(&mut self.kinds[gone.kind as usize]);
        let mut old = None;
        if let Some(names) = namespaces.get_mut(&*gone.meta.namespace) {
            let names = Arc::make_mut(names);
            old = names.remove(&*gone.meta.name);
            if names.is_empty() {
                namespaces.remove(&*gone.meta.namespace);
            }
        }
        let mut last = old.as_deref().unwrap_or(gone).clone();
        last.meta.resource_version = self.resource_version;
        let last = Arc::new(last);
        self.log(ChangeType::Deleted, Arc::clone(&last), old);
        last
    }

    fn log(&mut self, what: ChangeType, object: Arc<Object>, old: Option<Arc<Object>>) {
        let change = Change { resource_version: self.resource_version, what, object, old };
        match self.log.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(change),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(change);
                self.log.push_back(Arc::new(chunk));
            }
        }
        if self.log.len() > REMEMBERED / CHUNK + 1 {
            self.forget_chunk();
        }
    }
}
