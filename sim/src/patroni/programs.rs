//! What runs in the containers of a database cluster, for kubelets: [`DatabasePrograms`]. Sidecars that only
//! copy files run and do nothing; their effect is in the model of the process that reads the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::names::DATABASE_CONTAINER;

use crate::node::programs::Exits;
use crate::node::{ContainerStart, Disks, InitOutcome, Mounts, Programs};
use crate::patroni::config::{MemberConfig, Version};
use crate::patroni::{Member, MemberStart};
use crate::pgbackrest::backup_job::{BackupJob, BackupStart};
use crate::pgbackrest::restore_job::{RestoreJob, RestoreStart};
use crate::pgbackrest::server::{BackrestServer, ServerStart, instances};
use crate::pgbackrest::{RepoTarget, targets};
use crate::postgres::auth::Certificate;
use crate::time::Span;
use crate::world::Actor;

/// Patroni's files (reconcile.md §2.10), in the order in which Patroni reads them.
const PATRONI_FILES: [&str; 2] =
    ["/etc/patroni/~ivory-operator_cluster.yaml", "/etc/patroni/~ivory-operator_instance.yaml"];
/// pgBackRest's directory (components.md §1.3).
const BACKREST: &str = "/etc/pgbackrest/conf.d";

/// The files of a container that processes read again when they change.
#[derive(Clone, Debug)]
pub struct Files(Arc<ContainerStart>);

impl Files {
    /// The files of a container.
    #[must_use]
    pub fn of(start: &ContainerStart) -> Self {
        Self(Arc::new(start.clone()))
    }

    fn text(&self, mounts: &Mounts, path: &str) -> Option<String> {
        let bytes = self.0.file(mounts, path)?;
        bytes.expose_text().map(str::to_owned)
    }

    /// PostgreSQL's certificate and key.
    #[must_use]
    pub fn certificate(&self, mounts: &Mounts) -> Option<Certificate> {
        Some(Certificate {
            certificate: self.text(mounts, "/pgconf/tls/tls.crt")?.into(),
            key: self.0.file(mounts, "/pgconf/tls/tls.key")?,
        })
    }

    /// The certificate and key of pgBackRest's server.
    #[must_use]
    pub fn server_certificate(&self, mounts: &Mounts) -> Option<Certificate> {
        Some(Certificate {
            certificate: self.text(mounts, "/etc/pgbackrest/server/server-tls.crt")?.into(),
            key: self.0.file(mounts, "/etc/pgbackrest/server/server-tls.key")?,
        })
    }

    /// The repositories that pgBackRest in this container knows.
    #[must_use]
    pub fn repositories(&self, mounts: &Mounts) -> Vec<RepoTarget> {
        let conf = self.text(mounts, &format!("{BACKREST}/pgbackrest_instance.conf"));
        targets(&conf.unwrap_or_default())
    }

    /// pgBackRest's `config-hash`.
    #[must_use]
    pub fn config_hash(&self, mounts: &Mounts) -> Arc<str> {
        let text = self.text(mounts, &format!("{BACKREST}/config-hash"));
        text.unwrap_or_default().trim().into()
    }

    /// The configuration of a repository host.
    fn repo_conf(&self, mounts: &Mounts) -> Option<String> {
        self.text(mounts, &format!("{BACKREST}/pgbackrest_repo.conf"))
    }
}

/// The programs.
#[derive(Clone, Debug)]
pub struct DatabasePrograms {
    /// The version of Patroni in images that no rule names.
    pub patroni: Version,
    /// Versions of Patroni by a part of the image's name; the first that fits counts.
    pub patroni_by_image: Vec<(String, Version)>,
}

impl Default for DatabasePrograms {
    fn default() -> Self {
        Self { patroni: Version::BASELINE, patroni_by_image: Vec::new() }
    }
}

impl DatabasePrograms {
    fn version(&self, image: &str) -> Version {
        let rule = self.patroni_by_image.iter().find(|(part, _)| image.contains(part));
        rule.map_or(self.patroni, |(_, version)| *version)
    }

    fn member(&self, start: &ContainerStart) -> Result<Member, String> {
        let files = Files::of(start);
        let mounts = &start.mounts;
        let texts: Vec<String> =
            PATRONI_FILES.iter().filter_map(|path| files.text(mounts, path)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let config = MemberConfig::read(&texts, &environment(start), self.version(&start.image))?;
        let volume = start.volumes.get("/pgdata").ok_or("no volume at /pgdata")?;
        Ok(Member::new(MemberStart {
            config,
            volume: volume.clone(),
            wal_volume: start.volumes.get("/pgwal").cloned(),
            certificate: files.certificate(mounts),
            repositories: files.repositories(mounts),
            config_hash: files.config_hash(mounts),
            files: Some(files),
        }))
    }
}

fn environment(start: &ContainerStart) -> BTreeMap<String, String> {
    let pair = |name: &str| Some((name.to_owned(), start.env.get(name)?.to_owned()));
    start.env.names().filter_map(pair).collect()
}

/// A process that can't start: it ends with status 1.
fn fails(start: &ContainerStart) -> Arc<dyn Actor> {
    Arc::new(Exits::new(start, Span::ms(300), 1))
}

fn backup_job(start: &ContainerStart) -> Arc<dyn Actor> {
    let files = Files::of(start);
    let mounts = &start.mounts;
    let hash = files.config_hash(mounts);
    let conf = files
        .repo_conf(mounts)
        .or_else(|| files.text(mounts, &format!("{BACKREST}/pgbackrest_instance.conf")));
    let fast = conf.is_some_and(|c| {
        c.lines().any(|l| {
            l.split_once('=').is_some_and(|(k, v)| k.trim() == "start-fast" && v.trim() == "y")
        })
    });
    match BackupStart::read(&environment(start), &start.pod.meta.name, &hash, fast) {
        Ok(read) => Arc::new(BackupJob::new(read)),
        Err(_) => fails(start),
    }
}

fn restore_job(start: &ContainerStart) -> Arc<dyn Actor> {
    let files = Files::of(start);
    let json = start.json();
    // The script's two arguments: the data directory, and pgBackRest's options as one text.
    let words: Vec<&str> = ["command", "args"]
        .iter()
        .filter_map(|key| json.get(*key)?.as_array())
        .flatten()
        .filter_map(|w| w.as_str())
        .collect();
    let (Some([data, options]), Some(volume)) =
        (words.last_chunk::<2>(), start.volumes.get("/pgdata"))
    else {
        return fails(start);
    };
    let wal = options.split("--link-map=pg_wal=").nth(1).and_then(|w| w.split_whitespace().next());
    Arc::new(RestoreJob::new(RestoreStart {
        namespace: start.pod.meta.namespace.clone(),
        pod: start.pod.meta.name.clone(),
        volume: volume.clone(),
        directory: data.rsplit('/').next().unwrap_or(data).into(),
        wal_directory: wal.unwrap_or("pg_wal").into(),
        options: (*options).to_owned(),
        repositories: files.repositories(&start.mounts),
    }))
}

fn repository_server(start: &ContainerStart) -> Option<Arc<dyn Actor>> {
    let volumes: BTreeMap<u8, Arc<str>> = start
        .volumes
        .iter()
        .filter_map(|(path, volume)| {
            let number = path.strip_prefix("/pgbackrest/repo")?.parse().ok()?;
            Some((number, volume.clone()))
        })
        .collect();
    if volumes.is_empty() {
        return None;
    }
    let files = Files::of(start);
    let conf = files.repo_conf(&start.mounts).unwrap_or_default();
    Some(Arc::new(BackrestServer::new(ServerStart {
        namespace: start.pod.meta.namespace.clone(),
        pod: start.pod.meta.name.clone(),
        volumes,
        instances: instances(&conf),
        config_hash: files.config_hash(&start.mounts),
        certificate: files.server_certificate(&start.mounts),
        files: Some(files),
    })))
}

impl Files {
    /// The instances that a repository host's configuration names.
    #[must_use]
    pub fn instances(&self, mounts: &Mounts) -> Vec<(Arc<str>, u16)> {
        instances(&self.repo_conf(mounts).unwrap_or_default())
    }
}

impl Programs for DatabasePrograms {
    fn start(&self, start: &ContainerStart) -> Option<Arc<dyn Actor>> {
        match &*start.container {
            DATABASE_CONTAINER => Some(match self.member(start) {
                Ok(member) => Arc::new(member),
                Err(_) => fails(start),
            }),
            "pgbackrest" if start.env.get("COMMAND").is_some() => Some(backup_job(start)),
            "pgbackrest" => repository_server(start),
            "pgbackrest-restore" => Some(restore_job(start)),
            _ => None,
        }
    }

    fn init(&self, start: &ContainerStart, disks: &mut Disks<'_, '_>) -> InitOutcome {
        if &*start.container == "ivory-startup" {
            return startup(start, disks);
        }
        InitOutcome::fine()
    }

    fn ports(&self, start: &ContainerStart) -> Vec<u16> {
        let mut ports = start.ports.clone();
        match &*start.container {
            // pgBackRest's and Patroni's ports are not declared.
            "pgbackrest" => ports.push(8432),
            DATABASE_CONTAINER => {
                for (name, default) in
                    [("PATRONI_POSTGRESQL_LISTEN", 5432), ("PATRONI_RESTAPI_LISTEN", 8008)]
                {
                    let set = start.env.get(name).and_then(|v| v.rsplit(':').next()?.parse().ok());
                    ports.push(set.unwrap_or(default));
                }
            }
            _ => {}
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// `ivory-startup` (reconcile.md §2.11): the version of the data, and the place of their log.
fn startup(start: &ContainerStart, disks: &mut Disks<'_, '_>) -> InitOutcome {
    let json = start.json();
    let words: Vec<&str> = ["command", "args"]
        .iter()
        .filter_map(|key| json.get(*key)?.as_array())
        .flatten()
        .filter_map(|w| w.as_str())
        .collect();
    let fail = |message: String| InitOutcome { exit: 1, message, ..InitOutcome::fine() };
    let Some([version, wal, _log]) = words.last_chunk::<3>() else {
        return fail("startup: missing arguments".into());
    };
    let wal_mounted = !wal.starts_with("/pgwal/") || disks.at("/pgwal").is_some();
    let Some(volume) = disks.at("/pgdata") else {
        return fail("mkdir: cannot create directory '/pgdata': Permission denied".into());
    };
    if !wal_mounted {
        return fail(format!("mkdir: cannot create directory '{wal}': Permission denied"));
    }
    let data = format!("pg{version}");
    let prepared = format!("{data}_bootstrap");
    let name = if volume.directories.contains_key(&*prepared) { prepared } else { data };
    let Some(directory) = volume.directories.get_mut(&*name) else {
        return InitOutcome::fine();
    };
    if directory.version.to_string() != **version {
        return fail(format!(
            "Expected PostgreSQL data version {version}, found {}",
            directory.version
        ));
    }
    if *directory.wal_directory != **wal {
        directory.wal_directory = (*wal).into();
    }
    InitOutcome::fine()
}
