//! Which messages are cut, where and how. Empty in a world without faults.

use std::sync::Arc;

use ivory_core::Kind;

use crate::kube::{Body, Subresource, Verb};
use crate::time::{Span, Time};
use crate::world::actor::{ActorId, KubeId, WatchId};
use crate::world::message::{Cut, Envelope, Point, What};

/// One rule: the first that matches a message at a point decides what happens to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// A name for the trace.
    pub name: Arc<str>,
    /// From when on.
    pub from: Time,
    /// Until when; none for ever.
    pub until: Option<Time>,
    /// How many messages it still cuts; none for all.
    pub left: Option<u32>,
    /// Every so-manieth of those that match is cut; 1 is each.
    pub every: u32,
    /// How many have matched so far.
    pub seen: u32,
    /// Which messages.
    pub what: Matcher,
    /// At which point.
    pub point: Point,
    /// What happens.
    pub cut: Cut,
}

/// Which messages a rule means. Every field that is set must match.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Matcher {
    /// Exactly this message.
    pub ticket: Option<u64>,
    /// Messages of this actor's life.
    pub actor: Option<ActorId>,
    /// Messages of actors with this name.
    pub sender: Option<Arc<str>>,
    /// Messages in this Kubernetes.
    pub kube: Option<KubeId>,
    /// Only those to the API server (`Some(true)`), or only calls between actors (`Some(false)`).
    pub api: Option<bool>,
    /// Only those that would change something.
    pub writes: bool,
    /// Only those that would create an object of this kind, if there is none of its name.
    pub creates: Option<Kind>,
    /// Only those that would create or change an object of this kind; its subresources apart.
    pub alters: Option<Kind>,
}

/// What happens to one delivery of one watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    /// It comes so much later, and so does all that follows on this watch until then.
    By(Span),
    /// It never comes: the stream breaks, and is opened anew so much later.
    Never(Span),
}

/// All rules in force.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Vec<Rule>>,
    /// Deliveries by their watch and the version of the change.
    deliveries: Vec<(WatchId, u64, Late)>,
}

impl Faults {
    /// Adds a rule.
    pub fn add(&mut self, rule: Rule) {
        Arc::make_mut(&mut self.rules).push(rule);
    }

    /// Adds a rule that is asked before all others.
    pub fn add_first(&mut self, rule: Rule) {
        Arc::make_mut(&mut self.rules).insert(0, rule);
    }

    /// Cuts the delivery of a change, by the version that it led to, to a watch.
    pub fn cut_delivery(&mut self, watch: WatchId, resource_version: u64, late: Late) {
        self.deliveries.push((watch, resource_version, late));
    }

    /// What happens to a delivery, if anything.
    pub(super) fn delivery(&self, watch: WatchId, resource_version: u64) -> Option<Late> {
        let same = |d: &&(WatchId, u64, Late)| (d.0, d.1) == (watch, resource_version);
        self.deliveries.iter().find(same).map(|d| d.2)
    }

    /// Takes away all rules of a name.
    pub fn clear(&mut self, name: &str) {
        Arc::make_mut(&mut self.rules).retain(|r| &*r.name != name);
    }

    /// Takes away all rules.
    pub fn heal(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing can be cut.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names of the rules that hold at a time.
    pub fn lasting(&self, now: Time) -> impl Iterator<Item = &str> {
        let holds = move |r: &&Rule| {
            r.from <= now && r.until.is_none_or(|until| now < until) && r.left != Some(0)
        };
        self.rules.iter().filter(holds).map(|r| &*r.name)
    }

    /// What happens to a message at a point.
    pub fn cut(&mut self, now: Time, point: Point, sender: &str, message: &Envelope) -> Cut {
        let Some(index) = self.rules.iter().position(|r| {
            r.point == point
                && r.from <= now
                && r.until.is_none_or(|until| now < until)
                && r.left != Some(0)
                && r.what.matches(sender, message)
        }) else {
            return Cut::Pass;
        };
        let rules = Arc::make_mut(&mut self.rules);
        rules[index].seen += 1;
        if !rules[index].seen.is_multiple_of(rules[index].every) {
            return Cut::Pass;
        }
        let cut = rules[index].cut.clone();
        if let Some(left) = &mut rules[index].left {
            *left -= 1;
            if *left == 0 {
                rules.remove(index);
            }
        }
        cut
    }

    /// Whether any message may be cut at a time.
    #[must_use]
    pub fn active(&self, now: Time) -> bool {
        let lasts =
            |r: &Rule| r.from <= now && r.until.is_none_or(|u| now < u) && r.left != Some(0);
        self.rules.iter().any(lasts) || !self.deliveries.is_empty()
    }

    /// Whether an outage of the API server of a Kubernetes lasts, or ended so long ago at most.
    #[must_use]
    pub fn outage(&self, now: Time, kube: KubeId, ago: Span) -> bool {
        let whole = |r: &Rule| r.what.api == Some(true) && r.what.sender.is_none() && r.every == 1;
        let here = |r: &Rule| r.what.kube.is_none_or(|k| k == kube);
        let ends = |r: &Rule| r.until.is_some_and(|until| now - until <= ago);
        self.rules.iter().any(|r| whole(r) && here(r) && ends(r))
    }

    /// An outage of the API server of a Kubernetes: nothing reaches it. Whoever asks is answered as
    /// `how` says: [`Cut::Refuse`] when nothing listens at its port, [`Cut::Lose`] when packets vanish.
    pub fn api_outage(&mut self, name: &str, kube: KubeId, from: Time, how_long: Span, how: Cut) {
        self.add(Rule {
            name: name.into(),
            from,
            until: Some(from + how_long),
            left: None,
            every: 1,
            seen: 0,
            what: Matcher { kube: Some(kube), api: Some(true), ..Matcher::default() },
            point: Point::Sent,
            cut: how,
        });
    }
}

impl Matcher {
    fn matches(&self, sender: &str, message: &Envelope) -> bool {
        let to_api = !matches!(message.what, What::Call { .. });
        self.ticket.is_none_or(|t| t == message.ticket.0)
            && self.actor.is_none_or(|a| a == message.from)
            && self.sender.as_deref().is_none_or(|s| s == sender)
            && self.kube.is_none_or(|k| k == message.kube)
            && self.api.is_none_or(|api| api == to_api)
            && (!self.writes || message.what.changes_something())
            && self.creates.is_none_or(|kind| creates(&message.what, kind))
            && self.alters.is_none_or(|kind| alters(&message.what, kind))
    }
}

fn alters(what: &What, kind: Kind) -> bool {
    let What::Request(request) = what else { return false };
    match &request.verb {
        Verb::Create(object) => object.kind == kind,
        Verb::Update { object, subresource: Subresource::None } => object.kind == kind,
        Verb::Patch { target, subresource: Subresource::None, .. } => target.kind == kind,
        _ => false,
    }
}

/// An apply may create or not; what it means is known only when it arrives, so it counts where nothing says that
/// the object is there: an apply that names a UID.
fn creates(what: &What, kind: Kind) -> bool {
    let What::Request(request) = what else { return false };
    match &request.verb {
        Verb::Create(object) => object.kind == kind,
        Verb::Patch { body: Body::Apply { object, .. }, .. } => {
            object.kind == kind && object.meta.uid.is_empty()
        }
        _ => false,
    }
}
