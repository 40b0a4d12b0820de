//! `ivory-sim sweep`: every message of the operator, every cut, once. Threads, progress and tables; what a cut is and
//! how it ends, `explore` says.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line says how long it took"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::threads::{in_threads, progress};
use super::ui::Ui;
use super::{SweepArgs, Trouble, run::files};
use crate::explore::base::{self, Base};
use crate::explore::cut::Cut;
use crate::explore::failure::Failure;
use crate::explore::fork::{End, explore, go_on};
use crate::explore::plan::{Plan, plan};
use crate::lab::site::build;
use crate::scenario::language::Scenario;
use crate::scenario::parse::load;

/// The stories that are swept by default: one of each kind of deed. Those left out repeat one of them with other
/// figures, or are long.
const CORE: [&str; 26] = [
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
    "rolling-change",
    "second-set",
    "service-deletion",
    "shutdown",
    "stranger-edits",
    "switchover",
    "users",
];
/// So many cuts of a story are one thread's portion.
const PORTION: usize = 48;
/// So many failures are told in full.
const TOLD: usize = 12;

/// What became of one cut.
struct Tried {
    story: usize,
    end: End,
}

pub(super) fn run(args: &SweepArgs) -> Result<(), Trouble> {
    let begin = Instant::now();
    let mut stories = Vec::new();
    for file in chosen(args)? {
        stories.push(load(&file)?);
    }
    if let Some(cut) = &args.cut {
        return replay(&stories, cut);
    }
    let ui = Ui::of_stdout();
    let bar = progress(ui, !args.json, stories.len(), "undisturbed");
    let bases = in_threads(args.jobs, stories.len(), |index| {
        let base = base::base(&stories[index], &build);
        bar.inc(1);
        Some(base)
    });
    bar.finish_and_clear();
    let plan = plan(bases.iter().map(|b| b.as_ref().ok()));
    let until = args.budget.map(|budget| begin + budget);
    let tried = sweep(args, ui, &stories, &bases, &plan, until);
    let wall_s = begin.elapsed().as_secs_f64();
    let broken = bases.iter().any(Result::is_err);
    let failed = tried.iter().any(|t| matches!(t.end, End::Failed(_)));
    if args.json {
        line!("{}", as_json(&stories, &bases, &plan, &tried, wall_s));
    } else {
        tell(ui, &stories, &bases, &plan, &tried, wall_s);
    }
    match broken || failed {
        true => Err(Trouble::Failed),
        false => Ok(()),
    }
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
    stories: &[Scenario],
    bases: &[Result<Base, String>],
    plan: &Plan,
    until: Option<Instant>,
) -> Vec<Tried> {
    let all = plan.cuts.iter().enumerate();
    let mut portions: Vec<Portion<'_>> = all
        .flat_map(|(story, cuts)| {
            cuts.chunks(PORTION).enumerate().map(move |(n, cuts)| (n, story, cuts))
        })
        .collect();
    // All stories by turns: a budget that runs out leaves something out of each.
    portions.sort_by_key(|(number, ..)| *number);
    let bar = progress(ui, !args.json, plan.all - plan.equal, "cuts");
    let over = AtomicBool::new(false);
    let tried = in_threads(args.jobs, portions.len(), |index| {
        let (_, story, cuts) = portions[index];
        let mut tried = Vec::new();
        let Ok(base) = &bases[story] else { return Some(tried) };
        let mut on = |_: &_, _, end| {
            tried.push(Tried { story, end });
            bar.inc(1);
            if until.is_some_and(|until| Instant::now() >= until) {
                over.store(true, Ordering::Relaxed);
            }
            !over.load(Ordering::Relaxed)
        };
        if !over.load(Ordering::Relaxed) {
            // The base was made of the same world a moment ago.
            let _ = explore(&stories[story], base, cuts, &build, &mut on);
        }
        Some(tried)
    });
    bar.finish_and_clear();
    let mut tried: Vec<Tried> = tried.into_iter().flatten().collect();
    tried.sort_by_key(|t| t.story);
    tried
}

/// How often each end came.
#[derive(Default)]
struct Sum {
    tried: usize,
    rejoined: usize,
    same: usize,
    failed: usize,
}

impl Sum {
    fn of<'a>(tried: impl Iterator<Item = &'a Tried>) -> Self {
        let mut sum = Self::default();
        for one in tried {
            sum.tried += 1;
            match one.end {
                End::Rejoined => sum.rejoined += 1,
                End::Same => sum.same += 1,
                End::Failed(_) => sum.failed += 1,
            }
        }
        sum
    }
}

fn failures(tried: &[Tried]) -> impl Iterator<Item = (usize, &Failure)> {
    tried.iter().filter_map(|t| match &t.end {
        End::Failed(failure) => Some((t.story, &**failure)),
        _ => None,
    })
}

fn share(plan: &Plan, tried: usize) -> f64 {
    let covered = plan.equal + tried;
    (covered as f64 / plan.all.max(1) as f64 * 1e3).round() / 1e3
}

fn as_json(
    stories: &[Scenario],
    bases: &[Result<Base, String>],
    plan: &Plan,
    tried: &[Tried],
    wall_s: f64,
) -> Value {
    let sum = Sum::of(tried.iter());
    let broken: Vec<Value> = failures(tried)
        .map(|(story, f)| {
            json!({
                "story": stories[story].name, "cut": format!("{}:{}", f.number, f.cut), "message": f.message,
                "promise": f.promise.text(), "wrong": f.wrong, "awaited": f.awaited,
            })
        })
        .collect();
    let undisturbed: Vec<&String> = bases.iter().filter_map(|b| b.as_ref().err()).collect();
    json!({
        "scenarios": stories.len(),
        "messages": bases.iter().flatten().map(|b| b.messages.len()).sum::<usize>(),
        "cuts": sum.tried,
        "failures": sum.failed + undisturbed.len(),
        "wall_s": (wall_s * 10.0).round() / 10.0,
        "equal": plan.equal,
        "rejoined": sum.rejoined,
        "same": sum.same,
        "share": share(plan, sum.tried),
        "broken": broken,
        "undisturbed": undisturbed,
    })
}

fn tell(
    ui: Ui,
    stories: &[Scenario],
    bases: &[Result<Base, String>],
    plan: &Plan,
    tried: &[Tried],
    wall_s: f64,
) {
    let width = stories.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    let head = format!(
        "  {:<width$}  {:>8}  {:>5}  {:>8}  {:>5}  {:>8}",
        "story", "messages", "cuts", "rejoined", "same", "failures"
    );
    line!("{}", ui.dim(&head));
    for (index, story) in stories.iter().enumerate() {
        let sum = Sum::of(tried.iter().filter(|t| t.story == index));
        let base = bases[index].as_ref();
        let mark = match base.is_ok() && sum.failed == 0 {
            true => ui.green("✓"),
            false => ui.red("✗"),
        };
        let messages = base.map_or(0, |b| b.messages.len());
        line!(
            "{mark} {:<width$}  {messages:>8}  {:>5}  {:>8}  {:>5}  {:>8}",
            story.name,
            sum.tried,
            sum.rejoined,
            sum.same,
            sum.failed,
        );
        if let Err(error) = base {
            line!("    {}", ui.red(error));
        }
    }
    for (story, failure) in failures(tried).take(TOLD) {
        tell_failure(ui, &stories[story], failure);
    }
    let sum = Sum::of(tried.iter());
    if sum.failed > TOLD {
        line!("\n… and {} failures more:", sum.failed - TOLD);
        for (story, f) in failures(tried).skip(TOLD) {
            let name = &stories[story].name;
            line!("  ivory-sim sweep {name} --cut {}:{}   {}", f.number, f.cut, f.message);
        }
    }
    let text = format!(
        "{} cuts of {} stories, {} failures, in {wall_s:.1} s",
        sum.tried,
        stories.len(),
        sum.failed
    );
    line!("\n{}", ui.bold(&text));
    line!(
        "{} cuts in all: {} equal another and were left out; of those tried {} rejoined the undisturbed run, {} came \
         to the same end; {:.1} % covered",
        plan.all,
        plan.equal,
        sum.rejoined,
        sum.same,
        share(plan, sum.tried) * 100.0
    );
}

fn tell_failure(ui: Ui, story: &Scenario, failure: &Failure) {
    line!(
        "\n{} {}: message {}, {}",
        ui.red("✗"),
        ui.bold(&story.name),
        failure.number,
        failure.message
    );
    if !failure.reason.is_empty() {
        line!("    because {}", failure.reason);
    }
    line!("    cut: {} ({})", failure.cut, failure.cut.what());
    line!("    promise {}", failure.promise.text());
    for wrong in failure.wrong.iter().take(TOLD) {
        line!("      {}", ui.red(wrong));
    }
    for awaited in &failure.awaited {
        line!("    awaited: {awaited}");
    }
    for last in &failure.last {
        line!("    {}", ui.dim(last));
    }
    line!("    again: ivory-sim sweep {} --cut {}:{}", story.name, failure.number, failure.cut);
}

/// One cut, told in full.
fn replay(stories: &[Scenario], (number, cut): &(usize, Cut)) -> Result<(), Trouble> {
    let [story] = stories else {
        return Err(Trouble::Broken("--cut wants one story".to_owned()));
    };
    let base = base::base(story, &build)?;
    let count = base.messages.len();
    let Some(message) = base.messages.get(number.wrapping_sub(1)) else {
        return Err(Trouble::Broken(format!("the story has {count} messages")));
    };
    if !message.cuts().contains(cut) {
        let known: Vec<_> = message.cuts().iter().map(|c| c.word()).collect();
        let name = &message.name;
        return Err(Trouble::Broken(format!("to `{name}` can be done: {}", known.join(", "))));
    }
    let mut player = base::player(story, &build)?;
    for _ in 0..message.tick {
        player.tick(story).map_err(|f| f.wrong.join("; "))?;
    }
    let end = go_on(&mut player, story, &base, (message, *cut), None);
    let ui = Ui::of_stdout();
    line!("{}", player.outcome(story, None).transcript);
    let at = message.at.seconds();
    line!("Message {number} of {count}, at {at:.1} s: {}; {}", message.name, cut.what());
    match end {
        End::Failed(failure) => {
            tell_failure(ui, story, &failure);
            Err(Trouble::Failed)
        }
        _ => {
            line!("{} it came to the same end", ui.green("✓"));
            Ok(())
        }
    }
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
