//! Patroni's two files: one for the whole cluster, one per instance (`reference/reconcile.md` §3.2, §3.4).
//! The dynamic configuration is made in `dynamic`; here it is only carried to the first bootstrap.

use serde_json::{Value, json};

use crate::labels;
use crate::names::{self, MAINTENANCE_DATABASE, REPLICATION_USER};

const HEADER: &str = "# Written by ivory-operator from the IvoryCluster.\n\
    # Do not edit: changes here are lost.\n";
/// Where the instance's certificates are in its container.
const CA: &str = "/etc/patroni/~ivory-operator/patroni.ca-roots";
const CERTIFICATE_AND_KEY: &str = "/etc/patroni/~ivory-operator/patroni.crt+key";

/// What the cluster's file says.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterInputs<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The dynamic configuration with which the cluster is bootstrapped; none once it is.
    pub bootstrap: Option<&'a Value>,
}

/// The cluster's file as YAML.
#[must_use]
pub fn cluster_yaml(inputs: &ClusterInputs<'_>) -> String {
    // Patroni takes `null` for "no such setting here": the key is in the same file as the certificate.
    let login = json!({
        "username": REPLICATION_USER,
        "sslmode": "verify-ca",
        "sslcert": "/tmp/replication/tls.crt",
        "sslkey": "/tmp/replication/tls.key",
        "sslrootcert": "/tmp/replication/ca.crt",
    });
    let mut config = json!({
        "scope": names::scope(inputs.cluster),
        "kubernetes": {
            "namespace": inputs.namespace,
            "role_label": labels::ROLE,
            "scope_label": labels::PATRONI,
            "use_endpoints": true,
            "labels": { labels::CLUSTER: inputs.cluster },
            // Patroni 4 would say `primary`, and the selectors that users know would match nothing.
            "leader_label_value": labels::role::MASTER,
            "standby_leader_label_value": labels::role::MASTER,
        },
        "postgresql": {
            "database": MAINTENANCE_DATABASE,
            "authentication": { "replication": login, "rewind": login },
        },
        "restapi": {
            "cafile": CA,
            "certfile": CERTIFICATE_AND_KEY,
            "keyfile": null,
            // Probes of the kubelet come without a certificate; what changes something needs one.
            "verify_client": "optional",
        },
        "ctl": {
            "cacert": CA,
            "certfile": CERTIFICATE_AND_KEY,
            "keyfile": null,
            "insecure": false,
        },
        "watchdog": { "mode": "off" },
    });
    if let Some(dynamic) = inputs.bootstrap {
        config["bootstrap"] = json!({ "dcs": dynamic });
    }
    yaml(&config)
}

/// How the first data directory comes into being.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bootstrap {
    /// By `initdb`.
    Initdb,
    /// It was restored or moved to `<data directory>_bootstrap` and only takes its place.
    Existing,
}

/// What an instance's file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceInputs<'a> {
    /// PostgreSQL's major version.
    pub postgres_version: i32,
    /// Where `pg_wal` really is.
    pub wal_directory: &'a str,
    /// The command that makes a replica from a repository, if a repository can
    /// (`pgbackrest::commands::replica_create`).
    pub replica_create: Option<&'a [String]>,
    /// How the cluster is bootstrapped; none once it is.
    pub bootstrap: Option<Bootstrap>,
}

/// An instance's file as YAML.
#[must_use]
pub fn instance_yaml(inputs: &InstanceInputs<'_>) -> String {
    let waldir = format!("waldir={}", inputs.wal_directory);
    let mut postgresql = json!({
        "pgpass": "/tmp/.pgpass",
        "use_unix_socket": true,
        "basebackup": [waldir],
        "create_replica_methods": ["basebackup"],
    });
    if let Some(command) = inputs.replica_create {
        postgresql["create_replica_methods"] = json!(["pgbackrest", "basebackup"]);
        // Patroni passes every option but these four to the command as an argument, so nothing else
        // may stand here: `no_master`, an option up to Patroni 3, makes Patroni 4 call pgBackRest with
        // `--no_master=True`, which it refuses.
        postgresql["pgbackrest"] = json!({
            "command": shell_words(command),
            "keep_data": true,
            "no_leader": true,
            "no_params": true,
        });
    }
    let mut config = json!({
        "kubernetes": {},
        "restapi": {},
        "tags": {},
        "postgresql": postgresql,
    });
    let data = format!("/pgdata/pg{}", inputs.postgres_version);
    match inputs.bootstrap {
        Some(Bootstrap::Initdb) => {
            config["bootstrap"] = json!({
                "method": "initdb",
                "initdb": ["data-checksums", "encoding=UTF8", waldir],
            });
        }
        Some(Bootstrap::Existing) => {
            config["bootstrap"] = json!({
                "method": "existing",
                "existing": {
                    "command": format!(r#"mv "{data}_bootstrap" "{data}""#),
                    "no_params": "true",
                },
            });
        }
        None => {}
    }
    yaml(&config)
}

/// The value of `PATRONI_KUBERNETES_PORTS`. It must list the ports of the leader's Service: else Patroni
/// and the Endpoints controller undo each other's writes.
#[must_use]
pub fn kubernetes_ports(port: u16) -> String {
    format!("- name: ivory\n  port: {port}\n  protocol: TCP\n")
}

/// A command line of quoted words, as Patroni splits it: `'…'`, and `'"'"'` for a quote inside.
fn shell_words(words: &[String]) -> String {
    let quoted = |w: &String| format!("'{}'", w.replace('\'', r#"'"'"'"#));
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The document as YAML, keys sorted, after the header.
///
/// # Panics
/// Never: JSON values have no content that YAML cannot hold.
fn yaml(config: &Value) -> String {
    let body = serde_saphyr::to_string(config)
        .unwrap_or_else(|_| unreachable!("a JSON value can be written as YAML"));
    format!("{HEADER}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_cluster() {
        let dynamic = json!({"ttl": 30, "postgresql": {"parameters": {"jit": "off"}}});
        let mut inputs =
            ClusterInputs { cluster: "hippo", namespace: "db", bootstrap: Some(&dynamic) };
        assert_eq!(cluster_yaml(&inputs), include_str!("testdata/cluster.yaml"));
        inputs.bootstrap = None;
        assert!(!cluster_yaml(&inputs).contains("bootstrap"));
    }

    #[test]
    fn the_file_of_an_instance() {
        let command = ["bash".to_owned(), "it's \"$@\"".to_owned()];
        let mut inputs = InstanceInputs {
            postgres_version: 18,
            wal_directory: "/pgwal/pg18_wal",
            replica_create: Some(&command),
            bootstrap: Some(Bootstrap::Initdb),
        };
        assert_eq!(instance_yaml(&inputs), include_str!("testdata/instance.yaml"));
        inputs.bootstrap = Some(Bootstrap::Existing);
        inputs.replica_create = None;
        assert_eq!(instance_yaml(&inputs), include_str!("testdata/restored.yaml"));
        inputs.bootstrap = None;
        assert!(!instance_yaml(&inputs).contains("bootstrap"));
    }
}
