//! Walking through a recording: where one stands, what is on the screen, and what each key does. Going back is as
//! easy as going on, because everything was recorded. It knows no terminal; `screen.rs` draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Kind;
use similar::{ChangeTag, TextDiff};

use super::film::{MemberKey, MemberState, Shot};
use super::page::{role_word, text};
use super::shape::{Shape, shape};
use super::why::{Why, pass_of, why};
use super::{Recording, moment};
use crate::kube::ChangeType;
use crate::time::Time;
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// A key, as the viewer knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A character.
    Char(char),
    /// Up.
    Up,
    /// Down.
    Down,
    /// Left.
    Left,
    /// Right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the begin.
    Home,
    /// To the end.
    End,
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Takes away the last character.
    Backspace,
}

/// What is on the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// The story, and what is true at its present moment.
    Story,
    /// Why the operator did it.
    Why,
    /// All objects of the moment.
    Objects,
    /// One object.
    Object,
    /// The keys.
    Help,
}

/// A line of the story.
#[derive(Clone, Debug)]
pub struct Row {
    /// When.
    pub at: Time,
    /// The kind of event; `step` for a step of the story.
    pub kind: &'static str,
    /// Who.
    pub actor: String,
    /// What.
    pub text: String,
    /// The event, by its number in the shape.
    pub event: Option<usize>,
    /// Its place among all that happened.
    pub order: usize,
}

/// An object's key: Kubernetes, kind, namespace, name.
pub type ObjectKey = (KubeId, Kind, Arc<str>, Arc<str>);

/// What the keys do, for the help and for the command's own.
pub const KEYS: [(&str, &str); 15] = [
    ("n → space", "the next event"),
    ("p ← b", "the event before"),
    ("s", "the next step of the story"),
    ("w", "the next write of the operator"),
    ("d", "the next event of a database"),
    ("r", "the next change of a role"),
    ("f", "the next fault"),
    ("c", "the next condition"),
    ("a", "the next event of a client (application)"),
    ("x", "the next Pod or Job event"),
    ("g G", "the begin, the end"),
    ("Enter y", "why? the pass, what it read, what it found"),
    ("o", "the objects of this moment; Enter shows one, with what changed"),
    ("/", "search; n goes on, Escape ends it"),
    ("q", "leaves"),
];

/// A walk through a recording.
pub struct Viewer {
    /// The recording.
    pub recording: Recording,
    /// Its shape.
    pub shape: Shape,
    /// The lines of the story.
    pub rows: Vec<Row>,
    /// The present line.
    pub at: usize,
    /// What is on the screen.
    pub view: View,
    /// How far the present view is scrolled.
    pub scroll: usize,
    /// Which object is chosen.
    pub chosen: usize,
    /// What is searched for.
    pub query: String,
    /// Whether the search is being typed.
    pub typing: bool,
    /// Whether one wants to leave.
    pub over: bool,
    roles: Vec<Time>,
}

impl Viewer {
    /// A walk that begins at the first line.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        let shape = shape(&recording);
        let steps = shape.steps.iter().map(|step| Row {
            at: step.at,
            kind: "step",
            actor: ">".to_owned(),
            text: step.text.clone(),
            event: None,
            order: step.order,
        });
        let shown = shape.events.iter().enumerate().filter(|(_, e)| e.kind != "status");
        let events = shown.map(|(number, event)| Row {
            at: event.at,
            kind: event.kind,
            actor: event.actor.clone(),
            text: event.text.clone(),
            event: Some(number),
            order: event.order,
        });
        let mut rows: Vec<Row> = steps.chain(events).collect();
        rows.sort_by_key(|row| (row.at, row.order));
        let tracks = recording.film.members.values();
        let mut roles: Vec<Time> = Vec::new();
        for track in tracks {
            let pairs = track.states.windows(2).filter(|w| w[0].1.role != w[1].1.role);
            roles.extend(pairs.map(|w| w[1].0));
        }
        roles.sort();
        Self {
            recording,
            shape,
            rows,
            at: 0,
            view: View::Story,
            scroll: 0,
            chosen: 0,
            query: String::new(),
            typing: false,
            over: false,
            roles,
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Time {
        self.rows.get(self.at).map_or(Time::START, |row| row.at)
    }

    /// Does what a key means.
    pub fn press(&mut self, key: Key) {
        if self.typing {
            return self.typed(key);
        }
        match (self.view, key) {
            (_, Key::Char('q')) => self.over = true,
            (View::Help | View::Why | View::Objects, Key::Escape) => self.show(View::Story),
            (View::Object, Key::Escape) => self.show(View::Objects),
            (View::Help, _) => self.show(View::Story),
            (View::Objects, Key::Up) => self.chosen = self.chosen.saturating_sub(1),
            (View::Objects, Key::Down) => {
                self.chosen = (self.chosen + 1).min(self.objects().len().saturating_sub(1));
            }
            (View::Objects, Key::Enter) => self.show(View::Object),
            (View::Story, Key::Up) => self.go(false, |_| true),
            (View::Story, Key::Down) => self.go(true, |_| true),
            (View::Story, Key::PageUp) => (0..10).for_each(|_| self.go(false, |_| true)),
            (View::Story, Key::PageDown) => (0..10).for_each(|_| self.go(true, |_| true)),
            (_, Key::Up) => self.scroll = self.scroll.saturating_sub(1),
            (_, Key::Down) => self.scroll += 1,
            (_, Key::PageUp) => self.scroll = self.scroll.saturating_sub(10),
            (_, Key::PageDown) => self.scroll += 10,
            (View::Why, Key::Enter | Key::Char('y')) => self.show(View::Story),
            (_, Key::Enter | Key::Char('y')) => self.show(View::Why),
            (View::Objects | View::Object, Key::Char('o')) => self.show(View::Story),
            (_, Key::Char('o')) => self.show(View::Objects),
            (_, Key::Char('?' | 'h')) => self.show(View::Help),
            (_, Key::Char('/')) => (self.typing, self.query) = (true, String::new()),
            (_, Key::Escape) => self.query.clear(),
            (_, Key::Home | Key::Char('g')) => self.stand(0),
            (_, Key::End | Key::Char('G')) => self.stand(self.rows.len().saturating_sub(1)),
            (_, Key::Right | Key::Char('n' | ' ')) => {
                let query = self.query.clone();
                self.go(true, |row| found(row, &query));
            }
            (_, Key::Left | Key::Char('p' | 'b')) => {
                let query = self.query.clone();
                self.go(false, |row| found(row, &query));
            }
            (_, Key::Char('r' | 'R')) => self.next_role(key == Key::Char('r')),
            (_, Key::Char(letter)) => {
                let kinds: &[&str] = match letter.to_ascii_lowercase() {
                    's' => &["step"],
                    'w' => &["write", "run"],
                    'd' => &["database"],
                    'f' => &["fault"],
                    'c' => &["condition"],
                    'a' => &["client"],
                    'x' => &["pod", "job"],
                    _ => return,
                };
                self.go(letter.is_ascii_lowercase(), |row| kinds.contains(&row.kind));
            }
            (_, Key::Backspace) => {}
        }
    }

    fn show(&mut self, view: View) {
        (self.view, self.scroll) = (view, 0);
    }

    fn stand(&mut self, at: usize) {
        (self.at, self.scroll) = (at, 0);
        self.chosen = self.chosen.min(self.objects().len().saturating_sub(1));
    }

    fn typed(&mut self, key: Key) {
        match key {
            Key::Char(letter) => self.query.push(letter),
            Key::Backspace => drop(self.query.pop()),
            Key::Escape => (self.typing, self.query) = (false, String::new()),
            Key::Enter => {
                self.typing = false;
                let query = self.query.clone();
                self.go(true, |row| found(row, &query));
            }
            _ => {}
        }
    }

    /// Goes to the next line, or the one before, that is wanted; stays if there is none.
    fn go(&mut self, forward: bool, wanted: impl Fn(&Row) -> bool) {
        let found = match forward {
            true => (self.at + 1..self.rows.len()).find(|i| wanted(&self.rows[*i])),
            false => (0..self.at).rev().find(|i| wanted(&self.rows[*i])),
        };
        if let Some(at) = found {
            self.stand(at);
        }
    }

    /// Goes to the first line at or after the next change of a role, or to the last before the one before.
    fn next_role(&mut self, forward: bool) {
        let now = self.now();
        let to = match forward {
            true => self.roles.iter().find(|at| **at > now),
            false => self.roles.iter().rev().find(|at| **at < now),
        };
        let Some(to) = to else { return };
        let at = self.rows.partition_point(|row| row.at < *to);
        self.stand(at.min(self.rows.len().saturating_sub(1)));
    }

    /// The members and how they are now, by the names that people read.
    #[must_use]
    pub fn members(&self) -> Vec<(String, MemberState)> {
        let now = self.now();
        let state = |(key, track): (&MemberKey, &super::film::MemberTrack)| {
            let known = track.states.partition_point(|(at, _)| *at <= now);
            let (_, state) = track.states.get(known.checked_sub(1)?)?;
            Some((self.recording.aliases.show(key.0, &key.2), *state))
        };
        let mut found: Vec<_> = self.recording.film.members.iter().filter_map(state).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// The conditions of all clusters now: cluster, type, status, reason.
    #[must_use]
    pub fn conditions(&self) -> Vec<(String, String, String, String)> {
        let now = self.now();
        let mut known = BTreeMap::new();
        for entry in self.recording.journal.iter().filter(|entry| entry.at <= now) {
            if let Milestone::Condition { cluster, kind, status, reason, .. } = &entry.what {
                known.insert((cluster.to_string(), kind.clone()), (status.clone(), reason.clone()));
            }
        }
        known.into_iter().map(|((c, k), (s, r))| (c, k, s, r)).collect()
    }

    /// What the clients say now, a sentence each.
    #[must_use]
    pub fn clients(&self) -> Vec<String> {
        let now = self.now();
        let said = self.recording.film.clients.iter().filter(|(_, track)| track.from <= now);
        let said = said.map(|(name, track)| {
            let known = track.rows.partition_point(|(at, _)| *at <= now);
            let rows = known.checked_sub(1).map_or(0, |last| track.rows[last].1);
            let gap = self.shape.gaps.iter().find(|gap| {
                gap.client == *name && gap.from <= now && gap.to.is_none_or(|to| to > now)
            });
            let does = match (track.to.is_some_and(|to| to <= now), gap) {
                (true, _) => "stopped".to_owned(),
                (false, Some(gap)) => {
                    format!("can't write since {} ({})", moment(gap.from), gap.why)
                }
                (false, None) => "writes".to_owned(),
            };
            format!("{name}: {does}, {rows} rows")
        });
        said.collect()
    }

    /// The objects that exist now, with their last change, in the order of kinds and names.
    #[must_use]
    pub fn objects(&self) -> Vec<(ObjectKey, &Shot)> {
        let now = self.now();
        let mut found: BTreeMap<ObjectKey, &Shot> = BTreeMap::new();
        for shot in self.recording.film.shots.iter().take_while(|shot| shot.at <= now) {
            let meta = &shot.object.meta;
            let key = (shot.kube, shot.object.kind, meta.namespace.clone(), meta.name.clone());
            match shot.what {
                ChangeType::Deleted => drop(found.remove(&key)),
                _ => drop(found.insert(key, shot)),
            }
        }
        let mut all: Vec<_> = found.into_iter().collect();
        all.sort_by(|(a, _), (b, _)| {
            (a.0, a.1.name(), &a.2, &a.3).cmp(&(b.0, b.1.name(), &b.2, &b.3))
        });
        all
    }

    /// An object now: its lines, each with ` `, `+` or `-` for what its last change did.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Vec<(char, String)> {
        let now = self.now();
        let is = |shot: &&Shot| {
            let meta = &shot.object.meta;
            (shot.kube, shot.object.kind) == (key.0, key.1)
                && meta.namespace == key.2
                && meta.name == key.3
        };
        let mut texts: Vec<String> = Vec::new();
        for shot in self.recording.film.shots.iter().take_while(|s| s.at <= now).filter(is) {
            let text = text(&shot.object);
            if texts.last() != Some(&text) {
                texts.push(text);
            }
        }
        let Some(last) = texts.pop() else { return Vec::new() };
        let Some(before) = texts.pop() else {
            return last.lines().map(|line| (' ', line.to_owned())).collect();
        };
        let diff = TextDiff::from_lines(&before, &last);
        let sign = |tag: ChangeTag| match tag {
            ChangeTag::Equal => ' ',
            ChangeTag::Insert => '+',
            ChangeTag::Delete => '-',
        };
        diff.iter_all_changes().map(|c| (sign(c.tag()), c.value().trim_end().to_owned())).collect()
    }

    /// What is to be said of the present line: its words, its writes with their reasons, and its pass.
    #[must_use]
    pub fn why(&self) -> Option<(Vec<String>, Option<Why>)> {
        let event = &self.shape.events[self.rows.get(self.at)?.event?];
        let show = |item: &super::shape::Item| {
            let object = self.recording.aliases.show(item.kube, &item.object);
            format!("{} {object}: step “{}”, because {}", item.verb, item.step, item.reason)
        };
        let items: Vec<String> = event.items.iter().map(show).collect();
        let pass = pass_of(&self.recording, event);
        let pass = pass.and_then(|number| self.recording.film.passes.get(number));
        Some((items, pass.map(|(kube, pass)| why(&self.recording, *kube, pass))))
    }

    /// The objects that changed at the present moment.
    #[must_use]
    pub fn changed(&self) -> BTreeSet<ObjectKey> {
        let (now, before) =
            (self.now(), self.rows[..self.at].iter().rev().find(|r| r.at < self.now()));
        let before = before.map_or(Time::START, |row| row.at);
        let objects = self.objects().into_iter();
        objects.filter(|(_, shot)| shot.at > before && shot.at <= now).map(|(key, _)| key).collect()
    }
}

fn found(row: &Row, query: &str) -> bool {
    let query = query.to_lowercase();
    row.text.to_lowercase().contains(&query) || row.actor.to_lowercase().contains(&query)
}

/// A role in a word or two.
#[must_use]
pub fn role(state: &MemberState) -> &'static str {
    match role_word(state.role) {
        "standby" => "standby leader",
        "gone" => "no process",
        word => word,
    }
}
