//! Whether an instance may be taken down now. Asked by every rule that would.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::pass::Pass;
use crate::rules::members::{Member, Members};

/// So long an instance that runs and is not ready counts as one that is coming up.
const COMES_UP: SignedDuration = SignedDuration::from_secs(60);
/// So long an instance whose PostgreSQL was told to restart counts as one that does, unless it says otherwise.
const RESTARTS: SignedDuration = SignedDuration::from_secs(60);

/// When to look again at what ends with time alone.
pub(super) const LOOK: Duration = Duration::from_secs(10);

/// Why nothing may be taken down, if something stands against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Another instance is down already or not yet caught up.
    AnotherIsDown(String),
    /// The PostgreSQL of another was told to restart a moment ago.
    AnotherRestarts(String),
    /// Nobody leads.
    NoLeader,
    /// The leader's StatefulSet is gone or going, and its Pod with it.
    LeaderGoes(String),
    /// It bears the leader's label while another holds the lease: one of the two reads is old.
    RolesDisagree(String),
    /// An instance holds the lease and has not taken the lead up yet.
    Promoting(String),
}

impl Hold {
    /// Whether it may end without any object being seen to change.
    pub(super) fn ends_with_time(&self) -> bool {
        matches!(self, Self::AnotherRestarts(_))
    }
}

/// What stands against restarting the Pod of `victim` now, in words, if anything does.
pub fn hold(pass: &mut Pass<'_>, members: &Members, victim: &Member) -> Option<String> {
    let hold = may_restart(members, victim, pass.context.now).err()?;
    // The victim counts as broken when time alone has passed.
    if !victim.ready() || hold.ends_with_time() {
        pass.look_again(LOOK);
    }
    Some(hold.to_string())
}

/// Whether the Pod of `victim` may be restarted. A broken one costs nothing, whoever else is down: it is always mended.
///
/// # Errors
/// With what stands against it.
fn may_restart(members: &Members, victim: &Member, now: Timestamp) -> Result<(), Hold> {
    if !members.bootstrapped() || broken(victim, now) {
        return Ok(());
    }
    let comes_up = |m: &Member| m.may_work(now, COMES_UP);
    if victim.ready() || comes_up(victim) {
        return works_without(members, victim, now);
    }
    // It serves nobody, and holds data: others that do the same take its place, with a leader or without.
    let same = |m: &Member| m.says_it_runs() && !comes_up(m);
    others_are(members, victim, |m| m.streaming() || same(m))
}

/// Whether an instance does not work. One that comes up, or that nobody has heard of, is not broken, nor one that runs and
/// is not ready because it lags: it holds data.
pub(super) fn broken(member: &Member, now: Timestamp) -> bool {
    !(member.ready() || member.may_work(now, COMES_UP) || member.says_it_runs())
}

/// Whether `victim` may be removed: its data goes with it, so another must be there that leads and lives.
///
/// # Errors
/// With what stands against it.
pub fn may_remove(members: &Members, victim: &Member, now: Timestamp) -> Result<(), Hold> {
    let holds_nothing = victim.pods.is_empty() && victim.data_claim.is_none();
    if !members.bootstrapped() || holds_nothing {
        return Ok(());
    }
    if victim.ready() {
        return works_without(members, victim, now);
    }
    living_leader(members, victim)?;
    promoted(members, victim)
}

/// Whether somebody leads, and everybody else has caught up.
fn works_without(members: &Members, victim: &Member, now: Timestamp) -> Result<(), Hold> {
    living_leader(members, victim)?;
    let restarts = |m: &&Member| m.name != victim.name && m.restarts(now, RESTARTS);
    if let Some(other) = members.with_workload().find(restarts) {
        return Err(Hold::AnotherRestarts(other.name.clone()));
    }
    if victim.labelled_leader() && !members.is_leader(victim) {
        return Err(Hold::RolesDisagree(victim.name.clone()));
    }
    promoted(members, victim)?;
    others_are(members, victim, Member::streaming)
}

/// Whether who holds the lease has taken the lead up. After a switchover the old leader is a ready replica, seconds before
/// the new one takes writes; after a failover it is what did not answer. Were the promotion to fail, the old one would be
/// needed.
fn promoted(members: &Members, victim: &Member) -> Result<(), Hold> {
    let promoting = members.leader().filter(|l| l.name != victim.name && !l.leads());
    promoting.map_or(Ok(()), |leader| Err(Hold::Promoting(leader.name.clone())))
}

/// Whether every instance but the victim, the leader and those that are lost anyway is as asked for.
fn others_are(
    members: &Members,
    victim: &Member,
    fine: impl Fn(&Member) -> bool,
) -> Result<(), Hold> {
    let spared = |m: &Member| m.name == victim.name || m.condemned();
    let down = members.with_workload().find(|m| !spared(m) && !members.is_leader(m) && !fine(m));
    down.map_or(Ok(()), |m| Err(Hold::AnotherIsDown(m.name.clone())))
}

/// The lease outlives its holder, so a leader counts only while its Pod is ready.
fn living_leader(members: &Members, victim: &Member) -> Result<(), Hold> {
    match members.leader() {
        None => Err(Hold::NoLeader),
        Some(leader) if leader.name != victim.name && !leader.ready() => {
            Err(Hold::AnotherIsDown(leader.name.clone()))
        }
        Some(leader) if leader.name != victim.name && !leader.stays() => {
            Err(Hold::LeaderGoes(leader.name.clone()))
        }
        Some(_) => Ok(()),
    }
}

/// Whom a switchover from `leader` should name: nobody when every other instance will do, since Patroni
/// knows best who is synchronous; else the first that will do. None when there is none.
#[must_use]
pub fn heir(
    members: &Members,
    leader: &Member,
    will_do: impl Fn(&Member) -> bool,
) -> Option<Option<String>> {
    // Who is on its way out is asked by Patroni too, as long as its Pod answers.
    let there = |m: &&Member| m.stateful_set.is_some() || !m.pods.is_empty();
    let others = || members.all.values().filter(there).filter(|m| m.name != leader.name);
    let fit = |m: &&Member| m.stays() && m.streaming() && !m.condemned() && will_do(m);
    let first = others().find(fit)?;
    let all = others().all(|m| fit(&m));
    Some((!all).then(|| crate::names::instance_pod(&first.name)))
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hold::AnotherIsDown(name) => write!(f, "instance {name} is down or not streaming yet"),
            Hold::AnotherRestarts(name) => write!(f, "instance {name} restarts its PostgreSQL"),
            Hold::Promoting(name) => write!(f, "instance {name} is only becoming the leader"),
            Hold::LeaderGoes(name) => write!(f, "instance {name} leads and is on its way out"),
            Hold::NoLeader => f.write_str("no instance leads"),
            Hold::RolesDisagree(name) => {
                write!(f, "instance {name} bears the leader's label, and another holds the lease")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::Kind;
    use crate::object::Object;
    use crate::patroni::status::Status;

    /// A ready instance in the role that Patroni gives it.
    fn member(name: &str, role: &str) -> (String, Member) {
        let pod = Object::new(Kind::Pod, "db", &format!("{name}-0")).with(
            "status",
            json!({
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "database", "state": {"running": {}}}],
            }),
        );
        let patroni = Status::parse(&json!({"role": role, "state": "running"}).to_string());
        let set = Object::new(Kind::StatefulSet, "db", name);
        let (pods, stateful_set) = (vec![Arc::new(pod)], Some(Arc::new(set)));
        (
            name.to_owned(),
            Member { name: name.to_owned(), pods, stateful_set, patroni, ..Member::default() },
        )
    }

    #[test]
    fn a_switchover_is_over_when_the_new_leader_says_so() {
        let holds = Err(Hold::Promoting("a".to_owned()));
        for (leader, victim, expected) in [
            ("primary", "b", Ok(())),
            ("standby_leader", "b", Ok(())),
            ("replica", "b", holds.clone()),
            ("promoted", "b", holds),
            // The one that should lead and does not may itself be what has to be renewed.
            ("replica", "a", Ok(())),
        ] {
            let members = Members {
                all: [member("a", leader), member("b", "replica"), member("c", "replica")].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
                ..Members::default()
            };
            assert_eq!(
                may_restart(&members, &members.all[victim], Timestamp::UNIX_EPOCH),
                expected,
                "{leader} {victim}"
            );
        }
    }

    #[test]
    fn while_the_leader_goes_nobody_else_does() {
        let world = |leaves: fn(&mut Member)| {
            let (name, mut leader) = member("a", "primary");
            leaves(&mut leader);
            Members {
                all: [(name, leader), replica("b", "streaming"), replica("c", "streaming")].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
                ..Members::default()
            }
        };
        let asked = |members: &Members, name: &str| {
            may_remove(members, &members.all[name], Timestamp::UNIX_EPOCH)
        };
        assert_eq!(asked(&world(|_| ()), "b"), Ok(()));
        let gone = world(|leader| leader.stateful_set = None);
        assert_eq!(asked(&gone, "b"), Err(Hold::LeaderGoes("a".to_owned())));
        assert_eq!(asked(&gone, "a"), Ok(()), "it hands over");
        let going = world(|leader| {
            let set = leader.stateful_set.as_mut().map(Arc::make_mut).expect("a StatefulSet");
            set.meta.deleted_at = Some(Timestamp::UNIX_EPOCH);
        });
        assert_eq!(asked(&going, "b"), Err(Hold::LeaderGoes("a".to_owned())));
    }

    #[test]
    fn nobody_hands_over_to_one_that_goes_too() {
        let heir_of = |c: (String, Member)| {
            let all = [member("a", "primary"), replica("b", "streaming"), c].into();
            let members = Members { all, ..Members::default() };
            heir(&members, &members.all["a"], |_| true)
        };
        assert_eq!(heir_of(replica("c", "streaming")), Some(None), "Patroni chooses");
        let (name, mut goes) = replica("c", "streaming");
        goes.stateful_set = None;
        assert_eq!(heir_of((name.clone(), goes.clone())), Some(Some("b-0".to_owned())));
        goes.pods.clear();
        assert_eq!(heir_of((name, goes)), Some(None), "of it nothing is left");
    }

    #[test]
    fn what_is_not_ready_is_broken_when_it_had_its_time_and_its_node_is_heard_of() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let down = Err(Hold::AnotherIsDown("c".to_owned()));
        for (since, last_word, expected) in [
            ("2026-01-01T00:09:50Z", false, down.clone()),
            ("2026-01-01T00:08:50Z", false, Ok(())),
            // The kubelet itself takes both away; without it only the Pod's goes.
            ("2026-01-01T00:01:00Z", true, down),
        ] {
            let (name, mut b) = replica("b", "");
            b.patroni = Status::parse(&json!({"role": "replica", "state": "starting"}).to_string());
            b.pods = b.pods.into_iter().map(|pod| {
                let status = json!({
                    "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": since}],
                    "containerStatuses": [{"name": "database", "ready": last_word, "state": {"running": {}}}],
                });
                Arc::new((*pod).clone().with("status", status))
            }).collect();
            let members = Members {
                all: [member("a", "primary"), (name, b), replica("c", "starting")].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
                ..Members::default()
            };
            assert_eq!(may_restart(&members, &members.all["b"], now), expected, "{since}");
        }
    }

    #[test]
    fn a_broken_one_is_mended_though_another_is_broken_too() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let broken = |name: &str| {
            let (name, mut member) = replica(name, "");
            member.patroni = Status::parse(r#"{"role": "replica", "state": "starting"}"#);
            let long = "2026-01-01T00:00:00Z";
            let status = json!({
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": long}],
                "containerStatuses": [{"name": "database", "ready": false, "state": {"running": {}}}],
            });
            let again = |pod: Arc<Object>| Arc::new((*pod).clone().with("status", status.clone()));
            member.pods = member.pods.into_iter().map(again).collect();
            (name, member)
        };
        let members = Members {
            all: [member("a", "primary"), broken("b"), broken("c")].into(),
            lease: Some("a-0".to_owned()),
            system_identifier: Some("7".to_owned()),
            ..Members::default()
        };
        assert_eq!(may_restart(&members, &members.all["b"], now), Ok(()));
    }

    #[test]
    fn who_runs_and_lags_is_not_broken() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let unready = |name: &str, replication: &str, since: &str| {
            let (name, mut member) = replica(name, replication);
            let unready =
                json!([{"type": "Ready", "status": "False", "lastTransitionTime": since}]);
            member.pods = member
                .pods
                .into_iter()
                .map(|pod| {
                    let mut status = pod.at(&["status"]).cloned().expect("a status");
                    status["conditions"] = unready.clone();
                    Arc::new((*pod).clone().with("status", status))
                })
                .collect();
            (name, member)
        };
        let down = |name: &str| Err(Hold::AnotherIsDown(name.to_owned()));
        let (long, just) = ("2026-01-01T00:00:00Z", "2026-01-01T00:09:50Z");
        for (c, since, victim, expected) in [
            ("streaming", long, "b", Ok(())),
            ("streaming", long, "a", down("b")),
            ("in archive recovery", long, "b", Ok(())),
            ("in archive recovery", just, "b", down("c")),
        ] {
            let b = unready("b", "streaming", long);
            let members = Members {
                all: [member("a", "primary"), b, unready("c", c, since)].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
                ..Members::default()
            };
            let said = may_restart(&members, &members.all[victim], now);
            assert_eq!(said, expected, "{victim} while c says {c} since {since}");
        }
    }

    /// One that says this of its replication.
    fn replica(name: &str, replication: &str) -> (String, Member) {
        let (name, mut member) = member(name, "replica");
        let said = json!({"role": "replica", "state": "running", "replication_state": replication});
        member.patroni = Status::parse(&said.to_string());
        (name, member)
    }

    #[test]
    fn only_who_streams_and_keeps_its_data_is_an_heir() {
        let heir = |b: &str, c: &str, condemned: bool| {
            let mut all =
                BTreeMap::from([member("a", "primary"), replica("b", b), replica("c", c)]);
            let claim = Object::new(Kind::PersistentVolumeClaim, "db", "b-data");
            let member = all.get_mut("b").expect("b");
            let claim = member.data_claim.insert(Arc::new(claim));
            Arc::make_mut(claim).meta.deleted_at = condemned.then_some(jiff::Timestamp::UNIX_EPOCH);
            let members = Members { all, lease: Some("a-0".to_owned()), ..Members::default() };
            super::heir(&members, &members.all["a"], |_| true)
        };
        let (streams, lags) = ("streaming", "in archive recovery");
        assert_eq!(heir(streams, streams, false), Some(None), "Patroni may choose");
        assert_eq!(heir(lags, streams, false), Some(Some("c-0".to_owned())));
        assert_eq!(heir(streams, lags, false), Some(Some("b-0".to_owned())));
        assert_eq!(heir(streams, streams, true), Some(Some("c-0".to_owned())));
        assert_eq!(heir(lags, lags, false), None);
        assert_eq!(heir(streams, lags, true), None);
    }

    #[test]
    fn nobody_goes_while_another_is_down() {
        let down = |name: &str| Err(Hold::AnotherIsDown(name.to_owned()));
        for (b, c, victim, expected) in [
            ("streaming", "streaming", "b", Ok(())),
            ("streaming", "streaming", "a", Ok(())),
            ("streaming", "starting", "b", down("c")),
            ("streaming", "starting", "a", down("c")),
            ("starting", "streaming", "b", Ok(())),
        ] {
            let members = Members {
                all: [member("a", "primary"), replica("b", b), replica("c", c)].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
                ..Members::default()
            };
            let case = format!("{victim} of b {b}, c {c}");
            assert_eq!(
                may_restart(&members, &members.all[victim], Timestamp::UNIX_EPOCH),
                expected,
                "{case}"
            );
            assert_eq!(
                may_remove(&members, &members.all[victim], Timestamp::UNIX_EPOCH),
                expected,
                "{case}"
            );
        }
    }
}
