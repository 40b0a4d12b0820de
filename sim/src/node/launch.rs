//! How a container gets from its image to its process, and what follows when that ends.

use std::sync::Arc;

use ivory_core::Kind;

use crate::node::container::{Container, State, Step};
use crate::node::env::{self, Facts};
use crate::node::pod::{Stage, Worker, draw};
use crate::node::probe::{KINDS, ProbeRun, Verdict};
use crate::node::programs::{ContainerStart, Disks, Idle};
use crate::node::shared::{Shared, Tick, set_timer};
use crate::node::spec::Pull;
use crate::node::{images, volumes};
use crate::time::Span;
use crate::world::journal::Milestone;
use crate::world::{Cx, Place, Probe};

/// How soon the kubelet notices that a container ended: the period of its look at the runtime.
const NOTICE: Span = Span::s(1);
/// How soon a container whose environment could not be made is tried again.
const CONFIG_RETRY: Span = Span::s(10);

impl Worker {
    /// Begins a container: its image first.
    pub fn begin(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize) {
        self.dirty = true;
        let spec = self.spec.clone();
        let (image, pull) = (&spec.containers[slot].image, spec.containers[slot].pull);
        if !images::is_name(image) {
            let text =
                format!("Failed to apply default image tag {image:?}: couldn't parse image name");
            self.containers[slot].step = None;
            return self.wait(node, cx, slot, "InvalidImageName", text, true);
        }
        let here = node.images.contains(image);
        match pull {
            Pull::Never if !here => {
                let text =
                    format!("Container image {image:?} is not present with pull policy of Never");
                self.wait(node, cx, slot, "ErrImageNeverPull", text, true);
                self.next(cx, slot, Step::Begin, CONFIG_RETRY);
            }
            Pull::IfNotPresent | Pull::Never if here => {
                self.next(cx, slot, Step::Launch, launch_time(slot))
            }
            // What is here is only compared.
            _ if here => self.next(cx, slot, Step::Pulled, Span::ms(500)),
            _ => {
                let now = cx.now();
                let coming = node.pulling.get(image).copied().filter(|at| *at > now);
                let arrives = coming
                    .unwrap_or_else(|| now + Span::s(2) + Span::us(draw(cx, "pull", 6_000_000)));
                node.pulling.insert(image.clone(), arrives);
                self.next(cx, slot, Step::Pulled, arrives - now);
            }
        }
    }

    fn next(&mut self, cx: &mut Cx<'_>, slot: usize, step: Step, after: Span) {
        self.containers[slot].step = Some((step, cx.now() + after));
        set_timer(cx, self.serial, slot, Tick::Step, after);
    }

    /// The container's next step is due.
    pub fn step(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize) {
        let container = &mut self.containers[slot];
        if container.step.as_ref().is_none_or(|(_, due)| *due > cx.now()) {
            return;
        }
        let Some((step, _)) = container.step.take() else {
            return;
        };
        match step {
            Step::Pulled => self.pulled(node, cx, slot),
            Step::ShowPullBackOff(until) => {
                let text = format!("Back-off pulling image {:?}", self.spec.containers[slot].image);
                self.wait(node, cx, slot, "ImagePullBackOff", text, false);
                let left = (until - cx.now()).max(Span::ZERO);
                self.next(cx, slot, Step::PullAgain, left);
            }
            Step::PullAgain | Step::Begin => self.begin(node, cx, slot),
            Step::Launch => self.launch(node, cx, slot),
            Step::InitEnds(exit, message) => self.ended(node, cx, slot, exit, message),
            Step::Restart => self.restart(node, cx, slot),
        }
    }

    fn pulled(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize) {
        let image = self.spec.containers[slot].image.clone();
        if let Some(why) = cx.registry().failure(&image) {
            let text = format!("Failed to pull image {image:?}: {why}");
            self.wait(node, cx, slot, "ErrImagePull", why, false);
            node.recorder.record(cx, &self.pod, false, "Failed", &text);
            let wait = self.containers[slot].pulls.fail();
            let again = cx.now() + wait;
            return self.next(cx, slot, Step::ShowPullBackOff(again), Span::s(1));
        }
        self.containers[slot].pulls.reset();
        if node.images.insert(image.clone()) {
            let text = format!("Successfully pulled image {image:?}");
            node.recorder.record(cx, &self.pod, true, "Pulled", &text);
        }
        self.next(cx, slot, Step::Launch, launch_time(slot));
    }

    fn launch(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize) {
        let namespace = self.pod.meta.namespace.clone();
        let ip = self.ip.clone().unwrap_or_default();
        let spec = self.spec.containers[slot].clone();
        let resolved = {
            let find = |kind: Kind, name: &str| node.find(kind, &namespace, name);
            let facts = Facts {
                pod: &self.pod,
                node: &node.config.name,
                ip: &ip,
                host_ip: &node.host_ip,
                find: &find,
            };
            let json = spec.json(&self.pod);
            env::resolve(json, &facts).map(|env| (env, volumes::persistent(&self.pod, json, &find)))
        };
        let (env, volumes) = match resolved {
            Ok(all) => all,
            Err(text) => {
                self.wait(node, cx, slot, "CreateContainerConfigError", text, true);
                return self.next(cx, slot, Step::Begin, CONFIG_RETRY);
            }
        };
        let container = &mut self.containers[slot];
        if container.launched {
            container.restarts += 1;
        }
        let start = ContainerStart {
            pod: self.pod.clone(),
            container: spec.name.clone(),
            init: slot < self.spec.inits,
            image: spec.image.clone(),
            env,
            mounts: self.mounts.clone(),
            volumes,
            ports: spec.ports(&self.pod),
            node: node.config.name.as_str().into(),
            ip: ip.clone(),
            restarts: container.restarts,
        };
        if let State::Ended(ended) = &container.state {
            container.last = Some(ended.clone());
        }
        container.state = State::Running { since: cx.now() };
        container.launched = true;
        self.dirty = true;
        let text = format!("Started container {}", spec.name);
        node.recorder.record(cx, &self.pod, true, "Started", &text);
        if start.init {
            let programs = node.programs.clone();
            let mut disks = Disks { cx: &mut *cx, volumes: &start.volumes };
            let outcome = programs.init(&start, &mut disks);
            let ends = Step::InitEnds(outcome.exit, outcome.message);
            return self.next(cx, slot, ends, outcome.takes);
        }
        let place = Place {
            node: start.node.clone(),
            namespace,
            pod: self.pod.meta.name.clone(),
            pod_uid: self.pod.meta.uid.clone(),
            container: spec.name.clone(),
            ip,
            ports: node.programs.ports(&start),
        };
        let actor = node.programs.start(&start);
        let actor = actor.unwrap_or_else(|| Arc::new(Idle::new(&start)));
        let process = cx.spawn(actor, Some(place));
        node.processes.insert(process, (self.serial, slot));
        self.containers[slot].process = Some(process);
        if spec.probes[0].is_some() {
            self.begin_probe(cx, slot, 0);
        } else {
            self.started(cx, slot);
        }
    }

    /// The container is up: the other probes begin.
    fn started(&mut self, cx: &mut Cx<'_>, slot: usize) {
        let probes = self.spec.containers[slot].probes;
        let container = &mut self.containers[slot];
        container.started = true;
        container.ready = probes[2].is_none();
        self.dirty = true;
        for index in [1, 2] {
            self.begin_probe(cx, slot, index);
        }
    }

    fn begin_probe(&mut self, cx: &mut Cx<'_>, slot: usize, index: usize) {
        let Some(spec) = self.spec.containers[slot].probes[index] else {
            return;
        };
        // The worker of a probe looks first a moment after the container's start.
        let delay = spec.delay.max(Span::ms(100));
        self.containers[slot].probes[index] = ProbeRun::begin(cx.now() + delay);
        set_timer(cx, self.serial, slot, Tick::Probe(index), delay);
    }

    /// A probe is due. This is a hot path: a result that changes nothing costs nothing more.
    pub fn probe(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize, index: usize) {
        let container = &mut self.containers[slot];
        let Some(spec) = self.spec.containers[slot].probes[index] else {
            return;
        };
        let run = &mut container.probes[index];
        let Some(process) = container.process.filter(|_| run.due.is_some_and(|d| d <= cx.now()))
        else {
            return;
        };
        let good = cx.probe(process, KINDS[index]) == Some(true);
        let verdict = run.result(&spec, good);
        run.due = Some(cx.now() + spec.period);
        set_timer(cx, self.serial, slot, Tick::Probe(index), spec.period);
        match (KINDS[index], verdict) {
            (_, Verdict::Undecided) | (Probe::Liveness, Verdict::Good) => {}
            (Probe::Startup, Verdict::Good) => {
                container.probes[index].due = None;
                self.started(cx, slot);
            }
            (Probe::Readiness, verdict) => {
                let ready = verdict == Verdict::Good;
                if container.ready != ready {
                    container.ready = ready;
                    self.dirty = true;
                    if !ready {
                        node.recorder.record(
                            cx,
                            &self.pod,
                            false,
                            "Unhealthy",
                            "Readiness probe failed",
                        );
                    }
                }
            }
            (kind, Verdict::Bad) => self.unhealthy(node, cx, slot, kind),
        }
    }

    fn unhealthy(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize, kind: Probe) {
        let word = if kind == Probe::Startup { "startup" } else { "liveness" };
        let name = self.spec.containers[slot].name.clone();
        let container = &mut self.containers[slot];
        (container.probes[0].due, container.probes[1].due) = (None, None);
        let text =
            format!("{} probe failed", if word == "startup" { "Startup" } else { "Liveness" });
        node.recorder.record(cx, &self.pod, false, "Unhealthy", &text);
        let text = format!("Container {name} failed {word} probe, will be restarted");
        node.recorder.record(cx, &self.pod, true, "Killing", &text);
        self.stop_container(cx, slot, self.spec.grace_s.max(1));
    }

    /// A container has ended.
    pub fn ended(
        &mut self,
        node: &mut Shared,
        cx: &mut Cx<'_>,
        slot: usize,
        exit: i32,
        message: String,
    ) {
        let name = self.spec.containers[slot].name.clone();
        cx.reap(&self.pod.meta.uid, &name);
        self.containers[slot].end(exit, message, cx.now());
        self.dirty = true;
        match self.stage {
            Stage::Stopping => return self.check_stopped(cx),
            Stage::Init(current) if current == slot && exit == 0 => {
                return self.next_init(node, cx, slot + 1);
            }
            _ => {}
        }
        if self.spec.restarts(slot, exit) {
            return self.next(cx, slot, Step::Restart, NOTICE);
        }
        let mains = &self.containers[self.spec.inits..];
        if slot < self.spec.inits || mains.iter().all(for_good) {
            self.stage = Stage::Ended;
        }
    }

    /// The runtime says that a container which has ended had used up its memory.
    pub fn ran_out_of_memory(&mut self, slot: usize) {
        if let State::Ended(ended) = &mut self.containers[slot].state {
            ended.reason = "OOMKilled";
        }
    }

    /// A container that ended is started again, at once or after its back-off.
    fn restart(&mut self, node: &mut Shared, cx: &mut Cx<'_>, slot: usize) {
        let container = &mut self.containers[slot];
        let Some(finished) = container.ended().map(|e| e.finished) else {
            return;
        };
        let until = finished + container.crashes.wait_after(finished);
        if until <= cx.now() {
            return self.begin(node, cx, slot);
        }
        let name = self.spec.containers[slot].name.clone();
        let meta = &self.pod.meta;
        let text = format!(
            "back-off {} restarting failed container={name} pod={}_{}({})",
            go_duration(until - finished),
            meta.name,
            meta.namespace,
            meta.uid
        );
        let event = format!(
            "Back-off restarting failed container {name} in pod {}_{}({})",
            meta.name, meta.namespace, meta.uid
        );
        node.recorder.record(cx, &self.pod, false, "BackOff", &event);
        self.wait(node, cx, slot, "CrashLoopBackOff", text, false);
        let left = until - cx.now();
        self.next(cx, slot, Step::Begin, left);
    }

    /// A container can't go on; the reason is shown, and told once.
    fn wait(
        &mut self,
        node: &mut Shared,
        cx: &mut Cx<'_>,
        slot: usize,
        reason: &'static str,
        message: String,
        event: bool,
    ) {
        let container = &mut self.containers[slot];
        let told = matches!(&container.state, State::Waiting { reason: r, .. } if *r == reason);
        if event && !told {
            node.recorder.record(cx, &self.pod, false, "Failed", &message);
        }
        if !told {
            cx.note(Milestone::ContainerWaiting {
                pod: self.pod.meta.name.clone(),
                container: self.spec.containers[slot].name.clone(),
                reason,
            });
        }
        container.wait(reason, message);
        self.dirty = true;
    }
}

/// Whether a container has ended and will not be started again.
fn for_good(container: &Container) -> bool {
    container.ended().is_some() && container.step.is_none()
}

/// Creating and starting takes a moment, and goes in order.
fn launch_time(slot: usize) -> Span {
    Span::ms(300 + 50 * i64::try_from(slot).unwrap_or(0))
}

/// Seconds as Go prints a duration: `10s`, `2m40s`.
fn go_duration(span: Span) -> String {
    let seconds = span.0 / 1_000_000;
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    }
}
