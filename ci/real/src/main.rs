//! What only a real Kubernetes can prove. `KUBECONFIG` says which; nothing here starts one.
//!
//! `ivory-ci conformance|e2e|real|scale|shell` calls this program, so that the gates stay a small one.

mod conformance;
mod e2e;
mod real;
mod scale;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests against a real Kubernetes (the one that KUBECONFIG names) and what they recorded.
#[derive(Parser)]
#[command(name = "ivory-ci")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Conformance(conformance::Args),
    E2e(e2e::Args),
    Real(real::Args),
    Scale(scale::Args),
    Shell(shell::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().what {
        What::Conformance(args) => conformance::run(&args),
        What::E2e(args) => e2e::run(&args),
        What::Real(args) => real::run(&args),
        What::Scale(args) => scale::run(&args),
        What::Shell(args) => shell::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("ivory-ci: {error:#}");
        ExitCode::from(2)
    })
}
