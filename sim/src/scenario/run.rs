//! Playing a story: its steps in order, then what must be true at the end. It decides nothing about
//! Kubernetes or databases; all it sees is a [`Driver`].

use std::collections::BTreeMap;

use ivory_core::Kind;
use serde_json::Value;

use super::act::{self, Deed};
use super::alias::Aliases;
use super::check::{Memory, check};
use super::driver::{Build, Driver, is_write};
use super::fields::span_text;
use super::language::{Act, Expectation, Scenario, Step, WorldSpec};
use super::node::At;
use super::resolve::{Ref, Scene};
use super::transcript::{Teller, texts};
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// How often a waiting step looks, at most.
const LOOK: Span = Span::ms(100);
/// How long the operator must have been silent to count as quiet at the end.
const SILENCE: Span = Span::s(60);
/// How long it may take until it is quiet.
const CALM_DOWN: Span = Span::s(1200);
/// How long a quiet world is watched.
const WATCHED: Span = Span::s(600);

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
    learned: usize,
    steps: usize,
    clients: Vec<String>,
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
    let mut world = scenario.world.clone();
    world.seed = seed.unwrap_or(world.seed);
    let driver = build(&world, trace)?;
    let mut player = Player::new(driver, &scenario.cluster, &scenario.namespace);
    let failure = player.steps(&scenario.steps, None).and_then(|()| player.finale(scenario)).err();
    Ok(player.outcome(scenario, &world, failure))
}

impl Player {
    /// A player before the first step.
    #[must_use]
    pub fn new(driver: Box<dyn Driver>, cluster: &str, namespace: &str) -> Self {
        Self {
            driver,
            aliases: Aliases::default(),
            memory: Memory::default(),
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            learned: 0,
            steps: 0,
            clients: Vec::new(),
        }
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

    fn steps(&mut self, steps: &[Step], it: Option<&Ref>) -> Result<(), Failure> {
        for step in steps {
            self.steps += 1;
            let text = match it {
                Some(r) => step.text.replace(" it", &format!(" {} {}", r.kind, r.name)),
                None => step.text.clone(),
            };
            self.driver.remark(Milestone::Step { text: text.clone() });
            self.step(step, it).map_err(|wrong| Failure {
                at: step.at,
                step: self.aliases.show(KubeId(0), &text),
                wrong,
            })?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, it: Option<&Ref>) -> Result<(), Vec<String>> {
        let kube = KubeId(u8::try_from(step.kube).unwrap_or(0));
        let cluster = step.cluster.clone().unwrap_or_else(|| self.cluster.clone());
        let one = |e: String| vec![e];
        match &step.act {
            Act::Wait { all, within } => self.wait(&(kube, &cluster, it), all, *within),
            Act::Expect { all, hold } => self.hold(&(kube, &cluster, it), all, *hold),
            Act::Connect(client) => {
                self.clients.push(client.name.clone());
                self.driver.connect(kube, client).map_err(one)
            }
            Act::Disconnect(name) => {
                self.driver.disconnect(name);
                Ok(())
            }
            Act::Sql(ask) => {
                let secret = ivory_core::names::pguser_secret(&cluster, &ask.user);
                let namespace = self.namespace.clone();
                self.driver.sql(kube, &namespace, &secret, ask).map_err(one)
            }
            Act::Advance(span) => {
                let until = self.driver.now() + *span;
                self.advance_to(until);
                self.findings()
            }
            Act::Mark(name) => {
                let mark = self.everything();
                self.memory.marks.insert(name.clone(), mark);
                Ok(())
            }
            Act::Each { kinds, except, steps } => self.each(kube, &cluster, (kinds, except), steps),
            act => {
                if let Act::Apply(manifests) = act {
                    manifests.iter().for_each(|m| self.know(m));
                }
                self.remember_primaries(kube, &cluster);
                let scene = self.scene(kube, &cluster, it);
                let Some(deed) = act::deed(&scene, act).map_err(one)? else {
                    return Ok(());
                };
                self.perform(kube, deed, step.refused.as_deref()).map_err(one)
            }
        }
    }

    fn perform(&mut self, kube: KubeId, deed: Deed, refused: Option<&str>) -> Result<(), String> {
        let mut refusals = Vec::new();
        match deed {
            Deed::Requests(requests) => {
                for request in requests {
                    if let Err(status) = self.driver.ask(kube, &request) {
                        refusals.push(status);
                    }
                }
            }
            Deed::Breaks(breaks) => {
                for fault in breaks {
                    // Of machines the world itself tells.
                    if let Some(text) = act::break_text(&fault) {
                        self.driver.remark(Milestone::Fault { text });
                    }
                    self.driver.fault(kube, &fault)?;
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

    fn each(
        &mut self,
        kube: KubeId,
        cluster: &str,
        (kinds, except): (&[Kind], &[super::target::Target]),
        steps: &[Step],
    ) -> Result<(), Vec<String>> {
        let scene = self.scene(kube, cluster, None);
        let left_out: Vec<Ref> = except.iter().flat_map(|t| scene.refs(t)).collect();
        let mut refs = Vec::new();
        for &kind in kinds {
            for object in scene.owned(kind) {
                refs.push(Ref {
                    kind,
                    namespace: object.meta.namespace.to_string(),
                    name: object.meta.name.to_string(),
                });
            }
        }
        refs.retain(|r| !left_out.contains(r));
        if refs.is_empty() {
            return Err(vec!["there is no such object".to_owned()]);
        }
        for r in &refs {
            if self.scene(kube, cluster, None).object(r).is_none() {
                let text = format!("{} {} is gone by now, and left out", r.kind, r.name);
                self.driver.remark(Milestone::Note { text });
                continue;
            }
            self.steps(steps, Some(r)).map_err(|f| {
                let mut wrong = vec![format!("at `{}` (line {})", f.step, f.at.line)];
                wrong.extend(f.wrong);
                wrong
            })?;
        }
        Ok(())
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
        let end = self.driver.now() + within;
        let mut seen = None;
        loop {
            let state = (self.driver.version(), self.driver.journal().len());
            let ages =
                |e: &Expectation| matches!(e, Expectation::Quiet(_) | Expectation::Client { .. });
            if seen != Some(state) || all.iter().any(ages) {
                seen = Some(state);
                self.learn();
                self.findings()?;
                let wrong = self.wrong(&(*kube, cluster, *it), all);
                if wrong.is_empty() {
                    return Ok(());
                }
                if self.driver.now() >= end {
                    return Err(after(within, wrong));
                }
            } else if self.driver.now() >= end {
                return Err(after(within, self.wrong(&(*kube, cluster, *it), all)));
            }
            let next = self.driver.now() + LOOK;
            self.driver.advance_to(next.min(end));
        }
    }

    /// Demands that all is true for a span of time.
    fn hold(
        &mut self,
        (kube, cluster, it): &SceneKey<'_>,
        all: &[Expectation],
        hold: Span,
    ) -> Result<(), Vec<String>> {
        let begin = self.driver.now();
        let end = begin + hold;
        loop {
            self.learn();
            self.findings()?;
            let wrong = self.wrong(&(*kube, cluster, *it), all);
            if !wrong.is_empty() {
                return Err(wrong);
            }
            let now = self.driver.now();
            if now >= end {
                return Ok(());
            }
            self.driver.advance_to((now + LOOK).min(end));
        }
    }

    fn wrong(&self, (kube, cluster, it): &SceneKey<'_>, all: &[Expectation]) -> Vec<String> {
        let scene = self.scene(*kube, cluster, *it);
        all.iter().filter_map(|e| check(&scene, &self.memory, e).err()).collect()
    }

    fn findings(&self) -> Result<(), Vec<String>> {
        let findings = self.driver.findings();
        match findings.is_empty() {
            true => Ok(()),
            false => Err(findings.iter().map(|f| self.aliases.show(KubeId(0), f)).collect()),
        }
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

    fn remember_primaries(&mut self, kube: KubeId, cluster: &str) {
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

    fn finale(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        let finale = &scenario.finale;
        let failure = |wrong: Vec<String>| Failure {
            at: finale.at,
            step: "expect at the end".to_owned(),
            wrong,
        };
        let kube = KubeId(0);
        let cluster = scenario.cluster.clone();
        let mut wrong = self.wrong(&(kube, &cluster, None), &finale.all);
        if let Some(most) = finale.writes_when_quiet {
            let calm =
                self.wait(&(kube, &cluster, None), &[Expectation::Quiet(SILENCE)], CALM_DOWN);
            match calm {
                Err(seen) => wrong.extend(seen),
                Ok(()) => {
                    let before = self.writes();
                    let until = self.driver.now() + WATCHED;
                    self.advance_to(until);
                    let more = self.writes() - before;
                    if more > most {
                        let span = span_text(WATCHED);
                        wrong.push(format!(
                            "the operator made {more} writes in {span} of quiet, not {most}"
                        ));
                    }
                }
            }
        }
        self.learn();
        wrong.extend(self.findings().err().unwrap_or_default());
        let (gap, lost) = self.client_figures();
        if let Some(most) = finale.write_gap_s
            && gap > most
        {
            wrong.push(format!("a client could not write for {gap:.1} s, not {most} s at most"));
        }
        if let Some(most) = finale.lost_rows
            && lost > most
        {
            wrong.push(format!("{lost} acknowledged rows are lost, not {most}"));
        }
        if let Some(most) = finale.writes
            && self.writes() > most
        {
            wrong.push(format!("the operator made {} writes, not {most} at most", self.writes()));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(failure(wrong)),
        }
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

    /// Makes a client count for the figures.
    pub fn count_client(&mut self, name: &str) {
        self.clients.push(name.to_owned());
    }

    fn outcome(
        &mut self,
        scenario: &Scenario,
        world: &WorldSpec,
        failure: Option<Failure>,
    ) -> Outcome {
        self.learn();
        let (write_gap_s, lost_rows) = self.client_figures();
        let virtual_s = self.driver.now().seconds();
        let writes = self.writes();
        let kubes = world.kubes.iter().map(|k| k.name.clone()).collect();
        let told = Teller::new(kubes).tell(&self.aliases, self.driver.journal());
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
        }
    }
}

/// What identifies a scene.
pub type SceneKey<'a> = (KubeId, &'a str, Option<&'a Ref>);

fn after(within: Span, wrong: Vec<String>) -> Vec<String> {
    let mut all = vec![format!("not true within {}:", span_text(within))];
    all.extend(wrong);
    all
}
