//! The world: virtual time, one event queue, actors, and the one pipeline between them. A run is a pure
//! function of its inputs and its seed. It knows nothing of databases or controllers.

mod actor;
pub mod call;
mod faults;
pub mod fingerprint;
pub mod informer;
pub mod journal;
mod kube;
mod machines;
mod message;
mod net;
mod pipeline;
mod queue;
mod standstill;
mod tap;
mod trace;
mod watch;
mod watchers;
mod witness;

use std::sync::Arc;

pub use actor::{Actor, ActorId, Cx, Input, KubeId, Place, Probe, Signal, WatchId};
pub use faults::{Faults, Late, Matcher, Rule};
pub use informer::{Informer, Key, Learned, key_of};
pub use kube::Kube;
pub use message::{Back, Cut, Envelope, Point, Ticket, What, Where};
pub use net::{CONTROL_PLANE, OUTSIDE};
pub use tap::{Onlooker, Overheard, Passed, Tap};
pub use trace::Trace;
pub use watch::Retries;
pub use witness::{Finding, Planned, Witness};

use crate::rng::Streams;
use crate::time::{Span, Time};
use journal::{Entry, Milestone};
use machines::Machines;
use net::Net;
use pipeline::Pending;
use queue::{Event, Queue};

/// Everything there is. A clone is a fork: what it shares is copied when one of the two changes it.
#[derive(Clone)]
pub struct World {
    now: Time,
    moment: standstill::Moment,
    queue: Queue,
    pub(crate) streams: Streams,
    kubes: Vec<Arc<Kube>>,
    slots: Vec<Option<Slot>>,
    watches: Arc<std::collections::BTreeMap<WatchId, watch::Watch>>,
    pending: Arc<std::collections::BTreeMap<Ticket, Pending>>,
    next_ticket: u64,
    next_watch: u32,
    /// Which messages are cut.
    pub faults: Faults,
    net: Net,
    machines: Machines,
    /// Processes that the kernel ended because their container had used up its memory.
    out_of_memory: Arc<std::collections::BTreeSet<ActorId>>,
    journal: Arc<Vec<Entry>>,
    /// Somebody who sees everything and goes along with a fork.
    witness: Option<Arc<dyn Witness>>,
    /// The machine's record of the run.
    pub trace: Trace,
    /// What some actors say and hear, if somebody listens.
    pub tap: Option<Tap>,
    /// Somebody who looks at the world after every event, if anybody does.
    pub onlooker: Onlooker,
}

/// An actor in its place.
#[derive(Clone)]
struct Slot {
    actor: Option<Arc<dyn Actor>>,
    info: Arc<Info>,
}

struct Info {
    name: Arc<str>,
    kube: KubeId,
    parent: Option<ActorId>,
    place: Option<Place>,
    /// Where it is on the network: a node's name, `control-plane`, or `outside`.
    node: Arc<str>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Time::START,
            moment: standstill::Moment::default(),
            queue: Queue::default(),
            streams: Streams::new(seed),
            kubes: Vec::new(),
            slots: Vec::new(),
            watches: Arc::default(),
            pending: Arc::default(),
            next_ticket: 0,
            next_watch: 0,
            faults: Faults::default(),
            net: Net::default(),
            machines: Machines::default(),
            out_of_memory: Arc::default(),
            journal: Arc::default(),
            witness: None,
            trace: Trace::default(),
            tap: None,
            onlooker: Onlooker::default(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the next event happens, if any will.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// How many messages were sent so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.next_ticket
    }

    /// What happened, for people.
    #[must_use]
    pub fn journal(&self) -> &[Entry] {
        &self.journal
    }

    /// Writes a line into the journal.
    pub fn note(&mut self, kube: KubeId, by: ActorId, what: Milestone) {
        let actor = self.name_of(by);
        Arc::make_mut(&mut self.journal).push(Entry { at: self.now, kube, actor, what });
    }

    /// Writes a line into the journal that no actor wrote: a step, a fault.
    pub fn remark(&mut self, what: Milestone) {
        let entry = Entry { at: self.now, kube: KubeId(0), actor: "world".into(), what };
        Arc::make_mut(&mut self.journal).push(entry);
    }

    /// Adds a Kubernetes; its API server is empty.
    pub fn add_kube(&mut self, kube: Kube) -> KubeId {
        let id = KubeId(u8::try_from(self.kubes.len()).expect("fewer than 256 Kubernetes"));
        self.kubes.push(Arc::new(kube));
        id
    }

    /// A Kubernetes.
    #[must_use]
    pub fn kube(&self, id: KubeId) -> &Kube {
        &self.kubes[usize::from(id.0)]
    }

    /// How many Kubernetes there are.
    pub fn kube_ids(&self) -> impl Iterator<Item = KubeId> + use<> {
        (0..self.kubes.len()).map(|i| KubeId(u8::try_from(i).expect("fewer than 256")))
    }

    /// A Kubernetes, for changing what no message changes (its disks, its tables).
    pub fn kube_mut(&mut self, id: KubeId) -> &mut Kube {
        Arc::make_mut(&mut self.kubes[usize::from(id.0)])
    }

    /// Starts an actor. A process has a place; anybody else lives beside the API server or outside.
    pub fn spawn(
        &mut self,
        kube: KubeId,
        actor: Arc<dyn Actor>,
        place: Option<Place>,
        parent: Option<ActorId>,
    ) -> ActorId {
        let node = match &place {
            Some(place) => place.node.clone(),
            None => net::home(actor.name()),
        };
        let id = ActorId(u32::try_from(self.slots.len()).expect("fewer than 2^32 actors"));
        let name: Arc<str> = actor.name().into();
        if let Some(place) = &place {
            self.kube_mut(kube).moved_in(place, id);
        }
        let info = Arc::new(Info { name, kube, parent, place, node });
        self.slots.push(Some(Slot { actor: Some(actor), info }));
        self.queue.push(self.now, Event::Start(id));
        id
    }

    /// The name of an actor, dead or alive.
    #[must_use]
    pub fn name_of(&self, id: ActorId) -> Arc<str> {
        match self.slots.get(id.0 as usize) {
            Some(Some(slot)) => slot.info.name.clone(),
            _ => "(gone)".into(),
        }
    }

    /// The living actor of a name in a Kubernetes.
    #[must_use]
    pub fn find(&self, kube: KubeId, name: &str) -> Option<ActorId> {
        let alive = |slot: &Option<Slot>| {
            slot.as_ref().is_some_and(|s| s.info.kube == kube && &*s.info.name == name)
        };
        let index = self.slots.iter().rposition(alive)?;
        Some(ActorId(u32::try_from(index).expect("fewer than 2^32 actors")))
    }

    /// All living actors, in the order of their birth.
    pub fn actors(&self) -> impl Iterator<Item = (ActorId, KubeId, &dyn Actor)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let slot = slot.as_ref()?;
            let id = ActorId(u32::try_from(index).ok()?);
            Some((id, slot.info.kube, slot.actor.as_deref()?))
        })
    }

    /// A living actor's state, if it is of this type.
    #[must_use]
    pub fn actor<T: 'static>(&self, id: ActorId) -> Option<&T> {
        self.slots.get(id.0 as usize)?.as_ref()?.actor.as_deref()?.any().downcast_ref()
    }

    /// Whether an actor lives.
    #[must_use]
    pub fn alive(&self, id: ActorId) -> bool {
        matches!(self.slots.get(id.0 as usize), Some(Some(_)))
    }

    /// Ends an actor from outside, as a crash does: nothing more is said or heard by it.
    pub fn kill(&mut self, id: ActorId, code: i32) {
        if self.alive(id) {
            self.bury(id, code);
        }
    }

    /// Ends a process as the kernel does when its container has used up its memory.
    pub fn kill_for_memory(&mut self, id: ActorId) {
        Arc::make_mut(&mut self.out_of_memory).insert(id);
        self.kill(id, 137);
    }

    /// Handles the next event. False when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        debug_assert!(at >= self.now, "time runs forward");
        self.now = at;
        self.keeps_moving(&event);
        if let Some(until) = self.held_until(&event) {
            self.queue.push(until, event);
            return true;
        }
        match event {
            Event::Arrive(envelope) => self.arrive(*envelope),
            Event::Back(actor, ticket, back) => self.deliver_back(actor, ticket, *back),
            Event::Deadline(ticket) => self.expire(ticket),
            Event::Change(watch, change) => self.deliver_change(watch, change),
            Event::Relist(watch) => self.relist(watch),
            event => {
                if let Some((actor, input)) = event.plain() {
                    self.tell(actor, input);
                }
            }
        }
        self.witness_event();
        self.show();
        true
    }

    /// Handles all events up to a moment, and makes it now. The only way in which time moves.
    pub fn advance_to(&mut self, until: Time) {
        while self.queue.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Handles all events of a span of time.
    pub fn advance(&mut self, span: Span) {
        self.advance_to(self.now + span);
    }

    /// Lets an actor hear an input, at once.
    fn tell(&mut self, id: ActorId, input: Input) {
        let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        let kube = slot.info.kube;
        let Some(mut actor) = slot.actor.take() else {
            return;
        };
        self.trace.input(self.now, id, &input);
        // What is shared with a fork is copied before it changes.
        if Arc::get_mut(&mut actor).is_none() {
            actor = actor.boxed();
        }
        let mut cx = Cx { world: self, me: id, kube, gone: None };
        Arc::get_mut(&mut actor).expect("just made unique").on(&mut cx, input);
        let gone = cx.gone;
        if let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) {
            slot.actor = Some(actor);
        }
        if let Some(code) = gone {
            self.bury(id, code);
        }
    }

    fn bury(&mut self, id: ActorId, code: i32) {
        let Some(slot) = self.slots.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        self.trace.gone(self.now, id, code);
        if let Some(place) = &slot.info.place {
            self.kube_mut(slot.info.kube).moved_out(place, id);
        }
        self.close_watches_of(id);
        self.reset_calls_to(id);
        if let Some(parent) = slot.info.parent
            && self.alive(parent)
        {
            self.queue.push(self.now, Event::Exited { parent, child: id, code });
        }
    }

    pub(crate) fn push_timer(&mut self, at: Time, actor: ActorId, token: u64) {
        self.queue.push(at, Event::Timer(actor, token));
    }

    pub(crate) fn deliver_mounts(&mut self, to: ActorId, mounts: Arc<crate::node::Mounts>) {
        self.queue.push(self.now, Event::Mounts(to, mounts));
    }

    /// The living processes whose place satisfies a condition, in the order of their birth.
    pub fn processes_where(&self, kube: KubeId, wanted: impl Fn(&Place) -> bool) -> Vec<ActorId> {
        let here = |slot: &Option<Slot>| {
            let info = &slot.as_ref()?.info;
            let place = info.place.as_ref()?;
            (info.kube == kube && wanted(place)).then_some(())
        };
        let ids = self.slots.iter().enumerate();
        ids.filter(|(_, slot)| here(slot).is_some())
            .filter_map(|(index, _)| u32::try_from(index).ok().map(ActorId))
            .collect()
    }

    /// Sends a signal to a process. SIGKILL ends it here and now.
    pub fn signal(&mut self, to: ActorId, signal: Signal) {
        match signal {
            Signal::Kill => self.kill(to, 137),
            Signal::Term => self.queue.push(self.now, Event::Signal(to, signal)),
        }
    }

    /// What a process answers to a probe of its kubelet.
    #[must_use]
    pub fn probe(&self, process: ActorId, probe: Probe) -> Option<bool> {
        match self.slots.get(process.0 as usize) {
            Some(Some(slot)) => slot.actor.as_deref()?.probe(self.now, probe),
            _ => Some(false),
        }
    }
}
