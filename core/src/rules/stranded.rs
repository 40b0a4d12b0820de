//! Replicas that can never catch up: what they need next is neither on the leader's volume nor in a repository. Such gaps
//! come when archiving fails until the instance is lost whose WAL was not archived, and each replica that is made from a
//! backup of before ends at one. The claim of such a replica is marked; then a backup is taken from which replicas can be
//! made ([`backups`](super::backups)), and with it there the instance is replaced like one that lost its volume: it
//! stays until another holds the data.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::command::{Command, WalPlace, lsn_text};
use crate::kind::Kind;
use crate::labels;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::patroni::status::Role;
use crate::queries;
use crate::read::{Query, Read};
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{archiving, backups};

/// How old an answer may be, in seconds. One that has far to go is asked about again and again.
const AGE_S: u32 = 120;
/// A segment of WAL, by default. Who is behind by less loses streaming for a moment, as everybody does after a switchover.
const SEGMENT_BYTES: u64 = 16 << 20;

/// What to ask the leader: where the WAL is that each replica needs which runs, is behind, and does not stream.
pub fn queries(observed: &Observed, cluster: &Cluster, members: &Members) -> Vec<Query> {
    asked(observed, cluster, members).map(|(_, query)| query).collect()
}

/// Whom the questions are about, and the questions.
fn asked<'a>(
    observed: &Observed,
    cluster: &Cluster,
    members: &'a Members,
) -> impl Iterator<Item = (&'a Member, Query)> + use<'a> {
    let all = archiving::happens(observed, cluster).then(|| members.all.values());
    all.into_iter().flatten().filter_map(|member| Some((member, question(members, member)?)))
}

fn question(members: &Members, member: &Member) -> Option<Query> {
    let leader = members.writable()?;
    let status = member.patroni.as_ref().filter(|_| member.running())?;
    let ahead = leader.patroni.as_ref()?.xlog_location?;
    let (timeline, position) = (status.timeline?, status.xlog_location?);
    let behind = ahead / SEGMENT_BYTES > position / SEGMENT_BYTES;
    let lost = status.role == Role::Replica && status.running() && !status.streaming() && behind;
    (lost && member.stranded_with().is_none()).then_some(())?;
    Some(Query {
        target: queries::database(leader.pod()?),
        command: Command::WalPlace { timeline, position },
        deadline_s: 30,
        max_age_s: AGE_S,
    })
}

/// The UID of the Job that made the backup from which replicas are made; empty if there is none that is complete.
#[must_use]
pub fn backup(observed: &Observed, cluster: &Cluster) -> String {
    let Read::Known(jobs) = observed.labelled(Kind::Job) else { return String::new() };
    let complete = |job: &&std::sync::Arc<crate::Object>| {
        backups::is_first(job, cluster) && job.condition_true("Complete")
    };
    let complete = jobs.iter().find(complete);
    complete.map(|job| job.meta.uid.to_string()).unwrap_or_default()
}

/// Marks whose WAL is lost, and takes the mark from whoever streams or leads all the same.
pub fn judge(pass: &mut Pass<'_>, members: &Members) {
    for (member, query) in asked(pass.observed, pass.cluster, members) {
        pass.look_again(Duration::from_secs(AGE_S.into()));
        let answer = pass.observed.answers.get(&query).and_then(Read::known);
        if answer.and_then(|a| WalPlace::read(&a.output)) == Some(WalPlace::Nowhere) {
            let position = member.patroni.as_ref().and_then(|p| p.xlog_location);
            let at = lsn_text(position.unwrap_or_default());
            let text = format!(
                "the WAL that instance {} needs, after {at}, is neither on the leader nor in a repository",
                member.name
            );
            let backup = backup(pass.observed, pass.cluster);
            mark(pass, member, "Stranded", backup.into(), text);
        }
    }
    for member in members.all.values() {
        if member.stranded_with().is_some() && member.got_on() {
            let text = format!("instance {} got on after all", member.name);
            mark(pass, member, "Stranded", Value::Null, text);
        } else if member.awaits_backup() && !member.diverged() {
            let text = format!(
                "instance {} can never catch up: the WAL that it needs is lost, since it was not archived. It is \
                 replaced when a backup is there that was made after that",
                member.name
            );
            pass.wait(Step::Instances, "Stranded", text);
        }
    }
}

/// Writes on an instance's claim what keeps it from catching up, or that nothing does.
pub(super) fn mark(
    pass: &mut Pass<'_>,
    member: &Member,
    word: &'static str,
    value: Value,
    text: String,
) {
    let Some(claim) = &member.data_claim else { return };
    let patch = json!({"metadata": {"annotations": {labels::STRANDED: value}}});
    pass.patch_as_read(Step::Instances, Reason::Because { word, text }, claim, patch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{World, taken};
    use crate::{Kind, names};

    /// A cluster of three, one of which does not catch up.
    fn world(place: &'static str) -> (World, String) {
        let mut world = World::settled(3);
        let behind = world.replicas()[0].clone();
        world.behind.insert(behind.clone());
        world.wal_place = place;
        (world, behind)
    }

    /// Until nothing happens any more. Returns what was deleted.
    fn settle(world: &mut World) -> Vec<String> {
        let mut gone = Vec::new();
        world.settle_with(|_, plan| gone.extend(taken(plan)));
        gone
    }

    fn marked(world: &World, instance: &str) -> bool {
        let claim = world.get(Kind::PersistentVolumeClaim, &names::data_volume(instance));
        claim.is_some_and(|c| c.annotation(labels::STRANDED).is_some())
    }

    #[test]
    fn whose_wal_is_lost_is_replaced_after_a_new_backup() {
        let (mut world, behind) = world("nowhere");
        let job = world.all(Kind::Job)[0].meta.name.to_string();
        let gone = settle(&mut world);
        let at = |what: &str| gone.iter().position(|g| g.contains(what)).expect(what);
        assert!(at(&format!("Job {job}")) < at(&format!("StatefulSet {behind}")), "{gone:?}");
        let sets: Vec<_> = gone.iter().filter(|g| g.starts_with("StatefulSet")).collect();
        assert_eq!(sets.len(), 1, "{gone:?}");
        assert!(!world.instances().contains(&behind) && world.instances().len() == 3);
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn it_stays_while_its_replacement_does_not_work() {
        let (mut world, behind) = world("nowhere");
        let (uid, there) = (world.cluster().meta.uid.clone(), world.instances());
        let others = (0..9).map(|n| names::instance("hippo", &uid, "instance1", n));
        world.dead.extend(others.filter(|n| !there.contains(n)).map(|n| names::instance_pod(&n)));
        let gone = settle(&mut world);
        assert!(gone.iter().all(|g| g.starts_with("Job ")), "{gone:?}");
        assert!(world.instances().contains(&behind));
        let text = world.cluster().condition("Reconciled").map(|c| c.to_string());
        assert!(text.is_some_and(|t| t.contains("can never catch up")));
    }

    #[test]
    fn nobody_is_marked_whose_wal_is_somewhere_or_who_is_not_asked_about() {
        for place in ["here", "archived", "", "what"] {
            let (mut world, behind) = world(place);
            assert_eq!(settle(&mut world), [""; 0], "{place}");
            assert!(!marked(&world, &behind), "{place}");
        }
        let asked = |world: &World| {
            let observed = world.observed();
            let of = |q: &&Query| matches!(q.command, Command::WalPlace { .. });
            observed.answers.keys().filter(of).count()
        };
        let (mut world, behind) = world("nowhere");
        world.round();
        assert_eq!(asked(&world), 1);
        for (key, value) in [
            ("paused", json!(true)),
            ("shutdown", json!(true)),
            ("standby", json!({"enabled": true, "host": "elsewhere"})),
        ] {
            let mut other = world.clone();
            other.edit(|s| s[key] = value);
            assert_eq!(asked(&other), 0, "{key}");
        }
        let mut gone = world.clone();
        gone.change(Kind::Pod, &names::instance_pod(&behind), |p| {
            p["status"]["containerStatuses"] = json!([]);
        });
        assert_eq!(asked(&gone), 0, "what a Pod said that runs no more is old");
        world.behind.clear();
        world.round();
        assert_eq!(asked(&world), 0, "everybody streams");
    }

    #[test]
    fn who_gets_on_after_all_loses_the_mark_and_stays() {
        for leads in [false, true] {
            let (mut world, behind) = world("nowhere");
            let comes = (0..9).any(|_| {
                world.round();
                marked(&world, &behind)
            });
            assert!(comes);
            match leads {
                true => crate::test_support::lead(&mut world, &names::instance_pod(&behind)),
                false => world.behind.clear(),
            }
            let gone = settle(&mut world);
            assert!(!marked(&world, &behind) && world.instances().contains(&behind));
            assert!(!gone.iter().any(|g| g.contains("StatefulSet")), "{leads}: {gone:?}");
        }
    }

    #[test]
    fn while_nobody_leads_nobody_is_given_up() {
        let (mut world, behind) = world("here");
        world.round();
        let claim = names::data_volume(&behind);
        let job = world.all(Kind::Job)[0].meta.name.to_string();
        let uid = world.the(Kind::Job, &job).meta.uid.to_string();
        world.change(Kind::PersistentVolumeClaim, &claim, |c| {
            c["metadata"]["annotations"][labels::STRANDED] = uid.clone().into();
        });
        let condemned = |world: &World| {
            let cluster = Cluster::read(&world.cluster(), &Default::default()).expect("a cluster");
            Members::read(&world.observed(), &cluster).expect("read").all[&behind].condemned()
        };
        assert!(!condemned(&world), "the backup is the same");
        world.change(Kind::Job, &job, |j| j["metadata"]["uid"] = "another".into());
        assert!(condemned(&world));
        world.change(Kind::Job, &job, |j| j["status"]["conditions"] = json!([]));
        assert!(!condemned(&world), "it is not complete");
        world.change(Kind::Job, &job, |j| {
            j["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
        });
        let leader = names::instance_pod(&world.leader());
        world.change(Kind::Pod, &leader, |pod| {
            pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {}});
        });
        assert!(!condemned(&world), "its data may be the newest there is");
        assert_eq!(taken(&world.plan()), [""; 0]);
    }
}
