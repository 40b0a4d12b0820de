//! Every object word for word, from the fixture that uses every field, and from a cluster that leaves out what it can.
//! What is changed on purpose is written anew with `INSTA_UPDATE=always`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::backup_job::BackupJob;
use super::instance::Instance;
use super::{backup_job, config_maps, disruption, instance, rbac, repo_host, services, volumes};
use crate::cluster::Cluster;
use crate::context::Config;
use crate::kind::Kind;
use crate::object::Object;
use crate::rules::config;

/// What the type of its kind reads in an object, in its wire form: a field that is misspelled or of another type is not
/// there any more, or not the same.
pub(crate) fn as_typed(object: &Object) -> Value {
    fn through<T: Serialize + DeserializeOwned>(value: Value) -> Value {
        let typed: T = serde_json::from_value(value).expect("its type reads it");
        serde_json::to_value(typed).expect("JSON")
    }
    let value = object.to_value();
    match object.kind {
        Kind::ConfigMap => through::<ConfigMap>(value),
        Kind::Endpoints => through::<Endpoints>(value),
        Kind::Event => through::<Event>(value),
        Kind::Job => through::<Job>(value),
        Kind::PersistentVolumeClaim => through::<PersistentVolumeClaim>(value),
        Kind::PodDisruptionBudget => through::<PodDisruptionBudget>(value),
        Kind::Role => through::<Role>(value),
        Kind::RoleBinding => through::<RoleBinding>(value),
        Kind::Secret => through::<Secret>(value),
        Kind::Service => through::<Service>(value),
        Kind::ServiceAccount => through::<ServiceAccount>(value),
        Kind::StatefulSet => through::<StatefulSet>(value),
        kind => panic!("nobody builds a {kind}"),
    }
}

fn cluster(manifest: Value, gates: &[&str]) -> Cluster {
    let mut object = Object::from_value(manifest).expect("an object");
    object.meta.uid = "c1".into();
    let gates = gates.iter().map(|gate| (*gate).to_owned()).collect();
    Cluster::read(&Arc::new(object), &Config { gates, ..Config::default() }).expect("a spec")
}

/// All that is built without secrets, as YAML documents.
fn built(cluster: &Cluster) -> String {
    let mut all = vec![
        config_maps::cluster(cluster, Some(&config::dynamic(cluster))),
        config_maps::pgbackrest(
            cluster,
            &config::repos(cluster),
            "host",
            &["b".into(), "a".into()],
        ),
        services::pods(cluster),
        services::leader(cluster),
        services::leader_config(cluster),
        services::primary(cluster),
        services::primary_endpoints(cluster, "192.0.2.7"),
        services::replicas(cluster),
    ];
    all.extend(rbac::instance(cluster));
    all.extend(rbac::pgbackrest(cluster));
    for (set, bootstrapped) in cluster.sets().zip([false, true]) {
        let wal = volumes::wal(cluster, &set, "one", "one-wal");
        let one = Instance {
            name: "one".to_owned(),
            data_claim: "one-data".to_owned(),
            wal_claim: wal.as_ref().map(|claim| claim.meta.name.to_string()),
            replicas: 1,
        };
        all.push(instance::stateful_set(cluster, &set, &one));
        let repo = bootstrapped.then_some("repo1");
        all.push(config_maps::instance(cluster, &set, "one", repo, bootstrapped));
        all.push(volumes::data(cluster, &set, "one", "one-data"));
        all.extend(wal);
        all.extend(volumes::tablespaces(cluster, &set, "one"));
        let minimum = disruption::minimum(&set);
        all.extend(minimum.map(|minimum| disruption::budget(cluster, &set, minimum)));
    }
    let mut claims = Vec::new();
    // On a volume and not on one; the others would say the same again.
    for repo in cluster.spec.backups.pgbackrest.repos.iter().take(2) {
        if let Some(volume) = &repo.volume {
            let name = format!("{}-claim", repo.name);
            all.push(volumes::repository(cluster, &repo.name, &name, &volume.volume_claim_spec));
            claims.push((repo.name.clone(), name));
        }
        let wanted = BackupJob {
            name: "backup",
            repo,
            purpose: "manual",
            annotations: vec![("made-for", "this".to_owned())],
            options: vec!["--type=full".to_owned()],
        };
        all.push(backup_job::job(cluster, &wanted));
    }
    if cluster.has_repo_host() {
        all.push(repo_host::stateful_set(cluster, "host", &claims, 1));
    }
    all.iter().for_each(|object| assert_eq!(as_typed(object), object.to_value()));
    let text = |object: &Object| serde_saphyr::to_string(&object.to_value()).expect("YAML");
    all.iter().map(text).collect::<Vec<_>>().join("---\n")
}

#[test]
fn a_cluster_that_uses_every_field() {
    let manifest =
        serde_saphyr::from_str(include_str!("../../tests/fixtures/full.yaml")).expect("YAML");
    let cluster = cluster(manifest, &["InstanceSidecars", "TablespaceVolumes"]);
    insta::assert_snapshot!("full", built(&cluster));
}

#[test]
fn a_cluster_that_leaves_out_what_it_can() {
    let mut spec = crate::test_support::spec(1);
    spec["backups"]["pgbackrest"]["repos"] =
        json!([{"name": "repo1", "s3": {"bucket": "b", "endpoint": "e", "region": "r"}}]);
    let manifest = json!({
        "apiVersion": "ivory-operator.ivorysql.org/v1beta1",
        "kind": "IvoryCluster",
        "metadata": {"name": "hippo", "namespace": "zoo"},
        "spec": spec,
    });
    insta::assert_snapshot!("plain", built(&cluster(manifest, &[])));
}

#[test]
fn of_labels_the_later_source_wins_and_the_operator_s_over_all() {
    let mut spec = crate::test_support::spec(1);
    spec["metadata"] = json!({"labels": {"a": "1", "b": "1", crate::labels::CLUSTER: "mine"}});
    spec["instances"][0]["metadata"] =
        json!({"labels": {"b": "2", crate::labels::INSTANCE: "mine"}});
    let manifest = json!({
        "apiVersion": "ivory-operator.ivorysql.org/v1beta1",
        "kind": "IvoryCluster",
        "metadata": {"name": "hippo", "namespace": "zoo"},
        "spec": spec,
    });
    let cluster = cluster(manifest, &[]);
    let set = cluster.sets().next().expect("a set");
    let claim = volumes::data(&cluster, &set, "one", "one-data");
    let label = |key: &str| claim.label(key).map(str::to_owned);
    let found = ["a", "b", crate::labels::CLUSTER, crate::labels::INSTANCE].map(label);
    assert_eq!(found, ["1", "2", "hippo", "one"].map(|v| Some(v.to_owned())));
}

#[test]
fn a_pull_secret_that_is_named_twice_is_used_once() {
    use crate::test_support::{World, spec};
    let named =
        |names: &[&str]| json!(names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>());
    let mut spec = spec(1);
    spec["imagePullSecrets"] = named(&["b", "a", "b"]);
    let mut world = World::new(spec);
    world.settle();
    for set in world.all(crate::Kind::StatefulSet) {
        let used = set.at(&["spec", "template", "spec", "imagePullSecrets"]);
        assert_eq!(used, Some(&named(&["b", "a"])), "{}", set.meta.name);
    }
}
