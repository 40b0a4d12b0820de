//! Results remembered by their whole input. With and without them a plan is the same, only slower;
//! a property test says so. Each cluster has a memo of its own, and what a pass did not ask for is forgotten
//! at its end, so that a memo never holds more than its cluster needs.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::build::secrets::Pair;
use crate::cluster::Cluster;
use crate::command::Command;
use crate::context::Config;
use crate::crypto::pki::{Issued, Root};
use crate::names::FIELD_MANAGER;
use crate::object::{Object, Uid};
use crate::report::Reason;
use crate::rules::trust::Origin;
use crate::ssa::{self, FieldSet};

/// How many clusters are remembered before all are forgotten at once.
const CLUSTERS: usize = 4096;

/// Everything that a driver may hand from one pass to the next.
#[derive(Default, Clone)]
pub struct Memos(BTreeMap<Uid, Memo>);

/// What is remembered of one cluster.
#[derive(Default, Clone)]
pub struct Memo {
    cluster: Option<ReadCluster>,
    /// Counts what builders see of the cluster: as long as it stays, so does what was built.
    basis: u64,
    built: Table<String, Arc<Object>>,
    diffs: Table<(crate::Kind, Uid), Diff>,
    roots: Table<Uid, Authority>,
    leaves: Table<(Uid, &'static str), Leaf>,
    trusts: Table<Uid, Settled>,
    revisions: Table<&'static str, Revision>,
    settings: Table<(), Settings>,
}

/// A cluster that was read under these settings, or why it could not be.
#[derive(Clone)]
struct ReadCluster {
    object: Arc<Object>,
    config: Config,
    read: Result<Arc<Cluster>, Reason>,
}

/// What an apply would change on one version of a live object.
#[derive(Clone)]
struct Diff {
    resource_version: u64,
    desired: Arc<Object>,
    /// What we applied last, by that version.
    own: Option<Arc<FieldSet>>,
    fields: Arc<[String]>,
}

/// The authority in a Secret with this body. The version does not matter: while many clusters of a namespace are
/// made, each joins the owners, and none should read the same key again for each of the others.
#[derive(Clone)]
struct Authority {
    body: Arc<Map<String, Value>>,
    issued: Arc<Issued>,
    root: Arc<Root>,
}

/// A certificate in one version of a Secret that was found right: of which authority and for which names.
#[derive(Clone)]
struct Leaf {
    resource_version: u64,
    root: Arc<Root>,
    names: Vec<String>,
    pair: Arc<Pair>,
    origin: Origin,
    renew_at: Timestamp,
}

/// A version of a Secret that trusts this root and no other.
#[derive(Clone)]
struct Settled {
    resource_version: u64,
    root: Arc<Root>,
}

/// The revision of a command in a database system.
#[derive(Clone)]
struct Revision {
    system: Option<String>,
    command: Command,
    text: Arc<str>,
}

/// Patroni's settings that were found to be those of the spec.
#[derive(Clone)]
struct Settings {
    basis: u64,
    text: String,
}

/// Results by key. Each has a mark that says whether this pass asked for it.
#[derive(Clone)]
struct Table<K, V>(BTreeMap<K, (bool, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The result for a key, if it still holds.
    fn recall<Q: Ord + ?Sized>(&mut self, key: &Q, holds: impl FnOnce(&V) -> bool) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (used, value) = self.0.get_mut(key)?;
        *used = holds(value);
        used.then_some(value)
    }

    fn keep(&mut self, key: K, value: V) {
        self.0.insert(key, (true, value));
    }

    /// Forgets what was not asked for since the last time.
    fn sweep(&mut self) {
        self.0.retain(|_, (used, _)| std::mem::take(used));
    }
}

impl Memos {
    /// What is remembered of the cluster of this UID.
    pub fn of(&mut self, cluster: &Uid) -> &mut Memo {
        if self.0.len() >= CLUSTERS && !self.0.contains_key(cluster) {
            self.0.clear();
        }
        self.0.entry(cluster.clone()).or_default()
    }

    /// Ends a pass for a cluster. One that goes is forgotten.
    pub fn end(&mut self, cluster: &Object) {
        if cluster.terminating() {
            self.0.remove(&cluster.meta.uid);
        } else if let Some(memo) = self.0.get_mut(&cluster.meta.uid) {
            memo.sweep();
        }
    }
}

impl Memo {
    fn sweep(&mut self) {
        let Self { cluster: _, basis: _, built, diffs, roots, leaves, trusts, revisions, settings } =
            self;
        built.sweep();
        diffs.sweep();
        roots.sweep();
        leaves.sweep();
        trusts.sweep();
        revisions.sweep();
        settings.sweep();
    }

    /// A cluster read from its object.
    ///
    /// # Errors
    /// As [`Cluster::read`].
    pub fn cluster(
        &mut self,
        object: &Arc<Object>,
        config: &Config,
    ) -> Result<Arc<Cluster>, Reason> {
        let known = self.cluster.as_ref().filter(|c| c.config == *config);
        if let Some(known) = known
            && known.object.meta.resource_version == object.meta.resource_version
        {
            return known.read.clone();
        }
        if !known.is_some_and(|c| same_for_builders(&c.object, object)) {
            self.basis += 1;
            self.built.0.clear();
        }
        let read = Cluster::read(object, config).map(Arc::new);
        let remembered =
            ReadCluster { object: object.clone(), config: config.clone(), read: read.clone() };
        self.cluster = Some(remembered);
        read
    }

    /// An object that follows from what builders see of the cluster and from the inputs that `input` spells
    /// out whole.
    pub fn built(&mut self, input: String, build: impl FnOnce() -> Object) -> Arc<Object> {
        if let Some(known) = self.built.recall(&input, |_| true) {
            return known.clone();
        }
        let built = Arc::new(build());
        self.built.keep(input, built.clone());
        built
    }

    /// The fields that applying `desired` would change on `live`.
    pub fn would_change(&mut self, desired: &Arc<Object>, live: &Object) -> Arc<[String]> {
        let key = (live.kind, live.meta.uid.clone());
        let resource_version = live.meta.resource_version;
        let own = ssa::applied(live, FIELD_MANAGER);
        let mut version = 0;
        let known = self.diffs.recall(&key, |d| {
            version = d.resource_version;
            // Another version that we have applied the same to lacks nothing if it has the same values.
            let near = || {
                let same = own.zip(d.own.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
                let schema =
                    ssa::Schema::builtin(desired.kind).filter(|_| same && d.fields.is_empty());
                schema.is_some_and(|schema| ssa::has_values(schema, desired, live))
            };
            (Arc::ptr_eq(&d.desired, desired) || *d.desired == **desired)
                && (version == resource_version || near())
        });
        let fields = match known {
            Some(known) if version == resource_version => return known.fields.clone(),
            Some(known) => known.fields.clone(),
            None => crate::pass::would_change(desired, live).into(),
        };
        let (desired, own) = (desired.clone(), own.cloned());
        self.diffs.keep(key, Diff { resource_version, desired, own, fields: fields.clone() });
        fields
    }

    /// The authority in a Secret, read again only when its content is new or its renewal due.
    pub fn root(
        &mut self,
        secret: &Object,
        now: Timestamp,
        read: impl FnOnce() -> Option<(Issued, Root)>,
    ) -> Option<(Arc<Issued>, Arc<Root>)> {
        let known = self.roots.recall(&secret.meta.uid, |a| {
            let same = Arc::ptr_eq(&a.body, &secret.body) || a.body == secret.body;
            same && now < a.root.renew_at()
        });
        if let Some(known) = known {
            return Some((known.issued.clone(), known.root.clone()));
        }
        let (issued, root) = read()?;
        let (issued, root) = (Arc::new(issued), Arc::new(root));
        let body = secret.body.clone();
        let found = Authority { body, issued: issued.clone(), root: root.clone() };
        self.roots.keep(secret.meta.uid.clone(), found);
        Some((issued, root))
    }

    /// The certificate in a file of a Secret that is right for these names, read and verified again only when
    /// anything about it is new or its renewal due.
    pub fn leaf(
        &mut self,
        (secret, file): (&Object, &'static str),
        root: &Arc<Root>,
        names: &[String],
        now: Timestamp,
        read: impl FnOnce() -> Option<(Pair, Origin, Timestamp)>,
    ) -> Option<(Arc<Pair>, Origin, Timestamp)> {
        let key = (secret.meta.uid.clone(), file);
        let resource_version = secret.meta.resource_version;
        let known = self.leaves.recall(&key, |l| {
            l.resource_version == resource_version
                && now < l.renew_at
                && *l.names == *names
                && (Arc::ptr_eq(&l.root, root) || l.root.authority() == root.authority())
        });
        if let Some(known) = known {
            return Some((known.pair.clone(), known.origin, known.renew_at));
        }
        let (pair, origin, renew_at) = read()?;
        let pair = Arc::new(pair);
        let (root, names, kept) = (root.clone(), names.to_vec(), pair.clone());
        self.leaves.keep(key, Leaf { resource_version, root, names, pair: kept, origin, renew_at });
        Some((pair, origin, renew_at))
    }

    /// Whether a Secret trusts this root and no other; `look` is asked only when its version is new.
    pub fn trusts_only(
        &mut self,
        secret: &Object,
        root: &Arc<Root>,
        look: impl FnOnce() -> bool,
    ) -> bool {
        let resource_version = secret.meta.resource_version;
        let known = self.trusts.recall(&secret.meta.uid, |s| {
            s.resource_version == resource_version && Arc::ptr_eq(&s.root, root)
        });
        if known.is_some() {
            return true;
        }
        let settled = look();
        if settled {
            let settled = Settled { resource_version, root: root.clone() };
            self.trusts.keep(secret.meta.uid.clone(), settled);
        }
        settled
    }

    /// The revision of a command in a database system, made again only when either changed. `of` names the
    /// command's purpose.
    pub fn revision(
        &mut self,
        of: &'static str,
        system: Option<&str>,
        command: &Command,
        make: impl FnOnce() -> String,
    ) -> Arc<str> {
        let holds = |r: &Revision| r.system.as_deref() == system && r.command == *command;
        if let Some(known) = self.revisions.recall(of, holds) {
            return known.text.clone();
        }
        let text: Arc<str> = make().into();
        let system = system.map(str::to_owned);
        let revision = Revision { system, command: command.clone(), text: text.clone() };
        self.revisions.keep(of, revision);
        text
    }

    /// Whether Patroni's settings are those of the spec, compared again only when either changed.
    pub fn settings(&mut self, text: &str, same: impl FnOnce() -> bool) -> bool {
        let basis = self.basis;
        if self.settings.recall(&(), |s| s.basis == basis && s.text == text).is_some() {
            return true;
        }
        let same = same();
        if same {
            self.settings.keep((), Settings { basis, text: text.to_owned() });
        }
        same
    }
}

/// Whether two versions of a cluster are the same to all that builds objects: everything but the status, and
/// what the API server alone writes.
fn same_for_builders(a: &Object, b: &Object) -> bool {
    a.meta.name == b.meta.name
        && a.meta.namespace == b.meta.namespace
        && a.meta.uid == b.meta.uid
        && a.meta.labels == b.meta.labels
        && a.meta.annotations == b.meta.annotations
        && a.body.get("spec") == b.body.get("spec")
}
