//! pgBackRest's configuration files (`reference/components.md` §1.3) and the hash by which a Pod is
//! asked whether they have reached it (§1.4). Which volumes carry them is the builders' matter.

use std::collections::BTreeMap;

use crate::hash::safe_hash;
use crate::names::STANZA;

/// Where the files are in every container.
pub const DIRECTORY: &str = "/etc/pgbackrest/conf.d";
/// The file with [`config_hash`], in the containers.
pub const CONFIG_HASH_PATH: &str = "/etc/pgbackrest/conf.d/config-hash";
/// Where the instances' logs go.
pub const INSTANCE_LOG_DIRECTORY: &str = "/pgdata/pgbackrest/log";
/// Where pgBackRest in an instance keeps what it queues when `archive-async` is on.
pub const INSTANCE_SPOOL_DIRECTORY: &str = "/pgdata/pgbackrest/spool";

const SOCKET_DIRECTORY: &str = crate::postgres::parameters::SOCKET_DIRECTORY;
/// The certificates with which one side connects to the other.
const TLS: [(&str, &str); 3] = [
    ("ca-file", "/etc/pgbackrest/conf.d/~ivory-operator/tls-ca.crt"),
    ("cert-file", "/etc/pgbackrest/conf.d/~ivory-operator/client-tls.crt"),
    ("key-file", "/etc/pgbackrest/conf.d/~ivory-operator/client-tls.key"),
];
const HEADER: &str = "# Written by ivory-operator from the IvoryCluster.\n\
    # Do not edit: changes here are lost.\n";

/// A repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Repo {
    /// The number in its name: 1 for `repo1`.
    pub number: u8,
    /// Where it keeps its files.
    pub storage: Storage,
}

/// Where a repository keeps its files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Storage {
    /// A volume of the repository host.
    Volume,
    /// An S3 bucket.
    S3 {
        /// `repoN-s3-bucket`
        bucket: String,
        /// `repoN-s3-endpoint`
        endpoint: String,
        /// `repoN-s3-region`
        region: String,
    },
    /// A bucket of Google's.
    Gcs {
        /// `repoN-gcs-bucket`
        bucket: String,
    },
    /// A container of Azure's.
    Azure {
        /// `repoN-azure-container`
        container: String,
    },
}

/// What the files say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inputs<'a> {
    /// The repositories, in the order of the spec.
    pub repos: &'a [Repo],
    /// `spec.backups.pgbackrest.global`, which wins over everything else in `[global]`.
    pub global: &'a BTreeMap<String, String>,
    /// Full DNS name of the repository host's Pod, with a dot at the end. None without such a host.
    pub repo_host: Option<&'a str>,
    /// Full DNS names of the instances' Pods, in the order of the instances' names.
    pub instances: &'a [String],
    /// PostgreSQL's major version.
    pub postgres_version: i32,
    /// PostgreSQL's port.
    pub port: u16,
}

/// Whether the cluster needs a repository host: some repository is a volume.
#[must_use]
pub fn needs_repo_host(repos: &[Repo]) -> bool {
    repos.iter().any(|r| r.storage == Storage::Volume)
}

/// The directory of a repository, the same on every host.
#[must_use]
pub fn repo_directory(number: u8) -> String {
    format!("/pgbackrest/repo{number}")
}

/// The log directory of the repository host: on its first volume. None without a volume.
#[must_use]
pub fn repo_log_directory(repos: &[Repo]) -> Option<String> {
    let first = repos.iter().find(|r| r.storage == Storage::Volume)?;
    Some(repo_directory(first.number) + "/log")
}

/// `pgbackrest_instance.conf`, for instances, restore Jobs and backups that run inside an instance.
#[must_use]
pub fn instance_conf(inputs: &Inputs<'_>) -> String {
    let mut global = Section::new();
    set(&mut global, "log-path", INSTANCE_LOG_DIRECTORY);
    // Its default is below /var, which is read-only in our containers and not everybody's to read: a restore
    // for a new replica ended there with "[053]: unable to list file info".
    set(&mut global, "spool-path", INSTANCE_SPOOL_DIRECTORY);
    repos(&mut global, inputs);
    for repo in inputs.repos.iter().filter(|r| r.storage == Storage::Volume) {
        if let Some(host) = inputs.repo_host {
            let key = format!("repo{}-host", repo.number);
            remote(&mut global, &key, host);
            set(&mut global, &format!("{key}-user"), "ivory");
        }
    }
    global.extend(inputs.global.clone());
    let mut stanza = Section::new();
    local(&mut stanza, 1, inputs);
    force_version(&mut stanza, inputs);
    render(&[("global", &global), (STANZA, &stanza)])
}

/// `pgbackrest_repo.conf`, for the repository host and backups that run there. None without such a host.
#[must_use]
pub fn repo_conf(inputs: &Inputs<'_>) -> Option<String> {
    inputs.repo_host?;
    let mut global = Section::new();
    set(&mut global, "log-path", &repo_log_directory(inputs.repos)?);
    repos(&mut global, inputs);
    global.extend(inputs.global.clone());
    let mut stanza = Section::new();
    for (number, host) in (1..).zip(inputs.instances) {
        remote(&mut stanza, &format!("pg{number}-host"), host);
        local(&mut stanza, number, inputs);
    }
    force_version(&mut stanza, inputs);
    Some(render(&[("global", &global), (STANZA, &stanza)]))
}

/// `pgbackrest-server.conf`: how the TLS server listens, and whom it lets in, which is the client
/// certificate of this cluster alone.
#[must_use]
pub fn server_conf(cluster_uid: &str, ipv6: bool) -> String {
    let mut global = Section::new();
    set(&mut global, "tls-server-address", if ipv6 { "::" } else { "0.0.0.0" });
    set(&mut global, "tls-server-auth", &format!("{}=*", client_name(cluster_uid)));
    set(&mut global, "tls-server-ca-file", TLS[0].1);
    set(&mut global, "tls-server-cert-file", "/etc/pgbackrest/server/server-tls.crt");
    set(&mut global, "tls-server-key-file", "/etc/pgbackrest/server/server-tls.key");
    let mut server = Section::new();
    set(&mut server, "log-level-console", "detail");
    set(&mut server, "log-level-stderr", "error");
    set(&mut server, "log-level-file", "off");
    set(&mut server, "log-timestamp", "n");
    render(&[("global", &global), ("global:server", &server)])
}

/// The common name of the cluster's pgBackRest client certificate.
#[must_use]
pub fn client_name(cluster_uid: &str) -> String {
    format!("pgbackrest@{cluster_uid}")
}

/// The hash of where the repositories outside the cluster are, independent of their order. It does
/// not cover `global`.
#[must_use]
pub fn config_hash(repos: &[Repo]) -> String {
    let hashes: BTreeMap<u8, String> =
        repos.iter().filter_map(|repo| Some((repo.number, repo_hash(repo)?))).collect();
    safe_hash(hashes.values().map(String::as_str))
}

/// The hash of where one repository is; none for a volume. A change means other files, so another
/// stanza and first backup.
#[must_use]
pub fn repo_hash(repo: &Repo) -> Option<String> {
    Some(match &repo.storage {
        Storage::Volume => return None,
        Storage::S3 { bucket, endpoint, region } => safe_hash([&**bucket, endpoint, region]),
        Storage::Gcs { bucket } => safe_hash([&**bucket]),
        Storage::Azure { container } => safe_hash([&**container]),
    })
}

type Section = BTreeMap<String, String>;

fn set(section: &mut Section, key: &str, value: &str) {
    section.insert(key.to_owned(), value.to_owned());
}

fn repos(global: &mut Section, inputs: &Inputs<'_>) {
    // A backup begins with a checkpoint. Left to its pace, it took 122 of the 141 seconds of a first
    // backup (`reference/go-baseline.md`).
    set(global, "start-fast", "y");
    for repo in inputs.repos {
        let mut option = |name: &str, value: &str| {
            global.insert(format!("repo{}-{name}", repo.number), value.to_owned());
        };
        option("path", &repo_directory(repo.number));
        match &repo.storage {
            Storage::Volume => {}
            Storage::S3 { bucket, endpoint, region } => {
                option("type", "s3");
                option("s3-bucket", bucket);
                option("s3-endpoint", endpoint);
                option("s3-region", region);
            }
            Storage::Gcs { bucket } => {
                option("type", "gcs");
                option("gcs-bucket", bucket);
            }
            Storage::Azure { container } => {
                option("type", "azure");
                option("azure-container", container);
            }
        }
    }
}

/// A server that is reached by TLS.
fn remote(section: &mut Section, key: &str, host: &str) {
    set(section, key, host);
    set(section, &format!("{key}-type"), "tls");
    for (name, path) in TLS {
        set(section, &format!("{key}-{name}"), path);
    }
}

/// Where the `number`-th PostgreSQL is on its own host.
fn local(section: &mut Section, number: u32, inputs: &Inputs<'_>) {
    let path = format!("/pgdata/pg{}", inputs.postgres_version);
    set(section, &format!("pg{number}-path"), &path);
    set(section, &format!("pg{number}-port"), &inputs.port.to_string());
    set(section, &format!("pg{number}-socket-path"), SOCKET_DIRECTORY);
}

/// IvorySQL reports a version of its own, so pgBackRest has to be told the one it is made of. The Go
/// operator always says 18, which a pgBackRest that ends before 18 refuses, whatever the server is.
fn force_version(section: &mut Section, inputs: &Inputs<'_>) {
    set(section, "pg-version-force", &inputs.postgres_version.to_string());
}

/// The text of a file. Keys come sorted; a line end in a value would begin another option.
fn render(sections: &[(&str, &Section)]) -> String {
    let mut text = HEADER.to_owned();
    for (name, section) in sections {
        text.push_str(&format!("\n[{name}]\n"));
        for (key, value) in *section {
            let line = format!("{key} = {}", value.replace(['\n', '\r'], " "));
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> Repo {
        Repo {
            number: 2,
            storage: Storage::S3 {
                bucket: "my-bucket".into(),
                endpoint: "s3.ca-central-1.amazonaws.com".into(),
                region: "ca-central-1".into(),
            },
        }
    }

    fn volume() -> Repo {
        Repo { number: 1, storage: Storage::Volume }
    }

    #[test]
    fn the_files_of_a_cluster_with_volume_and_bucket() {
        let global = BTreeMap::from([
            ("repo1-retention-full".to_owned(), "14".to_owned()),
            ("start-fast".to_owned(), "n".to_owned()),
            ("x".to_owned(), "a\n[db]".to_owned()),
            ("y".to_owned(), String::new()),
        ]);
        let hosts =
            ["hippo-00-aaaa-0.hippo-pods.ns.svc.cluster.local.".to_owned(), "b.".to_owned()];
        let inputs = Inputs {
            repos: &[volume(), s3()],
            global: &global,
            repo_host: Some("hippo-repo-host-0.hippo-pods.ns.svc.cluster.local."),
            instances: &hosts,
            postgres_version: 18,
            port: 5432,
        };
        assert_eq!(instance_conf(&inputs), include_str!("testdata/instance.conf"));
        assert_eq!(repo_conf(&inputs).as_deref(), Some(include_str!("testdata/repo.conf")));
        assert_eq!(server_conf("0f0e", false), include_str!("testdata/server.conf"));
        assert!(server_conf("0f0e", true).contains("tls-server-address = ::\n"));
    }

    #[test]
    fn buckets_alone_need_no_host() {
        let inputs = Inputs {
            repos: &[s3()],
            global: &BTreeMap::new(),
            repo_host: None,
            instances: &[],
            postgres_version: 15,
            port: 5432,
        };
        assert!(!needs_repo_host(inputs.repos) && needs_repo_host(&[s3(), volume()]));
        assert_eq!(repo_conf(&inputs), None);
        let text = instance_conf(&inputs);
        assert!(!text.contains("host") && text.contains("\npg-version-force = 15\n"), "{text}");
        assert!(text.contains("\nstart-fast = y\n"));
        // A volume whose host is not known is not guessed at.
        let repos = [volume()];
        let inputs = Inputs { repos: &repos, ..inputs };
        assert!(!instance_conf(&inputs).contains("host"));
    }

    /// The vectors of `reference/components.md` §0.2.
    #[test]
    fn hashes_agree_with_the_go_operator() {
        assert_eq!(repo_hash(&s3()).as_deref(), Some("6ff9c68bb"));
        assert_eq!(config_hash(&[s3(), volume()]), "79bcb8c5cf");
        assert_eq!(config_hash(&[volume()]), "65bb57b6b5");
        let gcs = Repo { number: 1, storage: Storage::Gcs { bucket: "g".into() } };
        let azure = Repo { number: 3, storage: Storage::Azure { container: "c".into() } };
        let list = [gcs, s3(), azure];
        let mut reversed = list.to_vec();
        reversed.reverse();
        assert_eq!(config_hash(&list), config_hash(&reversed));
    }
}
