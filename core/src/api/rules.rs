//! Conditions that span several fields, in the API server's expression language (CEL), with what
//! to tell the user. They refuse only what the Go operator could not serve either; what depends on
//! other objects is not for here.
//!
//! An object that breaks a rule may exist, stored when there was no such rule. From Kubernetes
//! 1.30 on the API server doesn't judge a part that an update leaves as it was, so that its
//! finalizer and its status can still be written. That can't help a rule on the whole object;
//! such a rule must let pass by itself what is already there.

use serde_json::{Value, json};

use super::crd::at_mut;

/// A condition on a part of a custom resource.
pub(super) struct Rule {
    /// The part that is `self`, as [`at_mut`] reads it.
    pub(super) at: &'static str,
    /// What must be true.
    pub(super) holds: &'static str,
    /// What to tell the user otherwise.
    pub(super) message: &'static str,
    /// The field to blame within the part; the part itself when empty.
    pub(super) blames: &'static str,
}

const fn rule(at: &'static str, holds: &'static str, message: &'static str) -> Rule {
    Rule { at, holds, message, blames: "" }
}

const fn rule_blaming(
    at: &'static str,
    blames: &'static str,
    holds: &'static str,
    message: &'static str,
) -> Rule {
    Rule { at, holds, message, blames }
}

const NODE_PORT: &str = "!has(self.nodePort) || self.type != 'ClusterIP'";
const NODE_PORT_MESSAGE: &str =
    "nodePort needs type NodePort or LoadBalancer; set type, or remove nodePort";

/// The rules of IvoryCluster.
pub(super) const IVORY_CLUSTER: &[Rule] = &[
    // An instance's Pod has a label CLUSTER-SET-xxxx-HASH, with up to ten symbols of hash, and
    // labels end at 63. Sets that the status knows are let pass; see the head of this file.
    rule_blaming(
        "",
        ".spec.instances",
        "!has(self.spec) || self.spec.instances.all(set, \
         size(self.metadata.name) + (set.name == '' ? 2 : size(set.name)) <= 46 || \
         (has(self.status) && has(self.status.instances) && \
         self.status.instances.exists(known, set.name == '' || known.name == set.name)))",
        "the names of the cluster and of an instance set may have 46 characters together (an \
         unnamed set counts 2); shorten one of them",
    ),
    rule_blaming(
        "spec",
        ".dataSource.volumes.pgBackRestVolume",
        "!has(self.dataSource) || !has(self.dataSource.volumes) || \
         !has(self.dataSource.volumes.pgBackRestVolume) || \
         has(self.backups.pgbackrest.repos[0].volume)",
        "pgBackRestVolume becomes the first repository, so backups.pgbackrest.repos[0] must have volume",
    ),
    rule(
        "spec.backups.pgbackrest.repos[]",
        "[has(self.azure), has(self.gcs), has(self.s3), has(self.volume)].filter(given, given).size() == 1",
        "a repository is in one place: give exactly one of volume, s3, gcs and azure",
    ),
    rule(
        "spec.dataSource.pgbackrest.repo",
        "!has(self.volume)",
        "a data source is in an object store: give s3, gcs or azure instead of volume; for an \
         existing volume use dataSource.volumes",
    ),
    rule(
        "spec.dataSource.pgbackrest.repo",
        "has(self.volume) || [has(self.azure), has(self.gcs), has(self.s3)].filter(given, given).size() == 1",
        "a repository is in one place: give exactly one of s3, gcs and azure",
    ),
    rule_blaming(
        "spec.patroni",
        ".syncPeriodSeconds",
        "self.syncPeriodSeconds < self.leaderLeaseDurationSeconds",
        "syncPeriodSeconds must be less than leaderLeaseDurationSeconds, else the primary loses \
         the lead before it can renew it",
    ),
    rule(
        "spec.patroni.switchover",
        "!self.enabled || self.type != 'Failover' || (has(self.targetInstance) && self.targetInstance != '')",
        "a Failover needs targetInstance, the name of the instance that shall become the primary",
    ),
    rule("spec.proxy.pgBouncer.service", NODE_PORT, NODE_PORT_MESSAGE),
    rule("spec.service", NODE_PORT, NODE_PORT_MESSAGE),
    rule(
        "spec.standby",
        "!self.enabled || has(self.repoName) || (has(self.host) && self.host != '')",
        "a standby needs a source: give repoName, host or both",
    ),
    rule("spec.userInterface.pgAdmin.service", NODE_PORT, NODE_PORT_MESSAGE),
    rule_blaming(
        "spec.users[]",
        ".options",
        "!has(self.options) || !self.options.matches('--|/[*]|[*]/')",
        "options must not contain SQL comments",
    ),
    rule_blaming(
        "spec.users[]",
        ".options",
        r"!has(self.options) || !self.options.matches('(?i)\\bpassword\\b')",
        "options must not set a password; write it to the Secret CLUSTER-pguser-NAME",
    ),
];

/// The rules of IvyUpgrade.
pub(super) const IVY_UPGRADE: &[Rule] = &[rule_blaming(
    "spec",
    ".toIvoryVersion",
    "self.fromIvoryVersion < self.toIvoryVersion",
    "toIvoryVersion must be greater than fromIvoryVersion",
)];

/// Puts rules into a schema.
pub(super) fn attach(schema: &mut Value, rules: &[Rule]) {
    for Rule { at, holds, message, blames } in rules {
        let mut entry = json!({ "rule": holds, "message": message });
        if !blames.is_empty() {
            entry["fieldPath"] = json!(blames);
        }
        let all = &mut at_mut(schema, at)["x-kubernetes-validations"];
        match all.as_array_mut() {
            Some(all) => all.push(entry),
            None => *all = json!([entry]),
        }
    }
}
