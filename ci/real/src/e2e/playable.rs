//! A scenario made ready for a real cluster, or the reason why it can't be played there. It never becomes
//! weaker in silence: what is left out, or takes another form, is told.

use std::collections::BTreeSet;

use ivory_core::Kind;
use ivory_sim::patroni::config::Version;
use ivory_sim::scenario::fields::span_text;
use ivory_sim::scenario::language::{
    Act, Expectation, Fault, Finale, KubeSpec, Scenario, Step, WorldSpec,
};
use ivory_sim::time::Span;

use super::faults;
use super::install::with_version;
use super::live::Live;

/// Bounds are wider on a real machine than in the simulator: waiting steps may take so many times longer …
pub(crate) const WITHIN_FACTOR: i64 = 2;
/// … and a write gap may be longer by this factor …
pub(crate) const GAP_FACTOR: f64 = 1.5;
/// … and these seconds: a client's line a tenth of a second is connection, TLS and a new process.
pub(crate) const GAP_SECONDS: f64 = 3.0;
/// … and what must be true at a moment may come true within so long: endpoints and proxies follow.
pub(crate) const MOMENT: Span = Span::s(5);
/// A story that lets so much time pass is about the calendar, and nothing of it is left when that is cut short.
const CALENDAR: Span = Span::s(24 * 3600);
/// The operator must have been silent for so long …
const SILENT: Span = Span::s(20);

/// What a scenario is adapted to.
pub(crate) struct Fit {
    /// The database's major version.
    pub(crate) version: u32,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// The longest time that a step may let pass by itself.
    pub(crate) patience: Span,
    /// For how long a quiet operator is watched at the end.
    pub(crate) watched: Span,
    /// Faults that somebody gave a command for.
    pub(crate) bound: BTreeSet<String>,
}

/// A scenario made ready.
#[derive(Debug)]
pub(crate) struct Adapted {
    /// As it is played on the cluster.
    pub(crate) real: Scenario,
    /// As it is played in the simulator beside it: what was left out here is left out there.
    pub(crate) simulated: Scenario,
    /// What was left out, one sentence each.
    pub(crate) left_out: Vec<String>,
}

impl Fit {
    /// What this cluster allows.
    pub(crate) fn of(live: &Live, args: &super::Args, bound: BTreeSet<String>) -> Self {
        let nodes = live.list(Kind::Node, None);
        let usable = nodes.iter().filter(|n| n.condition_true("Ready")).count();
        Self {
            version: args.postgres_version,
            nodes: usable,
            patience: Span::s(args.patience * 60),
            watched: Span::s(args.watch),
            bound,
        }
    }

    /// The scenario as it is played here, and what of it is left out.
    ///
    /// # Errors
    /// Why it can't be played: a fault or a world that only the simulator has. Such a story has no rest that means
    /// anything, since all that follows is about what broke.
    pub(crate) fn adapt(&self, scenario: &Scenario) -> Result<Adapted, String> {
        self.world(&scenario.world)?;
        calendar(&scenario.steps)?;
        let mut simulated = scenario.clone();
        let mut left_out = Vec::new();
        self.shorten(&mut simulated.steps, &mut left_out);
        self.ask_less(&mut simulated.finale.all, &mut left_out);
        let mut real = simulated.clone();
        real.steps.iter_mut().try_for_each(|step| self.step(step))?;
        let finale = &mut real.finale;
        // Figures of clients are judged with slack when the story is over, and the last ten minutes of
        // silence are watched for less long, as two steps.
        finale.write_gap_s = None;
        finale.lost_rows = None;
        if finale.writes_when_quiet.take() == Some(0) {
            let quiet = |span| vec![Expectation::Quiet(span)];
            let mut steps = vec![
                // What the operator wrote a moment ago is not told yet.
                Act::Advance(MOMENT),
                Act::Wait { all: quiet(SILENT), within: Span::s(600) },
                Act::Expect { all: quiet(SILENT), hold: self.watched },
            ];
            let all = std::mem::take(&mut finale.all);
            steps.insert(0, Act::Wait { all, within: MOMENT });
            real.steps.extend(steps.into_iter().map(|act| at_the_end(finale, act)));
        }
        Ok(Adapted { real, simulated, left_out })
    }

    /// Leaves out what can't be asked here, and the time beyond what anybody has the patience for.
    fn shorten(&self, steps: &mut [Step], left_out: &mut Vec<String>) {
        for step in steps {
            let line = step.at.line;
            let mut at_most = |span: &mut Span, word: &str| {
                if *span > self.patience {
                    let (whole, left) = (span_text(*span), span_text(self.patience));
                    left_out.push(format!("line {line}: `{word}` lasts {left} of {whole}"));
                    *span = self.patience;
                }
            };
            match &mut step.act {
                Act::Advance(span) => at_most(span, "advance"),
                Act::Expect { all, hold } => {
                    at_most(hold, "for");
                    self.ask_less(all, left_out);
                }
                Act::Wait { all, .. } => self.ask_less(all, left_out),
                Act::Each { steps, .. } => self.shorten(steps, left_out),
                _ => {}
            }
        }
    }

    fn ask_less(&self, all: &mut Vec<Expectation>, left_out: &mut Vec<String>) {
        all.retain(|expectation| match self.askable(expectation) {
            Ok(()) => true,
            Err(what) => {
                left_out.push(what);
                false
            }
        });
    }

    fn world(&self, world: &WorldSpec) -> Result<(), String> {
        let [kube] = world.kubes.as_slice() else {
            return Err("needs several Kubernetes clusters (simulator only)".to_owned());
        };
        if world.patroni != Version::BASELINE {
            return Err(format!("needs images with Patroni {} (simulator only)", world.patroni));
        }
        let plain = plain();
        if !kube.images_failing.is_empty() {
            return Err("needs images that can't be pulled (simulator only)".to_owned());
        }
        if !kube.buckets.is_empty() {
            return Err("needs object stores (simulator only)".to_owned());
        }
        if !kube.objects.is_empty() {
            return Err("needs what another operator left behind (simulator only)".to_owned());
        }
        if kube.storage != plain.storage {
            return Err("needs storage classes of its own (simulator only)".to_owned());
        }
        if kube.nodes.iter().any(|n| !n.labels.is_empty() || !n.taints.is_empty()) {
            return Err("needs nodes with labels or taints (simulator only)".to_owned());
        }
        // Stories with fewer nodes than usual are about too few of them.
        if kube.nodes.len() < plain.nodes.len() && self.nodes > kube.nodes.len() {
            let wanted = kube.nodes.len();
            return Err(format!("needs {wanted} nodes at most, and there are {}", self.nodes));
        }
        Ok(())
    }

    fn step(&self, step: &mut Step) -> Result<(), String> {
        match &mut step.act {
            Act::Apply(manifests) => {
                if manifests.iter().any(|m| m["spec"]["image"].is_string()) {
                    return Err("needs an image of its own (simulator only)".to_owned());
                }
                manifests.iter_mut().for_each(|m| with_version(m, self.version));
            }
            Act::Wait { within, .. } => *within = Span(within.0 * WITHIN_FACTOR),
            Act::Expect { all, hold } if *hold == Span::ZERO => {
                step.act = Act::Wait { all: std::mem::take(all), within: MOMENT };
            }
            Act::Fault(fault) => self.possible(fault)?,
            Act::Each { steps, .. } => steps.iter_mut().try_for_each(|s| self.step(s))?,
            _ => {}
        }
        Ok(())
    }

    fn possible(&self, fault: &Fault) -> Result<(), String> {
        let word = fault.word();
        match faults::anywhere(word) || self.bound.contains(word) {
            true => Ok(()),
            false => Err(format!("has the fault {word} (simulator only)")),
        }
    }

    /// # Errors
    /// What is left out.
    fn askable(&self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Spread { zones: true, .. } => {
                Err("how instances are spread over zones".to_owned())
            }
            Expectation::Spread { counts, .. } if counts.len() > self.nodes => Err(format!(
                "how instances are spread over {} nodes, since there are {}",
                counts.len(),
                self.nodes
            )),
            _ => Ok(()),
        }
    }
}

fn calendar(steps: &[Step]) -> Result<(), String> {
    steps.iter().try_for_each(|step| match &step.act {
        Act::Advance(span) if *span >= CALENDAR => {
            Err(format!("lets {} pass (simulator only)", span_text(*span)))
        }
        Act::Each { steps, .. } => calendar(steps),
        _ => Ok(()),
    })
}

/// A Kubernetes of which the file says nothing.
fn plain() -> KubeSpec {
    let text = "description: x\nsteps: []\n";
    let scenario = ivory_sim::scenario::parse::parse("plain", std::path::Path::new("."), text);
    scenario.map_or_else(|_| KubeSpec::default(), |mut s| s.world.kubes.remove(0))
}

fn at_the_end(finale: &Finale, act: Act) -> Step {
    let text = match &act {
        Act::Wait { within, .. } if *within == MOMENT => "expect at the end",
        Act::Advance(_) => "let the last lines of the operator's log come in",
        Act::Wait { .. } => "wait until the operator is quiet",
        _ => "expect that it stays quiet",
    };
    let (at, text) = (finale.at, text.to_owned());
    Step { at, text, kube: 0, cluster: None, act, refused: None, optional: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(bound: &[&str]) -> Fit {
        Fit {
            version: 15,
            nodes: 1,
            patience: Span::s(120),
            watched: Span::s(60),
            bound: bound.iter().map(|w| (*w).to_owned()).collect(),
        }
    }

    /// What becomes of a story with these lines below `steps:`.
    fn adapt(bound: &[&str], steps: &str) -> Result<Adapted, String> {
        let text = format!("description: x\nsteps:\n{steps}");
        let scenario = ivory_sim::scenario::parse::parse("story", std::path::Path::new("."), &text);
        fit(bound).adapt(&scenario.expect("a story"))
    }

    fn skipped(bound: &[&str], steps: &str, reason: &str) {
        let adapted = adapt(bound, steps).expect_err(steps);
        assert!(adapted.contains(reason), "{adapted}");
    }

    fn left_out(steps: &str, what: &[&str]) {
        let adapted = adapt(&[], steps).expect(steps);
        assert_eq!(adapted.left_out, what, "{steps}");
    }

    #[test]
    fn what_only_the_simulator_has_is_never_passed_in_silence() {
        skipped(&[], "- fault: {api_outage: 30s}", "api_outage");
        skipped(&[], "- advance: 1d", "lets 1d pass");
        let image = "- apply: {kind: IvoryCluster, metadata: {name: hippo}, spec: {image: other}}";
        skipped(&[], image, "needs an image");
        skipped(&["lose_node"], "- fault: {crash_node: node1}", "crash_node");
        skipped(&[], "- each: {of: Secret, do: [{fault: {heal: network}}]}", "heal");
        left_out("- fault: {operator: down}", &[]);
        left_out("- expect: {spread: {nodes: [2]}}", &[]);
        left_out(
            "- expect: {spread: {nodes: [2, 1]}}",
            &["how instances are spread over 2 nodes, since there are 1"],
        );
        left_out("- wait: {spread: {zones: [2]}}", &["how instances are spread over zones"]);
        left_out("- advance: 2m", &[]);
        left_out("- advance: 1h", &["line 3: `advance` lasts 2m of 1h"]);
        left_out("- expect: {ready: true}\n  for: 5m", &["line 3: `for` lasts 2m of 5m"]);
        assert!(adapt(&["api_outage"], "- fault: {api_outage: 30s}").is_ok());
    }

    #[test]
    fn the_simulator_plays_what_is_played_here() {
        let adapted = adapt(&[], "- advance: 1h\n- expect: {spread: {nodes: [2, 1]}}").expect("ok");
        let Act::Advance(span) = &adapted.simulated.steps[0].act else { panic!("an advance") };
        assert_eq!(*span, Span::s(120));
        let Act::Expect { all, .. } = &adapted.simulated.steps[1].act else { panic!("an expect") };
        assert!(all.is_empty());
    }
}
