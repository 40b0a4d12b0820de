//! An application: knows what a user Secret says, writes numbered rows through the Service as fast as it was
//! told, and remembers every acknowledgement, so that a checker can say what was lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, Sensitive};

use crate::patroni::check::members;
use crate::postgres::contents::Rows;
use crate::postgres::{SqlReply, SqlRequest, Statement};
use crate::time::{Span, Time};
use crate::world::call::{Call, CallError, Reply};
use crate::world::journal::Milestone;
use crate::world::{Actor, ActorId, Cx, Input, KubeId, Ticket, Where, World};

/// What an application is given.
#[derive(Clone, Debug)]
pub struct ClientStart {
    /// Its name; also the name of its rows.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Between two commits.
    pub every: Span,
    /// `host` of the Secret.
    pub host: Arc<str>,
    /// `port` of the Secret.
    pub port: u16,
    /// `user` of the Secret.
    pub user: Arc<str>,
    /// `password` of the Secret.
    pub password: Sensitive,
    /// `dbname` of the Secret.
    pub database: Arc<str>,
    /// `ca.crt` of the cluster's certificate Secret; none does not check the server.
    pub roots: Option<Arc<str>>,
}

impl ClientStart {
    /// From a user Secret (and the cluster's certificate Secret) as they stand in the API; none when a key is
    /// missing.
    #[must_use]
    pub fn from_secrets(
        world: &World,
        kube: KubeId,
        namespace: &str,
        user: &str,
        roots: Option<(&str, &str)>,
        name: &str,
        every: Span,
    ) -> Option<Self> {
        let api = &world.kube(kube).api;
        let secret = api.get(Kind::Secret, namespace, user)?;
        let text = |key: &str| secret.data(key).and_then(|v| v.expose_text().map(Arc::<str>::from));
        let roots = match roots {
            Some((secret, key)) => {
                let secret = api.get(Kind::Secret, namespace, secret)?;
                Some(secret.data(key)?.expose_text()?.into())
            }
            None => None,
        };
        Some(Self {
            name: name.into(),
            namespace: namespace.into(),
            every,
            host: text("host")?,
            port: text("port")?.parse().ok()?,
            user: text("user")?,
            password: secret.data("password")?,
            database: text("dbname")?,
            roots,
        })
    }
}

/// The application.
#[derive(Clone)]
pub struct Client {
    actor_name: Arc<str>,
    start: Arc<ClientStart>,
    /// The server that it is connected to: a certain address.
    connection: Option<Where>,
    waiting: Option<Ticket>,
    next_row: u64,
    acked: Arc<Rows>,
    last_ack: Option<Time>,
    began: Time,
    failing: bool,
    longest_gap: Span,
    last_error: Arc<str>,
}

/// How long a statement may take.
const STATEMENT_TIMEOUT: Span = Span::s(10);
/// Before a new attempt after an error.
const RECONNECT: Span = Span::ms(100);

impl Client {
    /// An application that has yet to start.
    #[must_use]
    pub fn new(start: ClientStart) -> Self {
        Self {
            actor_name: format!("client/{}", start.name).into(),
            start: Arc::new(start),
            connection: None,
            waiting: None,
            next_row: 1,
            acked: Arc::default(),
            last_ack: None,
            began: Time::START,
            failing: false,
            longest_gap: Span::ZERO,
            last_error: "".into(),
        }
    }

    /// The rows of which the commit was acknowledged.
    #[must_use]
    pub fn acked(&self) -> &Rows {
        &self.acked
    }

    /// The longest time between two acknowledgements so far (or from the first try to the first).
    #[must_use]
    pub fn longest_gap(&self) -> Span {
        self.longest_gap
    }

    /// The longest time without an acknowledgement, the one that lasts at this moment included.
    #[must_use]
    pub fn gap_until(&self, now: Time) -> Span {
        let present = now - self.last_ack.unwrap_or(self.began);
        self.longest_gap.max(present)
    }

    /// Whether its last attempt was acknowledged.
    #[must_use]
    pub fn writable(&self) -> bool {
        !self.failing && self.last_ack.is_some()
    }

    /// The last error that it saw, in words; empty before the first.
    #[must_use]
    pub fn last_error(&self) -> &str {
        &self.last_error
    }

    /// The host that it connects to.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.start.host
    }

    /// The rows that it wrote and that the primary must have.
    #[must_use]
    pub fn name_of_rows(&self) -> &Arc<str> {
        &self.start.name
    }

    fn write(&mut self, cx: &mut Cx<'_>) {
        if self.waiting.is_some() {
            return;
        }
        if self.connection.is_none() {
            let start = &self.start;
            self.connection = cx.resolve(&start.namespace, &start.host, start.port);
        }
        let Some(to) = self.connection.clone() else {
            return self.failed(cx, "could not translate host name to address");
        };
        let start = &self.start;
        let verify = start.roots.as_ref().map(|roots| (roots.clone(), start.host.clone()));
        let request = SqlRequest {
            user: start.user.clone(),
            password: start.password.clone(),
            database: start.database.clone(),
            verify,
            statement: Statement::Insert { client: start.name.clone(), row: self.next_row },
        };
        self.next_row += 1;
        self.waiting = Some(cx.call(to, Call::Sql(request), STATEMENT_TIMEOUT));
    }

    fn heard(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        self.waiting = None;
        match reply {
            Ok(Reply::Sql(SqlReply::Committed)) => self.committed(cx),
            Ok(Reply::Sql(SqlReply::Error { code, message })) => {
                self.failed(cx, &format!("{message} ({code})"));
            }
            Err(CallError::TimedOut) => self.failed(cx, "timeout"),
            Err(CallError::Reset) => self.failed(cx, "server closed the connection unexpectedly"),
            _ => self.failed(cx, "Connection refused"),
        }
    }

    fn committed(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        Arc::make_mut(&mut self.acked).insert(self.next_row - 1);
        let gap = now - self.last_ack.unwrap_or(self.began);
        self.longest_gap = self.longest_gap.max(gap);
        if self.failing || self.last_ack.is_none() {
            cx.note(Milestone::Writable { client: self.start.name.clone(), gap_ms: gap.0 / 1000 });
        }
        self.failing = false;
        self.last_ack = Some(now);
        cx.timer(self.start.every, 0);
    }

    fn failed(&mut self, cx: &mut Cx<'_>, why: &str) {
        self.connection = None;
        if !self.failing {
            cx.note(Milestone::NotWritable {
                client: self.start.name.clone(),
                why: why.to_owned(),
            });
        }
        self.failing = true;
        if *self.last_error != *why {
            self.last_error = why.into();
        }
        cx.timer(RECONNECT, 0);
    }
}

impl Actor for Client {
    crate::actor_boilerplate!();

    fn name(&self) -> &str {
        &self.actor_name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => {
                self.began = cx.now();
                self.write(cx);
            }
            Input::Timer(_) => self.write(cx),
            Input::Reply(ticket, reply) if self.waiting == Some(ticket) => self.heard(cx, reply),
            _ => {}
        }
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        hash.write_u8(u8::from(self.writable()));
    }
}

/// The acknowledged rows of these clients that are missing on the present primary of a scope; none when the scope
/// does not have exactly one writable primary, so that nothing can be said.
#[must_use]
pub fn lost_rows(
    world: &World,
    kube: KubeId,
    namespace: &str,
    scope: &str,
    clients: &[ActorId],
) -> Option<BTreeMap<Arc<str>, Vec<u64>>> {
    let writable: Vec<(ActorId, _)> =
        members(world, kube, namespace, scope).filter(|(_, m)| m.writable()).collect();
    let [(_, member)] = writable.as_slice() else {
        return None;
    };
    let volume = world.kube(kube).volume(member.volume())?;
    let data = volume.directories.get(&member.config().directory)?;
    let mut lost = BTreeMap::new();
    for client in clients.iter().filter_map(|id| world.actor::<Client>(*id)) {
        let have = data.contents.rows(client.name_of_rows());
        let missing = client.acked().missing_in(have);
        if !missing.is_empty() {
            lost.insert(client.name_of_rows().clone(), missing);
        }
    }
    Some(lost)
}
