//! Calls that reach the container: SQL, replication, REST, commands.

use serde_json::{Map, Value};

use crate::patroni::action::Kind;
use crate::patroni::config::merge;
use crate::patroni::dcs::{FailoverRequest, Slot};
use crate::patroni::member::Member;
use crate::patroni::rest::{RestReply, RestRequest, Status};
use crate::patroni::waits::{Alarm, Side, Talk};
use crate::pgbackrest::{BackrestReply, BackrestRequest, BackupKind, backup_time, checkpoint_wait};
use crate::postgres::server::{Outcome, State};
use crate::postgres::{SqlReply, SqlRequest, Statement, StreamReply, StreamRequest};
use crate::time::Time;
use crate::world::call::{Call, Reply};
use crate::world::{Cx, Ticket};

impl Member {
    pub(super) fn called(&mut self, cx: &mut Cx<'_>, ticket: Ticket, call: Call) {
        match call {
            Call::Sql(request) => self.sql(cx, ticket, &request),
            Call::Stream(request) => self.stream(cx, ticket, request),
            Call::Rest(request) => self.rest(cx, ticket, request),
            Call::Exec(command) => self.exec(cx, ticket, command),
            Call::Backrest(request) => self.backrest(cx, ticket, request),
        }
    }

    fn sql(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: &SqlRequest) {
        let now = cx.now();
        let writes = matches!(request.statement, Statement::Insert { .. });
        if writes && self.pg.primary() && self.panics(cx) {
            let message = "server closed the connection unexpectedly".into();
            let reply = SqlReply::Error { code: "08006", message };
            return cx.reply(ticket, Reply::Sql(reply));
        }
        if writes
            && self.pg.primary()
            && let Some(refusal) = self.no_room(cx)
        {
            return cx.reply(ticket, Reply::Sql(refusal));
        }
        let outcome = match self.data(cx) {
            Some(data) => self.pg.sql(now, Some(data), request),
            None => self.pg.sql(now, None, request),
        };
        match outcome {
            Outcome::Now(SqlReply::Committed) => self.committed(cx, ticket),
            Outcome::Now(reply) => cx.reply(ticket, Reply::Sql(reply)),
            Outcome::When(lsn) => self.pg.hold(lsn, ticket),
        }
        if writes && self.pg.primary() {
            self.written(cx);
        }
    }

    /// Something was written: standbys and the archive want it.
    pub(super) fn written(&mut self, cx: &mut Cx<'_>) {
        self.push_log(cx);
        self.archive_soon(cx);
    }

    fn stream(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: StreamRequest) {
        let now = cx.now();
        let serves = self.pg.up() || self.pg.state == State::Stopping;
        let Some(data) = self.look(cx).filter(|_| serves) else {
            let reply = StreamReply::Refused("connection refused".into());
            return cx.reply(ticket, Reply::Stream(reply));
        };
        let reply = match request {
            StreamRequest::Identify => Some(StreamReply::Identity(self.pg.identity(data))),
            StreamRequest::Copy => Some(StreamReply::Copy(std::sync::Arc::new(data.clone()))),
            StreamRequest::Fetch { standby, system_id, timeline, from } => {
                self.pg.fetch(now, data, ticket, &standby, system_id, timeline, from)
            }
        };
        if let Some(reply) = reply {
            cx.reply(ticket, Reply::Stream(reply));
        }
        for waiting in self.pg.released(now) {
            cx.reply(waiting, Reply::Sql(SqlReply::Committed));
        }
        if self.stopping.is_some() {
            self.stop_progress(cx);
        }
    }

    /// `GET /patroni`.
    pub(super) fn status(&self, cx: &Cx<'_>) -> Status {
        let (position, timeline) = self.look(cx).map_or((0, 0), |d| (d.end, d.timeline));
        Status {
            running: self.pg.up(),
            primary: self.pg.primary(),
            position,
            timeline,
            nofailover: self.config.nofailover(),
            priority: self.config.failover_priority,
        }
    }

    fn rest(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: RestRequest) {
        let code = |cx: &mut Cx<'_>, code, text: &str| {
            cx.reply(ticket, Reply::Rest(RestReply::Code(code, text.to_owned())));
        };
        match request {
            RestRequest::Status => {
                let status = self.status(cx);
                cx.reply(ticket, Reply::Rest(RestReply::Status(status)));
            }
            RestRequest::Switchover { leader, candidate } => {
                self.rest_switchover(cx, ticket, FailoverRequest { leader, candidate });
            }
            RestRequest::Failsafe { leader } => match self.agrees(cx.now(), &leader) {
                true => code(cx, 200, "Accepted"),
                false => code(cx, 500, "Failsafe mode is disabled, or another one leads"),
            },
            RestRequest::Restart { pending } => {
                if self.action.is_some() || !self.pg.up() {
                    return code(cx, 503, "another action is already in progress");
                }
                if pending && self.pending_restart.is_empty() {
                    return code(cx, 503, "restart conditions are not satisfied");
                }
                self.begin_action(cx, Kind::Restart(Some(ticket)));
                self.touch(cx);
            }
            RestRequest::Config { document, replace } => {
                self.rest_config(cx, ticket, &document, replace)
            }
            RestRequest::Reinitialize => {
                if self.holds_key(cx.now()) {
                    return code(cx, 503, "I am the leader, can not reinitialize");
                }
                if self.store().leader(cx.now()).is_none() || self.action.is_some() {
                    return code(cx, 503, "Cluster has no leader, can not reinitialize");
                }
                self.stop_now(cx, false, false);
                let directory = self.config.directory.clone();
                if let Some(volume) = cx.volume(&self.volume) {
                    volume.directories.remove(&directory);
                }
                code(cx, 200, "reinitialize started");
                self.wake(cx);
            }
        }
    }

    fn rest_config(&mut self, cx: &mut Cx<'_>, ticket: Ticket, document: &str, replace: bool) {
        let Ok(Value::Object(new)) = serde_json::from_str(document) else {
            return cx.reply(ticket, Reply::Rest(RestReply::Code(400, "invalid document".into())));
        };
        let old = self.store().annotation(Slot::Config, "config");
        let mut all: Map<String, Value> = match (replace, old) {
            (true, _) => Map::new(),
            (false, Some(old)) => serde_json::from_str(old).unwrap_or_default(),
            (false, None) => {
                return cx.reply(ticket, Reply::Rest(RestReply::Code(503, "no config".into())));
            }
        };
        merge(&mut all, new);
        let mut map = Map::new();
        map.insert("config".into(), Value::Object(all).to_string().into());
        let write = self.store().write(Slot::Config, map, None, !replace);
        self.submit(cx, write, Side::Talk(ticket, Talk::ConfigWritten));
        self.wake(cx);
    }

    /// pgBackRest of a repository host asks for this instance's data.
    fn backrest(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: BackrestRequest) {
        let reply = match request {
            BackrestRequest::Instance if self.pg.up() => match self.look(cx) {
                Some(data) => BackrestReply::Instance {
                    data: std::sync::Arc::new(data.clone()),
                    in_recovery: !self.pg.primary(),
                },
                None => BackrestReply::Failed("no data directory".into()),
            },
            BackrestRequest::Backup { repo, kind, config_hash, fast } => {
                return self.backup(cx, ticket, repo, kind, &config_hash, fast);
            }
            BackrestRequest::Instance => {
                BackrestReply::Failed("unable to connect to the database".into())
            }
            other => {
                let now = cx.now();
                crate::pgbackrest::bucket_request(cx, now, &self.repositories, &other)
            }
        };
        cx.reply(ticket, Reply::Backrest(reply));
    }

    /// `pgbackrest backup` in this container, to a bucket.
    fn backup(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        repo: u8,
        kind: BackupKind,
        config_hash: &str,
        fast: bool,
    ) {
        let failed = |cx: &mut Cx<'_>, text: &str| {
            cx.reply(asker, Reply::Backrest(BackrestReply::Failed(text.to_owned())));
        };
        if *config_hash != *self.config_hash {
            return failed(cx, "pgBackRest configuration on this Pod differs");
        }
        let Some(data) = self.look(cx).filter(|_| self.pg.primary()) else {
            return failed(cx, "ERROR: [056]: unable to find primary cluster - cannot proceed");
        };
        let wait = checkpoint_wait(fast) + backup_time(data, kind);
        let started = cx.now();
        self.alarm(cx, wait, Alarm::Backup { asker, repo, kind, started });
    }

    pub(super) fn backup_copied(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        repo: u8,
        kind: BackupKind,
        started: Time,
    ) {
        let reply = match self.look(cx).filter(|_| self.pg.primary()) {
            Some(data) => {
                let data = std::sync::Arc::new(data.clone());
                let request = BackrestRequest::Store { repo, kind, data, started };
                let now = cx.now();
                crate::pgbackrest::bucket_request(cx, now, &self.repositories, &request)
            }
            None => {
                BackrestReply::Failed("ERROR: [057]: the primary was lost during the backup".into())
            }
        };
        cx.reply(asker, Reply::Backrest(reply));
    }
}
