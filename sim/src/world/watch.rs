//! Watches: their lists, how changes reach them and how late, and how they end and begin again.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::read::Selector;

use crate::kube::Change;
use crate::time::{Span, Time};
use crate::world::actor::{ActorId, Input, KubeId, WatchId};
use crate::world::faults::Late;
use crate::world::message::{Envelope, What};
use crate::world::queue::Event;
use crate::world::tap::{Overheard, Passed};
use crate::world::{World, net};

/// How long after a change its watch event leaves.
const WATCH_LAG: Span = Span::us(1_500);
/// How long a reader waits at least after its first refusal, and at most, the jitter of as much again apart.
const RETRY_MIN: Span = Span::ms(800);
const RETRY_MAX: Span = Span::s(30);

/// A watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    actor: ActorId,
    kube: KubeId,
    kind: Kind,
    namespace: Option<Arc<str>>,
    selector: Arc<Selector>,
    /// Only Pods that are bound to this node.
    node: Option<Arc<str>>,
    /// Added to every delivery: a cache that lags.
    lag: Span,
    /// When the last event was delivered, so that none overtakes another.
    last_at: Time,
    open: bool,
    broken: bool,
    /// At which version it was listed last.
    listed: u64,
    /// How often it was refused in a row.
    refused: u32,
    /// How long its reader waits after each refusal.
    retries: Retries,
    /// Since when it has been refused.
    fails_since: Option<Time>,
    /// When it is asked for again.
    again_at: Option<Time>,
}

/// How long the reader of a watch waits after each refusal.
#[derive(Clone, Copy, Debug)]
pub enum Retries {
    /// So long each time.
    Every(Span),
    /// Twice as long each time, from 0.8 s up to this, and up to twice that by chance, as client-go and kube do.
    UpTo(Span),
}

impl World {
    pub(super) fn open_watch(
        &mut self,
        actor: ActorId,
        kube: KubeId,
        kind: Kind,
        namespace: Option<&str>,
        selector: Selector,
    ) -> WatchId {
        self.begin_watch(Watch {
            namespace: namespace.map(Arc::from),
            selector: Arc::new(selector),
            ..Watch::of_all(actor, kube, kind)
        })
    }

    /// A watch of the Pods that are bound to a node.
    pub(super) fn open_node_watch(&mut self, actor: ActorId, kube: KubeId, node: &str) -> WatchId {
        self.begin_watch(Watch { node: Some(node.into()), ..Watch::of_all(actor, kube, Kind::Pod) })
    }

    fn begin_watch(&mut self, watch: Watch) -> WatchId {
        self.next_watch += 1;
        let id = WatchId(self.next_watch);
        let (actor, kube) = (watch.actor, watch.kube);
        let watch = Watch { last_at: self.now, ..watch };
        Arc::make_mut(&mut self.watches).insert(id, watch);
        let ticket = self.ticket();
        self.send(Envelope { ticket, from: actor, kube, what: What::Watch(id) });
        id
    }

    /// The list with which a watch begins.
    pub(super) fn list_watch(&mut self, id: WatchId) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        let (actor, kube_id) = (watch.actor, watch.kube);
        let kube = Arc::make_mut(&mut self.kubes[usize::from(kube_id.0)]);
        let version = kube.api.resource_version();
        let objects: Vec<_> = kube
            .api
            .list(watch.kind, watch.namespace.as_deref())
            .filter(|o| watch.matches(o))
            .cloned()
            .collect();
        let watchers = kube.watchers.entry(watch.kind).or_default();
        watchers.add(id, &watch.selector, watch.node.as_ref());
        if let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(&id) {
            (watch.open, watch.broken, watch.last_at) = (true, false, self.now);
            (watch.listed, watch.refused, watch.fails_since) = (version, 0, None);
        }
        self.tell(actor, Input::Listed(id, objects, version));
    }

    /// Queues what changed for every watch that sees it.
    pub(super) fn hand_out_changes(&mut self, kube_id: KubeId) {
        let kube = Arc::make_mut(&mut self.kubes[usize::from(kube_id.0)]);
        let from = kube.handed_out;
        if kube.api.resource_version() == from {
            return;
        }
        kube.handed_out = kube.api.resource_version();
        let mut found = Vec::new();
        let changes = kube.api.changes_since(from, None);
        for change in changes.expect("the log is longer than what one request changes") {
            if let Some(witness) = &mut self.witness {
                super::witness::own(witness).changed(kube_id, change);
            }
            let Some(watchers) = kube.watchers.get(&change.object.kind) else {
                continue;
            };
            let change = &Arc::new(change.clone());
            let nodes = nodes_of(change);
            watchers.of(change, nodes, &mut found);
            for (_, id) in &found {
                // A broken stream carries nothing.
                let Some(watch) = self.watches.get(id).filter(|w| !w.broken) else {
                    continue;
                };
                let Some(seen) = watch.sees(change, nodes) else {
                    continue;
                };
                let mut at = (self.now + WATCH_LAG + watch.lag).max(watch.last_at);
                if let Some(tap) = &mut self.tap
                    && let Some(Some(slot)) = self.slots.get(watch.actor.0 as usize)
                    && tap.hears(&slot.info.name)
                {
                    let (from, by) = (watch.actor, slot.info.name.clone());
                    let what = Overheard::Heard(*id, seen.clone());
                    tap.pass(Passed { at, from, by, kube: kube_id, what });
                }
                match self.faults.delivery(*id, seen.resource_version) {
                    None => {}
                    Some(Late::By(span)) => at = at + span,
                    Some(Late::Never(span)) => {
                        if let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(id) {
                            watch.broken = true;
                        }
                        self.queue.push(at + span, Event::Relist(*id));
                        continue;
                    }
                }
                if at > watch.last_at
                    && let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(id)
                {
                    watch.last_at = at;
                }
                self.queue.push(at, Event::Change(*id, seen));
            }
        }
        kube.api.forget_all_but(kube.history);
    }

    pub(super) fn deliver_change(&mut self, id: WatchId, change: Arc<Change>) {
        // What comes late on a stream that has ended since is part of the list with which the next one began.
        let hears = |w: &&Watch| w.open && !w.broken && change.resource_version > w.listed;
        let Some(watch) = self.watches.get(&id).filter(hears) else {
            return;
        };
        let (actor, kube) = (watch.actor, watch.kube);
        if self.net.blocked(kube, &net::CONTROL_PLANE.into(), &self.location(actor)) {
            return self.break_watch(id);
        }
        self.tell(actor, Input::Changed(id, change));
    }

    /// Makes every watch of an actor lag by so much more from now on.
    pub fn lag_watches(&mut self, actor: ActorId, lag: Span) {
        for watch in Arc::make_mut(&mut self.watches).values_mut().filter(|w| w.actor == actor) {
            watch.lag = lag;
        }
    }

    /// A watch hears nothing more until it lists anew.
    pub(super) fn break_watch(&mut self, id: WatchId) {
        if let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(&id) {
            watch.broken = true;
        }
    }

    /// All watches of a Kubernetes end, as when its API server dies; their readers try again.
    pub fn end_watches(&mut self, kube: KubeId) {
        let of = self.watches.iter().filter(|(_, w)| w.kube == kube).map(|(id, _)| *id);
        for id in of.collect::<Vec<_>>() {
            self.try_watch_again(id);
        }
    }

    /// A watch that was refused is asked for again after a while: as client-go's reflectors do, and kube's watchers,
    /// up to twice 0.8 s, then twice as long each time, as far as its reader has it. So it is after a long outage that a
    /// component hears again only some while after the API server is back, each at its own time.
    pub(super) fn try_watch_again(&mut self, id: WatchId) {
        self.break_watch(id);
        // A reader whose request was doubled on its way still waits for one answer.
        let now = self.now;
        let due = |w: &&Watch| w.again_at.is_none_or(|at| at <= now);
        let Some(watch) = self.watches.get(&id).filter(due) else { return };
        let label = format!("{}/{}/watch-again", watch.kube.0, self.name_of(watch.actor));
        let wait = match watch.retries {
            Retries::Every(every) => every,
            Retries::UpTo(longest) => {
                let base = longest.0.min(RETRY_MIN.0 << watch.refused.min(16));
                let jitter = self.streams.stream(&label).below(base.unsigned_abs());
                Span(base.saturating_add_unsigned(jitter))
            }
        };
        if let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(&id) {
            watch.refused = watch.refused.saturating_add(1);
            watch.fails_since.get_or_insert(now);
            watch.again_at = Some(now + wait);
        }
        self.queue.push(now + wait, Event::Relist(id));
    }

    /// The reader of a watch waits so long after each refusal.
    pub(super) fn try_watch_again_after(&mut self, id: WatchId, retries: Retries) {
        if let Some(watch) = Arc::make_mut(&mut self.watches).get_mut(&id) {
            watch.retries = retries;
        }
    }

    /// Since when a watch has been refused whenever its reader asked for it.
    pub(super) fn watch_fails_since(&self, id: WatchId) -> Option<Time> {
        self.watches.get(&id)?.fails_since
    }

    /// Broken watches list anew.
    pub fn reopen_broken_watches(&mut self) {
        let broken: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, w)| w.broken)
            .map(|(id, w)| (*id, w.actor, w.kube))
            .collect();
        for (id, from, kube) in broken {
            let ticket = self.ticket();
            self.send(Envelope { ticket, from, kube, what: What::Watch(id) });
        }
    }

    /// A broken watch lists anew.
    pub(super) fn relist(&mut self, id: WatchId) {
        let Some(watch) = self.watches.get(&id).filter(|w| w.broken) else {
            return;
        };
        let (from, kube) = (watch.actor, watch.kube);
        let ticket = self.ticket();
        self.send(Envelope { ticket, from, kube, what: What::Watch(id) });
    }

    /// Who reads a watch.
    pub(super) fn reader_of(&self, watch: WatchId) -> Option<ActorId> {
        self.watches.get(&watch).map(|w| w.actor)
    }

    pub(super) fn close_watch(&mut self, id: WatchId) {
        let Some(watch) = Arc::make_mut(&mut self.watches).remove(&id) else {
            return;
        };
        let kube = Arc::make_mut(&mut self.kubes[usize::from(watch.kube.0)]);
        if let Some(watchers) = kube.watchers.get_mut(&watch.kind) {
            watchers.remove(id);
        }
    }

    pub(super) fn close_watches_of(&mut self, actor: ActorId) {
        let of: BTreeMap<_, _> = self
            .watches
            .iter()
            .filter(|(_, w)| w.actor == actor)
            .map(|(i, w)| (*i, w.kube))
            .collect();
        of.into_keys().for_each(|id| self.close_watch(id));
    }
}

/// The nodes to which a changed Pod was bound and is bound.
fn nodes_of(change: &Change) -> (Option<&str>, Option<&str>) {
    if change.object.kind != Kind::Pod {
        return (None, None);
    }
    let after = change.object.str_at(&["spec", "nodeName"]);
    let before = match &change.old {
        Some(old) if Arc::ptr_eq(&old.body, &change.object.body) => after,
        old => old.as_ref().and_then(|old| old.str_at(&["spec", "nodeName"])),
    };
    (before, after)
}

impl Watch {
    fn of_all(actor: ActorId, kube: KubeId, kind: Kind) -> Self {
        Self {
            actor,
            kube,
            kind,
            namespace: None,
            selector: Arc::default(),
            node: None,
            lag: Span::ZERO,
            last_at: Time::START,
            open: false,
            broken: false,
            listed: 0,
            refused: 0,
            retries: Retries::UpTo(RETRY_MAX),
            fails_since: None,
            again_at: None,
        }
    }

    /// Whether it is one of a Kubernetes, and hears late or nothing.
    pub(super) fn is_late(&self, kube: KubeId) -> bool {
        self.kube == kube && (self.broken || self.lag > Span::ZERO)
    }

    fn matches(&self, object: &Object) -> bool {
        self.selector.matches(&object.meta.labels)
            && self.node.as_ref().is_none_or(|n| object.str_at(&["spec", "nodeName"]) == Some(&**n))
    }

    /// The change as this watch sees it: an object that begins or ceases to match is added or deleted.
    /// `nodes` are those of the change, found once for the watches of all kubelets.
    fn sees(
        &self,
        change: &Arc<Change>,
        nodes: (Option<&str>, Option<&str>),
    ) -> Option<Arc<Change>> {
        if self.namespace.as_ref().is_some_and(|n| *n != change.object.meta.namespace) {
            return None;
        }
        if self.selector.0.is_empty() && self.node.is_none() {
            return Some(change.clone());
        }
        let node = self.node.as_deref();
        if node.is_some() && node != nodes.0 && node != nodes.1 {
            return None;
        }
        let (what, object) = change.seen_by(|object| self.matches(object))?;
        Some(if what == change.what {
            change.clone()
        } else {
            Arc::new(Change { what, object, ..(**change).clone() })
        })
    }
}
