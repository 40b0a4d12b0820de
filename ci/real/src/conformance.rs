//! The model of the API server (`ivory_sim::kube`) against a real one, exchange by exchange.
//!
//! Scripts (`ci/conformance/scripts`) say what is asked. `record` asks a real kube-apiserver and writes its
//! normalised answers to `ci/conformance/recorded`; the plain command, and a test, ask the model and
//! compare field by field; `live` asks both now, for a version of Kubernetes that nothing was recorded of.
//!
//! The real server should have no controllers (etcd and kube-apiserver, with the admission plugin ServiceAccount off,
//! as the envtest binaries run): controllers would change what the scripts made between two requests.
//!
//! Where controllers run (a control plane without nodes), `record` and `live` play the scripts of `sequences` instead,
//! which hold the models of controllers to the same.

mod ask;
mod compare;
mod known;
mod model;
mod normal;
mod play;
mod real;
mod record;
mod report;
mod script;
mod sequences;
mod verdicts;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::bail;
use ivory_core::Kind;
use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};
use serde_json::Value;

use real::Real;
use record::Recording;
use report::Report;
use script::Script;

/// The user agent of both sides; up to the slash it is the field manager of whoever names none.
const AGENT: &str = "conformance/1";

/// The models of the API server and of controllers against real ones.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The outcome as JSON: exchanges, sequences, mismatches, known_differences.
    #[arg(long, global = true)]
    json: bool,
    /// Only these scripts.
    #[arg(long, global = true)]
    script: Vec<String>,
}

#[derive(clap::Subcommand, PartialEq)]
enum What {
    /// Asks the API server that KUBECONFIG names, and writes down what it answers; where controllers run, what they do.
    Record,
    /// Compares the models with the API server that KUBECONFIG names, or its controllers, without recordings.
    Live,
}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let all = Scripts::read(&args.script)?;
    let (mut report, mut sequences) = (Report::new(), sequences::Report::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut asked = None;
    match args.what {
        None => {}
        Some(What::Record) => asked = Some(runtime.block_on(record(&all))?),
        Some(What::Live) => {
            asked = Some(runtime.block_on(live(&all, &mut report, &mut sequences))?);
        }
    }
    // What was compared live needs no recording.
    if args.what != Some(What::Live) {
        replay(&all.requests, &mut report)?;
        sequences::replay(&all.sequences, &mut sequences)?;
    }
    if args.script.is_empty() {
        let orphans = Recording::orphans(&all.requests)?;
        for orphan in orphans.into_iter().chain(sequences::orphans(&all.sequences)?) {
            eprintln!("no script has this recording any more: {}", orphan.display());
        }
    }
    if args.json {
        println!("{:#}", json(&report, &sequences));
    } else {
        let texts = [(Asked::Server, report.text()), (Asked::Controllers, sequences.text())];
        let told = texts.iter().filter(|(what, _)| {
            args.what != Some(What::Live) || asked.is_none_or(|asked| asked == *what)
        });
        told.for_each(|(_, text)| println!("{text}"));
    }
    let mut unseen = Vec::new();
    if args.script.is_empty() && args.what != Some(What::Live) {
        unseen = report.unseen();
        unseen.extend(sequences.unseen());
    }
    for known in &unseen {
        eprintln!("this known difference shows no more, take it from the table: {known}");
    }
    let mismatches = report.mismatches() + sequences.mismatches();
    Ok(ExitCode::from(u8::from(mismatches > 0 || !unseen.is_empty())))
}

/// For programs.
fn json(report: &Report, sequences: &sequences::Report) -> Value {
    let mut all = report.json();
    all["sequences"] = sequences.sequences().into();
    all["mismatches"] = (report.mismatches() + sequences.mismatches()).into();
    for (key, more) in
        [("known_differences", sequences.known()), ("mismatched", sequences.mismatched())]
    {
        if let Some(list) = all[key].as_array_mut() {
            list.extend(more);
        }
    }
    all
}

/// Scripts of both kinds.
struct Scripts {
    requests: Vec<Script>,
    sequences: Vec<Script>,
}

impl Scripts {
    /// All, or those that are named.
    fn read(only: &[String]) -> anyhow::Result<Self> {
        let mut all = Self { requests: script::scripts()?, sequences: sequences::scripts()? };
        let names: Vec<_> = all.requests.iter().chain(&all.sequences).map(|s| &s.name).collect();
        if let Some(wrong) = only.iter().find(|name| !names.contains(name)) {
            bail!("there is no script {wrong}");
        }
        if !only.is_empty() {
            all.requests.retain(|script| only.contains(&script.name));
            all.sequences.retain(|script| only.contains(&script.name));
        }
        Ok(all)
    }
}

/// What was there to be asked.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Server,
    Controllers,
}

async fn record(all: &Scripts) -> anyhow::Result<Asked> {
    let (real, asked) = connect().await?;
    match asked {
        Asked::Server => {
            ask_real(&real, &all.requests, |script, recording| recording.write(script)).await?;
        }
        Asked::Controllers => sequences::record(&real, &all.sequences).await?,
    }
    Ok(asked)
}

async fn live(
    all: &Scripts,
    report: &mut Report,
    sequences: &mut sequences::Report,
) -> anyhow::Result<Asked> {
    let (real, asked) = connect().await?;
    match asked {
        Asked::Server => {
            let add = |script: &Script, recording: Recording| {
                report.add(script, &recording.answers, &play::to_model(script)?);
                Ok(())
            };
            ask_real(&real, &all.requests, add).await?;
        }
        Asked::Controllers => sequences::live(&real, &all.sequences, sequences).await?,
    }
    Ok(asked)
}

/// Compares the model with what was recorded.
fn replay(scripts: &[Script], report: &mut Report) -> anyhow::Result<()> {
    for script in scripts {
        let recording = Recording::read(script)?;
        report.add(script, &recording.answers, &play::to_model(script)?);
    }
    Ok(())
}

/// Connects to a cluster that may be used, and finds out what is there.
async fn connect() -> anyhow::Result<(Real, Asked)> {
    let real = Real::connect().await?;
    for definition in [crd_ivorycluster(), crd_ivyupgrade()] {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        if real.exists(Kind::CustomResourceDefinition, name).await? {
            bail!("{name} is defined there; take a cluster that is for tests and nothing else");
        }
    }
    let namespace = model::namespace("conformance-controllers");
    real.create(Kind::Namespace, &namespace).await?;
    let controllers = real.has_controllers("conformance-controllers").await?;
    real.remove_all(&ask::Memory::new("conformance-controllers")).await?;
    let asked = if controllers { Asked::Controllers } else { Asked::Server };
    if controllers {
        eprintln!(
            "controllers run there: what they do is asked, and not how the API server answers"
        );
    }
    Ok((real, asked))
}

/// Plays scripts to a real API server, one by one.
async fn ask_real(
    real: &Real,
    scripts: &[Script],
    mut done: impl FnMut(&Script, Recording) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let kubernetes = real.version().await?;
    for (at, script) in scripts.iter().enumerate() {
        let count = script.requests.len();
        eprintln!(
            "{}/{} {}: {count} requests. {}",
            at + 1,
            scripts.len(),
            script.name,
            script.shows
        );
        let answers = play::to_real(real, script).await?;
        done(script, Recording { kubernetes: kubernetes.clone(), answers })?;
    }
    Ok(())
}
