//! Worlds and messages in which a promise is broken on purpose, for the tests of the checkers.

use std::sync::{Arc, OnceLock};

use ivory_core::context::Context;
use ivory_core::memo::Memos;
use ivory_core::object::Object;
use ivory_core::observed::Observed;
use ivory_core::read::Read;
use ivory_core::{Kind, labels, plan, steps};
use serde_json::Value;

use super::Checker;
use super::seen::{Log, Looks, Pass, Plan, Plans, Seen, Write, Writes};
use crate::kube::{Body, DeleteOptions, ObjectRef, Request, Subresource, Verb};
use crate::lab::NAMESPACE;
use crate::lab::steady::{planning, steady};
use crate::patroni::Member;
use crate::time::Time;
use crate::world::{Finding, KubeId, World};

/// The cluster of the worlds here.
pub const CLUSTER: &str = "hippo0";
pub const KUBE: KubeId = KubeId(0);

/// A world with a ready cluster of three.
pub fn ready() -> World {
    static READY: OnceLock<World> = OnceLock::new();
    READY.get_or_init(|| steady(1, 3).world).clone()
}

/// What a checker finds.
pub fn found(now: Time, ask: impl FnOnce(&mut Log<'_>)) -> Vec<String> {
    let (mut findings, mut looks, mut alarm) = (Vec::<Finding>::new(), Looks::default(), None);
    let (findings_, looks, alarm) = (&mut findings, &mut looks, &mut alarm);
    ask(&mut Log { now, findings: findings_, looks, alarm });
    findings.into_iter().map(|f| f.text).collect()
}

/// The world with nothing new in it.
pub fn seen<'a>(world: &'a World, plans: &'a Plans) -> Seen<'a> {
    Seen::new(world, &[], &[], plans)
}

/// A write of this request.
pub fn writes<'a>(world: &'a World, request: &'a Request, plans: &'a Plans) -> Write<'a> {
    Write { world, kube: KUBE, what: Writes::Request(request), plans }
}

/// The last plan was made of the cluster as it is.
pub fn plans(world: &World, paused: bool) -> Plans {
    let cluster = the(world, Kind::IvoryCluster, CLUSTER);
    let plan = Plan {
        at: world.now(),
        generation: cluster.meta.generation,
        paused,
        waits: Default::default(),
        pods: Default::default(),
    };
    [((KUBE, NAMESPACE.into(), CLUSTER.into()), plan)].into()
}

/// What a plan is made of, and the plan.
pub struct Planning {
    pub observed: Observed,
    pub context: Context,
    memos: Memos,
    pub plan: plan::Plan,
}

impl Planning {
    /// Of a cluster at rest.
    pub fn at_rest() -> Self {
        Self::of(planning())
    }

    /// Of one whose Services with a role are missing.
    pub fn without_services() -> Self {
        let (mut observed, context) = planning();
        for read in observed.objects.values_mut() {
            if let Read::Known(list) = read {
                list.retain(|o| o.kind != Kind::Service || o.label(labels::ROLE).is_none());
            }
        }
        Self::of((observed, context))
    }

    fn of((observed, context): (Observed, Context)) -> Self {
        let memos = Memos::default();
        let plan = steps::plan(&observed, &context, &mut memos.clone());
        Self { observed, context, memos, plan }
    }

    /// What a checker finds if this plan is the one that was made of it.
    pub fn found(&self, checker: &mut impl Checker, plan: &plan::Plan) -> Vec<String> {
        let (observed, context, memos) = (&self.observed, &self.context, &self.memos);
        let pass = Pass { at: Time::START, kube: KUBE, observed, context, plan, memos };
        found(Time::START, |log| checker.pass(&pass, log))
    }
}

/// An object of the world.
pub fn the(world: &World, kind: Kind, name: &str) -> Arc<Object> {
    world.kube(KUBE).api.get(kind, NAMESPACE, name).expect("it is there").clone()
}

/// All members, the writable one first.
pub fn members(world: &World) -> Vec<&Member> {
    let all = world.actors().filter_map(|(_, _, actor)| actor.any().downcast_ref::<Member>());
    let mut all: Vec<&Member> = all.collect();
    all.sort_by_key(|m| !m.writable());
    all
}

/// The deletion of one life of an object, as the operator asks for it.
pub fn deletion(object: &Object) -> Request {
    let options = DeleteOptions { uid: Some(object.meta.uid.clone()), ..DeleteOptions::default() };
    Request::new("operator", Verb::Delete { target: ObjectRef::of(object), options })
}

/// A JSON merge patch.
pub fn patch(object: &Object, subresource: Subresource, patch: Value) -> Request {
    let body = Body::Merge(Arc::new(patch));
    Request::new("operator", Verb::Patch { target: ObjectRef::of(object), subresource, body })
}

/// Does what is asked, at once and unseen.
pub fn done(world: &mut World, request: &Request) {
    let now = world.now().timestamp();
    let answer = world.kube_mut(KUBE).api.handle(now, &mut || 77, request);
    answer.expect("it is granted");
}
