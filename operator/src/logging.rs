//! Where log lines go and what they look like.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What log lines look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Begins to log on standard output. `RUST_LOG` overrides the level.
pub fn begin(format: LogFormat, debug: bool) {
    // The client logs each failure of its own as well, without saying of what.
    let level =
        if debug { "info,ivory_operator=debug" } else { "info,kube_client=off,kube_runtime=off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Human => {
            lines.with_target(false).with_ansi(std::io::stdout().is_terminal()).init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
    }
}
