//! The archiver: finished log on its way to the repositories, and what PostgreSQL can tell of it.

use ivory_core::read::Output;

use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::switchover::printed;
use crate::patroni::waits::{Alarm, Side};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::wal::{Change, Lsn, SEGMENT_BYTES};
use crate::time::{Span, Time};
use crate::world::Cx;
use crate::world::call::{Call, CallError, Reply};

/// How often a stopping server tries (`NUM_ARCHIVE_RETRIES`; measured with PostgreSQL 15: three tries, a second apart).
const LAST_TRIES: u32 = 3;

/// The archiver's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Archiver {
    /// A turn is planned.
    planned: bool,
    /// How many repositories still have to take what is under way.
    open: u32,
    /// Whether one of them did not take it.
    failed: bool,
    /// When the last segment switch was.
    switched_at: Time,
    /// `last_archived_time`.
    archived_at: Option<Time>,
    /// Whether the last try failed.
    fails: bool,
    /// The tries that are left to a server that stops.
    last_tries: u32,
}

impl Member {
    /// There is something to archive, or soon will be.
    pub(super) fn archive_soon(&mut self, cx: &mut Cx<'_>) {
        if self.archive.planned || !self.archives() || !self.pg.primary() {
            return;
        }
        self.archive.planned = true;
        // The first write after a switch is archived when archive_timeout is over.
        let due = self.archive.switched_at + durations::ARCHIVE_TIMEOUT;
        let wait = (due - cx.now()).max(Span::ms(100));
        self.alarm(cx, wait, Alarm::Archive);
    }

    fn archives(&self) -> bool {
        let on = self.dynamic.parameters.get("archive_mode").is_some_and(|m| m == "on");
        on && !self.repositories.is_empty()
    }

    /// `archive_timeout` is over: the segment is closed, and everything goes to every repository.
    pub(super) fn archive_turn(&mut self, cx: &mut Cx<'_>) {
        self.archive.planned = false;
        if self.archive.last_tries > 0 {
            return self.archive_push(cx);
        }
        if !self.pg.primary() || self.archive.open > 0 {
            return;
        }
        let (now, clock) = (cx.now(), cx.clock());
        let Some(data) = self.data(cx) else {
            return;
        };
        if data.archived >= data.end {
            return;
        }
        if !data.end.is_multiple_of(SEGMENT_BYTES) {
            if self.panics(cx) {
                return;
            }
            let Some(data) = self.data(cx) else { return };
            data.write(now, Change::Switch);
        }
        let Some(data) = self.data(cx) else { return };
        data.ready_since.get_or_insert(clock);
        self.archive.switched_at = now;
        self.push_log(cx);
        self.archive_push(cx);
    }

    /// One run of `archive_command` for all that waits.
    fn archive_push(&mut self, cx: &mut Cx<'_>) {
        let Some(data) = self.look(cx) else {
            return;
        };
        let end = data.end;
        // A standby's copy may begin in the middle of a segment that it takes for archived.
        let begin = data.archived.max(data.wal.begin());
        let records = data.wal.after(begin).unwrap_or_default();
        let request = |repo| BackrestRequest::Push {
            repo,
            system_id: data.system_id,
            history: data.history.clone(),
            timeline: data.timeline,
            records: records.into(),
            begin,
            end,
        };
        let requests: Vec<_> =
            self.repositories.iter().map(|t| (t.clone(), request(t.number))).collect();
        self.archive.failed = false;
        for (target, request) in requests {
            match self.repository(cx, &target) {
                Some(to) => {
                    self.archive.open += 1;
                    self.ask(cx, to, Call::Backrest(request), Span::s(60), Side::ArchivePush(end));
                }
                None => self.archive.failed = true,
            }
        }
        if self.archive.open == 0 {
            self.archive_tried(cx, end);
        }
    }

    pub(super) fn archive_pushed(
        &mut self,
        cx: &mut Cx<'_>,
        end: Lsn,
        reply: Result<Reply, CallError>,
    ) {
        self.archive.open = self.archive.open.saturating_sub(1);
        if !matches!(reply, Ok(Reply::Backrest(BackrestReply::Done))) {
            self.archive.failed = true;
        }
        if self.archive.open == 0 {
            self.archive_tried(cx, end);
        }
    }

    fn archive_tried(&mut self, cx: &mut Cx<'_>, end: Lsn) {
        let now = cx.clock();
        self.archive.fails = self.archive.failed;
        if !self.archive.failed {
            self.archive.archived_at = Some(now);
            if let Some(data) = self.data(cx) {
                data.archived = data.archived.max(end);
                data.ready_since = None;
            }
        }
        if self.archive.last_tries > 0 {
            self.archive.last_tries -= 1;
            if !self.archive.failed {
                self.archive.last_tries = 0;
            }
            return match self.archive.last_tries {
                0 => self.stop_archived(cx),
                _ => {
                    self.alarm(cx, Span::s(1), Alarm::Archive);
                }
            };
        }
        let behind = self.look(cx).is_some_and(|d| d.archived < d.end);
        if self.archive.failed || behind {
            self.archive_soon(cx);
        }
    }

    /// A primary that stops gives the archive what is left, and its postmaster waits for that. False when nothing is.
    pub(super) fn archive_last(&mut self, cx: &mut Cx<'_>) -> bool {
        let left = self.look(cx).is_some_and(|d| d.archived < d.end);
        if !self.archives() || !left {
            return false;
        }
        self.archive.last_tries = LAST_TRIES;
        let now = cx.clock();
        if let Some(data) = self.data(cx) {
            data.ready_since.get_or_insert(now);
        }
        // A try that is under way is the first of them.
        if self.archive.open == 0 {
            self.archive_push(cx);
        }
        true
    }

    /// What `pg_stat_archiver` and the files that are ready tell.
    pub(super) fn archive_state(&self, cx: &Cx<'_>) -> Output {
        let seconds = |at: Option<Time>| at.map_or(0, |at| at.timestamp().as_second());
        let waits = self.look(cx).and_then(|d| Some((d.ready_since?, d.end - d.archived)));
        let files = waits.map_or(0, |(_, bytes)| bytes.div_ceil(SEGMENT_BYTES).max(1));
        printed(format!(
            "{files} {} {} {} {} {}\n",
            files * SEGMENT_BYTES,
            seconds(waits.map(|(since, _)| since)),
            seconds(self.archive.archived_at),
            seconds(Some(cx.clock())),
            if self.archive.fails { "fails" } else { "works" },
        ))
    }
}
