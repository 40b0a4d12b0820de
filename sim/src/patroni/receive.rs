//! Log on its way: from the upstream to this standby, and from this server to its standbys.

use std::sync::Arc;

use ivory_core::read::Output;

use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::switchover::printed;
use crate::patroni::waits::{Alarm, Side};
use crate::pgbackrest::{BackrestReply, BackrestRequest, RepoTarget};
use crate::postgres::server::State;
use crate::postgres::wal::Lsn;
use crate::postgres::{StreamReply, StreamRequest};
use crate::time::{Span, Time};
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Where};

/// Whom a standby streams from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Upstream {
    /// The member's name, for people.
    pub name: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
}

impl Upstream {
    /// Where that is now. A host of the form `service.namespace.svc` of another namespace is understood.
    pub fn resolve(&self, cx: &Cx<'_>, namespace: &str) -> Option<Where> {
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return Some(Where::Address { ip: self.host.clone(), port: self.port });
        }
        let mut labels = self.host.trim_end_matches('.').split('.');
        let other = labels.by_ref().nth(1);
        match (other, labels.next()) {
            (Some(other), Some("svc")) => cx.resolve(other, &self.host, self.port),
            _ => cx.resolve(namespace, &self.host, self.port),
        }
    }
}

/// The walreceiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Receiver {
    pub upstream: Option<Upstream>,
    /// Where the connection leads that stands: a name is resolved once for each.
    connected: Option<Where>,
    /// A question is under way.
    asking: bool,
    /// What came last is being flushed.
    flushing: bool,
    /// The last question was refused, or nobody answered.
    failed: bool,
    /// It reads from the archive.
    pub from_archive: bool,
    /// What it has, for probes.
    pub position: Lsn,
}

impl Receiver {
    /// Whether it is connected.
    pub fn streaming(&self) -> bool {
        (self.asking || self.flushing) && !self.failed && self.upstream.is_some()
    }
}

impl Member {
    pub(super) fn set_upstream(&mut self, cx: &mut Cx<'_>, upstream: Option<Upstream>) {
        if let Some(upstream) = &upstream {
            self.say(cx, format!("streams from {}", upstream.name));
        }
        self.receiver = Receiver { upstream, ..Receiver::default() };
    }

    /// Asks the upstream for more, unless it is being asked.
    pub(super) fn receive(&mut self, cx: &mut Cx<'_>) {
        if self.pg.state != State::Standby || self.receiver.asking {
            return;
        }
        let Some((id, timeline, from)) = self.look(cx).map(|d| (d.system_id, d.timeline, d.end))
        else {
            return;
        };
        self.receiver.position = from;
        self.receiver.flushing = false;
        let upstream = self.receiver.upstream.as_ref();
        let named = || upstream.and_then(|u| u.resolve(cx, &self.config.namespace));
        let Some(to) = self.receiver.connected.clone().or_else(named) else {
            return self.receive_from_archive(cx);
        };
        let request = StreamRequest::Fetch {
            standby: self.config.name.clone(),
            system_id: id,
            timeline,
            from,
        };
        self.receiver.asking = true;
        self.receiver.connected = Some(to.clone());
        self.ask(cx, to, Call::Stream(request), durations::RECEIVE_TIMEOUT, Side::Fetch);
    }

    pub(super) fn fetched(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        self.receiver.asking = false;
        if self.pg.state != State::Standby {
            return;
        }
        match reply {
            Ok(Reply::Stream(StreamReply::Records(records))) => {
                self.receiver.failed = false;
                self.receiver.from_archive = false;
                if self.panics(cx) {
                    return;
                }
                self.take_log(cx, &records);
                // The next question tells what is flushed.
                match self.flush_time(cx) {
                    Span::ZERO => self.receive(cx),
                    wait => {
                        self.receiver.flushing = true;
                        self.alarm(cx, wait, Alarm::Receive);
                    }
                }
            }
            // Nothing was written for the whole timeout (`wal_receiver_timeout`, 60 s). A walsender that is then asked
            // whether it lives says so, unless nothing passes between the two.
            Err(CallError::TimedOut)
                if !self.receiver.connected.as_ref().is_some_and(|to| cx.apart(to)) =>
            {
                self.receiver.failed = false;
                self.receiver.connected = None;
                self.receive(cx);
            }
            _ => {
                self.receiver.failed = true;
                self.receiver.connected = None;
                self.receive_from_archive(cx);
            }
        }
    }

    fn take_log(&mut self, cx: &mut Cx<'_>, records: &[crate::postgres::wal::Record]) {
        let floors = self.pg.floors;
        if let Some(data) = self.data(cx) {
            // An answer to a question of an earlier life of the receiver may not follow on the log.
            data.receive(records, &floors);
            data.received_whole();
            data.recycle();
            self.receiver.position = data.end;
        }
        self.push_log(cx);
    }

    /// `restore_command`, when streaming does not work; then again the upstream a little later.
    fn receive_from_archive(&mut self, cx: &mut Cx<'_>) {
        let repo = self.dynamic.standby.as_ref().and_then(|s| s.repo);
        let target = self.repositories.iter().find(|t| repo.is_none_or(|r| r == t.number)).cloned();
        let facts = self.look(cx).map(|d| (d.system_id, d.timeline, d.end));
        if let (Some(target), Some((system_id, timeline, from))) = (target, facts)
            && let Some(to) = self.repository(cx, &target)
        {
            let request = BackrestRequest::Get { repo: target.number, system_id, timeline, from };
            return self.ask(cx, to, Call::Backrest(request), Span::s(10), Side::ArchiveGet);
        }
        self.alarm(cx, durations::RECEIVE_RETRY, Alarm::Receive);
    }

    pub(super) fn archive_got(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        if self.pg.state != State::Standby {
            return;
        }
        if let Ok(Reply::Backrest(BackrestReply::Log(records))) = reply {
            self.receiver.from_archive = true;
            if !records.is_empty() {
                if self.panics(cx) {
                    return;
                }
                self.take_log(cx, &records);
            }
        }
        self.alarm(cx, durations::RECEIVE_RETRY, Alarm::Receive);
    }

    /// New log goes to the standbys that wait for it.
    pub(super) fn push_log(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let answers = match self.look(cx) {
            Some(data) => self.pg.push(now, data),
            None => return,
        };
        for (ticket, reply) in answers {
            cx.reply(ticket, Reply::Stream(reply));
        }
        let held = self.look(cx).and_then(|data| self.pg.held_back(now, data));
        if let Some(until) = held.filter(|until| self.pg.late_until.is_none_or(|at| at < *until)) {
            self.pg.late_until = Some(until);
            self.alarm(cx, until - now, Alarm::Late);
        }
    }

    /// Where a repository is: its host, or a bucket that this container reaches by itself.
    pub(super) fn repository(&self, cx: &Cx<'_>, target: &RepoTarget) -> Option<Where> {
        target.resolve(cx, &self.config.namespace)
    }

    /// What PostgreSQL can tell of what reaches it.
    pub(super) fn standby_state(&self, cx: &Cx<'_>) -> Output {
        let seconds = |at: Time| at.timestamp().as_second();
        let newest = self.look(cx).and_then(|d| d.wal.last_transaction(d.replayed));
        printed(format!(
            "{} {} {}\n",
            if self.receiver.streaming() { "streaming" } else { "not-streaming" },
            newest.map_or(0, seconds),
            seconds(cx.clock()),
        ))
    }
}
