//! Commands in the container `database`, as the operator sends them; answered with the texts of psql,
//! patronictl and pgbackrest that matter (reconcile.md §3.5, components.md §1.9).

use std::sync::Arc;

use ivory_core::Sensitive;
use ivory_core::command::{Command, UserStatement};
use ivory_core::read::Output;
use serde_json::{Map, Value, json};

use crate::patroni::config::Dynamic;
use crate::patroni::dcs::{Dcs, Slot};
use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::receive::Upstream;
use crate::patroni::rest::RestRequest;
use crate::patroni::switchover::{failed, printed, unreachable};
use crate::patroni::waits::{Alarm, Side, Talk};
use crate::pgbackrest::{BackrestReply, BackrestRequest};
use crate::postgres::server::State;
use crate::postgres::wal::Change;
use crate::postgres::{SqlReply, StreamRequest, acceptance, psql, roles};
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

/// What the operator's script prints when the mounted configuration is not the one meant.
const HASH_MISMATCH: &str = "ivory operator error: pgBackRest config hash mismatch";

impl Member {
    pub(super) fn exec(&mut self, cx: &mut Cx<'_>, asker: Ticket, command: Command) {
        let output = match &command {
            Command::Databases { databases, .. } => self.sql_command(cx, |member, cx| {
                for name in databases {
                    if !member.look(cx).is_some_and(|d| d.contents.has_database(name)) {
                        member.change(cx, Change::Database(name.as_str().into()));
                    }
                }
            }),
            Command::Users { users } => {
                match users.iter().find_map(|user| self.refuses(cx, user)) {
                    // One transaction: nothing changed.
                    Some(error) if self.pg.primary() => failed(3, error),
                    _ => self.sql_command(cx, |member, cx| {
                        users.iter().for_each(|user| member.alter_user(cx, user));
                    }),
                }
            }
            Command::Checkpoint { .. } if self.pg.up() && !self.panics(cx) => {
                let now = cx.now();
                let primary = self.pg.primary();
                if let (true, Some(data)) = (primary, self.data(cx)) {
                    data.checkpoint(now, false);
                }
                self.written(cx);
                printed("CHECKPOINT\n")
            }
            Command::Checkpoint { .. } => self.no_connection(),
            Command::StandbyState if self.pg.up() => self.standby_state(cx),
            Command::StandbyState => self.no_connection(),
            Command::ArchiveState if self.pg.up() => self.archive_state(cx),
            Command::ArchiveState => self.no_connection(),
            Command::ParameterState { .. } if self.pg.up() => self.parameter_state(),
            Command::ParameterState { .. } => self.no_connection(),
            Command::WalPlace { timeline, position } if self.pg.up() => {
                return self.wal_place(cx, asker, *timeline, *position);
            }
            Command::WalPlace { .. } => self.no_connection(),
            Command::VolumeState => self.volume_state(cx),
            Command::WalDirectory => match self.look(cx) {
                Some(data) => printed(format!("{}\n", data.wal_directory)),
                None => failed(1, "realpath: No such file or directory"),
            },
            Command::StartInitSql { token, sql } => self.start_init_sql(cx, token, sql),
            Command::SourceState { host, port } => {
                return self.source_state(cx, asker, host, *port);
            }
            Command::InitSqlState { token } => printed(self.init_sql_state(cx, token)),
            Command::ReplaceDynamicConfiguration { .. }
            | Command::Switchover { .. }
            | Command::Failover { .. }
            | Command::RestartPending { .. } => {
                self.alarm(cx, durations::PATRONICTL, Alarm::Ctl { asker, command });
                return;
            }
            Command::StanzaCreate { config_hash, .. } => {
                return self.create_stanza(cx, asker, config_hash, false);
            }
            Command::StanzaUpgrade { config_hash, .. } => {
                return self.create_stanza(cx, asker, config_hash, true);
            }
            Command::BackupInfo => return self.backup_info(cx, asker),
        };
        cx.reply(asker, Reply::Exec(output));
    }

    /// patronictl has started, and has read the store.
    pub(super) fn ctl(&mut self, cx: &mut Cx<'_>, asker: Ticket, command: &Command) {
        match command {
            Command::ReplaceDynamicConfiguration { config } => {
                self.replace_configuration(cx, asker, config)
            }
            Command::Switchover { leader, candidate, .. } => {
                self.ctl_switchover(cx, asker, leader, candidate.as_deref(), false);
            }
            Command::Failover { candidate, .. } => {
                self.ctl_switchover(cx, asker, "", Some(candidate), true)
            }
            Command::RestartPending { member, .. } => self.restart_pending(cx, asker, member),
            _ => {}
        }
    }

    /// What the server has made of the parameters in its files.
    fn parameter_state(&self) -> Output {
        let waits: Vec<&str> = self.pending_restart.iter().map(|w| w.name).collect();
        let written = self.dynamic.parameters.iter().filter(|(n, v)| acceptance::is_written(n, v));
        let settings: Map<String, Value> = written
            .map(|(name, value)| {
                let error = acceptance::error(name, value).filter(|_| !waits.contains(&&**name));
                (name.to_lowercase(), json!({"value": value, "error": error.unwrap_or_default()}))
            })
            .collect();
        let libraries = self.dynamic.parameters.get("shared_preload_libraries");
        let missing = libraries.map(|list| acceptance::missing(list)).unwrap_or_default();
        printed(json!({"settings": settings, "missing": missing}).to_string())
    }

    fn no_connection(&self) -> Output {
        let why = match self.pg.state {
            State::Starting => "FATAL:  the database system is starting up",
            State::Stopping => "FATAL:  the database system is shutting down",
            _ => {
                "No such file or directory\n\tIs the server running locally and accepting connections on that socket?"
            }
        };
        failed(
            2,
            format!(
                "psql: error: connection to server on socket \"/tmp/postgres/.s.PGSQL.5432\" failed: {why}"
            ),
        )
    }

    /// Asks a server of another cluster who it is.
    fn source_state(&mut self, cx: &mut Cx<'_>, asker: Ticket, host: &str, port: u16) {
        let source = Upstream { name: "the source".into(), host: host.into(), port };
        match source.resolve(cx, &self.config.namespace) {
            Some(to) => {
                let call = Call::Stream(StreamRequest::Identify);
                self.ask(cx, to, call, Span::s(5), Side::Talk(asker, Talk::Source));
            }
            None => self.tell_source(cx, asker, "unknown"),
        }
    }

    /// What is known of the source, and whether WAL arrives from there.
    pub(super) fn tell_source(&self, cx: &mut Cx<'_>, asker: Ticket, source: &str) {
        let own = if self.receiver.streaming() { "streaming" } else { "not-streaming" };
        cx.reply(asker, Reply::Exec(printed(format!("{source} {own}\n"))));
    }

    /// psql goes on by itself; what it does to the data is done at its beginning.
    fn start_init_sql(&mut self, cx: &mut Cx<'_>, token: &str, sql: &Sensitive) -> Output {
        let now = cx.now();
        if self.init_sql.get(token).is_some_and(|(ends, _)| *ends > now) {
            return printed("");
        }
        let contents = self.look(cx).map(|data| data.contents.clone());
        let exists = |name: &str| contents.as_ref().is_some_and(|c| c.has_database(name));
        let run = psql::run(sql.expose_text().unwrap_or_default(), exists);
        let (takes, exit) = if self.pg.up() { (run.takes, run.exit) } else { (Span::ZERO, 2) };
        if self.pg.primary() {
            for name in &run.databases {
                self.change(cx, Change::Database(name.as_str().into()));
            }
            self.written(cx);
        }
        Arc::make_mut(&mut self.init_sql).insert(token.to_owned(), (now + takes, exit));
        printed("")
    }

    fn init_sql_state(&self, cx: &Cx<'_>, token: &str) -> String {
        match self.init_sql.get(token) {
            None => "none\n".to_owned(),
            Some((ends, _)) if *ends > cx.now() => "running\n".to_owned(),
            Some((ends, exit)) => format!("{exit} {}\n", ends.timestamp().as_second()),
        }
    }

    /// SQL that changes something: needs a primary.
    fn sql_command(
        &mut self,
        cx: &mut Cx<'_>,
        work: impl FnOnce(&mut Self, &mut Cx<'_>),
    ) -> Output {
        if self.pg.primary() && self.panics(cx) {
            return self.no_connection();
        }
        match self.pg.state {
            State::Primary => {
                if let Some(SqlReply::Error { message, .. }) = self.no_room(cx) {
                    return failed(3, format!("ERROR:  {message}"));
                }
                work(self, cx);
                self.written(cx);
                printed("")
            }
            State::Standby => {
                failed(3, "ERROR:  cannot execute CREATE DATABASE in a read-only transaction")
            }
            _ => self.no_connection(),
        }
    }

    fn change(&self, cx: &mut Cx<'_>, change: Change) {
        let now = cx.now();
        if let Some(data) = self.data(cx) {
            data.write(now, change);
        }
    }

    /// Why PostgreSQL would not have this user.
    fn refuses(&self, cx: &mut Cx<'_>, user: &UserStatement) -> Option<String> {
        let contents = self.look(cx).map(|data| data.contents.clone());
        let missing =
            |name: &&String| contents.as_ref().is_some_and(|contents| !contents.has_database(name));
        let missing = user.databases.iter().find(missing);
        roles::refusal(&user.options)
            .or_else(|| missing.map(|name| format!("ERROR:  database \"{name}\" does not exist")))
    }

    fn alter_user(&self, cx: &mut Cx<'_>, user: &UserStatement) {
        let verifier = (!user.verifier.is_empty()).then(|| user.verifier.clone());
        let databases: Arc<[Arc<str>]> = user.databases.iter().map(|d| Arc::from(&**d)).collect();
        let known = self.look(cx).and_then(|d| d.contents.role(&user.name).cloned());
        let same = known.is_some_and(|role| {
            (verifier.is_none() || role.verifier == verifier)
                && databases.iter().all(|d| role.databases.contains(d))
        });
        if !same {
            self.change(cx, Change::Role { name: user.name.as_str().into(), verifier, databases });
        }
    }

    /// `patronictl edit-config --replace=- --force`.
    fn replace_configuration(&mut self, cx: &mut Cx<'_>, asker: Ticket, config: &str) {
        let Ok(Value::Object(new)) = serde_json::from_str::<Value>(config) else {
            return cx.reply(asker, Reply::Exec(failed(1, "Traceback (most recent call last)")));
        };
        let Some(old) = self.store().annotation(Slot::Config, "config") else {
            return cx.reply(
                asker,
                Reply::Exec(failed(1, "Error: The config key does not exist in the cluster")),
            );
        };
        if serde_json::from_str::<Value>(old).ok() == Some(Value::Object(new.clone())) {
            return cx.reply(asker, Reply::Exec(printed("Not changed\n")));
        }
        let mut map = Map::new();
        map.insert("config".into(), Value::Object(new).to_string().into());
        let write = self.store().write(Slot::Config, map, None, true);
        self.submit(cx, write, Side::Talk(asker, Talk::CtlConfig));
    }

    /// `patronictl restart --pending --force SCOPE MEMBER`: the filter is the client's.
    fn restart_pending(&mut self, cx: &mut Cx<'_>, asker: Ticket, member: &str) {
        let waits = |pod: &&std::sync::Arc<ivory_core::Object>| {
            *pod.meta.name == *member
                && pod.annotation("status").is_some_and(|s| s.contains("\"pending_restart\":true"))
        };
        let pod = self.store().members().find(waits);
        let Some((host, port)) = pod.and_then(|pod| Dcs::rest_of(pod)) else {
            return cx.reply(asker, Reply::Exec(printed("")));
        };
        let Some(to) = cx.resolve(&self.config.namespace, &host, port) else {
            return cx.reply(asker, Reply::Exec(unreachable(&host)));
        };
        let call = Call::Rest(RestRequest::Restart { pending: true });
        self.ask(cx, to, call, Span::s(60), Side::Talk(asker, Talk::CtlRestart));
        self.talks.insert(asker, (1, false));
    }

    /// `pgbackrest stanza-create` for every repository, guarded by the configuration's hash.
    fn create_stanza(&mut self, cx: &mut Cx<'_>, asker: Ticket, wanted: &str, upgrade: bool) {
        if *self.config_hash != *wanted {
            return cx.reply(asker, Reply::Exec(failed(1, HASH_MISMATCH)));
        }
        let Some((system_id, version)) = self.look(cx).map(|d| (d.system_id, d.version)) else {
            return cx.reply(
                asker,
                Reply::Exec(failed(
                    56,
                    "ERROR: [056]: unable to find primary cluster - cannot proceed",
                )),
            );
        };
        let targets = self.repositories.clone();
        let mut open = 0;
        for target in targets.iter() {
            if let Some(to) = self.repository(cx, target) {
                open += 1;
                let request = BackrestRequest::StanzaCreate {
                    repo: target.number,
                    system_id,
                    version,
                    upgrade,
                };
                self.ask(
                    cx,
                    to,
                    Call::Backrest(request),
                    Span::s(30),
                    Side::Talk(asker, Talk::Stanza),
                );
            }
        }
        if open < targets.len() || open == 0 {
            let text = "ERROR: [049]: unable to connect to the repository host: [HostConnectError]";
            return cx.reply(asker, Reply::Exec(failed(49, text)));
        }
        self.talks.insert(asker, (u32::try_from(open).unwrap_or(1), true));
    }

    pub(super) fn stanza_reply(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        reply: Result<Reply, CallError>,
    ) {
        let Some((open, _)) = self.talks.get_mut(&asker) else {
            return;
        };
        *open -= 1;
        let last = *open == 0;
        let error = match reply {
            Ok(Reply::Backrest(BackrestReply::Done)) => None,
            Ok(Reply::Backrest(BackrestReply::Failed(text))) => Some(failed(28, text)),
            _ => Some(failed(
                49,
                "ERROR: [049]: unable to connect to the repository host: [HostConnectError]",
            )),
        };
        match error {
            Some(output) => {
                self.talks.remove(&asker);
                cx.reply(asker, Reply::Exec(output));
            }
            None if last => {
                self.talks.remove(&asker);
                cx.reply(asker, Reply::Exec(printed("")));
            }
            None => {}
        }
    }

    /// `pgbackrest info --output=json`, which asks every repository.
    fn backup_info(&mut self, cx: &mut Cx<'_>, asker: Ticket) {
        self.infos.insert(asker, std::collections::BTreeMap::new());
        let targets = self.repositories.clone();
        let mut open = 0;
        for target in targets.iter() {
            let number = target.number;
            match self.repository(cx, target) {
                Some(to) => {
                    open += 1;
                    let call = Call::Backrest(BackrestRequest::Info { repo: number });
                    self.ask(cx, to, call, Span::s(10), Side::Talk(asker, Talk::Info(number)));
                }
                None => {
                    self.infos.entry(asker).or_default().insert(number, None);
                }
            }
        }
        self.talks.insert(asker, (open, false));
        self.info_complete(cx, asker);
    }

    pub(super) fn info_reply(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        repo: u8,
        reply: Result<Reply, CallError>,
    ) {
        let info = match reply {
            Ok(Reply::Backrest(BackrestReply::Info(info))) => Some(info),
            _ => None,
        };
        self.infos.entry(asker).or_default().insert(repo, info);
        if let Some((open, _)) = self.talks.get_mut(&asker) {
            *open -= 1;
        }
        self.info_complete(cx, asker);
    }

    fn info_complete(&mut self, cx: &mut Cx<'_>, asker: Ticket) {
        if self.talks.get(&asker).is_none_or(|(open, _)| *open > 0) {
            return;
        }
        self.talks.remove(&asker);
        let infos = self.infos.remove(&asker).unwrap_or_default();
        let text = crate::pgbackrest::info_json(&infos);
        cx.reply(asker, Reply::Exec(printed(text)));
    }

    /// The dynamic configuration as the member understands it.
    #[must_use]
    pub fn dynamic(&self) -> &Dynamic {
        &self.dynamic
    }
}
