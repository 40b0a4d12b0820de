//! A tiny world as values, so that plans can be driven to quiet in unit tests: a store that applies, patches
//! and deletes as the API server does, and [`ghosts`] that do what controllers, kubelets and Patroni would.
//! It has no time of its own, no validation and no defaults but the few that core depends on.

mod ghosts;

pub use ghosts::{act, lead};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::command::Command;
use crate::context::{Config, Context, Entropy};
use crate::memo::Memos;
use crate::names::FIELD_MANAGER;
use crate::object::{Meta, Object};
use crate::observed::Observed;
use crate::plan::{Op, Plan, Trail, Write};
use crate::queries::queries;
use crate::read::{Answer, Output, Query, Read, ReadKey};
use crate::reads::second_look;
use crate::setbacks::{Refusals, Setbacks};
use crate::ssa::{self, Manager, Schema};
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
    /// What became of init SQL by its token: exit status and when it ended. SQL that says `fail` ends with 3.
    pub init_sql: BTreeMap<String, (i32, i64)>,
    /// Where pg_wal is said to be.
    pub wal_directory: &'static str,
    /// What each instance answers that is asked for its volumes.
    pub volumes: String,
    /// Replicas that do not stream and stay where they are, by name.
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

    /// Stores an object as it is: a new one gets UID and time, every one a version.
    pub fn put(&mut self, mut object: Object) -> Arc<Object> {
        self.version += 1;
        object.meta.resource_version = self.version;
        if object.meta.uid.is_empty() {
            self.uids += 1;
            object.meta.uid = format!("uid-{}", self.uids).into();
            object.meta.created_at = Some(self.now);
        }
        let object = Arc::new(object);
        self.objects.insert((object.kind, object.meta.name.to_string()), object.clone());
        object
    }

    /// An object, if it is there.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// An object that must be there.
    pub fn the(&self, kind: Kind, name: &str) -> &Arc<Object> {
        self.get(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The objects of a kind.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.objects.values().filter(|o| o.kind == kind).cloned().collect()
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

    /// Changes an object's wire form.
    pub fn change(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let old = self.the(kind, name).clone();
        let mut value = old.to_value();
        change(&mut value);
        let mut new = Object::from_value(value).expect("an object");
        if new.at(&["spec"]) != old.at(&["spec"]) {
            new.meta.generation += 1;
        }
        self.put(new);
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

    /// Asks for an object's deletion.
    pub fn delete(&mut self, kind: Kind, name: &str) {
        let mut object = (**self.the(kind, name)).clone();
        let held = match kind {
            Kind::Pod | Kind::PersistentVolumeClaim => true,
            _ => !object.meta.finalizers.is_empty(),
        };
        if held {
            object.meta.deleted_at = object.meta.deleted_at.or(Some(self.now));
            self.put(object);
        } else {
            self.remove(kind, name);
        }
    }

    /// An object goes at once, and what it owned goes with it.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        let Some(gone) = self.objects.remove(&(kind, name.to_owned())) else { return };
        let owned: Vec<_> =
            self.objects.values().filter(|o| o.controlled_by(&gone.meta.uid)).cloned().collect();
        for object in owned {
            self.delete(object.kind, &object.meta.name);
        }
    }

    /// Everything that core wants to read.
    pub fn observed(&self) -> Observed {
        let seen = |kind: Kind| if self.lagging == Some(kind) { &self.old } else { &self.objects };
        let cluster = seen(Kind::IvoryCluster).get(&(Kind::IvoryCluster, CLUSTER.to_owned()));
        let cluster = cluster.cloned().unwrap_or_else(|| self.cluster());
        let mut read = |key: ReadKey| {
            let found = |kind: &Kind, f: &dyn Fn(&Object) -> bool| {
                let all = seen(*kind).values().filter(|o| o.kind == *kind && f(o));
                all.cloned().collect::<Vec<_>>()
            };
            let read = match &key {
                _ if self.unknown.contains(&key) => Read::Unknown("a test says so".into()),
                ReadKey::One { kind, name, .. } => match found(kind, &|o| *o.meta.name == **name) {
                    list if list.is_empty() => Read::Absent,
                    list => Read::Known(list),
                },
                ReadKey::Select { kind, selector, .. } => {
                    Read::Known(found(kind, &|o| selector.matches(&o.meta.labels)))
                }
            };
            (key, read)
        };
        let objects = crate::reads::reads(&cluster).into_iter().map(&mut read).collect();
        let mut observed = Observed { cluster, objects, answers: BTreeMap::new() };
        let more: Vec<_> = second_look(&observed).into_iter().map(read).collect();
        observed.objects.extend(more);
        for query in queries(&observed, &self.config) {
            let answer = self.answer(&query);
            observed.answers.insert(query, answer);
        }
        observed
    }

    fn answer(&self, query: &Query) -> Read<Answer> {
        let stdout = match query.command {
            Command::WalDirectory => format!("{}\n", self.wal_directory),
            Command::ArchiveState => {
                let (since, archived, last) = self.archive;
                let (files, now) = (i64::from(since > 0), self.now.as_second());
                format!("{files} {} {since} {archived} {now} {last}\n", files << 24)
            }
            Command::ParameterState { .. } => self.parameter_state(),
            Command::StandbyState => {
                let word = if self.standby.0 { "streaming" } else { "not-streaming" };
                format!("{word} {} {}\n", self.standby.1, self.now.as_second())
            }
            Command::VolumeState => self.volumes.clone(),
            Command::WalPlace { .. } => format!("{}\n", self.wal_place),
            Command::SourceState { .. } => format!("{}\n", self.source),
            Command::InitSqlState { ref token } => match self.init_sql.get(token) {
                None => "none\n".to_owned(),
                Some((exit, at_s)) => format!("{exit} {at_s}\n"),
            },
            _ => return Read::Unknown("nobody answers this".into()),
        };
        let output = Output { exit: 0, stdout: stdout.into(), stderr: "".into() };
        Read::Known(Answer { output, at: self.now })
    }

    /// What the spec sets, as the server's files would have it.
    fn parameter_state(&self) -> String {
        let cluster = crate::cluster::Cluster::read(&self.cluster(), &self.config);
        let Ok(cluster) = cluster else { return String::new() };
        let made = crate::rules::config::dynamic(&cluster);
        let made = made["postgresql"]["parameters"].as_object().cloned().unwrap_or_default();
        let is = |name: &str, word: &str| self.parameters.get(name).is_some_and(|w| *w == word);
        let there = made.into_iter().filter(|(name, _)| !is(name, "left out"));
        let settings: serde_json::Map<_, _> = there
            .map(|(name, value)| {
                let error = self.parameters.get(&*name).unwrap_or(&"");
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (name.clone(), json!({"value": value, "error": error}))
            })
            .collect();
        let missing: Vec<_> =
            self.parameters.keys().filter(|name| is(name, "missing")).copied().collect();
        json!({"settings": settings, "missing": missing}).to_string()
    }

    /// Time and entropy of a pass.
    pub fn context(&self) -> Context {
        let seed = format!("entropy of pass {}", self.passes);
        Context {
            now: self.now,
            entropy: Entropy(Sensitive::text(&seed)),
            config: self.config.clone(),
            denied: self.denied.clone(),
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

    /// A condition of the cluster: its status and reason.
    pub fn condition(&self, kind: &str) -> Option<(String, String)> {
        let cluster = self.cluster();
        let text = |key: &str| Some(cluster.condition(kind)?.get(key)?.as_str()?.to_owned());
        Some((text("status")?, text("reason")?))
    }

    /// Carries out one write.
    pub fn write(&mut self, op: &Op) -> Result<(), Refused> {
        match op {
            Op::Apply { object } => self.apply(object),
            Op::Create { object } => {
                if self.get(object.kind, &object.meta.name).is_some() {
                    return Err(Refused(format!(
                        "409: {} {} exists",
                        object.kind, object.meta.name
                    )));
                }
                self.put((**object).clone());
                Ok(())
            }
            Op::Delete { kind, name, uid, resource_version, .. } => {
                let Some(live) = self.get(*kind, name) else { return Ok(()) };
                let stale = resource_version.is_some_and(|v| v != live.meta.resource_version);
                if live.meta.uid != *uid || stale {
                    return Err(Refused(format!("409: {kind} {name} is another one")));
                }
                self.delete(*kind, name);
                Ok(())
            }
            Op::MergePatch { kind, name, patch, .. } | Op::Status { kind, name, patch, .. } => {
                self.merge_patch(*kind, name, patch)
            }
            Op::Event { object } => {
                if self.get(object.kind, &object.meta.name).is_none() {
                    self.put((**object).clone());
                }
                Ok(())
            }
            Op::Exec { target, command, .. } => {
                let alive =
                    self.get(Kind::Pod, &target.pod).is_some_and(|p| p.meta.uid == target.uid);
                let label = command.label();
                if !alive || self.failing.iter().any(|f| label.contains(f)) {
                    return Err(Refused(format!("{label} failed in {}", target.pod)));
                }
                self.commands.push((target.pod.clone(), command.clone()));
                ghosts::run(self, command);
                Ok(())
            }
        }
    }

    fn apply(&mut self, desired: &Object) -> Result<(), Refused> {
        let live = self.get(desired.kind, &desired.meta.name).cloned();
        let name = format!("{} {}", desired.kind, desired.meta.name);
        let meta = &desired.meta;
        match &live {
            Some(live) => {
                if !meta.uid.is_empty() && meta.uid != live.meta.uid {
                    return Err(Refused(format!("409: {name} is another one")));
                }
                if meta.resource_version != 0 && meta.resource_version != live.meta.resource_version
                {
                    return Err(Refused(format!("409: {name} was modified")));
                }
            }
            None if !meta.uid.is_empty() => return Err(Refused(format!("409: {name} is gone"))),
            None => {}
        }
        let base = live.as_deref().cloned().unwrap_or_else(|| Object {
            kind: desired.kind,
            meta: Meta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                ..Meta::default()
            },
            body: Arc::default(),
        });
        let schema = Schema::builtin(desired.kind).expect("only built-in kinds are applied");
        let who = Manager {
            name: FIELD_MANAGER,
            subresource: "",
            api_version: desired.kind.api_version(),
        };
        let ignored = ssa::FieldSet::of(&["status"]);
        let now = Some(self.now);
        let (found, wanted) = (ssa::view(&base), ssa::view(desired));
        let applied =
            ssa::apply(schema, &found, &base.meta.managed, &wanted, who, true, &ignored, now);
        let applied = applied.map_err(|_| Refused("a conflict in spite of force".into()))?;
        let view = ssa::normalise(schema, &applied.view, &mut ssa::Findings::default());
        let mut new = ssa::with_view(&base, view);
        new.meta.managed = applied.managed.into();
        let controllers = new.meta.owners.iter().filter(|o| o.controller == Some(true)).count();
        if controllers > 1 {
            return Err(Refused(format!("422: {name} would have {controllers} controllers")));
        }
        ghosts::default_fields(self, &mut new);
        if live.as_deref() == Some(&new) {
            return Ok(());
        }
        immutable(live.as_deref(), &new)?;
        if live.is_none() || new.at(&["spec"]) != base.at(&["spec"]) {
            new.meta.generation += 1;
        }
        self.put(new);
        Ok(())
    }

    fn merge_patch(&mut self, kind: Kind, name: &str, patch: &Value) -> Result<(), Refused> {
        let Some(live) = self.get(kind, name).cloned() else {
            return Err(Refused(format!("404: {kind} {name}")));
        };
        let mut value = live.to_value();
        let stated = |key: &str| patch.pointer(&format!("/metadata/{key}")).cloned();
        for key in ["uid", "resourceVersion"] {
            if stated(key).is_some_and(|s| s != value["metadata"][key]) {
                return Err(Refused(format!("409: {kind} {name} was modified")));
            }
        }
        merge(&mut value, patch);
        let mut new = Object::from_value(value).map_err(|e| Refused(e.to_string()))?;
        if new == *live {
            return Ok(());
        }
        if new.at(&["spec"]) != live.at(&["spec"]) {
            new.meta.generation += 1;
        }
        let gone =
            new.terminating() && new.meta.finalizers.is_empty() && kind == Kind::IvoryCluster;
        self.put(new);
        if gone {
            self.remove(kind, name);
        }
        Ok(())
    }
}

/// What the API server refuses to change: a claim's spec but for its growing request.
fn immutable(live: Option<&Object>, new: &Object) -> Result<(), Refused> {
    let Some(live) = live.filter(|l| l.kind == Kind::PersistentVolumeClaim) else { return Ok(()) };
    let but_size = |o: &Object| {
        let mut spec = o.at(&["spec"]).cloned().unwrap_or_default();
        if let Some(size) = spec.pointer_mut("/resources/requests/storage") {
            *size = Value::Null;
        }
        spec
    };
    let size = |o: &Object| -> Option<crate::quantity::Quantity> {
        o.str_at(&["spec", "resources", "requests", "storage"])?.parse().ok()
    };
    if but_size(live) != but_size(new) || size(new) < size(live) {
        return Err(Refused(format!("422: PersistentVolumeClaim {} is immutable", live.meta.name)));
    }
    Ok(())
}

/// JSON merge patch.
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let map = value.as_object_mut().expect("a map");
    for (key, change) in patch {
        if change.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A write as one line: step, verb and object.
pub fn text(write: &Write) -> String {
    let what = match &write.op {
        Op::Apply { object } => format!("apply {} {}", object.kind, object.meta.name),
        Op::Create { object } => format!("create {} {}", object.kind, object.meta.name),
        Op::Delete { kind, name, .. } => format!("delete {kind} {name}"),
        Op::MergePatch { kind, name, .. } => format!("patch {kind} {name}"),
        Op::Status { kind, name, .. } => format!("status {kind} {name}"),
        Op::Event { object } => format!("event {}", object.str_at(&["reason"]).unwrap_or("?")),
        Op::Exec { target, command, .. } => format!("exec {} in {}", command.label(), target.pod),
    };
    format!("{}: {what} because {}", write.step, write.reason)
}

/// All writes of a plan, one line each, and what it reports.
pub fn texts(plan: &Plan) -> Vec<String> {
    let report = plan.report.lines.iter().map(|(step, outcome)| format!("{step} {outcome}"));
    plan.writes.iter().map(text).chain(report).collect()
}

/// The objects that a plan deletes, as `kind name`.
pub fn deletes(plan: &Plan) -> Vec<String> {
    let of = |w: &Write| match &w.op {
        Op::Delete { kind, name, .. } => Some(format!("{kind} {name}")),
        _ => None,
    };
    plan.writes.iter().filter_map(of).collect()
}

/// [`deletes`] but for disruption budgets, which hold nothing.
pub fn taken(plan: &Plan) -> Vec<String> {
    deletes(plan).into_iter().filter(|d| !d.starts_with("PodDisruptionBudget")).collect()
}

/// The commands of a plan.
pub fn commands(plan: &Plan) -> Vec<(String, Command)> {
    let of = |w: &Write| match &w.op {
        Op::Exec { target, command, .. } => Some((target.pod.clone(), command.clone())),
        _ => None,
    };
    plan.writes.iter().filter_map(of).collect()
}

/// A plan's whole content as text, secrets included: two plans are equal exactly if these are.
pub fn whole(plan: &Plan) -> String {
    let of = |w: &Write| match &w.op {
        Op::Apply { object } | Op::Create { object } | Op::Event { object } => {
            format!("{} {}", text(w), object.to_value())
        }
        Op::Exec { command, .. } => {
            let stdin = command.render().stdin.map(|s| s.expose().to_vec());
            format!("{} {:?} {stdin:?}", text(w), w.op)
        }
        _ => format!("{} {:?}", text(w), w.op),
    };
    let writes: Vec<String> = plan.writes.iter().map(of).collect();
    format!("{}\n{:?}\n{:?}", writes.join("\n"), plan.report, plan.requeue)
}
