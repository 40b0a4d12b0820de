//! A checker apart from the planner: it looks at every (Observed, Plan) and knows only what must never be.
//! In simulation any finding fails the run; in production a fatal one refuses the plan.

use std::fmt;
use std::sync::LazyLock;

use crate::grants::{self, Grant};
use crate::kind::Kind;
use crate::labels;
use crate::object::Object;
use crate::observed::Observed;
use crate::plan::{Op, Plan};
use crate::read::Read;

/// Something that must never be planned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// More than one instance would go down.
    TwoInstancesDown(Vec<String>),
    /// The Pod or workload of the leader would be deleted while others are there to take over.
    LeaderDeleted(String),
    /// A data volume would be deleted with fewer or as many volumes as instances wanted.
    VolumeDeletedWithoutRequest(String),
    /// An object of somebody else would be changed.
    NotOurs(String),
    /// A delete of an object that was never seen.
    DeleteUnseen(String),
    /// Instances would change while the reads about them are unknown.
    ChangedUnknown(String),
    /// Something but the cluster's own status would change while the cluster is paused.
    ActsWhilePaused(String),
    /// The operator's Role does not allow it.
    NotGranted(String),
    /// More writes than one plan may have.
    TooMany(usize),
}

/// One plan never writes more: 5 sets of 20 instances with 6 objects each, and the rest.
const WRITES_MAX: usize = 1000;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoInstancesDown(names) => {
                write!(f, "takes down {} at once", names.join(" and "))
            }
            Self::LeaderDeleted(name) => {
                write!(f, "deletes the leader {name} though others could lead")
            }
            Self::VolumeDeletedWithoutRequest(name) => {
                write!(f, "deletes volume {name}, which nobody asked for")
            }
            Self::NotOurs(name) => write!(f, "changes {name}, which belongs to somebody else"),
            Self::DeleteUnseen(name) => write!(f, "deletes {name}, which was not seen"),
            Self::ChangedUnknown(name) => write!(f, "changes {name} without knowing the instances"),
            Self::ActsWhilePaused(why) => write!(f, "acts while paused, because {why}"),
            Self::NotGranted(what) => write!(f, "does what the Role does not allow: {what}"),
            Self::TooMany(n) => write!(f, "has {n} writes, more than {WRITES_MAX}"),
        }
    }
}

/// Everything that is wrong with a plan.
#[must_use]
pub fn check(observed: &Observed, plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    if plan.writes.len() > WRITES_MAX {
        findings.push(Finding::TooMany(plan.writes.len()));
    }
    let deleting = observed.cluster.terminating();
    let paused = !deleting
        && observed.cluster.at(&["spec", "paused"]).and_then(serde_json::Value::as_bool)
            == Some(true);
    let (mut down, mut going) = (Vec::new(), Vec::new());
    for write in &plan.writes {
        findings.extend(beyond_the_role(&write.op));
        match &write.op {
            Op::Delete { kind, name, uid, .. } => {
                let seen = observed.find(*kind, name);
                let Read::Known(object) = seen else {
                    findings.push(Finding::DeleteUnseen(format!("{kind} {name}")));
                    continue;
                };
                if object.meta.uid != *uid {
                    findings.push(Finding::DeleteUnseen(format!("{kind} {name}")));
                }
                if foreign(observed, object) {
                    findings.push(Finding::NotOurs(format!("{kind} {name}")));
                }
                if !deleting {
                    deletion(observed, object, &mut down, &mut going, &mut findings);
                }
            }
            Op::Apply { object } => {
                if let Read::Known(live) = observed.find(object.kind, &object.meta.name)
                    && foreign(observed, live)
                {
                    findings
                        .push(Finding::NotOurs(format!("{} {}", object.kind, object.meta.name)));
                }
                let instance =
                    object.kind == Kind::StatefulSet && object.label(labels::INSTANCE).is_some();
                if instance && observed.labelled(Kind::PersistentVolumeClaim).is_unknown() {
                    findings.push(Finding::ChangedUnknown(object.meta.name.to_string()));
                }
            }
            Op::MergePatch { kind, name, .. } if *kind != Kind::IvoryCluster => {
                if let Read::Known(live) = observed.find(*kind, name)
                    && foreign(observed, live)
                {
                    findings.push(Finding::NotOurs(format!("{kind} {name}")));
                }
            }
            _ => {}
        }
        let own = match &write.op {
            Op::Status { .. } | Op::Event { .. } => true,
            Op::MergePatch { kind, .. } => *kind == Kind::IvoryCluster,
            _ => false,
        };
        if paused && !own {
            findings.push(Finding::ActsWhilePaused(write.reason.to_string()));
        }
    }
    if down.len() > 1 {
        findings.push(Finding::TwoInstancesDown(down));
    }
    findings
}

/// What of a write the generated Role does not cover.
fn beyond_the_role(op: &Op) -> impl Iterator<Item = Finding> {
    static GRANTED: LazyLock<Vec<Grant>> = LazyLock::new(grants::of_plans);
    let missing = grants::needs(op).into_iter().filter(|g| GRANTED.binary_search(g).is_err());
    missing.map(|g| Finding::NotGranted(format!("{} {}", g.verb, g.resource)))
}

fn deletion(
    observed: &Observed,
    object: &Object,
    down: &mut Vec<String>,
    going: &mut Vec<String>,
    findings: &mut Vec<Finding>,
) {
    let Some(instance) = object.label(labels::INSTANCE) else { return };
    match object.kind {
        Kind::Pod | Kind::StatefulSet => {
            let pods = observed.labelled(Kind::Pod);
            let pods = pods.known().copied().unwrap_or_default();
            let mine = |p: &&std::sync::Arc<Object>| p.label(labels::INSTANCE) == Some(instance);
            if pods.iter().any(|p| mine(&p)) && !down.iter().any(|d| d == instance) {
                down.push(instance.to_owned());
            }
            let leads = |p: &&std::sync::Arc<Object>| {
                p.label(labels::ROLE).is_some_and(labels::role::is_leader)
                    && p.condition_true("Ready")
                    && !p.terminating()
            };
            let others = pods
                .iter()
                .filter(|p| !mine(p) && p.label(labels::INSTANCE).is_some())
                .any(|p| p.condition_true("Ready"));
            // One that the API server no longer knows can neither go on nor hand over.
            let cut_off = |p: &std::sync::Arc<Object>| {
                let account = p.str_at(&["spec", "serviceAccountName"]).unwrap_or_default();
                let account = observed.find(Kind::ServiceAccount, account);
                account.known().is_some_and(|a| a.meta.created_at > p.meta.created_at)
            };
            if pods.iter().filter(mine).any(|p| leads(&p) && !cut_off(p)) && others {
                findings.push(Finding::LeaderDeleted(instance.to_owned()));
            }
        }
        Kind::PersistentVolumeClaim if object.label(labels::ROLE) == Some(labels::role::PGDATA) => {
            let set = object.label(labels::INSTANCE_SET);
            let claims = observed.labelled(Kind::PersistentVolumeClaim);
            let claims = claims.known().copied().unwrap_or_default();
            let claims = claims.iter().chain(observed.unlabelled(Kind::PersistentVolumeClaim));
            let here = claims.filter(|c| {
                c.label(labels::INSTANCE_SET) == set
                    && c.label(labels::ROLE) == Some(labels::role::PGDATA)
                    && !c.terminating()
                    && !going.contains(&c.meta.name.to_string())
            });
            let here = i64::try_from(here.count()).unwrap_or(0);
            going.push(object.meta.name.to_string());
            if here <= replicas(observed, set) {
                findings.push(Finding::VolumeDeletedWithoutRequest(object.meta.name.to_string()));
            }
        }
        _ => {}
    }
}

/// The replicas that the raw spec asks for of a set, read without the planner's own code.
fn replicas(observed: &Observed, set: Option<&str>) -> i64 {
    let sets = observed.cluster.at(&["spec", "instances"]).and_then(|s| s.as_array());
    let named = sets.into_iter().flatten().enumerate().find(|(index, s)| {
        let name = s.get("name").and_then(|n| n.as_str()).unwrap_or("");
        let name = if name.is_empty() { format!("{index:02}") } else { name.to_owned() };
        Some(&*name) == set
    });
    named.map_or(0, |(_, s)| s.get("replicas").and_then(serde_json::Value::as_i64).unwrap_or(1))
}

fn foreign(observed: &Observed, object: &Object) -> bool {
    object.controller().is_some_and(|o| {
        *o.uid != *observed.cluster.meta.uid && o.kind == Kind::IvoryCluster.name()
    })
}
