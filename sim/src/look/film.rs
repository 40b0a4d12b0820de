//! What is seen of a run while it is played: every object that changes, the members and the clients as they
//! really are, and the passes of the operator. It owns the looking; what a person is shown of it, others say.
//!
//! A world that nobody looks at pays one comparison an event. Looking changes nothing: a test compares digests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ivory_core::object::Object;
use ivory_core::{Kind, wake};

use crate::client::Client;
use crate::kube::{ChangeType, REMEMBERED};
use crate::operator::{Operator, Pass};
use crate::patroni::Member;
use crate::postgres::server::State;
use crate::time::{Span, Time};
use crate::world::{KubeId, Onlooker, World};

/// How often positions and rows are looked at while nothing else happens.
const SAMPLE: Span = Span::s(1);

/// An object at a moment.
#[derive(Clone, Debug)]
pub struct Shot {
    /// When it became so.
    pub at: Time,
    /// In which Kubernetes.
    pub kube: KubeId,
    /// What happened to it.
    pub what: ChangeType,
    /// The object after it; for a deletion, as it was last.
    pub object: Arc<Object>,
    /// Who wrote: the field managers whose entries changed.
    pub by: BTreeSet<Arc<str>>,
}

/// Which member: Kubernetes, namespace, Pod.
pub type MemberKey = (KubeId, Arc<str>, Arc<str>);

/// What a member does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Its PostgreSQL accepts writes.
    Leads,
    /// It follows another cluster, and the members here follow it.
    StandbyLeader,
    /// It follows, and accepts readers.
    Follows,
    /// PostgreSQL starts.
    Starts,
    /// PostgreSQL stops.
    Stops,
    /// Patroni runs without PostgreSQL: it waits, makes the first database or copies one.
    Prepares,
    /// No Patroni runs.
    Gone,
}

/// A member at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberState {
    /// What it does.
    pub role: Role,
    /// The timeline of its newest log record; 0 without data.
    pub timeline: u32,
    /// Where its log ends, in bytes; 0 without data.
    pub end: u64,
}

/// A member, and how it was from a moment on.
#[derive(Clone, Debug, Default)]
pub struct MemberTrack {
    /// The cluster.
    pub cluster: Arc<str>,
    /// From when on it was so.
    pub states: Vec<(Time, MemberState)>,
}

/// A client, and what of it was seen.
#[derive(Clone, Debug)]
pub struct ClientTrack {
    /// When it began.
    pub from: Time,
    /// When it was stopped.
    pub to: Option<Time>,
    /// How many rows were acknowledged up to a moment.
    pub rows: Vec<(Time, u64)>,
}

/// Everything seen.
#[derive(Clone, Debug, Default)]
pub struct Film {
    /// Objects, in the order of their changes; those that were there at first come first.
    pub shots: Vec<Shot>,
    /// Members.
    pub members: BTreeMap<MemberKey, MemberTrack>,
    /// Clients by name.
    pub clients: BTreeMap<Arc<str>, ClientTrack>,
    /// Passes that wrote something, or found something else than the one before.
    pub passes: Vec<(KubeId, Arc<Pass>)>,
    /// From when on the operator of a Kubernetes ran, or did not.
    pub operators: Vec<(Time, KubeId, bool)>,
    versions: BTreeMap<KubeId, u64>,
    plans: BTreeMap<KubeId, u64>,
    told: usize,
    sampled: Option<Time>,
}

/// Begins to film a world from here on.
///
/// # Panics
/// The film's lock is never poisoned: whoever holds it does not panic.
pub fn begin(world: &mut World) -> Arc<Mutex<Film>> {
    let mut film = Film::default();
    let kubes: Vec<KubeId> = world.kube_ids().collect();
    for id in kubes {
        world.kube_mut(id).history = REMEMBERED;
        let api = &world.kube(id).api;
        for &kind in Kind::ALL.iter().filter(|kind| shown(**kind)) {
            film.shots.extend(api.list(kind, None).map(|object| Shot {
                at: world.now(),
                kube: id,
                what: ChangeType::Added,
                object: object.clone(),
                by: BTreeSet::new(),
            }));
        }
        film.versions.insert(id, api.resource_version());
    }
    film.look(world);
    let film = Arc::new(Mutex::new(film));
    let eye = film.clone();
    world.onlooker = Onlooker::new(move |world| {
        if let Ok(mut film) = eye.lock() {
            film.look(world);
        }
    });
    film
}

/// Whether objects of a kind are shown. A lease is nothing but a heartbeat; definitions never change.
fn shown(kind: Kind) -> bool {
    !matches!(kind, Kind::Lease | Kind::CustomResourceDefinition)
}

impl Film {
    fn look(&mut self, world: &World) {
        let mut news = self.told != world.journal().len();
        self.told = world.journal().len();
        for kube in world.kube_ids() {
            news |= self.changes(world, kube);
            self.operator(world, kube);
        }
        let now = world.now();
        if news || self.sampled.is_none_or(|last| now - last >= SAMPLE) {
            self.sampled = Some(now);
            self.processes(world);
        }
    }

    fn changes(&mut self, world: &World, kube: KubeId) -> bool {
        let api = &world.kube(kube).api;
        let from = self.versions.insert(kube, api.resource_version()).unwrap_or_default();
        if from == api.resource_version() {
            return false;
        }
        let before = self.shots.len();
        let changes = api.changes_since(from, None).into_iter().flatten();
        for change in changes.filter(|change| shown(change.object.kind)) {
            if let Some(old) = &change.old
                && change.what == ChangeType::Modified
                && matches!(change.object.kind, Kind::Pod | Kind::Endpoints)
                && !wake::matters(old, &change.object)
            {
                continue;
            }
            self.shots.push(Shot {
                at: world.now(),
                kube,
                what: change.what,
                object: change.object.clone(),
                by: writers(change.old.as_deref(), &change.object),
            });
        }
        self.shots.len() > before
    }

    fn operator(&mut self, world: &World, kube: KubeId) {
        let operator = world.find(kube, crate::lab::OPERATOR);
        let operator = operator.and_then(|id| world.actor::<Operator>(id));
        let runs = operator.is_some();
        let last = self.operators.iter().rev().find(|(_, k, _)| *k == kube);
        if last.is_none_or(|(_, _, ran)| *ran != runs) {
            self.operators.push((world.now(), kube, runs));
        }
        let Some(operator) = operator else {
            self.plans.remove(&kube);
            return;
        };
        if self.plans.insert(kube, operator.plans) == Some(operator.plans) {
            return;
        }
        let Some(pass) = &operator.last else { return };
        let mut before =
            self.passes.iter().rev().filter(|(k, p)| *k == kube && p.cluster == pass.cluster);
        let same = before.next().is_some_and(|(_, p)| p.plan.report == pass.plan.report);
        if !same || !pass.plan.writes.is_empty() {
            self.passes.push((kube, pass.clone()));
        }
    }

    fn processes(&mut self, world: &World) {
        let now = world.now();
        let mut alive = BTreeSet::new();
        let mut clients = BTreeSet::new();
        for (_, kube, actor) in world.actors() {
            if let Some(member) = actor.any().downcast_ref::<Member>() {
                let config = member.config();
                let key = (kube, config.namespace.clone(), config.name.clone());
                let state = state_of(world, kube, member);
                let track = self.members.entry(key.clone()).or_default();
                let cluster = config.scope.strip_suffix("-ha").unwrap_or(&config.scope);
                if *track.cluster != *cluster {
                    track.cluster = cluster.into();
                }
                track.see(now, state);
                alive.insert(key);
            } else if let Some(client) = actor.any().downcast_ref::<Client>() {
                let name = client.name_of_rows().clone();
                let fresh = || ClientTrack { from: now, to: None, rows: Vec::new() };
                let track = self.clients.entry(name.clone()).or_insert_with(fresh);
                let rows = client.acked().len();
                track.to = None;
                if track.rows.last().is_none_or(|(_, r)| *r != rows) {
                    track.rows.push((now, rows));
                }
                clients.insert(name);
            }
        }
        for (key, track) in &mut self.members {
            if !alive.contains(key) {
                let (timeline, end) =
                    track.states.last().map_or((0, 0), |(_, s)| (s.timeline, s.end));
                track.see(now, MemberState { role: Role::Gone, timeline, end });
            }
        }
        for (name, track) in &mut self.clients {
            if !clients.contains(name) {
                track.to.get_or_insert(now);
            }
        }
    }
}

impl MemberTrack {
    fn see(&mut self, now: Time, state: MemberState) {
        if self.states.last().is_none_or(|(_, last)| *last != state) {
            self.states.push((now, state));
        }
    }
}

fn state_of(world: &World, kube: KubeId, member: &Member) -> MemberState {
    let config = member.config();
    let volume = world.kube(kube).volume(member.volume());
    let data = volume.and_then(|v| v.directories.get(&config.directory));
    let role = match member.postgres().state {
        State::Primary => Role::Leads,
        State::Standby if member.standby_leader(world.now()) => Role::StandbyLeader,
        State::Standby => Role::Follows,
        State::Starting => Role::Starts,
        State::Stopping => Role::Stops,
        State::Down => Role::Prepares,
    };
    MemberState { role, timeline: data.map_or(0, |d| d.timeline), end: data.map_or(0, |d| d.end) }
}

/// The field managers whose entries differ.
fn writers(old: Option<&Object>, new: &Object) -> BTreeSet<Arc<str>> {
    let before = old.map_or(&[][..], |o| o.meta.managed.as_slice());
    let changed = new.meta.managed.iter().filter(|entry| !before.contains(entry));
    changed.map(|entry| entry.manager.clone()).collect()
}
