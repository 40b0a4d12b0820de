//! Settings as files: Patroni's for the cluster, and what pgBackRest and PostgreSQL are told, derived from
//! the spec alone.

use serde_json::Value;

use crate::build::config_maps;
use crate::cluster::Cluster;
use crate::pass::Pass;
use crate::pgbackrest::config::{Repo, Storage};
use crate::report::Step;
use crate::rules::members::Members;

/// The cluster's own ConfigMap. Until the bootstrap it brings the dynamic configuration along.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let (cluster, fresh) = (pass.cluster, !members.initialized);
    pass.ensure_built(Step::Patroni, format!("cluster config, bootstrap {fresh}"), || {
        config_maps::cluster(cluster, fresh.then(|| dynamic(cluster)).as_ref())
    });
}

/// The dynamic configuration that the spec gives.
#[must_use]
pub fn dynamic(cluster: &Cluster) -> Value {
    config_maps::dynamic_configuration(cluster)
}

/// The repositories in the form in which pgBackRest's settings are made from them.
#[must_use]
pub fn repos(cluster: &Cluster) -> Vec<Repo> {
    let of = |repo: &crate::api::backups::Repo| {
        let number = repo.name.trim_start_matches("repo").parse().ok()?;
        let storage = if let Some(s3) = &repo.s3 {
            Storage::S3 {
                bucket: s3.bucket.clone(),
                endpoint: s3.endpoint.clone(),
                region: s3.region.clone(),
            }
        } else if let Some(gcs) = &repo.gcs {
            Storage::Gcs { bucket: gcs.bucket.clone() }
        } else if let Some(azure) = &repo.azure {
            Storage::Azure { container: azure.container.clone() }
        } else {
            Storage::Volume
        };
        Some(Repo { number, storage })
    };
    cluster.spec.backups.pgbackrest.repos.iter().filter_map(of).collect()
}
