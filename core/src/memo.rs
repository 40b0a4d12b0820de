//! Results remembered by their whole input. With and without them a plan is the same, only slower;
//! a property test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::build::instance::Instance;
use crate::cluster::Cluster;
use crate::context::Config;
use crate::object::{Object, Uid};
use crate::report::Reason;

/// How many results of one kind are kept before all are forgotten at once.
const LIMIT: usize = 4096;

/// Everything that a driver may hand from one pass to the next.
#[derive(Default, Clone)]
pub struct Memos {
    clusters: BTreeMap<(Uid, u64), (Config, ReadCluster)>,
    workloads: BTreeMap<WorkloadKey, Arc<Object>>,
    diffs: BTreeMap<DiffKey, Diff>,
    verifiers: BTreeMap<[u8; 32], crate::Sensitive>,
}

/// A StatefulSet follows from one version of the cluster, the set, and which claims the instance has. The
/// operator's settings are the same for all entries: others clear the map.
type WorkloadKey = (Uid, u64, String, Instance);

/// A cluster that was read, or why it could not be.
type ReadCluster = Result<Arc<Cluster>, Reason>;

/// One life and version of a live object. Its comparison holds for the very same desired object.
type DiffKey = (crate::Kind, Uid, u64);

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
            self.workloads.clear();
            self.clusters.clear();
        }
        if self.clusters.len() >= LIMIT {
            self.clusters.clear();
        }
        self.clusters.insert(key, (config.clone(), cluster.clone()));
        cluster
    }

    /// The StatefulSet of an instance.
    pub fn instance(
        &mut self,
        cluster: &Cluster,
        set: &str,
        instance: &Instance,
        build: impl FnOnce() -> Object,
    ) -> Arc<Object> {
        let object = &cluster.object.meta;
        let key = (object.uid.clone(), object.resource_version, set.to_owned(), instance.clone());
        if let Some(known) = self.workloads.get(&key) {
            return known.clone();
        }
        if self.workloads.len() >= LIMIT {
            self.workloads.clear();
        }
        let built = Arc::new(build());
        self.workloads.insert(key, built.clone());
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
