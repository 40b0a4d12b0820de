//! Which changes of an object are facts to a plan. A heartbeat is none: Patroni renews its lease and moves
//! positions all the time, and nothing follows from it.

use std::collections::BTreeSet;

use crate::kind::Kind;
use crate::object::Object;
use crate::patroni::status::Status;

/// Annotations of Patroni's Endpoints that a plan reads.
const PATRONI_FACTS: [&str; 3] = ["leader", "config", "initialize"];

/// Whether a plan could see a difference between two states of an object.
#[must_use]
pub fn matters(old: &Object, new: &Object) -> bool {
    if old.meta.uid != new.meta.uid || old.meta.labels != new.meta.labels {
        return true;
    }
    let (before, after) = (&old.meta, &new.meta);
    let same_meta = before.deleted_at == after.deleted_at
        && before.owners == after.owners
        && before.finalizers == after.finalizers;
    if !same_meta {
        return true;
    }
    match new.kind {
        Kind::Endpoints if new.label(crate::labels::PATRONI).is_some() => {
            PATRONI_FACTS.iter().any(|key| old.annotation(key) != new.annotation(key))
        }
        Kind::Pod => old.body != new.body || pod_annotations_matter(old, new),
        _ => before.annotations != after.annotations || old.body != new.body,
    }
}

fn pod_annotations_matter(old: &Object, new: &Object) -> bool {
    let key = crate::patroni::status::ANNOTATION;
    let (before, after) = (old.annotation(key), new.annotation(key));
    if before == after {
        return false;
    }
    // Of what a member says of itself, only how far it has come is no fact.
    let facts =
        |text: Option<&str>| Some(Status { xlog_location: None, ..text.and_then(Status::parse)? });
    facts(before) != facts(after)
}

/// The clusters that a change of their namespace's root certificate concerns; none means all of them. Every cluster
/// adds itself to the owners of the root, and that is a fact to nobody else: a hundred clusters that are made
/// together would otherwise wake each other ten thousand times.
#[must_use]
pub fn of_root(old: Option<&Object>, new: Option<&Object>) -> Option<BTreeSet<String>> {
    let (old, new) = (old?, new?);
    let mut before = old.clone();
    before.meta.owners = new.meta.owners.clone();
    if matters(&before, new) {
        return None;
    }
    let differs = |a: &Object, b: &Object| -> Vec<String> {
        let lacks = |o: &&crate::object::OwnerRef| !b.meta.owners.contains(o);
        a.meta.owners.iter().filter(lacks).map(|o| o.name.clone()).collect()
    };
    Some(differs(old, new).into_iter().chain(differs(new, old)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn root(owners: &[(&str, &str)], data: &Value) -> Object {
        let owner = |(name, uid): &(&str, &str)| json!({"apiVersion": "v1", "kind": "IvoryCluster", "name": name, "uid": uid});
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        Object::from_value(json!({"apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {
            "name": "root", "namespace": "ns", "uid": "u", "resourceVersion": "1", "ownerReferences": owners}}))
        .expect("an object")
    }

    #[test]
    fn what_patroni_says_of_a_member_matters_but_for_its_position() {
        let pod = |status: Value| {
            Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": "a-0", "namespace": "ns", "uid": "u", "resourceVersion": "1",
                "annotations": {"status": status.to_string()}}}))
            .expect("a Pod")
        };
        let said = json!({"role": "replica", "state": "running", "xlog_location": 1,
            "replication_state": "streaming", "timeline": 1});
        for (key, value, expected) in [
            ("xlog_location", json!(2), false),
            ("replay_lsn", json!(2), false),
            ("replication_state", json!("in archive recovery"), true),
            ("state", json!("starting"), true),
            ("role", json!("primary"), true),
            ("timeline", json!(2), true),
            ("pending_restart", json!(true), true),
            ("tags", json!({"nofailover": true}), true),
            ("pause", json!(true), true),
        ] {
            let mut other = said.clone();
            other[key] = value;
            assert_eq!(matters(&pod(said.clone()), &pod(other)), expected, "{key}");
        }
    }

    #[test]
    fn who_joins_the_owners_of_the_root_concerns_nobody_else() {
        let (one, both) =
            (root(&[("a", "1")], &json!({})), root(&[("a", "1"), ("b", "2")], &json!({})));
        let names = |all: &[&str]| Some(all.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(of_root(Some(&one), Some(&both)), names(&["b"]));
        assert_eq!(of_root(Some(&both), Some(&one)), names(&["b"]));
        assert_eq!(of_root(Some(&one), Some(&root(&[("a", "3")], &json!({})))), names(&["a"]));
        assert_eq!(of_root(Some(&one), Some(&root(&[], &json!({"root.crt": "AA=="})))), None);
        assert_eq!((of_root(None, Some(&one)), of_root(Some(&one), None)), (None, None));
    }

    #[test]
    fn what_is_to_be_deleted_and_who_owns_it_are_facts_and_a_renewed_lease_is_none() {
        let object = |kind: &str, more: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {
                "name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "1",
                "labels": {crate::labels::PATRONI: "a"}, "annotations": {"leader": "a-0"}}});
            crate::test_support::merge(&mut object, &more);
            Object::from_value(object).expect("an object")
        };
        let meta = |key: &str, value: Value| json!({"metadata": {key: value}});
        let owner = json!([{"apiVersion": "v1", "kind": "IvoryCluster", "name": "b", "uid": "2"}]);
        for (kind, change, expected) in [
            ("Pod", json!({}), false),
            ("Pod", meta("resourceVersion", json!("2")), false),
            ("Pod", meta("uid", json!("v")), true),
            ("Pod", meta("labels", json!({"more": "a"})), true),
            ("Pod", meta("deletionTimestamp", json!("2026-03-01T12:00:00Z")), true),
            ("Pod", meta("ownerReferences", owner), true),
            ("Pod", meta("finalizers", json!(["a/b"])), true),
            ("Pod", meta("annotations", json!({"note": "b"})), false),
            ("Pod", json!({"status": {"phase": "Failed"}}), true),
            ("ConfigMap", meta("annotations", json!({"note": "b"})), true),
            ("ConfigMap", json!({"data": {"a": "b"}}), true),
            ("Endpoints", meta("annotations", json!({"renewTime": "now"})), false),
            ("Endpoints", meta("annotations", json!({"leader": "b-0"})), true),
            ("Endpoints", json!({"subsets": []}), false),
        ] {
            let (old, new) = (object(kind, json!({})), object(kind, change.clone()));
            assert_eq!(matters(&old, &new), expected, "{kind} {change}");
        }
    }
}
