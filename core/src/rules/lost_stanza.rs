//! A repository that lost what it held: its volume or bucket is there and can be looked into, and the stanza is not in it
//! any more. All backups and WAL in it are gone; archiving fails, and goes on failing until the primary's volume is full.
//! So it is begun anew, with a stanza and a first backup, and that is told. It is looked for while archiving fails. What
//! can't be looked into is not lost, and what is there in part is for people to judge.

use crate::cluster::Cluster;
use crate::command::Command;
use crate::kind::Kind;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::pgbackrest::info::Info;
use crate::queries;
use crate::read::{Query, Read};
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::rules::{archiving, backups};

/// The reason of the condition that says so.
pub const REASON: &str = "StanzaLost";

/// What to ask the leader, in each pass: by an old answer what was begun anew would be lost again. Nothing while the
/// repository's host is not ready, which could not say.
pub fn query(observed: &Observed, cluster: &Cluster, members: &Members) -> Option<Query> {
    let fails = archiving::happens(observed, cluster) && cluster.status.says_no(archiving::TYPE);
    let answers = backups::repo_host_ready(cluster, &cluster.status);
    let pod = members.writable().filter(|m| fails && answers && m.ready())?.pod()?;
    let (target, command) = (queries::database(pod), Command::BackupInfo);
    Some(Query { target, command, deadline_s: 10, max_age_s: 0 })
}

/// The repositories that lost their stanza, by name.
#[must_use]
pub fn lost(pass: &Pass<'_>, members: &Members) -> Vec<String> {
    let query = query(pass.observed, pass.cluster, members);
    let answer = query.and_then(|q| pass.observed.answers.get(&q)?.known());
    let Some(info) = answer.and_then(|a| Info::parse(&a.output.stdout)) else { return Vec::new() };
    let gone = info.repos.iter().filter(|(_, repo)| repo.no_stanza);
    let gone: Vec<String> = gone.map(|(number, _)| format!("repo{number}")).collect();
    let known = pass.cluster.status.pgbackrest.iter().flat_map(|s| &s.repos);
    let lost = known.filter(|r| r.stanza_created == Some(true) && gone.contains(&r.name));
    lost.map(|r| r.name.clone()).collect()
}

/// Forgets what was in them. Returns whether they can be begun anew: the Job that made the first backup must be gone
/// before, or it would be taken for one that is there.
pub fn forget(pass: &mut Pass<'_>, members: &Members) -> bool {
    let lost = lost(pass, members);
    let Some(first) = pass.cluster.spec.backups.pgbackrest.repos.first().map(|r| r.name.clone())
    else {
        return true;
    };
    if lost.contains(&first) {
        let Read::Known(jobs) = pass.observed.labelled(Kind::Job) else {
            pass.unreadable(Step::Backups, "the jobs of the cluster");
            return false;
        };
        if let Some(job) = jobs.iter().find(|job| backups::is_first(job, pass.cluster)).cloned() {
            let text = format!("{first} has lost the backup that Job {} made", job.meta.name);
            pass.wait(Step::Backups, "BackupLost", text.clone());
            pass.delete(Step::Backups, &job, Reason::Because { word: "BackupLost", text });
            return false;
        }
    }
    let repos = pass.status.pgbackrest.iter_mut().flat_map(|s| &mut s.repos);
    for repo in repos.filter(|r| lost.contains(&r.name)) {
        repo.stanza_created = None;
        repo.replica_create_backup_complete = None;
    }
    true
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::test_support::{World, commands, taken};

    /// A settled cluster whose archiving has failed for a while.
    fn failing() -> World {
        let mut world = World::settled(1);
        world.now += SignedDuration::from_mins(11);
        let now_s = world.now.as_second();
        world.archive = (now_s - 900, now_s - 1000, "fails");
        world.settle();
        assert_eq!(world.condition("ContinuousArchiving").map(|c| c.0).as_deref(), Some("False"));
        world
    }

    /// What `info` says of repo1.
    fn says(world: &mut World, code: u64) {
        world.backup_info =
            json!([{"name": "db", "repo": [{"key": 1, "status": {"code": code}}]}]).to_string();
    }

    fn condition(world: &World, kind: &str) -> String {
        let (status, reason) = world.condition(kind).expect("a condition");
        format!("{status} {reason}")
    }

    #[test]
    fn it_gets_a_stanza_and_a_backup_again_in_this_order() {
        let mut world = failing();
        let old = world.all(Kind::Job)[0].meta.uid.clone();
        says(&mut world, 1);
        let plan = world.plan();
        assert_eq!(taken(&plan).len(), 1, "{:?}", taken(&plan));
        assert!(commands(&plan).iter().all(|(_, c)| !matches!(c, Command::StanzaCreate { .. })));
        world.round();
        assert_eq!(condition(&world, "PGBackRestReplicaRepoReady"), "False StanzaLost");
        assert_eq!(condition(&world, "PGBackRestReplicaCreate"), "False RepoBackupNotComplete");
        assert_eq!(world.all(Kind::Job).len(), 0);
        let warned = |o: &std::sync::Arc<crate::Object>| o.str_at(&["reason"]) == Some(REASON);
        assert_eq!(world.all(Kind::Event).iter().filter(|o| warned(o)).count(), 1);
        let created = |plan: &crate::plan::Plan| {
            let all = commands(plan);
            all.iter().filter(|(_, c)| matches!(c, Command::StanzaCreate { .. })).count()
        };
        assert_eq!(created(&world.plan()), 1);
        world.round();
        says(&mut world, 2);
        let mut again = 0;
        world.settle_with(|_, plan| again += created(plan));
        assert_eq!(again, 0);
        assert_eq!(condition(&world, "PGBackRestReplicaRepoReady"), "True StanzaCreated");
        assert_eq!(condition(&world, "PGBackRestReplicaCreate"), "True RepoBackupComplete");
        assert_ne!(world.all(Kind::Job)[0].meta.uid, old);
    }

    #[test]
    fn what_is_there_or_can_not_be_looked_into_is_left_alone() {
        for code in [0, 2, 3, 99] {
            let mut world = failing();
            says(&mut world, code);
            assert_eq!(taken(&world.plan()).len(), 0, "{code}");
            world.settle();
            assert_eq!(condition(&world, "PGBackRestReplicaRepoReady"), "True StanzaCreated");
        }
        let mut world = World::settled(1);
        says(&mut world, 1);
        assert_eq!(taken(&world.plan()).len(), 0, "nobody is asked while archiving works");
    }
}
