//! Patroni's dynamic configuration: replaced when what Patroni keeps differs from what the spec gives.

use serde_json::Value;

use crate::command::Command;
use crate::kind::Kind;
use crate::names;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::rules::{promotion, standby_lag};

/// Replaces the configuration when it differs. Before the bootstrap it is part of the cluster's ConfigMap.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    if !members.bootstrapped() {
        return;
    }
    let name = names::scope_config(&pass.cluster.name);
    let live = match pass.observed.find(Kind::Endpoints, &name) {
        Read::Known(endpoints) => endpoints.annotation("config"),
        Read::Absent => None,
        Read::Unknown(_) => return pass.unreadable(Step::Patroni, format!("Endpoints {name}")),
    };
    // Without one Patroni restores its own cached copy first.
    let Some(live) = live else { return };
    let cluster = pass.cluster;
    let is_desired = || {
        let live = serde_json::from_str::<Value>(live);
        live.is_ok_and(|live| live == super::config::dynamic(cluster))
    };
    if pass.memo.settings(live, is_desired) {
        return;
    }
    if promotion::held(pass, members, live) {
        return;
    }
    let pod = members
        .leader()
        .or_else(|| members.all.values().find(|m| m.running()))
        .and_then(|m| m.pod());
    let Some(pod) = pod.cloned() else {
        return pass.wait(
            Step::Patroni,
            "NoRunningInstance",
            "no instance runs that could be told its settings",
        );
    };
    if live.contains("standby_cluster") && cluster.spec.active_standby().is_none() {
        standby_lag::warn_of_promotion(pass);
    }
    let reason = Reason::Because {
        word: "DynamicConfiguration",
        text: "Patroni's settings differ from the spec".into(),
    };
    let desired = super::config::dynamic(cluster);
    let command = Command::ReplaceDynamicConfiguration { config: desired.to_string() };
    pass.exec(Step::Patroni, reason, &pod, command, 20);
}
