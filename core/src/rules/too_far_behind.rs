//! Why nobody leads though replicas run: each lacks more of what the former leader wrote than Patroni's
//! `maximum_lag_on_failover` lets a leader lack. Patroni waits then for the former leader, for ever if need be
//! (`reference/patroni.md` §2.5.2). Whether that one is worth waiting for people decide; here they are told how. Nothing is
//! done.

use crate::names;
use crate::pass::Pass;
use crate::patroni::dcs::{Config, Leader};
use crate::patroni::status::Role;
use crate::rules::archiving::about;
use crate::rules::members::{Member, Members};

/// The reason of the condition `Ready`.
pub const REASON: &str = "TooFarBehind";
/// Patroni's default of `maximum_lag_on_failover`, in bytes.
const MAXIMUM_LAG_BYTES: u64 = 1 << 20;

/// Says so, if that is why; asked where nobody leads.
pub fn why(pass: &mut Pass<'_>, members: &Members) -> Option<String> {
    let cluster = &pass.cluster.name;
    let lease = Leader::of(pass.observed, cluster)?;
    let written = lease.optime?;
    if !pass.lease_is_over(&lease) {
        return None;
    }
    let config = Config::of(pass.observed, cluster).and_then(|c| c.dynamic);
    let most = config.as_ref().and_then(|c| c.get("maximum_lag_on_failover")?.as_u64());
    let most = most.unwrap_or(MAXIMUM_LAG_BYTES);
    let position = |m: &Member| {
        let status = m.patroni.as_ref().filter(|_| m.running())?;
        let may = status.running() && status.role == Role::Replica && !status.nofailover;
        status.xlog_location.filter(|_| may)
    };
    let closest = members.all.values().filter_map(|m| Some((position(m)?, &m.name))).max()?;
    let (lacks, name) = (written.checked_sub(closest.0)?, closest.1);
    let former = lease.name.as_deref().and_then(names::workload_of);
    let former = former.filter(|former| former != name).unwrap_or("the former leader");
    (lacks > most).then(|| {
        format!(
            "nobody may lead: instance {name} has come closest and lacks about {} of what {former} wrote, more than Patroni's \
             maximum_lag_on_failover of {}. Wait while it restores WAL from a repository, or bring {former} back. Who gives up \
             what is missing asks for a failover: spec.patroni.switchover with enabled, type Failover and targetInstance {name}, \
             then the annotation trigger-switchover",
            about(lacks),
            about(most),
        )
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use crate::test_support::World;
    use crate::{Kind, names};

    /// A cluster whose leader is gone for good, and whose replica stays where it is, 80 MiB from the beginning.
    fn abandoned() -> (World, String) {
        let mut world = World::settled(2);
        let replica = world.replicas()[0].clone();
        world.behind.insert(replica.clone());
        world.settle();
        let leader = names::instance_pod(&world.leader());
        world.dead.insert(leader.clone());
        world.change(Kind::Pod, &leader, |p| p["status"]["containerStatuses"] = json!([]));
        (world, replica)
    }

    /// The lease as it was left.
    fn lease(world: &mut World, optime: u64, ago_s: i64) {
        let renewed = (world.now - SignedDuration::from_secs(ago_s)).to_string();
        world.change(Kind::Endpoints, &names::scope("hippo"), |e| {
            let annotations = &mut e["metadata"]["annotations"];
            annotations["renewTime"] = renewed.into();
            annotations["ttl"] = "30".into();
            annotations["optime"] = optime.to_string().into();
        });
    }

    fn maximum(world: &mut World, bytes: u64) {
        world.change(Kind::Endpoints, &names::scope_config("hippo"), |e| {
            let config = &mut e["metadata"]["annotations"]["config"];
            let text = config.as_str().unwrap_or("{}");
            let mut all: Value = serde_json::from_str(text).expect("a mapping");
            all["maximum_lag_on_failover"] = bytes.into();
            *config = all.to_string().into();
        });
    }

    /// Of the condition `Ready`, five seconds later.
    fn reason(world: &World) -> String {
        let mut world = world.clone();
        world.round();
        world.condition("Ready").expect("a condition").1
    }

    #[test]
    fn who_lacks_more_than_patroni_forgives_is_named_when_the_lease_is_over() {
        const AT: u64 = 5 << 24;
        const MIB: u64 = 1 << 20;
        let (mut world, replica) = abandoned();
        for (lacks, ago_s, expected) in [
            (MIB, 55, "NoPrimary"),
            (MIB + 1, 55, "TooFarBehind"),
            (MIB + 1, 54, "NoPrimary"),
            (0, 1000, "NoPrimary"),
        ] {
            lease(&mut world, AT + lacks, ago_s);
            assert_eq!(reason(&world), expected, "{lacks} {ago_s}");
        }
        lease(&mut world, AT - 1, 60);
        assert_eq!(reason(&world), "NoPrimary", "ahead of what was published");
        lease(&mut world, AT + 3 * MIB, 60);
        let former = world.leader();
        let mut later = world.clone();
        later.round();
        let told = later.cluster().condition("Ready").expect("a condition").to_string();
        for words in [
            format!("instance {replica} has come closest and lacks about 2 MiB of what {former}"),
            format!("targetInstance {replica}"),
            "maximum_lag_on_failover of 1 MiB".to_owned(),
        ] {
            assert!(told.contains(&words), "{told}");
        }
        maximum(&mut world, 3 * MIB);
        assert_eq!(reason(&world), "NoPrimary", "forgiven by the settings");
    }

    #[test]
    fn who_does_not_run_or_must_not_lead_is_nobody_to_wait_for() {
        let (mut world, replica) = abandoned();
        lease(&mut world, 9 << 24, 60);
        assert_eq!(reason(&world), "TooFarBehind");
        let pod = names::instance_pod(&replica);
        let status = world.the(Kind::Pod, &pod).annotation("status").expect("a status").to_owned();
        for (key, value, expected) in [
            ("tags", json!({"nofailover": false}), "TooFarBehind"),
            ("tags", json!({"nofailover": true}), "NoPrimary"),
            ("state", json!("starting"), "NoPrimary"),
            ("role", json!("uninitialized"), "NoPrimary"),
        ] {
            let mut said: Value = serde_json::from_str(&status).expect("a mapping");
            said[key] = value;
            let mut world = world.clone();
            world.change(Kind::Pod, &pod, |p| {
                p["metadata"]["annotations"]["status"] = said.to_string().into();
            });
            assert_eq!(reason(&world), expected, "{said}");
        }
        world.dead.insert(pod.clone());
        world.change(Kind::Pod, &pod, |p| p["status"]["containerStatuses"] = json!([]));
        assert_eq!(reason(&world), "NoPrimary");
    }

    #[test]
    fn who_led_and_lost_its_data_is_not_told_to_wait_for_itself() {
        let mut world = World::settled(1);
        let name = world.leader();
        world.change(Kind::Pod, &names::instance_pod(&name), |p| {
            let status = json!({"role": "replica", "state": "running", "xlog_location": 5 << 24});
            p["metadata"]["annotations"]["status"] = status.to_string().into();
        });
        lease(&mut world, 9 << 24, 60);
        world.round();
        let told = world.cluster().condition("Ready").expect("a condition").to_string();
        let expected =
            format!("instance {name} has come closest and lacks about 64 MiB of what the former");
        assert!(told.contains(&expected), "{told}");
    }

    #[test]
    fn the_end_of_the_lease_is_awaited() {
        let (mut world, _) = abandoned();
        lease(&mut world, 9 << 24, 53);
        assert_eq!(world.plan().requeue, Some(std::time::Duration::from_secs(7)));
    }
}
