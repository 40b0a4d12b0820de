//! Results remembered by their whole input. With and without them a plan is the same, only slower;
//! a property test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::build::secrets::Pair;
use crate::cluster::Cluster;
use crate::context::Config;
use crate::crypto::pki::{Authority, Issued, Root};
use crate::object::{Object, Uid};
use crate::report::Reason;
use crate::rules::trust::Origin;

/// How many results of one kind are kept before all are forgotten at once.
const LIMIT: usize = 4096;

/// Everything that a driver may hand from one pass to the next.
#[derive(Default, Clone)]
pub struct Memos {
    clusters: BTreeMap<(Uid, u64), (Config, ReadCluster)>,
    built: BTreeMap<BuiltKey, Arc<Object>>,
    diffs: BTreeMap<DiffKey, Diff>,
    verifiers: BTreeMap<[u8; 32], crate::Sensitive>,
    roots: BTreeMap<(Uid, u64), (Issued, Arc<Root>)>,
    leaves: BTreeMap<(Uid, u64, String), Leaf>,
}

/// A built object follows from one version of the cluster and the inputs that its builder names. The
/// operator's settings are the same for all entries: others clear the map.
type BuiltKey = (Uid, u64, String);

/// A cluster that was read, or why it could not be.
type ReadCluster = Result<Arc<Cluster>, Reason>;

/// One life and version of a live object. Its comparison holds for the very same desired object.
type DiffKey = (crate::Kind, Uid, u64);

/// A pair that stays, and where it comes from.
type Kept = (Pair, Origin);

/// A certificate that was found right: for which authority and names, and until when.
#[derive(Clone)]
struct Leaf {
    authority: Authority,
    common_name: String,
    dns_names: Vec<String>,
    kept: Kept,
    renew_at: Timestamp,
}

#[derive(Clone)]
struct Diff {
    desired: Arc<Object>,
    fields: Arc<[String]>,
}

impl Memos {
    /// The fields that applying `desired` would change on `live`.
    pub fn would_change(&mut self, desired: &Arc<Object>, live: &Object) -> Arc<[String]> {
        let key = (live.kind, live.meta.uid.clone(), live.meta.resource_version);
        if let Some(diff) = self.diffs.get(&key)
            && (Arc::ptr_eq(&diff.desired, desired) || *diff.desired == **desired)
        {
            return diff.fields.clone();
        }
        let fields: Arc<[String]> = crate::pass::would_change(desired, live).into();
        if self.diffs.len() >= LIMIT {
            self.diffs.clear();
        }
        self.diffs.insert(key, Diff { desired: desired.clone(), fields: fields.clone() });
        fields
    }

    /// The authority in one version of a Secret, read again only when that version is new or its renewal due.
    pub fn root(
        &mut self,
        secret: &Object,
        now: Timestamp,
        read: impl FnOnce() -> Option<(Issued, Root)>,
    ) -> Option<(Issued, Arc<Root>)> {
        let key = (secret.meta.uid.clone(), secret.meta.resource_version);
        if let Some(known) = self.roots.get(&key).filter(|(_, root)| now < root.renew_at()) {
            return Some(known.clone());
        }
        let (issued, root) = read()?;
        let found = (issued, Arc::new(root));
        if self.roots.len() >= LIMIT {
            self.roots.clear();
        }
        self.roots.insert(key, found.clone());
        Some(found)
    }

    /// The certificate in one version of a Secret that is right for these names, read and verified again only
    /// when anything about it is new or its renewal due.
    pub fn leaf(
        &mut self,
        secret: (&Object, &str),
        authority: &Authority,
        (common_name, dns_names): (&str, &[String]),
        now: Timestamp,
        read: impl FnOnce() -> Option<(Kept, Timestamp)>,
    ) -> Option<(Kept, Timestamp)> {
        let (secret, file) = secret;
        let key = (secret.meta.uid.clone(), secret.meta.resource_version, file.to_owned());
        let holds = |l: &&Leaf| {
            now < l.renew_at
                && l.common_name == common_name
                && l.dns_names == dns_names
                && l.authority == *authority
        };
        if let Some(known) = self.leaves.get(&key).filter(holds) {
            return Some((known.kept.clone(), known.renew_at));
        }
        let (kept, renew_at) = read()?;
        if self.leaves.len() >= LIMIT {
            self.leaves.clear();
        }
        self.leaves.insert(
            key,
            Leaf {
                authority: authority.clone(),
                common_name: common_name.to_owned(),
                dns_names: dns_names.to_vec(),
                kept: kept.clone(),
                renew_at,
            },
        );
        Some((kept, renew_at))
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
        let key = (object.meta.uid.clone(), object.meta.resource_version);
        if let Some((known, cluster)) = self.clusters.get(&key)
            && known == config
        {
            return cluster.clone();
        }
        let cluster = Cluster::read(object, config).map(Arc::new);
        if self.clusters.values().any(|(known, _)| known != config) {
            self.built.clear();
            self.clusters.clear();
        }
        if self.clusters.len() >= LIMIT {
            self.clusters.clear();
        }
        self.clusters.insert(key, (config.clone(), cluster.clone()));
        cluster
    }

    /// An object that follows from one version of the cluster and the inputs that `input` spells out whole.
    pub fn built(
        &mut self,
        cluster: &Cluster,
        input: String,
        build: impl FnOnce() -> Object,
    ) -> Arc<Object> {
        let object = &cluster.object.meta;
        let key = (object.uid.clone(), object.resource_version, input);
        if let Some(known) = self.built.get(&key) {
            return known.clone();
        }
        if self.built.len() >= LIMIT {
            self.built.clear();
        }
        let built = Arc::new(build());
        self.built.insert(key, built.clone());
        built
    }

    /// Whether a SCRAM verifier belongs to a password is slow to tell; this remembers verifiers by the
    /// SHA-256 of password and salt.
    pub fn verifier(&mut self, password: &[u8], salt: &[u8; 16]) -> crate::Sensitive {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        hasher.update(salt);
        hasher.update(password);
        let key: [u8; 32] = hasher.finalize().into();
        if let Some(known) = self.verifiers.get(&key) {
            return known.clone();
        }
        let verifier = crate::crypto::scram::verifier(password, salt);
        if self.verifiers.len() >= LIMIT {
            self.verifiers.clear();
        }
        self.verifiers.insert(key, verifier.clone());
        verifier
    }
}
