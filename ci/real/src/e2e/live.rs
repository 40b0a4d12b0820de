//! The cluster as it is now: a copy of every object of our kinds, kept by watches, and what their changes
//! tell. It decides nothing; whether a story may go on is the player's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use ivory_core::{Kind, Object};
use ivory_sim::scenario::resolve::Ref;
use ivory_sim::time::{Span, Time};
use ivory_sim::world::KubeId;
use ivory_sim::world::journal::{Entry, Milestone};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::changes;
use super::operator_log::{NEAR, OPERATOR};

/// Entries are told once this old: those of the operator's log arrive later than those of the watches, and
/// the story is told in order.
const SETTLED: Span = Span::ms(700);

/// Everything that is known of the cluster.
pub(crate) struct Live {
    /// The API server.
    pub(crate) client: Client,
    /// The only namespace whose objects are kept, beside the operator's Pods; none: all.
    only: Option<String>,
    state: Mutex<State>,
    /// Whether a watch ended and no list has come since.
    away: AtomicBool,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Ref, Arc<Object>>,
    /// Grows with every change.
    version: u64,
    /// When the story began.
    begun: Timestamp,
    /// What happened and is not told yet.
    pending: Vec<Entry>,
    /// When an object (`Kind name`) last appeared, until a line of the operator's log claims it.
    appeared: BTreeMap<String, Time>,
    /// When a line of the operator's log last said that it made an object.
    claimed: BTreeMap<String, Time>,
    /// Kinds whose first list has come.
    synced: BTreeSet<Kind>,
    /// How many requests the operator had sent, and when that was read.
    requests: Vec<(Time, u64)>,
}

impl Live {
    /// Begins to watch every kind, in one namespace or in all, and waits until all have been listed.
    ///
    /// # Errors
    /// When they have not been after a minute.
    pub(crate) async fn watch(client: Client, only: Option<String>) -> anyhow::Result<Arc<Self>> {
        let away = AtomicBool::new(false);
        let live = Arc::new(Self { client, only, state: Mutex::default(), away });
        for &kind in Kind::ALL {
            tokio::spawn(follow(live.clone(), kind));
        }
        for _ in 0..600 {
            if live.state().synced.len() == Kind::ALL.len() {
                return Ok(live);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let synced = live.state().synced.clone();
        let missing: Vec<&str> =
            Kind::ALL.iter().filter(|k| !synced.contains(k)).map(|k| k.name()).collect();
        anyhow::bail!("could not be listed within a minute: {}", missing.join(", "))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A story begins: time is counted from here, and nothing has happened yet.
    pub(crate) fn begin(&self) {
        let mut state = self.state();
        state.begun = Timestamp::now();
        state.pending.clear();
        state.appeared.clear();
        state.claimed.clear();
        state.requests.clear();
    }

    /// A moment as the story counts time.
    pub(crate) fn time(&self, at: Timestamp) -> Time {
        let since = at.as_microsecond() - self.state().begun.as_microsecond();
        Time::START + Span::us(since)
    }

    /// Now, as the story counts time.
    pub(crate) fn now(&self) -> Time {
        self.time(Timestamp::now())
    }

    /// One object.
    pub(crate) fn get(&self, r: &Ref) -> Option<Arc<Object>> {
        self.state().objects.get(r).cloned()
    }

    /// All objects of a kind, in the order of their names.
    pub(crate) fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let state = self.state();
        let all = state.objects.iter().filter(|(r, _)| r.kind == kind);
        let of = all.filter(|(r, _)| namespace.is_none_or(|n| n == r.namespace));
        of.map(|(_, o)| o.clone()).collect()
    }

    /// A number that grows with every change.
    pub(crate) fn version(&self) -> u64 {
        self.state().version
    }

    /// Whether a write of an object (`Kind name`) at a moment is what made it: the object appeared then, or it was
    /// `missing` as the operator says, and no watch has told yet. True once for each object.
    pub(crate) fn claim(&self, object: &str, at: Time, missing: bool) -> bool {
        let mut state = self.state();
        let near = |time: Option<&Time>| time.is_some_and(|time| (*time - at).0.abs() < NEAR.0);
        let appeared = near(state.appeared.get(object));
        // Said twice, it is a cache of the operator's that was behind.
        if !appeared && (!missing || near(state.claimed.get(object))) {
            return false;
        }
        state.appeared.remove(object);
        state.claimed.insert(object.to_owned(), at);
        true
    }

    /// Something happened.
    pub(crate) fn note(&self, at: Time, actor: &str, what: Milestone) {
        self.state().pending.push(Entry { at, kube: KubeId(0), actor: actor.into(), what });
    }

    /// The operator has sent so many requests by now.
    pub(crate) fn counted(&self, requests: u64) {
        let now = self.now();
        self.state().requests.push((now, requests));
    }

    /// How many requests the operator had sent, and when that was read, since the story began.
    pub(crate) fn requests(&self) -> Vec<(Time, u64)> {
        self.state().requests.clone()
    }

    /// What happened and may be told, in order; everything if the story is over.
    pub(crate) fn settled(&self, over: bool) -> Vec<Entry> {
        let until = self.now() + Span(-SETTLED.0);
        let mut state = self.state();
        state.pending.sort_by_key(|e| e.at);
        let count = state.pending.partition_point(|e| over || e.at <= until);
        state.pending.drain(..count).collect()
    }

    /// Whether a namespace is looked at; what has none is.
    pub(crate) fn concerns(&self, namespace: &str) -> bool {
        namespace.is_empty() || self.only.as_deref().is_none_or(|only| only == namespace)
    }

    fn keeps(&self, object: &Object) -> bool {
        self.concerns(&object.meta.namespace) || object.label(OPERATOR.0) == Some(OPERATOR.1)
    }

    fn put(&self, new: Object) {
        if !self.keeps(&new) {
            return;
        }
        let now = self.now();
        let r = reference(&new);
        let new = Arc::new(new);
        // A list after a watch that was cut tells late of what was made meanwhile; the object itself says when, to
        // the second.
        let said = new.meta.created_at.map(|at| self.time(at));
        let made = said.filter(|said| now - *said > NEAR).unwrap_or(now);
        let mut state = self.state();
        let old = state.objects.insert(r.clone(), new.clone());
        state.version += 1;
        if old.as_ref().is_none_or(|o| o.meta.uid != new.meta.uid) {
            let name = format!("{} {}", r.kind, r.name);
            let told = state.claimed.get(&name).is_some_and(|at| (made - *at).0.abs() < NEAR.0);
            if !told {
                state.appeared.insert(name, made);
            }
        }
        let told = changes::between(old.as_deref(), &new);
        state.pending.extend(told.into_iter().map(|(actor, what)| Entry {
            at: now,
            kube: KubeId(0),
            actor,
            what,
        }));
    }

    fn remove(&self, r: &Ref) {
        let now = self.now();
        let mut state = self.state();
        let Some(old) = state.objects.remove(r) else { return };
        state.version += 1;
        if let Some((actor, what)) = changes::gone(&old) {
            state.pending.push(Entry { at: now, kube: KubeId(0), actor, what });
        }
    }

    /// A whole list came: what is not in it is gone.
    fn replace(&self, kind: Kind, all: Vec<Object>) {
        let all: Vec<Object> = all.into_iter().filter(|o| self.keeps(o)).collect();
        let present: BTreeSet<Ref> = all.iter().map(reference).collect();
        let known: Vec<Ref> =
            self.state().objects.keys().filter(|r| r.kind == kind).cloned().collect();
        known.iter().filter(|r| !present.contains(r)).for_each(|r| self.remove(r));
        all.into_iter().for_each(|o| self.put(o));
        self.state().synced.insert(kind);
    }
}

/// Kind, namespace and name.
pub(crate) fn reference(object: &Object) -> Ref {
    Ref {
        kind: object.kind,
        namespace: object.meta.namespace.to_string(),
        name: object.meta.name.to_string(),
    }
}

/// Requests about a kind; an empty namespace means all, or none for kinds that have none.
pub(crate) fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: kind.group().into(),
        version: kind.version().into(),
        api_version: kind.api_version().into(),
        kind: kind.name().into(),
        plural: kind.plural().into(),
    };
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// An object as it came over the wire, in core's type. Items of lists don't say their kind, so it is given.
pub(crate) fn object(kind: Kind, wire: &DynamicObject) -> anyhow::Result<Object> {
    let mut value = serde_json::to_value(wire)?;
    if let Value::Object(map) = &mut value {
        map.insert("apiVersion".into(), kind.api_version().into());
        map.insert("kind".into(), kind.name().into());
    }
    Ok(Object::from_value(value)?)
}

async fn follow(live: Arc<Live>, kind: Kind) {
    loop {
        // A watch that ended begins again with a list, after a moment.
        if let Err(error) = follow_once(&live, kind).await {
            // An API server that is away is told of once, not once for each kind and try.
            if !live.away.swap(true, Ordering::Relaxed) {
                eprintln!("  watches ended and begin again, {kind} first: {error:#}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn follow_once(live: &Live, kind: Kind) -> anyhow::Result<()> {
    let api = api(&live.client, kind, "");
    let list = api.list(&ListParams::default()).await?;
    live.away.store(false, Ordering::Relaxed);
    let mut version = list.metadata.resource_version.clone().unwrap_or_default();
    let all = list.items.iter().map(|o| object(kind, o)).collect::<anyhow::Result<_>>()?;
    live.replace(kind, all);
    loop {
        let mut stream = Box::pin(api.watch(&WatchParams::default(), &version).await?);
        while let Some(event) = stream.try_next().await? {
            match event {
                WatchEvent::Added(wire) | WatchEvent::Modified(wire) => {
                    version = wire.resource_version().unwrap_or(version);
                    live.put(object(kind, &wire)?);
                }
                WatchEvent::Deleted(wire) => {
                    version = wire.resource_version().unwrap_or(version);
                    live.remove(&reference(&object(kind, &wire)?));
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                // The version is too old to go on from: list again.
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
            }
        }
    }
}
