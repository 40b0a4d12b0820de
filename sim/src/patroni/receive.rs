//! Log on its way: from the upstream to this standby, from this server to its standbys, and to the archive.

use std::sync::Arc;

use crate::patroni::durations;
use crate::patroni::member::{Alarm, Member, Side};
use crate::pgbackrest::{BackrestReply, BackrestRequest, RepoTarget};
use crate::postgres::server::State;
use crate::postgres::wal::{Change, Lsn};
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
    /// A question is under way.
    asking: bool,
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
        self.asking && !self.failed && self.upstream.is_some()
    }
}

/// The archiver's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Archiver {
    /// A turn is planned.
    planned: bool,
    /// How many repositories still have to take what is under way.
    open: u32,
    failed: bool,
    /// When the last segment switch was.
    switched_at: Time,
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
        let to =
            self.receiver.upstream.as_ref().and_then(|u| u.resolve(cx, &self.config.namespace));
        let Some(to) = to else {
            return self.receive_from_archive(cx);
        };
        let request = StreamRequest::Fetch {
            standby: self.config.name.clone(),
            system_id: id,
            timeline,
            from,
        };
        self.receiver.asking = true;
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
                self.take_log(cx, &records);
                self.receive(cx);
            }
            // Silence for the whole timeout; the connection is made anew.
            Err(CallError::TimedOut) => self.receive(cx),
            _ => {
                self.receiver.failed = true;
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
    }

    /// Where a repository is: its host, or a bucket that this container reaches by itself.
    pub(super) fn repository(&self, cx: &Cx<'_>, target: &RepoTarget) -> Option<Where> {
        target.resolve(cx, &self.config.namespace)
    }

    /// There is something to archive, or soon will be.
    pub(super) fn archive_soon(&mut self, cx: &mut Cx<'_>) {
        if self.archive.planned || self.repositories.is_empty() || !self.pg.primary() {
            return;
        }
        let on = self.dynamic.parameters.get("archive_mode").is_some_and(|m| m == "on");
        if !on {
            return;
        }
        self.archive.planned = true;
        // The first write after a switch is archived when archive_timeout is over.
        let due = self.archive.switched_at + durations::ARCHIVE_TIMEOUT;
        let wait = (due - cx.now()).max(Span::ms(100));
        self.alarm(cx, wait, Alarm::Archive);
    }

    /// `archive_timeout` is over: the segment is closed, and everything goes to every repository.
    pub(super) fn archive_turn(&mut self, cx: &mut Cx<'_>) {
        self.archive.planned = false;
        if !self.pg.primary() || self.archive.open > 0 {
            return;
        }
        let now = cx.now();
        let failed = std::mem::take(&mut self.archive.failed);
        let Some(data) = self.data(cx) else {
            return;
        };
        if data.archived >= data.end {
            return;
        }
        if !failed {
            data.write(now, Change::Switch);
        }
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
        self.archive.switched_at = now;
        self.push_log(cx);
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
            self.archive_soon(cx);
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
        if self.archive.open > 0 {
            return;
        }
        if !self.archive.failed
            && let Some(data) = self.data(cx)
        {
            data.archived = data.archived.max(end);
        }
        let behind = self.look(cx).is_some_and(|d| d.archived < d.end);
        if self.archive.failed || behind {
            self.archive_soon(cx);
        }
    }
}
