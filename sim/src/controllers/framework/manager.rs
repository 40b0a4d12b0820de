//! The actor: one process that runs controllers over shared watch caches, as kube-controller-manager is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, Uid};
use ivory_core::read::Selector;

use crate::actor_boilerplate;
use crate::controllers::framework::queue::Queue;
use crate::controllers::framework::steps::{Disk, Step, Sync, Then, object_in};
use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen};
use crate::controllers::support::heartbeat::is_heartbeat;
use crate::disk::Trouble;
use crate::kube::{ObjectRef, Request, Response, Verb};
use crate::time::{Span, Time};
use crate::world::{Actor, Cx, Informer, Input, Learned, Ticket};

/// How many keys a controller works on side by side; most of the real ones have five workers.
const WORKERS: usize = 5;

/// A process that runs controllers.
#[derive(Clone)]
pub struct Manager {
    name: Arc<str>,
    caches: Caches,
    units: Vec<Unit>,
    tickets: BTreeMap<Ticket, (usize, Key)>,
    started: bool,
    /// Reused, so that a change of no interest allocates nothing.
    scratch: Keys,
}

#[derive(Clone)]
struct Unit {
    controller: &'static dyn Controller,
    user: Arc<str>,
    queue: Queue,
    runs: BTreeMap<Key, Run>,
    /// Own writes that the caches may not have seen yet.
    own: BTreeMap<Key, Own>,
    /// Keys that wait for their own writes.
    held: BTreeSet<Key>,
}

/// A key that is being worked on.
#[derive(Clone)]
struct Run {
    steps: VecDeque<Step>,
    sent: Option<(Target, Option<Then>)>,
    requeue: Option<Span>,
}

/// What a request is about.
#[derive(Clone)]
struct Target {
    kind: Kind,
    creates: bool,
    deletes: Option<(ObjectRef, Uid)>,
}

#[derive(Clone)]
struct Own {
    until: Time,
    writes: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Version(Kind, u64),
    Gone(ObjectRef, Uid),
}

impl Manager {
    /// A process of this name that runs these controllers.
    #[must_use]
    pub fn new(name: &str, controllers: &[&'static dyn Controller]) -> Self {
        let unit = |controller: &&'static dyn Controller| Unit {
            controller: *controller,
            user: format!("kcm/{}", controller.name()).into(),
            queue: Queue::default(),
            runs: BTreeMap::new(),
            own: BTreeMap::new(),
            held: BTreeSet::new(),
        };
        Self {
            name: name.into(),
            caches: Caches::default(),
            units: controllers.iter().map(unit).collect(),
            tickets: BTreeMap::new(),
            started: false,
            scratch: Keys::default(),
        }
    }

    /// Its watch caches.
    #[must_use]
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        let kinds: BTreeSet<Kind> =
            self.units.iter().flat_map(|u| u.controller.watches()).copied().collect();
        for kind in kinds {
            self.caches.add(Informer::open(cx, kind, None, Selector::default()));
        }
    }

    fn listed(&mut self, cx: &mut Cx<'_>, input: &Input) {
        let kinds: Vec<Kind> = self.caches.kinds().collect();
        for kind in kinds {
            let Some(informer) = self.caches.informer_mut(kind) else {
                continue;
            };
            let before = informer.clone();
            if matches!(informer.learn(input), Learned::NotMine) {
                continue;
            }
            if self.started {
                self.compare(cx, kind, &before);
            } else if self.caches.complete() {
                self.started = true;
                self.first_look(cx);
            }
            return;
        }
    }

    /// A new list after a broken stream: every object that differs counts as changed.
    fn compare(&mut self, cx: &mut Cx<'_>, kind: Kind, before: &Informer) {
        let Some(after) = self.caches.informer(kind).cloned() else {
            return;
        };
        let lost = before.iter().filter(|o| after.get(&o.meta.namespace, &o.meta.name).is_none());
        for old in lost {
            self.seen(cx, kind, Some(old), None);
        }
        for new in after.iter() {
            let old = before.get(&new.meta.namespace, &new.meta.name);
            if old.is_none_or(|old| !Arc::ptr_eq(old, new)) {
                self.seen(cx, kind, old, Some(new));
            }
        }
    }

    fn first_look(&mut self, cx: &mut Cx<'_>) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            for &kind in unit.controller.watches() {
                for object in self.caches.all(kind) {
                    let seen = Seen { old: None, new: Some(object) };
                    unit.controller.keys(seen, &self.caches, &mut self.scratch);
                }
            }
            unit.controller.first_keys(&self.caches, &mut self.scratch);
            unit.enqueue(cx, index, &mut self.scratch);
        }
    }

    fn seen(
        &mut self,
        cx: &mut Cx<'_>,
        kind: Kind,
        old: Option<&Arc<Object>>,
        new: Option<&Arc<Object>>,
    ) {
        let seen = Seen { old: old.map(|o| &**o), new: new.map(|o| &**o) };
        if is_heartbeat(seen) {
            return;
        }
        for (index, unit) in self.units.iter_mut().enumerate() {
            if unit.controller.watches().contains(&kind) {
                unit.controller.keys(seen, &self.caches, &mut self.scratch);
                unit.enqueue(cx, index, &mut self.scratch);
            }
        }
    }

    /// Gives the workers what waits.
    fn work(&mut self, cx: &mut Cx<'_>) {
        if !self.started {
            return;
        }
        for index in 0..self.units.len() {
            self.release(index, cx.now());
            loop {
                let unit = &mut self.units[index];
                if unit.runs.len() >= WORKERS {
                    break;
                }
                let Some(key) = unit.queue.pop(|key| !unit.runs.contains_key(key)) else {
                    break;
                };
                match unit.blind_until(&self.caches, &key, cx.now()) {
                    Some(until) => {
                        unit.held.insert(key);
                        cx.timer(until - cx.now(), index as u64);
                    }
                    None => self.begin(cx, index, key),
                }
            }
        }
    }

    /// Keys whose own writes have been seen meanwhile go back into the queue.
    fn release(&mut self, index: usize, now: Time) {
        let unit = &mut self.units[index];
        if unit.held.is_empty() {
            return;
        }
        for key in std::mem::take(&mut unit.held) {
            if unit.blind_until(&self.caches, &key, now).is_some() {
                unit.held.insert(key);
            } else {
                unit.queue.push(key);
            }
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, index: usize, key: Key) {
        let unit = &mut self.units[index];
        let stream = cx.rng(unit.controller.name());
        let mut sync = Sync::new(unit.user.clone(), Time::default(), stream.clone());
        sync.now = cx.now();
        sync.failed_before = unit.queue.failing(&key);
        unit.controller.sync(&self.caches, &key, &mut sync);
        *cx.rng(unit.controller.name()) = sync.rng;
        let run = Run { steps: sync.steps.into(), sent: None, requeue: sync.requeue };
        unit.runs.insert(key.clone(), run);
        self.go_on(cx, index, &key);
    }

    /// Does the steps of a key up to the next request.
    fn go_on(&mut self, cx: &mut Cx<'_>, index: usize, key: &Key) {
        let unit = &mut self.units[index];
        let Some(run) = unit.runs.get_mut(key) else {
            return;
        };
        while let Some(step) = run.steps.pop_front() {
            match step {
                Step::Request(request) => return self.send(cx, index, key, request, None),
                Step::Ask(request, then) => return self.send(cx, index, key, request, Some(then)),
                Step::Disk(disk) => change_disk(cx, &disk),
                Step::Note(milestone) => cx.note(milestone),
                Step::Stop(again) => {
                    run.requeue = Some(again);
                    run.steps.clear();
                }
                Step::Fail => return self.fail(cx, index, key),
            }
        }
        let requeue = unit.runs.remove(key).and_then(|run| run.requeue);
        unit.queue.succeeded(key);
        if let Some(after) = requeue {
            self.later(cx, index, key, after);
        }
    }

    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        index: usize,
        key: &Key,
        request: Request,
        then: Option<Then>,
    ) {
        let target = target_of(&request.verb);
        let ticket = cx.submit(request);
        self.tickets.insert(ticket, (index, key.clone()));
        if let Some(run) = self.units[index].runs.get_mut(key) {
            run.sent = Some((target, then));
        }
    }

    fn answered(&mut self, cx: &mut Cx<'_>, ticket: Ticket, response: &Response) {
        let Some((index, key)) = self.tickets.remove(&ticket) else {
            return;
        };
        let patience = self.units[index].controller.patience();
        let unit = &mut self.units[index];
        let Some((target, then)) = unit.runs.get_mut(&key).and_then(|run| run.sent.take()) else {
            return;
        };
        if let Some(write) = target.write(&self.caches, response) {
            let until = cx.now() + patience;
            let own = unit.own.entry(key.clone()).or_insert(Own { until, writes: Vec::new() });
            own.until = until;
            own.writes.push(write);
        }
        if let Some(then) = then {
            if let Some(run) = unit.runs.get_mut(&key) {
                for step in then(response).into_iter().rev() {
                    run.steps.push_front(step);
                }
            }
            return self.go_on(cx, index, &key);
        }
        match response {
            Ok(_) => self.go_on(cx, index, &key),
            // What is to be changed or deleted is gone already: the watch will tell, there is nothing to repeat.
            Err(status) if status.code == 404 && !target.creates => self.go_on(cx, index, &key),
            Err(_) => self.fail(cx, index, &key),
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, index: usize, key: &Key) {
        let unit = &mut self.units[index];
        unit.runs.remove(key);
        let back_off = unit.queue.failed(key);
        let wait = unit.controller.retries_after().unwrap_or(back_off);
        self.later(cx, index, key, wait);
    }

    fn later(&mut self, cx: &mut Cx<'_>, index: usize, key: &Key, after: Span) {
        if self.units[index].queue.later(key, cx.now() + after) {
            cx.timer(after, index as u64);
        }
    }
}

impl Unit {
    fn enqueue(&mut self, cx: &mut Cx<'_>, index: usize, keys: &mut Keys) {
        keys.now.drain(..).for_each(|key| self.queue.push(key));
        for (key, after) in keys.later.drain(..) {
            if self.queue.later(&key, cx.now() + after) {
                cx.timer(after, index as u64);
            }
        }
    }

    /// Until when a key must wait at most because the caches have not seen its own writes.
    fn blind_until(&mut self, caches: &Caches, key: &Key, now: Time) -> Option<Time> {
        let own = self.own.get_mut(key)?;
        own.writes.retain(|write| !write.seen(caches));
        if own.writes.is_empty() || own.until <= now {
            self.own.remove(key);
            return None;
        }
        Some(own.until)
    }
}

impl Write {
    fn seen(&self, caches: &Caches) -> bool {
        match self {
            Write::Version(kind, version) => {
                caches.informer(*kind).is_none_or(|informer| informer.seen() >= *version)
            }
            Write::Gone(target, uid) => caches
                .get(target.kind, &target.namespace, &target.name)
                .is_none_or(|o| o.terminating() || o.meta.uid != *uid),
        }
    }
}

impl Target {
    /// What a good answer means for the caches.
    fn write(&self, caches: &Caches, response: &Response) -> Option<Write> {
        response.as_ref().ok()?;
        let write = match (&self.deletes, object_in(response)) {
            (Some((target, uid)), _) => Write::Gone(target.clone(), uid.clone()),
            (None, Some(object)) => Write::Version(self.kind, object.meta.resource_version),
            (None, None) => return None,
        };
        (!write.seen(caches)).then_some(write)
    }
}

fn target_of(verb: &Verb) -> Target {
    let (kind, deletes) = match verb {
        Verb::Create(object) | Verb::Update { object, .. } => (object.kind, None),
        Verb::Delete { target, options } => {
            let uid = options.uid.clone();
            (target.kind, uid.map(|uid| (target.clone(), uid)))
        }
        Verb::List { kind, .. } | Verb::DeleteCollection { kind, .. } => (*kind, None),
        Verb::Get(target)
        | Verb::Patch { target, .. }
        | Verb::Evict { target, .. }
        | Verb::Bind { target, .. } => (target.kind, None),
    };
    Target { kind, creates: matches!(verb, Verb::Create(_)), deletes }
}

fn change_disk(cx: &mut Cx<'_>, disk: &Disk) {
    match disk {
        Disk::Add { volume, capacity_bytes } => cx.add_volume(volume, *capacity_bytes),
        Disk::Grow { volume, capacity_bytes } => {
            if let Some(disk) = cx.volume(volume) {
                if *capacity_bytes > disk.capacity_bytes && disk.trouble == Some(Trouble::Full) {
                    disk.trouble = None;
                }
                disk.capacity_bytes = disk.capacity_bytes.max(*capacity_bytes);
            }
        }
        Disk::Remove { volume } => cx.remove_volume(volume),
    }
}

impl Actor for Manager {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match &input {
            Input::Start => self.start(cx),
            Input::Listed(..) => self.listed(cx, &input),
            Input::Changed(_, change) => {
                let kind = change.object.kind;
                let learned = self.caches.informer_mut(kind).map(|i| i.learn(&input));
                if let Some(Learned::One { old, new, .. }) = learned
                    && self.started
                {
                    self.seen(cx, kind, old.as_ref(), new.as_ref());
                }
            }
            Input::Timer(unit) => {
                if let Some(unit) = self.units.get_mut(*unit as usize) {
                    unit.queue.wake(cx.now());
                }
            }
            Input::Response(ticket, response) => self.answered(cx, *ticket, response),
            _ => return,
        }
        self.work(cx);
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        for unit in &self.units {
            unit.queue.fingerprint(hash);
            hash.write_usize(unit.runs.len() + unit.held.len());
        }
    }

    actor_boilerplate!();
}
