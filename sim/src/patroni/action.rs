//! The one slot for long work beside the loop (patroni.md §2.2-B): bootstrap, starts, promotion, restart,
//! copies. The loop goes on renewing the key meanwhile.

use crate::disk::Trouble;
use crate::patroni::clone::Copying;
use crate::patroni::config::ReplicaMethod;
use crate::patroni::durations;
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::receive::Upstream;
use crate::patroni::waits::{Alarm, Side};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::data::DataDirectory;
use crate::postgres::server::State;
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `initdb`, then a start as primary.
    Initdb,
    /// A prepared directory is renamed and started as primary.
    Existing,
    /// A custom bootstrap command that fails.
    Failing,
    /// The directory is filled from somewhere else.
    Copy(Copying),
    /// A crashed primary starts again as one.
    StartPrimary,
    /// A start as standby.
    StartStandby,
    /// Crash recovery in single-user mode.
    CrashRecovery,
    /// Promotion.
    Promote,
    /// Restart in the same role; who waits for it.
    Restart(Option<Ticket>),
    /// A graceful demotion, whose steps are [`super::demote::Stop`]'s.
    Demote,
}

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub kind: Kind,
    pub stage: u8,
    pub alarm: u64,
}

/// Whether a step of some work ends in a start of PostgreSQL.
fn starts(kind: &Kind, stage: u8) -> bool {
    match kind {
        Kind::Initdb | Kind::Existing | Kind::StartPrimary | Kind::StartStandby => true,
        Kind::CrashRecovery => true,
        Kind::Restart(_) => stage > 0,
        Kind::Failing | Kind::Copy(_) | Kind::Promote | Kind::Demote => false,
    }
}

impl Member {
    /// Begins long work; the turn of the loop ends with it.
    pub(super) fn act(&mut self, cx: &mut Cx<'_>, kind: Kind) {
        self.begin_action(cx, kind);
        self.finish(cx);
    }

    /// Begins long work, outside a turn of the loop.
    pub(super) fn begin_action(&mut self, cx: &mut Cx<'_>, kind: Kind) {
        let first = match &kind {
            Kind::Initdb => {
                self.word = Word::Initializing;
                self.say(cx, "initializes a new cluster");
                durations::INITDB
            }
            Kind::Existing | Kind::Failing => {
                self.word = Word::CustomBootstrap;
                self.say(cx, "starts from the restored directory");
                durations::EXISTING
            }
            Kind::Copy(_) => {
                self.word = Word::CreatingReplica;
                Span::ZERO
            }
            Kind::StartPrimary | Kind::StartStandby => {
                self.pg.state = State::Starting;
                self.word = Word::Starting;
                self.start_deadline = Some(cx.now() + self.dynamic.primary_start_timeout);
                let failing = self.start_trouble(cx).is_some();
                let noticed = if failing { durations::START_FAILS } else { durations::START };
                noticed + self.checkpoint_time(cx)
            }
            Kind::CrashRecovery => durations::CRASH_RECOVERY + self.checkpoint_time(cx),
            Kind::Promote => {
                self.action = Some(Action { kind, stage: 0, alarm: 0 });
                return self.ask_for_timeline(cx);
            }
            Kind::Restart(_) => {
                self.word = Word::Restarting;
                durations::CHECKPOINT_BEFORE_STOP
            }
            Kind::Demote => durations::CHECKPOINT_BEFORE_STOP,
        };
        let alarm = self.alarm(cx, first, Alarm::Action);
        self.action = Some(Action { kind, stage: 0, alarm });
    }

    /// Sets the running action's next step.
    pub(super) fn next_stage(&mut self, cx: &mut Cx<'_>, after: Span) {
        let alarm = self.alarm(cx, after, Alarm::Action);
        if let Some(action) = &mut self.action {
            action.stage += 1;
            action.alarm = alarm;
        }
    }

    /// The running action is over; the loop looks what came of it.
    pub(super) fn done(&mut self, cx: &mut Cx<'_>) {
        self.action = None;
        self.wake(cx);
    }

    pub(super) fn action_step(&mut self, cx: &mut Cx<'_>, token: u64) {
        let Some(action) = self.action.as_ref().filter(|a| a.alarm == token) else {
            return;
        };
        let (kind, stage) = (action.kind.clone(), action.stage);
        if starts(&kind, stage)
            && let Some(trouble) = self.start_trouble(cx)
        {
            return self.not_started(cx, &kind, trouble);
        }
        match kind {
            Kind::Initdb => self.initialized(cx),
            Kind::Existing => self.existing_started(cx),
            Kind::Failing => {
                self.word = Word::CustomFailed;
                self.bootstrap_failed = true;
                self.done(cx);
            }
            Kind::Copy(copying) => self.copy_step(cx, copying),
            Kind::StartPrimary => {
                self.accept(cx, State::Primary);
                self.role = Role::Primary;
                self.done(cx);
            }
            Kind::StartStandby => {
                if self.role != Role::StandbyLeader {
                    self.role = Role::Replica;
                }
                self.accept(cx, State::Standby);
                self.done(cx);
            }
            Kind::CrashRecovery => {
                let now = cx.now();
                if let Some(data) = self.data(cx) {
                    data.recover_single_user(now);
                }
                self.done(cx);
            }
            Kind::Promote => self.promoted(cx),
            Kind::Restart(asker) => self.restart_step(cx, asker, stage),
            Kind::Demote => self.stop_begin(cx),
        }
    }

    /// A disk keeps PostgreSQL from starting; what is made of that depends on what was to be done.
    fn not_started(&mut self, cx: &mut Cx<'_>, kind: &Kind, trouble: Trouble) {
        match kind {
            Kind::Initdb | Kind::Existing => {
                self.word =
                    if *kind == Kind::Initdb { Word::InitdbFailed } else { Word::CustomFailed };
                self.bootstrap_failed = true;
                self.say(cx, format!("fails to initialize: {}", trouble.text()));
                self.done(cx);
            }
            Kind::CrashRecovery => self.done(cx),
            Kind::Restart(asker) => {
                if let Some(asker) = asker {
                    let reply = super::rest::RestReply::Code(503, "restart failed".into());
                    cx.reply(*asker, Reply::Rest(reply));
                }
                self.start_failed(cx, trouble);
            }
            _ => self.start_failed(cx, trouble),
        }
    }

    fn initialized(&mut self, cx: &mut Cx<'_>) {
        // A system identifier is made of the time, the process and luck: 19 digits.
        let id = 7_000_000_000_000_000_000 + cx.rng("system-id").below(900_000_000_000_000_000);
        let fresh =
            DataDirectory::initialize(self.config.postgres_version, id, &self.config.wal_directory);
        let directory = self.config.directory.clone();
        let Some(volume) = cx.volume(&self.volume) else {
            self.word = Word::InitdbFailed;
            self.bootstrap_failed = true;
            return self.done(cx);
        };
        volume.directories.insert(directory, fresh);
        self.accept(cx, State::Primary);
        self.role = Role::Primary;
        self.done(cx);
    }

    fn existing_started(&mut self, cx: &mut Cx<'_>) {
        let directory = self.config.directory.clone();
        let prepared = format!("{directory}_bootstrap");
        let there = cx.volume(&self.volume).is_some_and(|v| v.rename(&prepared, &directory));
        if !there {
            self.word = Word::CustomFailed;
            self.bootstrap_failed = true;
            return self.done(cx);
        }
        if let Some(data) = self.data(cx) {
            data.standby_signal = false;
        }
        self.accept(cx, State::Primary);
        self.role = Role::Primary;
        self.done(cx);
    }

    /// A promotion needs a timeline that not even the archive knows (§6.1).
    fn ask_for_timeline(&mut self, cx: &mut Cx<'_>) {
        let asked = self.repositories.first().cloned().and_then(|target| {
            let to = self.repository(cx, &target)?;
            Some((to, BackrestRequest::NewestTimeline { repo: target.number }))
        });
        match asked {
            Some((to, request)) => {
                self.ask(cx, to, Call::Backrest(request), Span::s(2), Side::Action)
            }
            None => self.promote_to(cx, 0),
        }
    }

    fn promote_to(&mut self, cx: &mut Cx<'_>, known: u32) {
        let local = self.look(cx).map_or(1, |d| d.timeline);
        self.role = Role::Promoted;
        self.next_timeline = known.max(local) + 1;
        self.next_stage(cx, durations::PROMOTE);
    }

    /// B2: a promotion that has not begun is called off.
    pub(super) fn cancel_promotion(&mut self) {
        let waits = |a: &Action| a.kind == Kind::Promote && a.stage == 0;
        if self.action.as_ref().is_some_and(waits) {
            self.action = None;
        }
    }

    fn promoted(&mut self, cx: &mut Cx<'_>) {
        if self.panics(cx) {
            return self.done(cx);
        }
        let (now, timeline) = (cx.now(), self.next_timeline);
        if let Some(data) = self.data(cx) {
            data.promote(now, timeline);
        }
        self.pg.state = State::Primary;
        self.role = Role::Primary;
        self.receiver = super::receive::Receiver::default();
        self.checkpointed = false;
        self.rewind = super::follow::RewindState::Idle;
        self.leader_expiry = Some(now + self.dynamic.ttl);
        self.say(cx, format!("promotes: timeline {timeline}"));
        self.alarm(cx, durations::CHECKPOINT, Alarm::Checkpointed);
        self.push_log(cx);
        self.done(cx);
    }

    pub(super) fn post_promote_checkpoint(&mut self, cx: &mut Cx<'_>) {
        if !self.pg.primary() || self.panics(cx) {
            return;
        }
        let now = cx.now();
        if let Some(data) = self.data(cx) {
            data.checkpoint(now, false);
        }
        self.checkpointed = true;
        self.push_log(cx);
        self.archive_soon(cx);
        self.wake(cx);
    }

    fn restart_step(&mut self, cx: &mut Cx<'_>, asker: Option<Ticket>, stage: u8) {
        if stage == 0 {
            let primary = self.pg.primary();
            self.restart_as = if primary { State::Primary } else { State::Standby };
            let upstream = self.receiver.upstream.clone();
            self.stop_now(cx, primary, true);
            self.receiver.upstream = upstream;
            self.pg.state = State::Starting;
            return self.next_stage(cx, durations::START + durations::STOP_FAST + Span::ms(600));
        }
        self.accept(cx, self.restart_as);
        self.say(cx, "restarted");
        if let Some(asker) = asker {
            let reply = super::rest::RestReply::Code(200, "restarted successfully".into());
            cx.reply(asker, Reply::Rest(reply));
        }
        self.done(cx);
    }

    /// An answer for the running action.
    pub(super) fn action_reply(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        let Some(action) = &self.action else {
            return;
        };
        match action.kind.clone() {
            Kind::Promote if action.stage == 0 => {
                let known = match reply {
                    Ok(Reply::Backrest(BackrestReply::Timeline(known))) => known,
                    _ => 0,
                };
                self.promote_to(cx, known);
            }
            Kind::Copy(copying) => self.copied(cx, copying, reply),
            _ => {}
        }
    }

    /// Fills the directory from a member or the remote, or from a repository.
    pub(super) fn copy_from(
        &mut self,
        cx: &mut Cx<'_>,
        source: Option<Upstream>,
        methods: Vec<ReplicaMethod>,
        rewind: bool,
    ) {
        self.act(cx, Kind::Copy(Copying::new(source, methods, rewind)));
    }
}
