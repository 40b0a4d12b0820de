//! Scenario files played on the cluster that KUBECONFIG names.

use std::process::ExitCode;

/// Scenario files played on the cluster that KUBECONFIG names.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
