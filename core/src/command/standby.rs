//! What a standby cluster's leader can tell of what reaches it.

use crate::postgres::sql::PREAMBLE;
use crate::read::Output;
use crate::sensitive::Sensitive;

/// One line of three words: whether it streams, and when the newest transaction was committed that it has replayed and its
/// own time, in seconds since 1970 (0 for none).
const SQL: &str = r"\pset tuples_only on
\pset format unaligned
SELECT pg_catalog.concat_ws(' ',
       CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming')
            THEN 'streaming' ELSE 'not-streaming' END,
       COALESCE(pg_catalog.date_part('epoch', pg_catalog.pg_last_xact_replay_timestamp())::bigint, 0),
       pg_catalog.date_part('epoch', pg_catalog.now())::bigint);
";

/// Asks a standby what reaches it.
pub(super) fn script() -> Sensitive {
    Sensitive::text(&format!("{PREAMBLE}{SQL}"))
}

/// What reaches a standby. Times are seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandbyState {
    /// It is connected to its source.
    pub streaming: bool,
    /// When the newest transaction was committed that it has replayed, by the source's clock.
    pub replayed_s: Option<i64>,
    /// When this was said, by its own.
    pub now_s: i64,
}

impl StandbyState {
    /// Reads the answer to [`super::Command::StandbyState`]; none for anything else.
    #[must_use]
    pub fn read(output: &Output) -> Option<Self> {
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        let [streaming, replayed, now] = words[..] else { return None };
        let replayed: i64 = replayed.parse().ok()?;
        Some(Self {
            streaming: match streaming {
                "streaming" => true,
                "not-streaming" => false,
                _ => return None,
            },
            replayed_s: (replayed > 0).then_some(replayed),
            now_s: now.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        for (text, expected) in [
            ("streaming 100 110\n", Some((true, Some(100)))),
            ("not-streaming 0 110\n", Some((false, None))),
            ("100 110\n", None),
            ("maybe 100 110\n", None),
            ("", None),
        ] {
            let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
            let read = StandbyState::read(&output).map(|s| (s.streaming, s.replayed_s));
            assert_eq!(read, expected, "{text}");
        }
    }
}
