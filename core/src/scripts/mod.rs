//! The shell scripts that run in our containers, as argument vectors. The texts are the `.sh` files
//! beside this one. Their arguments carry what depends on the spec, so that a change of it changes
//! the Pod template and so reaches the Pod.

use crate::names::SUPERUSER;
use crate::pgbackrest::config::INSTANCE_LOG_DIRECTORY;

/// Where an instance's WAL is: on a volume of its own, or beside the data.
#[must_use]
pub fn wal_directory(postgres_version: i32, own_volume: bool) -> String {
    let volume = if own_volume { "/pgwal" } else { "/pgdata" };
    format!("{volume}/pg{postgres_version}_wal")
}

/// Where an instance's data is.
#[must_use]
pub fn data_directory(postgres_version: i32) -> String {
    format!("/pgdata/pg{postgres_version}")
}

/// The init container `ivory-startup`: checks versions and permissions, copies the replication
/// certificate, and moves WAL to where the spec wants it. `tablespaces` are names.
#[must_use]
pub fn startup(postgres_version: i32, wal_directory: &str, tablespaces: &[String]) -> Vec<String> {
    let version = postgres_version.to_string();
    let paths = tablespaces.iter().map(|t| format!("/tablespaces/{t}/data"));
    let mut argv = bash(
        include_str!("startup.sh"),
        "startup",
        &[&version, wal_directory, INSTANCE_LOG_DIRECTORY],
    );
    argv.extend(paths);
    argv
}

/// The container `replication-cert-copy`: copies renewed certificates to where libpq accepts them, and
/// has PostgreSQL load them.
#[must_use]
pub fn replication_cert_copy() -> Vec<String> {
    bash(include_str!("replication_cert_copy.sh"), "replication-cert-copy", &[])
}

/// The container `pgbackrest-config`: has the pgBackRest server load renewed settings and certificates.
#[must_use]
pub fn pgbackrest_reload() -> Vec<String> {
    bash(include_str!("pgbackrest_reload.sh"), "pgbackrest-config", &[])
}

/// The init container `nss-wrapper-init` of database and pgBackRest Pods: gives whatever user the
/// container runs as the name that `pg_hba.conf` lets in as superuser.
#[must_use]
pub fn nss_wrapper() -> Vec<String> {
    nss_wrapper_for("ivory", SUPERUSER)
}

/// The same for another program: the files are put into `/tmp/nss_wrapper/<directory>`.
#[must_use]
pub fn nss_wrapper_for(directory: &str, user: &str) -> Vec<String> {
    bash(include_str!("nss_wrapper.sh"), "nss-wrapper-init", &[directory, user])
}

/// A script that stops at the first error and at variables that are not set. `name` is its `$0`.
pub(crate) fn bash(script: &str, name: &str, arguments: &[&str]) -> Vec<String> {
    let head = ["bash", "-ceu", "--", script, name].into_iter();
    head.chain(arguments.iter().copied()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_carry_what_the_spec_says() {
        let wal = wal_directory(18, true);
        let argv = startup(18, &wal, &["fast".to_owned()]);
        assert_eq!(argv[..3], ["bash", "-ceu", "--"]);
        assert_eq!(
            argv[4..],
            [
                "startup",
                "18",
                "/pgwal/pg18_wal",
                "/pgdata/pgbackrest/log",
                "/tablespaces/fast/data"
            ]
        );
        assert_eq!(wal_directory(18, false), "/pgdata/pg18_wal");
        assert_eq!(nss_wrapper()[4..], ["nss-wrapper-init", "ivory", "ivorysql"]);
    }
}
