//! psql with a file of SQL: how long it takes, which databases it leaves behind and its exit status. Owns as much
//! of psql's rules as that needs (PostgreSQL's reference, psql): a failing statement counts only after
//! `\set ON_ERROR_STOP`. What other statements do to the data is not modelled.

use crate::time::Span;

/// Words with which a statement may begin.
const VERBS: [&str; 24] = [
    "ALTER", "ANALYZE", "BEGIN", "CALL", "COMMENT", "COMMIT", "COPY", "CREATE", "DELETE", "DO",
    "DROP", "GRANT", "INSERT", "REASSIGN", "REFRESH", "RESET", "REVOKE", "ROLLBACK", "SELECT",
    "SET", "TRUNCATE", "UPDATE", "VACUUM", "WITH",
];

/// What a run of psql comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// How long it takes.
    pub takes: Span,
    /// Its exit status: 0, or 3 for a statement that failed.
    pub exit: i32,
    /// The databases that it creates.
    pub databases: Vec<String>,
}

/// Follows a file. `exists` says which databases there are.
#[must_use]
pub fn run(sql: &str, exists: impl Fn(&str) -> bool) -> Run {
    let mut run = Run { takes: Span::ms(50), exit: 0, databases: Vec::new() };
    let (mut stop, mut statement) = (false, String::new());
    for line in sql.lines().map(|l| l.split("--").next().unwrap_or("").trim()) {
        if statement.is_empty() && line.starts_with('\\') {
            let words: Vec<&str> = line.split_whitespace().collect();
            stop |= words[0] == "\\set" && words.get(1) == Some(&"ON_ERROR_STOP");
            continue;
        }
        statement.push_str(line);
        statement.push(' ');
        while let Some((first, rest)) = statement.split_once(';') {
            let fine = follow(first.trim(), &exists, &mut run);
            statement = rest.trim_start().to_owned();
            if !fine && stop {
                run.exit = 3;
                return run;
            }
        }
    }
    run
}

/// One statement; whether it succeeds.
fn follow(statement: &str, exists: &impl Fn(&str) -> bool, run: &mut Run) -> bool {
    run.takes = run.takes + Span::ms(5);
    let words: Vec<&str> = statement.split_whitespace().collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    if is(0, "CREATE") && is(1, "DATABASE") {
        let Some(name) = words.get(2).map(|w| w.trim_matches('"')) else { return false };
        if exists(name) || run.databases.iter().any(|d| d == name) {
            return false;
        }
        run.databases.push(name.to_owned());
        return true;
    }
    if let Some((_, rest)) = statement.split_once("pg_sleep(") {
        let seconds = rest.split(')').next().and_then(|s| s.trim().parse().ok());
        run.takes = run.takes + Span::s(seconds.unwrap_or(0));
    }
    words.is_empty() || VERBS.iter().any(|verb| is(0, verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_only_where_it_was_asked_for() {
        for (sql, exit, databases) in [
            ("", 0, vec![]),
            ("create table t (a int);\n\\c zoo\nselect 1;", 0, vec![]),
            ("creat table t;\nCREATE DATABASE a;", 0, vec!["a"]),
            ("\\set ON_ERROR_STOP\ncreat table t;\nCREATE DATABASE a;", 3, vec![]),
            (
                "\\set ON_ERROR_STOP on\nCREATE DATABASE\n  \"a\"; -- twice;\nCREATE DATABASE a;",
                3,
                vec!["a"],
            ),
            ("\\set ON_ERROR_STOP\nCREATE DATABASE old;", 3, vec![]),
        ] {
            let run = run(sql, |name| name == "old");
            assert_eq!(
                (run.exit, run.databases),
                (exit, databases.iter().map(|d| d.to_string()).collect()),
                "{sql}"
            );
        }
        assert!(run("select pg_sleep(90);", |_| false).takes > Span::s(90));
    }
}
