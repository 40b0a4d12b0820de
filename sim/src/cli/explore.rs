//! `ivory-sim explore`: stories that seeds draw, as many as there is time for. What is drawn and what a bad end is,
//! `explore` says; this is about threads, time and telling.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line says how long it took, and draws a first seed nobody has seen"
)]

use std::path::Path;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::threads::{in_threads, progress};
use super::ui::{Ui, span};
use super::{ExploreArgs, Trouble};
use crate::explore::drawn::{Bad, Played, play};
use crate::explore::swarm;
use crate::lab::site::build;

/// So many failures are told in full.
const TOLD: usize = 6;
/// So many last lines of a story.
const LAST: usize = 14;

/// What became of one seed.
struct Told {
    seed: u64,
    virtual_s: f64,
    writes: u64,
    bad: Option<(Bad, Vec<String>)>,
}

pub(super) fn run(args: &ExploreArgs) -> Result<(), Trouble> {
    if let Some(seed) = args.seed {
        return one(seed, args);
    }
    let begin = Instant::now();
    let first = args.from.unwrap_or_else(fresh);
    let count = match args.time {
        Some(_) => usize::MAX >> 8,
        None => args.seeds,
    };
    let ui = Ui::of_stdout();
    if !args.json {
        line!("seeds from {first} on");
    }
    let bar = progress(ui, !args.json, args.time.map_or(count, |t| t.as_secs() as usize), "seeds");
    let told = in_threads(args.jobs, count, |index| {
        if args.time.is_some_and(|time| begin.elapsed() >= time) {
            return None;
        }
        let told = tell_seed(first + index as u64);
        match args.time {
            Some(_) => bar.set_position(begin.elapsed().as_secs()),
            None => bar.inc(1),
        }
        Some(told)
    });
    bar.finish_and_clear();
    let told: Vec<Told> = told.into_iter().collect::<Result<_, String>>()?;
    let wall_s = begin.elapsed().as_secs_f64();
    match args.json {
        true => line!("{}", as_json(first, &told, wall_s)),
        false => tell(ui, &told, wall_s, args.jobs),
    }
    match told.iter().any(|t| t.bad.is_some()) {
        true => Err(Trouble::Failed),
        false => Ok(()),
    }
}

/// A seed that nobody has seen: the time.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |t| t.as_secs())
}

fn tell_seed(seed: u64) -> Result<Told, String> {
    let played = play(&swarm::story(seed), Path::new("."), &build)
        .map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(told(seed, played))
}

fn told(seed: u64, Played { outcome, bad }: Played) -> Told {
    let bad = bad.map(|bad| (bad, last(&outcome.transcript)));
    Told { seed, virtual_s: outcome.virtual_s, writes: outcome.writes, bad }
}

fn last(transcript: &str) -> Vec<String> {
    let lines: Vec<String> = transcript.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(LAST)..].to_vec()
}

/// One seed, told in full.
fn one(seed: u64, args: &ExploreArgs) -> Result<(), Trouble> {
    let story = swarm::story(seed);
    if let Some(file) = &args.write {
        let text = swarm::text(&story)?;
        std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let played = play(&story, Path::new("."), &build)?;
    let ui = Ui::of_stdout();
    if !args.json {
        line!("{}", swarm::text(&story)?);
        line!("{}", played.outcome.transcript);
    }
    let told = told(seed, played);
    if args.json {
        line!("{}", as_json(seed, std::slice::from_ref(&told), 0.0));
    }
    let Some((bad, lines)) = &told.bad else {
        if !args.json {
            line!("{} all is well", ui.green("✓"));
        }
        return Ok(());
    };
    if !args.json {
        tell_bad(ui, seed, bad, lines);
    }
    Err(Trouble::Failed)
}

fn as_json(first: u64, told: &[Told], wall_s: f64) -> Value {
    let virtual_s: f64 = told.iter().map(|t| t.virtual_s).sum();
    let failures = told.iter().filter_map(|t| t.bad.as_ref().map(|(bad, _)| (t.seed, bad)));
    let broken: Vec<Value> = failures
        .map(|(seed, bad)| {
            json!({
                "seed": seed, "promise": bad.promise.text(), "step": bad.failure.step,
                "wrong": bad.failure.wrong, "awaited": bad.failure.awaited,
            })
        })
        .collect();
    json!({
        "first": first,
        "seeds": told.len(),
        "failures": broken.len(),
        "speedup": if wall_s > 0.0 { (virtual_s / wall_s).round() } else { 0.0 },
        "virtual_s": virtual_s.round(),
        "wall_s": (wall_s * 10.0).round() / 10.0,
        "broken": broken,
    })
}

fn tell(ui: Ui, told: &[Told], wall_s: f64, jobs: usize) {
    let bad = || told.iter().filter_map(|t| t.bad.as_ref().map(|bad| (t.seed, bad)));
    for (seed, (bad, lines)) in bad().take(TOLD) {
        tell_bad(ui, seed, bad, lines);
    }
    if bad().count() > TOLD {
        line!("\n… and {} more:", bad().count() - TOLD);
        for (seed, (bad, _)) in bad().skip(TOLD) {
            line!("  ivory-sim explore --seed {seed}   {}", bad.key);
        }
    }
    let virtual_s: f64 = told.iter().map(|t| t.virtual_s).sum();
    let writes: u64 = told.iter().map(|t| t.writes).sum();
    let text = format!("{} seeds, {} failures, in {wall_s:.1} s", told.len(), bad().count());
    line!("\n{}", ui.bold(&text));
    line!(
        "{} of virtual time, {writes} writes of the operator; {:.0} virtual seconds a second in {jobs} threads",
        span(virtual_s),
        virtual_s / wall_s.max(1e-9),
    );
}

fn tell_bad(ui: Ui, seed: u64, bad: &Bad, lines: &[String]) {
    line!("\n{} {}", ui.red("✗"), ui.bold(&format!("seed {seed}")));
    line!("    promise {}", bad.promise.text());
    line!("    at: {}", bad.failure.step);
    for wrong in &bad.failure.wrong {
        line!("      {}", ui.red(wrong));
    }
    for awaited in &bad.failure.awaited {
        line!("    awaited: {awaited}");
    }
    for line in lines {
        line!("    {}", ui.dim(line));
    }
    line!("    again: ivory-sim explore --seed {seed}     smaller: ivory-sim shrink --seed {seed}");
}
