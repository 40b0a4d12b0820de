//! SQL that the operator runs, as standard input for `psql`. Names and verifiers never stand in SQL
//! text of ours: they travel as rows of `\copy`, and the server quotes them with `format`.

pub mod databases;
pub mod users;

use serde_json::Value;

/// What every script starts with.
///
/// - `VERBOSITY terse` keeps psql from repeating a failed statement or row, which may hold a verifier.
/// - An empty `search_path` leaves only `pg_catalog` to be looked into, so that no object a user made
///   can take the place of a built-in one.
/// - `synchronous_commit` is local, so that a missing synchronous standby does not hold us up.
/// - The timeout is below the 60 seconds that a pass may take.
pub(crate) const PREAMBLE: &str = r"\set ON_ERROR_STOP on
\set QUIET on
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET search_path = '';
SET client_encoding = 'UTF8';
SET client_min_messages = WARNING;
SET synchronous_commit = LOCAL;
SET statement_timeout = '50s';
";

/// Starts a table of JSON rows, which follow line by line and end with [`END`].
pub(crate) const COPY: &str = r"CREATE TEMPORARY TABLE input (id serial, data json);
\copy input (data) from stdin with (format text)
";

/// Ends the rows.
pub(crate) const END: &str = "\\.\n";

/// One row: compact JSON with sorted keys. COPY's text format takes backslashes for escapes of its
/// own, so each one that JSON wrote is doubled.
pub(crate) fn row(value: &Value) -> String {
    value.to_string().replace('\\', r"\\") + "\n"
}

/// Reads rows back; none if a line is not what [`row`] writes.
pub(crate) fn rows(text: &str) -> Option<Vec<Value>> {
    let values = text.lines().map(|line| {
        let value: Value = serde_json::from_str(&line.replace(r"\\", r"\")).ok()?;
        (row(&value).trim_end_matches('\n') == line).then_some(value)
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_json_and_copy() {
        let written = row(&serde_json::json!({"x": "a\\b\n\"c\"", "w": "é"}));
        assert_eq!(written, "{\"w\":\"é\",\"x\":\"a\\\\\\\\b\\\\n\\\\\"c\\\\\"\"}\n");
    }

    proptest::proptest! {
        #[test]
        fn rows_come_back(texts in proptest::collection::vec(".*", 0..5)) {
            let values: Vec<Value> = texts.iter().map(|t| serde_json::json!({"x": t})).collect();
            let text: String = values.iter().map(row).collect();
            assert_eq!(text.lines().count(), values.len());
            assert_eq!(rows(&text), Some(values));
        }
    }
}
