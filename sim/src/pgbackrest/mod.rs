//! pgBackRest as a model: repositories with their stanza, archive and backups; the server on a repository
//! host; backup and restore processes. Deliberately absent: encryption, checksums, delta on file level.

pub mod backup_job;
pub mod repository;
pub mod restore_job;
pub mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

pub use repository::{Archive, Backup, Repository, Stanza};

use crate::postgres::DataDirectory;
use crate::postgres::wal::{Ancestor, Lsn, Record};
use crate::time::{Span, Time};
use crate::world::{Cx, Where};

/// A repository as a configuration file names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepoTarget {
    /// 1 to 4.
    pub number: u8,
    /// Where.
    pub place: RepoPlace,
}

/// Where a repository is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RepoPlace {
    /// On a repository host's volume.
    Host {
        /// The host's DNS name.
        host: Arc<str>,
        /// Its port.
        port: u16,
    },
    /// In an object store: a volume of this name in the same Kubernetes (`bucket:<name>`), which the
    /// harness makes.
    Bucket(Arc<str>),
}

impl RepoTarget {
    /// Whom to ask: the repository host, or this container itself, which reaches the bucket.
    #[must_use]
    pub fn resolve(&self, cx: &Cx<'_>, namespace: &str) -> Option<Where> {
        match &self.place {
            RepoPlace::Host { host, port } => {
                let mut labels = host.trim_end_matches('.').split('.');
                let other = labels.by_ref().nth(2);
                match (other, labels.next()) {
                    (Some(other), Some("svc")) => cx.resolve(other, host, *port),
                    _ => cx.resolve(namespace, host, *port),
                }
            }
            RepoPlace::Bucket(_) => Some(Where::Actor(cx.me)),
        }
    }
}

/// Reads the repositories out of `pgbackrest_instance.conf` (components.md §1.3).
#[must_use]
pub fn targets(conf: &str) -> Vec<RepoTarget> {
    let value = |key: String| {
        conf.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    (1..=4u8)
        .filter_map(|number| {
            let place = if let Some(host) = value(format!("repo{number}-host")) {
                RepoPlace::Host { host: host.into(), port: 8432 }
            } else {
                let bucket = ["s3-bucket", "gcs-bucket", "azure-container"]
                    .iter()
                    .find_map(|key| value(format!("repo{number}-{key}")))?;
                RepoPlace::Bucket(format!("bucket:{bucket}").into())
            };
            Some(RepoTarget { number, place })
        })
        .collect()
}

/// A request to a pgBackRest process.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum BackrestRequest {
    /// `archive-push`: log from a position up to another.
    Push {
        repo: u8,
        system_id: u64,
        history: Arc<Vec<Ancestor>>,
        timeline: u32,
        records: Arc<[Record]>,
        begin: Lsn,
        end: Lsn,
    },
    /// `archive-get`: what follows on a position.
    Get { repo: u8, system_id: u64, timeline: u32, from: Lsn },
    /// The newest timeline of which a history file is in the archive.
    NewestTimeline { repo: u8 },
    /// `stanza-create`, or `stanza-upgrade`.
    StanzaCreate { repo: u8, system_id: u64, version: i32, upgrade: bool },
    /// A finished copy of an instance's data becomes a backup.
    Store { repo: u8, kind: BackupKind, data: Arc<DataDirectory>, started: Time },
    /// `restore`.
    Restore { repo: u8, target: Option<Target>, set: Option<String> },
    /// `info`.
    Info { repo: u8 },
    /// Who are you, and what are your data? To an instance.
    Instance,
    /// `pgbackrest backup` on this host, to the repository host or (cloud repositories) the instance.
    Backup { repo: u8, kind: BackupKind, config_hash: Arc<str>, fast: bool },
}

/// How far a restore goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a moment, exclusive of what was written after it.
    Time(Time),
    /// As soon as the data are consistent.
    Immediate,
    /// To a position.
    Lsn(Lsn),
}

/// Kinds of backup.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BackupKind {
    /// Everything.
    Full,
    /// What changed since the last full one.
    Diff,
    /// What changed since the last one.
    Incr,
}

impl BackupKind {
    /// From `--type=…` among options; pgBackRest's default is incremental.
    #[must_use]
    pub fn of_options(options: &str) -> Self {
        if options.contains("--type=full") {
            Self::Full
        } else if options.contains("--type=diff") {
            Self::Diff
        } else {
            Self::Incr
        }
    }
}

/// How long the checkpoint at a backup's beginning takes: at once with `start-fast`, else spread over time.
#[must_use]
pub fn checkpoint_wait(fast: bool) -> Span {
    if fast { Span::s(1) } else { Span::s(20) }
}

/// How long the copy of a backup takes: an incremental one moves a twentieth, about.
#[must_use]
pub fn backup_time(data: &DataDirectory, kind: BackupKind) -> Span {
    let bytes = data.contents.bytes();
    let moved = if kind == BackupKind::Full { bytes } else { bytes / 20 };
    crate::patroni::durations::copy(moved, Span::ms(2_500))
}

/// An answer.
#[derive(Clone, Debug)]
pub enum BackrestReply {
    /// Done.
    Done,
    /// Log.
    Log(Arc<[Record]>),
    /// The newest timeline known.
    Timeline(u32),
    /// A directory, ready to start as standby.
    Restored(Arc<DataDirectory>),
    /// An instance.
    Instance {
        /// Its data.
        data: Arc<DataDirectory>,
        /// Whether it is in recovery.
        in_recovery: bool,
    },
    /// A repository's contents.
    Info(StanzaInfo),
    /// An error, in pgBackRest's words.
    Failed(String),
}

/// What `info` tells of one repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StanzaInfo {
    /// The stanza's system identifier; none without a stanza.
    pub system_id: Option<u64>,
    /// Label, kind, begin and end of every backup, oldest first.
    pub backups: Vec<(String, BackupKind, Time, Time)>,
}

/// `pgbackrest info --output=json` for repositories by number; one that could not be looked into has none.
#[must_use]
pub fn info_json(repos: &BTreeMap<u8, Option<StanzaInfo>>) -> String {
    let (mut list, mut databases, mut backups) = (Vec::new(), Vec::new(), Vec::new());
    for (number, info) in repos {
        let (code, message) = match info {
            None => (99, "other"),
            Some(StanzaInfo { system_id: None, .. }) => (1, "missing stanza path"),
            Some(info) if info.backups.is_empty() => (2, "no valid backups"),
            Some(_) => (0, "ok"),
        };
        list.push(json!({"key": number, "status": {"code": code, "message": message}}));
        let Some(info) = info else {
            continue;
        };
        if let Some(id) = info.system_id {
            databases.push(json!({"id": 1, "repo-key": number, "system-id": id}));
        }
        for (label, kind, begin, end) in &info.backups {
            let kind = match kind {
                BackupKind::Full => "full",
                BackupKind::Diff => "diff",
                BackupKind::Incr => "incr",
            };
            backups.push(json!({
                "label": label, "type": kind, "error": false,
                "timestamp": {"start": begin.0 / 1_000_000, "stop": end.0 / 1_000_000},
                "database": {"id": 1, "repo-key": number},
            }));
        }
    }
    json!([{"name": ivory_core::names::STANZA, "repo": list, "db": databases, "backup": backups}])
        .to_string()
}

/// Answers a request for a repository in an object store, from within a container that reaches it.
pub fn bucket_request(
    cx: &mut Cx<'_>,
    now: Time,
    targets: &[RepoTarget],
    request: &BackrestRequest,
) -> BackrestReply {
    let number = repository::repo_of(request);
    let bucket = targets.iter().find_map(|t| match &t.place {
        RepoPlace::Bucket(bucket) if Some(t.number) == number => Some(bucket.clone()),
        _ => None,
    });
    match bucket.and_then(|b| cx.volume(&b)) {
        Some(volume) => repository::handle(volume, now, request),
        None => BackrestReply::Failed("ERROR: [049]: unable to connect to the object store".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_from_the_instances_file() {
        let conf = "[global]\nlog-path = /pgdata/pgbackrest/log\n\
            repo1-host = hippo-repo-host-0.hippo-pods.db.svc.cluster.local.\nrepo1-path = /pgbackrest/repo1\n\
            repo2-s3-bucket = backups\nrepo2-type = s3\n\n[db]\npg1-path = /pgdata/pg18\n";
        let found = targets(conf);
        assert_eq!(found.len(), 2);
        assert!(
            matches!(&found[0].place, RepoPlace::Host { host, port: 8432 } if host.starts_with("hippo-repo-host-0."))
        );
        assert_eq!(found[1].place, RepoPlace::Bucket("bucket:backups".into()));
    }
}
