//! What `pgbackrest info --output=json` says: which repositories hold backups, and whose. The reader
//! takes what it understands and survives everything else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::STANZA;

/// pgBackRest's word for "something went wrong with this repository" (`status.code`).
const STATUS_OTHER: u64 = 99;
/// pgBackRest's word for "nothing is there under this stanza's name".
const STATUS_NO_STANZA: u64 = 1;

/// The stanza as the repositories show it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Info {
    /// The repositories that were asked, by number. Empty if there is no stanza at all.
    pub repos: BTreeMap<u8, Repo>,
}

/// One repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repo {
    /// Whether the repository could not be looked into; then nothing else here counts.
    pub failed: bool,
    /// Whether the repository could be looked into and the stanza is not in it at all.
    pub no_stanza: bool,
    /// pgBackRest's own words for its state, for people.
    pub message: String,
    /// The system identifier that is current in it: of the cluster whose WAL it takes.
    pub system_identifier: Option<String>,
    /// The backups, oldest first.
    pub backups: Vec<Backup>,
}

/// One backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backup {
    /// Its name, for example `20261124-055834F`.
    pub label: String,
    /// `full`, `diff` or `incr`.
    pub kind: String,
    /// When it began, in seconds since 1970.
    pub start_s: i64,
    /// When it ended, in seconds since 1970.
    pub stop_s: i64,
    /// Whether checksums of pages were wrong in it.
    pub damaged: bool,
}

impl Info {
    /// Reads the JSON; none if it is no list of stanzas, which says nothing about the repositories.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut info = Self::default();
        let named = |s: &&Value| s.get("name").and_then(Value::as_str) == Some(STANZA);
        let Some(stanza) = value.as_array()?.iter().find(named) else {
            return Some(info);
        };
        let list = |key| stanza.get(key).and_then(Value::as_array).into_iter().flatten();
        for repo in list("repo") {
            let Some(number) = number(repo.get("key")) else {
                continue;
            };
            let status = repo.get("status");
            let field = |name| status.and_then(|s| s.get(name));
            let entry = info.repos.entry(number).or_default();
            let code = field("code").and_then(Value::as_u64);
            entry.failed = code == Some(STATUS_OTHER);
            entry.no_stanza = code == Some(STATUS_NO_STANZA);
            entry.message = text_of(field("message"));
        }
        // The newest entry of a repository's history has the highest id.
        let mut newest = BTreeMap::new();
        for database in list("db") {
            let id = database.get("id").and_then(Value::as_u64).unwrap_or(0);
            let system = database.get("system-id").and_then(Value::as_u64);
            if let (Some(number), Some(system)) = (number(database.get("repo-key")), system) {
                let slot = newest.entry(number).or_insert((id, system));
                *slot = (*slot).max((id, system));
            }
        }
        for (number, (_, system)) in newest {
            let entry = info.repos.entry(number).or_default();
            entry.system_identifier = Some(system.to_string());
        }
        for backup in list("backup") {
            let database = backup.get("database");
            if let Some(number) = number(database.and_then(|d| d.get("repo-key"))) {
                info.repos.entry(number).or_default().backups.push(read_backup(backup));
            }
        }
        for repo in info.repos.values_mut() {
            repo.backups.sort_by(|a, b| (a.stop_s, &a.label).cmp(&(b.stop_s, &b.label)));
        }
        Some(info)
    }

    /// Whether a repository holds a backup; none if it was not asked or could not be looked into.
    #[must_use]
    pub fn has_backup(&self, repo: u8) -> Option<bool> {
        let repo = self.repos.get(&repo)?;
        (!repo.failed).then_some(!repo.backups.is_empty())
    }

    /// Whether every repository can be seen to belong to the cluster with this system identifier, or
    /// to nobody yet. Only then may the stanza be upgraded to another identifier: doing so to a
    /// repository of somebody else takes their backups away from them.
    #[must_use]
    pub fn belongs_to(&self, system_identifier: &str) -> bool {
        let ours = |r: &Repo| {
            let found = r.system_identifier.as_deref();
            !r.failed && found.is_none_or(|found| found == system_identifier)
        };
        !self.repos.is_empty() && self.repos.values().all(ours)
    }
}

fn number(value: Option<&Value>) -> Option<u8> {
    u8::try_from(value?.as_u64()?).ok()
}

fn text_of(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn read_backup(value: &Value) -> Backup {
    let time = |key| {
        let at = value.get("timestamp").and_then(|t| t.get(key));
        at.and_then(Value::as_i64).unwrap_or(0)
    };
    Backup {
        label: text_of(value.get("label")),
        kind: text_of(value.get("type")),
        start_s: time("start"),
        stop_s: time("stop"),
        damaged: value.get("error").and_then(Value::as_bool).unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The shape that pgBackRest 2.45 writes: repo1 was upgraded once, repo2 is empty, repo3 not readable.
    const SAMPLE: &str = r#"[{"archive":[],"backup":[
        {"database":{"id":1,"repo-key":1},"error":false,"label":"20261124-060000F_20261124-070000I",
         "timestamp":{"start":1795503600,"stop":1795503660},"type":"incr"},
        {"database":{"id":1,"repo-key":1},"error":true,"label":"20261124-060000F",
         "timestamp":{"start":1795500000,"stop":1795500141},"type":"full"}],
        "cipher":"none","db":[
        {"id":2,"repo-key":1,"system-id":7300000000000000002,"version":"16"},
        {"id":1,"repo-key":1,"system-id":7300000000000000009,"version":"15"},
        {"id":1,"repo-key":2,"system-id":7300000000000000002,"version":"16"}],
        "name":"db","repo":[
        {"cipher":"none","key":1,"status":{"code":0,"message":"ok"}},
        {"cipher":"none","key":2,"status":{"code":2,"message":"no valid backups"}},
        {"cipher":"none","key":3,"status":{"code":99,"message":"[039] AccessDenied"}},
        {"cipher":"none","key":4,"status":{"code":1,"message":"missing stanza path"}}],
        "status":{"code":4,"message":"different across repos"}},{"name":"other"}]"#;

    #[test]
    fn repositories_are_told_apart() {
        let info = Info::parse(SAMPLE).expect("readable");
        let answers = [1, 2, 3, 4, 5].map(|n| info.has_backup(n));
        assert_eq!(answers, [Some(true), Some(false), None, Some(false), None]);
        let without: Vec<u8> =
            info.repos.iter().filter(|(_, r)| r.no_stanza).map(|(n, _)| *n).collect();
        assert_eq!(without, [4]);
        let first = &info.repos[&1];
        assert_eq!(first.system_identifier.as_deref(), Some("7300000000000000002"));
        let oldest = &first.backups[0];
        assert_eq!((&*oldest.kind, oldest.stop_s, oldest.damaged), ("full", 1_795_500_141, true));
        assert_eq!(info.repos[&3].message, "[039] AccessDenied");
    }

    #[test]
    fn an_upgrade_needs_every_repository_to_be_ours() {
        let id = "7300000000000000002";
        let mut info = Info::parse(SAMPLE).expect("readable");
        assert!(!info.belongs_to(id), "one repository could not be read");
        info.repos.remove(&3);
        assert!(info.belongs_to(id));
        assert!(!info.belongs_to("7300000000000000009"), "that one is not current");
        assert!(!Info::default().belongs_to(id), "nothing was seen");
    }

    #[test]
    fn no_answer_is_not_no_backup() {
        assert_eq!(Info::parse(""), None);
        assert_eq!(Info::parse("{}"), None);
        assert_eq!(Info::parse("[]"), Some(Info::default()));
        assert_eq!(Info::default().has_backup(1), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*", at in 0..1000usize, with in "[\\[\\]{}\",0-9a-z:]{0,3}") {
            let _ = Info::parse(&text);
            let mut broken = SAMPLE.to_owned();
            broken.replace_range(at % SAMPLE.len()..=at % SAMPLE.len(), &with);
            let _ = Info::parse(&broken);
        }
    }
}
