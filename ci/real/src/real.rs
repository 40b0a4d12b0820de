//! Real Patroni with real PostgreSQL against the simulated API server, and the model of Patroni beside it: the same
//! story is played on both at once, and what each wrote into the API must be the same.
//!
//! Two things are proved: that the model of the API server is one that Patroni can live with, and that the model of
//! Patroni does what Patroni does. No Kubernetes is needed, but root: each member gets a small container of its own.

mod cluster;
mod compare;
mod container;
mod model;
mod needs;
mod play;
mod report;
mod side;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

use cluster::Cluster;
use needs::Needs;
use side::Side;

/// Real Patroni and PostgreSQL against the simulated API server, beside the model of Patroni.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Patroni's program; the one on PATH if it is not said. Not below /tmp, which members don't share.
    #[arg(long, env = "IVORY_PATRONI")]
    patroni: Option<PathBuf>,
    /// The folder of PostgreSQL's programs; the newest of the distribution's if it is not said.
    #[arg(long, env = "IVORY_POSTGRES")]
    postgres: Option<PathBuf>,
    /// Plays only these cases and what they build on: bootstrap, switchover, crash, return, outage.
    #[arg(long = "case")]
    cases: Vec<String>,
    /// Seconds by which times may differ from the model's, where Patroni's own clock doesn't rule; a busy machine
    /// needs more.
    #[arg(long, default_value_t = 30.0)]
    slack: f64,
    /// Prints everything that was written into the API.
    #[arg(long)]
    verbose: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Leaves the members' files and logs in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Plays the story on both sides and compares.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let needs = Needs::find(args.patroni.as_deref(), args.postgres.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(played(args, needs))
}

async fn played(args: &Args, needs: Needs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let folder = match &args.keep {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("ivory-real-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let world = ivory_sim::scenario::parse::default_world();
    let cluster = Cluster::new(&needs, &world)?;
    let mut real = Side::real(&cluster, &needs, &folder, &world).await?;
    let mut model = Side::model(&cluster, &needs, &world).await?;
    let (told, expected) =
        tokio::join!(play::play(&mut real, &args.cases), play::play(&mut model, &args.cases));
    real.stop().await;
    let comparison = compare::compare(&told, &expected, args.slack);
    let report = report::Report {
        needs: &needs,
        told: &told,
        expected: &expected,
        comparison: &comparison,
        requests: real.requests(),
        seconds: began.elapsed().as_secs_f64(),
    };
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text(args.verbose));
    }
    if args.keep.is_none() {
        // What is left over is in the machine's folder for such things.
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(if comparison.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
