//! > The operator's SQL is immune to search_path, odd names and synchronous replication; every command has a deadline.
//!
//! Looked at before every command: its deadline is within a pass, and SQL of ours begins by taking search_path and
//! synchronous replication out of the way. Odd names are the matter of core's tests.

use ivory_core::command::Command;

use super::seen::{Log, Write, Writes};
use super::{Checker, Promise, When};
use crate::time::Span;

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 14,
    name: "SQL immune",
    words: "The operator's SQL is immune to search_path, odd names and synchronous replication; every command has a \
            deadline.",
    when: &[When::Write],
    file: file!(),
    held_by: &["core/src/postgres/sql/users.rs", "core/src/postgres/sql/databases.rs"],
};

/// A pass ends within this time, and so does every command of it.
const DEADLINE_MAX: Span = Span::s(60);
/// What SQL of ours says before all else.
const FIRST: [&str; 2] = ["SET search_path = '';", "SET synchronous_commit = LOCAL;"];

/// Nothing needs to be remembered.
#[derive(Clone, Default)]
pub(super) struct State;

impl Checker for State {
    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        let Writes::Exec(_, command, deadline) = write.what else { return };
        log.looked(&PROMISE);
        for wrong in wrong(command, deadline) {
            log.broken(&PROMISE, format!("{}: {wrong}", write.text()));
        }
    }
}

/// What is wrong with a command.
fn wrong(command: &Command, deadline: Span) -> Vec<String> {
    let mut all = Vec::new();
    if deadline <= Span::ZERO || deadline > DEADLINE_MAX {
        all.push(format!("its deadline is {} s", deadline.seconds()));
    }
    let rendered = command.render();
    let ours = rendered.argv.iter().any(|word| word.contains("psql"))
        && !matches!(command, Command::StartInitSql { .. });
    if let Some(sql) = rendered.stdin.as_ref().filter(|_| ours).and_then(|s| s.expose_text()) {
        all.extend(missing(sql).map(|line| format!("its SQL does not begin with {line}")));
    }
    all
}

/// What SQL should say first and does not.
fn missing(sql: &str) -> impl Iterator<Item = &'static str> {
    let settings = sql.lines().take_while(|l| l.starts_with('\\') || l.starts_with("SET "));
    let settings: Vec<&str> = settings.collect();
    FIRST.into_iter().filter(move |line| !settings.contains(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_without_a_deadline_and_sql_without_its_settings_are_seen() {
        let users = Command::Users { users: Vec::new() };
        assert_eq!(wrong(&users, Span::s(60)), [""; 0]);
        for deadline in [0, 61] {
            let text = format!("its deadline is {deadline} s");
            assert_eq!(wrong(&users, Span::s(deadline)), [text]);
        }
        let sql = "SET search_path = '';\nSELECT 1;\nSET synchronous_commit = LOCAL;\n";
        assert_eq!(missing(sql).collect::<Vec<_>>(), ["SET synchronous_commit = LOCAL;"]);
    }
}
