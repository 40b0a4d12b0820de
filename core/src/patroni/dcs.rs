//! What Patroni keeps for the whole cluster, as annotations on its Endpoints (`reference/patroni.md` §1.2).
//! We only read it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::kind::Kind;
use crate::names;
use crate::object::StringMap;
use crate::observed::Observed;

/// The annotations of the Endpoints `<cluster>-ha`: who leads.
///
/// A leader that died leaves its name standing. Only who watches the record change can tell a live
/// lease from a dead one; `renewed` comes from the leader's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leader {
    /// The Pod that leads; none after it gave the lead up.
    pub name: Option<String>,
    /// How long the lease lasts after each renewal, in seconds.
    pub ttl_s: Option<u64>,
    /// When the lease was renewed, by the leader's clock.
    pub renewed: Option<Timestamp>,
    /// When the present holder took it, by its clock.
    pub acquired: Option<Timestamp>,
    /// How often the lead changed.
    pub transitions: Option<u64>,
    /// How far the leader had come, in bytes of WAL.
    pub optime: Option<u64>,
}

impl Leader {
    /// What is known of a cluster's; none if that was not read, or is not there.
    #[must_use]
    pub fn of(observed: &Observed, cluster: &str) -> Option<Self> {
        let endpoints = observed.find(Kind::Endpoints, &names::scope(cluster));
        endpoints.known().map(|e| Self::read(&e.meta.annotations))
    }

    /// Reads the annotations; what is missing or no number or time reads as none.
    #[must_use]
    pub fn read(annotations: &StringMap) -> Self {
        let number = |key| text(annotations, key)?.parse().ok();
        let time = |key| text(annotations, key)?.parse().ok();
        Self {
            name: text(annotations, "leader").map(str::to_owned),
            ttl_s: number("ttl"),
            renewed: time("renewTime"),
            acquired: time("acquireTime"),
            transitions: number("transitions"),
            optime: number("optime"),
        }
    }

    /// Whether nobody holds the lease any more: it was given up, or not renewed for twice as long as it lasts. That goes by
    /// the clocks of two machines, so nobody may be kept from leading by it.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.name.is_none() || self.over_at().is_some_and(|at| at <= now)
    }

    /// How long it will not be over, if nobody renews it; none if it is, or that is not known.
    #[must_use]
    pub fn lasts_still(&self, now: Timestamp) -> Option<Duration> {
        self.over_at()?.duration_since(now).try_into().ok()
    }

    fn over_at(&self) -> Option<Timestamp> {
        let lasts = SignedDuration::from_secs(i64::try_from(self.ttl_s?).ok()?);
        self.renewed?.checked_add(lasts.checked_mul(2)?).ok()
    }
}

/// The annotations of the Endpoints `<cluster>-ha-config`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    /// PostgreSQL's system identifier. None while nobody has bootstrapped the cluster; while somebody is
    /// about to, Patroni writes an empty text, which reads as none too.
    pub system_identifier: Option<String>,
    /// The dynamic configuration; none if it is missing or no JSON.
    pub dynamic: Option<Value>,
    /// Changes of timeline, oldest first.
    pub history: Vec<Switch>,
}

/// One change of timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switch {
    /// The timeline that ended.
    pub timeline: u64,
    /// Where it ended, in bytes of WAL.
    pub lsn: u64,
    /// Why, in PostgreSQL's words.
    pub reason: String,
    /// When the next one began; Patroni adds it a little later.
    pub at: Option<Timestamp>,
    /// Who began it; Patroni adds it a little later.
    pub leader: Option<String>,
}

impl Config {
    /// What is known of a cluster's; none if that was not read, or is not there.
    #[must_use]
    pub fn of(observed: &Observed, cluster: &str) -> Option<Self> {
        let endpoints = observed.find(Kind::Endpoints, &names::scope_config(cluster));
        endpoints.known().map(|e| Self::read(&e.meta.annotations))
    }

    /// Reads the annotations; what cannot be read is left out.
    #[must_use]
    pub fn read(annotations: &StringMap) -> Self {
        let json = |key| serde_json::from_str::<Value>(text(annotations, key)?).ok();
        let history = json("history");
        let entries = history.as_ref().and_then(Value::as_array);
        Self {
            system_identifier: text(annotations, "initialize").map(str::to_owned),
            dynamic: json("config"),
            history: entries.into_iter().flatten().filter_map(switch).collect(),
        }
    }
}

fn switch(entry: &Value) -> Option<Switch> {
    let words = |index: usize| entry.get(index).and_then(Value::as_str);
    Some(Switch {
        timeline: entry.get(0)?.as_u64()?,
        lsn: entry.get(1)?.as_u64()?,
        reason: words(2).unwrap_or_default().to_owned(),
        at: words(3).and_then(|t| t.parse().ok()),
        leader: words(4).map(str::to_owned),
    })
}

fn text<'a>(annotations: &'a StringMap, key: &str) -> Option<&'a str> {
    annotations.get(key).map(String::as_str).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn map(entries: &[(&str, &str)]) -> StringMap {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn a_leader_is_read() {
        let found = Leader::read(&map(&[
            ("leader", "hippo-00-aaaa-0"),
            ("ttl", "30"),
            ("renewTime", "2026-11-24T05:58:34.123456+00:00"),
            ("acquireTime", "2026-11-24T05:58:00.000001+00:00"),
            ("transitions", "2"),
            ("optime", "50332000"),
        ]));
        let time = |text: &str| text.parse().ok();
        let expected = Leader {
            name: Some("hippo-00-aaaa-0".into()),
            ttl_s: Some(30),
            renewed: time("2026-11-24T05:58:34.123456Z"),
            acquired: time("2026-11-24T05:58:00.000001Z"),
            transitions: Some(2),
            optime: Some(50_332_000),
        };
        assert!(expected.renewed.is_some());
        assert_eq!(found, expected);
        assert_eq!(Leader::read(&map(&[("leader", ""), ("ttl", "x")])), Leader::default());
    }

    #[test]
    fn a_configuration_is_read() {
        let found = Config::read(&map(&[
            ("initialize", "7300000000000000002"),
            ("config", r#"{"ttl":30}"#),
            (
                "history",
                r#"[[1,50332000,"no recovery target specified","2026-11-24T05:58:34.1+00:00","a"],
                [2,60000000,"x"],["?"]]"#,
            ),
        ]));
        assert_eq!(found.system_identifier.as_deref(), Some("7300000000000000002"));
        assert_eq!(found.dynamic, Some(json!({"ttl": 30})));
        let timelines: Vec<_> =
            found.history.iter().map(|s| (s.timeline, s.leader.as_deref())).collect();
        assert_eq!(timelines, [(1, Some("a")), (2, None)]);
        assert!(found.history[0].at.is_some());
        assert_eq!(Config::read(&map(&[("initialize", "")])), Config::default());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*", number in "[0-9.e-]{0,30}") {
            let keys = ["leader", "ttl", "renewTime", "optime", "initialize", "config", "history"];
            for value in [text, format!("[[{number},{number}]]"), number] {
                let all: StringMap = keys.iter().map(|k| ((*k).to_owned(), value.clone())).collect();
                let _ = (Leader::read(&all), Config::read(&all));
            }
        }
    }
}
