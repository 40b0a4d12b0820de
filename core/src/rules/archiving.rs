//! The state of archiving, as the primary tells it: the condition `ContinuousArchiving`. Nothing is repaired here, and
//! no WAL is thrown away: while the archive fails, WAL stays on the primary's volume, and the database accepts
//! writes until that is full.

use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::command::{ArchiveState, Command};
use crate::object::{Object, time_text};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::queries;
use crate::read::{Query, Read};
use crate::rules::backups;
use crate::rules::members::Members;
use crate::rules::status::{condition, remove};

/// The condition's type.
pub const TYPE: &str = "ContinuousArchiving";
/// How long finished WAL may wait, in seconds: a few times what an archive that was away for a moment needs.
const PATIENCE_S: i64 = 180;
/// How old an answer may be, in seconds, while all is well.
const CALM_S: u32 = 600;
/// The same while something is not: the archive fails, or what it goes to is not there yet, or not ready.
const TROUBLED_S: u32 = 60;

/// What to ask, and how often.
pub fn query(observed: &Observed, cluster: &Cluster, members: &Members) -> Option<Query> {
    if !happens(observed, cluster) {
        return None;
    }
    let pod = members.writable().filter(|m| m.ready())?.pod()?;
    Some(question(pod, age_s(cluster)))
}

/// Whether somebody archives, and may be asked.
#[must_use]
pub fn happens(observed: &Observed, cluster: &Cluster) -> bool {
    !observed.cluster.terminating() && !cluster.spec.paused && !silent(cluster)
}

/// Nobody archives in a standby cluster, or in one that is shut down.
fn silent(cluster: &Cluster) -> bool {
    cluster.spec.shutdown || cluster.spec.active_standby().is_some()
}

fn age_s(cluster: &Cluster) -> u32 {
    let status = &cluster.status;
    let failing = status.says_no(TYPE);
    let backrest = status.pgbackrest.as_ref();
    let backed_up = |s: &crate::api::status::PgBackRestStatus| {
        s.repos.iter().any(|r| r.replica_create_backup_complete == Some(true))
    };
    let well =
        !failing && backrest.is_some_and(backed_up) && backups::repo_host_ready(cluster, status);
    if well { CALM_S } else { TROUBLED_S }
}

fn question(pod: &Object, max_age_s: u32) -> Query {
    let command = Command::ArchiveState;
    Query { target: queries::database(pod), command, deadline_s: 5, max_age_s }
}

/// Writes the condition. What is not known leaves it as it is.
pub fn tell(pass: &mut Pass<'_>, members: &Members) {
    if silent(pass.cluster) {
        return remove(pass, TYPE);
    }
    let Some(query) = query(pass.observed, pass.cluster, members) else { return };
    pass.look_again(Duration::from_secs(query.max_age_s.into()));
    let answer = pass.observed.answers.get(&query).and_then(Read::known);
    let Some(state) = answer.and_then(|a| ArchiveState::read(&a.output)) else {
        return pass.look_again(Duration::from_secs(TROUBLED_S.into()));
    };
    if state.stuck_s() < PATIENCE_S {
        if failed_before(pass.cluster, &state) {
            return;
        }
        let text = "finished WAL reaches every repository";
        return condition(pass, TYPE, Some(true), "Archiving", text);
    }
    let since = state.waits_since_s.and_then(|s| Timestamp::from_second(s).ok());
    let (reason, what) = match state.fails {
        true => ("ArchivingFails", "archive_command fails"),
        false => ("ArchivingHangs", "archive_command does not end"),
    };
    let text = format!(
        "{what}: WAL waits since {}, about {} of it, and fills the volume of instance {}. The server's log has \
         pgBackRest's words. Bring the repository back or correct spec.backups, or let the volume grow meanwhile; \
         archive-push-queue-max in spec.backups.pgbackrest.global gives WAL up instead",
        since.map(time_text).unwrap_or_default(),
        about(state.waiting_bytes),
        members.writable().map(|m| m.name.clone()).unwrap_or_default(),
    );
    condition(pass, TYPE, Some(false), reason, &text);
}

/// Whether what was said to fail has not been seen to work since: WAL waits still, and none was archived. A new leader has
/// had no time yet to wait for long.
fn failed_before(cluster: &Cluster, state: &ArchiveState) -> bool {
    let told = cluster.status.condition(TYPE).filter(|c| c.status == "False");
    told.is_some_and(|told| {
        let since_s = told.last_transition_time.0.as_second();
        state.waits_since_s.is_some() && state.archived_s.is_none_or(|at_s| at_s <= since_s)
    })
}

/// A size of which only doublings show, so that what grows is not told anew with every segment.
pub(super) fn about(bytes: u64) -> String {
    let mib = (bytes >> 20).max(1);
    let power = mib.ilog2();
    if power < 10 {
        format!("{} MiB", 1_u64 << power)
    } else {
        format!("{} GiB", 1_u64 << (power - 10))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;
    use crate::test_support::{CLUSTER, World};

    /// A settled cluster in which WAL waits since so many seconds, and something was archived so many seconds ago.
    /// 0 is never.
    fn world(waits_s: i64, archived_s: i64, last: &'static str) -> World {
        let mut world = World::settled(1);
        world.now += SignedDuration::from_secs(i64::from(CALM_S));
        let ago = |s: i64| if s == 0 { 0 } else { world.now.as_second() - s };
        world.archive = (ago(waits_s), ago(archived_s), last);
        world.settle();
        world
    }

    fn word(world: &World) -> Option<String> {
        world.condition(TYPE).map(|c| format!("{} {}", c.0, c.1))
    }

    #[test]
    fn archiving_fails_when_finished_wal_waits_and_nothing_gets_on() {
        for (waits_s, archived_s, last, expected) in [
            (0, 5, "works", "True Archiving"),
            (0, 0, "works", "True Archiving"),
            (100, 500, "fails", "True Archiving"),
            (900, 20, "works", "True Archiving"),
            (900, 1000, "fails", "False ArchivingFails"),
            (900, 0, "fails", "False ArchivingFails"),
            (900, 1000, "works", "False ArchivingHangs"),
        ] {
            let told = word(&world(waits_s, archived_s, last));
            assert_eq!(told.as_deref(), Some(expected), "{waits_s} {archived_s} {last}");
        }
    }

    #[test]
    fn a_failure_is_a_warning_that_is_told_once_and_healing_is_told_too() {
        let mut world = world(900, 1000, "fails");
        let told = |world: &World| -> Vec<String> {
            let of = |o: &std::sync::Arc<Object>| {
                let text = |key: &str| o.str_at(&[key]).unwrap_or_default().to_owned();
                (text("reason").starts_with("Archiving"))
                    .then(|| format!("{} {}", text("type"), text("reason")))
            };
            world.all(Kind::Event).iter().filter_map(of).collect()
        };
        assert_eq!(told(&world), ["Warning ArchivingFails"]);
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        assert_eq!(world.plan().requeue, Some(Duration::from_secs(u64::from(TROUBLED_S))));
        world.archive = (0, 1, "works");
        world.now += SignedDuration::from_secs(i64::from(TROUBLED_S));
        world.settle();
        assert_eq!(word(&world).as_deref(), Some("True Archiving"));
        let mut all = told(&world);
        all.sort();
        assert_eq!(all, ["Normal Archiving", "Warning ArchivingFails"]);
    }

    #[test]
    fn a_new_leader_has_to_archive_before_what_failed_is_said_to_work() {
        let mut world = world(900, 1000, "fails");
        for (waits_s, archived_s, expected) in [
            (5, 0, "False ArchivingFails"),
            (5, 2000, "False ArchivingFails"),
            (5, 1, "True Archiving"),
        ] {
            world.now += SignedDuration::from_secs(i64::from(TROUBLED_S));
            let now_s = world.now.as_second();
            let archived_s = if archived_s == 0 { 0 } else { now_s - archived_s };
            world.archive = (now_s - waits_s, archived_s, "fails");
            world.settle();
            assert_eq!(word(&world).as_deref(), Some(expected), "{waits_s} {archived_s}");
        }
    }

    #[test]
    fn what_was_archived_in_the_second_of_the_failure_was_archived_before() {
        let mut world = world(900, 1000, "fails");
        let told = world.condition_since(TYPE).expect("a condition has its time");
        for (after_s, expected) in [(0, "False ArchivingFails"), (1, "True Archiving")] {
            world.now += SignedDuration::from_secs(i64::from(TROUBLED_S));
            world.archive = (world.now.as_second() - 5, told.as_second() + after_s, "fails");
            world.settle();
            assert_eq!(word(&world).as_deref(), Some(expected), "{after_s}");
        }
    }

    #[test]
    fn more_waiting_wal_is_told_by_doublings() {
        let said: Vec<String> =
            [0, 16, 31, 32, 1023, 1024, 5000].map(|mib| about(mib << 20)).into();
        assert_eq!(said, ["1 MiB", "16 MiB", "16 MiB", "32 MiB", "512 MiB", "1 GiB", "4 GiB"]);
    }

    #[test]
    fn a_quiet_cluster_is_asked_every_ten_minutes_and_a_stopped_one_never() {
        let mut world = World::settled(1);
        let asked = |world: &World| {
            let observed = world.observed();
            observed.answers.keys().map(|q| q.max_age_s).collect::<Vec<_>>()
        };
        assert_eq!(asked(&world), [CALM_S]);
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["status"]["pgbackrest"]["repoHost"]["ready"] = json!(false);
        });
        assert_eq!(asked(&world), [TROUBLED_S]);
        world.edit(|s| s["shutdown"] = true.into());
        world.settle();
        assert_eq!((asked(&world), word(&world)), (Vec::new(), None));
    }

    #[test]
    fn until_the_first_backup_is_made_it_is_asked_often() {
        let mut world = World::settled(1);
        let age = |world: &World| {
            let observed = world.observed();
            let asked = observed.answers.keys().find(|q| q.command == Command::ArchiveState);
            asked.map(|q| q.max_age_s)
        };
        assert_eq!(age(&world), Some(CALM_S));
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["status"]["pgbackrest"]["repos"][0]["replicaCreateBackupComplete"] = json!(null);
        });
        assert_eq!(age(&world), Some(TROUBLED_S));
    }
}
