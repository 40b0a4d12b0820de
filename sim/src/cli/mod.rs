//! The command `ivory-sim`: its arguments, and what it prints. What a story, a world or a figure is,
//! other modules say; this one is the only part of the library that prints.

#![expect(clippy::disallowed_macros, reason = "the command line prints")]

/// Writes to standard output. Whoever reads it may stop reading: then there is nothing left to do.
macro_rules! text {
    ($($arg:tt)*) => { $crate::cli::ui::write(format_args!($($arg)*)) };
}

/// The same, with the end of a line.
macro_rules! line {
    () => { text!("\n") };
    ($($arg:tt)*) => { text!("{}\n", format_args!($($arg)*)) };
}

mod bench;
mod diff;
mod explore;
mod figures;
mod input;
mod memory;
mod page;
mod promises;
mod run;
mod schema;
mod shrink;
mod step;
mod sweep;
mod then;
mod threads;
mod try_;
mod ui;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use bench::{Bench, Figure, Goal};
pub use figures::BENCHES;
pub use run::whole;

use crate::explore::cut::Cut;
use crate::patroni::config::Version;
use crate::scenario::driver::Build;
use crate::scenario::node::InputError;

/// A Kubernetes in memory, with the operator, Patroni, PostgreSQL and pgBackRest in it: apply a manifest
/// and watch what comes of it, break it, or ask what an edit would do, all in virtual time.
#[derive(Parser, Debug)]
#[command(
    name = "ivory-sim",
    version,
    max_term_width = 100,
    subcommand_required = true,
    after_help = "Colours go with NO_COLOR=1, and when the output is no terminal.\n\
    Exit status: 0 all is well, 1 a story failed or a cluster did not become ready, 2 the input is wrong."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Plays scenarios, and says of each whether it came out as it should.
    #[command(after_help = "Examples:\n  \
        ivory-sim run                                  all stories of the folder scenarios\n  \
        ivory-sim run scenarios/create.yaml --seed 7   one of them, with other random numbers\n  \
        ivory-sim run scenarios/failover.yaml --html failover.html   see it: open the page in a browser\n  \
        ivory-sim run --json                           for machines\n\n\
        How to write one: scenarios/README.md")]
    Run(RunArgs),
    /// Walks through a story in a terminal, event by event, forth and back: who leads, what the operator writes and
    /// why, what every object is at that moment.
    #[command(after_help = step::after_help())]
    Step(StepArgs),
    /// Puts two runs beside each other: what is the same, what only one of them has, and when it happened.
    #[command(after_help = "Examples:\n  \
        ivory-sim diff scenarios/failover.yaml --seed 7                  the same story with other random numbers\n  \
        ivory-sim diff scenarios/failover.yaml --patroni 3               with another version of Patroni\n  \
        ivory-sim diff scenarios/failover.yaml --manifest mine.yaml      with another cluster\n  \
        ivory-sim diff scenarios/failover.yaml scenarios/switchover.yaml --html two.html")]
    Diff(DiffArgs),
    /// Applies manifests to a fresh cluster, tells what happens until all is ready, and shows what exists.
    #[command(after_help = "Examples:\n  \
        ivory-sim try examples/kustomize/ivory         a kustomize folder\n  \
        ivory-sim try cluster.yaml --objects           and every object as YAML\n  \
        ivory-sim try old.yaml --then new.yaml         what would this edit do?\n  \
        kubectl kustomize DIR | ivory-sim try -        what only kubectl can render")]
    Try(TryArgs),
    /// Cuts every message of the operator, and with --all of Patroni, once in every way, and demands that each story ends
    /// as if nothing had happened.
    #[command(after_help = "Examples:\n  \
        ivory-sim sweep                                the core stories\n  \
        ivory-sim sweep create switchover              these two\n  \
        ivory-sim sweep --all --budget 10m             all stories, as far as one comes in that time\n  \
        ivory-sim sweep --all --state sweep.txt        all of it; stopped, it goes on there the next time\n  \
        ivory-sim sweep --depth 2 --budget 10m         pairs of cuts\n  \
        ivory-sim sweep create --cut 17:lost           one cut, told in full\n\n\
        The messages are what the operator asks the API server for, what it runs in containers, and what its\n\
        watches tell it; of Patroni, its requests, its watches and what members ask each other. The cuts:\n  \
        crash-before   the sender dies before the message leaves, and starts again (the operator 5 s later)\n  \
        crash-after    the message takes effect, but the sender dies before it knows\n  \
        lost           it takes effect, but the answer is lost\n  \
        late           the sender dies, and the message lands 15 s later, beside the successor\n  \
        409, 500, 429  it is refused\n  \
        stale          a watch hears it 30 s late, and all that follows\n  \
        missed         a watch never hears it, and lists anew 30 s later\n\n\
        After a cut the story goes on: its steps, its expectations, the checkers after every event; then all\n\
        objects must be those of the undisturbed run, the operator silent, and no acknowledged row missing.\n\
        UIDs, versions, times, log positions, drawn names and secrets may differ. A disturbed story that becomes\n\
        what the undisturbed one was is not told to its end, and what was tried in the same state is not tried again:\n\
        the same message, or a crash where its sender had written the same.")]
    Sweep(SweepArgs),
    /// Draws stories by seeds: worlds, clusters, edits, faults of every kind; then heals all, and demands that the cluster
    /// becomes ready, loses nothing, and falls silent.
    #[command(after_help = "Examples:\n  \
        ivory-sim explore --seeds 1000             a thousand seeds that nobody has seen\n  \
        ivory-sim explore --for 10m --json         as many as ten minutes allow, for machines\n  \
        ivory-sim explore --seed 42                one of them, told in full\n  \
        ivory-sim explore --seed 42 --write s.yaml and as a file that ivory-sim run plays\n\n\
        A seed is the same story on every machine. What fails is made small by ivory-sim shrink.")]
    Explore(ExploreArgs),
    /// Makes a story that fails as small as it can be while it still fails in the same way.
    #[command(after_help = "Examples:\n  \
        ivory-sim shrink --seed 42                          what explore found\n  \
        ivory-sim shrink story.yaml --write small.yaml      a file that fails")]
    Shrink(ShrinkArgs),
    /// Lists the sixteen promises: when each is looked at, and which file holds its checker.
    Promises(PromisesArgs),
    /// Measures this machine: planning, simulating, memory.
    #[command(
        after_help = "world_mb is what one world adds at its peak to a process that runs none, the pages of the \
        program itself aside, which all worlds share; the whole process is told beside it."
    )]
    Bench(BenchArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Scenarios, or folders of them.
    #[arg(value_name = "PATH", default_value = "scenarios")]
    paths: Vec<PathBuf>,
    /// The seed of all random numbers, instead of each story's own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Writes the machine's record of all runs into a file.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Writes each run as a page for a browser, that needs no network; of several, into a folder with an index.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tells each story.
    #[arg(long, short)]
    verbose: bool,
    /// Prints one JSON document instead.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct DiffArgs {
    /// A scenario.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Another one; the same, if absent.
    #[arg(value_name = "B")]
    second: Option<PathBuf>,
    /// The seed of the second run.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The version of Patroni in the second run: 3, 4 or a version like 4.0.7.
    #[arg(long, value_name = "V", value_parser = diff::patroni)]
    patroni: Option<Version>,
    /// What the second run applies instead of what its first `apply` names.
    #[arg(long, value_name = "PATH")]
    manifest: Option<PathBuf>,
    /// Writes the comparison as a page for a browser, that needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct StepArgs {
    /// The scenario.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// The seed of all random numbers, instead of the story's own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Presses these keys and prints the screen: needs no terminal.
    #[arg(long, value_name = "KEYS")]
    script: Option<String>,
    /// The size of that screen: columns and rows.
    #[arg(long, value_name = "CxR", default_value = "100x30", value_parser = step::parse_size)]
    size: (u16, u16),
}

#[derive(Args, Debug)]
struct TryArgs {
    /// A manifest, several with `---`, a kustomize folder, or `-` for standard input.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Prints every object as YAML; values of Secrets are shown by their length.
    #[arg(long)]
    objects: bool,
    /// Applies these manifests to the ready cluster, and reports what changes, what restarts, and for how
    /// long nobody can write.
    #[arg(long, value_name = "NEW")]
    then: Option<PathBuf>,
    /// How many nodes there are.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    nodes: u64,
    /// The seed of all random numbers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
struct SweepArgs {
    /// Stories: names of scenarios, files, or folders; the core ones if none is named.
    #[arg(value_name = "STORY")]
    stories: Vec<PathBuf>,
    /// All stories of the folder scenarios, and the messages of Patroni too.
    #[arg(long)]
    all: bool,
    /// The messages of Patroni too.
    #[arg(long)]
    patroni: bool,
    /// Only this cut of this message of one story, told in full.
    #[arg(long, value_name = "N:KIND", value_parser = sweep::parse_cut)]
    cut: Option<(usize, Cut)>,
    /// And then this cut of that message, counted from the first cut.
    #[arg(long, value_name = "N:KIND", value_parser = sweep::parse_cut, requires = "cut")]
    then: Option<(usize, Cut)>,
    /// Writes down in a file what was done, and does not do it again.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// 2: pairs of cuts, the second in the story that the first one disturbed, before it rejoins.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    depth: u8,
    /// By which seed pairs are drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tries no further cut after so long, for example 60s; the result says which share was covered.
    #[arg(long, value_name = "TIME", value_parser = sweep::parse_budget)]
    budget: Option<Duration>,
    /// In so many threads; the result is the same.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Prints one JSON document instead.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ExploreArgs {
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: usize,
    /// As many seeds as there is time for, for example 10m.
    #[arg(long = "for", value_name = "TIME", value_parser = sweep::parse_budget)]
    time: Option<Duration>,
    /// The first seed; one that nobody has seen if absent.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Only this seed, told in full.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "time", "from"])]
    seed: Option<u64>,
    /// Writes the story of --seed into a file.
    #[arg(long, value_name = "FILE", requires = "seed")]
    write: Option<PathBuf>,
    /// In so many threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Prints one JSON document instead.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShrinkArgs {
    /// A story that fails.
    #[arg(value_name = "FILE", conflicts_with = "seed")]
    file: Option<PathBuf>,
    /// The story of a seed, as explore tells it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Writes the small story into a file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Ends with what is found by then.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = sweep::parse_budget)]
    budget: Duration,
}

#[derive(Args, Debug)]
struct PromisesArgs {
    /// Prints one JSON document instead, with their words.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct BenchArgs {
    /// Only these figures, by their keys.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Tells the memory of this process after it ran so many worlds; for world_mb, which asks another process.
    #[arg(long, value_name = "WORLDS", hide = true)]
    memory_after: Option<u32>,
    /// Prints one JSON document instead.
    #[arg(long)]
    json: bool,
}

/// Why a command did not do what it was asked for.
enum Trouble {
    /// The input is wrong: exit status 2.
    Input(InputError),
    /// Something did not come out as it should, and was told already: exit status 1.
    Failed,
    /// The program itself could not go on: exit status 1.
    Broken(String),
}

impl From<InputError> for Trouble {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self::Broken(message)
    }
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main(build: &Build<'_>, benches: &[Bench]) -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Run(args) => run::run(args, build),
        Command::Diff(args) => diff::run(args, build),
        Command::Step(args) => step::run(args, build),
        Command::Try(args) => try_::run(args, build),
        Command::Sweep(args) => sweep::run(args),
        Command::Explore(args) => explore::run(args),
        Command::Shrink(args) => shrink::run(args),
        Command::Promises(args) => {
            promises::run(args);
            Ok(())
        }
        Command::Bench(args) => match args.memory_after {
            Some(worlds) => memory::tell(worlds),
            None => bench::run(args.json, &args.keys, benches),
        },
    };
    let ui = ui::Ui::of_stderr();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Failed) => ExitCode::from(1),
        Err(Trouble::Broken(message)) => {
            eprintln!("{} {message}", ui.red("error:"));
            ExitCode::from(1)
        }
        Err(Trouble::Input(error)) => {
            eprintln!("{} {error}", ui.red("error:"));
            ExitCode::from(2)
        }
    }
}
