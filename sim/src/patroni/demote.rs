//! Ceasing to be primary (patroni.md §2.9), and the end of the process.

use crate::patroni::action::Kind;
use crate::patroni::config::Version;
use crate::patroni::durations;
use crate::patroni::follow::RewindState;
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::receive::Receiver;
use crate::patroni::waits::{Alarm, Released, Side};
use crate::postgres::data::Control;
use crate::postgres::server::State;
use crate::postgres::sync_names::SyncNames;
use crate::postgres::wal::Lsn;
use crate::postgres::{SqlReply, StreamReply};
use crate::time::{Span, Time};
use crate::world::Cx;
use crate::world::call::Reply;

/// How a primary steps down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// The start takes too long, or a crash shall not be waited for.
    Immediate,
    /// The key is lost.
    ImmediateNoLock,
    /// The store can't be reached.
    Offline,
}

/// A graceful stop of PostgreSQL, for a switchover or for the end of the process.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    exit: bool,
    primary: bool,
    end: Lsn,
    /// When Patroni looks for the shutdown checkpoint first.
    notice_at: Time,
    /// Until when connected standbys are waited for (`wal_sender_timeout`).
    give_up_at: Time,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Standbys receive the shutdown checkpoint.
    Draining,
    /// Grace.
    Grace,
    /// The key is being given away.
    Releasing,
    /// The postmaster waits for its archiver.
    Archiving,
    /// All done.
    Over,
}

impl Stop {
    /// Whether the process ends with it.
    pub fn exits(&self) -> bool {
        self.exit
    }
}

impl Member {
    /// Steps down at once, and starts again as a standby of nobody.
    pub(super) fn demote(&mut self, cx: &mut Cx<'_>, mode: Mode) {
        self.action = None;
        self.doing = None;
        let why = match mode {
            Mode::Immediate => "gives up its crashed PostgreSQL",
            Mode::ImmediateNoLock => "lost the lock",
            Mode::Offline => "can't reach the Kubernetes API",
        };
        self.say(cx, format!("demotes: {why}"));
        let primary = self.pg.primary();
        self.stop_now(cx, primary, mode == Mode::Offline);
        self.role = Role::Demoted;
        self.word = Word::Stopped;
        self.pg.sync = SyncNames::None;
        self.arm_rewind();
        if mode == Mode::Immediate {
            self.touch(cx);
            return self.release(cx, Released::Nothing);
        }
        self.act(cx, Kind::StartStandby);
    }

    /// Connections break; who waited for an answer learns that it lost its server.
    pub(super) fn break_connections(&mut self, cx: &mut Cx<'_>) {
        let (clients, standbys) = self.pg.down();
        for ticket in clients {
            let reply = SqlReply::Error {
                code: "08006",
                message: "server closed the connection unexpectedly".into(),
            };
            cx.reply(ticket, Reply::Sql(reply));
        }
        for ticket in standbys {
            let reply = StreamReply::Refused("server closed the connection unexpectedly".into());
            cx.reply(ticket, Reply::Stream(reply));
        }
    }

    /// A wanted demotion: the loop goes on renewing until the key is given away.
    pub(super) fn begin_switchover(&mut self, cx: &mut Cx<'_>) {
        self.say(cx, "demotes: switchover");
        self.act(cx, Kind::Demote);
    }

    /// SIGTERM.
    pub(super) fn terminate(&mut self, cx: &mut Cx<'_>) {
        if self.stopping.as_ref().is_some_and(Stop::exits) {
            return;
        }
        if self.dynamic.pause || self.dcs.is_none() {
            let primary = self.pg.primary();
            self.stop_now(cx, primary, false);
            return cx.exit(0);
        }
        self.say(cx, "stops");
        self.doing = None;
        self.action = None;
        if let Some(stop) = &mut self.stopping {
            stop.exit = true;
            return;
        }
        self.begin_stop(cx, true);
    }

    /// The checkpoint before the stop is written; now the stop itself.
    pub(super) fn stop_begin(&mut self, cx: &mut Cx<'_>) {
        self.role = Role::Demoted;
        self.begin_stop(cx, false);
    }

    fn begin_stop(&mut self, cx: &mut Cx<'_>, exit: bool) {
        let now = cx.now();
        let primary = self.pg.primary() && !self.panics(cx);
        self.word = Word::Stopping;
        if !primary {
            self.stop_now(cx, false, true);
            self.word = Word::Stopped;
            let wait = durations::STOP_FAST;
            self.stopping = Some(self.stop(now, exit, false, 0, wait));
            self.alarm(cx, wait, Alarm::Stop);
            return;
        }
        self.pg.state = State::Stopping;
        let end = self.data(cx).map_or(0, |data| {
            data.checkpoint(now, true);
            data.end
        });
        self.push_log(cx);
        let wait = durations::NOTICE_SHUTDOWN + self.checkpoint_time(cx);
        self.stopping = Some(self.stop(now, exit, true, end, wait));
        self.alarm(cx, wait, Alarm::Stop);
    }

    fn stop(&self, now: Time, exit: bool, primary: bool, end: Lsn, wait: Span) -> Stop {
        Stop {
            exit,
            primary,
            end,
            notice_at: now + wait,
            give_up_at: now + Span::s(60),
            stage: Stage::Draining,
        }
    }

    /// Goes on with a graceful stop: by its alarm, and when a standby acknowledges log.
    pub(super) fn stop_progress(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(stop) = self.stopping.clone() else {
            return;
        };
        let next = |member: &mut Self, stage| {
            if let Some(stop) = &mut member.stopping {
                stop.stage = stage;
            }
        };
        match stop.stage {
            Stage::Draining if now < stop.notice_at => {}
            Stage::Draining => {
                self.pg.drop_disconnected(|ticket| cx.awaited(ticket));
                let drained = !stop.primary || self.pg.all_caught_up(now, stop.end);
                if !drained && now < stop.give_up_at {
                    self.alarm(cx, Span::ms(1000), Alarm::Stop);
                    return;
                }
                next(self, Stage::Grace);
                let grace = stop.primary && self.version() >= Version(3, 2, 1);
                let wait = if grace { durations::GRACE } else { Span::ZERO };
                self.alarm(cx, wait, Alarm::Stop);
            }
            Stage::Grace => {
                next(self, Stage::Releasing);
                if self.store().recorded_leader() == Some(&*self.config.name) {
                    let request = self.release_request(cx);
                    self.leader_expiry = None;
                    self.submit(cx, request, Side::StopRelease);
                } else {
                    self.stop_released(cx);
                }
            }
            Stage::Releasing | Stage::Archiving => {}
            // SIGTERM came while Patroni waited after a demotion.
            Stage::Over if stop.exit => {
                self.alarm(cx, durations::EXIT, Alarm::Exit(0));
            }
            Stage::Over => {
                // After a demotion that gave the key away Patroni waits, then looks for the new leader.
                self.stopping = None;
                self.done(cx);
            }
        }
    }

    /// The key is given away, or could not be.
    pub(super) fn stop_released(&mut self, cx: &mut Cx<'_>) {
        let Some(stop) = self.stopping.as_mut() else {
            return;
        };
        stop.stage = Stage::Archiving;
        let primary = stop.primary;
        if primary && let Some(data) = self.data(cx) {
            data.control = Control::ShutDown;
        }
        self.break_connections(cx);
        self.receiver = Receiver::default();
        if !primary || !self.archive_last(cx) {
            self.stop_archived(cx);
        }
    }

    /// The archiver has made its last tries, and the postmaster is gone.
    pub(super) fn stop_archived(&mut self, cx: &mut Cx<'_>) {
        let Some(stop) = self.stopping.as_mut() else {
            return;
        };
        stop.stage = Stage::Over;
        let exit = stop.exit;
        self.word = Word::Stopped;
        self.pg.sync = SyncNames::None;
        self.rewind = RewindState::Idle;
        self.arm_rewind();
        self.touch(cx);
        if exit {
            self.alarm(cx, durations::EXIT, Alarm::Exit(0));
        } else {
            self.alarm(cx, durations::AFTER_DEMOTE, Alarm::Stop);
        }
    }
}
