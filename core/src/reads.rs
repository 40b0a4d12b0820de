//! What a plan may look at: the driver fetches exactly this, and derives its watches from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kind;
use crate::object::Object;
use crate::observed::Observed;
use crate::read::{ReadKey, Selector};
use crate::rules::members;
use crate::{labels, names};

/// The kinds of which every object with the cluster's label is read.
pub const LABELLED: &[Kind] = &[
    Kind::Pod,
    Kind::Service,
    Kind::Endpoints,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::PersistentVolumeClaim,
    Kind::StatefulSet,
    Kind::Job,
    Kind::PodDisruptionBudget,
    Kind::Role,
    Kind::RoleBinding,
];

/// The kinds of which every instance has objects of its own.
const OF_INSTANCES: [Kind; 5] =
    [Kind::StatefulSet, Kind::Pod, Kind::PersistentVolumeClaim, Kind::ConfigMap, Kind::Secret];

/// The kinds of which objects are read by name as well, whatever labels they bear.
pub const NAMED: &[Kind] = &[
    Kind::Pod,
    Kind::Service,
    Kind::Endpoints,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::PersistentVolumeClaim,
    Kind::StatefulSet,
    Kind::PodDisruptionBudget,
    Kind::Role,
    Kind::RoleBinding,
];

/// Everything that a plan for this cluster may look at, as far as the cluster itself tells. What was found
/// may call for a [`second_look`].
#[must_use]
pub fn reads(cluster: &Object) -> Vec<ReadKey> {
    let (namespace, name) = (cluster.meta.namespace.to_string(), &*cluster.meta.name);
    let selector = Selector::label(labels::CLUSTER, name);
    let labelled = LABELLED.iter().map(|&kind| ReadKey::Select {
        kind,
        namespace: namespace.clone(),
        selector: selector.clone(),
    });
    let one = |kind, name: String| ReadKey::One { kind, namespace: namespace.clone(), name };
    let mut keys: Vec<_> = labelled.collect();
    keys.push(one(Kind::Secret, names::ROOT_CA_SECRET.to_owned()));
    // Patroni makes these; a stranger may have taken their labels.
    for endpoints in [names::scope(name), names::scope_config(name)] {
        keys.push(one(Kind::Endpoints, endpoints));
    }
    keys.push(ReadKey::Select {
        kind: Kind::StorageClass,
        namespace: String::new(),
        selector: Selector::default(),
    });
    keys.extend(by_name(name).into_iter().map(|(kind, name)| one(kind, name)));
    keys.extend(named_by_the_spec(cluster).into_iter().map(|(kind, name)| one(kind, name)));
    keys.sort();
    keys.dedup();
    keys
}

/// What the first look calls for: everything of each instance of which an object was seen, and the repository host's Pod,
/// when they were not seen themselves. They may not be there; or a stranger took away the label by which they are listed,
/// and only a read by name can tell. A Pod without that label is nobody's: its StatefulSet lets it go and can't
/// make another. What is there can't be created, so whatever is created has to be looked for.
#[must_use]
pub fn second_look(observed: &Observed) -> Vec<ReadKey> {
    let listed: Option<BTreeMap<Kind, &[Arc<Object>]>> =
        OF_INSTANCES.iter().map(|&kind| Some((kind, *observed.labelled(kind).known()?))).collect();
    let Some(listed) = listed else { return Vec::new() };
    let sets = listed[&Kind::StatefulSet];
    let seen = [Kind::StatefulSet, Kind::Pod, Kind::PersistentVolumeClaim];
    let instances: BTreeSet<&str> = seen
        .iter()
        .flat_map(|kind| listed[kind])
        .filter_map(|o| members::identity(o, labels::INSTANCE))
        .collect();
    let mut wanted: BTreeSet<(Kind, String)> = BTreeSet::new();
    for &instance in &instances {
        wanted.extend([
            (Kind::StatefulSet, instance.to_owned()),
            (Kind::ConfigMap, names::instance_config(instance)),
            (Kind::Secret, names::instance_certs(instance)),
        ]);
        let claims = claims(&observed.cluster, instance).into_iter();
        wanted.extend(claims.map(|claim| (Kind::PersistentVolumeClaim, claim)));
    }
    let workloads = sets.iter().map(|s| &*s.meta.name).chain(instances.iter().copied());
    wanted.extend(workloads.map(|w| (Kind::Pod, names::pod_of(w))));
    wanted.retain(|(kind, name)| listed[kind].iter().all(|o| *o.meta.name != **name));
    let namespace = observed.cluster.meta.namespace.to_string();
    let one = |(kind, name)| ReadKey::One { kind, namespace: namespace.clone(), name };
    wanted.into_iter().map(one).collect()
}

/// The claims that an instance may have by the spec.
fn claims(cluster: &Object, instance: &str) -> Vec<String> {
    let sets = cluster.at(&["spec", "instances"]).and_then(Value::as_array).into_iter().flatten();
    let of_set = |set: &Value| {
        let wal = set.get("walVolumeClaimSpec").map(|_| names::wal_volume(instance));
        let tablespaces = set["tablespaceVolumes"].as_array().into_iter().flatten();
        let named = tablespaces.filter_map(|t| t["name"].as_str());
        let named = named.map(|t| names::tablespace_volume(instance, t));
        named.chain(wal).collect::<Vec<_>>()
    };
    sets.flat_map(of_set).chain([names::data_volume(instance)]).collect()
}

/// Objects whose names follow from the cluster's. They are read by name as well as by label: one without
/// the label may have lost it to a stranger, or be a stranger's own, and only a read can tell. A driver
/// that finds an object of that name among the labelled ones need not ask again.
fn by_name(cluster: &str) -> Vec<(Kind, String)> {
    let mut all = vec![
        (Kind::Endpoints, names::primary_service(cluster)),
        (Kind::ConfigMap, names::cluster_config(cluster)),
        (Kind::ConfigMap, names::pgbackrest_config(cluster)),
        (Kind::Secret, names::cluster_cert(cluster)),
        (Kind::Secret, names::replication_cert(cluster)),
        (Kind::Secret, names::pgbackrest_secret(cluster)),
        (Kind::StatefulSet, names::repo_host(cluster)),
    ];
    let services = [
        names::scope,
        names::scope_config,
        names::pod_service,
        names::primary_service,
        names::replica_service,
    ];
    all.extend(services.map(|name| (Kind::Service, name(cluster))));
    for kind in [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding] {
        all.extend(
            [names::instance_rbac, names::pgbackrest_rbac].map(|name| (kind, name(cluster))),
        );
    }
    all
}

/// Objects whose names the spec gives, or whose names follow from it.
fn named_by_the_spec(cluster: &Object) -> Vec<(Kind, String)> {
    let Ok(spec) = crate::api::read(cluster) else { return Vec::new() };
    let name = &cluster.meta.name;
    let secrets = [&spec.custom_tls_secret, &spec.custom_replication_tls_secret];
    let mut all: Vec<_> =
        secrets.into_iter().flatten().map(|s| (Kind::Secret, s.name.clone())).collect();
    all.extend(spec.database_init_sql.iter().map(|sql| (Kind::ConfigMap, sql.name.clone())));
    let users = crate::rules::users::effective(name, &spec);
    all.extend(users.iter().map(|u| (Kind::Secret, names::pguser_secret(name, &u.name))));
    let repos = spec.backups.pgbackrest.repos.iter().filter(|r| r.volume.is_some());
    all.extend(repos.map(|r| (Kind::PersistentVolumeClaim, names::repo_volume(name, &r.name))));
    all.extend(spec.sets().map(|(set, _)| (Kind::PodDisruptionBudget, names::set_pdb(name, &set))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;

    #[test]
    fn the_kinds_that_are_read_by_name_are_listed() {
        let mut world = World::settled(2);
        world.remove(Kind::Pod, &names::instance_pod(&world.leader()));
        let observed = world.observed();
        let found: BTreeSet<Kind> = observed
            .objects
            .keys()
            .filter_map(|k| match k {
                ReadKey::One { kind, .. } => Some(*kind),
                ReadKey::Select { .. } => None,
            })
            .collect();
        assert_eq!(found, NAMED.iter().copied().collect());
    }

    #[test]
    fn what_is_listed_is_not_looked_for_again() {
        let mut world = World::settled(2);
        assert_eq!(second_look(&world.observed()), []);
        let (gone, kept) = (world.leader(), world.replicas()[0].clone());
        world.remove(Kind::StatefulSet, &gone);
        world.change(Kind::StatefulSet, &kept, |s| {
            s["metadata"]["labels"].as_object_mut().expect("labels").remove(labels::CLUSTER);
        });
        let mut names: Vec<_> = second_look(&world.observed())
            .into_iter()
            .filter_map(|key| match key {
                ReadKey::One { kind: Kind::StatefulSet, name, .. } => Some(name),
                _ => None,
            })
            .collect();
        names.sort();
        let mut both = vec![gone, kept];
        both.sort();
        assert_eq!(names, both);
    }

    #[test]
    fn everything_of_an_instance_is_looked_for_by_its_name() {
        let mut spec = crate::test_support::spec(1);
        let claim = crate::test_support::claim("1Gi");
        spec["instances"][0]["walVolumeClaimSpec"] = claim.clone();
        let tablespace = serde_json::json!([{"name": "fast", "dataVolumeClaimSpec": claim}]);
        spec["instances"][0]["tablespaceVolumes"] = tablespace;
        let mut world = World::new(spec);
        world.settle();
        let instance = world.leader();
        let all: BTreeSet<String> = [
            names::data_volume(&instance),
            names::wal_volume(&instance),
            names::tablespace_volume(&instance, "fast"),
            names::instance_config(&instance),
            names::instance_certs(&instance),
        ]
        .into();
        for (kind, name) in [Kind::PersistentVolumeClaim, Kind::ConfigMap, Kind::Secret]
            .into_iter()
            .flat_map(|kind| all.iter().map(move |name| (kind, name)))
        {
            if world.all(kind).iter().any(|o| *o.meta.name == **name) {
                world.strip(kind, name, labels::CLUSTER);
            }
        }
        let found = second_look(&world.observed()).into_iter().filter_map(|key| match key {
            ReadKey::One { kind, name, .. } if kind != Kind::StatefulSet => Some(name),
            _ => None,
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), all);
    }
}
