//! Every label key, annotation key and label value of the Go operator's API, which users' selectors,
//! dashboards and scripts rely on (`reference/api.md` §4.3, §4.4). Never change one.

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $suffix:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = concat!("ivory-operator.ivorysql.org/", $suffix);)*
    };
}

keys! {
    /// Label: the cluster's name, on everything but the root CA.
    CLUSTER = "cluster";
    /// Label: the instance's name, which is also its StatefulSet's.
    INSTANCE = "instance";
    /// Label: the instance set's name.
    INSTANCE_SET = "instance-set";
    /// Label: what an object is for; on instance Pods written by Patroni.
    ROLE = "role";
    /// Label: the Patroni scope, `<cluster>-ha`.
    PATRONI = "patroni";
    /// Label: what data a workload or volume holds.
    DATA = "data";
    /// Label: which of the cluster's two TLS Secrets.
    CLUSTER_CERTIFICATE = "cluster-certificate";
    /// Label: the role name of a user Secret.
    PGUSER = "pguser";
    /// Label: the instance that a restore fills. As an annotation on the cluster (ours): the instance that led
    /// when the cluster was shut down, and that must lead before others start. The status says so too, and may
    /// be lost.
    STARTUP_INSTANCE = "startup-instance";
    /// Label (empty): every pgBackRest object.
    PGBACKREST = "pgbackrest";
    /// Label (empty): pgBackRest's ConfigMap and Secret. As an annotation: the container that a first backup runs in.
    PGBACKREST_CONFIG = "pgbackrest-config";
    /// Label (empty): the repository host.
    PGBACKREST_DEDICATED = "pgbackrest-dedicated";
    /// Label: the repository's name.
    PGBACKREST_REPO = "pgbackrest-repo";
    /// Label (empty): a repository's volume claim.
    PGBACKREST_VOLUME = "pgbackrest-volume";
    /// Label: `manual` or `replica-create`. As an annotation: the id of a requested backup.
    PGBACKREST_BACKUP = "pgbackrest-backup";
    /// Label: `full`, `diff` or `incr`.
    PGBACKREST_CRONJOB = "pgbackrest-cronjob";
    /// Label (empty): a restore's objects. As an annotation: the id of a requested restore.
    PGBACKREST_RESTORE = "pgbackrest-restore";
    /// Annotation: the hash of the repositories' settings with which a Job was made.
    PGBACKREST_HASH = "pgbackrest-hash";
    /// Annotation on the cluster: `IPv6` makes the pgBackRest server listen on `::`.
    PGBACKREST_IP_VERSION = "pgbackrest-ip-version";
    /// Label `true`: instance Pods with the exporter, for Prometheus to find.
    EXPORTER = "ivorysql-ivory-exporter";
    /// Annotation on the cluster: a new value asks for a switchover.
    TRIGGER_SWITCHOVER = "trigger-switchover";
    /// Annotation on the cluster (ours): the request that was carried out last. The status says so too, and
    /// may be lost.
    SWITCHED_OVER = "switched-over";
    /// Annotation on the cluster (ours), while a switchover is under way: the timeline at which it was first seen,
    /// and the request.
    SWITCHOVER_FROM = "switchover-from";
    /// Annotation on the cluster (ours): the system identifier of the database that is to be promoted even though its
    /// source still accepts writes.
    PROMOTE_DESPITE = "promote-despite-source";
    /// Annotation on the cluster (ours): the ConfigMap whose init SQL was run. The status says so too, and may be
    /// lost.
    DATABASE_INIT_SQL = "database-init-sql";
    /// Annotation on a Secret (ours), while it trusts more than one root: when that or its certificates changed last.
    TRUST_CHANGED = "trust-changed-at";
    /// Annotation on a data volume claim (ours) of an instance that has a WAL volume as well, or that waits until another
    /// leads: it was not asked to run yet, so there is no data on it.
    NEVER_USED = "never-used";
    /// Annotation on a data volume claim (ours) of a replica that can never catch up: the UID of the backup Job that was
    /// complete when this was found, or nothing if there was none; `diverged` if it left its leader's history.
    STRANDED = "stranded-with";
    /// Annotation on an instance's Pod (ours): when its PostgreSQL was last told to restart in place.
    RESTART_ASKED = "restart-asked-at";
    /// Annotation on the cluster: the IvyUpgrade that may upgrade it.
    ALLOW_UPGRADE = "allow-upgrade";
    /// The finalizer on every IvoryCluster.
    FINALIZER = "finalizer";
    /// Annotation (ours): the hash of what was last done inside the database, on the object it concerns.
    APPLIED = "applied-hash";
}

/// Values of [`DATA`].
pub mod data {
    /// A database instance.
    pub const IVORY: &str = "ivory";
    /// A backup repository.
    pub const PGBACKREST: &str = "pgbackrest";
    /// pgAdmin.
    pub const PGADMIN: &str = "pgadmin";
}

/// Values of [`ROLE`].
pub mod role {
    /// The leader's Pod as we tell Patroni to label it, so that the tutorial's selectors hold.
    pub const MASTER: &str = "master";
    /// The leader's Pod as Patroni 4 labels it by itself; also the primary Service.
    pub const PRIMARY: &str = "primary";
    /// A running replica's Pod; also the replica Service.
    pub const REPLICA: &str = "replica";
    /// A data volume.
    pub const PGDATA: &str = "pgdata";
    /// A WAL volume.
    pub const PGWAL: &str = "pgwal";
    /// A tablespace volume.
    pub const TABLESPACE: &str = "tablespace";
    /// A user's Secret.
    pub const PGUSER: &str = "pguser";
    /// PgBouncer's objects.
    pub const PGBOUNCER: &str = "pgbouncer";
    /// pgAdmin's objects.
    pub const PGADMIN: &str = "pgadmin";
    /// The exporter's objects.
    pub const MONITORING: &str = "monitoring";

    /// Whether a role label's value means the leader; both spellings are understood.
    #[must_use]
    pub fn is_leader(value: &str) -> bool {
        value == MASTER || value == PRIMARY
    }
}
