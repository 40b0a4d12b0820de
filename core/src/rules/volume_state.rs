//! Volumes that keep PostgreSQL from starting: the condition `VolumesWritable`. Nothing is repaired here, since only people
//! can say whether a volume shall grow or its instance be given up; a larger request in the spec is followed whatever
//! state the instance is in (`volumes.rs`). While all is well nothing is asked and there is no condition.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::{Command, VolumeTrouble};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::queries;
use crate::read::{Query, Read};
use crate::rules::members::{Member, Members};
use crate::rules::status::condition;

/// The condition's type.
pub const TYPE: &str = "VolumesWritable";
/// How old an answer may be, in seconds.
const AGE_S: u32 = 60;
/// What Patroni says of PostgreSQL that ended by itself, or as soon as it was started.
const ENDED: [&str; 2] = ["crashed", "start failed"];

/// What to ask: who can't start, and once a volume was found wanting, everybody who is not ready.
pub fn queries(observed: &Observed, cluster: &Cluster, members: &Members) -> Vec<Query> {
    if observed.cluster.terminating() || cluster.spec.paused || cluster.spec.shutdown {
        return Vec::new();
    }
    let known = cluster.status.says_no(TYPE);
    let suspect = |m: &&Member| {
        let failed = m.patroni.as_ref().is_some_and(|s| ENDED.contains(&&*s.state));
        m.running() && !m.ready() && (known || failed)
    };
    members.all.values().filter(suspect).filter_map(question).collect()
}

fn question(member: &Member) -> Option<Query> {
    let target = queries::database(member.pod()?);
    Some(Query { target, command: Command::VolumeState, deadline_s: 5, max_age_s: AGE_S })
}

/// Writes the condition. What gives no answer leaves it as it is.
pub fn tell(pass: &mut Pass<'_>, members: &Members) {
    let asked = queries(pass.observed, pass.cluster, members);
    if asked.is_empty() && !pass.cluster.status.says_no(TYPE) {
        return;
    }
    let mut found = Vec::new();
    for member in members.all.values() {
        let Some(query) = question(member).filter(|q| asked.contains(q)) else { continue };
        pass.look_again(Duration::from_secs(AGE_S.into()));
        let answer = pass.observed.answers.get(&query).and_then(Read::known);
        let Some(troubles) = answer.and_then(|a| VolumeTrouble::read(&a.output)) else { return };
        found.extend(troubles.into_iter().map(|(mount, what)| (member.name.clone(), mount, what)));
    }
    let Some((instance, mount, what)) = found.first() else {
        if pass.cluster.status.says_no(TYPE) {
            condition(
                pass,
                TYPE,
                Some(true),
                "Writable",
                "no volume keeps an instance from starting",
            );
        }
        return;
    };
    let (reason, state, help) = match what {
        VolumeTrouble::Full => (
            "VolumeFull",
            "is full",
            "Ask for more storage in spec.instances; if WAL fills it, ContinuousArchiving says why it is kept",
        ),
        VolumeTrouble::ReadOnly => (
            "VolumeReadOnly",
            "takes no writes",
            "Its device or its node may have failed: bring it back, or delete its claim, and with it the data of \
             this instance, to have another one made",
        ),
    };
    let others = match found.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let text = format!(
        "the volume at {mount} of instance {instance} {state}{others}, and PostgreSQL can't start on it. {help}"
    );
    condition(pass, TYPE, Some(false), reason, &text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;
    use crate::names;
    use crate::test_support::World;

    /// A cluster of two of which one can't start.
    fn world(volumes: &str) -> (World, String) {
        let mut world = World::settled(2);
        let broken = world.instances()[1].clone();
        world.volumes = volumes.to_owned();
        can_start(&mut world, &broken, false);
        world.settle();
        (world, broken)
    }

    fn can_start(world: &mut World, instance: &str, works: bool) {
        let (state, ready) = if works { ("running", "True") } else { (ENDED[1], "False") };
        world.change(Kind::Pod, &names::instance_pod(instance), |pod| {
            let key = crate::patroni::status::ANNOTATION;
            let text = pod["metadata"]["annotations"][key].as_str().unwrap_or("{}").to_owned();
            let mut status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            status["state"] = state.into();
            pod["metadata"]["annotations"][key] = status.to_string().into();
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        });
    }

    fn told(world: &World) -> Option<String> {
        world.condition(TYPE).map(|c| format!("{} {}", c.0, c.1))
    }

    #[test]
    fn a_volume_that_keeps_an_instance_down_is_named_until_it_does_not() {
        for (volumes, expected) in [
            ("/pgdata 100 rw\n", Some("False VolumeFull")),
            ("/pgdata 1000000 rw\n/pgwal 0 ro\n", Some("False VolumeReadOnly")),
            ("/pgdata 1000000 rw\n", None),
            ("", None),
        ] {
            let (mut world, broken) = world(volumes);
            assert_eq!(told(&world).as_deref(), expected, "{volumes}");
            if expected.is_some() {
                let message = world.cluster().condition(TYPE).map(|c| c["message"].to_string());
                assert!(message.expect("told").contains(&broken), "{volumes}");
                can_start(&mut world, &broken, true);
                world.settle();
                assert_eq!(told(&world).as_deref(), Some("True Writable"), "{volumes}");
            }
        }
    }

    #[test]
    fn nobody_is_asked_while_everybody_can_start() {
        let mut world = World::settled(2);
        let asked = |world: &World| {
            let observed = world.observed();
            observed.answers.keys().filter(|q| q.command == Command::VolumeState).count()
        };
        assert_eq!(asked(&world), 0);
        let instance = world.instances()[0].clone();
        let mut starts = world.clone();
        starts.change(Kind::Pod, &names::instance_pod(&instance), |pod| {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        });
        assert_eq!(asked(&starts), 0, "it has not failed");
        can_start(&mut world, &instance, false);
        assert_eq!(asked(&world), 1);
    }
}
