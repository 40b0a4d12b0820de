//! Patroni's store: four Endpoints and the members' Pods, as one member sees them through its own watches,
//! with its own clock for the leader's expiry; and the writes it makes there (patroni.md §1).

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::read::Selector;
use serde_json::{Map, Value, json};

use crate::kube::{Body, ChangeType, ObjectRef, Request, Subresource, Verb};
use crate::patroni::config::MemberConfig;
use crate::time::{Span, Time};
use crate::world::{Cx, Informer, Input, Retries};

/// The annotations whose change renews the leader's record (§1.5).
const FIVE: [&str; 5] = ["leader", "acquireTime", "ttl", "renewTime", "transitions"];

/// Patroni lists again a second after a list that failed.
const WATCH_RETRY: Span = Span::s(1);

/// One of the four objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// `<scope>`.
    Leader,
    /// `<scope>-config`.
    Config,
    /// `<scope>-failover`.
    Failover,
    /// `<scope>-sync`.
    Sync,
}

/// What a watch event means for the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Not for the store.
    NotMine,
    /// Nothing to do.
    Quiet,
    /// The loop shall run now (§1.4).
    Wake,
}

/// A requested switchover or failover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailoverRequest {
    /// From whom; its presence makes it a switchover.
    pub leader: Option<String>,
    /// To whom.
    pub candidate: Option<String>,
}

/// The store as a member sees it.
#[derive(Clone, Debug)]
pub struct Dcs {
    names: [Arc<str>; 4],
    namespace: Arc<str>,
    me: Arc<str>,
    labels: Arc<std::collections::BTreeMap<String, String>>,
    user: Arc<str>,
    /// Whether it runs in a Pod of a kubelet, with that Pod's token.
    bound: bool,
    pods: Informer,
    endpoints: Informer,
    objects: [Option<Arc<Object>>; 4],
    /// When the leader's record was last seen to change.
    pub seen_at: Time,
}

impl Dcs {
    /// Opens the two watches.
    pub fn open(cx: &mut Cx<'_>, config: &MemberConfig, bound: bool) -> Self {
        let labels = config.labels.iter().map(|(k, v)| (k.clone(), Some(v.clone())));
        let selector = Selector(labels.collect());
        let names = ["", "-config", "-failover", "-sync"];
        Self {
            names: names.map(|suffix| format!("{}{suffix}", config.scope).into()),
            namespace: config.namespace.clone(),
            me: config.name.clone(),
            labels: Arc::new(config.labels.clone()),
            user: "Patroni".into(),
            bound,
            pods: Informer::open(cx, Kind::Pod, Some(&config.namespace), selector.clone())
                .trying_again_after(cx, Retries::Every(WATCH_RETRY)),
            endpoints: Informer::open(cx, Kind::Endpoints, Some(&config.namespace), selector)
                .trying_again_after(cx, Retries::Every(WATCH_RETRY)),
            objects: [const { None }; 4],
            seen_at: cx.now(),
        }
    }

    /// Takes in what a watch brought.
    pub fn learn(&mut self, now: Time, input: &Input) -> Heard {
        use crate::world::Learned;
        match self.endpoints.learn(input) {
            Learned::NotMine => {}
            Learned::All => {
                let fresh: Vec<_> = self.endpoints.iter().cloned().collect();
                for slot in [Slot::Leader, Slot::Config, Slot::Failover, Slot::Sync] {
                    let found = fresh.iter().find(|o| o.meta.name == self.names[slot as usize]);
                    self.set(now, slot, found.cloned());
                }
                return Heard::Wake;
            }
            Learned::One { key, new, .. } => {
                let Some(index) = self.names.iter().position(|n| *n == key.1) else {
                    return Heard::Quiet;
                };
                let slot = [Slot::Leader, Slot::Config, Slot::Failover, Slot::Sync][index];
                let Input::Changed(_, change) = input else {
                    return Heard::Quiet;
                };
                return self.changed(now, slot, change.what, new);
            }
        }
        match self.pods.learn(input) {
            Learned::NotMine => Heard::NotMine,
            Learned::All => Heard::Wake,
            Learned::One { .. } => Heard::Quiet,
        }
    }

    fn changed(
        &mut self,
        now: Time,
        slot: Slot,
        kind: ChangeType,
        new: Option<Arc<Object>>,
    ) -> Heard {
        let old = self.objects[slot as usize].clone();
        if kind != ChangeType::Deleted
            && let (Some(old), Some(new)) = (&old, &new)
            && new.meta.resource_version <= old.meta.resource_version
        {
            return Heard::Quiet;
        }
        let wake = match slot {
            Slot::Leader => {
                let (old, new) = (said(&old, "leader"), said(&new, "leader"));
                new != Some(&*self.me) || old != new
            }
            Slot::Config => {
                let (old, new) = (said(&old, "config"), said(&new, "config"));
                old.is_some() && new.is_some() && old != new
            }
            Slot::Failover | Slot::Sync => false,
        };
        self.set(now, slot, new);
        if wake { Heard::Wake } else { Heard::Quiet }
    }

    /// Takes in the answer to an own write.
    pub fn wrote(&mut self, now: Time, object: &Arc<Object>) {
        if object.kind != Kind::Endpoints {
            return;
        }
        if let Some(index) = self.names.iter().position(|n| *n == object.meta.name) {
            let newer = self.objects[index]
                .as_ref()
                .is_none_or(|o| o.meta.resource_version < object.meta.resource_version);
            if newer {
                let slot = [Slot::Leader, Slot::Config, Slot::Failover, Slot::Sync][index];
                self.set(now, slot, Some(object.clone()));
            }
        }
    }

    fn set(&mut self, now: Time, slot: Slot, object: Option<Arc<Object>>) {
        let old = &self.objects[slot as usize];
        if slot == Slot::Leader && FIVE.iter().any(|key| said(old, key) != said(&object, key)) {
            self.seen_at = now;
        }
        self.objects[slot as usize] = object;
    }

    /// Whether both watches have listed.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.pods.synced() && self.endpoints.synced()
    }

    /// An object's annotation.
    #[must_use]
    pub fn annotation(&self, slot: Slot, key: &str) -> Option<&str> {
        self.objects[slot as usize].as_ref()?.annotation(key)
    }

    /// An object.
    #[must_use]
    pub fn object(&self, slot: Slot) -> Option<&Arc<Object>> {
        self.objects[slot as usize].as_ref()
    }

    /// The name in the leader's record, valid or not.
    #[must_use]
    pub fn recorded_leader(&self) -> Option<&str> {
        self.annotation(Slot::Leader, "leader").filter(|l| !l.is_empty())
    }

    /// The leader, if its record is valid by this member's own clock (§1.5).
    #[must_use]
    pub fn leader(&self, now: Time) -> Option<&str> {
        let leader = self.recorded_leader()?;
        let ttl = self.annotation(Slot::Leader, "ttl").and_then(|t| t.parse().ok());
        (self.seen_at + Span::s(ttl.unwrap_or(30)) >= now).then_some(leader)
    }

    /// The last published position of the leader.
    #[must_use]
    pub fn optime(&self) -> u64 {
        self.annotation(Slot::Leader, "optime").and_then(|o| o.parse().ok()).unwrap_or(0)
    }

    /// A requested switchover or failover.
    #[must_use]
    pub fn failover(&self) -> Option<FailoverRequest> {
        let leader = self.annotation(Slot::Failover, "leader");
        let candidate = self.annotation(Slot::Failover, "member");
        (leader.is_some() || candidate.is_some()).then(|| FailoverRequest {
            leader: leader.map(str::to_owned),
            candidate: candidate.map(str::to_owned),
        })
    }

    /// The recorded synchronous state: its leader and the standbys; none when it is empty.
    #[must_use]
    pub fn sync_state(&self) -> Option<(&str, Vec<&str>)> {
        let leader = self.annotation(Slot::Sync, "leader").filter(|l| !l.is_empty())?;
        let standbys = self.annotation(Slot::Sync, "sync_standby").unwrap_or("");
        Some((leader, standbys.split(',').filter(|s| !s.is_empty()).collect()))
    }

    /// The Pods of all members that have published something, in name order.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.pods.iter().filter(|p| p.annotation("status").is_some())
    }

    /// The Pod of a name, member or not.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<&Arc<Object>> {
        self.pods.iter().find(|p| &*p.meta.name == name)
    }

    /// The host and port of a member's REST API.
    #[must_use]
    pub fn rest_of(pod: &Object) -> Option<(String, u16)> {
        address(pod, "api_url")
    }

    /// The host and port of a member's PostgreSQL.
    #[must_use]
    pub fn sql_of(pod: &Object) -> Option<(String, u16)> {
        address(pod, "conn_url")
    }

    /// The timeline that a member's status says.
    #[must_use]
    pub fn timeline_of(pod: &Object) -> Option<u32> {
        let (_, rest) = pod.annotation("status")?.split_once("\"timeline\":")?;
        rest.split([',', '}']).next()?.parse().ok()
    }

    /// A patch or, when the object is unknown, a creation; `guard` sends the resourceVersion along.
    #[must_use]
    pub fn write(
        &self,
        slot: Slot,
        annotations: Map<String, Value>,
        subsets: Option<Value>,
        guard: bool,
    ) -> Request {
        let name = self.names[slot as usize].clone();
        let Some(known) = &self.objects[slot as usize] else {
            let mut object = Object::new(Kind::Endpoints, &self.namespace, &name);
            object.meta.labels = self.labels.clone();
            let text = |(k, v): (String, Value)| match v {
                Value::String(s) => Some((k, s)),
                _ => None,
            };
            object.meta.annotations = Arc::new(annotations.into_iter().filter_map(text).collect());
            if let Some(subsets) = subsets {
                object.body_mut().insert("subsets".into(), subsets);
            }
            return self.request(Verb::Create(Arc::new(object)));
        };
        let mut metadata = Map::new();
        metadata.insert("name".into(), (*name).into());
        metadata.insert("labels".into(), json!(*self.labels));
        metadata.insert("annotations".into(), Value::Object(annotations));
        if guard {
            let rv = known.meta.resource_version.to_string();
            metadata.insert("resourceVersion".into(), rv.into());
        }
        let mut patch = Map::new();
        patch.insert("metadata".into(), Value::Object(metadata));
        if let Some(subsets) = subsets {
            patch.insert("subsets".into(), subsets);
        }
        self.patch(Kind::Endpoints, name, Value::Object(patch))
    }

    /// Reads an object past the cache.
    #[must_use]
    pub fn read(&self, slot: Slot) -> Request {
        self.request(Verb::Get(self.target(Kind::Endpoints, self.names[slot as usize].clone())))
    }

    /// A patch of the own Pod.
    #[must_use]
    pub fn patch_pod(&self, patch: Value) -> Request {
        self.patch(Kind::Pod, self.me.clone(), patch)
    }

    /// The headless Service that keeps the Endpoints alive.
    #[must_use]
    pub fn config_service(&self) -> Request {
        let name = self.names[Slot::Config as usize].clone();
        let mut service = Object::new(Kind::Service, &self.namespace, &name);
        service.meta.labels = self.labels.clone();
        service.body_mut().insert("spec".into(), json!({"clusterIP": "None"}));
        self.request(Verb::Create(Arc::new(service)))
    }

    fn patch(&self, kind: Kind, name: Arc<str>, patch: Value) -> Request {
        self.request(Verb::Patch {
            target: self.target(kind, name),
            subresource: Subresource::None,
            body: Body::Strategic(Arc::new(patch)),
        })
    }

    fn target(&self, kind: Kind, name: Arc<str>) -> ObjectRef {
        ObjectRef { kind, namespace: self.namespace.clone(), name }
    }

    fn request(&self, verb: Verb) -> Request {
        let bound_to = self.bound.then(|| (self.namespace.clone(), self.me.clone()));
        Request { user: self.user.clone(), bound_to, ..Request::new("", verb) }
    }
}

/// An annotation of an object that may not be there.
fn said<'a>(object: &'a Option<Arc<Object>>, key: &str) -> Option<&'a str> {
    object.as_ref()?.annotation(key)
}

/// The host and port of a URL in a member's status.
fn address(pod: &Object, key: &str) -> Option<(String, u16)> {
    let status = pod.annotation("status")?;
    let at = status.find(&format!("\"{key}\":\""))? + key.len() + 4;
    let url = status[at..].split('"').next()?;
    let rest = url.split("://").nth(1)?;
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}
