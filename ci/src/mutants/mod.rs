//! Who watches the watchers: core is broken in hundreds of small ways, one at a time, and tests, stories or exploration
//! have to notice.
//!
//! All mutants are in one build, each behind a switch. Where they are is found in `sites` and read from
//! `ci/mutants.yaml` (`handmade`); `edit` puts switches into texts, `build` makes and builds the copy, `detect` runs what
//! may notice, `report` keeps what came of it.

mod build;
mod choose;
mod detect;
mod edit;
mod handmade;
mod report;
mod sites;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, anyhow};
use clap::Parser;

use crate::tree::Tree;
use choose::{all_sites, chosen, drawn};
use detect::{DETECTORS, Detectors};
use handmade::Handmade;
use report::Report;
use sites::Site;

/// Break core in many small ways, one at a time, and see who notices.
///
/// Mutants are made mechanically from core's rules and builders, of which a seed draws a sample, and by hand
/// (ci/mutants.yaml). The report is ci/mutants.json; what stands there already is not tried again.
#[derive(Parser)]
#[command(
    name = "ivory-ci mutants",
    max_term_width = 100,
    after_help = "Exit status: 0 all is explained, 1 a mutant survives that is not explained or fewer than 95 % are \
                  killed, 2 it could not be run."
)]
struct Args {
    /// How many to draw of those that are made mechanically.
    #[arg(long, value_name = "N", default_value_t = 220)]
    sample: usize,
    /// What they are drawn with.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only mutants whose name contains this, whether drawn or not.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only those that survived.
    #[arg(long)]
    survivors: bool,
    /// Try again what stands in the report.
    #[arg(long)]
    again: bool,
    /// Show a seeded sample of 40 to every detector, whoever has noticed already.
    #[arg(long)]
    matrix: bool,
    /// So many at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Print the mutants that would be tried, and try none.
    #[arg(long)]
    list: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// How many are shown to every detector.
const MATRIX: usize = 40;
/// How many per cent must be killed.
const ENOUGH: f64 = 95.0;

/// Runs the command, if the first argument names it.
pub(crate) fn called() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1).peekable();
    args.peek().filter(|first| *first == "mutants")?;
    let args = Args::parse_from(args);
    Some(match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ivory-ci: {error:#}");
            ExitCode::from(2)
        }
    })
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let tree = Tree::around(&std::env::current_dir().context("the current folder")?, false)?;
    let handmade = Handmade::read(&tree)?;
    let all = all_sites(&tree, &handmade)?;
    let mut report = Report::read(&tree)?;
    if args.list {
        for site in chosen(args, &all, &report) {
            println!("{}\n    {}", site.name, site.text);
        }
        return Ok(true);
    }
    let found = all.len();
    let tell = |what: &str| eprintln!("  {what}");
    let mut built = build::build(&tree, all, &tell)?;
    let properties = properties(&tree)?;
    (report.seed, report.sites, report.unviable) = (args.seed, found, built.unviable);
    let all = built.sites.clone();
    let sites = chosen(args, &all, &report);
    if args.again || args.survivors {
        sites.iter().for_each(|site| report.forget(site));
    }
    let report = Mutex::new(report);
    // Nobody waits for the simulator who asks the unit tests.
    let (unit, others) = DETECTORS.split_at(1);
    let hunt = |detectors: &Detectors, names| {
        hunt(args, &tree, &sites, (&all, &handmade), (detectors, names), &report)
    };
    if !args.matrix {
        hunt(&Detectors::of(&built, &properties)?, unit)?;
    }
    built.simulator(&tree, &tell)?;
    let detectors = Detectors::of(&built, &properties)?;
    match args.matrix {
        true => matrix(args, &tree, &all, &handmade, &detectors, &report)?,
        false => hunt(&detectors, others)?,
    }
    let mut report = report.into_inner().context("a thread died")?;
    report.tidy(&all, &handmade.explained);
    report.write(&tree)?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", table::table(&report)),
    }
    let explained = report.rows.iter().all(|row| row.kill.is_some() || row.explained.is_some());
    Ok(explained && report.kill_rate >= ENOUGH)
}

/// Asks one detector after the other about all that nobody has noticed yet: what is cheap is known soon.
fn hunt(
    args: &Args,
    tree: &Tree,
    sites: &[&Site],
    (all, handmade): (&[Site], &Handmade),
    (detectors, names): (&Detectors, &[&str]),
    report: &Mutex<Report>,
) -> anyhow::Result<()> {
    let lock = || report.lock().map_err(|_| anyhow!("another thread died"));
    for detector in names {
        let mut todo = Vec::new();
        for site in sites {
            if lock()?.row(site).is_none_or(|row| row.wants(detector)) {
                todo.push(*site);
            }
        }
        let (killed, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        each(args.jobs, &todo, |site| {
            let kill = detectors.notice(site, detector)?;
            killed.fetch_add(usize::from(kill.is_some()), Ordering::Relaxed);
            let mut report = lock()?;
            report.put(site, detector, kill);
            report.tidy(all, &handmade.explained);
            report.write(tree)?;
            let killed = killed.load(Ordering::Relaxed);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress(done, todo.len(), &format!("{killed} killed by {detector}"));
            Ok(())
        })?;
    }
    Ok(())
}

/// Shows the sample to every detector.
fn matrix(
    args: &Args,
    tree: &Tree,
    sites: &[Site],
    handmade: &Handmade,
    detectors: &Detectors,
    report: &Mutex<Report>,
) -> anyhow::Result<()> {
    let lock = || report.lock().map_err(|_| anyhow!("another thread died"));
    let known: Vec<&Site> = {
        let report = lock()?;
        sites.iter().filter(|site| report.row(site).is_some()).collect()
    };
    let sample = drawn(known, args.seed, |_| 1.0, MATRIX);
    {
        let mut report = lock()?;
        report.matrix.retain(|name, _| !args.again && sample.iter().any(|s| s.name == *name));
    }
    let mut todo = Vec::new();
    for site in &sample {
        if !lock()?.matrix.contains_key(&site.name) {
            todo.push(*site);
        }
    }
    let done = AtomicUsize::new(0);
    each(args.jobs, &todo, |site| {
        let mut row = BTreeMap::new();
        for detector in DETECTORS {
            let notices = detectors.notice(site, detector)?.is_some();
            row.insert(detector.to_owned(), notices);
        }
        let mut report = lock()?;
        report.matrix.insert(site.name.clone(), row);
        report.tidy(sites, &handmade.explained);
        report.write(tree)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, todo.len(), "shown to every detector");
        Ok(())
    })
}

/// The names of the tests in `proptest!` of core.
fn properties(tree: &Tree) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for path in tree.files()?.iter().filter(|p| p.starts_with("core/src/") && p.ends_with(".rs")) {
        let text = tree.text(path).with_context(|| path.clone())?;
        for block in text.split("proptest! {").skip(1) {
            // What follows the macro's block may be named too; a test more among the properties does no harm.
            let names = block.split("fn ").skip(1).map(|rest| rest.split('(').next());
            found.extend(names.flatten().map(str::to_owned));
        }
    }
    Ok(found)
}

/// Does something for each, so many at a time.
fn each<T: Sync>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item)?;
        }
        anyhow::Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|t| t.join().map_err(|_| anyhow!("a thread died"))?)
    })
}

/// On a terminal one line that changes, elsewhere a line now and then.
fn progress(done: usize, of: usize, what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r  {done} of {of}: {what} ");
        if done == of {
            eprintln!();
        }
    } else if done.is_multiple_of(10) || done == of {
        eprintln!("  {done} of {of}: {what}");
    }
}
