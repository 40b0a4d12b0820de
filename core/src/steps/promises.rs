//! Promises of the tutorial and of the API that one look at a settled cluster shows.

use serde_json::{Value, json};

use crate::command::Command;
use crate::postgres::sql;
use crate::test_support::{World, spec};
use crate::{Kind, labels, names};

fn settled(change: impl FnOnce(&mut Value)) -> World {
    let mut spec = spec(1);
    change(&mut spec);
    let mut world = World::new(spec);
    world.settle();
    world
}

/// Tutorial 6.1 and 7.4.
#[test]
fn backup_jobs_have_their_resources_and_their_priority() {
    let wanted = json!({"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}});
    let world = settled(|s| {
        s["backups"]["pgbackrest"]["jobs"] =
            json!({"resources": wanted, "priorityClassName": "low"});
    });
    let job = world.all(Kind::Job)[0].to_value();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["priorityClassName"], "low");
    assert_eq!(pod["containers"][0]["resources"], wanted);
}

/// api.md §6, row 30.
#[test]
fn the_label_of_pgbackrest_is_on_the_repository_host_and_on_its_jobs() {
    let world = settled(|_| {});
    let host = world.the(Kind::StatefulSet, &names::repo_host("hippo")).to_value();
    let job = world.all(Kind::Job)[0].to_value();
    for workload in [host, job] {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        assert!(labels.get(labels::PGBACKREST).is_some(), "{labels}");
    }
}

/// api.md §6, row 9.
#[test]
fn containers_follow_from_what_is_configured() {
    let of = |world: &World| -> Vec<String> {
        let set = world.the(Kind::StatefulSet, &world.leader()).to_value();
        let all = set["spec"]["template"]["spec"]["containers"].as_array().cloned();
        let name = |c: &Value| c["name"].as_str().map(str::to_owned);
        all.into_iter().flatten().filter_map(|c| name(&c)).collect()
    };
    let four = ["database", "replication-cert-copy", "pgbackrest", "pgbackrest-config"];
    assert_eq!(of(&settled(|_| {})), four);
    let world = settled(|s| {
        let bucket = json!([{"name": "repo1", "gcs": {"bucket": "b"}}]);
        s["backups"]["pgbackrest"]["repos"] = bucket;
    });
    assert_eq!(of(&world), four[..2], "nobody asks an instance for its files");
}

/// Tutorial 8.1, api.md §6, row 7.
#[test]
fn a_user_without_a_database_lacks_only_what_names_one() {
    let world = settled(|s| {
        s["users"] = json!([{"name": "rhino"}, {"name": "hippo", "databases": ["zoo"]}]);
    });
    let keys = |user: &str| -> Vec<String> {
        let secret = world.the(Kind::Secret, &names::pguser_secret("hippo", user)).to_value();
        secret["data"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect()
    };
    let least = ["host", "password", "port", "user", "verifier"];
    assert_eq!(keys("rhino"), least);
    let more: Vec<String> = keys("hippo").into_iter().filter(|k| !least.contains(&&**k)).collect();
    assert_eq!(more, ["dbname", "jdbc-uri", "uri"]);
}

/// Tutorial 8.1 and 8.2.
#[test]
fn options_are_set_again_when_they_change() {
    let with = |options: &str| json!([{"name": "rhino", "options": options}]);
    let mut world = settled(|s| s["users"] = with("SUPERUSER"));
    let options = |world: &World| {
        let last = world.commands.iter().rev().find_map(|(_, c)| match c {
            Command::Users { users } => Some(users[0].options.clone()),
            _ => None,
        });
        last.unwrap_or_default()
    };
    assert!(options(&world).contains("SUPERUSER"), "{}", options(&world));
    world.edit(|s| s["users"] = with("NOSUPERUSER"));
    world.settle();
    assert!(options(&world).contains("NOSUPERUSER"), "{}", options(&world));
}

/// api.md §6, row 6.
#[test]
fn sql_is_run_in_the_database_that_every_cluster_has() {
    let world = settled(|_| {});
    let mut ran = 0;
    for (_, command) in &world.commands {
        let rendered = command.render();
        if rendered.argv[0] == "psql" {
            assert!(rendered.argv.contains(&"--dbname=postgres".to_owned()), "{:?}", rendered.argv);
            ran += 1;
        }
    }
    assert!(ran > 0, "users are set by psql");
    let databases = Command::Databases { databases: vec!["zoo".into()], extensions: Vec::new() };
    assert!(databases.render().argv.join(" ").contains("PGDATABASE=postgres"));
    assert!(sql::databases::LIST.contains("pg_database"));
}

/// Tutorial 3.2.1 and 5.4, by what OpenShift's constraints `restricted-v2` let in: identities are left to the namespace, and
/// volumes are of a few types.
#[test]
fn on_openshift_pods_leave_their_identities_to_the_namespace() {
    const VOLUMES: [&str; 7] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let templates = |openshift: bool| -> Vec<Value> {
        let world = settled(|s| s["openshift"] = openshift.into());
        let workloads = [Kind::StatefulSet, Kind::Job].map(|kind| world.all(kind));
        let all = workloads.iter().flatten();
        all.map(|w| w.to_value()["spec"]["template"]["spec"].clone()).collect()
    };
    assert!(templates(false).iter().all(|pod| pod["securityContext"]["fsGroup"].is_i64()));
    let pods = templates(true);
    assert_eq!(pods.len(), 3, "instance, repository host, backup");
    for pod in pods {
        let context = pod["securityContext"].as_object().expect("it has one");
        for key in ["fsGroup", "runAsUser", "runAsGroup", "supplementalGroups", "seLinuxOptions"] {
            assert!(!context.contains_key(key), "{key}: {pod}");
        }
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[key].is_null(), "{key}: {pod}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let mut keys = volume.as_object().expect("a volume").keys();
            assert!(keys.all(|k| k == "name" || VOLUMES.contains(&k.as_str())), "{volume}");
        }
        for list in ["initContainers", "containers"] {
            for container in pod[list].as_array().into_iter().flatten() {
                let context = &container["securityContext"];
                assert!(context["runAsUser"].is_null(), "{container}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{container}");
                assert_eq!(context["runAsNonRoot"], true, "{container}");
            }
        }
    }
}
