//! The command line: which gates to run, and how their outcomes are shown.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use crate::gates::{GATES, Gate, Outcome};
use crate::selftest;
use crate::tree::Tree;

/// Run the gates of the project.
#[derive(Parser)]
#[command(name = "ivory-ci", after_help = help())]
pub(crate) struct Args {
    /// What to run: `all`, `selftest`, or gates by name.
    #[arg(required = true, value_parser = names())]
    what: Vec<String>,
    /// Print outcomes as JSON.
    #[arg(long)]
    json: bool,
    /// Write generated files (gate `fresh`) instead of comparing them.
    #[arg(long)]
    write: bool,
}

fn names() -> Vec<&'static str> {
    ["all", "selftest"].into_iter().chain(GATES.iter().map(|gate| gate.name)).collect()
}

fn help() -> String {
    let gates = GATES.iter().map(|gate| format!("  {:<12} {}\n", gate.name, gate.asks));
    let head = "Gates, all of them under `all`:\n".to_owned();
    head + &gates.collect::<String>()
        + "\n`selftest` breaks a copy of the tree in every way that a gate is there for, and demands \
           that the gate sees it.\n`mutants` breaks core in hundreds of ways, and demands that tests, \
           stories or exploration notice (it has its own --help).\n\nWith a real Kubernetes (each has its own --help):\n"
        + &crate::real::help()
}

/// Runs what is asked for; fails if any gate does.
pub(crate) fn run(args: &Args) -> ExitCode {
    let outcomes = match outcomes(args) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            eprintln!("ivory-ci: {error:#}");
            return ExitCode::from(2);
        }
    };
    if args.json {
        println!("{}", serde_json::json!(outcomes));
    }
    if outcomes.iter().all(|outcome| outcome.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn outcomes(args: &Args) -> anyhow::Result<Vec<Outcome>> {
    let here = std::env::current_dir().context("the current folder")?;
    let tree = Tree::around(&here, args.write)?;
    let mut outcomes = Vec::new();
    let mut show = |outcome: Outcome| {
        if !args.json {
            print(&outcome);
        }
        outcomes.push(outcome);
    };
    for what in &args.what {
        match what.as_str() {
            "all" => GATES.iter().for_each(|gate| show(gate.outcome(&tree))),
            "selftest" => selftest::run(&tree, &mut show)?,
            name => show(Gate::named(name).context("no such gate")?.outcome(&tree)),
        }
    }
    Ok(outcomes)
}

fn print(outcome: &Outcome) {
    let mark = if outcome.ok { '✓' } else { '✗' };
    println!("{mark} {:>6.1} s  {}", outcome.seconds, outcome.gate);
    for finding in &outcome.findings {
        println!("    {}", finding.to_string().replace('\n', "\n      "));
    }
}
