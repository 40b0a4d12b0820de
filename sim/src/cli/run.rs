//! `ivory-sim run`: plays stories one after the other, a line each.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line reads, prints, and says how long it took"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::page::Pages;
use super::ui::{Ui, span};
use super::{RunArgs, Trouble};
use crate::promises::ALL;
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::node::InputError;
use crate::scenario::parse::load;
use crate::scenario::run::{Outcome, run as play};

/// How many last lines of a story are told when it fails.
const LAST: usize = 12;

pub(super) fn run(args: &RunArgs, build: &Build<'_>) -> Result<(), Trouble> {
    // All are read before the first is played: a mistake in the last file is told at once.
    let mut scenarios = Vec::new();
    for file in files(&args.paths)? {
        scenarios.push(load(&file)?);
    }
    let ui = Ui::of_stdout();
    let bar = progress(ui, args.json, scenarios.len());
    let width = scenarios.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    let (mut results, mut traces) = (Vec::new(), String::new());
    let (mut failed, mut virtual_s, mut looks) = (0, 0.0, 0);
    let mut pages = args.html.as_ref().map(|path| Pages::new(path, scenarios.len()));
    let begin = Instant::now();
    for scenario in &scenarios {
        bar.set_message(scenario.name.clone());
        let started = Instant::now();
        let trace = args.trace.is_some();
        let outcome = match &mut pages {
            None => play(scenario, args.seed, trace, build)?,
            Some(pages) => pages.play(scenario, args.seed, trace, build)?,
        };
        let took = started.elapsed();
        failed += usize::from(outcome.failure.is_some());
        virtual_s += outcome.virtual_s;
        looks += outcome.looks.iter().sum::<u64>();
        if args.trace.is_some() {
            traces.push_str(&format!("# {}\n{}", outcome.name, outcome.trace));
        }
        if !args.json {
            bar.suspend(|| tell(ui, args, scenario, &outcome, (width, took)));
        }
        bar.inc(1);
        results.push(as_json(&outcome, took));
    }
    bar.finish_and_clear();
    if let Some(pages) = &mut pages {
        pages.end()?;
    }
    if let Some(file) = &args.trace {
        std::fs::write(file, traces)
            .map_err(|e| format!("{} can't be written: {e}", file.display()))?;
    }
    if args.json {
        line!("{}", json!({"scenarios": results}));
    } else {
        let passed = scenarios.len() - failed;
        let sum = format!(
            "{passed} passed, {failed} failed; {} of virtual time in {:.1}s; {}",
            span(virtual_s),
            begin.elapsed().as_secs_f64(),
            promises_held(&results, looks)
        );
        line!("\n{}", ui.bold(&sum));
        if let Some(pages) = &pages {
            line!("{}", pages.told());
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Trouble::Failed),
    }
}

/// The files that paths mean: themselves, or the YAML files of a folder in the order of their names.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut all = Vec::new();
    for path in paths {
        let shown = path.display().to_string();
        if path.is_file() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)
            .map_err(|_| InputError::whole(&shown, "there is no such file or folder"))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
            .collect();
        if found.is_empty() {
            return Err(InputError::whole(&shown, "holds no scenario (*.yaml)"));
        }
        found.sort();
        all.extend(found);
    }
    Ok(all)
}

fn progress(ui: Ui, json: bool, count: usize) -> indicatif::ProgressBar {
    if json || !ui.terminal || count < 2 {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(count as u64);
    let style = indicatif::ProgressStyle::with_template("  {bar:24} {pos}/{len}  {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn as_json(outcome: &Outcome, took: Duration) -> Value {
    json!({
        "name": outcome.name,
        "passed": outcome.failure.is_none(),
        "virtual_s": tenths(outcome.virtual_s),
        "real_ms": tenths(took.as_secs_f64() * 1e3),
        "writes": outcome.writes,
        "write_gap_s": tenths(outcome.write_gap_s),
        "lost_rows": outcome.lost_rows,
        "promise": outcome.failure.as_ref().and_then(|f| f.promise),
        "looks": outcome.looks,
    })
}

/// How many promises no story broke.
fn promises_held(results: &[Value], looks: u64) -> String {
    let broken: BTreeSet<u64> = results.iter().filter_map(|r| r["promise"].as_u64()).collect();
    format!("{} promises held, {looks} looks", ALL.len() - broken.len())
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn tell(
    ui: Ui,
    args: &RunArgs,
    scenario: &Scenario,
    outcome: &Outcome,
    (width, took): (usize, Duration),
) {
    let mark = match outcome.failure {
        None => ui.green("✓"),
        Some(_) => ui.red("✗"),
    };
    let gap = match outcome.write_gap_s > 0.0 {
        true => format!("   gap {:>5.1}s", outcome.write_gap_s),
        false => String::new(),
    };
    line!(
        "{mark} {:<width$}  {:>3} steps  {:>8} virtual  {:>6.0} ms  {:>4} writes{gap}",
        outcome.name,
        outcome.steps,
        span(outcome.virtual_s),
        took.as_secs_f64() * 1e3,
        outcome.writes,
    );
    if args.verbose {
        line!("{}", outcome.transcript);
    }
    let Some(failure) = &outcome.failure else {
        return;
    };
    line!("    {}:{}:{}: {}", scenario.file, failure.at.line, failure.at.column, failure.step);
    for wrong in &failure.wrong {
        line!("      {}", ui.red(wrong));
    }
    for awaited in &failure.awaited {
        line!("    awaited: {awaited}");
    }
    if !args.verbose {
        for line in last_lines(&outcome.transcript) {
            line!("    {}", ui.dim(line));
        }
    }
    difference(ui, scenario, outcome);
}

fn last_lines(transcript: &str) -> Vec<&str> {
    let lines: Vec<&str> = transcript.lines().collect();
    lines[lines.len().saturating_sub(LAST)..].to_vec()
}

/// Where the story first went another way than its committed transcript, if there is one.
fn difference(ui: Ui, scenario: &Scenario, outcome: &Outcome) {
    let folder = Path::new(&scenario.file).parent().unwrap_or(Path::new("."));
    let path = folder.join("../snapshots").join(format!("{}.snap", scenario.name));
    let Ok(snapshot) = std::fs::read_to_string(&path) else {
        return;
    };
    // insta's own header ends with the second `---`.
    let Some(told) = snapshot.splitn(3, "---\n").nth(2) else {
        return;
    };
    let now = whole(scenario, outcome);
    let diff = TextDiff::from_lines(told, &now);
    let Some(group) = diff.grouped_ops(2).into_iter().next() else {
        return;
    };
    line!("    it first differs from {}:", path.display());
    let lines = group.iter().flat_map(|op| diff.iter_changes(op));
    for change in lines.take(LAST) {
        let text = change.value().trim_end();
        match change.tag() {
            ChangeTag::Delete => line!("    {}", ui.red(&format!("- {text}"))),
            ChangeTag::Insert => line!("    {}", ui.green(&format!("+ {text}"))),
            ChangeTag::Equal => line!("      {text}"),
        }
    }
}

/// A transcript as it is committed: the story in words, then as it was told.
#[must_use]
pub fn whole(scenario: &Scenario, outcome: &Outcome) -> String {
    format!("{}\n\n{}", scenario.description, outcome.transcript)
}
