//! Volume claims (`reference/api.md` §4.7). Which name a claim has is decided elsewhere.

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;

use crate::build::meta::owned;
use crate::cluster::{Cluster, Set};
use crate::kind::Kind;
use crate::labels::{self, data, role};
use crate::object::Object;

/// The data volume of an instance.
#[must_use]
pub fn data(cluster: &Cluster, set: &Set<'_>, instance: &str, name: &str) -> Object {
    let spec = &set.spec.data_volume_claim_spec;
    instance_volume(cluster, set, instance, name, role::PGDATA, data::IVORY, spec)
}

/// The WAL volume of an instance, for a set that wants one.
#[must_use]
pub fn wal(cluster: &Cluster, set: &Set<'_>, instance: &str, name: &str) -> Option<Object> {
    let spec = set.spec.wal_volume_claim_spec.as_ref()?;
    Some(instance_volume(cluster, set, instance, name, role::PGWAL, data::IVORY, spec))
}

/// The tablespace volumes of an instance.
#[must_use]
pub fn tablespaces(cluster: &Cluster, set: &Set<'_>, instance: &str) -> Vec<Object> {
    let volumes = set.spec.tablespace_volumes.iter();
    volumes
        .map(|t| {
            let name = crate::names::tablespace_volume(instance, &t.name);
            let spec = &t.data_volume_claim_spec;
            instance_volume(cluster, set, instance, &name, role::TABLESPACE, &t.name, spec)
        })
        .collect()
}

/// The volume of a repository.
#[must_use]
pub fn repository(
    cluster: &Cluster,
    repo: &str,
    name: &str,
    spec: &PersistentVolumeClaimSpec,
) -> Object {
    let own = [
        (labels::PGBACKREST, ""),
        (labels::PGBACKREST_REPO, repo),
        (labels::PGBACKREST_VOLUME, ""),
        (labels::DATA, data::PGBACKREST),
    ];
    let sources = [&cluster.spec.metadata, &cluster.spec.backups.pgbackrest.metadata];
    owned(cluster, Kind::PersistentVolumeClaim, name, &own, &sources).with("spec", spec)
}

fn instance_volume(
    cluster: &Cluster,
    set: &Set<'_>,
    instance: &str,
    name: &str,
    role: &str,
    holds: &str,
    spec: &PersistentVolumeClaimSpec,
) -> Object {
    let own = [
        (labels::INSTANCE_SET, &*set.name),
        (labels::INSTANCE, instance),
        (labels::ROLE, role),
        (labels::DATA, holds),
    ];
    let sources = [&cluster.spec.metadata, &set.spec.metadata];
    owned(cluster, Kind::PersistentVolumeClaim, name, &own, &sources).with("spec", spec)
}
