//! The plan as a value: writes in order, a report beside them, and when to look again. Drivers perform
//! it and choose nothing. How it is made stands in `steps`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::command::Command;
use crate::kind::Kind;
use crate::object::{Object, Uid};
use crate::read::Target;
use crate::report::{Reason, Report, Step};

/// What to do now, in this order, one at a time. After a conflict or an unknown outcome the
/// rest is dropped and everything is read and planned again. After a command that ran and failed, or a write that
/// the API server refuses, only what counted on it is dropped ([`Plan::stands`]).
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a plan does nothing until it is executed"]
pub struct Plan {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// What every step found.
    pub report: Report,
    /// When to plan again even if nothing is seen to change.
    pub requeue: Option<Duration>,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// The step that wants it.
    pub step: Step,
    /// Why, for people: a few words that follow "because".
    pub reason: Reason,
    /// What is done.
    pub op: Op,
}

/// A resourceVersion that no object ever has: etcd counts from 1, and the first write makes it 2. A server-side apply that
/// names it creates what is not there, and answers with a conflict if it is (`ci/conformance/scripts/creation.yaml`). So
/// a write that was sent long ago by a dead operator can't change what was made since, under a name that is used again.
pub const NEVER: u64 = 1;

/// What a write does.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Server-side apply with our field manager and `force`. `object` holds exactly the fields that are
    /// ours; with a UID in its metadata it applies to that life of the object only, with a resourceVersion to that
    /// version, and with [`NEVER`] to none: it creates.
    Apply {
        /// The object.
        object: Arc<Object>,
    },
    /// Creates an object that must not exist yet; one that does answers with a conflict. For content that
    /// is drawn at random, so that a stale read can't overwrite what was drawn before.
    Create {
        /// The object.
        object: Arc<Object>,
    },
    /// Deletes one life of an object.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The life that may be deleted; another one answers with a conflict.
        uid: Uid,
        /// Only if unchanged since this version.
        resource_version: Option<u64>,
        /// What becomes of the objects that it owns.
        propagation: Propagation,
    },
    /// JSON merge patch of an object's metadata with its resourceVersion inside, so that a concurrent
    /// change answers with a conflict. For finalizers and for tokens on objects that we don't own.
    MergePatch {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The patch.
        patch: Value,
    },
    /// JSON merge patch of the status subresource; with the object's resourceVersion inside where it tells what was seen.
    Status {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The patch: `{"status": …}`, and `{"metadata": {"resourceVersion": …}}` if it is for that version alone.
        patch: Value,
    },
    /// Creates an Event; one that exists already is success.
    Event {
        /// The event.
        object: Arc<Object>,
    },
    /// Runs a command in a container.
    Exec {
        /// Where.
        target: Target,
        /// What.
        command: Command,
        /// How long it may take, in seconds.
        deadline_s: u32,
    },
}

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// They are collected after it.
    Background,
    /// They are collected before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Plan {
    /// Whether the write at an index records what the one before it did. It is sent however old the plan has
    /// become meanwhile, or a slow command would be run again for ever.
    #[must_use]
    pub fn records(&self, index: usize) -> bool {
        let before = index.checked_sub(1).and_then(|i| self.writes.get(i));
        before.is_some_and(|w| matches!(w.op, Op::Exec { .. }))
    }

    /// The write at an index, after those that left this trail. Three things are pinned to the version at which the
    /// plan itself left an object, so that they conflict when somebody else, a successor for example, has written it
    /// since: drawn content, to the very object that was created bare for it; a note on the cluster; and its status.
    #[must_use]
    pub fn op(&self, index: usize, trail: Trail) -> Cow<'_, Op> {
        let op = &self.writes[index].op;
        let before = index.checked_sub(1).map(|i| &self.writes[i].op);
        match (before, op) {
            (Some(Op::Create { object: bare }), Op::Apply { object })
                if (bare.kind, &bare.meta.name) == (object.kind, &object.meta.name) =>
            {
                let Some(version) = trail.last else { return Cow::Borrowed(op) };
                let mut object = (**object).clone();
                object.meta.resource_version = version;
                Cow::Owned(Op::Apply { object: Arc::new(object) })
            }
            (
                _,
                Op::MergePatch { kind: Kind::IvoryCluster, patch, .. }
                | Op::Status { kind: Kind::IvoryCluster, patch, .. },
            ) if !patch["metadata"]["resourceVersion"].is_null() => {
                let Some(version) = trail.cluster else { return Cow::Borrowed(op) };
                let mut pinned = op.clone();
                if let Op::MergePatch { patch, .. } | Op::Status { patch, .. } = &mut pinned {
                    patch["metadata"]["resourceVersion"] = version.to_string().into();
                }
                Cow::Owned(pinned)
            }
            _ => Cow::Borrowed(op),
        }
    }
}

/// At which versions the writes of a plan have left their objects so far, where that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    last: Option<u64>,
    cluster: Option<u64>,
}

impl Trail {
    /// A write is done; what it left, if it is an object that lives on.
    pub fn wrote(&mut self, left: Option<(Kind, u64)>) {
        self.last = left.map(|(_, version)| version);
        if let Some((Kind::IvoryCluster, version)) = left {
            self.cluster = Some(version);
        }
    }
}

impl Op {
    /// What it is about, for people: `Kind name`, or a command and its Pod.
    #[must_use]
    pub fn about(&self) -> String {
        match self {
            Op::Apply { object } | Op::Create { object } => {
                format!("{} {}", object.kind, object.meta.name)
            }
            Op::Event { object } => format!("Event {}", object.str_at(&["reason"]).unwrap_or("?")),
            Op::Delete { kind, name, .. }
            | Op::MergePatch { kind, name, .. }
            | Op::Status { kind, name, .. } => format!("{kind} {name}"),
            Op::Exec { target, command, .. } => {
                format!("{} in Pod {}", command.label(), target.pod)
            }
        }
    }

    /// Whether the same write may be sent again when nobody knows whether it arrived.
    #[must_use]
    pub fn repeatable(&self) -> bool {
        match self {
            Op::Apply { .. } | Op::Delete { .. } | Op::Status { .. } | Op::Event { .. } => true,
            Op::Create { .. } | Op::MergePatch { .. } => false,
            Op::Exec { command, .. } => command.repeatable(),
        }
    }
}

impl Command {
    /// Whether running it twice does what running it once does.
    #[must_use]
    pub fn repeatable(&self) -> bool {
        match self {
            Command::Databases { .. }
            | Command::Users { .. }
            | Command::ReplaceDynamicConfiguration { .. }
            | Command::StanzaCreate { .. }
            | Command::StanzaUpgrade { .. }
            | Command::BackupInfo
            | Command::ArchiveState
            | Command::ParameterState { .. }
            | Command::StandbyState
            | Command::VolumeState
            | Command::Checkpoint { .. }
            | Command::WalDirectory
            | Command::WalPlace { .. }
            | Command::InitSqlState { .. }
            | Command::SourceState { .. } => true,
            Command::Switchover { .. }
            | Command::Failover { .. }
            | Command::RestartPending { .. }
            | Command::StartInitSql { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{World, spec};

    #[test]
    fn what_was_drawn_goes_to_the_object_that_was_created_for_it_alone() {
        let plan = World::new(spec(1)).plan();
        let mut pinned = Vec::new();
        for (index, write) in plan.writes.iter().enumerate() {
            assert_eq!(plan.op(index, Trail::default()).as_ref(), &write.op, "nothing is known");
            let mut trail = Trail::default();
            trail.wrote(Some((Kind::Secret, 7)));
            match (plan.op(index, trail).as_ref(), &write.op) {
                (Op::Apply { object }, Op::Apply { object: planned }) if object != planned => {
                    assert_eq!(object.meta.resource_version, 7);
                    pinned.push(object.meta.name.to_string());
                }
                (op, planned) => assert_eq!(op, planned),
            }
        }
        assert_eq!(pinned, ["ivyo-root-cacert", "hippo-pguser-rhino"]);
    }
}
