//! Names of objects as functions of identity (`reference/api.md` §4): nothing here is ever drawn.

use crate::hash::{digest, four_symbols, safe_hash};

/// The Secret with the namespace's root certificate authority, shared by all its clusters.
pub const ROOT_CA_SECRET: &str = "ivyo-root-cacert";
/// The field manager of everything that we write; the Go operator's, so that its fields are ours.
pub const FIELD_MANAGER: &str = "ivorycluster-controller";
/// The pgBackRest stanza.
pub const STANZA: &str = "db";
/// The role that replicates; its client certificate's common name.
pub const REPLICATION_USER: &str = "_ivoryrepl";
/// The operating system's and the database's superuser in the images.
pub const SUPERUSER: &str = "ivorysql";
/// The database in which maintenance is done; exists in every PostgreSQL.
pub const MAINTENANCE_DATABASE: &str = "postgres";
/// The container that runs Patroni and PostgreSQL.
pub const DATABASE_CONTAINER: &str = "database";

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident => $suffix:literal;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(cluster: &str) -> String { format!(concat!("{}", $suffix), cluster) })*
    };
}

names! {
    /// Patroni's scope, which is also the name of the leader Service and Endpoints.
    scope => "-ha";
    /// The Service and Endpoints of Patroni's configuration.
    scope_config => "-ha-config";
    /// The Endpoints with a requested switchover or failover.
    scope_failover => "-ha-failover";
    /// The Endpoints with the state of synchronous replication.
    scope_sync => "-ha-sync";
    /// The headless Service that gives each Pod a DNS name.
    pod_service => "-pods";
    /// The Service (and Endpoints) that applications connect to.
    primary_service => "-primary";
    /// The Service of the replicas.
    replica_service => "-replicas";
    /// The ConfigMap with Patroni's settings for the whole cluster.
    cluster_config => "-config";
    /// The ServiceAccount, Role and RoleBinding of the instances.
    instance_rbac => "-instance";
    /// The ServiceAccount, Role and RoleBinding of backup Jobs.
    pgbackrest_rbac => "-pgbackrest";
    /// The Secret with pgBackRest's certificates.
    pgbackrest_secret => "-pgbackrest";
    /// The ConfigMap with pgBackRest's settings.
    pgbackrest_config => "-pgbackrest-config";
    /// The StatefulSet of the repository host.
    repo_host => "-repo-host";
    /// The Secret with the server certificate.
    cluster_cert => "-cluster-cert";
    /// The Secret with the replication client certificate.
    replication_cert => "-replication-cert";
    /// The Secret of the monitoring role.
    monitoring_secret => "-monitoring";
}

/// The PodDisruptionBudget of a set.
#[must_use]
pub fn set_pdb(cluster: &str, set: &str) -> String {
    format!("{cluster}-set-{set}")
}

/// The Secret of a database user.
#[must_use]
pub fn pguser_secret(cluster: &str, user: &str) -> String {
    format!("{cluster}-pguser-{user}")
}

/// The volume claim of a repository.
#[must_use]
pub fn repo_volume(cluster: &str, repo: &str) -> String {
    format!("{cluster}-{repo}")
}

/// The CronJob of a repository's schedule; `kind` is `full`, `diff` or `incr`.
#[must_use]
pub fn backup_cron_job(cluster: &str, repo: &str, kind: &str) -> String {
    format!("{cluster}-{repo}-{kind}")
}

/// The ConfigMap of an instance.
#[must_use]
pub fn instance_config(instance: &str) -> String {
    format!("{instance}-config")
}

/// The Secret with an instance's certificates.
#[must_use]
pub fn instance_certs(instance: &str) -> String {
    format!("{instance}-certs")
}

/// The Pod of an instance.
#[must_use]
pub fn instance_pod(instance: &str) -> String {
    pod_of(instance)
}

/// The one Pod of a StatefulSet.
#[must_use]
pub fn pod_of(workload: &str) -> String {
    format!("{workload}-0")
}

/// The StatefulSet whose one Pod has this name.
#[must_use]
pub fn workload_of(pod: &str) -> Option<&str> {
    pod.strip_suffix("-0")
}

/// The data volume claim of an instance.
#[must_use]
pub fn data_volume(instance: &str) -> String {
    format!("{instance}-pgdata")
}

/// The WAL volume claim of an instance.
#[must_use]
pub fn wal_volume(instance: &str) -> String {
    format!("{instance}-pgwal")
}

/// A tablespace's volume claim of an instance.
#[must_use]
pub fn tablespace_volume(instance: &str, tablespace: &str) -> String {
    format!("{instance}-{tablespace}-tablespace")
}

/// The `number`-th candidate for the name of a new instance of a set. Asked again with the same
/// identity it answers the same, so a create whose answer was lost is found again.
#[must_use]
pub fn instance(cluster: &str, cluster_uid: &str, set: &str, number: u32) -> String {
    format!("{cluster}-{set}-{}", four_symbols(digest(&(cluster_uid, set, number))))
}

/// The name of the instance that a restore or an adopted volume starts, as the Go operator has it.
#[must_use]
pub fn startup_instance(cluster: &str, set: &str) -> String {
    format!("{cluster}-{set}-{}", &safe_hash([cluster, set])[..4])
}

/// The name of a backup Job: the same for the same purpose, request and attempt.
#[must_use]
pub fn backup_job(cluster: &str, cluster_uid: &str, purpose: &str, attempt: &str) -> String {
    format!("{cluster}-backup-{}", four_symbols(digest(&(cluster_uid, purpose, attempt))))
}

/// The DNS names of a Service, or of `pod.service`, longest first; that one in both spellings. `domain` ends
/// with a dot, as pgBackRest is told it; libpq compares letter by letter what a user typed, mostly without.
#[must_use]
pub fn dns_names(name: &str, namespace: &str, domain: &str) -> Vec<String> {
    vec![
        format!("{name}.{namespace}.svc.{domain}"),
        format!("{name}.{namespace}.svc.{}", domain.trim_end_matches('.')),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}"),
        name.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_names_agree_with_the_go_operator() {
        assert_eq!(startup_instance("hippo", "instance1"), "hippo-instance1-79ff");
        assert_eq!(startup_instance("hippo", "00"), "hippo-00-78d4");
        assert_eq!(startup_instance("elephant", "00"), "elephant-00-79cc");
    }

    #[test]
    fn instance_names_depend_on_identity_alone() {
        let name = instance("hippo", "uid-1", "00", 0);
        assert_eq!(name, instance("hippo", "uid-1", "00", 0));
        assert_ne!(name, instance("hippo", "uid-2", "00", 0));
        assert_ne!(name, instance("hippo", "uid-1", "00", 1));
    }
}
