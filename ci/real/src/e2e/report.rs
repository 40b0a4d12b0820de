//! How it went: a line a scenario, and the figures.

use ivory_sim::scenario::driver::ClientFacts;
use ivory_sim::scenario::language::Scenario;
use ivory_sim::scenario::run::Outcome;
use ivory_sim::scenario::transcript::Teller;
use ivory_sim::world::journal::Entry;
use serde_json::{Value, json};

use super::compare::{Compared, compare};
use super::figures::figures;
use super::image::{Image, SIZE_MAX_BYTES};
use super::milestones::{aliases, milestones};
use super::playable::{GAP_FACTOR, GAP_SECONDS, MOMENT, WITHIN_FACTOR};

/// How one scenario went.
pub(crate) struct Result {
    name: String,
    how: How,
}

enum How {
    Skipped(String),
    Broken(String),
    Played(Box<Played>),
}

struct Played {
    wrong: Vec<String>,
    seconds: f64,
    writes: u64,
    clients: usize,
    write_gap_s: f64,
    lost_rows: u64,
    sim_seconds: f64,
    sim_write_gap_s: f64,
    compared: Compared,
    figures: Vec<(String, f64)>,
    sim_figures: Vec<(String, f64)>,
    transcript: String,
}

impl Result {
    /// It can't be played here.
    pub(crate) fn skipped(scenario: &Scenario, reason: String) -> Self {
        Self { name: scenario.name.clone(), how: How::Skipped(reason) }
    }

    /// It could not even begin.
    pub(crate) fn broken(scenario: &Scenario, error: String) -> Self {
        Self { name: scenario.name.clone(), how: How::Broken(error) }
    }

    /// It was played, here and in the simulator.
    pub(crate) fn played(
        scenario: &Scenario,
        real: Outcome,
        clients: &[ClientFacts],
        journal: &[Entry],
        simulated: std::result::Result<Outcome, String>,
        simulated_journal: &[Entry],
    ) -> Self {
        let mut wrong = Vec::new();
        if let Some(failure) = real.failure {
            wrong.push(format!(
                "{}:{}:{}: {}",
                scenario.file, failure.at.line, failure.at.column, failure.step
            ));
            wrong.extend(failure.wrong.into_iter().map(|w| format!("  {w}")));
        }
        let gap = clients.iter().map(|c| c.longest_gap.seconds()).fold(0.0, f64::max);
        let lost = clients.iter().map(|c| c.lost_rows).sum();
        if let Some(bound) = scenario.finale.write_gap_s {
            let most = bound * GAP_FACTOR + GAP_SECONDS;
            if gap > most {
                wrong.push(format!(
                    "a client could not write for {gap:.1} s, not {most:.1} s at most ({bound} s and slack)"
                ));
            }
        }
        if let Some(most) = scenario.finale.lost_rows
            && lost > most
        {
            wrong.push(format!("{lost} acknowledged rows are lost, not {most}"));
        }
        let (mut sim_seconds, mut sim_write_gap_s) = (0.0, 0.0);
        match simulated {
            Ok(outcome) => {
                if outcome.failure.is_some() {
                    wrong.push("the simulator fails the same story".to_owned());
                }
                (sim_seconds, sim_write_gap_s) = (outcome.virtual_s, outcome.write_gap_s);
            }
            Err(error) => wrong.push(format!("the simulator can't play it: {error}")),
        }
        let (here, here_flaps) = milestones(scenario, journal);
        let (there, there_flaps) = milestones(scenario, simulated_journal);
        let mut compared = compare(&here, &there);
        // A story that broke off has an end of its own.
        if wrong.is_empty() {
            wrong.append(&mut compared.wrong);
        }
        let flap = |(flaps, where_): (Vec<_>, &'static str)| {
            flaps.into_iter().map(move |f: super::milestones::Fact| {
                format!(
                    "flap {where_}, at {:.1} s: {} (too short for every watch to see)",
                    f.at_s, f.text
                )
            })
        };
        let flaps = [(here_flaps, "on the cluster"), (there_flaps, "simulated")];
        compared.excused.extend(flaps.into_iter().flat_map(flap));
        let told = Teller::new(vec!["main".to_owned()]).tell(&aliases(scenario, journal), journal);
        let played = Played {
            wrong,
            compared,
            figures: figures(journal),
            sim_figures: figures(simulated_journal),
            seconds: real.virtual_s,
            writes: real.writes,
            clients: clients.len(),
            write_gap_s: gap,
            lost_rows: lost,
            sim_seconds,
            sim_write_gap_s,
            transcript: told,
        };
        Self { name: scenario.name.clone(), how: How::Played(Box::new(played)) }
    }

    /// Whether it went wrong.
    pub(crate) fn failed(&self) -> bool {
        match &self.how {
            How::Skipped(_) => false,
            How::Broken(_) => true,
            How::Played(p) => !p.wrong.is_empty(),
        }
    }

    fn json(&self) -> Value {
        match &self.how {
            How::Skipped(reason) => {
                json!({"name": self.name, "result": "skipped", "reason": reason})
            }
            How::Broken(error) => json!({"name": self.name, "result": "failed", "wrong": [error]}),
            How::Played(p) => json!({
                "name": self.name,
                "result": if p.wrong.is_empty() { "passed" } else { "failed" },
                "wrong": p.wrong,
                "seconds": tenths(p.seconds),
                "writes": p.writes,
                "write_gap_s": tenths(p.write_gap_s),
                "lost_rows": p.lost_rows,
                "figures_s": table(&p.figures),
                "milestones": {"common": p.compared.common, "excused": p.compared.excused},
                "simulated": {"seconds": tenths(p.sim_seconds), "write_gap_s": tenths(p.sim_write_gap_s), "figures_s": table(&p.sim_figures)},
            }),
        }
    }
}

fn table(figures: &[(String, f64)]) -> Value {
    figures.iter().map(|(name, s)| (name.clone(), Value::from(tenths(*s)))).collect()
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Tells of one scenario.
pub(crate) fn tell(result: &Result, verbose: bool) {
    let name = &result.name;
    match &result.how {
        How::Skipped(reason) => println!("- {name:<30} skipped: {reason}"),
        How::Broken(error) => println!("✗ {name:<30} {error}"),
        How::Played(p) => {
            let mark = if p.wrong.is_empty() { "✓" } else { "✗" };
            let clients = match p.clients {
                0 => String::new(),
                _ => format!(
                    "   gap {:>5.1} s (simulated {:.1})   {} rows lost",
                    p.write_gap_s, p.sim_write_gap_s, p.lost_rows
                ),
            };
            println!(
                "{mark} {name:<30} {:>6.1} s   {:>3} writes   {:>3} milestones as simulated, {} differ with a reason{clients}",
                p.seconds,
                p.writes,
                p.compared.common,
                p.compared.excused.len(),
            );
            for (name, seconds) in &p.figures {
                let simulated = p.sim_figures.iter().find(|(n, _)| n == name);
                let simulated =
                    simulated.map_or("not at all".to_owned(), |(_, s)| format!("{s:.1} s"));
                println!("    {name}: {seconds:.1} s (simulated {simulated})");
            }
            for wrong in &p.wrong {
                println!("    {wrong}");
            }
            if verbose || !p.wrong.is_empty() {
                for excused in &p.compared.excused {
                    println!("    - {excused}");
                }
                for line in p.transcript.lines() {
                    println!("    {line}");
                }
            }
        }
    }
}

/// Tells of all.
pub(crate) fn sum(results: &[Result], image: Option<&Image>, as_json: bool) {
    let count = |is: fn(&Result) -> bool| results.iter().filter(|r| is(r)).count();
    let failed = count(Result::failed);
    let skipped = count(|r| matches!(r.how, How::Skipped(_)));
    let passed = results.len() - failed - skipped;
    if as_json {
        let scenarios: Vec<Value> = results.iter().map(Result::json).collect();
        let size = image.map(|i| i.size_bytes);
        println!("{}", json!({"scenarios": scenarios, "image_bytes": size}));
        return;
    }
    println!(
        "\n{passed} passed, {failed} failed, {skipped} skipped; slack: waits {WITHIN_FACTOR} times as long, \
         write gaps {GAP_FACTOR} times and {GAP_SECONDS} s, moments {} s",
        MOMENT.seconds()
    );
    if let Some(image) = image {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let mb = image.size_bytes as f64 / 1e6;
        let verdict = if image.size_bytes <= SIZE_MAX_BYTES { "within" } else { "above" };
        println!("the operator's image holds {mb:.1} MB, {verdict} the 25 MB it may have");
    }
}
