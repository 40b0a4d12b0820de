//! The operator's process; everything else is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ivory_operator::cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ivory-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
