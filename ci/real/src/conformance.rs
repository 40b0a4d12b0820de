//! The model of the API server (`ivory_sim::kube`) against a real one, exchange by exchange.
//!
//! Scripts (`ci/conformance/scripts`) say what is asked. `record` asks a real kube-apiserver and writes its
//! normalised answers to `ci/conformance/recorded`; the plain command, and a test, ask the model and
//! compare field by field; `live` asks both now, for a version of Kubernetes that nothing was recorded of.
//!
//! The real server should have no controllers (etcd and kube-apiserver, with the admission plugin ServiceAccount off,
//! as the envtest binaries run): controllers would change what the scripts made between two requests.

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
mod verdicts;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::bail;
use ivory_core::Kind;
use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};

use real::Real;
use record::Recording;
use report::Report;
use script::Script;

/// The user agent of both sides; up to the slash it is the field manager of whoever names none.
const AGENT: &str = "conformance/1";

/// The model of the API server against a real one, exchange by exchange.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The outcome as JSON: exchanges, mismatches, known_differences.
    #[arg(long, global = true)]
    json: bool,
    /// Only these scripts.
    #[arg(long, global = true)]
    script: Vec<String>,
}

#[derive(clap::Subcommand, PartialEq)]
enum What {
    /// Asks the API server that KUBECONFIG names, and writes down what it answers.
    Record,
    /// Compares the model with the API server that KUBECONFIG names, without recordings.
    Live,
}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let scripts = script::scripts(&args.script)?;
    let mut report = Report::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.what {
        None => replay(&scripts, &mut report)?,
        Some(What::Record) => {
            runtime.block_on(ask_real(&scripts, |script, recording| recording.write(script)))?;
            if args.script.is_empty() {
                for orphan in Recording::orphans(&scripts)? {
                    eprintln!("no script has this recording any more: {}", orphan.display());
                }
            }
            replay(&scripts, &mut report)?;
        }
        Some(What::Live) => runtime.block_on(ask_real(&scripts, |script, recording| {
            report.add(script, &recording.answers, &play::to_model(script)?);
            Ok(())
        }))?,
    }
    if args.json {
        println!("{:#}", report.json());
    } else {
        println!("{}", report.text());
    }
    let unseen = if args.script.is_empty() { report.unseen() } else { Vec::new() };
    for known in &unseen {
        eprintln!("this known difference shows no more, take it from the table: {known}");
    }
    Ok(ExitCode::from(u8::from(report.mismatches() > 0 || !unseen.is_empty())))
}

/// Compares the model with what was recorded.
fn replay(scripts: &[Script], report: &mut Report) -> anyhow::Result<()> {
    for script in scripts {
        let recording = Recording::read(script)?;
        report.add(script, &recording.answers, &play::to_model(script)?);
    }
    Ok(())
}

/// Plays scripts to a real API server, one by one.
async fn ask_real(
    scripts: &[Script],
    mut done: impl FnMut(&Script, Recording) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let real = Real::connect().await?;
    for definition in [crd_ivorycluster(), crd_ivyupgrade()] {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        if real.exists(Kind::CustomResourceDefinition, name).await? {
            bail!("{name} is defined there; take a cluster that is for tests and nothing else");
        }
    }
    let kubernetes = real.version().await?;
    let namespace = model::namespace("conformance-controllers");
    real.create(Kind::Namespace, &namespace).await?;
    let controllers = real.has_controllers("conformance-controllers").await?;
    real.remove_all(&ask::Memory::new("conformance-controllers")).await?;
    if controllers {
        bail!(
            "controllers run there, and would change what is compared; see the head of conformance.rs"
        );
    }
    for (at, script) in scripts.iter().enumerate() {
        let count = script.requests.len();
        eprintln!(
            "{}/{} {}: {count} requests. {}",
            at + 1,
            scripts.len(),
            script.name,
            script.shows
        );
        let answers = play::to_real(&real, script).await?;
        done(script, Recording { kubernetes: kubernetes.clone(), answers })?;
    }
    Ok(())
}
