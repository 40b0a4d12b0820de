//! What checkers are shown at each moment, and how they tell what they found.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::command::Command;
use ivory_core::object::Object;
use ivory_core::read::Target;
use ivory_core::{Kind, labels, names};

use serde_json::Value;

use super::Promise;
use crate::kube::{Body, Change, ObjectRef, Request, Verb};
use crate::patroni::Member;
use crate::time::{Span, Time};
use crate::world::journal::Entry;
use crate::world::{Finding, KubeId, Planned, World};

/// How often each promise was looked at, by its number less one.
pub type Looks = [u64; 16];

/// How a checker tells what it found.
pub struct Log<'a> {
    pub(super) now: Time,
    pub(super) findings: &'a mut Vec<Finding>,
    pub(super) looks: &'a mut Looks,
    pub(super) alarm: &'a mut Option<Time>,
}

impl Log<'_> {
    /// It looked.
    pub fn looked(&mut self, promise: &Promise) {
        promise.count(self.looks);
    }

    /// It saw the promise broken. The same is told once.
    pub fn broken(&mut self, promise: &Promise, text: String) {
        let same = |f: &Finding| f.promise == promise.number && f.text == text;
        if !self.findings.iter().any(same) {
            self.findings.push(Finding { promise: promise.number, at: self.now, text });
        }
    }

    /// It wants to look again at this time at the latest.
    pub fn wake(&mut self, at: Time) {
        *self.alarm = Some(self.alarm.map_or(at, |alarm| alarm.min(at)));
    }
}

/// Namespace and name of a cluster in a Kubernetes.
pub type Cluster = (KubeId, Arc<str>, Arc<str>);

/// By what a cluster is known here.
#[must_use]
pub fn key(kube: KubeId, cluster: &Object) -> Cluster {
    (kube, cluster.meta.namespace.clone(), cluster.meta.name.clone())
}

/// Whether a switch of a cluster's spec is on.
#[must_use]
pub fn switched(cluster: &Object, name: &str) -> bool {
    cluster.at(&["spec", name]).and_then(Value::as_bool) == Some(true)
}

/// The members of clusters.
type Members<'a> = BTreeMap<(KubeId, &'a str, &'a str), Vec<&'a Member>>;

/// What an operator last planned for each cluster, as far as checkers ask.
pub type Plans = BTreeMap<Cluster, Plan>;

/// What a plan was made of, as far as checkers ask.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When it was made.
    pub at: Time,
    /// The generation of the spec that it was made of.
    pub generation: i64,
    /// Whether the cluster was paused.
    pub paused: bool,
    /// What its steps wait for, in words, and since when.
    pub waits: BTreeMap<String, Time>,
    /// The versions of the cluster's Pods that it was made of, by name.
    pub pods: BTreeMap<Arc<str>, u64>,
}

/// The world after an event.
pub struct Seen<'a> {
    /// The world.
    pub world: &'a World,
    /// What was written into the journal since the last look.
    pub news: &'a [Entry],
    /// What changed since the last look, of what checkers follow.
    pub changes: &'a [(KubeId, Change)],
    /// The last plans.
    pub plans: &'a Plans,
    members: OnceCell<Members<'a>>,
}

impl<'a> Seen<'a> {
    /// The world with what is new in it.
    #[must_use]
    pub fn new(
        world: &'a World,
        news: &'a [Entry],
        changes: &'a [(KubeId, Change)],
        plans: &'a Plans,
    ) -> Self {
        Self { world, news, changes, plans, members: OnceCell::new() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// The living members of a cluster. Every actor of the world is looked at once, however many clusters there are.
    pub fn members<'b>(
        &'b self,
        kube: KubeId,
        namespace: &'b str,
        cluster: &'b str,
    ) -> &'b [&'b Member] {
        let all: &Members<'b> = self.members.get_or_init(|| {
            let mut all = Members::new();
            let suffix = names::scope("");
            for (_, kube, actor) in self.world.actors() {
                if let Some(member) = actor.any().downcast_ref::<Member>() {
                    let config = member.config();
                    let cluster = config.scope.strip_suffix(&*suffix).unwrap_or(&config.scope);
                    all.entry((kube, &*config.namespace, cluster)).or_default().push(member);
                }
            }
            all
        });
        all.get(&(kube, namespace, cluster)).map_or(&[], Vec::as_slice)
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = (KubeId, &'a Arc<Object>)> {
        let world = self.world;
        world.kube_ids().flat_map(move |kube| {
            world.kube(kube).api.list(Kind::IvoryCluster, None).map(move |c| (kube, c))
        })
    }
}

/// A write of the operator, before it takes effect.
pub struct Write<'a> {
    /// The world as it is.
    pub world: &'a World,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// What is written.
    pub what: Writes<'a>,
    /// The last plans.
    pub plans: &'a Plans,
}

/// What is written.
#[derive(Clone, Copy)]
pub enum Writes<'a> {
    /// A request to the API server that changes something.
    Request(&'a Request),
    /// A command in a container, and how long it may take.
    Exec(&'a Target, &'a Command, Span),
}

impl Writes<'_> {
    /// Whether it is a command that restarts an instance or makes another one lead.
    #[must_use]
    pub fn disrupts(&self) -> bool {
        use Command::{Failover, RestartPending, Switchover};
        matches!(
            self,
            Self::Exec(_, Switchover { .. } | Failover { .. } | RestartPending { .. }, _)
        )
    }
}

impl<'a> Write<'a> {
    /// The object that a request is about, as it is now.
    #[must_use]
    pub fn live(&self) -> Option<&'a Arc<Object>> {
        let (kind, namespace, name) = self.target()?;
        self.get(kind, namespace, name)
    }

    /// Another object of the same Kubernetes.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'a Arc<Object>> {
        self.world.kube(self.kube).api.get(kind, namespace, name)
    }

    /// The object that a request is about.
    #[must_use]
    pub fn target(&self) -> Option<(Kind, &'a str, &'a str)> {
        let of = |o: &'a Object| (o.kind, &*o.meta.namespace, &*o.meta.name);
        let to = |r: &'a ObjectRef| (r.kind, &*r.namespace, &*r.name);
        match self.what {
            Writes::Request(request) => match &request.verb {
                Verb::Create(object) | Verb::Update { object, .. } => Some(of(object)),
                Verb::Patch { target, .. }
                | Verb::Delete { target, .. }
                | Verb::Evict { target, .. } => Some(to(target)),
                _ => None,
            },
            Writes::Exec(target, ..) => Some((Kind::Pod, &target.namespace, &target.pod)),
        }
    }

    /// Whether the API server will refuse it: the object is gone, or not the one or of the version that it names.
    #[must_use]
    pub fn refused(&self) -> bool {
        let Writes::Request(request) = self.what else { return false };
        let (uid, version) = match &request.verb {
            Verb::Delete { options, .. } | Verb::Evict { options, .. } => {
                (options.uid.as_deref(), options.resource_version)
            }
            Verb::Patch { body: Body::Merge(patch), .. } => {
                let meta = &patch["metadata"];
                let version = meta["resourceVersion"].as_str().and_then(|v| v.parse().ok());
                (meta["uid"].as_str(), version)
            }
            _ => return false,
        };
        self.live().is_none_or(|live| {
            uid.is_some_and(|uid| *uid != *live.meta.uid)
                || version.is_some_and(|v| v != live.meta.resource_version)
        })
    }

    /// What it takes away, if it is a deletion that will be done, of an object that is not going already.
    #[must_use]
    pub fn deletes(&self) -> Option<&'a Arc<Object>> {
        let Writes::Request(request) = self.what else { return None };
        let (Verb::Delete { .. } | Verb::Evict { .. }) = &request.verb else { return None };
        self.live().filter(|live| !self.refused() && !live.terminating())
    }

    /// The living cluster that an object bears the label of; none while that is being deleted.
    #[must_use]
    pub fn cluster_of(&self, object: &Object) -> Option<&'a Arc<Object>> {
        let cluster = object.label(labels::CLUSTER)?;
        let cluster = self.get(Kind::IvoryCluster, &object.meta.namespace, cluster)?;
        (!cluster.terminating()).then_some(cluster)
    }

    /// What it does, in words.
    #[must_use]
    pub fn text(&self) -> String {
        match self.what {
            Writes::Exec(target, command, _) => {
                format!("{} in Pod {}", command.label(), target.pod)
            }
            Writes::Request(request) => {
                let verb = match &request.verb {
                    Verb::Create(_) => "create",
                    Verb::Update { .. } => "update",
                    Verb::Patch { .. } => "patch",
                    Verb::Delete { .. } => "delete",
                    Verb::Evict { .. } => "evict",
                    _ => "ask for",
                };
                let (kind, _, name) = self.target().unwrap_or((Kind::Event, "", "something"));
                format!("{verb} {kind} {name}")
            }
        }
    }
}

/// A plan of the operator.
pub type Pass<'a> = Planned<'a>;
