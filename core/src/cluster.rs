//! A cluster as the rest of core sees it: its spec read and with every default filled in. What can't
//! be read never gets further than here.

use std::sync::Arc;

use crate::api::instances::InstanceSet;
use crate::api::{self, IvoryClusterSpec, IvoryClusterStatus};
use crate::context::Config;
use crate::gates;
use crate::object::Object;
use crate::report::Reason;

/// A cluster whose spec could be read.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The object.
    pub object: Arc<Object>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: Arc<str>,
    /// Its spec.
    pub spec: Arc<IvoryClusterSpec>,
    /// Its status, as far as it can be read; a broken status is an empty one.
    pub status: Arc<IvoryClusterStatus>,
    /// Images, resolved from the spec and the operator's environment.
    pub images: Images,
    /// Whether the Kubernetes is an OpenShift.
    pub openshift: bool,
    /// What the spec has that counts for nothing behind a closed gate, for people.
    pub closed: Vec<String>,
    /// The DNS domain of the Kubernetes, with its trailing dot.
    pub domain: String,
}

/// The images of a cluster; none where neither spec nor environment names one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The database.
    pub database: Option<String>,
    /// pgBackRest.
    pub pgbackrest: Option<String>,
}

impl Cluster {
    /// Reads a cluster.
    ///
    /// # Errors
    /// When the spec is missing or does not have the shape that the CRD demands; the reason names the path.
    pub fn read(object: &Arc<Object>, config: &Config) -> Result<Self, Reason> {
        let mut spec = api::read(object)
            .map_err(|error| Reason::Because { word: "InvalidSpec", text: error.to_string() })?;
        let closed = gates::close(&mut spec, &config.gates);
        let status = api::read_status(object).unwrap_or_default();
        let env = |name: &str| config.images.get(name).filter(|v| !v.is_empty()).cloned();
        let database = match &spec.post_gis_version {
            None => format!("RELATED_IMAGE_IVORY_{}", spec.postgres_version),
            Some(gis) => format!("RELATED_IMAGE_IVORY_{}_GIS_{gis}", spec.postgres_version),
        };
        let pgbackrest = &spec.backups.pgbackrest.image;
        let images = Images {
            database: spec.image.clone().or_else(|| env(&database)),
            pgbackrest: pgbackrest.clone().or_else(|| env("RELATED_IMAGE_PGBACKREST")),
        };
        Ok(Self {
            object: object.clone(),
            name: object.meta.name.to_string(),
            namespace: object.meta.namespace.to_string(),
            uid: object.meta.uid.clone(),
            openshift: spec.openshift.unwrap_or(config.openshift),
            spec: Arc::new(spec),
            status: Arc::new(status),
            images,
            closed,
            domain: config.domain.clone(),
        })
    }

    /// A cluster whose spec can't be read, with a spec that wants nothing: it can be taken down, and told
    /// that its spec is broken.
    ///
    /// # Panics
    /// Never: the spec is a constant.
    #[must_use]
    pub fn unreadable(object: &Arc<Object>, config: &Config) -> Self {
        let paused =
            object.at(&["spec", "paused"]).and_then(serde_json::Value::as_bool) == Some(true);
        let spec = serde_json::json!({
            "postgresVersion": 18,
            "instances": [],
            "backups": {"pgbackrest": {"repos": []}},
            "paused": paused,
        });
        let spec =
            serde_json::from_value(spec).unwrap_or_else(|e| unreachable!("a constant spec: {e}"));
        Self {
            object: object.clone(),
            name: object.meta.name.to_string(),
            namespace: object.meta.namespace.to_string(),
            uid: object.meta.uid.clone(),
            openshift: config.openshift,
            spec: Arc::new(spec),
            status: Arc::new(api::read_status(object).unwrap_or_default()),
            images: Images::default(),
            closed: Vec::new(),
            domain: config.domain.clone(),
        }
    }

    /// The sets with their effective names, in the order of the spec.
    pub fn sets(&self) -> impl Iterator<Item = Set<'_>> {
        self.spec.sets().map(|(name, spec)| Set { name, spec })
    }

    /// The set of a name.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<Set<'_>> {
        self.sets().find(|s| s.name == name)
    }

    /// Whether a repository host is needed: some repository lives on a volume.
    #[must_use]
    pub fn has_repo_host(&self) -> bool {
        self.spec.backups.pgbackrest.repos.iter().any(|r| r.volume.is_some())
    }

    /// The data directory's path in an instance.
    #[must_use]
    pub fn data_directory(&self) -> String {
        format!("/pgdata/pg{}", self.spec.postgres_version)
    }

    /// The WAL directory's path in an instance of a set.
    #[must_use]
    pub fn wal_directory(&self, set: &InstanceSet) -> String {
        let root = if set.wal_volume_claim_spec.is_some() { "/pgwal" } else { "/pgdata" };
        format!("{root}/pg{}_wal", self.spec.postgres_version)
    }
}

/// A set of a cluster.
#[derive(Clone, Debug)]
pub struct Set<'a> {
    /// Its effective name: unnamed ones have their two-digit index.
    pub name: String,
    /// What the spec says of it.
    pub spec: &'a InstanceSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_behind_a_closed_gate_counts_for_nothing_and_is_named() {
        let manifest = serde_saphyr::from_str(include_str!("../tests/fixtures/full.yaml")).unwrap();
        let object = Arc::new(Object::from_value(manifest).unwrap());
        let read = |gates: &[&str]| {
            let gates = gates.iter().map(|g| (*g).to_owned()).collect();
            let cluster = Cluster::read(&object, &Config { gates, ..Config::default() }).unwrap();
            let sets = &cluster.spec.instances;
            let tablespaces: usize = sets.iter().map(|i| i.tablespace_volumes.len()).sum();
            let containers: usize = sets.iter().map(|i| i.containers.len()).sum();
            (tablespaces, containers, cluster.closed.join("; "))
        };
        let both = "spec.instances[].containers needs the feature gate InstanceSidecars; \
                    spec.instances[].tablespaceVolumes needs the feature gate TablespaceVolumes";
        assert_eq!(read(&[]), (0, 0, both.to_owned()));
        assert_eq!(read(&["TablespaceVolumes"]).0, 1);
        assert_eq!(read(&["InstanceSidecars", "TablespaceVolumes"]), (1, 1, String::new()));
    }
}
