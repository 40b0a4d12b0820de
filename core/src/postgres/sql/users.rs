//! Creates missing roles and sets options, verifiers and grants. Nothing is ever dropped or revoked.

use serde_json::{Value, json};

use super::{COPY, END, PREAMBLE, row, rows};
use crate::command::UserStatement;
use crate::sensitive::Sensitive;

/// Keeps the statements that hold verifiers out of the server's log, out of pgAudit's and out of
/// `pg_stat_statements`. Only parameters that the server knows are set, since modules may be missing.
const QUIET: &str = r"SELECT pg_catalog.set_config(s.name, v.setting, false)
  FROM (VALUES ('log_statement', 'none'),
               ('log_duration', 'off'),
               ('log_min_duration_statement', '-1'),
               ('log_min_duration_sample', '-1'),
               ('log_transaction_sample_rate', '0'),
               ('log_min_error_statement', 'panic'),
               ('track_activities', 'off'),
               ('pgaudit.log', 'none'),
               ('pg_stat_statements.track', 'none')) AS v (name, setting)
  JOIN pg_catalog.pg_settings s ON s.name = v.name
\g /dev/null
";

/// One transaction for all users: either all of it is true afterwards, or nothing changed. The options
/// are set before the verifier and apart from it, so that a mistake in them cannot bring the verifier
/// into an error message. A user without a verifier keeps the password that the role has.
const APPLY: &str = r"BEGIN;
SELECT pg_catalog.format('CREATE USER %I', i.data->>'username')
  FROM input i
 WHERE NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = i.data->>'username')
 ORDER BY i.id
\gexec
SELECT pg_catalog.format('ALTER ROLE %I WITH %s', i.data->>'username', i.data->>'options')
  FROM input i
 WHERE i.data->>'options' <> ''
 ORDER BY i.id
\gexec
SELECT pg_catalog.format('ALTER ROLE %I PASSWORD %L', i.data->>'username', i.data->>'verifier')
  FROM input i
 WHERE i.data->>'verifier' <> ''
 ORDER BY i.id
\gexec
SELECT pg_catalog.format('GRANT ALL PRIVILEGES ON DATABASE %I TO %I', d.name, i.data->>'username')
  FROM input i, pg_catalog.json_array_elements_text(i.data->'databases') WITH ORDINALITY AS d (name, n)
 ORDER BY i.id, d.n
\gexec
COMMIT;
";

/// The script for `psql` in the maintenance database. It holds verifiers.
#[must_use]
pub fn script(users: &[UserStatement]) -> Sensitive {
    let mut text = [PREAMBLE, QUIET, COPY].concat();
    for user in users {
        text.push_str(&row(&json!({
            "databases": user.databases,
            "options": user.options,
            "username": user.name,
            // Verifiers are ASCII; a Secret with other bytes holds no verifier.
            "verifier": user.verifier.expose_text().unwrap_or_default(),
        })));
    }
    text.push_str(END);
    text.push_str(APPLY);
    Sensitive::text(&text)
}

/// The users in a script that [`script`] made.
pub(crate) fn parse(script: &str) -> Option<Vec<UserStatement>> {
    let lines = script
        .strip_prefix(PREAMBLE)?
        .strip_prefix(QUIET)?
        .strip_prefix(COPY)?
        .strip_suffix(APPLY)?
        .strip_suffix(END)?;
    rows(lines)?.iter().map(user).collect()
}

fn user(value: &Value) -> Option<UserStatement> {
    let text = |key| value.get(key)?.as_str();
    let databases = value.get("databases")?.as_array()?.iter();
    Some(UserStatement {
        name: text("username")?.to_owned(),
        options: text("options")?.to_owned(),
        databases: databases.map(|d| d.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        verifier: Sensitive::text(text("verifier")?),
    })
}
