//! How messages travel: sending, arriving, taking effect, answering; and how changes reach watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::command::Command;
use ivory_core::object::Object;
use ivory_core::read::{Output, Selector, Target};

use crate::kube::{Change, Request, Status};
use crate::time::{Span, Time};
use crate::world::actor::{ActorId, Input, KubeId, WatchId};
use crate::world::call::{Call, CallError, Reply};
use crate::world::faults::Late;
use crate::world::message::{Back, Cut, Envelope, Point, Ticket, What, Where};
use crate::world::queue::Event;
use crate::world::tap::{Overheard, Passed};
use crate::world::{World, net};

/// How long one way over the network takes.
const HOP: Span = Span::us(400);
/// How long the API server works on a request.
const API_WORK: Span = Span::us(1_200);
/// How long after a change its watch event leaves.
const WATCH_LAG: Span = Span::us(1_500);
/// How long a client of the API waits for an answer before it gives up, as client-go and kube do by default.
const API_DEADLINE: Span = Span::s(10);

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
}

/// How long the reader of a watch waits after each refusal.
#[derive(Clone, Copy, Debug)]
pub enum Retries {
    /// So long each time.
    Every(Span),
    /// Twice as long each time, from 0.8 s up to this, and up to twice that by chance, as client-go and kube do.
    UpTo(Span),
}

/// A call whose answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    from: ActorId,
    to: Option<ActorId>,
    exec: bool,
    /// The answer will be lost on its way.
    lost: bool,
}

impl World {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Sends a request to the API server of a Kubernetes on behalf of an actor.
    pub fn submit(&mut self, from: ActorId, kube: KubeId, request: Request) -> Ticket {
        let ticket = self.ticket();
        let what = What::Request(Arc::new(request));
        self.send(Envelope { ticket, from, kube, what });
        ticket
    }

    pub(super) fn call(
        &mut self,
        from: ActorId,
        kube: KubeId,
        to: Where,
        call: Call,
        deadline: Span,
    ) -> Ticket {
        let ticket = self.ticket();
        self.await_answer(ticket, from, false, deadline);
        self.send(Envelope { ticket, from, kube, what: What::Call { to, call: Arc::new(call) } });
        ticket
    }

    pub(super) fn exec(
        &mut self,
        from: ActorId,
        kube: KubeId,
        target: &Target,
        command: &Command,
        deadline: Span,
    ) -> Ticket {
        let ticket = self.ticket();
        self.await_answer(ticket, from, true, deadline);
        let (target, command) = (Arc::new(target.clone()), Arc::new(command.clone()));
        self.send(Envelope { ticket, from, kube, what: What::Exec { target, command, deadline } });
        ticket
    }

    fn await_answer(&mut self, ticket: Ticket, from: ActorId, exec: bool, deadline: Span) {
        Arc::make_mut(&mut self.pending)
            .insert(ticket, Pending { from, to: None, exec, lost: false });
        self.queue.push(self.now + deadline, Event::Deadline(ticket));
    }

    fn cut(&mut self, point: Point, envelope: &Envelope) -> Cut {
        if self.faults.is_empty() {
            return Cut::Pass;
        }
        let sender = self.name_of(envelope.from);
        self.faults.cut(self.now, point, &sender, envelope)
    }

    fn send(&mut self, envelope: Envelope) {
        self.tap_sent(&envelope);
        let apart = match &envelope.what {
            What::Call { to, .. } => self.apart(envelope.kube, envelope.from, to),
            _ => {
                let here = self.location(envelope.from);
                self.net.blocked(envelope.kube, &here, &net::CONTROL_PLANE.into())
            }
        };
        if apart {
            return self.lose(&envelope);
        }
        let at = self.now + HOP;
        match self.cut(Point::Sent, &envelope) {
            Cut::Pass => self.queue.push(at, Event::Arrive(Box::new(envelope))),
            Cut::Delay(span) => self.queue.push(at + span, Event::Arrive(Box::new(envelope))),
            Cut::Double => {
                self.queue.push(at, Event::Arrive(Box::new(envelope.clone())));
                self.queue.push(at + HOP, Event::Arrive(Box::new(envelope)));
            }
            Cut::Lose => self.lose_by_the_way(&envelope),
            Cut::Refuse(status) => self.refuse(&envelope, *status),
            Cut::Crash => self.kill(envelope.from, 137),
            Cut::Orphan(span) => {
                let from = envelope.from;
                self.queue.push(at + span, Event::Arrive(Box::new(envelope)));
                self.kill(from, 137);
            }
        }
    }

    /// A message is gone; its sender notices by the deadline. Calls have their own already.
    fn lose(&mut self, envelope: &Envelope) {
        if let What::Request(_) = envelope.what {
            let status = Status::timeout("the API server did not answer in time");
            let back = Back::Response(Box::new(Err(status)));
            let event = Event::Back(envelope.from, envelope.ticket, Box::new(back));
            self.queue.push(self.now + API_DEADLINE, event);
        } else if let What::Watch(watch) = envelope.what {
            self.break_watch(watch);
        }
    }

    /// As [`World::lose`], where the network is whole: the reader of a watch tries again by its deadline. Those that
    /// a partition keeps apart are woken when it heals.
    fn lose_by_the_way(&mut self, envelope: &Envelope) {
        self.lose(envelope);
        if let What::Watch(watch) = envelope.what {
            self.queue.push(self.now + API_DEADLINE, Event::Relist(watch));
        }
    }

    fn refuse(&mut self, envelope: &Envelope, status: Status) {
        match &envelope.what {
            What::Request(_) => {
                let back = Back::Response(Box::new(Err(status)));
                self.queue.push(
                    self.now + HOP,
                    Event::Back(envelope.from, envelope.ticket, Box::new(back)),
                );
            }
            What::Exec { .. } => self.answer(envelope.ticket, Err(CallError::Api(status))),
            What::Call { .. } => self.answer(envelope.ticket, Err(CallError::Refused)),
            What::Watch(watch) => self.try_watch_again(*watch),
        }
    }

    pub(super) fn arrive(&mut self, envelope: Envelope) {
        let mut cut = self.cut(Point::Arrived, &envelope);
        if matches!(cut, Cut::Crash) {
            // Its sender's death is nothing to whatever else stands in the message's way.
            self.kill(envelope.from, 137);
            cut = self.cut(Point::Arrived, &envelope);
        }
        match cut {
            Cut::Pass | Cut::Double | Cut::Crash => {}
            Cut::Delay(span) => {
                return self.queue.push(self.now + span, Event::Arrive(Box::new(envelope)));
            }
            Cut::Lose => return self.lose_by_the_way(&envelope),
            Cut::Refuse(status) => return self.refuse(&envelope, *status),
            Cut::Orphan(span) => {
                self.kill(envelope.from, 137);
                return self.queue.push(self.now + span, Event::Arrive(Box::new(envelope)));
            }
        }
        match envelope.what.clone() {
            What::Request(request) => self.apply(&envelope, &request),
            What::Exec { target, command, .. } => self.pass_on_exec(&envelope, &target, &command),
            What::Call { to, call } => self.pass_on_call(&envelope, &to, &call),
            What::Watch(watch) => self.list_watch(watch),
        }
    }

    fn apply(&mut self, envelope: &Envelope, request: &Request) {
        self.witness_effect(envelope);
        let now = self.now.timestamp();
        let kube = Arc::make_mut(&mut self.kubes[usize::from(envelope.kube.0)]);
        let streams = &mut self.streams;
        let mut uid = || streams.stream(&format!("uid/{}", envelope.kube.0)).u128();
        let response = kube.api.handle(now, &mut uid, request);
        self.hand_out_changes(envelope.kube);
        let mut at = self.now + API_WORK + HOP;
        for point in [Point::Applied, Point::Answered] {
            match self.cut(point, envelope) {
                Cut::Pass | Cut::Double => {}
                Cut::Delay(span) => at = at + span,
                Cut::Lose => return self.lose(envelope),
                Cut::Refuse(status) => return self.refuse(envelope, *status),
                Cut::Crash | Cut::Orphan(_) => return self.kill(envelope.from, 137),
            }
        }
        let back = Back::Response(Box::new(response));
        self.queue.push(at, Event::Back(envelope.from, envelope.ticket, Box::new(back)));
    }

    fn pass_on_exec(&mut self, envelope: &Envelope, target: &Target, command: &Command) {
        let kube = self.kube(envelope.kube);
        let missing = || Status::not_found(Kind::Pod, &target.pod);
        let Some(pod) = kube.api.get(Kind::Pod, &target.namespace, &target.pod) else {
            return self.refuse(envelope, missing());
        };
        if pod.meta.uid != target.uid {
            return self.refuse(envelope, missing());
        }
        let process = kube.process(&target.namespace, &target.pod, &target.container);
        let Some((actor, _)) = process.filter(|(_, uid)| *uid == &*target.uid) else {
            let text = format!("container {} is not running", target.container);
            return self.refuse(envelope, Status::internal(&text));
        };
        if self.net.blocked(envelope.kube, &net::CONTROL_PLANE.into(), &self.location(actor)) {
            return self.lose(envelope);
        }
        self.witness_effect(envelope);
        self.hear_call(envelope, actor, Call::Exec(command.clone()));
    }

    fn pass_on_call(&mut self, envelope: &Envelope, to: &Where, call: &Call) {
        match self.listener(envelope.kube, to) {
            Some(actor) => self.hear_call(envelope, actor, call.clone()),
            None => self.answer(envelope.ticket, Err(CallError::Refused)),
        }
    }

    fn hear_call(&mut self, envelope: &Envelope, actor: ActorId, call: Call) {
        // What becomes of the answer is settled here, where its question is at hand.
        let lost = self.cut(Point::Answered, envelope) == Cut::Lose;
        if let Some(pending) = Arc::make_mut(&mut self.pending).get_mut(&envelope.ticket) {
            (pending.to, pending.lost) = (Some(actor), lost);
        }
        self.tell(actor, Input::Call(envelope.ticket, call));
    }

    /// An actor answers a call.
    pub(super) fn reply(&mut self, by: ActorId, ticket: Ticket, reply: Reply) {
        let Some(pending) = self.pending.get(&ticket) else {
            return;
        };
        let (from, kube) = (pending.from, self.kube_of(by));
        if self.net.blocked(kube, &self.location(by), &self.location(from)) {
            return;
        }
        self.answer(ticket, Ok(reply));
    }

    fn answer(&mut self, ticket: Ticket, reply: Result<Reply, CallError>) {
        let Some(pending) = self.pending.get(&ticket).filter(|p| !p.lost) else {
            return;
        };
        let event = Event::Back(pending.from, ticket, Box::new(Back::Reply(reply)));
        self.queue.push(self.now + HOP, event);
    }

    /// Whether somebody still waits for the answer to a call.
    pub(super) fn awaited(&self, ticket: Ticket) -> bool {
        self.pending.get(&ticket).is_some_and(|p| self.alive(p.from))
    }

    /// Who asked a call that is not answered.
    pub(super) fn asker_of(&self, ticket: Ticket) -> Option<ActorId> {
        self.pending.get(&ticket).map(|p| p.from)
    }

    /// Who reads a watch.
    pub(super) fn reader_of(&self, watch: WatchId) -> Option<ActorId> {
        self.watches.get(&watch).map(|w| w.actor)
    }

    pub(super) fn expire(&mut self, ticket: Ticket) {
        if self.pending.contains_key(&ticket) {
            let from = self.pending[&ticket].from;
            self.deliver_back(from, ticket, Back::Reply(Err(CallError::TimedOut)));
        }
    }

    pub(super) fn reset_calls_to(&mut self, dead: ActorId) {
        let lost = |p: &Pending| p.to == Some(dead);
        let tickets: Vec<_> =
            self.pending.iter().filter(|(_, p)| lost(p)).map(|(t, _)| *t).collect();
        for ticket in tickets {
            self.answer(ticket, Err(CallError::Reset));
        }
    }

    pub(super) fn deliver_back(&mut self, actor: ActorId, ticket: Ticket, back: Back) {
        match back {
            Back::Response(response) => self.tell(actor, Input::Response(ticket, *response)),
            Back::Reply(reply) => {
                let Some(pending) = Arc::make_mut(&mut self.pending).remove(&ticket) else {
                    return;
                };
                let input = if pending.exec {
                    Input::Output(ticket, reply.map(output_of))
                } else {
                    Input::Reply(ticket, reply)
                };
                self.tell(actor, input);
            }
        }
    }

    pub(super) fn location(&self, actor: ActorId) -> Arc<str> {
        match self.slots.get(actor.0 as usize) {
            Some(Some(slot)) => slot.info.node.clone(),
            _ => net::OUTSIDE.into(),
        }
    }

    pub(super) fn kube_of(&self, actor: ActorId) -> KubeId {
        match self.slots.get(actor.0 as usize) {
            Some(Some(slot)) => slot.info.kube,
            _ => KubeId(0),
        }
    }

    pub(super) fn listener(&self, kube: KubeId, to: &Where) -> Option<ActorId> {
        match to {
            Where::Actor(actor) => self.alive(*actor).then_some(*actor),
            // Addresses are unique in a world, so that clusters side by side reach each other.
            Where::Address { ip, port } => self
                .kube(kube)
                .listener(ip, *port)
                .or_else(|| self.kube_ids().find_map(|other| self.kube(other).listener(ip, *port))),
        }
    }

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
    fn list_watch(&mut self, id: WatchId) {
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
    fn break_watch(&mut self, id: WatchId) {
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
    /// up to twice 0.8 s, then twice as long each time, up to a minute. So it is after a long outage that a
    /// component hears again only some while after the API server is back, each at its own time.
    fn try_watch_again(&mut self, id: WatchId) {
        self.break_watch(id);
        let Some(watch) = self.watches.get(&id) else { return };
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
            watch.fails_since.get_or_insert(self.now);
        }
        self.queue.push(self.now + wait, Event::Relist(id));
    }

    /// Whether messages are cut, places apart, names unknown, or watches late in a Kubernetes.
    #[must_use]
    pub fn disturbed(&self, kube: KubeId) -> bool {
        let late = |w: &Watch| w.kube == kube && (w.broken || w.lag > Span::ZERO);
        self.faults.active(self.now) || self.net.troubled() || self.watches.values().any(late)
    }

    /// Whether an outage of a Kubernetes' API server lasts, or ended so long ago at most.
    #[must_use]
    pub fn outage(&self, kube: KubeId, ago: Span) -> bool {
        self.faults.outage(self.now, kube, ago)
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
        }
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

fn output_of(reply: Reply) -> Output {
    match reply {
        Reply::Exec(output) => output,
        _ => Output {
            exit: 255,
            stdout: "".into(),
            stderr: "the container answered something else".into(),
        },
    }
}
