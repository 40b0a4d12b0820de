//! `ivory-sim sweep`: every message, every cut, once. It owns which stories are swept and how the work is divided among
//! threads; what a cut is and how it ends, `explore` says. What a stopped sweep has done (`state.rs`), what it tells
//! (`tell.rs`), pairs of cuts (`pairs.rs`) and a single cut (`replay.rs`) stand beside it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line says how long it took"
)]

mod pairs;
mod replay;
mod state;
mod tell;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::state::State;
use self::tell::{Told, Tried};
use super::threads::{in_threads, progress};
use super::ui::Ui;
use super::{SweepArgs, Trouble, run::files};
use crate::explore::base::{self, Base};
use crate::explore::cut::Cut;
use crate::explore::fork::explore;
use crate::explore::message::{Message, Whose};
use crate::explore::plan::{Plan, plan};
use crate::lab::site::build;
use crate::scenario::language::Scenario;
use crate::scenario::parse::load;

/// The stories that are swept by default: one of each kind of deed. Those left out repeat one of them with other
/// figures, or are long.
const CORE: [&str; 28] = [
    "all-statefulsets-deleted",
    "bad-image",
    "certificates",
    "cluster-deleted",
    "cluster-deleted-while-starting",
    "cluster-with-replicas-deleted",
    "connect",
    "create",
    "five-replicas",
    "metadata",
    "node-restarted",
    "operator-down",
    "parameters",
    "paused",
    "primary-pod-deleted",
    "statefulset-loss",
    "pvc-resize",
    "replica-volume-deleted",
    "replicas-added-and-removed",
    "restarted-while-replicas-start",
    "rolling-change",
    "second-set",
    "service-deletion",
    "set-replaced-while-down",
    "shutdown",
    "stranger-edits",
    "switchover",
    "users",
];
/// So many cuts of a story are one thread's portion, which begins with playing the story up to the first of them.
const PORTION: usize = 400;
/// The same where time may run out: all stories take their turns.
const TURN: usize = 48;

/// What is swept.
struct Swept {
    stories: Vec<Scenario>,
    whose: Whose,
    /// The undisturbed runs, or why one failed.
    bases: Vec<Result<Base, String>>,
}

pub(super) fn run(args: &SweepArgs) -> Result<(), Trouble> {
    let begin = Instant::now();
    let mut stories = Vec::new();
    for file in chosen(args)? {
        stories.push(load(&file)?);
    }
    let whose = if args.all || args.patroni { Whose::Everybody } else { Whose::Operator };
    let ui = Ui::of_stdout();
    let bar = progress(ui, !args.json, stories.len(), "undisturbed");
    let bases = in_threads(args.jobs, stories.len(), |index| {
        let base = base::base(&stories[index], whose, &build);
        bar.inc(1);
        Some(base)
    });
    bar.finish_and_clear();
    let swept = Swept { stories, whose, bases };
    if let Some(cut) = args.cut {
        return replay::run(ui, &swept, cut, args.then);
    }
    let plan = plan(swept.bases.iter().map(|b| b.as_ref().ok()));
    let until = args.budget.map(|budget| begin + budget);
    if args.depth == 2 {
        return pairs::run(args, ui, &swept, &plan, (begin, until));
    }
    let state = match &args.state {
        Some(file) => State::open(file, &swept, &plan)?,
        None => State::default(),
    };
    let mut tried = state.tried(&swept);
    let before = tried.len();
    tried.extend(sweep(args, ui, &swept, &plan, &state, until));
    tried.sort_by_key(|t| t.story);
    let told = Told { swept: &swept, plan: &plan, tried: &tried, before, wall_s: seconds(begin) };
    match args.json {
        true => line!("{}", told.as_json()),
        false => told.tell(ui),
    }
    verdict(&swept, &tried)
}

fn verdict(swept: &Swept, tried: &[Tried]) -> Result<(), Trouble> {
    let good = swept.bases.iter().all(Result::is_ok) && tell::failures(tried).next().is_none();
    good.then_some(()).ok_or(Trouble::Failed)
}

/// Whether the time is over, if there is a bound.
fn over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

fn seconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}

/// The files of the stories that are meant.
fn chosen(args: &SweepArgs) -> Result<Vec<PathBuf>, Trouble> {
    let folder = PathBuf::from("scenarios");
    if args.stories.is_empty() {
        let mut all = files(&[folder])?;
        if !args.all {
            let core = |f: &PathBuf| f.file_stem().is_some_and(|s| CORE.iter().any(|c| s == *c));
            all.retain(core);
        }
        return Ok(all);
    }
    let path = |story: &PathBuf| match story.exists() {
        true => story.clone(),
        false => folder.join(story).with_extension("yaml"),
    };
    Ok(files(&args.stories.iter().map(path).collect::<Vec<_>>())?)
}

/// Cuts that one thread tries in a row: which portion of its story it is, which story, and they themselves.
type Portion<'a> = (usize, usize, &'a [(usize, Cut)]);

fn sweep(
    args: &SweepArgs,
    ui: Ui,
    swept: &Swept,
    plan: &Plan,
    state: &State,
    until: Option<Instant>,
) -> Vec<Tried> {
    let size = if until.is_some() { TURN } else { PORTION };
    let left = state.left(swept, plan);
    let all = left.iter().enumerate();
    let mut portions: Vec<Portion<'_>> = all
        .flat_map(|(story, cuts)| {
            cuts.chunks(size).enumerate().map(move |(n, cuts)| (n, story, cuts))
        })
        .collect();
    // All stories by turns: a budget that runs out leaves something out of each.
    portions.sort_by_key(|(number, ..)| *number);
    let bar = progress(ui, !args.json, left.iter().map(Vec::len).sum(), "cuts");
    let tried = in_threads(args.jobs, portions.len(), |index| {
        let (_, story, cuts) = portions[index];
        let mut tried = Vec::new();
        let Ok(base) = &swept.bases[story] else { return Some(tried) };
        let mut on = |message: &Message, cut, end| {
            state.done(&swept.stories[story].name, message.number, cut, &end);
            tried.push(Tried { story, at: message.at, end });
            bar.inc(1);
            !over(until)
        };
        if !over(until) {
            // The base was made of the same world a moment ago.
            let _ = explore(&swept.stories[story], base, cuts, &build, &mut on);
        }
        Some(tried)
    });
    bar.finish_and_clear();
    tried.into_iter().flatten().collect()
}

/// `N:KIND` as the command line takes it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_cut(text: &str) -> Result<(usize, Cut), String> {
    let (number, cut) = text.split_once(':').ok_or("it is written N:KIND, for example 17:lost")?;
    let number = number.parse().map_err(|_| format!("{number} is no number"))?;
    Ok((number, cut.parse()?))
}

/// A time as the command line takes it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_budget(text: &str) -> Result<Duration, String> {
    let span = crate::scenario::fields::span_of(text).ok_or("a time has a unit: 90s, 10m")?;
    Ok(Duration::from_secs_f64(span.seconds()))
}
