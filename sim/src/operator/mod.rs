//! The operator as an actor: core, driven as the real shell drives it, with caches that lag and one write
//! at a time. It makes no decision of its own.

mod observe;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::answers::Answers;
use ivory_core::context::{Config, Context, Entropy};
use ivory_core::memo::Memos;
use ivory_core::object::Object;
use ivory_core::observed::Observed;
use ivory_core::pace::Pace;
use ivory_core::plan::Plan;
use ivory_core::setbacks::Refusals;
use ivory_core::{Sensitive, steps, wake};

use crate::actor_boilerplate;
use crate::time::{Span, Time};
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Informer, Input, Key, Learned, Ticket};
use run::Run;

/// How long after a failed pass the next one begins; doubled with every failure in a row.
const BACKOFF: Span = Span::ms(500);
/// The longest such pause: after an API server has answered nothing but errors, a cluster is looked after within half a minute,
/// and its conditions are true again within one.
const BACKOFF_MAX: Span = Span::s(30);
/// How soon after a change a pass begins, so that changes that come together are seen together.
const DEBOUNCE: Span = Span::ms(20);

/// The operator.
#[derive(Clone)]
pub struct Operator {
    name: String,
    config: Arc<Config>,
    informers: Vec<Informer>,
    reads: observe::Reads,
    clusters: BTreeMap<Key, Arc<ClusterState>>,
    /// Which cluster waits for an answer.
    tickets: BTreeMap<Ticket, Key>,
    /// Which clusters' timers bear a token; more than one only if their digests are the same.
    tokens: BTreeMap<u64, BTreeSet<Key>>,
    /// How many writes were sent.
    pub writes: u64,
    /// How many plans were made.
    pub plans: u64,
    /// The last pass, kept only while an onlooker looks at the world.
    pub last: Option<Arc<Pass>>,
}

/// A pass up to its plan, for those who ask why.
#[derive(Debug)]
pub struct Pass {
    /// When the plan was made.
    pub at: Time,
    /// Of which cluster.
    pub cluster: Key,
    /// What was seen.
    pub observed: Observed,
    /// What was decided.
    pub plan: Plan,
}

/// What is remembered of one cluster between passes; losing it changes only timing.
#[derive(Clone, Default)]
struct ClusterState {
    run: Option<Run>,
    dirty: bool,
    /// When a pass is due at the latest; a timer is set for it.
    due: Option<Time>,
    failures: u32,
    pace: Pace,
    /// No pass begins before, whatever changes: too much was written lately.
    rests_until: Time,
    /// The versions that own writes led to: caches must have seen them before the next plan.
    written: BTreeMap<Kind, u64>,
    told: BTreeMap<String, (String, String)>,
    last_error: Option<String>,
    /// Each cluster's own: what all share fills up with many clusters, and is forgotten as a whole then.
    memos: Arc<Memos>,
    answers: Answers,
    /// What the API server refused to have written when that was last tried.
    refused: Refusals,
}

impl Operator {
    /// An operator with these settings. Two operators differ by their names.
    #[must_use]
    pub fn new(name: &str, config: Config) -> Self {
        Self {
            name: name.to_owned(),
            config: Arc::new(config),
            informers: Vec::new(),
            reads: observe::Reads::default(),
            clusters: BTreeMap::new(),
            tickets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            writes: 0,
            plans: 0,
            last: None,
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether it has nothing to do and nothing under way.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.clusters.values().all(|c| c.run.is_none() && !c.dirty)
    }

    /// How many clusters it looks after.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// The clusters whose pass has been due for longer than this and has not begun, while nothing is under way for them;
    /// and since when.
    pub fn overdue(&self, now: Time, late: Span) -> impl Iterator<Item = (&Key, Time)> {
        let waiting = self.clusters.iter().filter(|(_, state)| state.run.is_none());
        waiting
            .filter_map(move |(key, state)| Some((key, state.due.filter(|due| now - *due > late)?)))
    }

    /// What a plan for a cluster would see now; for benchmarks.
    #[must_use]
    pub fn observed(&self, key: &Key) -> Option<Observed> {
        let reads = &mut observe::Reads::default();
        observe::observed(&self.informers, &BTreeSet::new(), reads, key, BTreeMap::new())
    }

    /// Which cluster waited for an answer; it waits no more.
    fn owner(&mut self, ticket: Ticket) -> Option<Key> {
        let key = self.tickets.remove(&ticket)?;
        let run = self.clusters.get(&key)?.run.as_ref()?;
        run.awaits(ticket).then_some(key)
    }

    fn state(&mut self, key: &Key) -> &mut ClusterState {
        Arc::make_mut(self.clusters.entry(key.clone()).or_default())
    }

    fn changed(&mut self, cx: &mut Cx<'_>, kind: Kind, learned: &Learned) {
        match learned {
            Learned::NotMine => {}
            Learned::All => {
                for key in observe::clusters(&self.informers) {
                    self.wake(cx, &key, DEBOUNCE);
                }
            }
            Learned::One { key, old, new } => {
                if let (Some(old), Some(new)) = (old, new)
                    && !wake::matters(old, new)
                {
                    return;
                }
                if kind == Kind::IvoryCluster {
                    self.tell_conditions(cx, key, new.as_deref());
                }
                for cluster in observe::concerned(
                    &self.informers,
                    &mut self.reads,
                    kind,
                    key,
                    old.as_deref(),
                    new.as_deref(),
                ) {
                    self.wake(cx, &cluster, DEBOUNCE);
                }
            }
        }
    }

    /// Makes a pass due.
    fn wake(&mut self, cx: &mut Cx<'_>, key: &Key, after: Span) {
        let at = cx.now() + after;
        let state = self.state(key);
        state.dirty = true;
        if state.run.is_some() {
            return;
        }
        self.set_due(cx, key, at);
    }

    fn set_due(&mut self, cx: &mut Cx<'_>, key: &Key, at: Time) {
        let state = self.state(key);
        let at = at.max(state.rests_until);
        if state.due.is_some_and(|due| due <= at) {
            return;
        }
        state.due = Some(at);
        let token = ivory_core::hash::digest(key);
        let same = self.tokens.entry(token).or_default();
        if !same.contains(key) {
            same.insert(key.clone());
        }
        cx.timer(at - cx.now(), token);
    }

    fn timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        let now = cx.now();
        let is_due = |key: &&Key| {
            let state = self.clusters.get(*key);
            state.is_some_and(|s| s.run.is_none() && s.due.is_some_and(|due| due <= now))
        };
        let due: Vec<Key> =
            self.tokens.get(&token).into_iter().flatten().filter(is_due).cloned().collect();
        for key in due {
            self.state(&key).due = None;
            self.begin(cx, &key);
        }
    }

    /// Begins a pass, unless the caches have not yet seen what the last one wrote.
    fn begin(&mut self, cx: &mut Cx<'_>, key: &Key) {
        if !self.informers.iter().all(Informer::synced) {
            return;
        }
        let lagging = self.state(key).written.clone().into_iter().any(|(kind, version)| {
            self.informers.iter().any(|i| i.kind == kind && i.seen() < version)
        });
        if lagging {
            let at = cx.now() + Span::ms(50);
            return self.set_due(cx, key, at);
        }
        let lost = observe::lost(cx, &self.informers);
        let (informers, reads) = (&self.informers, &mut self.reads);
        let observed = observe::observed(informers, &lost, reads, key, BTreeMap::new());
        let Some(observed) = observed else {
            self.clusters.remove(key);
            if let Some(same) = self.tokens.get_mut(&ivory_core::hash::digest(key)) {
                same.remove(key);
            }
            return;
        };
        let state = self.state(key);
        state.dirty = false;
        state.written.clear();
        self.ask(cx, key, observed);
    }

    /// Makes the plan and begins to carry it out.
    fn plan(&mut self, cx: &mut Cx<'_>, key: &Key, observed: &Observed) {
        let context = Context {
            now: cx.now().timestamp(),
            entropy: Entropy(Sensitive::new(cx.rng("entropy").bytes().to_vec())),
            config: (*self.config).clone(),
            denied: BTreeSet::new(),
            refused: self.state(key).refused.clone(),
            blind_since: observe::blind_since(cx, &self.informers).map(Time::timestamp),
        };
        self.plans += 1;
        let plan = steps::plan(observed, &context, Arc::make_mut(&mut self.state(key).memos));
        cx.planned(observed, &context, &plan, &self.state(key).memos);
        if cx.looked_at() {
            let (observed, plan) = (observed.clone(), plan.clone());
            let pass = Pass { at: cx.now(), cluster: key.clone(), observed, plan };
            self.last = Some(Arc::new(pass));
        }
        self.carry_out(cx, key, plan);
    }

    fn finished(&mut self, cx: &mut Cx<'_>, key: &Key, plan: &Plan) {
        let now = cx.now();
        let wrote = !plan.writes.is_empty();
        let state = self.state(key);
        state.answers.tidy(now.timestamp());
        state.run = None;
        state.failures = 0;
        state.last_error = None;
        if wrote {
            state.rests_until = now + state.pace.wrote((now - Time::START).into()).into();
        }
        if wrote || state.dirty {
            self.set_due(cx, key, now + DEBOUNCE);
        } else if let Some(after) = plan.requeue {
            self.set_due(cx, key, now + after.into());
        }
    }

    /// A pass that did not get to its end. One that wrote something first is a new trouble, not the old one.
    fn failed(
        &mut self,
        cx: &mut Cx<'_>,
        key: &Key,
        what: String,
        error: String,
        soon: bool,
        wrote: bool,
    ) {
        let now = cx.now();
        let state = self.state(key);
        state.run = None;
        state.failures = if wrote { 1 } else { state.failures + 1 };
        let pause = Span(BACKOFF.0 << state.failures.min(12)).min(BACKOFF_MAX);
        let news = state.last_error.as_ref() != Some(&error);
        state.last_error = Some(error.clone());
        if news && !soon {
            let cluster = key.1.clone();
            cx.note(Milestone::WriteFailed { cluster, object: what, error });
        }
        let pause = if soon && self.state(key).failures < 5 { Span::ms(100) } else { pause };
        let jitter =
            i64::try_from(cx.rng("jitter").below((pause.0 / 10).max(1) as u64)).unwrap_or(0);
        self.set_due(cx, key, now + pause + Span(jitter));
    }

    /// Conditions that say something new go into the journal.
    fn tell_conditions(&mut self, cx: &mut Cx<'_>, key: &Key, new: Option<&Object>) {
        let Some(list) = new.and_then(|o| o.at(&["status", "conditions"])?.as_array()) else {
            return;
        };
        let text = |c: &serde_json::Value, key: &str| {
            c.get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned()
        };
        let list: Vec<_> = list
            .iter()
            .map(|c| (text(c, "type"), text(c, "status"), text(c, "reason"), text(c, "message")))
            .collect();
        for (kind, status, reason, message) in list {
            let state = self.state(key);
            let before = state.told.insert(kind.clone(), (status.clone(), reason.clone()));
            if before.as_ref() != Some(&(status.clone(), reason.clone())) {
                let cluster = key.1.clone();
                cx.note(Milestone::Condition { cluster, kind, status, reason, message });
            }
        }
    }
}

impl Actor for Operator {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => self.informers = observe::open(cx),
            Input::Timer(token) => self.timer(cx, token),
            Input::Response(ticket, response) => self.answered(cx, ticket, response),
            Input::Output(ticket, output) => self.output(cx, ticket, output),
            Input::Listed(..) | Input::Changed(..) => {
                for index in 0..self.informers.len() {
                    let learned = self.informers[index].learn(&input);
                    if !matches!(learned, Learned::NotMine) {
                        let kind = self.informers[index].kind;
                        self.changed(cx, kind, &learned);
                        break;
                    }
                }
            }
            Input::Call(..)
            | Input::Reply(..)
            | Input::Signal(_)
            | Input::Mounts(_)
            | Input::Clock(_)
            | Input::Exited(..) => {}
        }
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        // One that has just begun has yet to look; one that failed will try again.
        let failing = self.clusters.values().filter(|c| c.failures > 0).count();
        hash.write_u8(u8::from(self.idle()));
        hash.write_u8(u8::from(self.plans > 0));
        hash.write_usize(failing);
    }

    actor_boilerplate!();
}
