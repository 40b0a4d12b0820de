//! What a standby cluster's leader can tell of the server that it follows.

use crate::names::{MAINTENANCE_DATABASE, REPLICATION_USER};
use crate::read::Output;

/// Asks the server itself, as the replication user and with its certificate, and the own one whether it receives
/// anything. A server that does not answer is none of which something is known; that takes no longer than the question may,
/// whatever name resolution does.
///
/// Arguments: host, port.
pub(super) fn script() -> String {
    format!(
        r#"own=$(timeout 3 psql -XwAqt --dbname={MAINTENANCE_DATABASE} -c \
  "SELECT count(*) FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming'") || own=0
export PGHOST=$1 PGPORT=$2 PGUSER={REPLICATION_USER} PGDATABASE={MAINTENANCE_DATABASE} PGCONNECT_TIMEOUT=5 \
  PGSSLMODE=verify-ca PGSSLCERT=/tmp/replication/tls.crt PGSSLKEY=/tmp/replication/tls.key \
  PGSSLROOTCERT=/tmp/replication/ca.crt PGOPTIONS='-c statement_timeout=5s'
recovery=$(timeout 10 psql -XwAqt -c 'SELECT pg_catalog.pg_is_in_recovery()' 2> /dev/null) || recovery=
case "$recovery" in f) printf 'writable';; t) printf 'recovery';; *) printf 'unknown';; esac
if [[ "$own" == 1 ]]; then printf ' streaming\n'; else printf ' not-streaming\n'; fi"#
    )
}

/// The server that a standby cluster follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceState {
    /// Whether it accepts writes, or is in recovery; none when it does not answer.
    pub writable: Option<bool>,
    /// The standby cluster's leader receives WAL.
    pub streaming: bool,
}

impl SourceState {
    /// Reads the answer to [`super::Command::SourceState`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        let (source, own) = output.stdout.trim().split_once(' ')?;
        let writable = match source {
            "writable" => Some(true),
            "recovery" => Some(false),
            "unknown" => None,
            _ => return None,
        };
        Some(Self { writable, streaming: own == "streaming" })
    }
}
