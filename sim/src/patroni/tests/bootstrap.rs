//! Beginnings: failed, prepared, adopted, in the wrong order; and standby clusters.

use serde_json::json;

use super::bench::{Bench, SCOPE, name};
use crate::patroni::config::Version;
use crate::postgres::DataDirectory;
use crate::time::Span;

const V4: Version = Version(4, 1, 4);

/// Case 2: a custom command that fails: exit 1, `initialize` removed, the other node tries after about L.
#[test]
fn failed_bootstrap() {
    let mut bench = Bench::new(31, V4, Bench::quick());
    bench.method = Some("mine");
    bench.add(&name(0));
    bench.run(0.2);
    bench.add(&name(1));
    bench.until(2.0, |b| b.gone(&name(0)));
    assert_eq!(bench.annotation("hippo-ha-config", "initialize"), None);
    bench.until(8.0, |b| b.gone(&name(1)));
    assert_eq!(bench.annotation("hippo-ha-config", "initialize"), None);
    assert_eq!(bench.annotation(SCOPE, "leader"), None);
}

/// Case 4: a restored directory on timeline 2: primary on the same timeline within a second; the second node clones.
#[test]
fn a_restored_directory() {
    let mut bench = Bench::new(32, V4, Bench::quick());
    bench.method = Some("existing");
    bench.add(&name(0));
    let mut data = DataDirectory::initialize(18, 7_111_111_111_111_111_111, "/pgdata/pg18_wal");
    data.promote(bench.world.now(), 2);
    data.checkpoint(bench.world.now(), true);
    let kube = bench.kube;
    let volume = bench.world.kube_mut(kube).volume_mut(&name(0)).expect("a volume");
    volume.directories.insert("pg18_bootstrap".into(), data);
    bench.until(1.5, |b| b.leader().is_some());
    assert_eq!(bench.timeline(&name(0)), 2);
    bench.add(&name(1));
    bench.until(5.0, |b| b.streams(&name(1)));
    bench.run(6.0);
    let history = bench.annotation("hippo-ha-config", "history").expect("history");
    assert!(history.starts_with("[[1,"), "{history}");
    let id = bench.annotation("hippo-ha-config", "initialize");
    assert_eq!(id.as_deref(), Some("7111111111111111111"));
}

/// Case 3: a stopped cluster whose objects are all deleted is adopted: same identity, timeline + 1, configuration
/// from the cache.
#[test]
fn adopted_data() {
    use crate::kube::{DeleteOptions, ObjectRef, Verb};
    let mut bench = Bench::healthy(33, V4, Bench::quick(), 2);
    let leader = bench.leader().expect("a leader");
    let replica = name(usize::from(leader == name(0)));
    let id = bench.annotation("hippo-ha-config", "initialize");
    bench.term(&replica);
    bench.run(3.0);
    bench.term(&leader);
    bench.run(5.0);
    assert!(bench.gone(&leader) && bench.gone(&replica));
    for object in [SCOPE, "hippo-ha-config"] {
        bench.request(Verb::Delete {
            target: ObjectRef::new(ivory_core::Kind::Endpoints, super::bench::NS, object),
            options: DeleteOptions::default(),
        });
    }
    bench.start(&leader);
    bench.until(5.0, |b| b.leader().is_some());
    bench.start(&replica);
    bench.until(12.0, |b| b.streams(&replica));
    assert_eq!(bench.annotation("hippo-ha-config", "initialize"), id);
    assert_eq!(bench.timeline(&leader), 2);
    bench.run(6.0);
    let config = bench.annotation("hippo-ha-config", "config").expect("restored");
    assert!(config.contains("\"ttl\":20"), "{config}");
}

/// Case 13: all stop cleanly, the leader last; the replica starts first and promotes after about a second; the old
/// leader rewinds.
#[test]
fn a_replica_starts_first() {
    let mut bench = Bench::healthy(34, V4, Bench::quick(), 2);
    let leader = bench.leader().expect("a leader");
    let replica = name(usize::from(leader == name(0)));
    bench.client();
    bench.run(1.0);
    bench.term(&replica);
    bench.run(3.0);
    bench.term(&leader);
    bench.run(5.0);
    bench.start(&replica);
    let took = bench.until(4.0, |b| b.leader().is_some());
    assert!(took < 2.9, "{took}");
    assert_eq!(bench.leader(), Some(replica.clone()));
    bench.start(&leader);
    bench.until(15.0, |b| b.streams(&leader));
    assert!(bench.journal().contains("rewinds"), "{}", bench.journal());
}

/// A wiped replica clones itself again (case 31), a wiped primary gives the key away and comes back as a replica.
#[test]
fn wiped_data() {
    let mut bench = Bench::healthy(35, V4, Bench::quick(), 3);
    let leader = bench.leader().expect("a leader");
    let kube = bench.kube;
    let wipe = |bench: &mut Bench, who: &str| {
        let volume = bench.world.kube_mut(kube).volume_mut(who).expect("a volume");
        volume.directories.clear();
    };
    let replica = (0..3).map(name).find(|n| *n != leader).expect("a replica");
    wipe(&mut bench, &replica);
    bench.run(6.0);
    bench.until(8.0, |b| b.streams(&replica));
    wipe(&mut bench, &leader);
    bench.run(6.0);
    bench.until(10.0, |b| b.leader().is_some_and(|l| l != leader));
    bench.until(15.0, |b| b.streams(&leader));
}

/// Case 25: a standby cluster follows a remote, elects another leader, and promotes within the loop that the changed
/// configuration wakes (measured 0.16 s).
#[test]
fn standby_cluster() {
    use ivory_core::command::Command;
    let mut bench = Bench::new(36, V4, Bench::quick());
    // The remote is a member of this world that is not in the scope: a primary of its own.
    bench.add(&name(0));
    bench.until(3.0, |b| b.leader().is_some());
    bench.run(3.0);
    let mut standby = Bench::quick();
    standby["standby_cluster"] = json!({"host": "10.0.0.0", "port": 5432});
    // The second cluster lives in its own Kubernetes of the same world.
    let remote = bench.leader().expect("a leader");
    let mut other = bench.beside(standby);
    for index in 5..8 {
        other.add(&name(index));
    }
    other.run(12.0);
    let member = |b: &Bench, role: &str| (5..8).map(name).find(|n| b.status_of(n).contains(role));
    let leader = member(&other, "standby_leader").expect("a standby leader");
    assert!(other.data(&leader).standby_signal);
    assert_eq!(other.label_of(&leader).as_deref(), Some("primary"));
    other.kill(&leader);
    other.run(30.0);
    let next = (5..8)
        .map(name)
        .filter(|n| *n != leader)
        .find(|n| other.status_of(n).contains("standby_leader"));
    let next = next.expect("another standby leader");
    assert_eq!(other.leader(), None, "never promotes by itself");
    let config = Bench::quick().to_string();
    other.exec(&next, Command::ReplaceDynamicConfiguration { config });
    let took = other.until(2.0, |b| b.leader().is_some());
    assert!(took < 0.5, "{took}");
    assert_eq!(other.timeline(&next), 2);
    assert_eq!(remote, name(0));
    other.world.advance(Span::s(1));
}
