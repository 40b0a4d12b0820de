//! A scenario made ready for a real cluster, or the reason why it can't be played there. It never becomes
//! weaker in silence: what is left out, or takes another form, is told.

use ivory_core::Kind;
use ivory_sim::scenario::language::{
    Act, Expectation, Fault, Finale, KubeSpec, Scenario, Step, WorldSpec,
};
use ivory_sim::time::Span;

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
/// The operator must have been silent for so long …
const SILENT: Span = Span::s(20);

/// What a scenario is adapted to.
pub(crate) struct Fit {
    /// The database's major version.
    pub(crate) version: u32,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// The longest time that a scenario may let pass by itself.
    pub(crate) patience: Span,
    /// For how long a quiet operator is watched at the end.
    pub(crate) watched: Span,
}

impl Fit {
    /// What this cluster allows.
    pub(crate) fn of(live: &Live, version: u32, patience: Span, watched: Span) -> Self {
        let nodes = live.list(Kind::Node, None);
        let usable = nodes.iter().filter(|n| n.condition_true("Ready")).count();
        Self { version, nodes: usable, patience, watched }
    }

    /// The scenario as it is played here, and its bounds for clients.
    ///
    /// # Errors
    /// Why it can't be played.
    pub(crate) fn adapt(&self, scenario: &Scenario) -> Result<Scenario, String> {
        self.world(&scenario.world)?;
        let mut scenario = scenario.clone();
        let mut passes = Span::ZERO;
        for step in &mut scenario.steps {
            self.step(step, &mut passes)?;
        }
        if passes > self.patience {
            let minutes = passes.0 / 60_000_000;
            return Err(format!("lets {minutes} minutes pass; --patience allows it"));
        }
        let finale = &mut scenario.finale;
        finale.all.iter().try_for_each(|e| self.expectation(e))?;
        // Figures of clients are judged with slack when the story is over, and the last ten minutes of
        // silence are watched for less long, as two steps.
        finale.write_gap_s = None;
        finale.lost_rows = None;
        if finale.writes_when_quiet.take() == Some(0) {
            let quiet = |span| vec![Expectation::Quiet(span)];
            let mut steps = vec![
                Act::Wait { all: quiet(SILENT), within: Span::s(600) },
                Act::Expect { all: quiet(SILENT), hold: self.watched },
            ];
            let all = std::mem::take(&mut finale.all);
            steps.insert(0, Act::Wait { all, within: MOMENT });
            scenario.steps.extend(steps.into_iter().map(|act| at_the_end(finale, act)));
        }
        Ok(scenario)
    }

    fn world(&self, world: &WorldSpec) -> Result<(), String> {
        let [kube] = world.kubes.as_slice() else {
            return Err("needs several Kubernetes clusters (simulator only)".to_owned());
        };
        if world.patroni != 4 {
            return Err(format!("needs images with Patroni {} (simulator only)", world.patroni));
        }
        let plain = plain();
        if !kube.images_failing.is_empty() {
            return Err("needs images that can't be pulled (simulator only)".to_owned());
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

    fn step(&self, step: &mut Step, passes: &mut Span) -> Result<(), String> {
        match &mut step.act {
            Act::Apply(manifests) => {
                manifests.iter_mut().for_each(|m| with_version(m, self.version))
            }
            Act::Wait { all, within } => {
                *within = Span(within.0 * WITHIN_FACTOR);
                all.iter().try_for_each(|e| self.expectation(e))?;
            }
            Act::Expect { all, hold } => {
                *passes = Span(passes.0 + hold.0);
                all.iter().try_for_each(|e| self.expectation(e))?;
                if *hold == Span::ZERO {
                    step.act = Act::Wait { all: std::mem::take(all), within: MOMENT };
                }
            }
            Act::Advance(span) => *passes = Span(passes.0 + span.0),
            Act::Fault(fault) => possible(fault)?,
            Act::Each { steps, .. } => {
                steps.iter_mut().try_for_each(|s| self.step(s, passes))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn expectation(&self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Spread { zones: true, .. } => {
                Err("asks how instances are spread over zones".to_owned())
            }
            Expectation::Spread { counts, .. } if counts.len() > self.nodes => {
                Err(format!("needs {} nodes, and there are {}", counts.len(), self.nodes))
            }
            _ => Ok(()),
        }
    }
}

/// A Kubernetes of which the file says nothing.
fn plain() -> KubeSpec {
    let text = "description: x\nsteps: []\n";
    let scenario = ivory_sim::scenario::parse::parse("plain", std::path::Path::new("."), text);
    scenario.map_or_else(
        |_| KubeSpec {
            name: String::new(),
            nodes: Vec::new(),
            storage: Vec::new(),
            images_failing: Vec::new(),
        },
        |mut s| s.world.kubes.remove(0),
    )
}

fn at_the_end(finale: &Finale, act: Act) -> Step {
    let text = match &act {
        Act::Wait { within, .. } if *within == MOMENT => "expect at the end",
        Act::Wait { .. } => "wait until the operator is quiet",
        _ => "expect that it stays quiet",
    };
    Step { at: finale.at, text: text.to_owned(), kube: 0, cluster: None, act, refused: None }
}

fn possible(fault: &Fault) -> Result<(), String> {
    let word = match fault {
        Fault::KillPod(_) | Fault::KillContainer { .. } | Fault::Operator(_) => return Ok(()),
        Fault::CrashNode(_) => "crash_node",
        Fault::RestartNode(_) => "restart_node",
        Fault::LoseNode { .. } => "lose_node",
        Fault::Partition(..) => "partition",
        Fault::HealNetwork => "heal",
        Fault::ApiOutage(_) => "api_outage",
        Fault::LoseVolume(_) => "lose_volume",
        Fault::Images { .. } => "images",
    };
    Err(format!("has the fault {word} (simulator only)"))
}
