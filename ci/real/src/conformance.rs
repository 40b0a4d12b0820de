//! The model of the API server against a real one, exchange by exchange.

use std::process::ExitCode;

/// The model of the API server against a real one, exchange by exchange.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
