//! The user's SQL, which may take longer than any request: it is started, left alone, and looked at later.
//!
//! Its traces lie in the container's `/tmp`, one folder for each token: the SQL while it runs, what psql said, which
//! process it is and, in the end, its exit status and when it ended. A process is known by its number and the moment
//! of its start, so that another one of the same number is not taken for it after the container has restarted.

use crate::read::Output;

/// Where the traces lie.
pub const DIRECTORY: &str = "/tmp/ivory-init-sql";

/// Whether the process whose number and start were written down still runs.
const ALIVE: &str = r#"alive() {
  local pid start stat
  read -r pid start < "$dir/process" || return 1
  read -r -a stat < "/proc/$pid/stat" || return 1
  [[ "${stat[21]}" == "$start" ]]
} 2> /dev/null
"#;

/// Starts psql with the SQL from standard input, unless it runs. Nothing is preset for the SQL but the database.
///
/// Arguments: the token.
pub(super) fn start() -> String {
    format!(
        r#"dir={DIRECTORY}/$1
{ALIVE}umask 077
mkdir -p {DIRECTORY}
if [[ -e "$dir" ]]; then
  if [[ ! -e "$dir/exit" ]] && alive; then exit 0; fi
  rm -rf -- "$dir"
fi
mkdir -- "$dir" || exit 0
cat > "$dir/sql"
(
  trap '' HUP
  read -r -a stat < "/proc/$BASHPID/stat"
  printf '%s %s\n' "$BASHPID" "${{stat[21]}}" > "$dir/process"
  code=0
  PGDATABASE=postgres psql -Xw --file=- < "$dir/sql" > "$dir/output" 2>&1 || code=$?
  rm -f -- "$dir/sql"
  printf '%s %s\n' "$code" "$(date +%s)" > "$dir/ended"
  mv -- "$dir/ended" "$dir/exit"
) < /dev/null > /dev/null 2>&1 &
until [[ -e "$dir/process" ]]; do sleep 0.05; done"#
    )
}

/// Tells how far it is.
///
/// Arguments: the token.
pub(super) fn state() -> String {
    format!(
        r#"dir={DIRECTORY}/$1
{ALIVE}if [[ -e "$dir/exit" ]]; then
  cat -- "$dir/exit"
elif alive; then
  printf 'running\n'
else
  printf 'none\n'
fi"#
    )
}

/// How far the user's SQL is in a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It never ran in this container, or was broken off there.
    None,
    /// It runs.
    Running,
    /// psql ended.
    Ended {
        /// Its exit status.
        exit: i32,
        /// When, in seconds since 1970 by the container's clock.
        at_s: i64,
    },
}

impl State {
    /// Reads the answer to [`super::Command::InitSqlState`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        match words[..] {
            ["none"] => Some(Self::None),
            ["running"] => Some(Self::Running),
            [exit, at] => Some(Self::Ended { exit: exit.parse().ok()?, at_s: at.parse().ok()? }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        for (text, expected) in [
            ("none\n", Some(State::None)),
            ("running\n", Some(State::Running)),
            ("0 1700000000\n", Some(State::Ended { exit: 0, at_s: 1_700_000_000 })),
            ("3 x\n", None),
            ("", None),
            ("bash: line 3\n", None),
        ] {
            let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
            assert_eq!(State::read(&output), expected, "{text}");
        }
    }
}
