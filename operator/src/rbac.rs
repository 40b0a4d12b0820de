//! The operator's permissions, from what plans need, what the watches read, and what it passes on: nobody
//! may hand out a right that he doesn't hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ivory_core::build::rbac as instance_roles;
use ivory_core::cluster::Cluster;
use ivory_core::context::Config;
use ivory_core::grants::{Grant, of_plans};
use ivory_core::reads::{LABELLED, NAMED};
use ivory_core::{Kind, Object};
use serde_json::{Value, json};

/// One generated file.
pub struct File {
    /// Its path below the installation's folder.
    pub path: &'static str,
    /// What it holds.
    pub text: fn() -> String,
}

/// All of them.
pub const FILES: &[File] = &[
    File { path: "rbac/base/role.yaml", text: role },
    File { path: "rbac/base/lease.yaml", text: lease },
    File { path: "rbac/cluster/storage.yaml", text: storage },
];

/// All files as one stream of documents.
#[must_use]
pub fn all() -> String {
    let texts: Vec<String> = FILES.iter().map(|file| (file.text)()).collect();
    texts.join("---\n")
}

/// What the operator may do where its clusters live, sorted, each once.
#[must_use]
pub fn grants() -> BTreeSet<(String, String, String)> {
    let owned = |g: Grant| (g.group.to_owned(), g.resource, g.verb.to_owned());
    let mut all: BTreeSet<_> = of_plans().into_iter().map(owned).collect();
    let watched = LABELLED.iter().chain([&Kind::IvoryCluster]);
    for kind in watched {
        for verb in ["list", "watch"] {
            all.insert(owned(Grant::new(*kind, verb)));
        }
    }
    // What bears no label of ours is asked for by name.
    all.extend(NAMED.iter().map(|kind| owned(Grant::new(*kind, "get"))));
    all.extend(passed_on());
    all
}

/// The rights that the operator gives to instances and backup Jobs.
#[must_use]
pub fn passed_on() -> BTreeSet<(String, String, String)> {
    let cluster = Object::new(Kind::IvoryCluster, "ns", "name").with(
        "spec",
        json!({
            "openshift": true,
            "postgresVersion": 18,
            "instances": [{"dataVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
            "backups": {"pgbackrest": {"repos": []}},
        }),
    );
    // The sample is fixed, and the tests read it.
    let Ok(cluster) = Cluster::read(&Arc::new(cluster), &Config::default()) else {
        return BTreeSet::new();
    };
    let roles = [instance_roles::instance(&cluster), instance_roles::pgbackrest(&cluster)];
    let mut all = BTreeSet::new();
    for rule in roles.iter().flatten().filter_map(|o| o.at(&["rules"])?.as_array()).flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    all.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    all
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|t| t.as_str().map(str::to_owned)).collect()
}

fn role() -> String {
    let head = "# Printed by `ivory-operator rbac`; change what the operator does, not the file.
#
# What the operator may do where its clusters live: in every namespace (rbac/cluster), or in those
# of a Role (rbac/namespace, which turns this into one).
#
# Some verbs are here only because the operator grants them on: Kubernetes lets nobody hand out a
# right that he doesn't hold. The instances' Role needs endpoints, pods and services for Patroni;
# the backup Jobs' Role needs pods/exec.
";
    let role = object("ClusterRole", "ivory-operator");
    format!("{head}{role}{}", rules(&grants()))
}

fn lease() -> String {
    let head = "# Printed by `ivory-operator rbac`; change what the operator does, not the file.
#
# The lease by which the operator's replicas agree on who acts lives beside them, whichever
# namespaces they look after; hence a Role of its own.
";
    let verbs = ["create", "get", "update"];
    let grants = verbs.map(|verb| Grant::new(Kind::Lease, verb));
    let (role, rules) = (object("Role", "ivory-operator-lease"), rules(&owned(&grants)));
    format!("{head}{role}{rules}---\n{}", binding("Role", "ivory-operator-lease"))
}

fn storage() -> String {
    let head = "# Printed by `ivory-operator rbac`; change what the operator does, not the file.
#
# Whether a volume can grow is a fact of its storage class, which belongs to no namespace.
# An operator that has only a Role can't read it, and learns the same from the refused resize.
";
    let grants = ["list", "watch"].map(|verb| Grant::new(Kind::StorageClass, verb));
    let name = "ivory-operator-storage";
    let (role, rules) = (object("ClusterRole", name), rules(&owned(&grants)));
    format!("{head}{role}{rules}---\n{}", binding("ClusterRole", name))
}

fn owned(grants: &[Grant]) -> BTreeSet<(String, String, String)> {
    let owned = |g: &Grant| (g.group.to_owned(), g.resource.clone(), g.verb.to_owned());
    grants.iter().map(owned).collect()
}

fn object(kind: &str, name: &str) -> String {
    format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n")
}

fn binding(kind: &str, name: &str) -> String {
    let head = object(&format!("{kind}Binding"), name);
    format!(
        "{head}roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {kind}
  name: {name}
subjects:
  - kind: ServiceAccount
    name: ivyo
"
    )
}

/// Rules, with resources of the same group and verbs in one.
fn rules(grants: &BTreeSet<(String, String, String)>) -> String {
    let mut verbs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (group, resource, verb) in grants {
        verbs.entry((group, resource)).or_default().push(verb);
    }
    let mut resources: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        resources.entry((group, verbs)).or_default().push(resource);
    }
    let mut text = "rules:\n".to_owned();
    for ((group, verbs), resources) in resources {
        let group = if group.is_empty() { "\"\"" } else { group };
        // Writing into a String does not fail.
        let _ = write!(
            text,
            "  - apiGroups: [{group}]\n    resources: [{}]\n    verbs: [{}]\n",
            resources.join(", "),
            verbs.join(", ")
        );
    }
    text
}
