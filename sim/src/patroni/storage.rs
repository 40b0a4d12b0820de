//! What a sick disk does to PostgreSQL: it is full, it takes no writes at all, or it is slow. Where the log can't be
//! written the server ends with a PANIC, standby or not (`XLogWrite`, `XLogWalRcvWrite`), and recovery needs the log, too;
//! without room beside the data a running server refuses what grows (53100), and one that starts can't write its
//! `postmaster.pid`. A read-only file system is the same with another word (EROFS), and growth does not heal it.

use ivory_core::read::Output;

use crate::disk::Trouble;
use crate::patroni::member::{Member, Word};
use crate::patroni::switchover::printed;
use crate::patroni::waits::Alarm;
use crate::postgres::SqlReply;
use crate::time::Span;
use crate::world::call::Reply;
use crate::world::{Cx, Ticket};

/// How many flushes the checkpoint of a stop or the recovery of a start waits for, about: of each file that changed.
const FLUSHES: i64 = 10;

impl Member {
    /// The volume with the log: the one of its own, if it is there.
    fn log_volume(&self, cx: &Cx<'_>) -> std::sync::Arc<str> {
        let own = self.look(cx).is_some_and(|d| d.wal_directory.starts_with("/pgwal/"));
        self.wal_volume.clone().filter(|_| own).unwrap_or_else(|| self.volume.clone())
    }

    /// What is wrong with the volume that the log is written to.
    pub(super) fn log_trouble(&self, cx: &Cx<'_>) -> Option<Trouble> {
        cx.disk(&self.log_volume(cx))?.trouble
    }

    /// What is wrong with a volume that is needed for a start.
    pub(super) fn start_trouble(&self, cx: &Cx<'_>) -> Option<Trouble> {
        cx.disk(&self.volume).and_then(|v| v.trouble).or_else(|| self.log_trouble(cx))
    }

    /// How long a flush of the log takes beyond what it takes on a good disk.
    pub(super) fn flush_time(&self, cx: &Cx<'_>) -> Span {
        cx.disk(&self.log_volume(cx)).map_or(Span::ZERO, |v| v.slow)
    }

    /// How much longer a stop's checkpoint or a start's recovery takes.
    pub(super) fn checkpoint_time(&self, cx: &Cx<'_>) -> Span {
        Span(self.flush_time(cx).0 * FLUSHES)
    }

    /// What `df` and `/proc/mounts` tell of the volumes.
    pub(super) fn volume_state(&self, cx: &Cx<'_>) -> Output {
        let mounts = [("/pgdata", Some(&self.volume)), ("/pgwal", self.wal_volume.as_ref())];
        let line = |(mount, volume): (&str, Option<&std::sync::Arc<str>>)| {
            let disk = cx.disk(volume?)?;
            let full = disk.trouble == Some(Trouble::Full);
            let free_kib = if full { 0 } else { disk.capacity_bytes >> 11 };
            let mode = if disk.trouble == Some(Trouble::ReadOnly) { "ro" } else { "rw" };
            Some(format!("{mount} {free_kib} {mode}\n"))
        };
        printed(mounts.into_iter().filter_map(line).collect::<String>())
    }

    /// Before the log is written: true if it can't be, and then the server is down.
    pub(super) fn panics(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(trouble) = self.log_trouble(cx) else { return false };
        if self.pg.up() {
            self.say(cx, format!("PANIC:  could not write to its log: {}", trouble.text()));
            let primary = self.pg.primary();
            self.stop_now(cx, primary, false);
        }
        true
    }

    /// Why a statement that writes is refused although the log has room.
    pub(super) fn no_room(&self, cx: &Cx<'_>) -> Option<SqlReply> {
        let trouble = cx.disk(&self.volume)?.trouble?;
        let message = format!("could not extend file \"base/5/16384\": {}", trouble.text());
        Some(SqlReply::Error { code: "53100", message })
    }

    /// PostgreSQL was started, and ended at once.
    pub(super) fn start_failed(&mut self, cx: &mut Cx<'_>, trouble: Trouble) {
        if self.cant_start != Some(trouble) {
            self.cant_start = Some(trouble);
            let why = trouble.text();
            self.say(cx, format!("can't start: could not create \"postmaster.pid\": {why}"));
        }
        self.pg.state = crate::postgres::server::State::Down;
        self.word = Word::StartFailed;
        self.start_deadline = None;
        self.touch(cx);
        self.done(cx);
    }

    /// A commit is acknowledged: at once, or when a slow disk has flushed it.
    pub(super) fn committed(&mut self, cx: &mut Cx<'_>, ticket: Ticket) {
        match self.flush_time(cx) {
            Span::ZERO => cx.reply(ticket, Reply::Sql(SqlReply::Committed)),
            wait => {
                self.alarm(cx, wait, Alarm::Flushed(ticket));
            }
        }
    }

    /// A slow disk has flushed a commit, if its server still runs.
    pub(super) fn flushed(&mut self, cx: &mut Cx<'_>, ticket: Ticket) {
        let reply = if self.pg.primary() {
            SqlReply::Committed
        } else {
            let message = "server closed the connection unexpectedly".into();
            SqlReply::Error { code: "08006", message }
        };
        cx.reply(ticket, Reply::Sql(reply));
    }
}
