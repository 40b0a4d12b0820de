//! What needs a real Kubernetes is another program (`ivory-real`, in `ci/real`), because it depends
//! on everything, and the gates must not. Its commands are called by the same name, here.

use std::process::ExitCode;

use crate::cargo::command;

/// Its commands, and what each asks.
const COMMANDS: &[(&str, &str)] = &[
    ("conformance", "do the models of API server and controllers do as real ones do?"),
    ("e2e", "do the scenario files hold on the cluster that KUBECONFIG names?"),
    (
        "real",
        "do real Patroni and PostgreSQL live with the simulated API server, and as the model says?",
    ),
    ("scale", "what does the operator cost with 1, 100, 1,000 clusters?"),
    ("shell", "does the real shell play the scenario files as the simulator's operator does?"),
];

/// A line a command, for `--help`.
pub(crate) fn help() -> String {
    COMMANDS.iter().map(|(name, asks)| format!("  {name:<12} {asks}\n")).collect()
}

/// Runs one of them, if the first argument names it; its exit status is ours.
pub(crate) fn delegated() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1).peekable();
    let first = args.peek()?.to_str()?;
    COMMANDS.iter().find(|(name, _)| *name == first)?;
    let mut command = command();
    command.args(["run", "--quiet", "--locked", "-p", "ivory-real", "--"]).args(args);
    let status = command.status();
    Some(match status {
        Ok(status) => {
            ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("ivory-ci: cargo could not be started: {error}");
            ExitCode::from(2)
        }
    })
}
