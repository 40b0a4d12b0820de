//! The actor: its state, and how inputs find their way to the loop, to PostgreSQL, and to what runs beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kube::{Content, Request, Response};
use crate::patroni::action::Action;
use crate::patroni::config::{Dynamic, MemberConfig, Version};
use crate::patroni::dcs::{Dcs, Heard};
use crate::patroni::durations;
use crate::patroni::programs::Files;
use crate::patroni::receive::Receiver;
use crate::patroni::waits::{Alarm, Doing, Side, Then};
use crate::pgbackrest::RepoTarget;
use crate::postgres::auth::Certificate;
use crate::postgres::data::{Control, DataDirectory};
use crate::postgres::parameters;
use crate::postgres::parameters::Waiting;
use crate::postgres::server::{Server, State};
use crate::time::{Span, Time};
use crate::world::call::{Call, CallError, Reply};
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Input, Probe, Signal, Ticket, Where};

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct MemberStart {
    /// Settings.
    pub config: MemberConfig,
    /// The PersistentVolume with the data directory.
    pub volume: Arc<str>,
    /// The PersistentVolume at `/pgwal`, for the log.
    pub wal_volume: Option<Arc<str>>,
    /// The certificate for clients.
    pub certificate: Option<Certificate>,
    /// Repositories by their number, as pgBackRest's configuration in the container has them.
    pub repositories: Vec<RepoTarget>,
    /// Contents of pgBackRest's `config-hash`.
    pub config_hash: Arc<str>,
    /// Where the last three come from when the files change; none when they never do.
    pub files: Option<Files>,
}

/// The published word for PostgreSQL's state (§1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Word {
    Stopped,
    Initializing,
    InitdbFailed,
    CustomBootstrap,
    CustomFailed,
    CreatingReplica,
    Running,
    Starting,
    Restarting,
    Stopping,
    Crashed,
    StartFailed,
}

/// The published word for the role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    Primary,
    Replica,
    StandbyLeader,
    Demoted,
    Promoted,
    Uninitialized,
}

/// Patroni and PostgreSQL of one Pod.
#[derive(Clone)]
pub struct Member {
    pub(super) actor_name: Arc<str>,
    pub(super) config: Arc<MemberConfig>,
    pub(super) volume: Arc<str>,
    pub(super) wal_volume: Option<Arc<str>>,
    pub(super) repositories: Arc<Vec<RepoTarget>>,
    pub(super) config_hash: Arc<str>,
    /// The user's own SQL by its token: when psql ends, and with which status.
    pub(super) init_sql: Arc<BTreeMap<String, (Time, i32)>>,
    pub(super) files: Option<Files>,
    pub(super) dcs: Option<Dcs>,
    pub(super) dynamic: Arc<Dynamic>,
    pub(super) dynamic_rv: u64,
    pub(super) dynamic_text: Arc<str>,
    pub(super) pg: Server,
    pub(super) receiver: Receiver,
    pub(super) word: Word,
    pub(super) role: Role,
    pub(super) doing: Option<Doing>,
    pub(super) action: Option<Action>,
    pub(super) side: BTreeMap<Ticket, Side>,
    pub(super) alarms: BTreeMap<u64, Alarm>,
    pub(super) next_alarm: u64,
    /// When the loop shall run next, and when its timer rings.
    pub(super) next_at: Time,
    pub(super) tick_at: Option<Time>,
    pub(super) wake: bool,
    pub(super) last_loop: Time,
    /// From when the next turn is counted.
    pub(super) base: Time,
    pub(super) leader_expiry: Option<Time>,
    /// Until when failsafe mode keeps the leader of the last known record.
    pub(super) failsafe_until: Option<Time>,
    pub(super) bootstrapping: bool,
    pub(super) bootstrap_failed: bool,
    pub(super) recovering: bool,
    pub(super) called_back: bool,
    pub(super) crash_recovered: bool,
    pub(super) rewind: super::follow::RewindState,
    pub(super) start_deadline: Option<Time>,
    /// What kept PostgreSQL from starting the last time.
    pub(super) cant_start: Option<crate::disk::Trouble>,
    pub(super) checkpointed: bool,
    pub(super) pending_restart: Vec<Waiting>,
    pub(super) stopping: Option<super::demote::Stop>,
    pub(super) published: super::status::Published,
    pub(super) history_written: u32,
    pub(super) sync_since: BTreeMap<Arc<str>, u64>,
    pub(super) archive: super::archiver::Archiver,
    pub(super) hung_until: Option<Time>,
    pub(super) was_paused: bool,
    /// Conversations that ask several: how many are open, and whether one was good.
    pub(super) talks: BTreeMap<Ticket, (u32, bool)>,
    /// Repositories' answers for `pgbackrest info`, by asker.
    pub(super) infos: BTreeMap<Ticket, BTreeMap<u8, Option<crate::pgbackrest::StanzaInfo>>>,
    /// The timeline that a promotion under way will make.
    pub(super) next_timeline: u32,
    /// What a restart under way becomes.
    pub(super) restart_as: State,
    /// Set when the leader's key was lost to a conflict in this life, for readers of a failing run.
    pub(super) lost_leases: u32,
}

/// The loop's timer; alarms have tokens above it.
const TICK: u64 = 0;

impl Member {
    /// A member that has yet to start. Give its actor a place with ports 5432 and 8008.
    #[must_use]
    pub fn new(start: MemberStart) -> Self {
        let version = start.config.version;
        let config = &start.config;
        let dynamic = Dynamic::read(&config.bootstrap_dcs, version)
            .unwrap_or_else(|| Dynamic::default_for(version));
        Self {
            actor_name: format!("patroni/{}/{}", config.namespace, config.name).into(),
            volume: start.volume,
            wal_volume: start.wal_volume,
            repositories: Arc::new(start.repositories),
            config_hash: start.config_hash,
            init_sql: Arc::default(),
            files: start.files,
            dcs: None,
            dynamic: Arc::new(dynamic),
            dynamic_rv: 0,
            dynamic_text: "".into(),
            pg: {
                let mut server = Server::default();
                server.certificate = start.certificate;
                server
            },
            receiver: Receiver::default(),
            word: Word::Stopped,
            role: Role::Uninitialized,
            doing: None,
            action: None,
            side: BTreeMap::new(),
            alarms: BTreeMap::new(),
            next_alarm: TICK,
            next_at: Time::START,
            tick_at: None,
            wake: false,
            last_loop: Time::START,
            base: Time::START,
            leader_expiry: None,
            failsafe_until: None,
            bootstrapping: false,
            bootstrap_failed: false,
            recovering: false,
            called_back: false,
            crash_recovered: false,
            rewind: super::follow::RewindState::Idle,
            start_deadline: None,
            cant_start: None,
            checkpointed: true,
            pending_restart: Vec::new(),
            stopping: None,
            published: super::status::Published::default(),
            history_written: 0,
            sync_since: BTreeMap::new(),
            archive: super::archiver::Archiver::default(),
            hung_until: None,
            was_paused: false,
            talks: BTreeMap::new(),
            infos: BTreeMap::new(),
            next_timeline: 0,
            restart_as: State::Standby,
            lost_leases: 0,
            config: Arc::new(start.config),
        }
    }

    /// Whether PostgreSQL accepts writes.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.pg.primary()
    }

    /// Whether Patroni takes it for a primary (`is_primary`): by what it was last while PostgreSQL refuses connections, so that
    /// one that recovers from a crash and has lost the lock is demoted at once.
    pub(super) fn taken_for_primary(&self) -> bool {
        let starts = self.pg.state == State::Starting && self.role == Role::Primary;
        self.pg.primary() || starts
    }

    /// Whether PostgreSQL accepts connections.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.pg.up()
    }

    /// Whether its PostgreSQL waits for a restart.
    pub fn waits_for_restart(&self) -> bool {
        !self.pending_restart.is_empty()
    }

    /// Whether PostgreSQL is a standby that receives log.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.pg.state == State::Standby && (self.receiver.streaming() || self.receiver.from_archive)
    }

    /// Whether it leads a cluster that follows another one: it holds the key, and PostgreSQL stays a standby.
    #[must_use]
    pub fn standby_leader(&self, now: Time) -> bool {
        self.role == Role::Replica && self.dynamic.standby.is_some() && self.holds_key(now)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// The PersistentVolume with the data directory.
    #[must_use]
    pub fn volume(&self) -> &str {
        &self.volume
    }

    /// The kubelet wrote the files anew: PostgreSQL is told to reload its certificate, pgBackRest reads its
    /// files at every start. Patroni's own files are read again only by a restart.
    fn remounted(&mut self, mounts: &crate::node::Mounts) {
        if let Some(files) = self.files.clone() {
            // A pair that can't be loaded leaves the former in force.
            if let Some(pair) = files.certificate(mounts).filter(Certificate::loads) {
                self.pg.certificate = Some(pair);
            }
            self.repositories = Arc::new(files.repositories(mounts));
            self.config_hash = files.config_hash(mounts);
        }
    }

    /// The running server.
    #[must_use]
    pub fn postgres(&self) -> &Server {
        &self.pg
    }

    /// Its role, in Patroni's word.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role.text(self.version())
    }

    /// How often this process lost the leader's key to a conflict.
    #[must_use]
    pub fn lost_leases(&self) -> u32 {
        self.lost_leases
    }

    pub(super) fn version(&self) -> Version {
        self.config.version
    }

    /// The data directory, for changing. Borrows the world only, so that PostgreSQL can be used beside it.
    pub(super) fn data<'a>(&self, cx: &'a mut Cx<'_>) -> Option<&'a mut DataDirectory> {
        let volume = cx.volume(&self.volume)?;
        volume.directories.get_mut(&self.config.directory)
    }

    /// The data directory, for looking at.
    pub(super) fn look<'a>(&self, cx: &'a Cx<'_>) -> Option<&'a DataDirectory> {
        cx.disk(&self.volume)?.directories.get(&self.config.directory)
    }

    pub(super) fn say(&self, cx: &mut Cx<'_>, text: impl Into<String>) {
        cx.note(Milestone::Database { pod: self.config.name.clone(), text: text.into() });
    }

    pub(super) fn store(&self) -> &Dcs {
        self.dcs.as_ref().unwrap_or_else(|| unreachable!("opened at the start"))
    }

    /// The leader's name, if it has one that is valid.
    pub(super) fn holds_key(&self, now: Time) -> bool {
        self.leader(now) == Some(&*self.config.name)
    }

    pub(super) fn alarm(&mut self, cx: &mut Cx<'_>, after: Span, alarm: Alarm) -> u64 {
        self.next_alarm += 1;
        self.alarms.insert(self.next_alarm, alarm);
        cx.timer(after, self.next_alarm);
        self.next_alarm
    }

    pub(super) fn submit(&mut self, cx: &mut Cx<'_>, request: Request, side: Side) {
        let ticket = cx.submit(request);
        self.side.insert(ticket, side);
    }

    pub(super) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        to: Where,
        call: Call,
        deadline: Span,
        side: Side,
    ) {
        let ticket = cx.call(to, call, deadline);
        self.side.insert(ticket, side);
    }

    /// Starts an operation on the store for which the loop waits.
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>, request: Request, then: Then) {
        self.doing = Some(Doing { request: Some(request), ..Doing::since(cx.now(), then) });
        self.send(cx);
    }

    /// Asks for what the loop waits for. An answer is awaited for half of the time that is left, as long as that is
    /// a second or more (`KubernetesClient._calculate_timeouts` of 4.1.4).
    fn send(&mut self, cx: &mut Cx<'_>) {
        let Some(doing) = &mut self.doing else { return };
        let Some(request) = &doing.request else { return };
        doing.ticket = Some(cx.submit(request.clone()));
        let left = doing.since + self.dynamic.retry_timeout - cx.now();
        let half = Span(left.0 / 2);
        doing.again_at = cx.now() + if half < Span::s(1) { left } else { half };
        let again_at = doing.again_at;
        self.tick_by(cx, again_at);
    }

    /// Makes the loop's timer ring at this moment or earlier. There is one timer, not one a turn.
    pub(super) fn tick_by(&mut self, cx: &mut Cx<'_>, at: Time) {
        if self.tick_at.is_none_or(|t| t > at) {
            self.tick_at = Some(at);
            cx.timer((at - cx.now()).max(Span::ZERO), TICK);
        }
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        if self.tick_at.is_none_or(|t| t > now) {
            return;
        }
        self.tick_at = None;
        if self.dcs.is_none() || self.stopping.as_ref().is_some_and(|s| s.exits()) {
            return;
        }
        if let Some(doing) = &self.doing {
            if doing.ticket.is_none() && doing.request.is_none() {
                return;
            }
            let deadline = doing.since + self.dynamic.retry_timeout;
            let again_at = if doing.ticket.is_some() { doing.again_at } else { deadline };
            if now >= deadline {
                self.doing = None;
                self.store_failed(cx);
            } else if now >= again_at {
                self.send(cx);
            } else {
                self.tick_by(cx, again_at);
            }
        } else if now >= self.next_at || self.wake {
            self.cycle(cx);
        } else {
            self.tick_by(cx, self.next_at);
        }
    }

    /// Something happened that the loop shall look at now.
    pub(super) fn wake(&mut self, cx: &mut Cx<'_>) {
        self.wake = true;
        if self.doing.is_none() {
            let now = cx.now();
            self.tick_by(cx, now);
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        self.dcs = Some(Dcs::open(cx, &self.config, self.files.is_some()));
        self.last_loop = cx.now();
        self.base = cx.now();
        self.next_at = cx.now();
        let found = self.look(cx).map(|d| (d.standby_signal, d.dynamic.clone()));
        match found {
            None => self.role = Role::Uninitialized,
            Some((true, _)) => self.role = Role::Replica,
            Some((false, _)) => self.role = Role::Demoted,
        }
        if let Some((_, Some(text))) = found
            && let Some(dynamic) = Dynamic::parse(&text, self.version())
        {
            self.dynamic = Arc::new(dynamic);
            self.dynamic_text = text;
        }
    }

    fn response(&mut self, cx: &mut Cx<'_>, ticket: Ticket, response: Response) {
        if let Ok(crate::kube::Reply { content: Content::Object(object), .. }) = &response
            && let Some(dcs) = &mut self.dcs
        {
            dcs.wrote(cx.now(), object);
        }
        if self.doing.as_ref().is_some_and(|d| d.ticket == Some(ticket)) {
            return self.answered(cx, response);
        }
        match self.side.remove(&ticket) {
            Some(Side::StopRelease) => self.stop_released(cx),
            Some(Side::Talk(asker, talk)) => self.talk_written(cx, asker, talk, &response),
            Some(Side::Patch) if response.is_err() => self.published.forget(),
            _ => {}
        }
    }

    /// The store answered the loop's operation. Errors that may pass are tried again until R is over.
    fn answered(&mut self, cx: &mut Cx<'_>, response: Response) {
        let Some(mut doing) = self.doing.take() else {
            return;
        };
        if let Err(status) = &response
            // 429 comes with `retry-after`.
            && matches!(status.code, 429 | 500 | 503 | 504)
        {
            let over = cx.now() + durations::RETRY >= doing.since + self.dynamic.retry_timeout;
            doing.ticket = None;
            if over && cx.now() >= doing.since + self.dynamic.retry_timeout {
                self.store_failed(cx);
            } else {
                self.doing = Some(doing);
                self.alarm(cx, durations::RETRY, Alarm::Retry);
            }
            return;
        }
        self.proceed(cx, doing.then, response);
    }

    fn retry(&mut self, cx: &mut Cx<'_>) {
        if self.doing.as_ref().is_some_and(|d| d.ticket.is_none()) {
            self.send(cx);
        }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, ticket: Ticket, reply: Result<Reply, CallError>) {
        if let Some(doing) = &mut self.doing
            && let Some(name) = doing.open.remove(&ticket)
        {
            return self.probed(cx, name, reply);
        }
        match self.side.remove(&ticket) {
            Some(Side::Fetch) => self.fetched(cx, reply),
            Some(Side::ArchiveGet) => self.archive_got(cx, reply),
            Some(Side::ArchivePush(end)) => self.archive_pushed(cx, end, reply),
            Some(Side::Action) => self.action_reply(cx, reply),
            Some(Side::Talk(asker, talk)) => self.talk_reply(cx, asker, talk, reply),
            _ => {}
        }
    }

    fn ring(&mut self, cx: &mut Cx<'_>, token: u64) {
        let Some(alarm) = self.alarms.remove(&token) else {
            return;
        };
        match alarm {
            Alarm::Action => self.action_step(cx, token),
            Alarm::Receive => self.receive(cx),
            Alarm::Checkpointed => self.post_promote_checkpoint(cx),
            Alarm::Archive => self.archive_turn(cx),
            Alarm::Stop => self.stop_progress(cx),
            Alarm::Retry => self.retry(cx),
            Alarm::Nap => {
                if self.doing.as_ref().is_some_and(|d| d.then == Then::Nap) {
                    self.doing = None;
                    self.wake = true;
                    self.finish(cx);
                }
            }
            Alarm::Reloaded => self.reloaded(cx),
            Alarm::Poll { asker, request, old, left } => self.poll(cx, asker, request, old, left),
            Alarm::Backup { asker, repo, kind, started } => {
                self.backup_copied(cx, asker, repo, kind, started)
            }
            Alarm::Ctl { asker, command } => self.ctl(cx, asker, &command),
            Alarm::Exit(code) => cx.exit(code),
            Alarm::CrashPostmaster => self.postmaster_died(cx),
            Alarm::Flushed(ticket) => self.flushed(cx, ticket),
            Alarm::Reinitialized(state) => self.reinitialized(cx, state),
            Alarm::Late => self.push_log(cx),
        }
    }

    /// PostgreSQL is gone at once, as by SIGKILL.
    pub(super) fn postmaster_died(&mut self, cx: &mut Cx<'_>) {
        if self.pg.state == State::Down {
            return;
        }
        let primary = self.pg.primary() || self.pg.state == State::Stopping;
        self.stop_now(cx, primary, false);
    }

    /// PostgreSQL stops here and now: the data are left as by a clean stop or by a crash.
    pub(super) fn stop_now(&mut self, cx: &mut Cx<'_>, primary: bool, clean: bool) {
        let now = cx.now();
        // The checkpoint of a clean stop needs the log.
        let clean = clean && !(primary && self.log_trouble(cx).is_some());
        if self.pg.up() || self.pg.state == State::Stopping {
            if let Some(data) = self.data(cx) {
                data.stopped(now, primary, clean);
            }
            if clean {
                self.push_log(cx);
            }
        } else if self.pg.state == State::Starting
            && let Some(data) = self.data(cx)
            && matches!(data.control, Control::ShutDown)
            && !clean
        {
            data.control = Control::InProduction;
        }
        self.break_connections(cx);
        self.receiver = Receiver::default();
    }

    /// PostgreSQL accepts connections.
    pub(super) fn accept(&mut self, cx: &mut Cx<'_>, state: State) {
        let wanted = self.dynamic.parameters.clone();
        self.pg.state = state;
        self.pg.running = wanted.clone();
        let mut floors = parameters::floors(&wanted);
        let now = cx.now();
        if let Some(data) = self.data(cx) {
            if state == State::Standby {
                // A standby can't run with less than its control file demands (§6.6).
                for (have, least) in floors.0.iter_mut().zip(data.floors.0) {
                    *have = (*have).max(least);
                }
                data.control = Control::InArchiveRecovery;
                data.standby_signal = true;
                data.replay_paused = false;
                data.replay(&floors);
            } else {
                data.control = Control::InProduction;
                data.standby_signal = false;
                // A backend's death may have cut the checkpoint short that follows a promotion. Crash recovery ends with one,
                // and Patroni sees in the control file that it needs no other (`ensure_checkpoint_after_promote`).
                if data.checkpoint_timeline != data.timeline {
                    data.checkpoint(now, false);
                    self.checkpointed = true;
                }
                if data.floors != floors {
                    data.write(now, crate::postgres::wal::Change::Parameters(floors));
                }
            }
        }
        self.pg.floors = floors;
        self.word = Word::Running;
        self.start_deadline = None;
        self.cant_start = None;
        self.pending_restart =
            parameters::pending_restart(&self.pg.running, &self.pg.floors, &wanted);
        if state == State::Standby {
            self.receive(cx);
        }
    }
}

impl Actor for Member {
    crate::actor_boilerplate!();

    fn name(&self) -> &str {
        &self.actor_name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        if let Input::Clock(jump) = input {
            return self.clock_jumped(cx.now(), jump);
        }
        if self.asleep(cx, &input) {
            return;
        }
        if let Some(dcs) = &mut self.dcs {
            match dcs.learn(cx.now(), &input) {
                Heard::Wake => return self.wake(cx),
                Heard::Quiet => return,
                Heard::NotMine => {}
            }
        }
        match input {
            Input::Start => self.start(cx),
            Input::Timer(TICK) => self.tick(cx),
            Input::Timer(token) => self.ring(cx, token),
            Input::Response(ticket, response) => self.response(cx, ticket, response),
            Input::Call(ticket, call) => self.called(cx, ticket, call),
            Input::Reply(ticket, reply) => self.reply(cx, ticket, reply),
            Input::Mounts(mounts) => self.remounted(&mounts),
            Input::Signal(Signal::Term) => self.terminate(cx),
            _ => {}
        }
    }

    fn probe(&self, now: Time, probe: Probe) -> Option<bool> {
        self.health(now, probe)
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        use std::hash::Hash as _;
        let mut hash = hash;
        (self.word, self.role, self.pg.state, &self.pending_restart).hash(&mut hash);
        (self.pg.floors, &self.pg.running, &self.pg.sync).hash(&mut hash);
        (self.action.is_some(), self.doing.is_some(), self.bootstrapping).hash(&mut hash);
        (self.recovering, self.stopping.is_some(), self.config.version).hash(&mut hash);
    }
}
