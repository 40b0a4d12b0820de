//! What a server can tell of its own archiving.

use crate::postgres::sql::PREAMBLE;
use crate::read::Output;
use crate::sensitive::Sensitive;

/// One line of six words: finished segments that wait and their bytes, when the oldest of them was finished, when one
/// was archived last, and the server's own time (all in seconds since 1970, 0 for never), and what the last try came to.
/// A command that hangs counts no failure, so what waits is counted as well.
const SQL: &str = r"\pset tuples_only on
\pset format unaligned
SELECT pg_catalog.concat_ws(' ', w.files,
       w.files * pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')),
       COALESCE(pg_catalog.date_part('epoch', w.oldest)::bigint, 0),
       COALESCE(pg_catalog.date_part('epoch', a.last_archived_time)::bigint, 0),
       pg_catalog.date_part('epoch', pg_catalog.now())::bigint,
       CASE WHEN a.last_failed_time > COALESCE(a.last_archived_time, '-infinity') THEN 'fails' ELSE 'works' END)
  FROM pg_catalog.pg_stat_archiver AS a,
       (SELECT pg_catalog.count(*) AS files, pg_catalog.min(f.modification) AS oldest
          FROM pg_catalog.pg_ls_archive_statusdir() AS f WHERE f.name LIKE '%.ready') AS w;
";

/// Asks a server how its archiving goes.
pub(super) fn script() -> Sensitive {
    Sensitive::text(&format!("{PREAMBLE}{SQL}"))
}

/// How a server's archiving goes. Times are seconds since 1970 by the server's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiveState {
    /// How many bytes of finished WAL wait.
    pub waiting_bytes: u64,
    /// When the oldest of it was finished; none when nothing waits.
    pub waits_since_s: Option<i64>,
    /// When a segment was archived last, if the server has counted one.
    pub archived_s: Option<i64>,
    /// When this was said.
    pub now_s: i64,
    /// Whether the last try failed.
    pub fails: bool,
}

impl ArchiveState {
    /// Reads the answer to [`super::Command::ArchiveState`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        let [files, bytes, since, archived, now, last] = words[..] else { return None };
        let files: u64 = files.parse().ok()?;
        let archived: i64 = archived.parse().ok()?;
        Some(Self {
            waiting_bytes: bytes.parse().ok()?,
            waits_since_s: (files > 0).then(|| since.parse().ok()).flatten(),
            archived_s: (archived > 0).then_some(archived),
            now_s: now.parse().ok()?,
            fails: match last {
                "fails" => true,
                "works" => false,
                _ => return None,
            },
        })
    }

    /// How long the oldest finished WAL has waited without anything being archived, in seconds.
    #[must_use]
    pub fn stuck_s(&self) -> i64 {
        let since = self.waits_since_s.map(|s| s.max(self.archived_s.unwrap_or(s)));
        since.map_or(0, |since| self.now_s - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let read = |text: &str| {
            let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
            ArchiveState::read(&output)
        };
        // As PostgreSQL 15 answered: before anything, and with an archive_command that fails.
        let fresh = read("0 0 0 0 1795926905 works\n").expect("an answer");
        assert_eq!((fresh.waits_since_s, fresh.stuck_s(), fresh.fails), (None, 0, false));
        let failing = read("1 16777216 1795926904 0 1795926910 fails\n").expect("an answer");
        assert_eq!((failing.waiting_bytes, failing.stuck_s(), failing.fails), (16 << 20, 6, true));
        let behind = read("9 150994944 100 400 410 works\n").expect("an answer");
        assert_eq!(behind.stuck_s(), 10, "it is behind, and gets on");
        for other in ["", "1 2 3\n", "x 0 0 0 1 works\n", "0 0 0 0 1 maybe\n"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
