//! The shape of a run: who has a lane, what happened in it, when the steps of the story began, and when clients
//! could not write. What it looks like is the page's and the terminal's matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Recording;
use super::film::MemberKey;
use super::why::why;
use crate::scenario::transcript::Teller;
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::{Entry, Milestone};

/// Whose events stand in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What breaks.
    Faults,
    /// A client.
    Client(Arc<str>),
    /// What a cluster says of itself.
    Cluster(KubeId, Arc<str>),
    /// A database instance.
    Member(MemberKey),
    /// The operator of a Kubernetes.
    Operator(KubeId),
    /// Its scheduler, and its other Pods and Jobs.
    Others(KubeId),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Time,
    /// In which lane, by its number.
    pub lane: usize,
    /// What kind of event, in one word; see [`kind`].
    pub kind: &'static str,
    /// Who, by the name that people read.
    pub actor: String,
    /// What, in words.
    pub text: String,
    /// What was written, one by one; empty for other events.
    pub items: Vec<Item>,
    /// Its place among all that happened: of one moment, what has the lower number came first.
    pub order: usize,
    /// The number of the pass, for a pass that wrote nothing but found something new.
    pub pass: Option<usize>,
}

/// One write of the operator.
#[derive(Clone, Debug)]
pub struct Item {
    /// In which Kubernetes.
    pub kube: KubeId,
    /// For which cluster.
    pub cluster: Arc<str>,
    /// `Kind name`, by its real name; or the command and the Pod.
    pub object: String,
    /// Which step of the plan wanted it.
    pub step: &'static str,
    /// `create`, `update`, `delete`, `status`, `event`, `exec`.
    pub verb: &'static str,
    /// Why, by the names that people read.
    pub reason: String,
}

/// A step of the story.
#[derive(Clone, Debug)]
pub struct StoryStep {
    /// When it began.
    pub at: Time,
    /// Its place among all that happened.
    pub order: usize,
    /// Its words.
    pub text: String,
}

/// A time in which a client could not write.
#[derive(Clone, Debug)]
pub struct Gap {
    /// The client.
    pub client: Arc<str>,
    /// Since its last acknowledged row.
    pub from: Time,
    /// Until it could again.
    pub to: Option<Time>,
    /// What it was told.
    pub why: String,
}

/// The whole.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Lanes, from top to bottom.
    pub lanes: Vec<Lane>,
    /// Events, in order of time.
    pub events: Vec<Event>,
    /// Steps of the story.
    pub steps: Vec<StoryStep>,
    /// Write gaps.
    pub gaps: Vec<Gap>,
}

/// The kinds of events, and what a person calls them.
pub const KINDS: [(&str, &str); 13] = [
    ("fault", "faults"),
    ("client", "clients"),
    ("database", "databases"),
    ("condition", "conditions"),
    ("write", "operator writes"),
    ("run", "commands"),
    ("failed", "failed writes"),
    ("event", "Kubernetes Events"),
    ("pod", "Pods"),
    ("job", "Jobs, backups"),
    ("note", "notes"),
    ("status", "status writes"),
    ("pass", "passes"),
];

/// Which kind an entry is of; none for steps of the story.
#[must_use]
pub fn kind(what: &Milestone) -> Option<&'static str> {
    Some(match what {
        Milestone::Wrote { verb: "status", .. } => "status",
        Milestone::Wrote { verb: "event", .. } => "event",
        Milestone::Wrote { verb: "exec", .. } => "run",
        Milestone::Wrote { .. } => "write",
        Milestone::WriteFailed { .. } => "failed",
        Milestone::Condition { .. } => "condition",
        Milestone::Scheduled { .. }
        | Milestone::Unschedulable { .. }
        | Milestone::ContainerWaiting { .. }
        | Milestone::Ready { .. }
        | Milestone::PodGone { .. } => "pod",
        Milestone::Database { .. } => "database",
        Milestone::JobEnded { .. } | Milestone::Backup { .. } => "job",
        Milestone::Writable { .. } | Milestone::NotWritable { .. } => "client",
        Milestone::Fault { .. } => "fault",
        Milestone::Note { .. } => "note",
        Milestone::Step { .. } => return None,
    })
}

/// The shape of a run.
#[must_use]
pub fn shape(recording: &Recording) -> Shape {
    let lanes = lanes(recording);
    let mut shape = Shape { lanes, events: Vec::new(), steps: Vec::new(), gaps: Vec::new() };
    let journal = &recording.journal;
    let teller = Teller::new(recording.kubes.clone());
    for line in teller.lines(&recording.aliases, journal) {
        let entry = &journal[line.entries.start];
        let Some(kind) = kind(&entry.what) else {
            shape.steps.push(StoryStep { at: line.at, order: line.entries.start, text: line.text });
            continue;
        };
        let items =
            journal[line.entries.clone()].iter().filter_map(|e| item(recording, e)).collect();
        let order = line.entries.start;
        let lane = shape.lane_of(recording, entry);
        let actor = if line.actor == "!" { "fault".to_owned() } else { line.actor };
        shape.events.push(Event {
            at: line.at,
            lane,
            kind,
            actor,
            text: line.text,
            items,
            order,
            pass: None,
        });
    }
    for (order, entry) in journal.iter().enumerate() {
        if let Milestone::Wrote { verb: "status", object, reason, .. } = &entry.what {
            let show = |text: &str| recording.aliases.show(entry.kube, text);
            shape.events.push(Event {
                at: entry.at,
                lane: shape.lane_of(recording, entry),
                kind: "status",
                actor: "operator".to_owned(),
                text: format!("updates the status of {}: {}", show(object), show(reason)),
                items: item(recording, entry).into_iter().collect(),
                order,
                pass: None,
            });
        }
    }
    let idle = idle_passes(recording, &shape.lanes);
    shape.events.extend(idle);
    shape.events.sort_by_key(|event| (event.at, event.order));
    shape.gaps = gaps(recording);
    shape
}

/// Passes that wrote nothing, but found something new.
fn idle_passes(recording: &Recording, lanes: &[Lane]) -> Vec<Event> {
    let passes = recording.film.passes.iter().enumerate();
    let idle = passes.filter(|(_, (_, pass))| pass.plan.writes.is_empty());
    let told = idle.map(|(number, (kube, pass))| {
        let found = why(recording, *kube, pass).found;
        let found = match found.is_empty() {
            true => "everything is in sync".to_owned(),
            false => found.join("; "),
        };
        Event {
            at: pass.at,
            lane: lanes.iter().position(|l| *l == Lane::Operator(*kube)).unwrap_or_default(),
            kind: "pass",
            actor: "operator".to_owned(),
            text: format!("looks at {} and writes nothing: {found}", pass.cluster.1),
            items: Vec::new(),
            // It was seen before anything that was written after it.
            order: 0,
            pass: Some(number),
        }
    });
    told.collect()
}

impl Shape {
    fn lane_of(&self, recording: &Recording, entry: &Entry) -> usize {
        let wanted = lane(recording, entry);
        let others = Lane::Others(entry.kube);
        let find = |wanted: &Lane| self.lanes.iter().position(|lane| lane == wanted);
        find(&wanted).or_else(|| find(&others)).unwrap_or_default()
    }
}

/// The last part of `namespace/name`.
fn short(name: &Arc<str>) -> Arc<str> {
    name.rsplit_once('/').map_or_else(|| name.clone(), |(_, name)| name.into())
}

fn lane(recording: &Recording, entry: &Entry) -> Lane {
    let kube = entry.kube;
    match &entry.what {
        Milestone::Fault { .. } => Lane::Faults,
        Milestone::Wrote { .. } | Milestone::WriteFailed { .. } => Lane::Operator(kube),
        Milestone::Condition { cluster, .. } => Lane::Cluster(kube, cluster.clone()),
        Milestone::Writable { client, .. } | Milestone::NotWritable { client, .. } => {
            Lane::Client(client.clone())
        }
        Milestone::Scheduled { pod, .. }
        | Milestone::Unschedulable { pod, .. }
        | Milestone::ContainerWaiting { pod, .. }
        | Milestone::Ready { pod, .. }
        | Milestone::PodGone { pod }
        | Milestone::Database { pod, .. } => {
            let name = short(pod);
            let is = |key: &&MemberKey| key.0 == kube && key.2 == name;
            let member = recording.film.members.keys().find(is);
            member.map_or(Lane::Others(kube), |key| Lane::Member(key.clone()))
        }
        Milestone::Note { .. } if &*entry.actor == crate::lab::OPERATOR => Lane::Operator(kube),
        Milestone::JobEnded { .. }
        | Milestone::Backup { .. }
        | Milestone::Step { .. }
        | Milestone::Note { .. } => Lane::Others(kube),
    }
}

fn lanes(recording: &Recording) -> Vec<Lane> {
    let mut found: Vec<Lane> = recording.journal.iter().map(|e| lane(recording, e)).collect();
    let members = recording.film.members.keys().cloned();
    found.extend(members.map(Lane::Member));
    found.extend(recording.film.operators.iter().map(|(_, kube, _)| Lane::Operator(*kube)));
    let kubes: BTreeSet<KubeId> = recording.journal.iter().map(|e| e.kube).collect();
    found.extend(kubes.into_iter().map(Lane::Others));
    let place = |lane: &Lane| match lane {
        Lane::Faults => (0, KubeId(0), String::new(), 0, String::new()),
        Lane::Client(name) => {
            let from = recording.film.clients.get(name).map_or(0, |track| track.from.0);
            (1, KubeId(0), format!("{from:020}"), 0, name.to_string())
        }
        Lane::Cluster(kube, name) => (2, *kube, name.to_string(), 0, String::new()),
        Lane::Member(key) => {
            let cluster = recording.film.members.get(key).map(|m| m.cluster.to_string());
            let shown = recording.aliases.show(key.0, &key.2);
            (2, key.0, cluster.unwrap_or_default(), 1, shown)
        }
        Lane::Operator(kube) => (3, *kube, String::new(), 0, String::new()),
        Lane::Others(kube) => (3, *kube, String::new(), 1, String::new()),
    };
    found.sort_by_cached_key(place);
    found.dedup();
    found
}

fn item(recording: &Recording, entry: &Entry) -> Option<Item> {
    let Milestone::Wrote { cluster, step, verb, object, reason } = &entry.what else {
        return None;
    };
    Some(Item {
        kube: entry.kube,
        cluster: cluster.clone(),
        object: object.clone(),
        step,
        verb,
        reason: recording.aliases.show(entry.kube, reason),
    })
}

fn gaps(recording: &Recording) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for entry in &recording.journal {
        match &entry.what {
            Milestone::NotWritable { client, why } => gaps.push(Gap {
                client: client.clone(),
                from: entry.at,
                to: None,
                why: recording.aliases.show(entry.kube, why),
            }),
            Milestone::Writable { client, gap_ms } => {
                let open = gaps.iter_mut().rev().find(|g| g.client == *client && g.to.is_none());
                if let Some(gap) = open {
                    gap.to = Some(entry.at);
                    // It lasts from the last acknowledged row on.
                    let since = Time(entry.at.0 - Span::ms(*gap_ms).0);
                    gap.from = gap.from.min(since);
                }
            }
            _ => {}
        }
    }
    // Who was stopped does not try any more.
    for gap in gaps.iter_mut().filter(|gap| gap.to.is_none()) {
        gap.to = recording.film.clients.get(&gap.client).and_then(|track| track.to);
    }
    gaps
}
