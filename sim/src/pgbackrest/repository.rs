//! A repository on a volume: what is in it, and how it answers.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::disk::Volume;
use crate::pgbackrest::{BackrestReply, BackrestRequest, BackupKind, StanzaInfo, Target};
use crate::postgres::DataDirectory;
use crate::postgres::data::Control;
use crate::postgres::wal::{Ancestor, Floors, Lsn, Record, segment_start};
use crate::time::Time;

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// The stanza `db`, once it is created.
    pub stanza: Option<Stanza>,
}

/// A stanza: whose archive and backups these are.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// System identifier.
    pub system_id: u64,
    /// PostgreSQL's major version.
    pub version: i32,
    /// The archive of every timeline.
    pub archive: BTreeMap<u32, Archive>,
    /// Timelines and positions after which a segment is missing: its primary died before it could archive it.
    pub holes: Vec<(u32, Lsn)>,
    /// Backups, oldest first.
    pub backups: Vec<Backup>,
}

/// The archived log of one timeline, from its branching on.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// The timeline's ancestors.
    pub history: Arc<Vec<Ancestor>>,
    /// The records.
    pub records: Arc<Vec<Record>>,
    /// Up to where the log is complete.
    pub end: Lsn,
}

/// A backup.
#[derive(Clone, Debug)]
pub struct Backup {
    /// `20260101-000000F`, or `…F_…I` for one that builds on another.
    pub label: String,
    /// Its kind; an incremental one without a predecessor is full.
    pub kind: BackupKind,
    /// When it began and ended.
    pub times: (Time, Time),
    /// The data as of its end.
    pub data: Arc<DataDirectory>,
}

impl Repository {
    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, hash: &mut dyn Hasher) {
        let mut hash = hash;
        if let Some(stanza) = &self.stanza {
            stanza.version.hash(&mut hash);
            stanza.archive.keys().for_each(|t| t.hash(&mut hash));
            for backup in &stanza.backups {
                // What was in it is a matter of the moment.
                backup.kind.hash(&mut hash);
            }
        }
    }
}

/// The repository that a request means.
pub(super) fn repo_of(request: &BackrestRequest) -> Option<u8> {
    match request {
        BackrestRequest::Push { repo, .. }
        | BackrestRequest::Get { repo, .. }
        | BackrestRequest::NewestTimeline { repo }
        | BackrestRequest::StanzaCreate { repo, .. }
        | BackrestRequest::Store { repo, .. }
        | BackrestRequest::Restore { repo, .. }
        | BackrestRequest::Info { repo }
        | BackrestRequest::Backup { repo, .. } => Some(*repo),
        BackrestRequest::Instance => None,
    }
}

/// Answers a request for the repository on a volume.
pub fn handle(volume: &mut Volume, now: Time, request: &BackrestRequest) -> BackrestReply {
    let trouble = volume.trouble;
    let repository = volume.repository.get_or_insert_default();
    match request {
        BackrestRequest::Push { .. } | BackrestRequest::Store { .. } | BackrestRequest::StanzaCreate { .. }
            if let Some(trouble) = trouble =>
        {
            let (number, text) = (trouble.number(), trouble.text());
            BackrestReply::Failed(format!("ERROR: [039]: unable to write: [{number}] {text}"))
        }
        BackrestRequest::StanzaCreate {
            system_id,
            version,
            upgrade,
            ..
        } => create(repository, *system_id, *version, *upgrade),
        BackrestRequest::Info { .. } => BackrestReply::Info(info(repository)),
        _ => match &mut repository.stanza {
            Some(stanza) => answer(stanza, now, request),
            None => BackrestReply::Failed(
                "ERROR: [055]: unable to load info file: archive.info does not exist; has a stanza-create been performed?".into(),
            ),
        },
    }
}

fn create(
    repository: &mut Repository,
    system_id: u64,
    version: i32,
    upgrade: bool,
) -> BackrestReply {
    match &mut repository.stanza {
        Some(stanza) if (stanza.system_id, stanza.version) == (system_id, version) => {
            BackrestReply::Done
        }
        Some(stanza) if upgrade => {
            (stanza.system_id, stanza.version) = (system_id, version);
            BackrestReply::Done
        }
        Some(_) => BackrestReply::Failed(
            "ERROR: [028]: backup and archive info files exist but do not match the database\n\
             HINT: is this the correct stanza?\nHINT: did an error occur during stanza-upgrade?"
                .into(),
        ),
        None => {
            repository.stanza = Some(Stanza {
                system_id,
                version,
                archive: BTreeMap::new(),
                holes: Vec::new(),
                backups: Vec::new(),
            });
            BackrestReply::Done
        }
    }
}

fn info(repository: &Repository) -> StanzaInfo {
    let Some(stanza) = &repository.stanza else {
        return StanzaInfo::default();
    };
    let facts = |b: &Backup| (b.label.clone(), b.kind, b.times.0, b.times.1);
    StanzaInfo {
        system_id: Some(stanza.system_id),
        backups: stanza.backups.iter().map(facts).collect(),
    }
}

fn foreign() -> BackrestReply {
    BackrestReply::Failed("ERROR: [044]: PostgreSQL system-id does not match the stanza's".into())
}

fn answer(stanza: &mut Stanza, now: Time, request: &BackrestRequest) -> BackrestReply {
    match request {
        BackrestRequest::Push { system_id, history, timeline, records, begin, end, .. } => {
            if *system_id != stanza.system_id {
                return foreign();
            }
            let known = stanza.archive.values().flat_map(|a| a.records.last()).map(|r| r.end).max();
            if let Some(known) = known.filter(|known| segment_start(*begin) > *known) {
                stanza.holes.push((*timeline, known));
            }
            // A promoted standby sends what it has of the old timeline, too (`.partial`).
            for record in records.iter() {
                let archive = stanza.archive.entry(record.timeline).or_default();
                if archive.records.last().is_none_or(|last| last.end < record.end) {
                    Arc::make_mut(&mut archive.records).push(record.clone());
                }
            }
            let archive = stanza.archive.entry(*timeline).or_default();
            archive.history = history.clone();
            archive.end = archive.end.max(*end);
            BackrestReply::Done
        }
        BackrestRequest::Get { system_id, timeline, from, .. } => {
            if *system_id != stanza.system_id {
                return foreign();
            }
            BackrestReply::Log(stanza.log_after(*timeline, *from).into())
        }
        BackrestRequest::NewestTimeline { .. } => {
            BackrestReply::Timeline(stanza.archive.keys().next_back().copied().unwrap_or(0))
        }
        BackrestRequest::Store { kind, data, started, .. } => {
            if data.system_id != stanza.system_id {
                return foreign();
            }
            stanza.store(now, *kind, data, *started);
            BackrestReply::Done
        }
        BackrestRequest::Restore { target, set, .. } => {
            stanza.restore(target.as_ref(), set.as_deref())
        }
        BackrestRequest::StanzaCreate { .. }
        | BackrestRequest::Instance
        | BackrestRequest::Info { .. }
        | BackrestRequest::Backup { .. } => {
            BackrestReply::Failed("ERROR: [032]: not for a repository".into())
        }
    }
}

impl Stanza {
    /// The archived log that follows on a position of a timeline, into the newest descendant timeline.
    fn log_after(&self, timeline: u32, from: Lsn) -> Vec<Record> {
        let follows = |archive: &&Archive, newest: u32| {
            newest == timeline
                || archive.history.iter().any(|a| a.timeline == timeline && a.switch >= from)
        };
        let newest = self.archive.iter().rev().find(|(t, a)| follows(a, **t));
        let Some((newest, archive)) = newest else {
            return Vec::new();
        };
        let mut records = Vec::new();
        let mut begin = from;
        for ancestor in archive.history.iter().filter(|a| a.timeline >= timeline) {
            if let Some(older) = self.archive.get(&ancestor.timeline) {
                let part =
                    older.records.iter().filter(|r| r.end > begin && r.end <= ancestor.switch);
                records.extend(part.cloned());
            }
            begin = begin.max(ancestor.switch);
        }
        debug_assert!(*newest >= timeline);
        records.extend(archive.records.iter().filter(|r| r.end > begin).cloned());
        records.sort_by_key(|r| (r.end, r.timeline));
        records.dedup_by_key(|r| (r.end, r.timeline));
        // Recovery ends where a segment is missing, whatever there is beyond it.
        let hole =
            self.holes.iter().filter(|(t, at)| *t <= *newest && *at >= from).map(|h| h.1).min();
        records.retain(|r| hole.is_none_or(|hole| r.end <= hole));
        records
    }

    fn store(&mut self, now: Time, wanted: BackupKind, data: &Arc<DataDirectory>, started: Time) {
        let stamp = |t: Time| t.timestamp().strftime("%Y%m%d-%H%M%S").to_string();
        let full = self.backups.iter().rfind(|b| b.kind == BackupKind::Full);
        let (kind, label) = match (wanted, full) {
            (BackupKind::Full, _) | (_, None) => (BackupKind::Full, format!("{}F", stamp(started))),
            (BackupKind::Diff, Some(full)) => {
                (wanted, format!("{}_{}D", full.label, stamp(started)))
            }
            (BackupKind::Incr, Some(full)) => {
                (wanted, format!("{}_{}I", full.label, stamp(started)))
            }
        };
        self.backups.push(Backup { label, kind, times: (started, now), data: data.clone() });
    }

    fn restore(&self, target: Option<&Target>, set: Option<&str>) -> BackrestReply {
        let fits = |b: &&Backup| match (set, target) {
            (Some(set), _) => b.label == set,
            (None, Some(Target::Time(at))) => b.times.1 <= *at,
            (None, Some(Target::Lsn(at))) => b.data.end <= *at,
            (None, _) => true,
        };
        let Some(backup) = self.backups.iter().rev().find(fits) else {
            return BackrestReply::Failed("ERROR: [075]: no backup set found to restore".into());
        };
        let mut data = (*backup.data).clone();
        data.control = Control::InArchiveRecovery;
        data.standby_signal = true;
        data.dynamic = None;
        let mut records = self.log_after(data.timeline, data.end);
        match target {
            Some(Target::Time(at)) => {
                let reached = records.iter().any(|r| r.at > *at);
                records.retain(|r| r.at <= *at);
                // Without a later record the target is not reached (PostgreSQL 13+: fatal).
                if !reached {
                    return BackrestReply::Failed(
                        "FATAL:  recovery ended before configured recovery target was reached"
                            .into(),
                    );
                }
            }
            Some(Target::Immediate) => records.clear(),
            Some(Target::Lsn(at)) => records.retain(|r| r.end <= *at),
            None => {}
        }
        data.receive(&records, &Floors([u32::MAX; 5]));
        (data.archived, data.ready_since) = (data.end, None);
        BackrestReply::Restored(Arc::new(data))
    }
}
