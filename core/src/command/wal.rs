//! Where the WAL is that follows on a position: what a replica that does not stream still needs.

use crate::read::Output;

/// Asked of the leader. What its server has is a matter of names, whichever timeline they are of; what it has no more is
/// looked for in the repositories, on every timeline from the replica's to its own. `archive-get` says 1 where there is no
/// such segment, and something else where it could not look, which takes it two minutes (0, 1 and 103 seen on a cluster).
///
/// Arguments: the replica's timeline, its position.
pub(super) fn script() -> String {
    format!(
        r#"timeline=$1
found=$(psql -XwAqt --dbname={database} --set=ON_ERROR_STOP=on --set=position="$2" --file=- << 'SQL'
{preamble}SET statement_timeout = '5s';
WITH next AS (SELECT pg_catalog.pg_walfile_name(:'position'::pg_catalog.pg_lsn + 1) AS name)
SELECT n.name, EXISTS (SELECT FROM pg_catalog.pg_ls_waldir() AS w
                        WHERE pg_catalog.substr(w.name, 9) = pg_catalog.substr(n.name, 9))
  FROM next AS n;
SQL
)
IFS='|' read -r name here <<< "$found"
if [[ "$here" == t ]]; then
  echo here
  exit
fi
file=/tmp/ivory-wal.$$
trap 'rm -f "$file"' EXIT
while ((timeline <= 16#${{name:0:8}})); do
  status=0
  timeout 20 pgbackrest --stanza={stanza} --no-archive-async archive-get "$(printf %08X "$timeline")${{name:8}}" "$file" \
    > /dev/null 2>&1 || status=$?
  case "$status" in
    0)
      echo archived
      exit
      ;;
    1) timeline=$((timeline + 1)) ;;
    *) exit "$status" ;;
  esac
done
echo nowhere"#,
        database = crate::names::MAINTENANCE_DATABASE,
        stanza = crate::names::STANZA,
        preamble = crate::postgres::sql::PREAMBLE,
    )
}

/// Where the WAL is that a replica needs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalPlace {
    /// On the leader's volume.
    Leader,
    /// In a repository.
    Archive,
    /// Neither there nor there: it is lost.
    Nowhere,
}

impl WalPlace {
    /// Reads the answer to [`super::Command::WalPlace`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        match (output.exit, output.stdout.trim()) {
            (0, "here") => Some(Self::Leader),
            (0, "archived") => Some(Self::Archive),
            (0, "nowhere") => Some(Self::Nowhere),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_a_failure_is_none() {
        let read = |exit, text: &str| {
            WalPlace::read(&Output { exit, stdout: text.into(), stderr: "".into() })
        };
        assert_eq!(read(0, "here\n"), Some(WalPlace::Leader));
        assert_eq!(read(0, "archived\n"), Some(WalPlace::Archive));
        assert_eq!(read(0, "nowhere\n"), Some(WalPlace::Nowhere));
        for (exit, text) in [(0, ""), (1, "nowhere\n"), (0, "SET\nnowhere\n"), (103, "")] {
            assert_eq!(read(exit, text), None, "{exit} {text}");
        }
    }
}
