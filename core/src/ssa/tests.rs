//! Cases of ownership, merging and no-op detection, written as manifests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kind::Kind;
use crate::object::{Managed, Object};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("a manifest")
}

fn schema(kind: Kind) -> &'static Schema {
    Schema::builtin(kind).expect("built in")
}

/// A StatefulSet's or Service's manifest with this `spec`.
fn with_spec(kind: Kind, spec: Value) -> Object {
    object(json!({"apiVersion": kind.api_version(), "kind": kind.name(),
        "metadata": {"name": "x", "namespace": "n"}, "spec": spec}))
}

fn forced(live: &Object, desired: &Object, manager: &str) -> Object {
    let schema = schema(live.kind);
    let who = Manager { name: manager, subresource: "", api_version: live.kind.api_version() };
    let applied = apply(
        schema,
        &view(live),
        &live.meta.managed,
        &view(desired),
        who,
        true,
        &FieldSet::default(),
        None,
    )
    .expect("forced");
    let mut out = with_view(live, normalise(schema, applied.view, &mut Findings::default()));
    out.meta.managed = applied.managed.into();
    out
}

#[test]
fn every_built_in_kind_has_a_schema() {
    for &kind in Kind::ALL {
        let custom = matches!(kind, Kind::IvoryCluster | Kind::IvyUpgrade);
        assert_eq!(Schema::builtin(kind).is_none(), custom, "{kind}");
    }
}

#[test]
fn lists_have_the_keys_of_the_real_server() {
    let pod = ["spec", "template", "spec"];
    for (kind, path, keys) in [
        (Kind::StatefulSet, [&pod[..], &["containers"]].concat(), Some(vec!["name"])),
        (Kind::StatefulSet, [&pod[..], &["volumes"]].concat(), Some(vec!["name"])),
        (
            Kind::StatefulSet,
            [&pod[..], &["containers", "ports"]].concat(),
            Some(vec!["containerPort", "protocol"]),
        ),
        (
            Kind::StatefulSet,
            [&pod[..], &["containers", "volumeMounts"]].concat(),
            Some(vec!["mountPath"]),
        ),
        (
            Kind::StatefulSet,
            [&pod[..], &["topologySpreadConstraints"]].concat(),
            Some(vec!["topologyKey", "whenUnsatisfiable"]),
        ),
        (Kind::StatefulSet, [&pod[..], &["tolerations"]].concat(), None),
        (Kind::Service, vec!["spec", "ports"], Some(vec!["port", "protocol"])),
        (Kind::ServiceAccount, vec!["secrets"], Some(vec!["name"])),
        (Kind::ServiceAccount, vec!["imagePullSecrets"], None),
        (Kind::PersistentVolumeClaim, vec!["spec", "accessModes"], None),
        (Kind::Endpoints, vec!["subsets"], None),
        (Kind::Role, vec!["rules"], None),
        (Kind::Pod, vec!["metadata", "ownerReferences"], Some(vec!["uid"])),
    ] {
        let found = schema(kind).at(&path);
        let Some(schema::Type::List { kind: list, .. }) = found else {
            panic!("{kind} {path:?} is no list: {found:?}");
        };
        let found = match list {
            schema::ListKind::Map(keys) => Some(keys.iter().map(|k| &*k.0).collect::<Vec<_>>()),
            _ => None,
        };
        assert_eq!(found, keys, "{kind} {path:?}");
    }
    let Some(schema::Type::Map { atomic, .. }) = schema(Kind::Pod).at(&["spec", "nodeSelector"])
    else {
        panic!("nodeSelector is no map");
    };
    assert!(atomic);
}

#[test]
fn an_applied_configuration_owns_its_leaves() {
    let desired = object(json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "labels": {"a/b": "c"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u0"}]},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {
            "securityContext": {},
            "containers": [{"name": "database", "image": "i", "args": [],
                "ports": [{"containerPort": 5432}]}]}}}}));
    let container = ".spec.template.spec.containers[name=\"database\"]";
    let port = format!("{container}.ports[containerPort=5432,protocol=\"TCP\"]");
    // Owner references are atomic items; an empty structure is a leaf, and so is an atomic list.
    assert_eq!(
        fields_of(schema(Kind::StatefulSet), &desired).paths(),
        [
            ".metadata.labels.a/b".to_owned(),
            ".metadata.ownerReferences[uid=\"u0\"]".to_owned(),
            ".spec.replicas".to_owned(),
            ".spec.selector".to_owned(),
            ".spec.template.spec.securityContext".to_owned(),
            container.to_owned(),
            format!("{container}.args"),
            format!("{container}.image"),
            format!("{container}.name"),
            port.clone(),
            format!("{port}.containerPort"),
        ]
    );
}

#[test]
fn would_change_names_what_an_apply_would_change() {
    let spec = json!({"replicas": 1, "template": {"spec": {"containers": [
        {"name": "database", "image": "i", "resources": {"limits": {"cpu": "1000m"}}},
        {"name": "backup", "image": "j"}]}}});
    let desired = with_spec(Kind::StatefulSet, spec.clone());
    let empty = with_spec(Kind::StatefulSet, json!({}));
    let live = forced(&empty, &desired, "us");
    let limits = live.at(&["spec", "template", "spec", "containers"]).expect("containers");
    assert_eq!(limits[0]["resources"]["limits"]["cpu"], "1");
    let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
        let mut changed = desired.to_value();
        change(&mut changed);
        let changed = object(changed);
        let found = would_change(schema(Kind::StatefulSet), &changed, &live, "us");
        assert_eq!(found, expected);
    };
    let first = "/spec/template/spec/containers/0";
    check(&|_| {}, &[]);
    check(&|v| v["spec"]["replicas"] = 0.into(), &[".spec.replicas"]);
    check(
        &|v| {
            *v.pointer_mut(first).unwrap() =
                json!({"name": "database", "image": "k", "resources": {"limits": {"cpu": 1}}})
        },
        &[".spec.template.spec.containers[name=\"database\"].image"],
    );
    check(
        &|v| *v.pointer_mut(first).unwrap() = json!({"name": "database", "image": "i"}),
        &[".spec.template.spec.containers[name=\"database\"].resources.limits.cpu"],
    );
    check(
        &|v| {
            v.pointer_mut("/spec/template/spec/containers")
                .unwrap()
                .as_array_mut()
                .unwrap()
                .reverse()
        },
        &[".spec.template.spec.containers"],
    );
    check(&|v| v["metadata"]["labels"] = json!({"a": "b"}), &[".metadata.labels.a"]);
    assert!(!would_change(schema(Kind::StatefulSet), &desired, &live, "them").is_empty());
}

/// A value with the names of a StatefulSet's or of nothing, of any shape: what is empty, null or twice in a list too.
fn value() -> impl Strategy<Value = Value> {
    let leaf =
        proptest::sample::select(vec![Value::Null, json!(1), json!("a"), json!({}), json!([])]);
    leaf.prop_recursive(5, 40, 3, |below| {
        let keys = [
            "template",
            "spec",
            "containers",
            "ports",
            "containerPort",
            "name",
            "other",
            "emptyDir",
        ];
        let map = proptest::collection::btree_map(
            proptest::sample::select(keys.to_vec()),
            below.clone(),
            0..4,
        );
        let map =
            map.prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>());
        let list = proptest::collection::vec(below, 0..4).prop_map(Value::Array);
        prop_oneof![3 => map, 1 => list]
    })
}

proptest! {
    #[test]
    fn the_walk_through_a_set_finds_what_building_it_does(a in value(), b in value()) {
        let schema = schema(Kind::StatefulSet);
        let (a, b) = (with_spec(Kind::StatefulSet, a), with_spec(Kind::StatefulSet, b));
        let (x, y) = (fields_of(schema, &a), fields_of(schema, &b));
        prop_assert!(super::change::is_fields_of(schema, &x, &a));
        prop_assert_eq!(super::change::is_fields_of(schema, &x, &b), x == y);
        for more in ["spec", "template"] {
            let more = x.clone().union(&FieldSet::of(&["spec", more]));
            prop_assert_eq!(super::change::is_fields_of(schema, &more, &a), more == x);
        }
    }
}

#[test]
fn pruning_keeps_what_others_own_and_conflicts_name_the_owner() {
    let empty = with_spec(Kind::Service, json!({}));
    let a = with_spec(
        Kind::Service,
        json!({"clusterIP": "None", "ports": [{"port": 1, "name": "x"}, {"port": 2}]}),
    );
    let b = with_spec(Kind::Service, json!({"ports": [{"port": 2}]}));
    let live = forced(&forced(&empty, &a, "a"), &b, "b");
    let after = forced(&live, &with_spec(Kind::Service, json!({"clusterIP": "None"})), "a");
    let ports = after.at(&["spec", "ports"]).expect("ports");
    assert_eq!(ports.as_array().map(Vec::len), Some(1));
    assert_eq!(ports[0]["port"], 2);
    let who = Manager { name: "c", subresource: "", api_version: "v1" };
    let wanted = with_spec(Kind::Service, json!({"clusterIP": "10.0.0.1"}));
    let refused = apply(
        schema(Kind::Service),
        &view(&after),
        &after.meta.managed,
        &view(&wanted),
        who,
        false,
        &FieldSet::default(),
        None,
    );
    assert_eq!(
        refused,
        Err(vec![Conflict { manager: "\"a\"".into(), field: ".spec.clusterIP".into() }])
    );
}

/// A set over a small alphabet, so that sets overlap.
fn set() -> impl Strategy<Value = FieldSet> {
    let path = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c"]), 1..4);
    proptest::collection::vec(path, 0..8).prop_map(|paths| {
        paths.iter().map(|p| FieldSet::of(p)).fold(FieldSet::default(), |a, b| a.union(&b))
    })
}

fn members(set: &FieldSet) -> std::collections::BTreeSet<String> {
    set.paths().into_iter().collect()
}

proptest! {
    #[test]
    fn set_operations_are_those_of_sets_of_paths(a in set(), b in set()) {
        let (x, y) = (members(&a), members(&b));
        prop_assert_eq!(members(&a.clone().union(&b)), x.union(&y).cloned().collect());
        prop_assert_eq!(members(&a.intersection(&b)), x.intersection(&y).cloned().collect());
        prop_assert_eq!(members(&a.difference(&b)), x.difference(&y).cloned().collect());
        let below = |p: &String| y.iter().any(|q| p == q || p.starts_with(&format!("{q}.")));
        prop_assert_eq!(members(&a.clone().recursive_difference(&b)), x.iter().filter(|p| !below(p)).cloned().collect());
        prop_assert_eq!(a.is_empty(), x.is_empty());
        prop_assert_eq!(&FieldSet::from_value(&a.to_value()), &a);
    }
}

#[test]
fn an_update_owns_what_it_changed_and_takes_it_from_others() {
    let old = with_spec(Kind::Service, json!({"clusterIP": "None", "sessionAffinity": "None"}));
    let new = with_spec(Kind::Service, json!({"clusterIP": "10.0.0.1", "sessionAffinity": "None"}));
    let entry = Managed {
        manager: "a".into(),
        apply: true,
        subresource: "".into(),
        api_version: "v1".into(),
        time: None,
        fields: fields_of(schema(Kind::Service), &old).into(),
    };
    let who = Manager { name: "kubectl-edit", subresource: "", api_version: "v1" };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let managed = update(
        schema(Kind::Service),
        &view(&old),
        &view(&new),
        &[entry],
        who,
        &FieldSet::default(),
        now,
    );
    let found: Vec<_> = managed.iter().map(|m| (&*m.manager, m.fields.paths())).collect();
    assert_eq!(
        found,
        [
            ("a", vec![".spec.sessionAffinity".to_owned()]),
            ("kubectl-edit", vec![".spec.clusterIP".to_owned()]),
        ]
    );
}
