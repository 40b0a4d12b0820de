//! How an empty node is filled (patroni.md §2.3), and `pg_rewind`, which ends in the same.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::patroni::action::Kind;
use crate::patroni::config::{BootstrapMethod, ReplicaMethod};
use crate::patroni::dcs::Slot;
use crate::patroni::durations;
use crate::patroni::follow::RewindState;
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::receive::Upstream;
use crate::patroni::waits::{Alarm, Side, Then};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::data::DataDirectory;
use crate::postgres::{StreamReply, StreamRequest};
use crate::time::Span;
use crate::world::Cx;
use crate::world::call::{Call, CallError, Reply};

/// A copy that is being made.
#[derive(Clone, Debug)]
pub(super) struct Copying {
    source: Option<Upstream>,
    methods: VecDeque<ReplicaMethod>,
    /// Only what differs is copied.
    rewind: bool,
    attempts: u8,
    arrived: Option<std::sync::Arc<DataDirectory>>,
}

impl PartialEq for Copying {
    fn eq(&self, other: &Self) -> bool {
        self.rewind == other.rewind && self.methods == other.methods
    }
}
impl Eq for Copying {}

impl Copying {
    pub fn new(source: Option<Upstream>, methods: Vec<ReplicaMethod>, rewind: bool) -> Self {
        Self { source, methods: methods.into(), rewind, attempts: 0, arrived: None }
    }
}

impl Member {
    /// An empty node: races for the bootstrap, clones, or waits.
    pub(super) fn bootstrap(&mut self, cx: &mut Cx<'_>) {
        if self.dynamic.pause {
            return self.finish(cx);
        }
        let now = cx.now();
        let leader = self.store().leader(now).map(str::to_owned);
        let initialize = self.store().annotation(Slot::Config, "initialize").map(str::to_owned);
        if let Some(leader) = leader.filter(|l| **l != *self.config.name) {
            let Some(source) = self.upstream_to(&leader) else {
                return self.finish(cx);
            };
            self.say(cx, format!("clones from {leader}"));
            let methods = self.config.replica_methods.clone();
            return self.copy_from(cx, Some(source), methods, false);
        }
        if initialize.is_none() && !self.config.nofailover() && self.config.bootstrap.is_some() {
            if self.store().object(Slot::Config).is_none() {
                let service = self.store().config_service();
                self.submit(cx, service, Side::Patch);
            }
            let mut map = Map::new();
            map.insert("initialize".into(), "".into());
            let request = self.store().write(Slot::Config, map, None, true);
            return self.begin(cx, request, Then::Initialize);
        }
        let leaderless: Vec<_> = self
            .config
            .replica_methods
            .iter()
            .filter(|m| {
                matches!(m, ReplicaMethod::Pgbackrest { no_leader: true, refused: false, .. })
            })
            .cloned()
            .collect();
        if !leaderless.is_empty() && initialize.is_some_and(|i| !i.is_empty()) {
            self.say(cx, "clones from the repository");
            return self.copy_from(cx, None, leaderless, false);
        }
        self.finish(cx);
    }

    /// The race is won.
    pub(super) fn initialize_won(&mut self, cx: &mut Cx<'_>) {
        self.bootstrapping = true;
        self.bootstrap_failed = false;
        if let Some(remote) = self.dynamic.standby.clone() {
            let source = self.remote();
            self.say(cx, "clones from the remote cluster");
            let wanted = |m: &&ReplicaMethod| {
                let name = match m {
                    ReplicaMethod::Basebackup => "basebackup",
                    ReplicaMethod::Pgbackrest { .. } => "pgbackrest",
                };
                remote.methods.is_empty() || remote.methods.iter().any(|w| w == name)
            };
            let methods = self.config.replica_methods.iter().filter(wanted).cloned().collect();
            return self.copy_from(cx, source, methods, false);
        }
        match self.config.bootstrap.clone() {
            Some(BootstrapMethod::Existing) => self.act(cx, Kind::Existing),
            Some(BootstrapMethod::Unknown(_)) => self.act(cx, Kind::Failing),
            _ => self.act(cx, Kind::Initdb),
        }
    }

    /// D1: cleans up and ends.
    pub(super) fn bootstrap_failed(&mut self, cx: &mut Cx<'_>) {
        self.say(cx, "fails to bootstrap, and exits");
        let mut map = Map::new();
        map.insert("initialize".into(), Value::Null);
        let request = self.store().write(Slot::Config, map, None, false);
        self.submit(cx, request, Side::Patch);
        let primary = self.pg.primary();
        self.stop_now(cx, primary, false);
        let directory = self.config.directory.clone();
        if let Some(volume) = cx.volume(&self.volume) {
            volume.rename(&directory, &format!("{directory}.failed"));
        }
        self.bootstrapping = false;
        self.touch(cx);
        self.alarm(cx, durations::EXIT, Alarm::Exit(1));
        self.begin_wait(cx);
    }

    pub(super) fn copy_step(&mut self, cx: &mut Cx<'_>, copying: Copying) {
        if let Some(arrived) = copying.arrived.clone() {
            return self.place(cx, &copying, &arrived);
        }
        if copying.rewind {
            let Some(to) =
                copying.source.as_ref().and_then(|s| s.resolve(cx, &self.config.namespace))
            else {
                return self.copy_failed(cx, copying);
            };
            return self.ask(cx, to, Call::Stream(StreamRequest::Copy), Span::s(60), Side::Action);
        }
        match copying.methods.front() {
            None => {
                self.say(cx, "could not be cloned");
                self.word = Word::Stopped;
                if self.bootstrapping {
                    self.bootstrap_failed = true;
                }
                self.done(cx);
            }
            Some(ReplicaMethod::Pgbackrest { refused: true, .. }) => {
                self.say(cx, "pgbackrest refuses its command line (no_master)");
                self.copy_failed(cx, copying);
            }
            Some(ReplicaMethod::Pgbackrest { repo, .. }) => {
                let repo = *repo;
                let target = self.repositories.iter().find(|t| t.number == repo).cloned();
                let Some(to) = target.and_then(|t| self.repository(cx, &t)) else {
                    return self.copy_failed(cx, copying);
                };
                let request = BackrestRequest::Restore { repo, target: None, set: None };
                self.ask(cx, to, Call::Backrest(request), Span::s(60), Side::Action);
            }
            Some(ReplicaMethod::Basebackup) => {
                let to =
                    copying.source.as_ref().and_then(|s| s.resolve(cx, &self.config.namespace));
                let Some(to) = to else {
                    return self.copy_failed(cx, copying);
                };
                self.ask(cx, to, Call::Stream(StreamRequest::Copy), Span::s(60), Side::Action);
            }
        }
    }

    /// What the source sent, or not.
    pub(super) fn copied(
        &mut self,
        cx: &mut Cx<'_>,
        mut copying: Copying,
        reply: Result<Reply, CallError>,
    ) {
        let arrived = match reply {
            Ok(
                Reply::Stream(StreamReply::Copy(data))
                | Reply::Backrest(BackrestReply::Restored(data)),
            ) => data,
            _ => return self.copy_failed(cx, copying),
        };
        let least = if copying.rewind { durations::REWIND } else { durations::BASEBACKUP };
        let bytes = if copying.rewind { 0 } else { arrived.contents.bytes() };
        copying.arrived = Some(arrived);
        if let Some(action) = &mut self.action {
            action.kind = Kind::Copy(copying);
        }
        self.next_stage(cx, durations::copy(bytes, least));
    }

    fn place(&mut self, cx: &mut Cx<'_>, copying: &Copying, arrived: &DataDirectory) {
        if let Some(trouble) = self.start_trouble(cx) {
            self.say(cx, format!("can't store its copy: {}", trouble.text()));
            return self.copy_failed(cx, Copying { arrived: None, ..copying.clone() });
        }
        let directory = self.config.directory.clone();
        let wal = self.config.wal_directory.clone();
        if let Some(volume) = cx.volume(&self.volume) {
            volume.directories.insert(directory, arrived.copy_for_standby(&wal));
        }
        self.word = Word::Stopped;
        self.rewind = RewindState::Idle;
        self.role = Role::Replica;
        if copying.rewind {
            self.say(cx, "rewound its data");
        } else {
            self.say(cx, "cloned");
        }
        self.action = None;
        if self.bootstrapping {
            self.begin_action(cx, Kind::StartStandby);
        } else {
            self.done(cx);
        }
    }

    /// The next try: a base backup is tried twice, 5 s apart; then the next method.
    fn copy_failed(&mut self, cx: &mut Cx<'_>, mut copying: Copying) {
        if copying.rewind {
            // The source may come back; the loop checks anew.
            self.rewind = RewindState::Check;
            self.word = Word::Stopped;
            self.action = None;
            return;
        }
        copying.attempts += 1;
        let again =
            copying.methods.front() == Some(&ReplicaMethod::Basebackup) && copying.attempts < 2;
        if !again {
            copying.methods.pop_front();
            copying.attempts = 0;
        }
        if let Some(action) = &mut self.action {
            action.kind = Kind::Copy(copying);
        }
        self.next_stage(cx, if again { Span::s(5) } else { Span::ms(200) });
    }
}
