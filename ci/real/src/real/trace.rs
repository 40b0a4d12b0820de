//! What happens in a cluster, as tracks: each is one thing that has one value at a time. They are read from what is
//! written into the API, and from the servers themselves; the same for both sides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ivory_core::object::Object;
use ivory_core::patroni::dcs::{Config, Leader};
use ivory_core::{Kind, labels, names};
use ivory_face::Living;
use ivory_sim::kube::ChangeType;
use ivory_sim::time::Time;
use serde_json::Value;

use super::cluster::{NAME, NAMESPACE};

/// How often the API is looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(40);
/// Stands for no value.
pub(super) const NONE: &str = "-";

/// What a track is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum What {
    /// The holder of the leader's key.
    Key,
    /// Where the leader's Endpoints lead.
    Address,
    /// How often the key changed hands.
    Transitions,
    /// Whether the cluster is initialized.
    Initialize,
    /// The last timeline that ended.
    History,
    /// The role's label of a Pod.
    Label,
    /// What PostgreSQL of a member does.
    Postgres,
    /// What a member says of itself; too fleeting to be compared.
    Status,
}

/// A track: of the cluster, or of one member.
pub(super) type Track = (What, Option<String>);

/// A track took a value.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Seconds of the side's own clock.
    pub(super) at: f64,
    pub(super) track: Track,
    pub(super) value: String,
}

/// All that happened so far on one side.
#[derive(Clone)]
pub(super) struct Log {
    living: Arc<Living>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    now: BTreeMap<Track, String>,
    renewed: f64,
    renewal: Option<String>,
}

impl Log {
    /// Begins to read what is written into the API.
    pub(super) fn new(living: Arc<Living>, addresses: BTreeMap<String, String>) -> Self {
        let log = Self { living, inner: Arc::default() };
        tokio::spawn(log.clone().follow(addresses));
        log
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seconds of this side's clock.
    pub(super) fn clock(&self) -> f64 {
        Time::from(self.living.now()).seconds()
    }

    /// A track has a value, from now on if it had another one.
    pub(super) fn set(&self, track: Track, value: &str) {
        let at = self.clock();
        self.with(|inner| {
            if inner.now.get(&track).is_none_or(|old| old != value) {
                inner.now.insert(track.clone(), value.to_owned());
                inner.events.push(Event { at, track, value: value.to_owned() });
            }
        });
    }

    /// The value of a track now.
    pub(super) fn get(&self, what: What, member: Option<&str>) -> String {
        let track = (what, member.map(str::to_owned));
        self.with(|inner| inner.now.get(&track).cloned()).unwrap_or_else(|| NONE.to_owned())
    }

    /// The members of which a track has a value.
    pub(super) fn who(&self, what: What, value: &str) -> Vec<String> {
        let is = |(track, now): (&Track, &String)| {
            (track.0 == what && now == value).then(|| track.1.clone()).flatten()
        };
        self.with(|inner| inner.now.iter().filter_map(is).collect())
    }

    /// When the leader's key was renewed last.
    pub(super) fn renewed(&self) -> f64 {
        self.with(|inner| inner.renewed)
    }

    pub(super) fn len(&self) -> usize {
        self.with(|inner| inner.events.len())
    }

    /// The events from a place on.
    pub(super) fn since(&self, from: usize) -> Vec<Event> {
        self.with(|inner| inner.events[from..].to_vec())
    }

    async fn follow(self, addresses: BTreeMap<String, String>) {
        let mut seen = 1;
        loop {
            let (news, version) = self.living.with(|world, kube| {
                let api = &world.kube(kube).api;
                let changes = api.changes_since(seen, None).map(|c| c.cloned().collect::<Vec<_>>());
                (changes.unwrap_or_default(), api.resource_version())
            });
            seen = version;
            for change in news {
                if change.what != ChangeType::Deleted {
                    self.read(&change.object, &addresses);
                }
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    }

    fn read(&self, object: &Object, addresses: &BTreeMap<String, String>) {
        if &*object.meta.namespace != NAMESPACE {
            return;
        }
        let name = &*object.meta.name;
        let annotations = &object.meta.annotations;
        if object.kind == Kind::Endpoints && *name == names::scope(NAME) {
            let leader = Leader::read(annotations);
            self.set((What::Key, None), leader.name.as_deref().unwrap_or(NONE));
            let transitions = leader.transitions.map_or(NONE.to_owned(), |t| t.to_string());
            self.set((What::Transitions, None), &transitions);
            let ip = object.body.get("subsets").and_then(|s| s.pointer("/0/addresses/0/ip"));
            let ip = ip.and_then(Value::as_str).unwrap_or(NONE);
            self.set((What::Address, None), addresses.get(ip).map_or(ip, String::as_str));
            let renewal = annotations.get("renewTime").cloned();
            let at = self.clock();
            self.with(|inner| {
                if inner.renewal != renewal {
                    (inner.renewal, inner.renewed) = (renewal, at);
                }
            });
        } else if object.kind == Kind::Endpoints && *name == names::scope_config(NAME) {
            let initialize = match annotations.get("initialize").map(String::as_str) {
                None => NONE,
                Some("") => "claimed",
                Some(_) => "set",
            };
            self.set((What::Initialize, None), initialize);
            let last = Config::read(annotations).history.last().map(|s| s.timeline.to_string());
            self.set((What::History, None), last.as_deref().unwrap_or(NONE));
        } else if object.kind == Kind::Pod {
            let member = Some(name.to_owned());
            self.set((What::Label, member.clone()), object.label(labels::ROLE).unwrap_or(NONE));
            let status =
                annotations.get("status").and_then(|t| serde_json::from_str::<Value>(t).ok());
            let text = |key: &str| {
                let value = status.as_ref().and_then(|s| s.get(key));
                value.map_or_else(String::new, |v| {
                    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
                })
            };
            if status.is_some() {
                let role = text("role").replace("master", "primary");
                let says = format!("{role}, {}, {}", text("state"), text("timeline"));
                self.set((What::Status, member), says.trim_end_matches([',', ' ']));
            }
        }
    }
}
