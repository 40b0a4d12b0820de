//! A running PostgreSQL: its state, its clients, the standbys that stream from it, and commits that wait
//! for them. The data are on the volume and are handed in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::postgres::auth::{Certificate, Checked};
use crate::postgres::data::DataDirectory;
use crate::postgres::parameters::Parameters;
use crate::postgres::sync_names::SyncNames;
use crate::postgres::wal::{Change, Floors, Lsn, Record};
use crate::postgres::{Identity, SqlReply, SqlRequest, Statement, StreamReply};
use crate::time::{Span, Time};
use crate::world::Ticket;

/// What the postmaster does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// There is none.
    Down,
    /// It starts, and accepts nobody yet.
    Starting,
    /// It accepts readers and replays.
    Standby,
    /// It accepts everybody.
    Primary,
    /// It shuts down, and accepts nobody any more.
    Stopping,
}

/// A standby's connection.
#[derive(Clone, Debug)]
struct Sender {
    /// Its held question; none while an answer is under way to it.
    ticket: Option<Ticket>,
    timeline: u32,
    acked: Lsn,
    answered_at: Time,
}

/// How long a standby whose answer is under way counts as connected.
const UNDER_WAY: Span = Span::s(2);

/// A running (or stopped) server.
#[derive(Clone, Debug)]
pub struct Server {
    /// What the postmaster does.
    pub state: State,
    /// Parameters it was started with.
    pub running: Parameters,
    /// The five ordered parameters it was started with.
    pub floors: Floors,
    /// Whom commits wait for.
    pub sync: SyncNames,
    /// The certificate that it presents; without one it accepts no TLS.
    pub certificate: Option<Certificate>,
    /// Standbys get no answers while this is set (a fault: a hung network or walreceiver).
    pub frozen: bool,
    /// Standbys get everything so much later (a fault: a network that is too slow for the log).
    pub late: Span,
    /// When held back log is looked at next.
    pub late_until: Option<Time>,
    senders: BTreeMap<Arc<str>, Sender>,
    waiting: Vec<(Lsn, Ticket)>,
    checked: Checked,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            state: State::Down,
            running: Parameters::default(),
            floors: Floors::default(),
            sync: SyncNames::None,
            certificate: None,
            frozen: false,
            late: Span::ZERO,
            late_until: None,
            senders: BTreeMap::new(),
            waiting: Vec::new(),
            checked: Checked::default(),
        }
    }
}

/// What becomes of a statement.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Now(SqlReply),
    /// The answer comes when enough standbys have the log up to here.
    When(Lsn),
}

/// The records that were written so long ago.
fn before(records: &[Record], now: Time, late: Span) -> &[Record] {
    match late {
        Span::ZERO => records,
        late => &records[..records.partition_point(|r| r.at + late <= now)],
    }
}

fn error(code: &'static str, message: impl Into<String>) -> SqlReply {
    SqlReply::Error { code, message: message.into() }
}

impl Server {
    /// Whether it accepts connections.
    #[must_use]
    pub fn up(&self) -> bool {
        matches!(self.state, State::Standby | State::Primary)
    }

    /// Whether it is writable.
    #[must_use]
    pub fn primary(&self) -> bool {
        self.state == State::Primary
    }

    /// A client's statement. `data` is none when the server has no directory.
    pub fn sql(
        &mut self,
        now: Time,
        data: Option<&mut DataDirectory>,
        request: &SqlRequest,
    ) -> Outcome {
        let refused = match self.state {
            State::Down => Some(error("08001", "Connection refused")),
            State::Starting => Some(error("57P03", "the database system is starting up")),
            State::Stopping => Some(error("57P03", "the database system is shutting down")),
            State::Standby | State::Primary => None,
        };
        let (None, Some(data)) = (&refused, data) else {
            return Outcome::Now(refused.unwrap_or_else(|| error("08001", "Connection refused")));
        };
        if let Some((roots, host)) = &request.verify {
            let Some(certificate) = &self.certificate else {
                return Outcome::Now(error(
                    "08001",
                    "server does not support SSL, but SSL was required",
                ));
            };
            if !self.checked.certificate(certificate, (roots, host), now.timestamp()) {
                return Outcome::Now(error("08001", "SSL error: certificate verify failed"));
            }
        }
        if let Some(denied) = self.denied(data, request) {
            return Outcome::Now(denied);
        }
        self.execute(now, data, request)
    }

    fn denied(&mut self, data: &DataDirectory, request: &SqlRequest) -> Option<SqlReply> {
        let user = &request.user;
        let verifier = data.contents.role(user).and_then(|r| r.verifier.as_ref());
        if !verifier.is_some_and(|v| self.checked.password(&request.password, v)) {
            let message = format!("password authentication failed for user \"{user}\"");
            return Some(error("28P01", message));
        }
        if !data.contents.has_database(&request.database) {
            let message = format!("database \"{}\" does not exist", request.database);
            return Some(error("3D000", message));
        }
        None
    }

    fn execute(&mut self, now: Time, data: &mut DataDirectory, request: &SqlRequest) -> Outcome {
        let read_only = self.state == State::Standby;
        Outcome::Now(match &request.statement {
            Statement::Ping => SqlReply::Pong { read_only },
            Statement::Rows { client } => {
                let rows = data.contents.rows(client);
                SqlReply::Rows(rows.map(|r| r.iter().collect()).unwrap_or_default())
            }
            Statement::Insert { .. } if read_only => {
                error("25006", "cannot execute INSERT in a read-only transaction")
            }
            Statement::Insert { client, row } => {
                let granted = data.contents.role(&request.user).is_some_and(|r| {
                    r.databases.contains(&request.database)
                        || &*request.user == ivory_core::names::SUPERUSER
                });
                if !granted {
                    return Outcome::Now(error("42501", "permission denied for schema public"));
                }
                let change = Change::Row { client: client.clone(), row: *row };
                let lsn = data.write(now, change);
                if self.enough(now, lsn) {
                    SqlReply::Committed
                } else {
                    return Outcome::When(lsn);
                }
            }
        })
    }

    /// Holds back the acknowledgement of a commit.
    pub fn hold(&mut self, lsn: Lsn, ticket: Ticket) {
        self.waiting.push((lsn, ticket));
    }

    /// What the connected standby of a name has flushed.
    #[must_use]
    pub fn acked(&self, now: Time, standby: &str) -> Option<Lsn> {
        let sender = self.senders.get(standby)?;
        let connected = sender.ticket.is_some() || now - sender.answered_at < UNDER_WAY;
        connected.then_some(sender.acked)
    }

    fn enough(&self, now: Time, lsn: Lsn) -> bool {
        if self.sync == SyncNames::None {
            return true;
        }
        let any = self.senders.keys().filter_map(|s| self.acked(now, s)).max();
        self.sync.satisfied(lsn, |name| self.acked(now, name), any)
    }

    /// Commits whose wait is over. Call it when standbys acknowledged more, or the setting changed.
    pub fn released(&mut self, now: Time) -> Vec<Ticket> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut done = Vec::new();
        waiting.retain(|(lsn, ticket)| {
            let over = self.enough(now, *lsn);
            if over {
                done.push(*ticket);
            }
            !over
        });
        self.waiting = waiting;
        done
    }

    /// A standby asks for log after a position: it has flushed everything before. Gives what must be
    /// answered at once, if anything.
    #[allow(clippy::too_many_arguments)]
    pub fn fetch(
        &mut self,
        now: Time,
        data: &DataDirectory,
        ticket: Ticket,
        standby: &Arc<str>,
        system_id: u64,
        timeline: u32,
        from: Lsn,
    ) -> Option<StreamReply> {
        let records = match data.stream(system_id, timeline, from) {
            Ok(records) => records,
            Err(message) => {
                self.senders.remove(standby);
                return Some(StreamReply::Refused(message));
            }
        };
        let records = self.old_enough(now, records);
        let nothing_new = records.is_empty();
        let reply = (!nothing_new && !self.frozen).then(|| StreamReply::Records(records.into()));
        let sender = Sender {
            ticket: reply.is_none().then_some(ticket),
            timeline,
            acked: from,
            answered_at: now,
        };
        self.senders.insert(standby.clone(), sender);
        reply
    }

    /// Answers for standbys whose questions are held and for whom there is something now.
    pub fn push(&mut self, now: Time, data: &DataDirectory) -> Vec<(Ticket, StreamReply)> {
        let mut answers = Vec::new();
        if self.frozen {
            return answers;
        }
        let late = self.late;
        for sender in self.senders.values_mut() {
            if sender.ticket.is_none()
                || (sender.acked >= data.end && sender.timeline == data.timeline)
            {
                continue;
            }
            let reply = match data.stream(data.system_id, sender.timeline, sender.acked) {
                Ok(records) => match before(records, now, late) {
                    [] => continue,
                    records => StreamReply::Records(records.into()),
                },
                Err(message) => StreamReply::Refused(message),
            };
            if let Some(ticket) = sender.ticket.take() {
                sender.answered_at = now;
                answers.push((ticket, reply));
            }
        }
        answers
    }

    /// The records that may be sent by now.
    fn old_enough<'a>(&self, now: Time, records: &'a [Record]) -> &'a [Record] {
        before(records, now, self.late)
    }

    /// When the oldest record that is held back may be sent.
    #[must_use]
    pub fn held_back(&self, now: Time, data: &DataDirectory) -> Option<Time> {
        if self.late == Span::ZERO {
            return None;
        }
        let acked = self.senders.values().map(|s| s.acked).min()?;
        let records = data.wal.after(acked)?;
        let held = &records[before(records, now, self.late).len()..];
        held.first().map(|record| record.at + self.late)
    }

    /// Forgets standbys whose connections are gone.
    pub fn drop_disconnected(&mut self, connected: impl Fn(Ticket) -> bool) {
        self.senders.retain(|_, s| s.ticket.is_none_or(&connected));
    }

    /// Whether every connected standby has the log up to a position: a fast shutdown waits for that.
    #[must_use]
    pub fn all_caught_up(&self, now: Time, lsn: Lsn) -> bool {
        self.senders.keys().filter_map(|s| self.acked(now, s)).all(|acked| acked >= lsn)
    }

    /// The postmaster is gone: connections break. Gives the questions that get no answer any more.
    pub fn down(&mut self) -> (Vec<Ticket>, Vec<Ticket>) {
        self.state = State::Down;
        let clients = std::mem::take(&mut self.waiting);
        let standbys = std::mem::take(&mut self.senders);
        (
            clients.into_iter().map(|(_, t)| t).collect(),
            standbys.into_values().filter_map(|s| s.ticket).collect(),
        )
    }

    /// Who it is, for `IDENTIFY_SYSTEM` and a look into its control file.
    #[must_use]
    pub fn identity(&self, data: &DataDirectory) -> Identity {
        Identity {
            system_id: data.system_id,
            timeline: data.timeline,
            end: data.end,
            in_recovery: !self.primary(),
            checkpointed: data.checkpoint_timeline == data.timeline,
            history: data.history.clone(),
        }
    }
}
