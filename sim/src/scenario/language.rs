//! A scenario as a value: what `parse.rs` makes of a file and `run.rs` plays. Every word of it is
//! explained in `scenarios/README.md`.

use std::collections::BTreeMap;

use ivory_core::Kind;
use serde_json::Value;

use super::node::At;
use super::target::{Member, Target};
use crate::patroni::config::Version;
use crate::time::Span;

/// One story.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// The file's name without folder and ending.
    pub name: String,
    /// The file as it was named on the command line.
    pub file: String,
    /// The story in words.
    pub description: String,
    /// What there is before the first step.
    pub world: WorldSpec,
    /// The cluster that roles and expectations are about.
    pub cluster: String,
    /// The namespace of everything that does not name another.
    pub namespace: String,
    /// What happens.
    pub steps: Vec<Step>,
    /// What must be true at the end.
    pub finale: Finale,
}

/// The world before the first step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorldSpec {
    /// The seed of all its random numbers.
    pub seed: u64,
    /// Patroni's version in the images.
    pub patroni: Version,
    /// Its Kubernetes clusters; the first is meant where a step names none.
    pub kubes: Vec<KubeSpec>,
}

/// One Kubernetes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KubeSpec {
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<NodeSpec>,
    /// Its storage classes; the first is the default.
    pub storage: Vec<StorageSpec>,
    /// Images that can't be pulled.
    pub images_failing: Vec<String>,
    /// Object stores that its Pods reach, by the name of the bucket or container.
    pub buckets: Vec<String>,
    /// What another operator left behind; with it, no operator is installed.
    pub objects: Vec<Value>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Its value of `topology.kubernetes.io/zone`.
    pub zone: String,
    /// Allocatable CPU as Kubernetes writes it, for example `4`.
    pub cpu: String,
    /// Allocatable memory as Kubernetes writes it, for example `16Gi`.
    pub memory: String,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Taints, as in a Node's spec: key, value, effect.
    pub taints: Vec<Value>,
}

/// One storage class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageSpec {
    /// Its name.
    pub name: String,
    /// Whether volumes can grow.
    pub expands: bool,
    /// Whether volumes are bound only when a Pod that uses them is placed.
    pub waits_for_pod: bool,
}

/// One step.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Where it stands in the file.
    pub at: At,
    /// The step in one line, as the transcript shows it.
    pub text: String,
    /// The Kubernetes that it is about, as an index into [`WorldSpec::kubes`].
    pub kube: usize,
    /// The cluster that it is about, if not the scenario's.
    pub cluster: Option<String>,
    /// What it does.
    pub act: Act,
    /// Part of the message with which the API must refuse it.
    pub refused: Option<String>,
    /// Whether it is left out when it can't be done at this moment.
    pub optional: bool,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Applies manifests as `kubectl apply` does.
    Apply(Vec<Value>),
    /// Merges something into an object.
    Patch {
        /// The object.
        of: Target,
        /// A merge patch.
        with: Value,
    },
    /// Deletes objects.
    Delete {
        /// Which.
        of: Target,
        /// Seconds that Pods are given, if not their own.
        grace_s: Option<i64>,
        /// `background`, `foreground` or `orphan`.
        propagation: Option<ivory_core::plan::Propagation>,
    },
    /// Sets the number of instances of a set.
    Scale {
        /// The set.
        set: String,
        /// How many.
        to: i64,
    },
    /// Waits until all are true at once.
    Wait {
        /// What.
        all: Vec<Expectation>,
        /// How long at most.
        within: Span,
    },
    /// Demands that all are true, now or during a span of time.
    Expect {
        /// What.
        all: Vec<Expectation>,
        /// How long.
        hold: Span,
    },
    /// Starts a client that commits numbered rows.
    Connect(ClientSpec),
    /// Stops a client.
    Disconnect(String),
    /// Runs a statement and demands its result.
    Sql(SqlAsk),
    /// Breaks or heals something.
    Fault(Fault),
    /// Lets time pass.
    Advance(Span),
    /// Remembers all objects under a name, for `changed` and `unchanged`.
    Mark(String),
    /// Does steps for every object of some kinds.
    Each {
        /// The kinds.
        kinds: Vec<Kind>,
        /// Objects that are left out.
        except: Vec<Target>,
        /// The steps; `it` is the object.
        steps: Vec<Step>,
    },
}

/// A client that commits numbered rows with the credentials of a user's Secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSpec {
    /// Its name.
    pub name: String,
    /// The namespace of the Secret and of the client.
    pub namespace: String,
    /// The Secret with the keys `host`, `port`, `user`, `password`, `dbname`.
    pub secret: String,
    /// How often it commits.
    pub every: Span,
}

/// A statement through a Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlAsk {
    /// The database user; its Secret has the credentials.
    pub user: String,
    /// Through the Service of the replicas instead of the primary's.
    pub replicas: bool,
    /// What is asked, and which answer is right.
    pub what: SqlWhat,
}

/// A statement and its right answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SqlWhat {
    /// Commits so many rows, each acknowledged.
    Insert(u64),
    /// So many rows of earlier `insert`s are there.
    Rows(u64),
    /// Whether the server is read-only.
    ReadOnly(bool),
}

/// Something that breaks, or is made whole again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// All processes of Pods die at once, without a word.
    KillPod(Target),
    /// The process of one container dies.
    KillContainer {
        /// The Pod.
        pod: Target,
        /// The container.
        container: String,
    },
    /// The kernel ends a container that has used up its memory.
    OutOfMemory {
        /// The Pod.
        pod: Target,
        /// The container.
        container: String,
    },
    /// One server process of Pods' PostgreSQL dies; its postmaster ends all others, and recovers.
    KillBackend(Target),
    /// A node stands still for a while.
    PauseNode {
        /// The node.
        node: Place,
        /// For how long: whole seconds, 255 at most.
        how_long: Span,
    },
    /// The clock of nodes is ahead from now on, by a time that may be negative.
    Clock {
        /// The nodes.
        node: Place,
        /// By how much; no time ends it.
        ahead: Span,
    },
    /// Names can be resolved from now on, or can't.
    Dns(bool),
    /// The operator is replaced by one of a newer release.
    UpgradeOperator,
    /// A node stops at once, and stays down until `restart_node`.
    CrashNode(Place),
    /// A node that crashed comes back.
    RestartNode(Place),
    /// A node's machine is gone for ever; its Node object is taken away.
    LoseNode {
        /// The node.
        node: Place,
        /// Whether the volumes that were attached there are lost with it.
        volumes: bool,
    },
    /// Nothing passes between two places.
    Partition(Place, Place),
    /// All places reach each other again.
    HealNetwork,
    /// The API server is down for a while.
    ApiOutage(Span),
    /// What was on the volume of a claim is gone, and whoever used it dies; the objects stay.
    LoseVolume(Target),
    /// The operator stops, or starts again.
    Operator(bool),
    /// An image can be pulled from now on, or can't.
    Images {
        /// The image.
        image: String,
        /// Whether pulling fails.
        fail: bool,
    },
    /// Messages are cut for a while.
    Messages {
        /// Whose.
        whose: Whose,
        /// What becomes of them.
        cutting: Cutting,
        /// Every so-manieth; 1 is each.
        every: u32,
        /// For how long.
        how_long: Span,
    },
    /// The operator's watches hear everything so much later from now on; no time ends it.
    Lag(Span),
    /// A node is emptied as `kubectl drain` does.
    Drain(Place),
    /// A drained node takes Pods again.
    Uncordon(Place),
    /// Patroni of a Pod is stopped (SIGSTOP) for a while; PostgreSQL goes on.
    HangPatroni {
        /// The Pod.
        pod: Target,
        /// For how long: whole seconds, 255 at most.
        how_long: Span,
    },
    /// How the log of a Pod's PostgreSQL reaches its standbys from now on.
    Replication {
        /// The Pod.
        pod: Target,
        /// How it does.
        how: Flow,
    },
    /// The postmaster of a Pod dies (SIGKILL); Patroni goes on.
    KillPostgres(Target),
    /// What is wrong with the disk behind a claim from now on.
    Disk {
        /// The claim.
        of: Target,
        /// What.
        is: Sick,
    },
    /// Objects of a kind can't be created for a while, as quotas and webhooks have it: 403.
    Refuse {
        /// The kind.
        kind: Kind,
        /// Whether they can't be changed either.
        updates: bool,
        /// What the server says.
        because: String,
        /// For how long.
        how_long: Span,
    },
    /// A second operator runs beside the first, without a lease between them, or stops.
    SecondOperator(bool),
}

impl Fault {
    /// Its word in the language.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::KillPod(_) => "kill_pod",
            Self::KillContainer { .. } => "kill_container",
            Self::OutOfMemory { .. } => "oom",
            Self::KillBackend(_) => "kill_backend",
            Self::PauseNode { .. } => "pause_node",
            Self::Clock { .. } => "clock",
            Self::Dns(_) => "dns",
            Self::UpgradeOperator => "upgrade",
            Self::CrashNode(_) => "crash_node",
            Self::RestartNode(_) => "restart_node",
            Self::LoseNode { .. } => "lose_node",
            Self::Partition(..) => "partition",
            Self::HealNetwork => "heal",
            Self::ApiOutage(_) => "api_outage",
            Self::LoseVolume(_) => "lose_volume",
            Self::Operator(_) => "operator",
            Self::Images { .. } => "images",
            Self::Messages { .. } => "messages",
            Self::Lag(_) => "lag",
            Self::Drain(_) => "drain",
            Self::Uncordon(_) => "uncordon",
            Self::HangPatroni { .. } => "hang_patroni",
            Self::Replication { .. } => "replication",
            Self::KillPostgres(_) => "kill_postgres",
            Self::Disk { .. } => "disk",
            Self::Refuse { .. } => "refuse",
            Self::SecondOperator(_) => "second_operator",
        }
    }
}

/// How log reaches standbys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Not at all, or as ever.
    Flows(bool),
    /// So much later than it was written; no time ends it.
    Late(Span),
}

/// What is wrong with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sick {
    /// Nothing more fits, or does again.
    Full(bool),
    /// It takes no writes, or does again.
    ReadOnly(bool),
    /// Each flush takes so much longer; no time ends it.
    Slow(Span),
}

/// Whose messages are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The operator's: its requests, and its commands in containers.
    Operator,
    /// Everybody's to the API server.
    Everybody,
}

impl Whose {
    /// All.
    pub const ALL: [Self; 2] = [Self::Operator, Self::Everybody];

    /// Its word in the language.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Everybody => "everybody",
        }
    }
}

/// What becomes of messages that are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cutting {
    /// They take effect, and the answer is lost.
    Lost,
    /// They never arrive.
    Dropped,
    /// They arrive three seconds late.
    Slow,
    /// They arrive twice.
    Doubled,
    /// They are refused: 409.
    Conflict,
    /// They are refused: 500.
    Error,
    /// They are refused: 429.
    Throttled,
}

impl Cutting {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Dropped,
        Self::Slow,
        Self::Doubled,
        Self::Conflict,
        Self::Error,
        Self::Throttled,
    ];

    /// Its word in the language.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Dropped => "dropped",
            Self::Slow => "slow",
            Self::Doubled => "doubled",
            Self::Conflict => "409",
            Self::Error => "500",
            Self::Throttled => "429",
        }
    }
}

/// A place on the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The node of a Pod.
    NodeOf(Member),
    /// A node by name.
    Node(String),
    /// Every node there is.
    EveryNode,
    /// Where the API server and the operator are.
    ControlPlane,
    /// Where clients are.
    Outside,
}

/// Something that is true or not at a moment.
#[derive(Clone, PartialEq, Debug)]
pub enum Expectation {
    /// Whether the cluster's conditions `Ready` and `Reconciled` are both True for its present generation.
    Ready(bool),
    /// How many ready instances the sets have, and no others.
    Instances(BTreeMap<String, u64>),
    /// How many Pods of the cluster are in a certain state.
    Pods(PodState, u64),
    /// What became of the primary.
    Primary(Primary),
    /// How many ready instances have these roles.
    Roles(BTreeMap<String, u64>),
    /// The primary's timeline.
    Timeline(u64),
    /// Objects are there.
    Exists(Vec<Target>),
    /// Objects are not there.
    Absent(Vec<Target>),
    /// Nothing of a cluster is left, its volumes and Secrets included.
    Gone(String),
    /// A field of an object.
    Field {
        /// The object.
        of: Target,
        /// The path.
        path: String,
        /// What is demanded of it.
        is: Test,
    },
    /// A field differs from what it was at a mark, or does not.
    Since {
        /// The object.
        of: Target,
        /// The path.
        path: String,
        /// The mark.
        mark: String,
        /// Whether it must have changed.
        changed: bool,
    },
    /// A condition of the cluster.
    Condition {
        /// Its type.
        kind: String,
        /// Its status; none demands that the condition is absent.
        status: Option<String>,
        /// Its reason.
        reason: Option<String>,
        /// Part of its message.
        message: Option<String>,
    },
    /// An Event about an object of the cluster.
    Event {
        /// Its reason.
        reason: String,
        /// `Normal` or `Warning`.
        kind: Option<String>,
        /// Part of its message.
        message: Option<String>,
    },
    /// Where a Service leads.
    Service {
        /// Its name.
        name: String,
        /// The Pods behind it: exactly these.
        to: Vec<Member>,
    },
    /// How the ready instances are spread over nodes or zones, largest number first.
    Spread {
        /// Over zones instead of nodes.
        zones: bool,
        /// The numbers.
        counts: Vec<u64>,
    },
    /// Whether a client's last commit went through.
    Client {
        /// The client.
        name: String,
        /// Whether it writes.
        writes: bool,
    },
    /// The operator has written nothing for so long.
    Quiet(Span),
}

/// A state of Pods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PodState {
    /// Its condition Ready is True.
    Ready,
    /// It exists, whatever its state.
    Exists,
    /// The scheduler finds no node for it.
    Unschedulable,
    /// The image of one of its containers can't be pulled.
    ImageFailing,
}

/// What became of the primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Primary {
    /// Exactly one Pod leads.
    One,
    /// No Pod leads.
    None,
    /// Exactly one leads, and it is another than before the last step that did something.
    Changed,
    /// Exactly one leads, and it is the same as before the last step that did something.
    Unchanged,
}

/// What is demanded of a field.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// It equals this.
    Is(Value),
    /// It differs from this, or is absent.
    Not(Value),
    /// Its text contains this, or its list has this item.
    Contains(Value),
    /// It is a list or map with so many entries.
    Count(u64),
    /// It is there, or is not.
    Present(bool),
}

/// What must be true at the end.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Finale {
    /// Where it stands in the file.
    pub at: At,
    /// True at the end.
    pub all: Vec<Expectation>,
    /// The longest time, in seconds, in which a client could not commit.
    pub write_gap_s: Option<f64>,
    /// How many acknowledged rows may be missing.
    pub lost_rows: Option<u64>,
    /// How many writes the operator may make in ten minutes once it has become quiet.
    pub writes_when_quiet: Option<u64>,
    /// How many writes the operator may make in the whole story.
    pub writes: Option<u64>,
}
