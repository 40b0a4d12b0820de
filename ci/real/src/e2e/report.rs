//! How it went: a line a scenario, and the figures.

use ivory_sim::scenario::language::Scenario;
use ivory_sim::scenario::run::Outcome;
use ivory_sim::scenario::transcript::Teller;
use ivory_sim::world::journal::Entry;
use serde_json::{Value, json};

use super::compare::{Compared, Side, compare};
use super::figures::figures;
use super::image::{Image, SIZE_MAX_BYTES};
use super::milestones::{Fact, aliases, milestones};
use super::playable::{GAP_FACTOR, GAP_SECONDS, MOMENT, WITHIN_FACTOR};
use super::psql::Account;

/// How one scenario went.
pub(crate) struct Result {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) how: How,
}

/// Whether it was played, and how that went.
pub(super) enum How {
    /// It can't be played here, and why.
    Skipped(String),
    /// It could not begin.
    Broken(String),
    /// It was played.
    Played(Box<Played>),
}

/// Both runs of a scenario.
pub(super) struct Played {
    /// What is wrong; nothing in a story that passed.
    pub(super) wrong: Vec<String>,
    /// What of the story was left out.
    pub(super) left_out: Vec<String>,
    pub(super) seconds: f64,
    pub(super) cost: Cost,
    pub(super) writes: u64,
    pub(super) clients: usize,
    pub(super) write_gap_s: f64,
    /// None: nobody could be asked.
    pub(super) lost_rows: Option<u64>,
    pub(super) sim_seconds: f64,
    pub(super) sim_write_gap_s: f64,
    pub(super) compared: Compared,
    /// Times by name, in both worlds.
    pub(super) figures: Vec<(String, f64)>,
    pub(super) sim_figures: Vec<(String, f64)>,
    /// The milestones of both runs.
    pub(super) facts: Vec<Fact>,
    pub(super) sim_facts: Vec<Fact>,
    pub(super) transcript: String,
}

/// What a story cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds of the clock, cleaning before it and the simulated run included.
    pub(crate) took_s: f64,
    /// The operator's requests a minute while it had nothing to do, the lease's apart; none if nobody could count.
    pub(crate) idle_requests: Option<f64>,
}

impl Result {
    fn new(scenario: &Scenario, how: How) -> Self {
        let description = scenario.description.trim().to_owned();
        Self { name: scenario.name.clone(), description, how }
    }

    /// It can't be played here.
    pub(crate) fn skipped(scenario: &Scenario, reason: String) -> Self {
        Self::new(scenario, How::Skipped(reason))
    }

    /// It could not even begin.
    pub(crate) fn broken(scenario: &Scenario, error: String) -> Self {
        Self::new(scenario, How::Broken(error))
    }

    /// It was played, here and in the simulator.
    pub(crate) fn played(
        (scenario, left_out): (&Scenario, Vec<String>),
        real: Outcome,
        clients: &[Account],
        journal: &[Entry],
        simulated: std::result::Result<Outcome, String>,
        simulated_journal: &[Entry],
        cost: Cost,
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
        let lost: Option<u64> = clients.iter().map(|c| c.lost_rows).sum();
        if let Some(bound) = scenario.finale.write_gap_s {
            let most = bound * GAP_FACTOR + GAP_SECONDS;
            if gap > most {
                wrong.push(format!(
                    "a client could not write for {gap:.1} s, not {most:.1} s at most ({bound} s and slack)"
                ));
            }
        }
        wrong.extend(scenario.finale.lost_rows.and_then(|most| lost_wrong(lost, most)));
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
        let mut compared = compare(
            Side { name: "on the cluster", facts: &here, flaps: &here_flaps },
            Side { name: "simulated", facts: &there, flaps: &there_flaps },
        );
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
            left_out,
            compared,
            figures: figures(journal),
            sim_figures: figures(simulated_journal),
            seconds: real.virtual_s,
            cost,
            writes: real.writes,
            clients: clients.len(),
            write_gap_s: gap,
            lost_rows: lost,
            sim_seconds,
            sim_write_gap_s,
            facts: here,
            sim_facts: there,
            transcript: told,
        };
        Self::new(scenario, How::Played(Box::new(played)))
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
                "took_s": tenths(p.cost.took_s),
                "idle_requests_per_minute": p.cost.idle_requests.map(tenths),
                "writes": p.writes,
                "write_gap_s": tenths(p.write_gap_s),
                "lost_rows": p.lost_rows,
                "left_out": p.left_out,
                "figures_s": table(&p.figures),
                "milestones": {"common": p.compared.common, "excused": p.compared.excused},
                "simulated": {"seconds": tenths(p.sim_seconds), "write_gap_s": tenths(p.sim_write_gap_s), "figures_s": table(&p.sim_figures)},
            }),
        }
    }
}

/// What is wrong with a number of lost rows. One that nobody knows is wrong too.
fn lost_wrong(lost: Option<u64>, most: u64) -> Option<String> {
    match lost {
        Some(lost) if lost <= most => None,
        Some(lost) => Some(format!("{lost} acknowledged rows are lost, not {most}")),
        None => Some(format!(
            "nobody knows how many acknowledged rows are lost: they could not be counted; {most} may be"
        )),
    }
}

/// Whether all held that was to be shown: nothing failed, and something was played.
pub(crate) fn all_held(results: &[Result]) -> bool {
    let played = |r: &Result| matches!(r.how, How::Played(_));
    results.iter().any(played) && !results.iter().any(Result::failed)
}

/// So many rows lost, in words.
pub(super) fn rows(lost: Option<u64>) -> String {
    lost.map_or("nobody knows how many".to_owned(), |lost| lost.to_string())
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
                    p.write_gap_s,
                    p.sim_write_gap_s,
                    rows(p.lost_rows)
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
            if let Some(requests) = p.cost.idle_requests {
                println!("    requests a minute in silence, the lease's apart: {requests:.1}");
            }
            for what in &p.left_out {
                println!("    left out: {what}");
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

/// A line a story: how it ended, what it has in common with the simulator, what it cost.
fn overview(results: &[Result]) -> String {
    let mut out = format!(
        "\n{:<30} {:<8} {:>10} {:>8} {:>10} {:>5} {:>8}\n",
        "story", "result", "milestones", "gap, s", "simulated", "lost", "took, s"
    );
    for result in results {
        let verdict = if result.failed() { "failed" } else { "passed" };
        let line = match &result.how {
            How::Skipped(reason) => format!("{:<30} skipped: {reason}", result.name),
            How::Broken(error) => format!("{:<30} {verdict:<8} {error}", result.name),
            How::Played(p) => {
                let (gap, simulated, lost) = match p.clients {
                    0 => <(String, String, String)>::default(),
                    _ => (
                        format!("{:.1}", p.write_gap_s),
                        format!("{:.1}", p.sim_write_gap_s),
                        p.lost_rows.map_or("?".to_owned(), |lost| lost.to_string()),
                    ),
                };
                format!(
                    "{:<30} {verdict:<8} {:>10} {gap:>8} {simulated:>10} {lost:>5} {:>8.0}",
                    result.name, p.compared.common, p.cost.took_s
                )
            }
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
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
    print!("{}", overview(results));
    println!(
        "\n{passed} passed, {failed} failed, {skipped} skipped; slack: waits {WITHIN_FACTOR} times as long, \
         write gaps {GAP_FACTOR} times and {GAP_SECONDS} s, moments {} s",
        MOMENT.seconds()
    );
    if passed + failed == 0 {
        println!("nothing was played, so nothing is shown: that counts as a failure");
    }
    if let Some(image) = image {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let mb = image.size_bytes as f64 / 1e6;
        let verdict = if image.size_bytes <= SIZE_MAX_BYTES { "within" } else { "above" };
        println!("the operator's image holds {mb:.1} MB, {verdict} the 25 MB it may have");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(how: How) -> Result {
        Result { name: "story".to_owned(), description: String::new(), how }
    }

    fn played(wrong: &[&str]) -> Result {
        let played = Played {
            wrong: wrong.iter().map(|w| (*w).to_owned()).collect(),
            left_out: Vec::new(),
            seconds: 0.0,
            cost: Cost::default(),
            writes: 0,
            clients: 0,
            write_gap_s: 0.0,
            lost_rows: None,
            sim_seconds: 0.0,
            sim_write_gap_s: 0.0,
            compared: Compared::default(),
            figures: Vec::new(),
            sim_figures: Vec::new(),
            facts: Vec::new(),
            sim_facts: Vec::new(),
            transcript: String::new(),
        };
        result(How::Played(Box::new(played)))
    }

    #[test]
    fn only_what_was_played_and_held_counts() {
        let skipped = || result(How::Skipped("has a fault".to_owned()));
        assert!(!all_held(&[]));
        assert!(!all_held(&[skipped()]));
        assert!(all_held(&[played(&[]), skipped()]));
        assert!(!all_held(&[played(&["a row is lost"]), played(&[])]));
        assert!(!all_held(&[result(How::Broken("no operator".to_owned())), played(&[])]));
    }

    #[test]
    fn rows_that_nobody_counted_are_wrong() {
        assert_eq!(lost_wrong(Some(0), 0), None);
        assert_eq!(lost_wrong(Some(2), 2), None);
        assert!(lost_wrong(Some(1), 0).is_some());
        assert!(lost_wrong(None, 0).is_some());
        assert!(lost_wrong(None, 1_000_000).is_some());
    }
}
