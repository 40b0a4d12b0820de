//! A tiny world as values, so that plans can be driven to quiet in unit tests: a store that applies, patches
//! and deletes as the API server does, and [`ghosts`] that do what controllers, kubelets and Patroni would.
//! It has no time of its own, no validation and no defaults but the few that core depends on.

mod ghosts;
mod sight;
mod store;
mod words;

pub use ghosts::{act, endpoints, lead};
pub use store::merge;
pub use words::{commands, deletes, taken, text, texts, whole};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::command::Command;
use crate::context::{Config, Context, Entropy};
use crate::memo::Memos;
use crate::object::Object;
use crate::plan::{Op, Plan, Trail};
use crate::read::ReadKey;
use crate::setbacks::{Refusals, Setbacks};
use crate::{Kind, Sensitive, labels};

/// The namespace of every object here. It is neither the cluster's name nor a set's, so that swaps show.
pub const NAMESPACE: &str = "postgres-operator";
/// The cluster's name.
pub const CLUSTER: &str = "hippo";

/// A write that the API server, or the container, refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub String);

/// The tiny world.
#[derive(Clone)]
pub struct World {
    /// Now.
    pub now: Timestamp,
    /// What the API server holds.
    pub objects: BTreeMap<(Kind, String), Arc<Object>>,
    /// The operator's settings.
    pub config: Config,
    /// What the operator was told that it may not do.
    pub denied: BTreeSet<crate::grants::Grant>,
    /// Since when a kind is not followed.
    pub blind_since: Option<Timestamp>,
    /// What the API server refuses to have written, as `Kind name`, with the code and the words of its answer.
    pub refusing: BTreeMap<String, (u16, &'static str)>,
    /// What of that was refused when it was last tried.
    pub refused: Refusals,
    /// Reads that fail.
    pub unknown: BTreeSet<ReadKey>,
    /// What the operator remembers; none for one that forgets everything.
    pub memos: Option<Memos>,
    /// The commands that were run, with their Pods.
    pub commands: Vec<(String, Command)>,
    /// Commands that fail, by a part of their label.
    pub failing: BTreeSet<&'static str>,
    /// Pods of images that hold this text never start.
    pub bad_image: &'static str,
    /// Pods that the node does not start or no longer serves, by name.
    pub dead: BTreeSet<String>,
    /// A kind of which the operator sees what there was a round ago.
    pub lagging: Option<Kind>,
    old: BTreeMap<(Kind, String), Arc<Object>>,
    /// What is known of the server that a standby cluster follows.
    pub source: &'static str,
    /// What reaches a standby cluster: whether it streams, and the time of its newest transaction (seconds since 1970).
    pub standby: (bool, i64),
    /// What is wrong with parameters: an error of PostgreSQL's by the name, or `missing` for a library of that name, or
    /// `left out`.
    pub parameters: BTreeMap<&'static str, &'static str>,
    /// How archiving goes: since when finished WAL waits, when some was archived last (seconds since 1970, 0 for
    /// never), and what the last try came to.
    pub archive: (i64, i64, &'static str),
    /// What `pgbackrest info` prints.
    pub backup_info: String,
    /// What became of init SQL by its token: exit status and when it ended. SQL that says `fail` ends with 3.
    pub init_sql: BTreeMap<String, (i32, i64)>,
    /// Where pg_wal is said to be.
    pub wal_directory: &'static str,
    /// What each instance answers that is asked for its volumes.
    pub volumes: String,
    /// Replicas that do not stream and stay where they are, on timeline 1, by name.
    pub behind: BTreeSet<String>,
    /// Where the leader says that the WAL is which such a one needs.
    pub wal_place: &'static str,
    /// The timeline of the database.
    pub timeline: u64,
    version: u64,
    uids: u64,
    passes: u64,
}

/// A minimal spec: one set of `replicas` instances, one repository on a volume, one user.
pub fn spec(replicas: i64) -> Value {
    json!({
        "postgresVersion": 18,
        "image": "example.org/database:1",
        "instances": [{"name": "instance1", "replicas": replicas, "dataVolumeClaimSpec": claim("1Gi")}],
        "backups": {"pgbackrest": {
            "image": "example.org/pgbackrest:1",
            "repos": [{"name": "repo1", "volume": {"volumeClaimSpec": claim("2Gi")}}],
        }},
        "users": [{"name": "rhino", "databases": ["zoo"]}],
    })
}

/// A volume claim of a size.
pub fn claim(size: &str) -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": "fast",
    })
}

impl World {
    /// A world with a new cluster of this spec and nothing else.
    pub fn new(spec: Value) -> Self {
        let mut world = Self {
            now: "2026-03-01T12:00:00Z".parse().expect("a time"),
            objects: BTreeMap::new(),
            config: Config::default(),
            denied: BTreeSet::new(),
            blind_since: None,
            refusing: BTreeMap::new(),
            refused: Refusals::new(),
            unknown: BTreeSet::new(),
            memos: Some(Memos::default()),
            commands: Vec::new(),
            failing: BTreeSet::new(),
            bad_image: "bad",
            dead: BTreeSet::new(),
            lagging: None,
            old: BTreeMap::new(),
            source: "unknown not-streaming",
            standby: (true, 0),
            parameters: BTreeMap::new(),
            archive: (0, 0, "works"),
            backup_info: String::new(),
            init_sql: BTreeMap::new(),
            wal_directory: "/pgwal/pg18_wal",
            volumes: "/pgdata 1000000 rw\n".into(),
            behind: BTreeSet::new(),
            wal_place: "here",
            timeline: 1,
            version: 100,
            uids: 0,
            passes: 0,
        };
        world.put(Object::new(Kind::StorageClass, "", "fast").with("allowVolumeExpansion", true));
        world.create_cluster(spec);
        world
    }

    /// Makes the cluster; a second time it is another one of the same name.
    pub fn create_cluster(&mut self, spec: Value) {
        let mut cluster = Object::new(Kind::IvoryCluster, NAMESPACE, CLUSTER).with("spec", spec);
        cluster.meta.generation = 1;
        self.put(cluster);
    }

    /// A quiet cluster of so many instances; cheap to ask for again.
    pub fn settled(replicas: i64) -> Self {
        static SETTLED: OnceLock<[World; 3]> = OnceLock::new();
        let all = SETTLED.get_or_init(|| {
            [1, 2, 3].map(|n| {
                let mut world = World::new(spec(n));
                world.settle();
                world
            })
        });
        all[usize::try_from(replicas - 1).expect("1 to 3")].clone()
    }

    /// The cluster.
    pub fn cluster(&self) -> Arc<Object> {
        self.the(Kind::IvoryCluster, CLUSTER).clone()
    }

    /// The names of the instances, by their StatefulSets.
    pub fn instances(&self) -> Vec<String> {
        let sets = self.all(Kind::StatefulSet).into_iter();
        sets.filter(|s| s.label(labels::INSTANCE).is_some())
            .map(|s| s.meta.name.to_string())
            .collect()
    }

    /// The instance that leads.
    pub fn leader(&self) -> String {
        let lease = self
            .the(Kind::Endpoints, "hippo-ha")
            .annotation("leader")
            .expect("a leader")
            .to_owned();
        lease.trim_end_matches("-0").to_owned()
    }

    /// The instances that do not lead.
    pub fn replicas(&self) -> Vec<String> {
        let leader = self.leader();
        self.instances().into_iter().filter(|i| *i != leader).collect()
    }

    /// Changes the cluster's spec.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        self.change(Kind::IvoryCluster, CLUSTER, |c| change(&mut c["spec"]));
    }

    /// What a stranger does who takes a label away.
    pub fn strip(&mut self, kind: Kind, name: &str, label: &str) {
        self.change(kind, name, |o| {
            o["metadata"]["labels"].as_object_mut().expect("labels").remove(label);
        });
    }

    /// Time and entropy of a pass.
    pub fn context(&self) -> Context {
        let seed = format!("entropy of pass {}", self.passes);
        Context {
            now: self.now,
            entropy: Entropy(Sensitive::text(&seed)),
            config: self.config.clone(),
            denied: self.denied.clone(),
            blind_since: self.blind_since,
            refused: self.refused.clone(),
        }
    }

    /// The plan for what is seen now. The checker must find nothing wrong with it.
    pub fn plan(&mut self) -> Plan {
        self.passes += 1;
        let (observed, context) = (self.observed(), self.context());
        let mut forgetful = Memos::default();
        let memos = self.memos.as_mut().unwrap_or(&mut forgetful);
        let plan = crate::steps::plan(&observed, &context, memos);
        let findings = crate::check::check(&observed, &plan);
        assert!(findings.is_empty(), "{findings:?} in {:#?}", texts(&plan));
        plan
    }

    /// Carries out the first `limit` writes of a plan, up to the first that is refused.
    pub fn execute(&mut self, plan: &Plan, limit: usize) -> Result<(), Refused> {
        let (mut outcome, mut trail) = (Ok(()), Trail::default());
        let mut setbacks = Setbacks::new(&self.refused);
        for (index, write) in plan.writes.iter().enumerate().take(limit) {
            if !plan.stands(index, &setbacks) {
                continue;
            }
            let op = plan.op(index, trail);
            if let Some((code, why)) = self.refusing.get(&op.about()) {
                outcome = Err(Refused((*why).to_owned()));
                match setbacks.answered(write, *code, why) {
                    true => trail.wrote(None),
                    false => return outcome,
                }
                continue;
            }
            match (self.write(&op), &write.op) {
                (Err(refused), Op::Exec { .. }) => {
                    setbacks.command(write.step);
                    outcome = Err(refused);
                }
                (Err(refused), _) => return Err(refused),
                (Ok(()), op) => trail.wrote(self.left(op)),
            }
        }
        self.refused = setbacks.refusals();
        outcome
    }

    /// What a write has left.
    fn left(&self, op: &Op) -> Option<(Kind, u64)> {
        let (kind, name) = match op {
            Op::Apply { object } | Op::Create { object } => (object.kind, &*object.meta.name),
            Op::MergePatch { kind, name, .. } | Op::Status { kind, name, .. } => (*kind, &**name),
            Op::Delete { .. } | Op::Event { .. } | Op::Exec { .. } => return None,
        };
        self.get(kind, name).map(|o| (kind, o.meta.resource_version))
    }

    /// One round: plans, writes, and lets everybody else act. Whether anything happened.
    pub fn round(&mut self) -> bool {
        self.now += SignedDuration::from_secs(5);
        let plan = self.plan();
        self.old.clone_from(&self.objects);
        let done = self.execute(&plan, usize::MAX);
        if let Err(Refused(why)) = &done {
            assert!(
                !self.failing.is_empty() || self.lagging.is_some() || !self.refusing.is_empty(),
                "{why} in {:#?}",
                texts(&plan)
            );
        }
        let moved = ghosts::act(self);
        moved
            || self.old != self.objects
            || (!plan.writes.is_empty()
                && (done.is_ok() || (self.failing.is_empty() && self.refusing.is_empty())))
    }

    /// Rounds until nothing happens any more.
    pub fn settle(&mut self) {
        // With an old read, one quiet round may only mean that nothing was seen yet.
        let mut quiet = 0;
        for _ in 0..80 {
            quiet = if self.round() { 0 } else { quiet + 1 };
            if quiet > i32::from(self.lagging.is_some()) {
                return;
            }
        }
        panic!("never quiet; the last plan was {:#?}", texts(&self.plan()));
    }

    /// Settles, and calls `each` with every plan on the way.
    pub fn settle_with(&mut self, mut each: impl FnMut(&mut World, &Plan)) {
        for _ in 0..80 {
            self.now += SignedDuration::from_secs(5);
            let plan = self.plan();
            each(self, &plan);
            let done = self.execute(&plan, usize::MAX);
            let moved = ghosts::act(self);
            if !moved && (plan.writes.is_empty() || done.is_err()) {
                return;
            }
        }
        panic!("never quiet; the last plan was {:#?}", texts(&self.plan()));
    }

    /// Since when a condition of the cluster has its status.
    pub fn condition_since(&self, kind: &str) -> Option<Timestamp> {
        let cluster = self.cluster();
        cluster.condition(kind)?.get("lastTransitionTime")?.as_str()?.parse().ok()
    }

    /// A condition of the cluster: its status and reason.
    pub fn condition(&self, kind: &str) -> Option<(String, String)> {
        let cluster = self.cluster();
        let text = |key: &str| Some(cluster.condition(kind)?.get(key)?.as_str()?.to_owned());
        Some((text("status")?, text("reason")?))
    }
}
