//! What is accepted and what is refused, by rules and by reading, over the manifests in
//! `tests/fixtures`. Their section `schema` needs an API server; `schema_tests` has those limits.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::rules::{IVORY_CLUSTER, IVY_UPGRADE};
use super::schema_tests::schemas;
use super::{IvoryClusterSpec, IvoryClusterStatus, read, read_status, read_upgrade};
use crate::object::Object;

const FULL: &str = include_str!("../../tests/fixtures/full.yaml");
const VERDICTS: &str = include_str!("../../tests/fixtures/verdicts.yaml");

#[derive(Deserialize)]
struct Verdicts {
    base: Value,
    rules: Vec<Refusal>,
    accepted: Vec<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    patch: Value,
    says: String,
}

fn verdicts() -> Verdicts {
    serde_saphyr::from_str(VERDICTS).unwrap()
}

fn full() -> Value {
    serde_saphyr::from_str(FULL).unwrap()
}

fn patched(base: &Value, patch: &Value) -> Value {
    let mut object = base.clone();
    crate::test_support::merge(&mut object, patch);
    object
}

fn read_value(value: Value) -> Result<IvoryClusterSpec, String> {
    read(&Object::from_value(value).unwrap()).map_err(|error| error.to_string())
}

/// What the rules have against an object.
struct Judge(BTreeMap<&'static str, Value>);

impl Judge {
    fn new() -> Self {
        Self(schemas().into())
    }

    fn complaints(&self, object: &Value) -> Vec<String> {
        let schema = &self.0[object["kind"].as_str().unwrap()];
        match kube_cel::Validator::new().validate(schema, object, None) {
            Ok(()) => vec![],
            Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
        }
    }
}

#[test]
fn every_rule_refuses_what_it_is_for() {
    let judge = Judge::new();
    let Verdicts { base, rules, .. } = verdicts();
    for Refusal { patch, says } in &rules {
        let complaints = judge.complaints(&patched(&base, patch));
        assert!(complaints.len() == 1 && complaints[0].contains(says), "{patch}: {complaints:?}");
    }
    for rule in IVORY_CLUSTER {
        let tried = rules.iter().any(|refusal| rule.message.contains(&refusal.says));
        assert!(tried, "no example for: {}", rule.message);
    }

    let upgrade = |from: i32, to: i32| {
        let spec =
            json!({"fromIvoryVersion": from, "toIvoryVersion": to, "ivoryclusterName": "hippo"});
        json!({"apiVersion": "ivory-operator.ivorysql.org/v1beta1", "kind": "IvyUpgrade",
            "metadata": {"name": "up"}, "spec": spec})
    };
    assert_eq!(judge.complaints(&upgrade(17, 18)), [""; 0]);
    assert_eq!(judge.complaints(&upgrade(18, 18)), [IVY_UPGRADE[0].message]);
    let spec = read_upgrade(&Object::from_value(upgrade(17, 18)).unwrap()).unwrap();
    assert_eq!((spec.from_ivory_version, spec.to_ivory_version), (17, 18));
}

#[test]
fn what_is_served_is_accepted_and_read() {
    let judge = Judge::new();
    let Verdicts { base, accepted, .. } = verdicts();
    for object in accepted.iter().map(|patch| patched(&base, patch)).chain([full()]) {
        assert_eq!(judge.complaints(&object), [""; 0], "{object}");
        if object.get("spec").is_some() {
            let read = read_value(object.clone());
            assert!(read.is_ok(), "{object}: {read:?}");
        }
    }
}

#[test]
fn a_set_that_the_status_knows_may_keep_its_long_name() {
    let judge = Judge::new();
    let Verdicts { base, rules, .. } = verdicts();
    let mut object = patched(&base, &rules[0].patch);
    let name = object["spec"]["instances"][0]["name"].clone();
    object["status"] = json!({ "instances": [{ "name": "other" }] });
    assert_eq!(judge.complaints(&object).len(), 1);
    object["status"] = json!({ "instances": [{ "name": name }] });
    assert_eq!(judge.complaints(&object), [""; 0]);
}

#[test]
fn nothing_of_a_full_manifest_is_lost_in_reading() {
    let object = full();
    let written = json!(read_value(object.clone()).unwrap());
    let mut lost = Vec::new();
    compare("spec", &object["spec"], &written, &mut lost);
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Lists what `read` has otherwise than `given`. What is given as its default may be left out.
fn compare(path: &str, given: &Value, read: &Value, lost: &mut Vec<String>) {
    match (given, read) {
        (Value::Object(given), Value::Object(_)) => {
            for (key, value) in given {
                compare(&format!("{path}.{key}"), value, &read[key], lost);
            }
        }
        (Value::Array(given), Value::Array(read)) if given.len() == read.len() => {
            for (index, (given, read)) in given.iter().zip(read).enumerate() {
                compare(&format!("{path}[{index}]"), given, read, lost);
            }
        }
        // Quantities are texts and may be given as numbers.
        (Value::Number(given), Value::String(read)) if given.to_string() == *read => {}
        (Value::Bool(false), Value::Null) => {}
        _ if given == read => {}
        _ if path == "spec.userInterface.pgAdmin.service" && read.is_null() => {}
        _ => lost.push(format!("{path}: {given} became {read}")),
    }
}

#[test]
fn defaults_are_the_same_without_an_api_server() {
    let base = verdicts().base;
    let spec = read_value(base.clone()).unwrap();
    assert_eq!((spec.port, spec.instances[0].replicas), (5432, 1));
    assert_eq!(spec.sets().map(|(name, _)| name).collect::<Vec<_>>(), ["00"]);
    let patroni = &spec.patroni;
    assert_eq!(
        (patroni.port, patroni.leader_lease_duration_seconds, patroni.sync_period_seconds),
        (8008, 30, 10)
    );
    let patch = json!({"spec": {"patroni": {"port": 9000}, "standby": {"host": "h"}, "proxy": {"pgBouncer": {}}}});
    let spec = read_value(patched(&base, &patch)).unwrap();
    assert_eq!((spec.patroni.port, spec.patroni.sync_period_seconds), (9000, 10));
    assert!(spec.active_standby().is_some());
    let bouncer = spec.pg_bouncer().unwrap();
    assert_eq!((bouncer.port, bouncer.replicas), (5432, 1));
}

#[test]
fn absent_empty_and_null_are_told_apart_where_they_differ() {
    let base = verdicts().base;
    let users = |users: Value| {
        let mut object = base.clone();
        object["spec"]["users"] = users;
        read_value(object).unwrap().users.map(|users| users.len())
    };
    assert_eq!(users(Value::Null), None);
    assert_eq!(users(json!([])), Some(0));
    assert_eq!(users(json!([{ "name": "rhino" }])), Some(1));
    assert_eq!(read_value(base.clone()).unwrap().users, None);

    let spec = read_value(full()).unwrap();
    assert_eq!(spec.patroni.dynamic_configuration["master_start_timeout"], Value::Null);
    let patch = json!({"spec": {"image": "", "standby": {"host": "", "repoName": "repo1"}}});
    let spec = read_value(patched(&base, &patch)).unwrap();
    assert_eq!((spec.image, spec.standby.unwrap().host), (None, None));
}

#[test]
fn a_status_reads_back_and_a_wiped_one_says_nothing() {
    let mut object = Object::from_value(verdicts().base).unwrap();
    assert_eq!(read_status(&object), Ok(IvoryClusterStatus::default()));
    let status = json!({
        "observedGeneration": 3,
        "instances": [{"name": "00", "replicas": 1, "readyReplicas": 0}],
        "patroni": {"primary": "hippo-00-abcd", "systemIdentifier": "7000000000000000000"},
        "pgbackrest": {
            "repos": [{"name": "repo1", "stanzaCreated": true}],
            "manualBackup": {"id": "one", "finished": true, "startTime": "2026-01-01T00:00:00Z"},
        },
        "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    object.body_mut().insert("status".into(), status.clone());
    assert_eq!(json!(read_status(&object).unwrap()), status);
}

#[test]
fn an_unreadable_field_is_named_but_not_shown() {
    let base = verdicts().base;
    let check = |patch: Value, says: &str| {
        let error = read_value(patched(&base, &json!({ "spec": patch }))).unwrap_err();
        assert_eq!(error, says, "{patch}");
    };
    check(
        json!({"port": "secret"}),
        "spec.port: expected a whole number within bounds, found a text",
    );
    check(
        json!({"port": 54.5}),
        "spec.port: expected a whole number within bounds, found a fraction",
    );
    check(json!({"backups": null}), "spec.backups: missing; it is mandatory");
    check(
        json!({"backups": {"pgbackrest": {"repos": null}}}),
        "spec.backups.pgbackrest.repos: missing; it is mandatory",
    );
    check(
        json!({"instances": [{"dataVolumeClaimSpec": {}}, {"dataVolumeClaimSpec": {}, "replicas": true}]}),
        "spec.instances[1].replicas: expected a whole number within bounds, found true or false",
    );
    check(
        json!({"backups": {"pgbackrest": {"global": {"repo1-cipher-pass": 5}}}}),
        "spec.backups.pgbackrest.global.repo1-cipher-pass: expected a text, found a number",
    );
    check(
        json!({"backups": {"pgbackrest": {"restore": {"repoName": "repo1", "options": ["a", 1]}}}}),
        "spec.backups.pgbackrest.restore.options[1]: expected a text, found a number",
    );
    check(
        json!({"backups": {"pgbackrest": {"restore": {"enabled": true}}}}),
        "spec.backups.pgbackrest.restore.repoName: missing; it is mandatory",
    );
    check(
        json!({"backups": {"pgbackrest": {"restore": {"enabled": "yes", "repoName": "repo1"}}}}),
        "spec.backups.pgbackrest.restore.enabled: expected true or false, found a text",
    );
    check(
        json!({"service": {"type": "ExternalName"}}),
        "spec.service.type: expected one of `ClusterIP`, `NodePort`, `LoadBalancer`, found a text",
    );
    check(json!({"users": {"name": "x"}}), "spec.users: expected a list, found a map");
    check(json!({"metadata": 1}), "spec.metadata: expected a map, found a number");
    check(
        json!({"instances": [{"dataVolumeClaimSpec": {"accessModes": "x"}}]}),
        "spec.instances[0].dataVolumeClaimSpec.accessModes: expected a list, found a text",
    );
    check(
        json!({"service": {"type": "secret, expected to be safe"}}),
        "spec.service.type: expected one of `ClusterIP`, `NodePort`, `LoadBalancer`, found a text",
    );
    check(
        json!({"instances": [{"dataVolumeClaimSpec": {}, "minAvailable": true}]}),
        "spec.instances[0].minAvailable: expected a number or a text, found true or false",
    );
    check(
        json!({"instances": [{"dataVolumeClaimSpec": {}, "resources": {"limits": {"cpu": [1]}}}]}),
        "spec.instances[0].resources.limits.cpu: expected a number or a text, found a list",
    );
    check(
        json!({"port": 3_000_000_000_u32}),
        "spec.port: expected a whole number within bounds, found a number",
    );
    let nothing = read_value(patched(&base, &json!({ "spec": null }))).unwrap_err();
    assert_eq!(nothing, "spec: missing; it is mandatory");
}
