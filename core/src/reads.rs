//! What a plan may look at: the driver fetches exactly this, and derives its watches from it.

use crate::kind::Kind;
use crate::object::Object;
use crate::read::{ReadKey, Selector};
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

/// Everything that a plan for this cluster may look at.
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
    keys.extend(named_by_the_user(cluster).into_iter().map(|(kind, name)| one(kind, name)));
    keys.sort();
    keys.dedup();
    keys
}

/// Secrets that the spec names.
fn named_by_the_user(cluster: &Object) -> Vec<(Kind, String)> {
    let Ok(spec) = crate::api::read(cluster) else { return Vec::new() };
    let secrets = [&spec.custom_tls_secret, &spec.custom_replication_tls_secret];
    secrets.into_iter().flatten().map(|s| (Kind::Secret, s.name.clone())).collect()
}
