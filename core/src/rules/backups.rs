//! Stanza and first backup: after them archiving works, and replicas can be made from the repository
//! (`reference/components.md` §1.9, §1.11).

use std::sync::Arc;
use std::time::Duration;

use crate::api::status::RepoStatus;
use crate::build::backup_job::{self, BackupJob, target_container};
use crate::command::Command;
use crate::kind::Kind;
use crate::object::Object;
use crate::pass::Pass;
use crate::pgbackrest::config::config_hash;
use crate::plan::{Op, Propagation};
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::config;
use crate::rules::members::Members;
use crate::{labels, names};

/// How soon a stanza is tried again: settings reach a Pod within about a minute.
const RETRY: Duration = Duration::from_secs(10);

/// Creates the stanza, then takes the first backup.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::Backups, "NoPrimary", "no database accepts writes yet");
    };
    if pass.cluster.has_repo_host() && !repo_host_ready(pass) {
        return pass.wait(Step::Backups, "RepoHostNotReady", "the repository host is not ready");
    }
    if !stanza(pass, &pod) {
        return;
    }
    first_backup(pass);
}

fn repo_host_ready(pass: &Pass<'_>) -> bool {
    let host = pass.status.pgbackrest.as_ref().and_then(|s| s.repo_host.as_ref());
    host.is_some_and(|h| h.ready == Some(true))
}

/// Whether every repository has its stanza; one command creates those that are missing.
fn stanza(pass: &mut Pass<'_>, pod: &Object) -> bool {
    let done = |r: &RepoStatus| r.stanza_created == Some(true);
    let Some(status) = pass.status.pgbackrest.as_mut() else { return false };
    if status.repos.iter().all(done) {
        return true;
    }
    status.repos.iter_mut().for_each(|r| r.stanza_created = Some(true));
    let command = Command::StanzaCreate {
        config_hash: config_hash(&config::repos(pass.cluster)),
        postgres_version: pass.cluster.spec.postgres_version,
    };
    let reason = Reason::Because { word: "Stanza", text: "a repository has no stanza yet".into() };
    pass.exec(Step::Backups, reason, pod, command, 60);
    pass.look_again(RETRY);
    true
}

/// One backup in the first repository, by a Job that is made anew when it fails or when what it was
/// made for changes.
fn first_backup(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    let Some(repo) = cluster.spec.backups.pgbackrest.repos.first() else { return };
    let Read::Known(jobs) = pass.observed.labelled(Kind::Job) else {
        return pass.unreadable(Step::Backups, "the jobs of the cluster");
    };
    let mine = |j: &&Arc<Object>| {
        j.label(labels::PGBACKREST_BACKUP) == Some("replica-create") && j.controlled_by(&cluster.uid)
    };
    let job = jobs.iter().find(mine).cloned();
    let done = |s: &RepoStatus| s.name == repo.name && s.replica_create_backup_complete == Some(true);
    if pass.status.pgbackrest.as_ref().is_some_and(|s| s.repos.iter().any(done)) {
        return;
    }
    let hash = config_hash(&config::repos(cluster));
    let attempt = job.as_ref().map_or(String::new(), |j| j.meta.uid.to_string());
    let Some(job) = job else {
        let purpose = format!("replica-create/{}/{hash}", repo.name);
        let name = names::backup_job(&cluster.name, &cluster.uid, &purpose, &attempt);
        let desired = backup_job::job(cluster, &BackupJob {
            name: &name,
            repo,
            purpose: "replica-create",
            annotations: vec![
                (labels::PGBACKREST_CONFIG, target_container(repo).to_owned()),
                (labels::PGBACKREST_HASH, hash),
            ],
            options: Vec::new(),
        });
        pass.ensure(Step::Backups, desired);
        return;
    };
    if job.condition_true("Complete") {
        if let Some(status) = pass.status.pgbackrest.as_mut() {
            let repo = status.repos.iter_mut().filter(|r| r.name == repo.name);
            repo.for_each(|r| r.replica_create_backup_complete = Some(true));
        }
        return;
    }
    let outdated = job.label(labels::PGBACKREST_REPO) != Some(&repo.name)
        || job.annotation(labels::PGBACKREST_HASH) != Some(&hash)
        || job.annotation(labels::PGBACKREST_CONFIG) != Some(target_container(repo));
    if (job.condition_true("Failed") || outdated) && !job.terminating() {
        let word = if outdated { "Outdated" } else { "BackupFailed" };
        let text = format!("backup Job {} {}", job.meta.name, if outdated { "was made for other settings" } else { "failed" });
        let op = Op::Delete {
            kind: Kind::Job,
            namespace: cluster.namespace.clone(),
            name: job.meta.name.to_string(),
            uid: job.meta.uid.clone(),
            resource_version: None,
            propagation: Propagation::Background,
        };
        return pass.write(Step::Backups, Reason::Because { word, text }, op);
    }
    pass.wait(Step::Backups, "FirstBackup", format!("backup Job {} runs", job.meta.name));
}
