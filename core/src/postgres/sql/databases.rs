//! Creates missing databases, and extensions in every database. Nothing is ever dropped.

use serde_json::json;

use super::{COPY, END, PREAMBLE, row, rows};

/// Creates what is missing. `CREATE DATABASE` cannot run inside a transaction, so each is one statement.
const CREATE: &str = r"SELECT pg_catalog.format('CREATE DATABASE %I', i.data->>'database')
  FROM input i
 WHERE NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_database d WHERE d.datname = i.data->>'database')
 ORDER BY i.id
\gexec
";

/// Lists the databases that can be connected to. `template1` is among them: databases that are made
/// later inherit what was installed there. A connection limit of -2 marks a database whose removal
/// was interrupted, which nobody can enter.
pub(crate) const LIST: &str = "SELECT datname FROM pg_catalog.pg_database \
    WHERE datallowconn AND datconnlimit <> -2 AND datname <> 'template0' ORDER BY datname";

/// The script that creates databases, for `psql` in the maintenance database.
#[must_use]
pub fn create(databases: &[String]) -> String {
    let rows: String = databases.iter().map(|d| row(&json!({ "database": d }))).collect();
    [PREAMBLE, COPY, &rows, END, CREATE].concat()
}

/// The databases named in a script that [`create`] made.
pub(crate) fn parse(script: &str) -> Option<Vec<String>> {
    let lines = script
        .strip_prefix(PREAMBLE)?
        .strip_prefix(COPY)?
        .strip_suffix(CREATE)?
        .strip_suffix(END)?;
    let name = |value: serde_json::Value| Some(value.get("database")?.as_str()?.to_owned());
    rows(lines)?.into_iter().map(name).collect()
}

/// The script that installs one extension in the database it runs in; psql's variable `extension`
/// names it.
///
/// An extension goes into the first schema of the path that exists. The path is not left empty, since
/// then there would be none, and `pg_catalog` is the way out where somebody removed `public`. It is safe:
/// this statement looks no function up, and the extension's own script runs under a path of its own.
pub(crate) fn extension() -> String {
    format!(
        "{PREAMBLE}SET search_path = public, pg_catalog;\nCREATE EXTENSION IF NOT EXISTS :\"extension\";\n"
    )
}
