//! Twelve stories of scenarios/, played by the real shell.

use super::{named, play};

fn check(name: &str) {
    let story = play(&named(name));
    assert_eq!(story.wrong(), Vec::<String>::new(), "{name}");
}

macro_rules! stories {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { check($name); })*
    };
}

stories! {
    create: "create",
    failover: "failover",
    switchover: "switchover",
    api_outage: "api-outage",
    operator_down: "operator-down",
    rolling_change: "rolling-change",
    replicas_added_and_removed: "replicas-added-and-removed",
    statefulset_loss: "statefulset-loss",
    service_deletion: "service-deletion",
    users: "users",
    cluster_deleted: "cluster-deleted",
    taken_over: "taken-over",
}
