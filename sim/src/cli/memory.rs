//! How much memory a world takes: two processes of this very program, one that runs a world and one that runs none,
//! and what the first had more at its peak.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measurement starts a process and asks Linux about it"
)]

use std::process::Command;

use super::Trouble;
use super::bench::Figure;
use crate::lab::steady::steady;

/// What a process had, in KiB.
#[derive(Clone, Copy)]
struct Memory {
    /// At its peak, all together.
    peak_kb: f64,
    /// Pages of files: the program's own text and what else never changes in it.
    program_kb: f64,
}

/// What a world adds at its peak; not a number where Linux does not tell.
pub(super) fn world_mb() -> Figure {
    let (Some(none), Some(one)) = (of_another_process(0), of_another_process(1)) else {
        return f64::NAN.into();
    };
    let own = |memory: Memory| memory.peak_kb - memory.program_kb;
    let whole = (one.peak_kb / 1024.0, one.program_kb / 1024.0);
    let beside = format!(" (all of it: {:.1} MB, {:.1} of them the program)", whole.0, whole.1);
    Figure { value: (own(one) - own(none)) / 1024.0, beside }
}

fn of_another_process(worlds: u32) -> Option<Memory> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    let command = command.args(["bench", "--memory-after", &worlds.to_string()]);
    let output = String::from_utf8(command.output().ok()?.stdout).ok()?;
    let mut numbers = output.split_whitespace().map_while(|n| n.parse().ok());
    Some(Memory { peak_kb: numbers.next()?, program_kb: numbers.next()? })
}

/// Runs worlds, and prints what this process had: the peak and the program's part, in KiB.
pub(super) fn tell(worlds: u32) -> Result<(), Trouble> {
    let worlds: Vec<_> = (0..worlds).map(|_| steady(1, 3)).collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    drop(worlds);
    let (Some(peak), Some(program)) = (number("VmHWM:"), number("RssFile:")) else {
        return Err(Trouble::Broken("this system does not tell a process's memory".to_owned()));
    };
    line!("{peak} {program}");
    Ok(())
}
