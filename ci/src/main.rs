//! The gates: what every commit must pass besides its tests. One command, the same on a laptop and
//! in CI: `cargo run -p ivory-ci -- all`.

mod cargo;
mod cli;
mod clippy_toml;
mod copy;
mod finding;
mod fresh;
mod gates;
mod graph;
mod lints;
mod mutants;
mod real;
mod selftest;
mod tidy;
mod tree;

fn main() -> std::process::ExitCode {
    if let Some(status) = real::delegated() {
        return status;
    }
    if let Some(status) = mutants::called() {
        return status;
    }
    cli::run(&clap::Parser::parse())
}
