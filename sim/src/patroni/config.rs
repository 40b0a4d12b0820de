//! Patroni's settings: the local files with the container's environment, and the dynamic configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::time::Span;

/// A version of Patroni.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The version that the reference describes.
    pub const BASELINE: Version = Version(4, 1, 4);

    /// Reads `4.0.7`, or a major version alone: `3` is 3.3.9, `4` is [`Self::BASELINE`]. None for anything else, and for
    /// versions that the model does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Option<Vec<u16>> = text.split('.').map(|p| p.parse().ok()).collect();
        match parts?[..] {
            [3] => Some(Self(3, 3, 9)),
            [4] => Some(Self::BASELINE),
            [major @ 3..=4, minor, patch] => Some(Self(major, minor, patch)),
            _ => None,
        }
    }

    /// Whether a standby looks each turn whether it left its leader's history, as long as its timeline is an earlier
    /// one: from 3.3.9, 4.0.8 and 4.1.1 on. Before, it looks when the leader changes and when it starts.
    #[must_use]
    pub fn looks_for_divergence_when_behind(self) -> bool {
        let Self(major, minor, patch) = self;
        match (major, minor) {
            (3, 3) => patch >= 9,
            (4, 0) => patch >= 8,
            _ => self >= Self(4, 1, 1),
        }
    }

    /// The word for a leader's role in status and REST: `primary` from 4.0 on, `master` before.
    #[must_use]
    pub fn leader_word(self) -> &'static str {
        if self >= Version(4, 0, 0) { "primary" } else { "master" }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// How an empty node that wins the race is filled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BootstrapMethod {
    /// `initdb`.
    Initdb,
    /// The data directory was prepared beside: `<data>_bootstrap` is renamed to `<data>`.
    Existing,
    /// A custom command that this model can't run; it fails.
    Unknown(String),
}

/// How a replica is filled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaMethod {
    /// `pg_basebackup` from a member.
    Basebackup,
    /// `pgbackrest restore`.
    Pgbackrest {
        /// Which repository (`--repo`).
        repo: u8,
        /// Usable without a leader.
        no_leader: bool,
        /// The command line has an argument that pgBackRest refuses (a left-over `no_master` on Patroni 4).
        refused: bool,
    },
}

/// What a member knows from files and environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberConfig {
    /// Patroni's version.
    pub version: Version,
    /// PostgreSQL's major version.
    pub postgres_version: i32,
    /// The member's and the Pod's name.
    pub name: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The scope.
    pub scope: Arc<str>,
    /// Labels on everything, the scope's among them; they select the members, too.
    pub labels: BTreeMap<String, String>,
    /// The label that Patroni maintains on its Pod.
    pub role_label: String,
    /// Its value on the leader.
    pub leader_label: String,
    /// Its value on a standby leader.
    pub standby_leader_label: String,
    /// The Pod's address.
    pub pod_ip: Arc<str>,
    /// The ports that are written to the leader's Endpoints.
    pub ports: Value,
    /// `host:port` of PostgreSQL, for others.
    pub connect_address: Arc<str>,
    /// `host:port` of the REST API, for others.
    pub rest_address: Arc<str>,
    /// The data directory's name at the volume's root.
    pub directory: Arc<str>,
    /// Where `pg_wal` shall be.
    pub wal_directory: Arc<str>,
    /// Whether there is a `bootstrap` section, and how.
    pub bootstrap: Option<BootstrapMethod>,
    /// `bootstrap.dcs`.
    pub bootstrap_dcs: Arc<Map<String, Value>>,
    /// `create_replica_methods`.
    pub replica_methods: Vec<ReplicaMethod>,
    /// Tag `nofailover`.
    pub nofailover: bool,
    /// Tag `failover_priority`.
    pub failover_priority: i64,
}

/// Merges YAML documents as Patroni does: maps deeply, null removes, everything else replaces.
pub fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (_, Value::Null) => {
                into.remove(&key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

impl MemberConfig {
    /// From the YAML files of `/etc/patroni` in alphabetical order, and the environment.
    ///
    /// # Errors
    /// What Patroni would refuse to start with.
    pub fn read(
        files: &[&str],
        env: &BTreeMap<String, String>,
        version: Version,
    ) -> Result<Self, String> {
        let mut all = Map::new();
        for file in files {
            match serde_saphyr::from_str::<Value>(file) {
                Ok(Value::Object(map)) => merge(&mut all, map),
                Ok(Value::Null) => {}
                Ok(_) => return Err("configuration is no mapping".into()),
                Err(e) => return Err(format!("configuration can't be parsed: {e}")),
            }
        }
        Self::from_value(&Value::Object(all), env, version)
    }

    fn from_value(
        all: &Value,
        env: &BTreeMap<String, String>,
        version: Version,
    ) -> Result<Self, String> {
        let var = |name: &str| {
            env.get(name).map(String::as_str).ok_or_else(|| format!("{name} is not set"))
        };
        let text = |pointer: &str| all.pointer(pointer).and_then(Value::as_str);
        let scope = text("/scope").ok_or("scope is not set")?;
        let scope_label = text("/kubernetes/scope_label").unwrap_or("cluster-name");
        let mut labels: BTreeMap<String, String> = all
            .pointer("/kubernetes/labels")
            .and_then(Value::as_object)
            .map(|m| {
                let pair = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
                m.iter().filter_map(pair).collect()
            })
            .unwrap_or_default();
        labels.insert(scope_label.to_owned(), scope.to_owned());
        let leader_label = match text("/kubernetes/leader_label_value") {
            Some(value) if version >= Version(3, 1, 0) => value,
            _ => version.leader_word(),
        };
        let standby_leader_label = match text("/kubernetes/standby_leader_label_value") {
            Some(value) if version >= Version(3, 1, 1) => value,
            _ => version.leader_word(),
        };
        let data = var("PATRONI_POSTGRESQL_DATA_DIR")?;
        let directory = data.rsplit('/').next().unwrap_or(data);
        let digits: String = directory.chars().filter(char::is_ascii_digit).collect();
        let ports: Value = serde_saphyr::from_str(
            env.get("PATRONI_KUBERNETES_PORTS").map_or("[]", String::as_str),
        )
        .map_err(|e| format!("PATRONI_KUBERNETES_PORTS: {e}"))?;
        let wal_directory =
            wal_directory(all).map_or_else(|| format!("{data}/pg_wal"), str::to_owned);
        Ok(Self {
            version,
            postgres_version: digits.parse().unwrap_or(0),
            name: var("PATRONI_NAME")?.into(),
            namespace: text("/kubernetes/namespace").unwrap_or("default").into(),
            scope: scope.into(),
            labels,
            role_label: text("/kubernetes/role_label").unwrap_or("role").to_owned(),
            leader_label: leader_label.to_owned(),
            standby_leader_label: standby_leader_label.to_owned(),
            pod_ip: var("PATRONI_KUBERNETES_POD_IP")?.into(),
            ports,
            connect_address: var("PATRONI_POSTGRESQL_CONNECT_ADDRESS")?.into(),
            rest_address: var("PATRONI_RESTAPI_CONNECT_ADDRESS")?.into(),
            directory: directory.into(),
            wal_directory: wal_directory.into(),
            bootstrap: all.get("bootstrap").and_then(Value::as_object).map(|b| {
                match b.get("method").and_then(Value::as_str) {
                    None | Some("initdb") => BootstrapMethod::Initdb,
                    Some("existing") => BootstrapMethod::Existing,
                    Some(other) => BootstrapMethod::Unknown(other.to_owned()),
                }
            }),
            bootstrap_dcs: Arc::new(
                all.pointer("/bootstrap/dcs")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default(),
            ),
            replica_methods: replica_methods(all, version),
            nofailover: all.pointer("/tags/nofailover") == Some(&Value::Bool(true)),
            failover_priority: all
                .pointer("/tags/failover_priority")
                .and_then(Value::as_i64)
                .unwrap_or(1),
        })
    }

    /// Whether the member may be promoted at all.
    #[must_use]
    pub fn nofailover(&self) -> bool {
        self.nofailover || (self.version >= Version(3, 2, 0) && self.failover_priority <= 0)
    }
}

/// `waldir` of initdb or of the base backup.
fn wal_directory(all: &Value) -> Option<&str> {
    ["/bootstrap/initdb", "/postgresql/basebackup"]
        .iter()
        .filter_map(|p| all.pointer(p)?.as_array())
        .flatten()
        .find_map(|o| match o {
            Value::String(s) => s.strip_prefix("waldir="),
            Value::Object(m) => m.get("waldir")?.as_str(),
            _ => None,
        })
}

fn replica_methods(all: &Value, version: Version) -> Vec<ReplicaMethod> {
    let names: Vec<&str> = match all.pointer("/postgresql/create_replica_methods") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => vec!["basebackup"],
    };
    let method = |name: &str| match name {
        "basebackup" => Some(ReplicaMethod::Basebackup),
        "pgbackrest" => {
            let section = all.pointer("/postgresql/pgbackrest")?;
            let command = section.get("command")?.as_str()?;
            let repo = command.split("--repo=").nth(1)?.chars().next()?.to_digit(10)?;
            let set = |key: &str| section.get(key).is_some();
            let old = version < Version(4, 0, 0);
            Some(ReplicaMethod::Pgbackrest {
                repo: u8::try_from(repo).ok()?,
                no_leader: set("no_leader") || (old && set("no_master")),
                refused: !old && set("no_master"),
            })
        }
        _ => None,
    };
    names.into_iter().filter_map(method).collect()
}

/// Synchronous mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SyncMode {
    /// Off.
    Off,
    /// On.
    On,
    /// Quorum (4.0+).
    Quorum,
}

/// The remote that a standby cluster follows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StandbyCluster {
    /// Hosts, comma-separated.
    pub host: Option<String>,
    /// Port.
    pub port: u16,
    /// Which repository the restore command reads; none without a restore command.
    pub repo: Option<u8>,
    /// Replica creation methods for the first clone, by name.
    pub methods: Vec<String>,
}

/// The dynamic configuration, as far as anything here depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dynamic {
    /// T, as adjusted.
    pub ttl: Span,
    /// L, as adjusted.
    pub loop_wait: Span,
    /// R, as adjusted.
    pub retry_timeout: Span,
    /// `maximum_lag_on_failover`, in bytes.
    pub maximum_lag_bytes: u64,
    /// `check_timeline`.
    pub check_timeline: bool,
    /// `primary_start_timeout`.
    pub primary_start_timeout: Span,
    /// `synchronous_mode`.
    pub synchronous: SyncMode,
    /// `synchronous_mode_strict`.
    pub strict: bool,
    /// `synchronous_node_count`.
    pub synchronous_count: usize,
    /// `failsafe_mode`.
    pub failsafe: bool,
    /// `pause`.
    pub pause: bool,
    /// `standby_cluster`, when it is active.
    pub standby: Option<StandbyCluster>,
    /// `postgresql.parameters`.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// `postgresql.use_pg_rewind`.
    pub use_pg_rewind: bool,
    /// `remove_data_directory_on_rewind_failure`.
    pub remove_on_rewind_failure: bool,
    /// `remove_data_directory_on_diverged_timelines`.
    pub remove_on_diverged: bool,
}

impl Dynamic {
    /// Reads a document; none when a timing is no integer, and the former configuration stays (§4.3).
    #[must_use]
    pub fn read(document: &Map<String, Value>, version: Version) -> Option<Self> {
        let whole = |key: &str, default: i64| match document.get(key) {
            None | Some(Value::Null) => Some(default),
            Some(Value::Number(n)) => n.as_i64(),
            Some(Value::String(s)) => s.parse().ok(),
            Some(_) => None,
        };
        let (mut ttl, mut wait, mut retry) =
            (whole("ttl", 30)?, whole("loop_wait", 10)?, whole("retry_timeout", 10)?);
        if version >= Version(3, 2, 0) {
            (ttl, wait, retry) = adjusted(ttl.max(20), wait.max(1), retry.max(3));
        }
        let flag = |map: &Map<String, Value>, key: &str| match map.get(key) {
            Some(Value::Bool(b)) => *b,
            Some(Value::String(s)) => {
                matches!(&*s.to_ascii_lowercase(), "true" | "on" | "yes" | "1")
            }
            _ => false,
        };
        let empty = Map::new();
        let postgresql = document.get("postgresql").and_then(Value::as_object).unwrap_or(&empty);
        let start = whole("primary_start_timeout", -1)?;
        let start = if start >= 0 { start } else { whole("master_start_timeout", 300)? };
        Some(Self {
            ttl: Span::s(ttl),
            loop_wait: Span::s(wait),
            retry_timeout: Span::s(retry),
            maximum_lag_bytes: u64::try_from(whole("maximum_lag_on_failover", 1 << 20)?)
                .unwrap_or(0),
            check_timeline: flag(document, "check_timeline"),
            primary_start_timeout: Span::s(start),
            synchronous: match document.get("synchronous_mode") {
                Some(Value::String(s)) if s == "quorum" && version >= Version(4, 0, 0) => {
                    SyncMode::Quorum
                }
                _ if flag(document, "synchronous_mode") => SyncMode::On,
                _ => SyncMode::Off,
            },
            strict: flag(document, "synchronous_mode_strict"),
            synchronous_count: usize::try_from(whole("synchronous_node_count", 1)?)
                .unwrap_or(1)
                .max(1),
            failsafe: flag(document, "failsafe_mode") && version >= Version(3, 0, 0),
            pause: flag(document, "pause"),
            standby: standby(document),
            parameters: Arc::new(parameters(postgresql)),
            use_pg_rewind: flag(postgresql, "use_pg_rewind"),
            remove_on_rewind_failure: flag(postgresql, "remove_data_directory_on_rewind_failure"),
            remove_on_diverged: flag(postgresql, "remove_data_directory_on_diverged_timelines"),
        })
    }

    /// From a JSON text.
    #[must_use]
    pub fn parse(text: &str, version: Version) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Self::read(&map, version),
            _ => None,
        }
    }

    /// The defaults.
    ///
    /// # Panics
    /// Never: an empty document is readable.
    #[must_use]
    pub fn default_for(version: Version) -> Self {
        Self::read(&Map::new(), version).unwrap_or_else(|| unreachable!("all keys have defaults"))
    }
}

/// The rule L + 2R ≤ T of 3.2 and later.
fn adjusted(ttl: i64, wait: i64, retry: i64) -> (i64, i64, i64) {
    if 1 + 2 * retry > ttl {
        (ttl, 1, (ttl - 1) / 2)
    } else if wait + 2 * retry > ttl {
        (ttl, ttl - 2 * retry, retry)
    } else {
        (ttl, wait, retry)
    }
}

fn standby(document: &Map<String, Value>) -> Option<StandbyCluster> {
    let section = document.get("standby_cluster")?.as_object()?;
    let text = |key: &str| match section.get(key) {
        Some(Value::String(s)) if !s.is_empty() => Some(s.clone()),
        Some(Value::Number(n)) => Some(n.to_string()),
        _ => None,
    };
    let (host, port, restore) = (text("host"), text("port"), text("restore_command"));
    if host.is_none() && port.is_none() && restore.is_none() {
        return None;
    }
    let repo = |command: &String| {
        let digit = command.split("--repo=").nth(1)?.chars().next()?;
        u8::try_from(digit.to_digit(10)?).ok()
    };
    Some(StandbyCluster {
        host,
        port: port.and_then(|p| p.parse().ok()).unwrap_or(5432),
        repo: restore.as_ref().map(|c| repo(c).unwrap_or(1)),
        methods: section
            .get("create_replica_methods")
            .and_then(Value::as_array)
            .map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

fn parameters(postgresql: &Map<String, Value>) -> BTreeMap<String, String> {
    let Some(map) = postgresql.get("parameters").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    map.iter()
        .filter_map(|(name, value)| {
            let value = match value {
                Value::String(s) => s.clone(),
                Value::Number(n) => n.to_string(),
                Value::Bool(b) => if *b { "on" } else { "off" }.to_owned(),
                _ => return None,
            };
            Some((name.to_ascii_lowercase(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_made_sane_as_measured() {
        for (document, version, expected) in [
            ("{}", Version(4, 1, 4), Some((30, 10, 10))),
            // T=20 with the default R=10 runs with L=1, R=9 (§4.3).
            (r#"{"ttl":20}"#, Version(4, 1, 4), Some((20, 1, 9))),
            (r#"{"ttl":20,"loop_wait":5,"retry_timeout":5}"#, Version(4, 1, 4), Some((20, 5, 5))),
            (r#"{"ttl":5,"loop_wait":5,"retry_timeout":5}"#, Version(3, 0, 2), Some((5, 5, 5))),
            (r#"{"loop_wait":1.5}"#, Version(4, 1, 4), None),
            (r#"{"ttl":"40"}"#, Version(4, 1, 4), Some((40, 10, 10))),
        ] {
            let read = Dynamic::parse(document, version);
            let got = read.map(|d| (d.ttl, d.loop_wait, d.retry_timeout));
            let expected = expected.map(|(t, l, r)| (Span::s(t), Span::s(l), Span::s(r)));
            assert_eq!(got, expected, "{document} {version}");
        }
    }
}
