//! `pgbackrest server` on a repository host (port 8432): keeps the repositories on its volumes, and makes
//! backups of the instances that its configuration names.

use std::collections::BTreeMap;
use std::hash::Hash as _;
use std::sync::Arc;

use crate::pgbackrest::repository::{handle, repo_of};
use crate::pgbackrest::{BackrestReply, BackrestRequest, BackupKind, backup_time, checkpoint_wait};
use crate::postgres::auth::Certificate;
use crate::time::{Span, Time};
use crate::world::call::{Call, CallError, Reply};
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Input, Probe, Signal, Ticket};

/// What the server is started with.
#[derive(Clone, Debug)]
pub struct ServerStart {
    /// The Pod's namespace.
    pub namespace: Arc<str>,
    /// The Pod's name.
    pub pod: Arc<str>,
    /// PersistentVolumes by repository number.
    pub volumes: BTreeMap<u8, Arc<str>>,
    /// Host and PostgreSQL port of every instance (`pgI-host`, `pgI-port`).
    pub instances: Vec<(Arc<str>, u16)>,
    /// Contents of `config-hash`.
    pub config_hash: Arc<str>,
    /// The certificate for its clients.
    pub certificate: Option<Certificate>,
    /// Where the last three come from when the files change; none when they never do.
    pub files: Option<crate::patroni::programs::Files>,
}

/// A backup under way.
#[derive(Clone, Debug)]
struct Making {
    asker: Ticket,
    repo: u8,
    kind: BackupKind,
    fast: bool,
    started: Time,
    /// Instances that have yet to answer.
    open: u32,
    found: bool,
    /// Whom the data come from.
    host: Option<(Arc<str>, u16)>,
    copied: bool,
}

/// The server.
#[derive(Clone, Debug)]
pub struct BackrestServer {
    name: Arc<str>,
    start: Arc<ServerStart>,
    /// What it presents since it started or was last told to reload; none where there are no files.
    certificate: Option<Certificate>,
    making: Option<Making>,
    asked: BTreeMap<Ticket, (Arc<str>, u16)>,
}

/// The copy is over.
const COPIED: u64 = 1;

/// Reads the instances out of `pgbackrest_repo.conf`.
#[must_use]
pub fn instances(conf: &str) -> Vec<(Arc<str>, u16)> {
    let value = |key: &str| {
        conf.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    };
    (1..)
        .map_while(|i| {
            let host = value(&format!("pg{i}-host"))?;
            let port = value(&format!("pg{i}-port")).and_then(|p| p.parse().ok());
            Some((host.into(), port.unwrap_or(5432)))
        })
        .collect()
}

impl BackrestServer {
    /// A server; give its actor a place with port 8432.
    #[must_use]
    pub fn new(start: ServerStart) -> Self {
        Self {
            name: format!("pgbackrest/{}/{}", start.namespace, start.pod).into(),
            certificate: start.certificate.clone(),
            start: Arc::new(start),
            making: None,
            asked: BTreeMap::new(),
        }
    }

    /// Whether it was done at once.
    fn answer(&mut self, cx: &mut Cx<'_>, asker: Ticket, request: BackrestRequest) -> bool {
        let today = cx.now().timestamp();
        if self.certificate.as_ref().is_some_and(|c| !c.holds(today)) {
            let text = "ERROR: [095]: unable to verify certificate presented by the repository host: [10] \
                        certificate has expired";
            cx.reply(asker, Reply::Backrest(BackrestReply::Failed(text.into())));
            return false;
        }
        if let BackrestRequest::Backup { repo, kind, config_hash, fast } = request {
            self.backup(cx, asker, repo, kind, &config_hash, fast);
            return false;
        }
        let now = cx.now();
        let volume = repo_of(&request).and_then(|r| self.start.volumes.get(&r)).cloned();
        let reply = match volume.and_then(|v| cx.volume(&v)) {
            Some(volume) => handle(volume, now, &request),
            None => BackrestReply::Failed("ERROR: [073]: repository path is not there".into()),
        };
        let done = matches!(reply, BackrestReply::Done);
        cx.reply(asker, Reply::Backrest(reply));
        done
    }

    fn backup(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        repo: u8,
        kind: BackupKind,
        config_hash: &str,
        fast: bool,
    ) {
        if *config_hash != *self.start.config_hash {
            let text = "pgBackRest configuration on this Pod differs".into();
            return cx.reply(asker, Reply::Backrest(BackrestReply::Failed(text)));
        }
        if self.making.is_some() {
            let text =
                "ERROR: [050]: unable to acquire lock on file '/tmp/pgbackrest/db-backup.lock'"
                    .into();
            return cx.reply(asker, Reply::Backrest(BackrestReply::Failed(text)));
        }
        self.making = Some(Making {
            asker,
            repo,
            kind,
            fast,
            started: cx.now(),
            open: 0,
            found: false,
            host: None,
            copied: false,
        });
        for (host, port) in self.start.instances.clone() {
            self.inquire(cx, host, port);
        }
        self.nobody_left(cx);
    }

    fn inquire(&mut self, cx: &mut Cx<'_>, host: Arc<str>, port: u16) {
        if let Some(to) = cx.resolve(&self.start.namespace, &host, port) {
            let call = Call::Backrest(BackrestRequest::Instance);
            let ticket = cx.call(to, call, Span::s(5));
            self.asked.insert(ticket, (host, port));
            if let Some(making) = &mut self.making {
                making.open += 1;
            }
        }
    }

    fn nobody_left(&mut self, cx: &mut Cx<'_>) {
        let lost = self.making.as_ref().is_some_and(|m| m.open == 0 && (!m.found || m.copied));
        if lost {
            self.fail(cx, "ERROR: [056]: unable to find primary cluster - cannot proceed");
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, text: &str) {
        if let Some(making) = self.making.take() {
            let reply = BackrestReply::Failed(text.to_owned());
            cx.reply(making.asker, Reply::Backrest(reply));
        }
    }

    fn heard(&mut self, cx: &mut Cx<'_>, ticket: Ticket, reply: Result<Reply, CallError>) {
        let (Some(from), Some(making)) = (self.asked.remove(&ticket), &mut self.making) else {
            return;
        };
        making.open -= 1;
        let primary = match reply {
            Ok(Reply::Backrest(BackrestReply::Instance { data, in_recovery: false })) => Some(data),
            _ => None,
        };
        match primary {
            Some(data) if making.copied => {
                let request = BackrestRequest::Store {
                    repo: making.repo,
                    kind: making.kind,
                    data,
                    started: making.started,
                };
                let (asker, kind, repo) = (making.asker, making.kind, making.repo);
                self.making = None;
                if self.answer(cx, asker, request) {
                    cx.note(Milestone::Backup {
                        text: format!("repo{repo}: a backup is complete ({kind:?})"),
                    });
                }
            }
            Some(data) if !making.found => {
                making.found = true;
                making.host = Some(from);
                let wait = checkpoint_wait(making.fast) + backup_time(&data, making.kind);
                cx.timer(wait, COPIED);
            }
            _ => self.nobody_left(cx),
        }
    }

    fn copied(&mut self, cx: &mut Cx<'_>) {
        let host = match &mut self.making {
            Some(making) => {
                making.copied = true;
                making.host.clone()
            }
            None => return,
        };
        if let Some((host, port)) = host {
            self.inquire(cx, host, port);
        }
        self.nobody_left(cx);
    }
}

impl Actor for BackrestServer {
    crate::actor_boilerplate!();

    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Call(ticket, Call::Backrest(request)) => {
                self.answer(cx, ticket, request);
            }
            Input::Reply(ticket, reply) => self.heard(cx, ticket, reply),
            Input::Timer(COPIED) => self.copied(cx),
            Input::Mounts(mounts) => {
                if let Some(files) = self.start.files.clone() {
                    let start = Arc::make_mut(&mut self.start);
                    start.instances = files.instances(&mounts);
                    start.config_hash = files.config_hash(&mounts);
                    // The sidecar sends SIGHUP.
                    let pair = files.server_certificate(&mounts).filter(Certificate::loads);
                    let text = |c: &Option<Certificate>| c.as_ref().map(|c| c.certificate.clone());
                    if pair.is_some() && text(&pair) != text(&self.certificate) {
                        self.certificate = pair;
                        let text = "the repository host presents its new certificate".into();
                        cx.note(Milestone::Backup { text });
                    }
                }
            }
            Input::Signal(Signal::Term) => cx.exit(0),
            _ => {}
        }
    }

    fn probe(&self, _now: Time, _probe: Probe) -> Option<bool> {
        Some(true)
    }

    fn fingerprint(&self, hash: &mut dyn std::hash::Hasher) {
        let mut hash = hash;
        self.making.is_some().hash(&mut hash);
    }
}
