//! Playing a story: the player, what it knows and what it can do. `play.rs` does the steps in their order. It
//! decides nothing about Kubernetes or databases; all it sees is a [`Driver`].

use std::collections::BTreeMap;

use ivory_core::Kind;
use serde_json::Value;

use super::act::{self, Deed};
use super::alias::Aliases;
use super::check::{Memory, check};
use super::driver::{Build, Driver, is_write};
use super::fields::span_text;
use super::language::{Expectation, Scenario};
use super::node::At;
use super::play::Cursor;
use super::resolve::{Ref, Scene};
use super::transcript::{Teller, texts};
use crate::promises::{self, Checkers, Looks, Promise, eventually_stable};
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// How often a waiting step looks, at most.
pub(super) const LOOK: Span = Span::ms(100);
/// With what it begins that a bound was missed.
pub(crate) const LATE: &str = "not true within";
/// How often where a story is given more time anyway.
const SLOW: Span = Span::ms(500);

/// How a story ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// How many steps were done, those inside `each` counted every time.
    pub steps: usize,
    /// Virtual time, in seconds.
    pub virtual_s: f64,
    /// How many writes the operator made.
    pub writes: u64,
    /// The longest time in which a client could not commit, in seconds; 0 without clients.
    pub write_gap_s: f64,
    /// Acknowledged rows that are missing.
    pub lost_rows: u64,
    /// The story as it is told.
    pub transcript: String,
    /// A digest of the whole run.
    pub digest: u64,
    /// The machine's record, if it was asked for.
    pub trace: String,
    /// How often each promise was looked at.
    pub looks: Looks,
}

/// Why a story failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The step or expectation in the file.
    pub at: At,
    /// The step.
    pub step: String,
    /// What was wrong, one sentence each.
    pub wrong: Vec<String>,
    /// The number of the promise that was broken; none where only the story's own words are not true.
    pub promise: Option<u8>,
    /// What is awaited, by whom, since when.
    pub awaited: Vec<String>,
}

/// A story that is being played. `ivory-sim try` uses it without a file.
pub struct Player {
    /// The world.
    pub driver: Box<dyn Driver>,
    /// Names and births.
    pub aliases: Aliases,
    /// What was there before.
    pub memory: Memory,
    /// The cluster that is meant.
    pub cluster: String,
    /// The namespace that is meant.
    pub namespace: String,
    /// What is granted to a story that is disturbed.
    pub grace: Option<Grace>,
    pub(super) cursor: Cursor,
    learned: usize,
    pub(super) steps: usize,
    pub(super) clients: Vec<String>,
    /// How often promises were looked at in waits and at the end.
    pub(super) looks: Looks,
}

/// What a disturbed story is granted: time in which what should be true may become so, and in which a client can't
/// write. Its end is always awaited in silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace {
    /// Added to every wait, and before every demand.
    pub patience: Span,
    /// Added to the longest gap.
    pub gap: Span,
}

/// A wait under way.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    within: Span,
    end: Time,
    seen: Option<(u64, usize)>,
}

impl Wait {
    pub(super) fn new(now: Time, within: Span) -> Self {
        Self { within, end: now + within, seen: None }
    }

    pub(super) fn extend(&mut self, by: Span) {
        self.within = self.within + by;
        self.end = self.end + by;
    }
}

/// Plays a story to its end, or to its first failure.
///
/// # Errors
/// A sentence, when the world can't be made.
pub fn run(
    scenario: &Scenario,
    seed: Option<u64>,
    trace: bool,
    build: &Build<'_>,
) -> Result<Outcome, String> {
    Ok(Player::of(scenario, seed, trace, build)?.play(scenario))
}

impl Player {
    /// A player before the first step of a story, in the world that it asks for.
    ///
    /// # Errors
    /// A sentence, when the world can't be made.
    pub fn of(
        scenario: &Scenario,
        seed: Option<u64>,
        trace: bool,
        build: &Build<'_>,
    ) -> Result<Self, String> {
        let mut world = scenario.world.clone();
        world.seed = seed.unwrap_or(world.seed);
        Ok(Self::new(build(&world, trace)?, &scenario.cluster, &scenario.namespace))
    }

    /// Plays the story to its end, or to its first failure.
    pub fn play(&mut self, scenario: &Scenario) -> Outcome {
        let failure = loop {
            match self.tick(scenario) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(failure) => break Some(failure),
            }
        };
        self.outcome(scenario, failure)
    }

    /// A player before the first step.
    #[must_use]
    pub fn new(driver: Box<dyn Driver>, cluster: &str, namespace: &str) -> Self {
        Self {
            driver,
            aliases: Aliases::default(),
            memory: Memory::default(),
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            grace: None,
            cursor: Cursor::default(),
            learned: 0,
            steps: 0,
            clients: Vec::new(),
            looks: Looks::default(),
        }
    }

    /// A copy that goes on by itself from here; none where the world can't be copied.
    #[must_use]
    pub fn fork(&self) -> Option<Self> {
        Some(Self {
            driver: self.driver.fork()?,
            aliases: self.aliases.clone(),
            memory: self.memory.clone(),
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            grace: self.grace,
            cursor: self.cursor.clone(),
            learned: self.learned,
            steps: self.steps,
            clients: self.clients.clone(),
            looks: self.looks,
        })
    }

    /// The present moment, seen from a cluster.
    #[must_use]
    pub fn scene<'a>(&'a self, kube: KubeId, cluster: &'a str, it: Option<&'a Ref>) -> Scene<'a> {
        Scene {
            driver: &*self.driver,
            aliases: &self.aliases,
            kube,
            namespace: &self.namespace,
            cluster,
            it,
        }
    }

    pub(super) fn perform(
        &mut self,
        kube: KubeId,
        deed: Deed,
        refused: Option<&str>,
    ) -> Result<(), String> {
        let mut refusals = Vec::new();
        self.memory.disturbed = self.memory.disturbed.max(self.driver.now());
        match deed {
            Deed::Requests(requests) => {
                for request in requests {
                    if let Err(status) = self.driver.ask(kube, &request) {
                        refusals.push(status);
                    }
                }
            }
            Deed::Breaks(breaks) => {
                // Of several things those that can't break are left out.
                let (mut done, mut not_done) = (breaks.is_empty(), None);
                for fault in breaks {
                    // Of machines the world itself tells.
                    if let Some(text) = act::break_text(&fault) {
                        self.driver.remark(Milestone::Fault { text });
                    }
                    match self.driver.fault(kube, &fault) {
                        Ok(()) => done = true,
                        Err(why) => not_done = not_done.or(Some(why)),
                    }
                }
                if let Some(why) = not_done.filter(|_| !done) {
                    return Err(why);
                }
            }
        }
        self.learn();
        match (refused, refusals.first()) {
            (None, None) => Ok(()),
            (None, Some(status)) => Err(act::refusal(status)),
            (Some(part), Some(status)) if status.message.contains(part) => Ok(()),
            (Some(_), Some(status)) => Err(format!("it was refused otherwise: {}", status.message)),
            (Some(_), None) => Err("the API server accepted it".to_owned()),
        }
    }

    /// Lets time pass until all is true at once.
    ///
    /// # Errors
    /// What was not true at the end of the time.
    pub fn wait(
        &mut self,
        (kube, cluster, it): &SceneKey<'_>,
        all: &[Expectation],
        within: Span,
    ) -> Result<(), Vec<String>> {
        let mut wait = Wait::new(self.driver.now(), within);
        while !self.look(&(*kube, cluster, *it), all, &mut wait)? {}
        Ok(())
    }

    /// Looks once whether all is true; lets a little time pass if not.
    pub(super) fn look(
        &mut self,
        (kube, cluster, it): &SceneKey<'_>,
        all: &[Expectation],
        wait: &mut Wait,
    ) -> Result<bool, Vec<String>> {
        let state = (self.driver.version(), self.driver.journal().len());
        let ages =
            |e: &Expectation| matches!(e, Expectation::Quiet(_) | Expectation::Client { .. });
        let over = self.driver.now() >= wait.end;
        if over || wait.seen != Some(state) || all.iter().any(ages) {
            wait.seen = Some(state);
            self.learn();
            self.findings()?;
            let wrong = self.wrong(&(*kube, cluster, *it), all);
            if wrong.is_empty() {
                self.looked(&eventually_stable::PROMISE);
                return Ok(true);
            }
            if over {
                return Err(after(wait.within, wrong));
            }
        }
        // Who has patience looks less often.
        let look = if self.grace.is_some_and(|g| g.patience > Span::ZERO) { SLOW } else { LOOK };
        let next = self.driver.now() + look;
        self.driver.advance_to(next.min(wait.end));
        Ok(false)
    }

    pub(super) fn wrong(
        &self,
        (kube, cluster, it): &SceneKey<'_>,
        all: &[Expectation],
    ) -> Vec<String> {
        let scene = self.scene(*kube, cluster, *it);
        all.iter().filter_map(|e| check(&scene, &self.memory, e).err()).collect()
    }

    pub(super) fn findings(&self) -> Result<(), Vec<String>> {
        let findings = self.driver.findings();
        let Some(first) = findings.first() else { return Ok(()) };
        let mut wrong = vec![promises::numbered(first.promise).to_string()];
        wrong.extend(findings.iter().map(|f| self.aliases.show(KubeId(0), &f.to_string())));
        Err(wrong)
    }

    /// Lets time pass.
    pub fn advance_to(&mut self, until: Time) {
        self.driver.advance_to(until);
        self.learn();
    }

    /// Takes a cluster's name and sets from its manifest.
    pub fn know(&mut self, manifest: &Value) {
        if manifest["kind"] != "IvoryCluster" {
            return;
        }
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let sets = manifest["spec"]["instances"].as_array();
        let sets: Vec<String> = sets.into_iter().flatten().enumerate().map(act::set_name).collect();
        let (namespace, name) =
            (text(&manifest["metadata"]["namespace"]), text(&manifest["metadata"]["name"]));
        self.aliases.cluster(&namespace, &name, sets.iter().map(String::as_str));
    }

    /// Gives numbers to the names in what happened since the last time.
    pub fn learn(&mut self) {
        let journal = self.driver.journal();
        for entry in &journal[self.learned..] {
            for text in texts(&entry.what) {
                self.aliases.learn(entry.kube, text);
            }
        }
        self.learned = journal.len();
    }

    pub(super) fn remember_primaries(&mut self, kube: KubeId, cluster: &str) {
        let leaders = self.scene(kube, cluster, None).leaders();
        if let [leader] = leaders.as_slice() {
            let key = (kube, cluster.to_owned());
            self.memory.primary.insert(key, leader.name.clone());
        }
    }

    /// All objects of this moment, but Events and Leases.
    #[must_use]
    pub fn everything(&self) -> super::check::Mark {
        let mut all = BTreeMap::new();
        let mut kube = KubeId(0);
        while usize::from(kube.0) < self.driver.kubes() {
            for &kind in Kind::ALL {
                if matches!(kind, Kind::Event | Kind::Lease) {
                    continue;
                }
                for object in self.driver.list(kube, kind, None) {
                    let r = Ref {
                        kind,
                        namespace: object.meta.namespace.to_string(),
                        name: object.meta.name.to_string(),
                    };
                    all.insert((kube, r), object);
                }
            }
            kube.0 += 1;
        }
        all
    }

    /// How many writes the operator has made.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let journal = self.driver.journal();
        journal.iter().filter(|e| is_write(e)).count() as u64
    }

    /// The longest write gap of all clients in seconds, and how many acknowledged rows are missing.
    #[must_use]
    pub fn client_figures(&self) -> (f64, u64) {
        let facts = self.clients.iter().filter_map(|c| self.driver.client(c));
        facts.fold((0.0, 0), |(gap, lost), f| {
            (f64::max(gap, f.longest_gap.seconds()), lost + f.lost_rows)
        })
    }

    /// A promise was looked at.
    pub(super) fn looked(&mut self, promise: &Promise) {
        promise.count(&mut self.looks);
    }

    /// Makes a client count for the figures.
    pub fn count_client(&mut self, name: &str) {
        self.clients.push(name.to_owned());
    }

    /// How the story ended, or stands.
    pub fn outcome(&mut self, scenario: &Scenario, failure: Option<Failure>) -> Outcome {
        self.learn();
        let (write_gap_s, lost_rows) = self.client_figures();
        let virtual_s = self.driver.now().seconds();
        let writes = self.writes();
        let kubes = scenario.world.kubes.iter().map(|k| k.name.clone()).collect();
        let told = Teller::new(kubes).tell(&self.aliases, self.driver.journal());
        let mut looks = self.looks;
        let seen = self.driver.world().and_then(|w| w.witness::<Checkers>());
        for (sum, more) in looks.iter_mut().zip(seen.map(Checkers::looks).into_iter().flatten()) {
            *sum += more;
        }
        let mut clients = String::new();
        if !self.clients.is_empty() {
            clients = format!(", write gap {write_gap_s:.1} s, {lost_rows} rows lost");
        }
        let end = format!("= {virtual_s:.1} s, {writes} writes{clients}\n");
        Outcome {
            name: scenario.name.clone(),
            failure,
            steps: self.steps,
            virtual_s,
            writes,
            write_gap_s,
            lost_rows,
            transcript: format!("{told}{end}"),
            digest: self.driver.digest(),
            trace: self.driver.trace().to_owned(),
            looks,
        }
    }
}

/// What identifies a scene.
pub type SceneKey<'a> = (KubeId, &'a str, Option<&'a Ref>);

fn after(within: Span, wrong: Vec<String>) -> Vec<String> {
    let mut all = vec![format!("{LATE} {}:", span_text(within))];
    all.extend(wrong);
    all
}
