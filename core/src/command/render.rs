//! Commands as argument vectors and standard input.

use super::{Command, Rendered, archive, init_sql, parameters, source, standby, volumes, wal};
use crate::names::{MAINTENANCE_DATABASE, STANZA};
use crate::pgbackrest::config::CONFIG_HASH_PATH;
use crate::postgres::sql;
use crate::scripts;
use crate::sensitive::Sensitive;

/// What the stanza script says when the configuration in the container is not yet the one meant.
pub(super) const HASH_MISMATCH: &str = "ivory operator error: pgBackRest config hash mismatch";

/// Exit status of the databases script when only extensions failed. psql's own are 1 to 3.
pub(super) const EXTENSIONS_FAILED: i32 = 20;

/// Creates databases with the SQL on standard input, then extensions in every database. Each psql is told
/// its database by the environment, where any name can stand; `--dbname` would take one with `=` for
/// connection settings. Names are read up to a zero byte, as they may hold line ends. One database that
/// refuses an extension does not keep it from the others.
///
/// Arguments: the listing query, the extension's SQL, the extensions.
const DATABASES_SCRIPT: &str = r#"export PGDATABASE=postgres
psql -Xw --file=-
list=$1 sql=$2
shift 2
mapfile -d '' -t names < <(psql -XwAqt0 --set=ON_ERROR_STOP=on -c "SET search_path = ''" -c "$list")
wait "$!"
failed=0
for name in "${names[@]}"; do
  for extension in "$@"; do
    said=$(PGDATABASE=$name psql -Xw --set=extension="$extension" --file=- <<< "$sql" 2>&1) || {
      failed=20
      printf 'database %q: %s\n' "$name" "$said" >&2
    }
  done
done
exit "$failed""#;

/// Runs a stanza command if the configuration in the container is the one meant.
///
/// Arguments: the hash, the message when it differs, the command, the version, the stanza.
fn stanza_script() -> String {
    format!(
        r#"hash=$1 message=$2 command=$3 version=$4 stanza=$5
found=$(cat {CONFIG_HASH_PATH} 2> /dev/null || true)
if [[ "$found" != "$hash" ]]; then
  printf '%s' "$message" >&2
  exit 1
fi
exec pgbackrest "$command" --stanza="$stanza" --pg-version-force="$version""#
    )
}

/// Prints where `pg_wal` really is.
const WAL_SCRIPT: &str = r#"exec realpath "${PGDATA}/pg_wal""#;

impl Command {
    /// Program, arguments and standard input.
    #[must_use]
    pub fn render(&self) -> Rendered {
        match self {
            Self::Databases { databases, extensions } => {
                let sql = sql::databases::extension();
                let mut arguments = vec![sql::databases::LIST, sql.as_str()];
                arguments.extend(extensions.iter().map(String::as_str));
                let mut rendered = bash(DATABASES_SCRIPT, &arguments);
                rendered.stdin = Some(Sensitive::text(&sql::databases::create(databases)));
                rendered
            }
            Self::Users { users } => psql(sql::users::script(users)),
            Self::ReplaceDynamicConfiguration { config } => Rendered {
                argv: words(&["patronictl", "edit-config", "--replace=-", "--force"]),
                stdin: Some(Sensitive::text(config)),
            },
            Self::Switchover { scope, leader, candidate } => program(&[
                "patronictl",
                "switchover",
                "--scheduled=now",
                "--force",
                &format!("--leader={leader}"),
                &format!("--candidate={}", candidate.as_deref().unwrap_or_default()),
                scope,
            ]),
            Self::Failover { scope, candidate } => {
                let candidate = format!("--candidate={candidate}");
                program(&["patronictl", "failover", "--force", &candidate, scope])
            }
            Self::RestartPending { scope, member } => {
                program(&["patronictl", "restart", "--pending", "--force", scope, member])
            }
            Self::StanzaCreate { config_hash, postgres_version } => {
                stanza("stanza-create", config_hash, *postgres_version)
            }
            Self::StanzaUpgrade { config_hash, postgres_version } => {
                stanza("stanza-upgrade", config_hash, *postgres_version)
            }
            Self::BackupInfo => {
                program(&["pgbackrest", "info", &format!("--stanza={STANZA}"), "--output=json"])
            }
            Self::Checkpoint { timeout_s } => psql(checkpoint(*timeout_s)),
            Self::StandbyState => psql(standby::script()),
            Self::ArchiveState => psql(archive::script()),
            Self::ParameterState { configuration } => psql(parameters::script(configuration)),
            Self::WalDirectory => bash(WAL_SCRIPT, &[]),
            Self::WalPlace { timeline, position } => {
                bash(&wal::script(), &[&timeline.to_string(), &lsn_text(*position)])
            }
            Self::VolumeState => bash(volumes::SCRIPT, &volumes::MOUNTS),
            Self::StartInitSql { token, sql } => {
                Rendered { stdin: Some(sql.clone()), ..bash(&init_sql::start(), &[token]) }
            }
            Self::SourceState { host, port } => bash(&source::script(), &[host, &port.to_string()]),
            Self::InitSqlState { token } => bash(&init_sql::state(), &[token]),
        }
    }
}

/// A position in the WAL, in bytes, as PostgreSQL writes it: `0/3000060`.
#[must_use]
pub fn lsn_text(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

/// The position that a text of [`lsn_text`] says.
pub(super) fn lsn_of(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(
        (u64::from_str_radix(high, 16).ok()? << 32) | u64::from(u32::from_str_radix(low, 16).ok()?),
    )
}

/// The one place that says how long the checkpoint may take: its own timeout comes after the preamble's.
fn checkpoint(timeout_s: u32) -> Sensitive {
    let preamble = sql::PREAMBLE;
    Sensitive::text(&format!("{preamble}SET statement_timeout = '{timeout_s}s';\nCHECKPOINT;\n"))
}

fn stanza(command: &str, hash: &str, version: i32) -> Rendered {
    let script = stanza_script();
    let version = version.to_string();
    bash(&script, &[hash, HASH_MISMATCH, command, &version, STANZA])
}

fn psql(script: Sensitive) -> Rendered {
    let database = format!("--dbname={MAINTENANCE_DATABASE}");
    Rendered { argv: words(&["psql", &database, "-Xw", "--file=-"]), stdin: Some(script) }
}

fn bash(script: &str, arguments: &[&str]) -> Rendered {
    Rendered { argv: scripts::bash(script, "-", arguments), stdin: None }
}

fn program(argv: &[&str]) -> Rendered {
    Rendered { argv: words(argv), stdin: None }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}
