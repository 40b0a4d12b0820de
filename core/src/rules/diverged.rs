//! Replicas that left their leader's history: what the archive still had of a timeline that ended led them past the point
//! where the next one begins. `pg_rewind` brings such a one back, and Patroni looks whether it has to when the leader changes
//! and when PostgreSQL starts; from 3.3.9, 4.0.8 and 4.1.1 on in each of its loops too. Earlier ones leave it where it is, and
//! its Pod ready. Its claim is marked here, and it is replaced like one that lost its volume: when another holds the data.

use jiff::SignedDuration;

use crate::command::lsn_text;
use crate::pass::Pass;
use crate::patroni::dcs::{Config, Leader, Switch};
use crate::patroni::status::Role;
use crate::rules::members::{Member, Members};
use crate::rules::stranded;

/// What its claim says: never the UID of a Job ([`stranded`]).
pub const MARK: &str = "diverged";
/// How long there must have been a leader, and the replica ready: until then Patroni may well look by itself.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// Marks who left the leader's history.
pub fn judge(pass: &mut Pass<'_>, members: &Members) {
    for member in members.all.values().filter(|m| !m.diverged()) {
        let Some(suspect) = Suspect::of(members, member) else { continue };
        // Positions wake nobody.
        pass.look_again(PATIENCE.unsigned_abs());
        let steady = steady_for(pass, member).is_some_and(|so_far| so_far >= PATIENCE);
        if let Some(ended) = suspect.has_passed(pass).filter(|_| steady) {
            let text = format!(
                "instance {} went on with timeline {} past {}, where the leader's history leaves it: it follows nobody. \
                 It is replaced",
                member.name,
                ended.timeline,
                lsn_text(ended.lsn)
            );
            stranded::mark(pass, member, "Diverged", MARK.into(), text);
        }
    }
}

/// A replica that runs and follows nobody, on an earlier timeline than its leader's.
struct Suspect {
    timeline: u64,
    position: u64,
    newest: u64,
}

impl Suspect {
    fn of(members: &Members, member: &Member) -> Option<Self> {
        let status = member.patroni.as_ref().filter(|s| member.ready() && s.running())?;
        let newest = members.writable()?.patroni.as_ref()?.timeline?;
        let (timeline, position) = (status.timeline?, status.xlog_location?);
        let follows_nobody = status.role == Role::Replica && !status.streaming();
        (follows_nobody && timeline < newest).then_some(Self { timeline, position, newest })
    }

    /// The end of its timeline in the leader's history, if it has gone past that.
    fn has_passed(&self, pass: &Pass<'_>) -> Option<Switch> {
        let history = Config::of(pass.observed, &pass.cluster.name)?.history;
        // Right after a promotion its end is not written yet.
        history.last().filter(|last| last.timeline < self.newest)?;
        let ended = history.into_iter().find(|s| s.timeline == self.timeline)?;
        (self.position > ended.lsn).then_some(ended)
    }
}

/// For how long the replica was ready under this leader.
fn steady_for(pass: &Pass<'_>, member: &Member) -> Option<SignedDuration> {
    let lease = Leader::of(pass.observed, &pass.cluster.name)?;
    let since = lease.acquired?.max(member.ready_changed()?);
    Some(pass.context.now.duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{World, taken};
    use crate::{Kind, labels, names};

    /// A cluster of three in its third minute on timeline 3, after timeline 1 ended at a segment. One replica is on it
    /// still, at the end of segment 5.
    fn world(history: &str) -> (World, String) {
        let mut world = World::settled(3);
        let strayed = world.replicas()[0].clone();
        world.timeline = 3;
        world.behind.insert(strayed.clone());
        let since = (world.now - PATIENCE).to_string();
        let annotate = |world: &mut World, name: String, key: &str, value: &str| {
            world.change(Kind::Endpoints, &name, |e| {
                e["metadata"]["annotations"][key] = value.into()
            });
        };
        annotate(&mut world, names::scope("hippo"), "acquireTime", &since);
        annotate(&mut world, names::scope_config("hippo"), "history", history);
        ready_since(&mut world, &strayed, &since);
        // First the members say where they are.
        world.round();
        world.round();
        (world, strayed)
    }

    fn ready_since(world: &mut World, instance: &str, since: &str) {
        world.change(Kind::Pod, &names::instance_pod(instance), |pod| {
            pod["status"]["conditions"][0]["lastTransitionTime"] = since.into();
        });
    }

    fn entry(timeline: u64, segment: u64) -> String {
        format!("[{timeline}, {}, \"no recovery target specified\"]", segment << 24)
    }

    fn marked(world: &World, instance: &str) -> bool {
        let claim = world.the(Kind::PersistentVolumeClaim, &names::data_volume(instance));
        claim.annotation(labels::STRANDED) == Some(MARK)
    }

    #[test]
    fn who_left_the_leaders_history_is_replaced_at_once() {
        let (mut world, strayed) = world(&format!("[{}]", entry(1, 4)));
        assert!(marked(&world, &strayed));
        let mut gone = Vec::new();
        world.settle_with(|_, plan| gone.extend(taken(plan)));
        assert_eq!(gone.iter().filter(|g| g.starts_with("StatefulSet")).count(), 1, "{gone:?}");
        assert!(!gone.iter().any(|g| g.starts_with("Job")), "no other backup is needed: {gone:?}");
        assert!(!world.instances().contains(&strayed) && world.instances().len() == 3);
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn who_may_still_follow_is_left_alone() {
        for (history, why) in [
            (format!("[{}]", entry(1, 5)), "it is at the end of its timeline"),
            (format!("[{}]", entry(2, 4)), "nothing is known of its timeline"),
            (format!("[{}, {}]", entry(1, 4), entry(3, 8)), "the history is another's"),
            (String::new(), "it is not written yet"),
        ] {
            let (world, strayed) = world(&history);
            assert!(!marked(&world, &strayed), "{why}");
        }
    }

    #[test]
    fn patroni_has_two_minutes_to_look_by_itself() {
        let history = format!("[{}]", entry(1, 4));
        let left = |change: fn(&mut World, &str)| {
            let (mut world, strayed) = world("");
            change(&mut world, &strayed);
            let config = names::scope_config("hippo");
            world.change(Kind::Endpoints, &config, |e| {
                e["metadata"]["annotations"]["history"] = history.clone().into();
            });
            world.round();
            marked(&world, &strayed)
        };
        assert!(left(|_, _| ()));
        fn later(world: &World) -> String {
            (world.now - PATIENCE + SignedDuration::from_secs(30)).to_string()
        }
        assert!(!left(|w, strayed| {
            let since = later(w);
            ready_since(w, strayed, &since);
        }));
        assert!(!left(|w, _| {
            let since = later(w);
            w.change(Kind::Endpoints, &names::scope("hippo"), |e| {
                e["metadata"]["annotations"]["acquireTime"] = since.into();
            });
        }));
        assert!(!left(|w, strayed| {
            w.change(Kind::Pod, &names::instance_pod(strayed), |pod| {
                pod["status"]["conditions"][0]["status"] = "False".into();
            });
        }));
    }
}
