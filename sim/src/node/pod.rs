//! One Pod on one node, from its arrival to its end: volumes, init containers, containers, deletion. How a
//! single container gets from its image to its process is told in `launch.rs`.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use crate::kube::Status;
use crate::node::backoff::Doubling;
use crate::node::container::{Container, Ended, State};
use crate::node::json::{items, text};
use crate::node::mounts::Mounts;
use crate::node::shared::{Asked, Shared, Tick, set_timer};
use crate::node::spec::{PodSpec, Restart};
use crate::node::{requests, status, volumes};
use crate::time::{Span, Time};
use crate::world::journal::Milestone;
use crate::world::{Cx, Signal};

/// How long a kubelet may take to write changed files: its sync period.
const FILES_LAG: Span = Span::s(60);
/// How often all statuses are compared with those of the API (`syncPeriod` of the kubelet's status manager).
const STATUS_PERIOD: Span = Span::s(10);
/// How long it takes to take down what a Pod had.
const CLEAN_UP: Span = Span::ms(300);

/// Waits between two attempts to set up volumes.
const MOUNT_RETRY: Doubling = Doubling::new(Span::ms(500), Span::s(122));
/// How long a node that went silent keeps its volumes.
const FORCE_DETACH: Span = Span::s(360);

/// How far a Pod is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Volumes and network.
    Mounting,
    /// The init container of this number.
    Init(usize),
    /// The containers.
    Running,
    /// All containers ended for good.
    Ended,
    /// SIGTERM was sent.
    Stopping,
    /// Everything has stopped.
    Finishing,
    /// The API may forget it.
    Deleting,
    /// Nothing is left.
    Over,
}

/// A Pod.
#[derive(Clone)]
pub struct Worker {
    /// Its number on this node.
    pub serial: u32,
    /// The newest object, by watch or by answer.
    pub pod: Arc<Object>,
    /// Its spec.
    pub spec: Arc<PodSpec>,
    /// How far it is.
    pub stage: Stage,
    /// Init containers, then the others.
    pub containers: Vec<Container>,
    /// Its address.
    pub ip: Option<Arc<str>>,
    /// `status.startTime`.
    pub start_time: String,
    /// What its volumes show.
    pub mounts: Arc<Mounts>,
    /// Whether something changed that the API should know.
    pub dirty: bool,
    holds: [bool; 5],
    since: [String; 5],
    mount_retry: Doubling,
    /// Since when it waits for another node to give up a volume.
    attach_since: Option<Time>,
    files_due: Option<Time>,
    writing: bool,
    deleting: bool,
    /// The object is gone, what runs must end.
    gone: bool,
    /// It had ended before this kubelet's life; its status is history.
    frozen: bool,
}

impl Worker {
    /// A Pod that this kubelet has not known so far.
    pub fn new(serial: u32, pod: Arc<Object>, now: Time) -> Self {
        let spec = Arc::new(PodSpec::of(&pod));
        let waiting = if spec.inits > 0 { "PodInitializing" } else { "ContainerCreating" };
        let mut containers: Vec<_> =
            spec.containers.iter().map(|_| Container::new(waiting)).collect();
        for (container, spec) in containers.iter_mut().zip(&spec.containers) {
            remember(container, &pod, spec.place.0, &spec.name, now);
        }
        let start_time = pod.str_at(&["status", "startTime"]).map(str::to_owned);
        let mut holds = [false; 5];
        let mut since = [const { String::new() }; 5];
        for (i, kind) in status::CONDITIONS.iter().enumerate() {
            let known = pod.condition(kind);
            holds[i] = pod.condition_true(kind);
            since[i] = known
                .and_then(|c| text(c, &["lastTransitionTime"]))
                .map_or_else(|| status::wire(now), str::to_owned);
        }
        let ended = matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"));
        Self {
            serial,
            spec,
            stage: if ended { Stage::Ended } else { Stage::Mounting },
            containers,
            ip: None,
            start_time: start_time.unwrap_or_else(|| status::wire(now)),
            mounts: Arc::default(),
            dirty: true,
            holds,
            since,
            mount_retry: MOUNT_RETRY,
            attach_since: None,
            files_due: None,
            writing: false,
            deleting: false,
            gone: false,
            frozen: ended,
            pod,
        }
    }

    /// Begins.
    pub fn start(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        let ran = self.containers[self.spec.inits..].iter().any(|c| c.launched);
        if self.stage == Stage::Mounting && self.spec.restart == Restart::Never && ran {
            self.lose_containers(cx.now());
        }
        if self.pod.terminating() {
            self.stop(node, cx);
        } else if self.stage == Stage::Mounting {
            let delay = Span::ms(200) + Span::us(draw(cx, "mount", 1_000_000));
            set_timer(cx, self.serial, 0, Tick::Mount, delay);
        }
    }

    /// Containers that ran before the node went down, and may not be started again.
    fn lose_containers(&mut self, now: Time) {
        self.stage = Stage::Ended;
        for container in &mut self.containers[self.spec.inits..] {
            container.state = State::Ended(Ended {
                exit: 137,
                reason: "ContainerStatusUnknown",
                message: "The container could not be located when the pod was terminated".into(),
                started: now,
                finished: now,
            });
        }
    }

    /// Whether all init containers have succeeded.
    pub fn initialized(&self) -> bool {
        let inits = &self.containers[..self.spec.inits];
        inits.iter().all(|c| c.ended().is_some_and(|e| e.exit == 0))
            && (self.stage != Stage::Mounting || self.spec.inits == 0)
    }

    /// The Pod changed in the API.
    pub fn changed(&mut self, node: &mut Shared, cx: &mut Cx<'_>, pod: &Arc<Object>) {
        if pod.meta.resource_version <= self.pod.meta.resource_version {
            return;
        }
        let old = std::mem::replace(&mut self.pod, pod.clone());
        if pod.terminating() && (!old.terminating() || sooner(&old, pod)) {
            self.stop(node, cx);
        }
        if old.meta.labels != pod.meta.labels || old.meta.annotations != pod.meta.annotations {
            self.hurry_files(cx);
        }
        if Arc::ptr_eq(&old.body, &pod.body) {
            return;
        }
        if old.at(&["spec"]) != pod.at(&["spec"]) {
            self.respec(node, cx);
        }
        // Somebody else wrote the status, as the node controller does for nodes that went silent.
        if old.at(&["status"]) != pod.at(&["status"]) && !self.writing {
            self.put_right_later(cx);
        }
    }

    /// What the API has, or does not have, is looked at with all the others.
    fn put_right_later(&self, cx: &mut Cx<'_>) {
        let left = STATUS_PERIOD.0 - cx.now().0 % STATUS_PERIOD.0;
        set_timer(cx, self.serial, 0, Tick::Status, Span(left));
    }

    /// Images can be changed in a running Pod.
    fn respec(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        let spec = PodSpec::of(&self.pod);
        if spec.containers.len() != self.containers.len() {
            return;
        }
        let old = std::mem::replace(&mut self.spec, Arc::new(spec));
        for slot in 0..self.containers.len() {
            if old.containers[slot].image == self.spec.containers[slot].image {
                continue;
            }
            let container = &mut self.containers[slot];
            if container.running() {
                let text = format!(
                    "Container {} definition changed, will be restarted",
                    self.spec.containers[slot].name
                );
                node.recorder.record(cx, &self.pod, true, "Killing", &text);
                self.stop_container(cx, slot, self.spec.grace_s);
            } else if container.step.is_some() || container.ended().is_none() {
                let its_turn = match self.stage {
                    Stage::Init(current) => slot == current,
                    Stage::Running => slot >= self.spec.inits,
                    _ => false,
                };
                if its_turn {
                    container.pulls.reset();
                    self.begin(node, cx, slot);
                }
            }
            self.dirty = true;
        }
    }

    /// The Pod's object is gone from the API.
    pub fn vanish(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        self.gone = true;
        if matches!(self.stage, Stage::Finishing | Stage::Deleting) {
            self.stage = Stage::Over;
        } else {
            self.stop(node, cx);
        }
    }

    /// Sends SIGTERM, or brings SIGKILL forward.
    fn stop(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        if matches!(self.stage, Stage::Finishing | Stage::Deleting | Stage::Over) {
            return;
        }
        // As kubelet's `calculateEffectiveGracePeriod` has it: a grace period of 0 is none, and then the
        // Pod's own holds. So what runs in a Pod that was deleted by force outlives its object.
        let asked = self.pod.meta.deletion_grace_seconds.filter(|s| *s > 0);
        let grace = asked.unwrap_or(self.spec.grace_s).max(1);
        self.stage = Stage::Stopping;
        self.files_due = None;
        for slot in 0..self.containers.len() {
            if self.containers[slot].running() && self.containers[slot].kill_at.is_none() {
                let text = format!("Stopping container {}", self.spec.containers[slot].name);
                node.recorder.record(cx, &self.pod, true, "Killing", &text);
            }
            self.stop_container(cx, slot, grace);
            // Readiness goes on being probed while a container stops; the others do not.
            let container = &mut self.containers[slot];
            (container.probes[0].due, container.probes[1].due) = (None, None);
        }
        self.check_stopped(cx);
    }

    /// Sends SIGTERM to a container; SIGKILL follows.
    pub fn stop_container(&mut self, cx: &mut Cx<'_>, slot: usize, grace_s: i64) {
        let container = &mut self.containers[slot];
        let now = cx.now();
        let kill_at = now + Span::s(grace_s);
        match container.process {
            Some(process) if container.kill_at.is_none() => {
                container.kill_at = Some(kill_at);
                cx.signal(process, Signal::Term);
                set_timer(cx, self.serial, slot, Tick::Kill, kill_at - now);
            }
            Some(_) if container.kill_at.is_some_and(|at| kill_at < at) => {
                container.kill_at = Some(kill_at);
                set_timer(cx, self.serial, slot, Tick::Kill, kill_at - now);
            }
            Some(_) => {}
            None if container.running() => {
                container.end(143, String::new(), now);
                self.dirty = true;
            }
            None => container.step = None,
        }
    }

    /// Goes on when the last container has stopped.
    pub fn check_stopped(&mut self, cx: &mut Cx<'_>) {
        if self.stage != Stage::Stopping || self.containers.iter().any(Container::running) {
            return;
        }
        self.stage = if self.gone {
            Stage::Over
        } else {
            set_timer(cx, self.serial, 0, Tick::Finish, CLEAN_UP);
            Stage::Finishing
        };
        self.dirty = true;
    }

    /// A timer of this Pod rings.
    pub fn tick(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize, tick: Tick) {
        match tick {
            Tick::Mount if self.stage == Stage::Mounting => self.mount(node, cx),
            Tick::Files if self.files_due.is_some_and(|due| due <= cx.now()) => {
                self.files_due = None;
                self.write_files(node, cx);
            }
            Tick::Status => self.dirty |= !self.writing && !self.frozen,
            Tick::Finish if self.stage == Stage::Finishing => self.stage = Stage::Deleting,
            Tick::Finish | Tick::Mount | Tick::Files => {}
            Tick::Kill => {
                let container = &self.containers[slot];
                if let Some(process) = container.process
                    && container.kill_at.is_some_and(|at| at <= cx.now())
                {
                    cx.signal(process, Signal::Kill);
                }
            }
            Tick::Step => self.step(node, cx, slot),
            Tick::Probe(index) => self.probe(node, cx, slot, index),
        }
    }

    fn mount(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        if !node.synced() {
            return set_timer(cx, self.serial, 0, Tick::Mount, Span::ms(100));
        }
        let namespace = self.pod.meta.namespace.clone();
        let found = {
            let find = |kind: Kind, name: &str| node.find(kind, &namespace, name);
            volumes::mount(&self.pod, &find)
        };
        let mounts = match found {
            Ok(mounts) => mounts,
            Err((volume, why)) => {
                let text = format!("MountVolume.SetUp failed for volume {volume:?} : {why}");
                return self.mount_failed(node, cx, "FailedMount", &text);
            }
        };
        let volumes = {
            let find = |kind: Kind, name: &str| node.find(kind, &namespace, name);
            volumes::exclusive(&self.pod, &find)
        };
        if let Some(volume) = volumes.iter().find(|v| self.attached_elsewhere(node, v, cx.now())) {
            let text = format!(
                "Multi-Attach error for volume {volume:?} Volume is already exclusively attached to one node and can't be attached to another"
            );
            return self.mount_failed(node, cx, "FailedAttachVolume", &text);
        }
        node.use_volumes(self.serial, volumes);
        self.mounts = Arc::new(mounts);
        let host = self.pod.at(&["spec", "hostNetwork"]) == Some(&Value::Bool(true));
        self.ip = Some(if host { node.host_ip.clone() } else { node.take_ip(cx.kube) });
        self.dirty = true;
        self.next_init(node, cx, 0);
    }

    /// Whether another node still has a volume that only one can have. A node that went silent loses it after
    /// six minutes (`maxWaitForUnmountDuration` of the attach/detach controller), one that is deleted at once.
    fn attached_elsewhere(&mut self, node: &Shared, volume: &str, now: Time) -> bool {
        let Some(ready) = node.user_of(volume) else {
            return false;
        };
        let since = *self.attach_since.get_or_insert(now);
        ready || now - since < FORCE_DETACH
    }

    fn mount_failed(
        &mut self,
        node: &mut Shared,
        cx: &mut Cx<'_>,
        reason: &'static str,
        text: &str,
    ) {
        if self.mount_retry == MOUNT_RETRY {
            let first = self.spec.inits.min(self.containers.len().saturating_sub(1));
            cx.note(Milestone::ContainerWaiting {
                pod: self.pod.meta.name.clone(),
                container: self.spec.containers[first].name.clone(),
                reason,
            });
        }
        node.recorder.record(cx, &self.pod, false, reason, text);
        let wait = self.mount_retry.fail();
        set_timer(cx, self.serial, 0, Tick::Mount, wait);
    }

    /// Begins the init container of a number, or all containers when there is none.
    pub fn next_init(&mut self, node: &mut Shared, cx: &mut Cx<'_>, number: usize) {
        if number < self.spec.inits {
            self.stage = Stage::Init(number);
            return self.begin(node, cx, number);
        }
        self.stage = Stage::Running;
        for slot in self.spec.inits..self.containers.len() {
            self.begin(node, cx, slot);
        }
    }

    /// A ConfigMap or Secret of this Pod's volumes changed.
    pub fn files_changed(&mut self, cx: &mut Cx<'_>) {
        if !matches!(self.stage, Stage::Init(_) | Stage::Running) || self.files_due.is_some() {
            return;
        }
        let delay = Span::ms(500) + Span::us(draw(cx, "files", FILES_LAG.0.unsigned_abs()));
        self.files_due = Some(cx.now() + delay);
        set_timer(cx, self.serial, 0, Tick::Files, delay);
    }

    /// A change of labels or annotations makes the kubelet look at the Pod at once, its files included.
    fn hurry_files(&mut self, cx: &mut Cx<'_>) {
        let soon = Span::ms(500);
        if let Some(due) = &mut self.files_due
            && *due > cx.now() + soon
        {
            *due = cx.now() + soon;
            set_timer(cx, self.serial, 0, Tick::Files, soon);
        }
    }

    fn write_files(&mut self, node: &Shared, cx: &mut Cx<'_>) {
        let namespace = self.pod.meta.namespace.clone();
        let find = |kind: Kind, name: &str| node.find(kind, &namespace, name);
        // What can't be set up any more keeps its old files.
        let Ok(mounts) = volumes::mount(&self.pod, &find) else {
            return;
        };
        if mounts.same_files(&self.mounts) {
            return;
        }
        self.mounts = Arc::new(mounts);
        for process in self.containers.iter().filter_map(|c| c.process) {
            cx.deliver_mounts(process, self.mounts.clone());
        }
    }

    /// After every input: writes the status when it changed, and the deletion when everything is done.
    pub fn settle(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        if self.dirty && !self.writing && !self.gone {
            self.dirty = false;
            if !self.frozen {
                self.write_status(node, cx);
            }
        }
        if self.stage == Stage::Deleting && !self.writing && !self.deleting && !self.gone {
            self.deleting = true;
            let verb = requests::delete_now(&self.pod);
            node.ask(cx, Asked::Delete(self.serial), verb);
        }
    }

    fn write_status(&mut self, node: &mut Shared, cx: &mut Cx<'_>) {
        let holds = status::conditions(self);
        for (i, (old, new)) in self.holds.iter().zip(holds).enumerate() {
            if *old != new {
                self.since[i] = status::wire(cx.now());
            }
        }
        if self.holds[2] != holds[2] {
            cx.note(Milestone::Ready { pod: self.pod.meta.name.clone(), ready: holds[2] });
        }
        self.holds = holds;
        let mut status = status::build(self, &node.host_ip, holds, &self.since);
        if status::says(&self.pod, &status) {
            return;
        }
        status::take_away(&self.pod, &mut status);
        // The UID keeps a late status off a later Pod of the same name.
        let patch = json!({"metadata": {"uid": &*self.pod.meta.uid}, "status": status});
        let verb = requests::patch_status(&self.pod, patch);
        self.writing = true;
        node.ask(cx, Asked::Status(self.serial), verb);
    }

    /// The answer to a write of the status.
    pub fn status_written(
        &mut self,
        node: &mut Shared,
        cx: &mut Cx<'_>,
        answer: Result<Option<Arc<Object>>, &Status>,
    ) {
        match answer {
            Ok(Some(pod)) if self.pod.meta.resource_version > pod.meta.resource_version => {
                self.put_right_later(cx);
            }
            Ok(Some(pod)) => self.changed(node, cx, &pod),
            Ok(None) => {}
            Err(status) if status.code == 404 => {}
            Err(_) => self.put_right_later(cx),
        }
        self.writing = false;
    }

    /// The answer to the deletion.
    pub fn deletion_answered(&mut self, cx: &mut Cx<'_>, answer: Result<(), &Status>) {
        match answer {
            Ok(()) => {}
            Err(status) if status.code == 404 => {}
            // Again, until the watch says that it is gone.
            Err(_) => {
                self.deleting = false;
                self.stage = Stage::Finishing;
                set_timer(cx, self.serial, 0, Tick::Finish, Span::s(1));
            }
        }
    }
}

/// Whether a deletion was brought forward.
fn sooner(old: &Object, new: &Object) -> bool {
    old.meta.deletion_grace_seconds > new.meta.deletion_grace_seconds
}

/// A random number below a bound, from the kubelet's own stream.
pub fn draw(cx: &mut Cx<'_>, label: &str, bound: u64) -> i64 {
    i64::try_from(cx.rng(label).below(bound)).unwrap_or(0)
}

/// Takes over what the API knows of a container's former life on this node.
fn remember(container: &mut Container, pod: &Object, group: &str, name: &str, now: Time) {
    let statuses =
        if group == "containers" { "containerStatuses" } else { "initContainerStatuses" };
    let known = items(pod, &["status", statuses]);
    let Some(known) = known.iter().find(|s| text(s, &["name"]) == Some(name)) else {
        return;
    };
    container.restarts = known.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
    let ran = |state: &str| known.get("state").is_some_and(|s| s.get(state).is_some());
    container.launched = ran("running")
        || ran("terminated")
        || container.restarts > 0
        || known.get("lastState").is_some_and(|l| l.get("terminated").is_some());
    if ran("running") {
        let started = text(known, &["state", "running", "startedAt"])
            .and_then(|t| t.parse::<jiff::Timestamp>().ok())
            .map_or(now, Time::from);
        container.last = Some(Ended {
            exit: 255,
            reason: "Unknown",
            message: String::new(),
            started,
            finished: now,
        });
    }
}
