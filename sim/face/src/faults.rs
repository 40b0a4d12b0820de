//! What goes wrong on the way, and the record of what was asked. Rules are the caller's; without any, all passes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ivory_core::Kind;
use tokio::sync::watch;
use tokio::time::Instant;

/// A request, as an authorizer sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Who asks ([`crate::Caller::name`]).
    pub by: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The kind that it is about.
    pub kind: Kind,
    /// The plural, with the subresource after a slash.
    pub resource: String,
    /// The namespace; empty for all of them, and for kinds without.
    pub namespace: String,
    /// The object's name; empty for lists.
    pub name: String,
    /// What a delete is about beside the name, or what a command says.
    pub detail: String,
}

impl Asked {
    /// Whether it changes something; a Lease counts for nothing.
    #[must_use]
    pub fn writes(&self) -> bool {
        let reads = ["get", "list", "watch"].contains(&self.verb);
        !reads && self.kind != Kind::Lease
    }

    /// Whether it is this verb on this kind.
    pub fn is(&self, verb: &str, kind: Kind) -> bool {
        self.verb == verb && self.kind == kind
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it was answered, or given up.
    pub at: Instant,
    /// What was asked.
    pub asked: Asked,
    /// The status code; none when nothing was heard.
    pub code: Option<u16>,
    /// Whether it reached the world at all.
    pub arrived: bool,
    /// Who held the operators' lease when it arrived, if there is one.
    pub holder: String,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// It is answered like this and does nothing.
    Answer(u16, &'static str),
    /// It does what it should, and the answer never comes.
    LoseAnswer,
    /// The connection is refused.
    Refuse,
    /// It arrives later.
    Delay(Duration),
}

type When = Box<dyn Fn(&Asked) -> bool + Send>;

struct Rule {
    when: When,
    /// How many requests it is about.
    left: usize,
    /// Until when it holds.
    until: Option<Instant>,
    action: Action,
}

/// How watches are ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The connection breaks.
    Cut,
    /// The server has forgotten what came after the version that is followed.
    Expired,
}

/// The faults of one run, and its record.
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    record: Mutex<Vec<Told>>,
    /// Counts how often all watches were ended, and how the last time.
    pub ends: watch::Sender<(u64, End)>,
    /// How much later watches tell of what happens from now on.
    pub lag: watch::Sender<Duration>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rules: Mutex::default(),
            record: Mutex::default(),
            ends: watch::Sender::new((0, End::Cut)),
            lag: watch::Sender::new(Duration::ZERO),
        }
    }
}

impl Faults {
    /// The next so many requests that fit fare like this.
    pub fn next(
        &self,
        times: usize,
        action: Action,
        when: impl Fn(&Asked) -> bool + Send + 'static,
    ) {
        self.add(times, None, action, Box::new(when));
    }

    /// All requests that fit fare like this for a while.
    pub fn during(
        &self,
        span: Duration,
        action: Action,
        when: impl Fn(&Asked) -> bool + Send + 'static,
    ) {
        self.add(usize::MAX, Some(Instant::now() + span), action, Box::new(when));
    }

    fn add(&self, left: usize, until: Option<Instant>, action: Action, when: When) {
        let rule = Rule { when, left, until, action };
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// All watches end.
    pub fn end_watches(&self, end: End) {
        self.ends.send_modify(|(count, how)| {
            *count += 1;
            *how = end;
        });
    }

    /// What happens to a request: the first rule that fits. Counts it.
    pub fn of(&self, asked: &Asked) -> Option<Action> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let fits = |r: &&mut Rule| r.left > 0 && r.until.is_none_or(|u| u > now) && (r.when)(asked);
        let rule = rules.iter_mut().find(fits)?;
        rule.left -= 1;
        Some(rule.action.clone())
    }

    /// Keeps what came of a request.
    pub fn record(&self, told: Told) {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last write that reached the world.
    #[must_use]
    pub fn last_write(&self) -> Option<Told> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.iter().rev().find(|t| t.asked.writes() && t.arrived).cloned()
    }
}
