//! Stanza and first backup: after them archiving works, and replicas can be made from the repository
//! (`reference/components.md` §1.9, §1.11).

use std::time::Duration;

use serde_json::json;

use crate::api::IvoryClusterStatus;
use crate::api::status::RepoStatus;
use crate::build::backup_job::{self, BackupJob, target_container};
use crate::cluster::Cluster;
use crate::command::Command;
use crate::hash::safe_hash;
use crate::kind::Kind;
use crate::object::Object;
use crate::pass::Pass;
use crate::pgbackrest::config::config_hash;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{config, lost_stanza};
use crate::{labels, names};

/// How soon a stanza is tried again: settings reach a Pod within about a minute.
const RETRY: Duration = Duration::from_secs(10);

/// Creates the stanza, then takes the first backup.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::Backups, "NoPrimary", "no database accepts writes yet");
    };
    if !repo_host_ready(pass.cluster, &pass.status) {
        return pass.wait(Step::Backups, "RepoHostNotReady", "the repository host is not ready");
    }
    if !lost_stanza::forget(pass, members) || !stanza(pass, &pod) {
        return;
    }
    first_backup(pass, members);
}

/// Whether the repository's host is ready, as a status says; a cluster without one waits for none.
#[must_use]
pub fn repo_host_ready(cluster: &Cluster, status: &IvoryClusterStatus) -> bool {
    let host = status.pgbackrest.as_ref().and_then(|s| s.repo_host.as_ref());
    !cluster.has_repo_host() || host.is_some_and(|h| h.ready == Some(true))
}

/// Whether every repository has its stanza; one command creates those that are missing.
fn stanza(pass: &mut Pass<'_>, pod: &Object) -> bool {
    let done = |r: &RepoStatus| r.stanza_created == Some(true);
    let Some(status) = pass.status.pgbackrest.as_mut() else { return false };
    if status.repos.iter().all(done) {
        return true;
    }
    // Remembered after the command, and apart from what else this pass finds.
    let mut repos = status.repos.clone();
    repos.iter_mut().for_each(|r| r.stanza_created = Some(true));
    let command = Command::StanzaCreate {
        config_hash: config_hash(&config::repos(pass.cluster)),
        postgres_version: pass.cluster.spec.postgres_version,
    };
    let reason = Reason::Because { word: "Stanza", text: "a repository has no stanza yet".into() };
    pass.exec(Step::Backups, reason, pod, command, 60);
    pass.remember_as_read(Step::Backups, json!({ "pgbackrest": { "repos": repos } }));
    pass.look_again(RETRY);
    false
}

/// One backup in the first repository, by a Job that is made anew when it fails or when what it was
/// made for changes.
fn first_backup(pass: &mut Pass<'_>, members: &Members) {
    let cluster = pass.cluster;
    let Some(repo) = cluster.spec.backups.pgbackrest.repos.first() else { return };
    let Read::Known(jobs) = pass.observed.labelled(Kind::Job) else {
        return pass.unreadable(Step::Backups, "the jobs of the cluster");
    };
    let job = jobs.iter().find(|job| is_first(job, cluster)).cloned();
    let known =
        pass.status.pgbackrest.as_ref().and_then(|s| s.repos.iter().find(|r| r.name == repo.name));
    let Some(known) = known.cloned() else { return };
    // What was made from the last one ended where WAL is missing.
    let stranded = members.all.values().any(Member::awaits_backup);
    if stranded {
        // Meanwhile they copy the leader.
        note(pass, &repo.name, None);
    } else if known.replica_create_backup_complete == Some(true) {
        return;
    }
    // A backup belongs to the volume that it was written to.
    let volume = match &repo.volume {
        None => String::new(),
        Some(_) => match known.volume {
            Some(volume) => volume,
            None => {
                return pass.wait(
                    Step::Backups,
                    "VolumePending",
                    format!("{} has no volume yet", repo.name),
                );
            }
        },
    };
    let volume = safe_hash([&*volume]);
    let hash = config_hash(&config::repos(cluster));
    let Some(job) = job else {
        let purpose = format!("replica-create/{}/{hash}", repo.name);
        let name = names::backup_job(&cluster.name, &cluster.uid, &purpose, "");
        let desired = backup_job::job(
            cluster,
            &BackupJob {
                name: &name,
                repo,
                purpose: "replica-create",
                annotations: vec![
                    (labels::PGBACKREST_CONFIG, target_container(repo).to_owned()),
                    (labels::PGBACKREST_HASH, hash),
                    (labels::APPLIED, volume),
                ],
                options: Vec::new(),
            },
        );
        pass.ensure(Step::Backups, desired);
        return pass.wait(Step::Backups, "FirstBackup", format!("backup Job {name} begins"));
    };
    let outdated = job.label(labels::PGBACKREST_REPO) != Some(&repo.name)
        || job.annotation(labels::PGBACKREST_HASH) != Some(&hash)
        || job.annotation(labels::PGBACKREST_CONFIG) != Some(target_container(repo))
        || job.annotation(labels::APPLIED).is_some_and(|v| v != volume)
        || (stranded && job.condition_true("Complete"));
    if job.condition_true("Complete") && !outdated {
        return note(pass, &repo.name, Some(true));
    }
    if (job.condition_true("Failed") || outdated) && !job.terminating() {
        let word = if outdated { "Outdated" } else { "BackupFailed" };
        let text = format!(
            "backup Job {} {}",
            job.meta.name,
            match (stranded, outdated) {
                (true, true) => "was made before WAL was lost that replicas need",
                (_, true) => "was made for other settings",
                _ => "failed",
            }
        );
        pass.wait(Step::Backups, word, text.clone());
        return pass.delete(Step::Backups, &job, Reason::Because { word, text });
    }
    let text = format!("backup Job {} runs{}", job.meta.name, silent(pass, members));
    pass.wait(Step::Backups, "FirstBackup", text);
}

/// Whether a Job makes the backup that replicas are made from.
#[must_use]
pub fn is_first(job: &Object, cluster: &Cluster) -> bool {
    job.label(labels::PGBACKREST_BACKUP) == Some("replica-create")
        && job.controlled_by(&cluster.uid)
}

/// Notes whether a repository holds a backup that replicas can be made from.
fn note(pass: &mut Pass<'_>, repo: &str, complete: Option<bool>) {
    let repos = pass.status.pgbackrest.iter_mut().flat_map(|s| &mut s.repos);
    repos.filter(|r| r.name == repo).for_each(|r| r.replica_create_backup_complete = complete);
}

/// What a backup by the repository host loses time with: it asks the instances one after the other, and each that does
/// not answer is waited for.
fn silent(pass: &Pass<'_>, members: &Members) -> String {
    if !pass.cluster.has_repo_host() {
        return String::new();
    }
    let down = members.with_workload().filter(|m| !m.running()).map(|m| &*m.name);
    match down.collect::<Vec<_>>()[..] {
        [] => String::new(),
        ref down => {
            format!(", and has to wait for instances that don't answer: {}", down.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Op, Write};
    use crate::test_support::{World, deletes, spec};

    #[test]
    fn the_first_backup_is_ours_and_made_for_replicas() {
        let world = World::settled(1);
        let cluster = Cluster::read(&world.cluster(), &world.config).expect("a cluster");
        let job = world.all(Kind::Job)[0].clone();
        assert!(is_first(&job, &cluster));
        let mut manual = (*job).clone();
        let labels = std::sync::Arc::make_mut(&mut manual.meta.labels);
        labels.insert(labels::PGBACKREST_BACKUP.to_owned(), "manual".to_owned());
        let mut foreign = (*job).clone();
        foreign.meta.owners = Default::default();
        assert!(!is_first(&manual, &cluster) && !is_first(&foreign, &cluster));
    }

    #[test]
    fn one_stanza_and_one_backup() {
        let world = World::settled(3);
        let stanzas =
            world.commands.iter().filter(|(_, c)| matches!(c, Command::StanzaCreate { .. }));
        assert_eq!(stanzas.count(), 1);
        assert_eq!(world.all(Kind::Job).len(), 1);
        let config = world.the(Kind::ConfigMap, &names::instance_config(&world.leader()));
        assert!(
            config.to_value().to_string().contains("repo=1"),
            "replicas are made from the backup"
        );
    }

    #[test]
    fn a_failing_stanza_is_tried_again_and_keeps_nothing_else_from_being_true() {
        let mut world = World::new(spec(1));
        world.failing.insert("stanza");
        (0..12).for_each(|_| {
            world.round();
        });
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        assert_eq!(
            world.condition("PGBackRestReplicaRepoReady").map(|c| c.0).as_deref(),
            Some("False")
        );
        assert!(world.all(Kind::Job).is_empty());
        world.failing.clear();
        world.settle();
        assert_eq!(
            world.condition("PGBackRestReplicaCreate").map(|c| c.0).as_deref(),
            Some("True")
        );
    }

    #[test]
    fn a_record_of_the_stanza_that_lands_late_does_not_undo_what_was_found_since() {
        let mut world = World::new(spec(1));
        let mut late = None;
        for _ in 0..20 {
            let plan = world.plan();
            let made =
                |w: &Write| matches!(&w.op, Op::Exec { command: Command::StanzaCreate { .. }, .. });
            if let Some(index) = plan.writes.iter().position(made) {
                late = plan.writes.get(index + 1).map(|w| w.op.clone());
            }
            world.round();
        }
        world.settle();
        let late = late.expect("a record after the command");
        assert!(world.write(&late).is_err());
        let complete = world.condition("PGBackRestReplicaCreate").map(|c| c.0);
        assert_eq!(complete.as_deref(), Some("True"));
    }

    #[test]
    fn what_fails_inside_the_database_keeps_no_backup_from_being_made() {
        for command in ["set up users", "create databases"] {
            let mut world = World::new(spec(1));
            world.failing.insert(command);
            (0..12).for_each(|_| {
                world.round();
            });
            let complete = world.condition("PGBackRestReplicaCreate").map(|c| c.0);
            assert_eq!(complete.as_deref(), Some("True"), "{command}");
            assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("False"));
        }
    }

    #[test]
    fn nothing_is_called_reconciled_before_the_first_backup() {
        let mut world = World::new(spec(1));
        let is_true = |world: &World, kind: &str| {
            world.condition(kind).is_some_and(|(status, _)| status == "True")
        };
        world.settle_with(|world, _| {
            let early = is_true(world, "Reconciled") && !is_true(world, "PGBackRestReplicaCreate");
            assert!(!early, "{:?}", world.condition("Reconciled"));
        });
        assert!(is_true(&world, "Reconciled"));
    }

    #[test]
    fn a_backup_that_waits_for_an_instance_says_so() {
        let mut world = World::settled(2);
        let pod = names::instance_pod(&world.replicas()[0]);
        world.change(Kind::Pod, &pod, |p| p["status"]["containerStatuses"] = json!([]));
        world.dead.insert(pod);
        let job = world.all(Kind::Job)[0].meta.name.to_string();
        world.change(Kind::Job, &job, |j| j["status"] = json!({}));
        world.change(Kind::IvoryCluster, "hippo", |c| {
            c["status"]["pgbackrest"]["repos"][0]["replicaCreateBackupComplete"] = json!(null);
        });
        let text = crate::test_support::texts(&world.plan()).join("\n");
        let expected = format!(
            "runs, and has to wait for instances that don't answer: {}",
            world.replicas()[0]
        );
        assert!(text.contains(&expected), "{text}");
    }

    #[test]
    fn a_failed_job_is_made_again() {
        let mut world = World::settled(1);
        let job = world.all(Kind::Job)[0].clone();
        world.change(Kind::Job, &job.meta.name, |j| {
            j["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        });
        world.change(Kind::IvoryCluster, "hippo", |c| {
            c["status"]["pgbackrest"]["repos"][0]["replicaCreateBackupComplete"] = json!(null);
        });
        assert_eq!(deletes(&world.plan()), [format!("Job {}", job.meta.name)]);
        world.settle();
        assert_ne!(world.all(Kind::Job)[0].meta.uid, job.meta.uid);
        assert_eq!(
            world.condition("PGBackRestReplicaCreate").map(|c| c.0).as_deref(),
            Some("True")
        );
    }

    #[test]
    fn the_first_backup_is_made_once_whatever_becomes_of_its_job() {
        let mut world = World::settled(1);
        let job = world.all(Kind::Job)[0].clone();
        world.remove(Kind::Job, &job.meta.name);
        world.settle();
        assert!(world.all(Kind::Job).is_empty());
    }

    /// A settled cluster that remembers no backup, and whose Job for it is changed.
    fn without_backup(change: impl FnOnce(&mut serde_json::Value)) -> (World, String) {
        let mut world = World::settled(1);
        let job = world.all(Kind::Job)[0].meta.name.to_string();
        world.change(Kind::Job, &job, change);
        world.change(Kind::IvoryCluster, "hippo", |c| {
            c["status"]["pgbackrest"]["repos"][0]["replicaCreateBackupComplete"] = json!(null);
        });
        (world, job)
    }

    #[test]
    fn of_two_jobs_for_one_backup_the_useless_goes() {
        let (mut world, job) = without_backup(|_| {});
        let mut more = world.the(Kind::Job, &job).to_value();
        more["metadata"]["name"] = "a-second-one".into();
        more["metadata"]["uid"] = "".into();
        more["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        world.put(Object::from_value(more).expect("a Job"));
        world.settle();
        let left: Vec<_> = world.all(Kind::Job).iter().map(|j| j.meta.name.to_string()).collect();
        assert_eq!(left, [job]);
        let complete = world.condition("PGBackRestReplicaCreate").map(|c| c.0);
        assert_eq!(complete.as_deref(), Some("True"));
    }

    #[test]
    fn a_job_counts_for_the_settings_and_the_volume_that_it_was_made_for() {
        let annotation = |key: &'static str| {
            move |job: &mut serde_json::Value| job["metadata"]["annotations"][key] = "other".into()
        };
        for key in [labels::APPLIED, labels::PGBACKREST_HASH, labels::PGBACKREST_CONFIG] {
            let (mut world, job) = without_backup(annotation(key));
            let plan = world.plan();
            assert_eq!(deletes(&plan), [format!("Job {job}")], "{key}");
            let said = plan.report.lines.iter().map(|(_, o)| o.to_string()).collect::<String>();
            assert!(said.contains("was made for other settings"), "{said}");
        }
        // One that the Go operator made says nothing of its volume.
        let (mut world, _) = without_backup(|job| {
            let annotations = job["metadata"]["annotations"].as_object_mut().expect("a map");
            annotations.remove(labels::APPLIED).expect("a volume");
        });
        assert_eq!(deletes(&world.plan()), [""; 0]);
    }

    #[test]
    fn what_a_failed_job_is_said_to_be() {
        let (mut world, job) = without_backup(|job| {
            job["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        });
        let plan = world.plan();
        let said = plan.report.lines.iter().map(|(_, o)| o.to_string()).collect::<String>();
        assert!(said.contains(&format!("backup Job {job} failed")), "{said}");
        assert!(format!("{:?}", plan.writes).contains("BackupFailed"), "{:?}", plan.writes);
    }

    #[test]
    fn a_repository_without_volume_is_waited_for() {
        let (mut world, job) = without_backup(|_| {});
        world.remove(Kind::Job, &job);
        for claim in world.all(Kind::PersistentVolumeClaim) {
            if claim.label(labels::PGBACKREST_REPO).is_some() {
                world.change(Kind::PersistentVolumeClaim, &claim.meta.name, |c| {
                    c["spec"]["volumeName"] = json!(null);
                });
            }
        }
        world.change(Kind::IvoryCluster, "hippo", |c| {
            c["status"]["pgbackrest"]["repos"][0]["volume"] = json!(null);
        });
        let plan = world.plan();
        let said = plan.report.lines.iter().map(|(_, o)| o.to_string()).collect::<String>();
        assert!(said.contains("repo1 has no volume yet"), "{said}");
        assert!(!said.contains("backup Job"), "{said}");
    }

    #[test]
    fn nothing_is_backed_up_before_the_host_is_ready_and_its_volume_known() {
        let mut world = World::new(spec(1));
        world.dead.insert(names::instance_pod(&names::repo_host("hippo")));
        (0..12).for_each(|_| {
            world.round();
        });
        assert!(!world.commands.iter().any(|(_, c)| matches!(c, Command::StanzaCreate { .. })));
        assert!(world.all(Kind::Job).is_empty());
    }

    #[test]
    fn a_backup_that_waits_for_nobody_says_no_more() {
        let (mut world, job) = without_backup(|j| j["status"] = json!({}));
        let texts = crate::test_support::texts(&world.plan());
        assert!(texts.iter().any(|t| t.ends_with(&format!("backup Job {job} runs"))), "{texts:?}");
    }
}
