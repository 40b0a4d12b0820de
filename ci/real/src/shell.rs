//! Scenario files played in the simulated world with the real shell in the operator's place: in this process, by a real
//! client over the simulated API server, in virtual time. The simulator's own operator plays the same file beside it.

mod differences;
mod driver;
mod once;
mod operators;
mod report;
mod rights;
mod said;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use ivory_sim::scenario::driver::Driver;
use ivory_sim::scenario::language::{Scenario, WorldSpec};
use ivory_sim::scenario::parse::load;
use ivory_sim::scenario::run as player;

use crate::e2e::kept::{Keeping, Kept};
use crate::e2e::{root, story_files};
use driver::{Ended, ShellDriver};
use report::{How, Played, Story};

/// Scenario files played by the real shell, in this process and without a cluster.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenario files, or names of files in scenarios/ [default: all of them]
    scenarios: Vec<PathBuf>,
    /// The result as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Tell each story as it went, and every difference that has a reason
    #[arg(long, short)]
    verbose: bool,
    /// Stories that are played at a time [default: as many as there are processors]
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let root = root()?;
    let files = story_files(&args.scenarios, args.scenarios.is_empty(), &root)?;
    // All are read before anything is played: a mistake in the last file is told at once.
    let scenarios: Vec<Scenario> = files
        .iter()
        .map(|f| load(f).map_err(|e| anyhow::anyhow!("{e}")))
        .collect::<Result<_, _>>()?;
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let stories = play_all(&scenarios, threads.unwrap_or(1), &|story| {
        if !args.json {
            report::tell(story, args.verbose);
        }
    });
    report::sum(&stories, args.json);
    let held = report::all_held(&stories);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays all, and tells of each as it ends; the results come in the order of the stories.
fn play_all(scenarios: &[Scenario], threads: usize, tell: &(dyn Fn(&Story) + Sync)) -> Vec<Story> {
    let (next, done) = (Mutex::new(scenarios.iter().enumerate()), Mutex::new(Vec::new()));
    let take = || next.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, scenarios.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, scenario)) = take() {
                    let story = play(scenario);
                    // The lock also keeps two stories from being told at once.
                    if let Ok(mut done) = done.lock() {
                        tell(&story);
                        done.push((index, story));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, story)| story).collect()
}

/// Plays one story in both ways, and compares them.
fn play(scenario: &Scenario) -> Story {
    let began = Instant::now();
    // What is compared is the state of silence, whatever the story demands of it.
    let mut scenario = scenario.clone();
    scenario.finale.writes_when_quiet.get_or_insert(u64::MAX);
    let scenario = &scenario;
    let story = |how| Story { name: scenario.name.clone(), took: began.elapsed(), how };
    let kept = Kept::default();
    let build = |world: &WorldSpec, trace: bool| {
        let inner = ivory_sim::lab::site::build(world, trace)?;
        Ok(Box::new(Keeping { inner, kept: kept.clone() }) as Box<dyn Driver>)
    };
    let model = match player::run(scenario, None, false, &build) {
        Ok(model) => model,
        Err(error) => return story(How::Broken(error)),
    };
    let ended = Ended::default();
    let build = |world: &WorldSpec, _: bool| {
        Ok(Box::new(ShellDriver::new(world, ended.clone())?) as Box<dyn Driver>)
    };
    let shell = match player::run(scenario, None, false, &build) {
        Ok(shell) => shell,
        Err(error) => return story(How::Broken(error)),
    };
    story(How::Played(Box::new(Played::of(scenario, (model, &kept), (shell, ended.take())))))
}

/// The file of a story, for tests that name one.
#[cfg(test)]
fn named(name: &str) -> Scenario {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../scenarios/{name}.yaml"));
    load(&file).unwrap_or_else(|e| panic!("{e}"))
}
