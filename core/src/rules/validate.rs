//! What no schema can refuse, or what an older one let through: said as a condition, and nothing of the
//! running cluster is touched because of it.

use k8s_openapi::api::core::v1::SecretProjection;

use crate::api::shared::ServiceType;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::observed::Observed;
use crate::read::Read;

/// Why a spec can't be followed; empty when it can.
#[must_use]
pub fn complaints(observed: &Observed, cluster: &Cluster) -> Vec<(&'static str, String)> {
    let spec = &cluster.spec;
    let mut all = Vec::new();
    let variable = format!("RELATED_IMAGE_IVORY_{}", spec.postgres_version);
    if cluster.images.database.is_none() {
        let text =
            format!("no image for the database: set spec.image, or {variable} of the operator");
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
    let mut names = std::collections::BTreeSet::new();
    for set in cluster.sets() {
        if !names.insert(set.name.clone()) {
            // An unnamed set is called by its place, which another may have for a name.
            all.push(("DuplicateSet", format!("two instance sets are called {:?}", set.name)));
        }
    }
    all.extend(custom_tls(observed, cluster));
    if spec.custom_tls_secret.is_some() != spec.custom_replication_tls_secret.is_some() {
        let text = "spec.customTLSSecret and spec.customReplicationTLSSecret must be given together, \
                    of one authority";
        all.push(("CustomTLSIncomplete", text.into()));
    }
    all
}

/// What is wrong with the Secrets that the user brings: all files must be there, and both must trust one
/// authority. A Secret that could not be read is not complained of.
fn custom_tls(observed: &Observed, cluster: &Cluster) -> Vec<(&'static str, String)> {
    let (server, client) =
        (&cluster.spec.custom_tls_secret, &cluster.spec.custom_replication_tls_secret);
    let mut all = Vec::new();
    let mut authorities = Vec::new();
    for projection in [server, client].into_iter().flatten() {
        let name = &projection.name;
        match observed.one(Kind::Secret, name) {
            Read::Unknown(_) => {}
            Read::Absent => all.push(("CustomTLSMissing", format!("Secret {name} does not exist"))),
            Read::Known(secret) => {
                let file =
                    |path: &str| secret.data(key_of(projection, path)?).filter(|v| !v.is_empty());
                for path in ["tls.crt", "tls.key", "ca.crt"] {
                    if file(path).is_none() {
                        all.push((
                            "CustomTLSMissing",
                            format!("Secret {name} has nothing for {path}"),
                        ));
                    }
                }
                authorities.extend(file("ca.crt"));
            }
        }
    }
    if let [first, second] = &authorities[..]
        && first != second
    {
        let text = "the Secrets of spec.customTLSSecret and spec.customReplicationTLSSecret have different ca.crt";
        all.push(("CustomTLSDiffers", text.into()));
    }
    all
}

/// The key of a Secret that becomes a file; without a mapping it is the file's own name.
fn key_of<'a>(projection: &'a SecretProjection, path: &'a str) -> Option<&'a str> {
    match projection.items.as_deref() {
        None | Some([]) => Some(path),
        Some(items) => items.iter().find(|i| i.path == path).map(|i| &*i.key),
    }
}
