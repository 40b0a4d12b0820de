//! What no schema can refuse, or what an older one let through: said as a condition, and nothing of the
//! running cluster is touched because of it.

use crate::api::shared::ServiceType;
use crate::cluster::Cluster;

/// Why a spec can't be followed; empty when it can.
#[must_use]
pub fn complaints(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let spec = &cluster.spec;
    let mut all = Vec::new();
    let variable = format!("RELATED_IMAGE_IVORY_{}", spec.postgres_version);
    if cluster.images.database.is_none() {
        let text = format!("no image for the database: set spec.image, or {variable} of the operator");
        all.push(("MissingImage", text));
    }
    if cluster.has_repo_host() && cluster.images.pgbackrest.is_none() {
        let text = "no image for pgBackRest: set spec.backups.pgbackrest.image, or \
                    RELATED_IMAGE_PGBACKREST of the operator";
        all.push(("MissingImage", text.into()));
    }
    if spec.service.node_port.is_some() && spec.service.type_ == ServiceType::ClusterIP {
        let text = "spec.service.nodePort needs spec.service.type NodePort or LoadBalancer";
        all.push(("MisconfiguredClusterIP", text.into()));
    }
    if let Some(standby) = spec.active_standby()
        && standby.host.is_none()
        && standby.repo_name.is_none()
    {
        let text = "spec.standby needs a host or a repoName to follow";
        all.push(("InvalidStandbyConfiguration", text.into()));
    }
    for set in cluster.sets() {
        if cluster.name.len() + set.name.len() > 46 {
            let text = format!(
                "the names of cluster and instance set {:?} have {} characters together, 46 at most",
                set.name,
                cluster.name.len() + set.name.len()
            );
            all.push(("NameTooLong", text));
        }
    }
    if spec.custom_tls_secret.is_some() != spec.custom_replication_tls_secret.is_some() {
        let text = "spec.customTLSSecret and spec.customReplicationTLSSecret must be given together, \
                    of one authority";
        all.push(("CustomTLSIncomplete", text.into()));
    }
    all
}
