//! What an actor is: a state machine that hears inputs and speaks through [`Cx`]. Controllers, kubelets,
//! processes in containers, the operator and clients are all actors; none sees the world directly.

use std::any::Any;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::read::{Output, Selector};

use crate::kube::{Change, Request, Response};
use crate::node::{Mounts, Registry};
use crate::rng::Stream;
use crate::time::{Span, Time};
use crate::world::World;
use crate::world::call::{Call, CallError, Reply};
use crate::world::journal::Milestone;
use crate::world::message::{Ticket, Where};
use crate::world::watch::Retries;

/// Which of the Kubernetes clusters of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KubeId(pub u8);

/// One life of one actor. A restarted actor is another one; what was on its way to the old is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ActorId(pub u32);

/// One watch of one actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatchId(pub u32);

/// What an actor hears.
#[derive(Debug)]
pub enum Input {
    /// First input of every actor.
    Start,
    /// A timer that the actor set; the token is the actor's own.
    Timer(u64),
    /// The API server's answer.
    Response(Ticket, Response),
    /// The first, complete list of a watch, or a new one after the stream broke, and the resourceVersion that it
    /// is of: what was deleted before is in no list.
    Listed(WatchId, Vec<Arc<Object>>, u64),
    /// One change seen by a watch.
    Changed(WatchId, Arc<Change>),
    /// Another actor asks. The answer goes back by [`Cx::reply`] with the same ticket, now or later.
    Call(Ticket, Call),
    /// The answer to a call.
    Reply(Ticket, Result<Reply, CallError>),
    /// The result of a command in a container.
    Output(Ticket, Result<Output, CallError>),
    /// To a process: the kubelet (or a fault) sends a signal.
    Signal(Signal),
    /// To a kubelet: a process that it started has ended.
    Exited(ActorId, i32),
    /// To a process: the files of its ConfigMaps and Secrets changed; the kubelet has written them anew.
    Mounts(Arc<Mounts>),
    /// To a process: the clock of its machine has jumped by so much.
    Clock(Span),
}

/// A signal to a process. `Kill` can't be handled: the process is gone when its children learn of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// Which probe of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Kills the container when it fails.
    Liveness,
    /// Takes the Pod out of Services when it fails.
    Readiness,
    /// Holds the others back until it succeeds.
    Startup,
}

/// A state machine of the world.
pub trait Actor: Send + Sync {
    /// A name for traces and for the label of its random stream; unique at any moment in one Kubernetes.
    fn name(&self) -> &str;

    /// Hears an input.
    fn on(&mut self, cx: &mut Cx<'_>, input: Input);

    /// A probe of the kubelet on the same node, answered at once; `None` hangs until its timeout.
    fn probe(&self, _now: Time, _probe: Probe) -> Option<bool> {
        Some(true)
    }

    /// Feeds the state that decides the future into a fingerprint, without identities and times.
    fn fingerprint(&self, _hash: &mut dyn std::hash::Hasher) {}

    /// A copy for a fork of the world.
    fn boxed(&self) -> Arc<dyn Actor>;

    /// For looking at an actor's state in tests, checkers and views.
    fn any(&self) -> &dyn Any;
}

/// Implements [`Actor::boxed`] and [`Actor::any`] for a type that is `Clone`.
#[macro_export]
macro_rules! actor_boilerplate {
    () => {
        fn boxed(&self) -> std::sync::Arc<dyn $crate::world::Actor> {
            std::sync::Arc::new(self.clone())
        }
        fn any(&self) -> &dyn std::any::Any {
            self
        }
    };
}

/// An actor's hands: everything that it may do to the world.
pub struct Cx<'a> {
    pub(super) world: &'a mut World,
    /// The actor itself.
    pub me: ActorId,
    /// The Kubernetes that it belongs to.
    pub kube: KubeId,
    pub(super) gone: Option<i32>,
}

impl Cx<'_> {
    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.world.now
    }

    /// The time of day as this actor's machine has it: the clock may be wrong. Good for what is written down; what
    /// passes is measured by [`Cx::now`].
    #[must_use]
    pub fn clock(&self) -> Time {
        self.world.now + self.world.clock_ahead(self.me, self.kube)
    }

    /// To a kubelet: whether the kernel ended a process because its container had used up its memory.
    #[must_use]
    pub fn ran_out_of_memory(&self, process: ActorId) -> bool {
        self.world.out_of_memory.contains(&process)
    }

    /// Whether an onlooker looks at the world: only then is it worth while to keep what only people read.
    #[must_use]
    pub fn looked_at(&self) -> bool {
        self.world.onlooker.looks()
    }

    /// The random stream of a purpose of this actor.
    pub fn rng(&mut self, label: &str) -> &mut Stream {
        let label = format!("{}/{}/{label}", self.kube.0, self.world.name_of(self.me));
        self.world.streams.stream(&label)
    }

    /// Sends a request to this Kubernetes' API server; the answer comes as [`Input::Response`].
    pub fn submit(&mut self, request: Request) -> Ticket {
        self.world.submit(self.me, self.kube, request)
    }

    /// Starts a list and watch of a kind; first comes [`Input::Listed`], then [`Input::Changed`].
    pub fn watch(&mut self, kind: Kind, namespace: Option<&str>, selector: Selector) -> WatchId {
        self.world.open_watch(self.me, self.kube, kind, namespace, selector)
    }

    /// Starts a list and watch of the Pods that are bound to a node, as a kubelet does by field selector.
    pub fn watch_pods_of(&mut self, node: &str) -> WatchId {
        self.world.open_node_watch(self.me, self.kube, node)
    }

    /// Waits so long, whenever a watch is refused, before it is asked for again.
    pub fn try_watch_again_after(&mut self, watch: WatchId, retries: Retries) {
        self.world.try_watch_again_after(watch, retries);
    }

    /// Since when a watch has been refused whenever it was asked for.
    #[must_use]
    pub fn watch_fails_since(&self, watch: WatchId) -> Option<Time> {
        self.world.watch_fails_since(watch)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: WatchId) {
        self.world.close_watch(watch);
    }

    /// Sets a timer.
    pub fn timer(&mut self, after: Span, token: u64) {
        let at = self.world.now + after;
        self.world.push_timer(at, self.me, token);
    }

    /// Asks another actor over the network; the answer comes as [`Input::Reply`], after `deadline` at the latest.
    pub fn call(&mut self, to: Where, call: Call, deadline: Span) -> Ticket {
        self.world.call(self.me, self.kube, to, call, deadline)
    }

    /// Answers a call.
    pub fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.world.reply(self.me, ticket, reply);
    }

    /// Whether the asker of a call that this actor has not answered still lives and waits: what a server sees
    /// of its connection.
    #[must_use]
    pub fn awaited(&self, ticket: Ticket) -> bool {
        self.world.awaited(ticket)
    }

    /// Runs a command in a container through the API server's `pods/exec`.
    pub fn exec(
        &mut self,
        target: &ivory_core::read::Target,
        command: &ivory_core::command::Command,
        deadline: Span,
    ) -> Ticket {
        self.world.exec(self.me, self.kube, target, command, deadline)
    }

    /// Starts another actor in this Kubernetes. A process gets its Pod's address, and the ports on which it listens.
    pub fn spawn(&mut self, actor: Arc<dyn Actor>, place: Option<Place>) -> ActorId {
        self.world.spawn(self.kube, actor, place, Some(self.me))
    }

    /// Sends a signal to a process of this node.
    pub fn signal(&mut self, to: ActorId, signal: Signal) {
        self.world.signal(to, signal);
    }

    /// Hands a process the files that its Pod's volumes hold now.
    pub fn deliver_mounts(&mut self, to: ActorId, mounts: Arc<Mounts>) {
        self.world.deliver_mounts(to, mounts);
    }

    /// What the image registries of this Kubernetes have.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.world.kube(self.kube).registry
    }

    /// Ends whatever still runs in a container whose main process has ended.
    pub fn reap(&mut self, pod_uid: &str, container: &str) {
        let inside = |p: &Place| &*p.pod_uid == pod_uid && &*p.container == container;
        for process in self.world.processes_where(self.kube, inside) {
            self.world.kill(process, 137);
        }
    }

    /// Asks a process of this node how it does.
    #[must_use]
    pub fn probe(&self, process: ActorId, probe: Probe) -> Option<bool> {
        self.world.probe(process, probe)
    }

    /// Ends this actor after the current input; its parent hears [`Input::Exited`].
    pub fn exit(&mut self, code: i32) {
        self.gone = Some(code);
    }

    /// Writes a line for people into the journal.
    pub fn note(&mut self, milestone: Milestone) {
        let (kube, me) = (self.kube, self.me);
        self.world.note(kube, me, milestone);
    }

    /// The contents of a volume of this Kubernetes, by the PersistentVolume's name, for changing.
    pub fn volume(&mut self, volume: &str) -> Option<&mut crate::disk::Volume> {
        self.world.kube_mut(self.kube).volume_mut(volume)
    }

    /// Makes a disk with nothing on it. An existing one of this name is left as it is.
    pub fn add_volume(&mut self, volume: &str, capacity_bytes: u64) {
        let kube = self.world.kube_mut(self.kube);
        if kube.volume(volume).is_none() {
            let empty = crate::disk::Volume { capacity_bytes, ..crate::disk::Volume::default() };
            kube.add_volume(volume, empty);
        }
    }

    /// Destroys a disk and everything on it.
    pub fn remove_volume(&mut self, volume: &str) {
        self.world.kube_mut(self.kube).remove_volume(volume);
    }

    /// The contents of a volume, for looking at.
    #[must_use]
    pub fn disk(&self, volume: &str) -> Option<&crate::disk::Volume> {
        self.world.kube(self.kube).volume(volume)
    }

    /// Name resolution as a Pod of this Kubernetes sees it: a Pod's own DNS name, or a Service's.
    #[must_use]
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Option<Where> {
        self.world.resolve(self.kube, namespace, host, port)
    }

    /// Whether nothing passes between this actor and whoever listens there.
    #[must_use]
    pub fn apart(&self, to: &Where) -> bool {
        self.world.apart(self.kube, self.me, to)
    }
}

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node.
    pub node: Arc<str>,
    /// The Pod's namespace.
    pub namespace: Arc<str>,
    /// The Pod's name.
    pub pod: Arc<str>,
    /// The Pod's UID.
    pub pod_uid: Arc<str>,
    /// The container's name.
    pub container: Arc<str>,
    /// The Pod's address.
    pub ip: Arc<str>,
    /// Ports on which it listens.
    pub ports: Vec<u16>,
}
