//! Patroni's dynamic configuration: what the user wrote, with what must be so in it
//! (`reference/reconcile.md` §3.3, §3.9).

use serde_json::{Map, Value, json};

use crate::postgres::hba::{self, Components};
use crate::postgres::parameters::Parameters;

/// What the dynamic configuration depends on besides the user's.
#[derive(Clone, PartialEq, Debug)]
pub struct Inputs<'a> {
    /// `spec.patroni.leaderLeaseDurationSeconds`
    pub lease_s: u32,
    /// `spec.patroni.syncPeriodSeconds`
    pub sync_period_s: u32,
    /// PostgreSQL's major version.
    pub postgres_version: i32,
    /// PostgreSQL's parameters before the user is heard.
    pub parameters: &'a Parameters,
    /// Which components have access rules.
    pub components: Components,
    /// Where a standby cluster gets its data from; none for a cluster of its own.
    pub standby: Option<Standby<'a>>,
}

/// Where a standby cluster gets its data from: a server, a repository or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standby<'a> {
    /// The server it streams from.
    pub host: Option<&'a str>,
    /// That server's port.
    pub port: Option<u16>,
    /// Whether it reads from a repository, which the parameters' `restore_command` names.
    pub repo: bool,
}

/// The whole document. `user` is `spec.patroni.dynamicConfiguration`, of any shape; of what is no mapping
/// where one belongs, nothing counts.
#[must_use]
pub fn configuration(inputs: &Inputs<'_>, user: Option<&Value>) -> Value {
    let mut document = mapping(user);
    document.insert("ttl".to_owned(), json!(inputs.lease_s));
    document.insert("loop_wait".to_owned(), json!(inputs.sync_period_s));
    let postgresql = postgresql(inputs, mapping(document.get("postgresql")));
    document.insert("postgresql".to_owned(), Value::Object(postgresql));
    if let Some(standby) = &inputs.standby {
        let users = mapping(document.get("standby_cluster"));
        let section = standby_cluster(standby, inputs.parameters, users);
        document.insert("standby_cluster".to_owned(), Value::Object(section));
    }
    Value::Object(document)
}

fn postgresql(inputs: &Inputs<'_>, mut section: Map<String, Value>) -> Map<String, Value> {
    let parameters = inputs.parameters.merge(section.get("parameters"));
    let rules = hba::rules(inputs.components, section.get("pg_hba"));
    section.insert("parameters".to_owned(), json!(parameters));
    section.insert("pg_hba".to_owned(), json!(rules));
    section.insert("use_pg_rewind".to_owned(), json!(inputs.postgres_version > 10));
    section.entry("use_slots").or_insert(json!(false));
    section
}

fn standby_cluster(
    standby: &Standby<'_>,
    parameters: &Parameters,
    mut section: Map<String, Value>,
) -> Map<String, Value> {
    section.remove("restore_command");
    let mut methods = Vec::new();
    if standby.repo {
        methods.push("pgbackrest");
        let command = json!(parameters.restore_command());
        section.insert("restore_command".to_owned(), command);
    }
    if let Some(host) = standby.host {
        methods.push("basebackup");
        section.insert("host".to_owned(), json!(host));
        if let Some(port) = standby.port {
            section.insert("port".to_owned(), json!(port));
        }
    }
    section.insert("create_replica_methods".to_owned(), json!(methods));
    section
}

fn mapping(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::parameters;

    fn made(version: i32, repo: Option<u8>, standby: Option<Standby<'_>>, user: &Value) -> Value {
        let inputs = parameters::Inputs { standby_repo: repo, ..Default::default() };
        let inputs = Inputs {
            lease_s: 30,
            sync_period_s: 10,
            postgres_version: version,
            parameters: &Parameters::new(inputs),
            components: Components::default(),
            standby,
        };
        configuration(&inputs, Some(user))
    }

    #[test]
    fn what_must_be_so_is_so_and_the_rest_is_the_users() {
        for (user, path, expected) in [
            (json!({"ttl": 5}), "/ttl", json!(30)),
            (json!({"loop_wait": 5}), "/loop_wait", json!(10)),
            (json!({"synchronous_mode": true}), "/synchronous_mode", json!(true)),
            (json!({"postgresql": {"use_slots": true}}), "/postgresql/use_slots", json!(true)),
            (json!({}), "/postgresql/use_slots", json!(false)),
            (
                json!({"postgresql": {"use_pg_rewind": false}}),
                "/postgresql/use_pg_rewind",
                json!(true),
            ),
            (json!({"postgresql": {"x": [1]}}), "/postgresql/x", json!([1])),
            (json!({"postgresql": [1]}), "/postgresql/parameters/wal_level", json!("logical")),
            (
                json!({"postgresql": {"parameters": {"JIT": "on"}}}),
                "/postgresql/parameters/jit",
                json!("on"),
            ),
            (
                json!({"postgresql": {"pg_hba": ["local x"]}}),
                "/postgresql/pg_hba/4",
                json!("local x"),
            ),
            (json!("text"), "/postgresql/pg_hba/4", json!("hostssl all all all md5")),
            (json!({"standby_cluster": {"host": "h"}}), "/standby_cluster", json!({"host": "h"})),
        ] {
            let document = made(18, None, None, &user);
            assert_eq!(document.pointer(path), Some(&expected), "{user} {path}");
        }
        assert_eq!(made(10, None, None, &json!({}))["postgresql"]["use_pg_rewind"], json!(false));
        assert_eq!(made(18, None, None, &json!({})).get("standby_cluster"), None);
    }

    #[test]
    fn a_standby_cluster_has_a_source() {
        let from_repo = "pgbackrest --stanza=db archive-get %f \"%p\" --repo=2";
        let user = json!({"standby_cluster":
            {"restore_command": "theirs", "primary_slot_name": "s", "port": 1}});
        let server = Standby { host: Some("h"), port: Some(5433), repo: false };
        let repo = Standby { repo: true, ..Standby::default() };
        for (standby, expected) in [
            (
                server,
                json!({"host": "h", "port": 5433, "primary_slot_name": "s",
                "create_replica_methods": ["basebackup"]}),
            ),
            (
                repo,
                json!({"restore_command": from_repo, "port": 1, "primary_slot_name": "s",
                "create_replica_methods": ["pgbackrest"]}),
            ),
            (
                Standby { repo: true, port: None, ..server },
                json!({"host": "h", "port": 1,
                "restore_command": from_repo, "primary_slot_name": "s",
                "create_replica_methods": ["pgbackrest", "basebackup"]}),
            ),
        ] {
            let document = made(18, Some(2), Some(standby), &user);
            assert_eq!(document["standby_cluster"], expected);
        }
    }
}
