//! Laws of the API server model, on random histories: server-side apply, no-op detection, the store and
//! its log of changes.

#[path = "kube_laws/naive.rs"]
mod naive;
#[path = "kube_laws/store.rs"]
mod store;

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::ssa::{Schema, compare_objects, fields_of, would_change};
use ivory_sim::kube::{
    ApiServer, Body, Content, DeleteOptions, ObjectRef, Reply, Request, Response, Subresource, Verb,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

struct Cluster {
    server: ApiServer,
    now: Timestamp,
    uids: u128,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self {
            server: ApiServer::new(),
            now: "2026-06-01T00:00:00Z".parse().expect("a time"),
            uids: 7,
        };
        let namespace = Object::new(Kind::Namespace, "", "n");
        cluster.send("t", Verb::Create(namespace.into())).expect("created");
        cluster
    }

    fn send(&mut self, manager: &str, verb: Verb) -> Response {
        self.now += SignedDuration::from_secs(1);
        let mut uids = || {
            self.uids = self.uids.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645) + 1;
            self.uids
        };
        let request = Request { manager: Some(manager.into()), ..Request::new("t/1", verb) };
        self.server.handle(self.now, &mut uids, &request)
    }

    fn apply(&mut self, manager: &str, object: &Arc<Object>, force: bool) -> Response {
        let body = Body::Apply { object: Arc::clone(object), force };
        self.patch(manager, object, body)
    }

    fn patch(&mut self, manager: &str, object: &Object, body: Body) -> Response {
        let target = ObjectRef::of(object);
        let subresource = Subresource::None;
        self.send(manager, Verb::Patch { target, subresource, body })
    }

    fn live(&self, object: &Object) -> Option<Arc<Object>> {
        let meta = &object.meta;
        self.server.get(object.kind, &meta.namespace, &meta.name).cloned()
    }
}

fn object(value: Value) -> Arc<Object> {
    Object::from_value(value).expect("a manifest").into()
}

/// What a manager may want of the Deployment `n/d`; the parts that all of them must name are fixed.
fn wanted() -> impl Strategy<Value = Arc<Object>> {
    let container = (
        proptest::sample::select(vec!["a", "b", "c"]),
        proptest::sample::select(vec!["i:1", "i:2"]),
        proptest::option::of(proptest::sample::select(vec!["1", "1000m", "500m", "0.5"])),
        proptest::collection::btree_map("[AB]", proptest::sample::select(vec!["1", "2"]), 0..3),
        proptest::collection::btree_set(1u16..3, 0..3),
    );
    let labels =
        proptest::collection::btree_map("[xy]", proptest::sample::select(vec!["1", "2"]), 0..3);
    (
        proptest::collection::vec(container, 1..4),
        proptest::option::of(1u8..4),
        labels.clone(),
        labels,
        proptest::collection::btree_set("a[.]b/[de]", 0..3),
    )
        .prop_map(|(containers, replicas, labels, annotations, finalizers)| {
            let mut seen = std::collections::BTreeSet::new();
            let containers: Vec<_> = containers
                .into_iter()
                .filter(|c| seen.insert(c.0))
                .map(|(name, image, cpu, env, ports)| {
                    let mut value = json!({"name": name, "image": image});
                    if let Some(cpu) = cpu {
                        value["resources"] = json!({"limits": {"cpu": cpu}});
                    }
                    if !env.is_empty() {
                        let env = env.iter().map(|(k, v)| json!({"name": k, "value": v}));
                        value["env"] = env.collect();
                    }
                    if !ports.is_empty() {
                        value["ports"] = ports.iter().map(|p| json!({"containerPort": p})).collect();
                    }
                    value
                })
                .collect();
            let mut value = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "d", "namespace": "n"},
                "spec": {
                    "selector": {"matchLabels": {"k": "v"}},
                    "template": {"metadata": {"labels": {"k": "v"}}, "spec": {"containers": containers}},
                },
            });
            if let Some(replicas) = replicas {
                value["spec"]["replicas"] = replicas.into();
            }
            for (key, map) in [("labels", &labels), ("annotations", &annotations)] {
                if !map.is_empty() {
                    value["metadata"][key] = json!(map);
                }
            }
            if !finalizers.is_empty() {
                value["metadata"]["finalizers"] = json!(finalizers);
            }
            object(value)
        })
}

#[derive(Clone, Debug)]
enum Step {
    Apply(&'static str, Arc<Object>),
    Merge(&'static str, Value),
}

fn step() -> impl Strategy<Value = Step> {
    let manager = || proptest::sample::select(vec!["op", "user", "other"]);
    let merge = proptest::sample::select(vec![
        json!({"spec": {"replicas": 7}}),
        json!({"spec": {"replicas": null}}),
        json!({"metadata": {"labels": {"x": "3"}}}),
        json!({"metadata": {"labels": {"x": null}, "annotations": {"y": "1"}}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i:3"}]}}}}),
    ]);
    prop_oneof![
        4 => (manager(), wanted()).prop_map(|(m, w)| Step::Apply(m, w)),
        1 => (manager(), merge).prop_map(|(m, p)| Step::Merge(m, p)),
    ]
}

fn fields_owned<'a>(live: &'a Object, manager: &str) -> Option<&'a ivory_core::ssa::FieldSet> {
    let own = live.meta.managed.iter().find(|m| m.apply && *m.manager == *manager);
    own.map(|m| &*m.fields)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A forced apply changes the object exactly when `would_change` says so, takes exactly its fields,
    /// and does nothing the second time.
    #[test]
    fn a_forced_apply_does_what_would_change_says(steps in proptest::collection::vec(step(), 1..10)) {
        let schema = Schema::builtin(Kind::Deployment).expect("built in");
        let mut cluster = Cluster::new();
        for step in steps {
            match step {
                Step::Apply(manager, wanted) => {
                    let before = cluster.live(&wanted);
                    let says = before.as_ref().map(|live| would_change(schema, &wanted, live, manager));
                    let after = match cluster.apply(manager, &wanted, true) {
                        Ok(reply) => reply.into_object().expect("an object"),
                        Err(status) => {
                            // Others may own a rest of a container that is none without its image.
                            prop_assert_eq!(status.code, 422, "{}", status);
                            prop_assert_eq!(cluster.live(&wanted), before);
                            continue;
                        }
                    };
                    if let (Some(before), Some(says)) = (before, says) {
                        let same = before.meta.resource_version == after.meta.resource_version;
                        prop_assert_eq!(says.is_empty(), same, "{:?}", says);
                    }
                    prop_assert_eq!(fields_owned(&after, manager), Some(&fields_of(schema, &wanted)));
                    let says = would_change(schema, &wanted, &after, manager);
                    let again = cluster.apply(manager, &wanted, true).expect("valid");
                    let again = again.into_object().expect("an object");
                    let same = again.meta.resource_version == after.meta.resource_version;
                    prop_assert_eq!(says.is_empty(), same, "{:?}", says);
                }
                Step::Merge(manager, patch) => {
                    let target = Object::new(Kind::Deployment, "n", "d");
                    let _ = cluster.patch(manager, &target, Body::Merge(patch.into()));
                }
            }
        }
    }

    /// What one manager stops to apply goes, unless another one owns it too.
    #[test]
    fn fields_go_with_their_last_owner(first in wanted(), second in wanted(), other in wanted()) {
        let schema = Schema::builtin(Kind::Deployment).expect("built in");
        let mut cluster = Cluster::new();
        cluster.apply("op", &first, true).expect("valid");
        cluster.apply("other", &other, true).expect("valid");
        let after = cluster.apply("op", &second, true).expect("valid");
        let after = after.into_object().expect("an object");
        let live = fields_of(schema, &after);
        let given_up = fields_of(schema, &first).difference(&fields_of(schema, &second));
        let kept_by_other = given_up.intersection(&fields_of(schema, &other));
        for path in kept_by_other.leaves().paths() {
            prop_assert!(live.paths().contains(&path), "{} is gone", path);
        }
        for path in given_up.difference(&kept_by_other).leaves().paths() {
            // Defaults come back at once; nobody owns them.
            let has_default = [".spec.replicas", ".resources.limits", "protocol"];
            if !has_default.iter().any(|d| path.contains(d)) {
                prop_assert!(!live.paths().contains(&path), "{} is still there", path);
            }
        }
    }

    /// Without force a conflict changes nothing and names another manager; what is granted takes nothing.
    #[test]
    fn a_conflict_changes_nothing(first in wanted(), second in wanted()) {
        let mut cluster = Cluster::new();
        cluster.apply("op", &first, false).expect("valid");
        let before = cluster.live(&first);
        match cluster.apply("user", &second, false) {
            Ok(reply) => {
                let schema = Schema::builtin(Kind::Deployment).expect("built in");
                let after = reply.into_object().expect("an object");
                let changes = compare_objects(schema, &before.expect("applied"), &after);
                let taken = changes.modified.union(&changes.removed).intersection(&fields_of(schema, &first));
                prop_assert!(taken.is_empty(), "{:?}", taken.paths());
            }
            Err(status) => {
                prop_assert_eq!(status.code, 409);
                prop_assert!(status.message.contains("\"op\""), "{}", status);
                prop_assert!(!status.causes.is_empty());
                prop_assert_eq!(cluster.live(&first), before);
            }
        }
    }
}

fn config(name: u8, value: u8) -> Object {
    let mut object = Object::new(Kind::ConfigMap, "n", &format!("m{name}"));
    object.body_mut().insert("data".into(), json!({"v": value.to_string()}));
    object
}

fn list(cluster: &mut Cluster, limit: usize, token: Option<Arc<str>>) -> Response {
    cluster.send(
        "t",
        Verb::List {
            kind: Kind::ConfigMap,
            namespace: Some("n".into()),
            filter: ivory_sim::kube::Filter::default(),
            limit,
            continue_token: token,
        },
    )
}

fn page(reply: Reply) -> (Vec<String>, u64, Option<Arc<str>>, Option<usize>) {
    let Content::List { items, resource_version, continue_token, remaining } = reply.content else {
        panic!("no list");
    };
    let names = items.iter().map(|o| o.meta.name.to_string()).collect();
    (names, resource_version, continue_token, remaining)
}

#[test]
fn pages_show_the_moment_of_the_first_until_it_is_compacted() {
    let mut cluster = Cluster::new();
    for name in 0..5 {
        cluster.send("t", Verb::Create(config(name, 0).into())).expect("created");
    }
    let (names, version, token, remaining) = page(list(&mut cluster, 2, None).expect("a page"));
    assert_eq!((names.as_slice(), remaining), (&["m0".to_owned(), "m1".to_owned()][..], Some(3)));
    let target = ObjectRef::new(Kind::ConfigMap, "n", "m2");
    let options = DeleteOptions::default();
    cluster.send("t", Verb::Delete { target, options }).expect("deleted");
    let (names, later, last, _) = page(list(&mut cluster, 2, token).expect("a page"));
    assert_eq!((names, later), (vec!["m2".to_owned(), "m3".to_owned()], version));
    let (names, _, end, remaining) = page(list(&mut cluster, 2, last.clone()).expect("a page"));
    assert_eq!((names, end, remaining), (vec!["m4".to_owned()], None, None));
    cluster.server.compact();
    let gone = list(&mut cluster, 2, last).expect_err("too old");
    assert_eq!((gone.code, gone.reason), (410, "Expired"));
    let now = cluster.server.resource_version();
    assert!(cluster.server.changes_since(now - 1, None).is_err());
    assert_eq!(cluster.server.changes_since(now, None).expect("now").count(), 0);
}

#[test]
fn a_dry_run_answers_and_stores_nothing() {
    let mut cluster = Cluster::new();
    let version = cluster.server.resource_version();
    let request =
        Request { dry_run: true, ..Request::new("t/1", Verb::Create(config(0, 1).into())) };
    let reply = cluster.server.handle(cluster.now, &mut || 1, &request).expect("granted");
    assert_eq!(reply.code, 201);
    assert_eq!(cluster.server.resource_version(), version);
    assert!(cluster.live(&config(0, 1)).is_none());
}

#[test]
fn pods_need_their_service_account_and_mount_its_token() {
    let mut cluster = Cluster::new();
    let pod = object(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-", "namespace": "n"},
        "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "image": "i:1"}]}}),
    );
    let refused = cluster.send("t", Verb::Create(Arc::clone(&pod))).expect_err("no account");
    assert_eq!(
        refused.to_string(),
        "403 Forbidden: pods \"\" is forbidden: error looking up service account n/sa: serviceaccount \"sa\" not found"
    );
    let account = Object::new(Kind::ServiceAccount, "n", "sa");
    cluster.send("t", Verb::Create(account.into())).expect("created");
    let pod = cluster.send("t", Verb::Create(pod)).expect("created").into_object().expect("a Pod");
    assert!(pod.meta.name.starts_with("p-") && pod.meta.name.len() == 7, "{}", pod.meta.name);
    let mount = &pod.at(&["spec", "containers"]).expect("containers")[0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(pod.at(&["spec", "volumes"]).expect("volumes")[0]["name"], mount["name"]);
}
