//! The permissions of instances and of backup Jobs (`reference/api.md` §4.7).

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};

use crate::build::meta::owned;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::object::Object;
use crate::{labels, names};

/// ServiceAccount, Role and RoleBinding of the instances: what Patroni needs.
#[must_use]
pub fn instance(cluster: &Cluster) -> [Object; 3] {
    let mut rules = vec![
        rule(&["endpoints"], &["create", "deletecollection", "get", "list", "patch", "watch"]),
        rule(&["pods"], &["get", "list", "patch", "watch"]),
        rule(&["services"], &["create"]),
    ];
    if cluster.openshift {
        rules.insert(1, rule(&["endpoints/restricted"], &["create"]));
    }
    let name = names::instance_rbac(&cluster.name);
    let [account, role, binding] = trio(cluster, &name, &[], rules);
    [account.with("automountServiceAccountToken", true), role, binding]
}

/// ServiceAccount, Role and RoleBinding of backup Jobs, which find a Pod and run pgBackRest in it. The
/// helper in the published images opens its stream by POST, which is `create`; one that opens a WebSocket
/// needs `get` as well.
#[must_use]
pub fn pgbackrest(cluster: &Cluster) -> [Object; 3] {
    let rules = vec![rule(&["pods"], &["list"]), rule(&["pods/exec"], &["create"])];
    let name = names::pgbackrest_rbac(&cluster.name);
    trio(cluster, &name, &[(labels::PGBACKREST, "")], rules)
}

fn trio(
    cluster: &Cluster,
    name: &str,
    own: &[(&str, &str)],
    rules: Vec<PolicyRule>,
) -> [Object; 3] {
    let backups = &cluster.spec.backups.pgbackrest.metadata;
    let sources = [&cluster.spec.metadata, backups];
    let sources = if own.is_empty() { &sources[..1] } else { &sources[..] };
    let object = |kind| owned(cluster, kind, name, own, sources);
    let role_ref = RoleRef {
        api_group: Kind::Role.group().into(),
        kind: Kind::Role.name().into(),
        name: name.into(),
    };
    // Without a namespace the account is looked for in the binding's own; the API server wants it said.
    let subject = Subject {
        kind: Kind::ServiceAccount.name().into(),
        name: name.into(),
        namespace: Some(cluster.namespace.clone()),
        ..Subject::default()
    };
    [
        object(Kind::ServiceAccount),
        object(Kind::Role).with("rules", rules),
        object(Kind::RoleBinding).with("roleRef", role_ref).with("subjects", vec![subject]),
    ]
}

fn rule(resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}
