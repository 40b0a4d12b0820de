//! Colours where somebody can see them, and numbers as people read them.

#![expect(
    clippy::disallowed_methods,
    reason = "whether colours are wanted stands in the environment"
)]

use std::io::{ErrorKind, IsTerminal as _, Write as _};

/// What a shell says of a program that was stopped by a closed pipe.
const PIPE_CLOSED: i32 = 141;

/// Writes to standard output; ends the program when nobody reads it any more.
pub(super) fn write(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(PIPE_CLOSED),
        Err(error) => panic!("standard output: {error}"),
        Ok(()) => {}
    }
}

/// How to print on one stream.
#[derive(Clone, Copy)]
pub(super) struct Ui {
    colour: bool,
    /// Whether it is a terminal.
    pub terminal: bool,
}

impl Ui {
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        // https://no-color.org: present and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { colour: terminal && !refused && !dumb, terminal }
    }

    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// Virtual seconds as `4m 05s`, `2h 00m`, `12.3s`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(12.34, "12.3s"), (245.0, "4m 05s"), (7_260.0, "2h 01m")] {
            assert_eq!(super::span(seconds), text);
        }
    }
}
