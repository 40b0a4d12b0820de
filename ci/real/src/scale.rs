//! The operator under many clusters on an API server without nodes.

use std::process::ExitCode;

/// The operator under many clusters on an API server without nodes.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
