//! What a server has made of the parameters in its files.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::postgres::sql::PREAMBLE;
use crate::read::Output;
use crate::sensitive::Sensitive;

/// One line of JSON: each parameter in the files with its value and what is wrong with it, and the libraries to be
/// loaded of which there is no file. A change that waits for a restart is no error, though `pg_file_settings` calls it
/// one (seen on PostgreSQL 15). Libraries are looked for only where everybody keeps them.
const SQL: &str = r#"\pset tuples_only on
\pset format unaligned
WITH files AS (
  SELECT DISTINCT ON (pg_catalog.lower(s.name)) pg_catalog.lower(s.name) AS name, s.setting,
         CASE WHEN p.pending_restart THEN '' ELSE COALESCE(s.error, '') END AS error
    FROM pg_catalog.pg_file_settings AS s
    LEFT JOIN pg_catalog.pg_settings AS p ON pg_catalog.lower(p.name) = pg_catalog.lower(s.name)
   WHERE s.name IS NOT NULL
   ORDER BY pg_catalog.lower(s.name), s.seqno DESC),
libraries AS (
  SELECT pg_catalog.btrim(l.name, ' "') AS name
    FROM files AS f, pg_catalog.unnest(pg_catalog.string_to_array(f.setting, ',')) AS l(name)
   WHERE f.name = 'shared_preload_libraries'
     AND pg_catalog.current_setting('dynamic_library_path') = '$libdir'),
place AS (SELECT c.setting AS folder FROM pg_catalog.pg_config AS c WHERE c.name = 'PKGLIBDIR')
SELECT pg_catalog.json_build_object(
  'settings', (SELECT COALESCE(pg_catalog.json_object_agg(f.name,
                      pg_catalog.json_build_object('value', f.setting, 'error', f.error)), '{}') FROM files AS f),
  'missing', (SELECT COALESCE(pg_catalog.json_agg(l.name), '[]') FROM libraries AS l, place AS p
               WHERE l.name <> '' AND l.name NOT LIKE '%/%'
                 AND (pg_catalog.pg_stat_file(p.folder || '/' || l.name || '.so', true)).size IS NULL
                 AND (pg_catalog.pg_stat_file(p.folder || '/' || l.name, true)).size IS NULL));
"#;

/// Asks a server for its files. The configuration that it should have is named in a comment: another one is another
/// question.
pub(super) fn script(configuration: &str) -> Sensitive {
    Sensitive::text(&format!("{PREAMBLE}{SQL}{COMMENT}{configuration}\n"))
}

const COMMENT: &str = "-- configuration ";

/// The configuration that a script of [`script`] was written for; none if it is another.
pub(super) fn parse(script: &str) -> Option<String> {
    let (before, configuration) = script.rsplit_once(COMMENT)?;
    before.contains("pg_file_settings").then(|| configuration.trim_end_matches('\n').to_owned())
}

/// A parameter in a server's files.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Setting {
    /// Its value, as it is written there.
    pub value: Option<String>,
    /// What PostgreSQL has against it; empty for nothing.
    pub error: String,
}

/// What a server has made of the parameters in its files.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ParameterState {
    /// What the files say, by names in small letters.
    pub settings: BTreeMap<String, Setting>,
    /// Libraries that shall be loaded at the next start, and that are not there.
    pub missing: Vec<String>,
}

impl ParameterState {
    /// Reads the answer to [`super::Command::ParameterState`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        serde_json::from_str(output.stdout.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let read = |text: &str| {
            let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
            ParameterState::read(&output)
        };
        // As PostgreSQL 15 answered, shortened.
        let state = read(
            r#"{"settings" : { "my.thing" : {"value" : "3", "error" : ""}, "timezone" : {"value" : "Mars/Phobos", "error" : "setting could not be applied"} }, "missing" : ["nosuch"]}"#,
        )
        .expect("an answer");
        assert_eq!(state.settings["timezone"].error, "setting could not be applied");
        assert_eq!(state.settings["my.thing"].value.as_deref(), Some("3"));
        assert_eq!(state.missing, ["nosuch"]);
        assert_eq!(read("1 2 3"), None);
    }
}
