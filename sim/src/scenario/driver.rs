//! What a story needs of the world that it is played in. The simulated world implements it in
//! `world_driver.rs`; nothing else of this folder knows one.

use std::sync::Arc;

use ivory_core::plan::Propagation;
use ivory_core::{Kind, Object};
use serde_json::Value;

use super::language::{ClientSpec, Cutting, Flow, Sick, SqlAsk, Whose, WorldSpec};
use super::resolve::Ref;
use crate::time::{Span, Time};
use crate::world::journal::{Entry, Milestone};
use crate::world::{Finding, KubeId, World};

/// A world in which a story is played.
pub trait Driver {
    /// Now.
    fn now(&self) -> Time;

    /// How many Kubernetes clusters there are.
    fn kubes(&self) -> usize;

    /// Handles everything up to a moment.
    fn advance_to(&mut self, until: Time);

    /// Sends a request to an API server as the user `kubectl` would, unknown fields being refused, and
    /// lets time pass until the answer.
    ///
    /// # Errors
    /// Why it was not done.
    fn ask(&mut self, kube: KubeId, ask: &Ask) -> Result<(), Refusal>;

    /// One object as it is stored now.
    fn get(&self, kube: KubeId, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>>;

    /// All objects of a kind as they are stored now, in the order of their names.
    fn list(&self, kube: KubeId, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>>;

    /// A number that grows with every change of any object.
    fn version(&self) -> u64;

    /// What happened so far, for people.
    fn journal(&self) -> &[Entry];

    /// Adds an entry to the journal.
    fn remark(&mut self, what: Milestone);

    /// Breaks or heals something.
    ///
    /// # Errors
    /// A sentence, when there is nothing to break.
    fn fault(&mut self, kube: KubeId, fault: &Break) -> Result<(), String>;

    /// Starts a client.
    ///
    /// # Errors
    /// A sentence, when it can't be started.
    fn connect(&mut self, kube: KubeId, client: &ClientSpec) -> Result<(), String>;

    /// Stops a client; what it knows stays.
    fn disconnect(&mut self, name: &str);

    /// What a client knows, living or stopped.
    fn client(&self, name: &str) -> Option<ClientFacts>;

    /// Runs a statement with the credentials of a Secret, and says what is wrong with the answer.
    ///
    /// # Errors
    /// A sentence: the error of the server or the network, or how the answer differs.
    fn sql(
        &mut self,
        kube: KubeId,
        namespace: &str,
        secret: &str,
        ask: &SqlAsk,
    ) -> Result<(), String>;

    /// Which promises the world's checkers saw broken so far. A finding fails the story.
    fn findings(&self) -> Vec<Finding>;

    /// A digest of everything that happened: equal for equal runs.
    fn digest(&self) -> u64;

    /// The machine's record of the run as text, if it was asked for.
    fn trace(&self) -> &str;

    /// A copy that goes on by itself; none where the world can't be copied.
    fn fork(&self) -> Option<Box<dyn Driver>> {
        None
    }

    /// The simulated world, for those who explore it; none where it is a real one.
    fn world(&mut self) -> Option<&mut World> {
        None
    }

    /// Breaks or heals something at a moment to come, unless the story breaks or heals the same before. Only a
    /// simulated world can.
    fn fault_at(&mut self, _at: Time, _kube: KubeId, _fault: Break) {}
}

/// What people ask an API server for.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// `kubectl apply` of a manifest that has its namespace: server-side apply by the manager `kubectl`,
    /// taking fields from others.
    Apply(Arc<Object>),
    /// A JSON merge patch.
    Merge {
        /// The object.
        of: Ref,
        /// The patch.
        with: Value,
    },
    /// A deletion.
    Delete {
        /// The object.
        of: Ref,
        /// Seconds that a Pod is given, if not its own.
        grace_s: Option<i64>,
        /// What becomes of the objects that it owns.
        propagation: Option<Propagation>,
    },
}

/// Why an API server did not do it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusal {
    /// The HTTP status, 504 if nothing came back.
    pub code: u16,
    /// The sentence.
    pub message: String,
    /// The fields that are wrong, and why; empty if the server names none.
    pub fields: Vec<(String, String)>,
}

/// A fault whose names have been resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Break {
    /// All processes of a Pod die: namespace and name.
    KillPod(String, String),
    /// The process of a container dies: namespace, Pod and container.
    KillContainer(String, String, String),
    /// The kernel ends a container that has used up its memory: namespace, Pod and container.
    OutOfMemory(String, String, String),
    /// A server process of a Pod's PostgreSQL dies: namespace and name.
    KillBackend(String, String),
    /// A node stands still for so long.
    PauseNode(String, Span),
    /// The clock of a node is ahead by so much from now on.
    Clock(String, Span),
    /// Names can be resolved (true) or can't.
    Dns(bool),
    /// The operator is replaced by one of a newer release.
    UpgradeOperator,
    /// A node stops.
    CrashNode(String),
    /// A node comes back.
    RestartNode(String),
    /// A node never comes back, and its Node object goes; the PersistentVolumes named are lost with it.
    LoseNode(String, Vec<String>),
    /// Nothing passes between two places (a node's name, `control-plane`, `outside`).
    Partition(String, String),
    /// All partitions end.
    HealNetwork,
    /// The API server is down for so long.
    ApiOutage(Span),
    /// A PersistentVolume's content is lost, and processes that used it die.
    LoseVolume(String),
    /// The operator stops (false) or starts (true).
    Operator(bool),
    /// Pulling an image fails (true) or works (false) from now on.
    Images(String, bool),
    /// Every so-manieth message is cut for so long.
    Messages(Whose, Cutting, u32, Span),
    /// The operator's watches hear everything so much later.
    Lag(Span),
    /// A node is emptied.
    Drain(String),
    /// A node takes Pods again.
    Uncordon(String),
    /// Patroni of a Pod is stopped for so long: namespace and name.
    HangPatroni(String, String, Span),
    /// How the log of a Pod reaches its standbys: namespace and name.
    Replication(String, String, Flow),
    /// The postmaster of a Pod dies: namespace and name.
    KillPostgres(String, String),
    /// What is wrong with the disk of a PersistentVolume.
    Disk(String, Sick),
    /// Objects of a kind can't be created, nor changed (true), for so long, and why.
    Refuse(Kind, bool, String, Span),
    /// Another operator runs beside the first (true), or stops (false).
    SecondOperator(bool),
}

/// What a client knows of its own writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientFacts {
    /// Rows whose commit was acknowledged.
    pub acknowledged: u64,
    /// Acknowledged rows that the present primary does not have.
    pub lost_rows: u64,
    /// The longest time without an acknowledged commit since the first one, the present one included.
    pub longest_gap: Span,
    /// Whether the last commit went through.
    pub writes: bool,
}

/// Makes a world for a story, and begins a text trace if the flag says so.
pub type Build<'a> = dyn Fn(&WorldSpec, bool) -> Result<Box<dyn Driver>, String> + 'a;

/// How operator writes are recognised: the journal's entries of this kind.
#[must_use]
pub fn is_write(entry: &Entry) -> bool {
    matches!(&entry.what, Milestone::Wrote { .. })
}
