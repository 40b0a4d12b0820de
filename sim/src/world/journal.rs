//! What happened, for people: one entry an event worth telling. Transcripts, expectations and views are
//! made of these; the machine's trace is another thing.

use std::sync::Arc;

use crate::time::Time;
use crate::world::actor::KubeId;

/// One entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// Who did it, or saw it.
    pub actor: Arc<str>,
    /// What.
    pub what: Milestone,
}

/// Something worth telling. `object` is `Kind name`, names being the real ones; displays alias them.
#[derive(Clone, PartialEq, Debug)]
pub enum Milestone {
    /// The operator wrote something.
    Wrote {
        /// The cluster.
        cluster: Arc<str>,
        /// The step of the plan.
        step: &'static str,
        /// `create`, `update`, `delete`, `status`, `event`, `exec`.
        verb: &'static str,
        /// The object, or the command and the Pod.
        object: String,
        /// Why.
        reason: String,
    },
    /// A write of the operator failed, and its plan was dropped.
    WriteFailed {
        /// The cluster.
        cluster: Arc<str>,
        /// The object.
        object: String,
        /// The error.
        error: String,
    },
    /// A condition of a cluster changed.
    Condition {
        /// The cluster.
        cluster: Arc<str>,
        /// Its type.
        kind: String,
        /// Its status.
        status: String,
        /// Its reason.
        reason: String,
        /// Its message.
        message: String,
    },
    /// A Pod was placed.
    Scheduled {
        /// The Pod.
        pod: Arc<str>,
        /// The node.
        node: Arc<str>,
    },
    /// A Pod could not be placed.
    Unschedulable {
        /// The Pod.
        pod: Arc<str>,
        /// Why.
        why: String,
    },
    /// A container can't start.
    ContainerWaiting {
        /// The Pod.
        pod: Arc<str>,
        /// The container.
        container: Arc<str>,
        /// The reason's word.
        reason: &'static str,
    },
    /// A Pod became ready, or ceased to be.
    Ready {
        /// The Pod.
        pod: Arc<str>,
        /// Which.
        ready: bool,
    },
    /// A Pod's object is gone.
    PodGone {
        /// The Pod.
        pod: Arc<str>,
    },
    /// Something happened in a database instance; the text is Patroni's or PostgreSQL's own kind of words.
    Database {
        /// The Pod.
        pod: Arc<str>,
        /// What: `initializes a new cluster`, `is the leader on timeline 2`, `streams from …`.
        text: String,
    },
    /// A Job ended.
    JobEnded {
        /// The Job.
        job: Arc<str>,
        /// How.
        succeeded: bool,
    },
    /// Something happened to backups.
    Backup {
        /// What.
        text: String,
    },
    /// A client could write again, or for the first time.
    Writable {
        /// The client.
        client: Arc<str>,
        /// How long it could not, in milliseconds.
        gap_ms: i64,
    },
    /// A client can't write.
    NotWritable {
        /// The client.
        client: Arc<str>,
        /// The error it saw.
        why: String,
    },
    /// A step of the scenario began.
    Step {
        /// As the file has it.
        text: String,
    },
    /// A fault struck.
    Fault {
        /// What.
        text: String,
    },
    /// Anything else.
    Note {
        /// What.
        text: String,
    },
}
