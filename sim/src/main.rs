//! The command `ivory-sim`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ivory_sim::cli::main(&ivory_sim::lab::site::build, ivory_sim::cli::BENCHES)
}
