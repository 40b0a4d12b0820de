//! The choice of nodes, table by table.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use super::choose::choose;
use super::claims::{self, Claim};
use super::view::NodeView;

fn object(mut value: Value, kind: &str) -> Object {
    value["kind"] = kind.into();
    if value.get("apiVersion").is_none() {
        value["apiVersion"] = "v1".into();
    }
    Object::from_value(value).expect("an object")
}

fn node(name: &str, change: impl FnOnce(&mut Value)) -> Arc<Object> {
    let mut value = json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{name}"),
        }},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    change(&mut value);
    Arc::new(object(value, "Node"))
}

fn pod(name: &str, spec: Value) -> Arc<Object> {
    let labels = json!({"cluster": "hippo", "data": "ivory"});
    let value = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": labels}, "spec": spec});
    Arc::new(object(value, "Pod"))
}

/// The chosen node's name, or the message.
fn chosen(pod: &Object, nodes: &[(Arc<Object>, Vec<Arc<Object>>)], claims: &[Claim]) -> String {
    let views: Vec<_> =
        nodes.iter().map(|(node, pods)| NodeView::new(node.clone(), pods.clone())).collect();
    match choose(pod, &views, claims) {
        Ok(index) => views[index].node.meta.name.to_string(),
        Err(message) => message,
    }
}

/// Three nodes, of which the third differs; a Pod with this spec, and what comes of it when the first two are full.
fn on_the_third(spec: Value, change: impl FnOnce(&mut Value), expected: &str) {
    let full = |n: &str| {
        let big = json!({"containers": [{"resources": {"requests": {"cpu": "4"}}}]});
        (node(n, |_| ()), vec![pod(&format!("big-{n}"), big)])
    };
    let nodes = [full("a"), full("b"), (node("c", change), vec![])];
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"resources": {"requests": {"cpu": "500m"}}}]);
    }
    assert_eq!(chosen(&pod("new", spec), &nodes, &[]), expected);
}

#[test]
fn filters_and_their_words() {
    let set = |path: &'static str, value: Value| {
        move |node: &mut Value| *node.pointer_mut(path).expect("a path") = value
    };
    on_the_third(json!({}), |_| (), "c");
    on_the_third(
        json!({"containers": [{"resources": {"requests": {"cpu": "5", "memory": "9Gi"}}}]}),
        |_| (),
        "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory.",
    );
    on_the_third(
        json!({}),
        set("/status/allocatable/pods", "0".into()),
        "0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.",
    );
    let tainted =
        set("/spec", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}));
    on_the_third(
        json!({}),
        tainted.clone(),
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu.",
    );
    for toleration in [
        json!({"key": "k", "value": "v"}),
        json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}),
        json!({"operator": "Exists"}),
    ] {
        on_the_third(json!({"tolerations": [toleration]}), tainted.clone(), "c");
    }
    let refused =
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu.";
    on_the_third(json!({"tolerations": [{"key": "k", "value": "w"}]}), tainted, refused);
    on_the_third(
        json!({}),
        set("/spec", json!({"unschedulable": true})),
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.",
    );
    on_the_third(json!({"nodeSelector": {"kubernetes.io/hostname": "c"}}), |_| (), "c");
    on_the_third(
        json!({"nodeSelector": {"disk": "ssd"}}),
        |_| (),
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
    );
    let affinity = |operator: &str| {
        let expression =
            json!({"key": "kubernetes.io/hostname", "operator": operator, "values": ["c"]});
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    };
    on_the_third(affinity("In"), |_| (), "c");
    on_the_third(
        affinity("NotIn"),
        |_| (),
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient cpu.",
    );
    assert_eq!(chosen(&pod("p", json!({})), &[], &[]), "no nodes available to schedule pods");
}

fn anti_affinity(kind: &str) -> Value {
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"cluster": "hippo"}}});
    let rules = if kind == "required" {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]})
    } else {
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]})
    };
    json!({"affinity": {"podAntiAffinity": rules}})
}

/// The operator's own constraints.
fn spread(when: &str) -> Value {
    let constraint = |key: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"cluster": "hippo"}, "matchExpressions": [
                {"key": "data", "operator": "In", "values": ["ivory", "pgbackrest"]}]},
        })
    };
    json!({"topologySpreadConstraints": [
        constraint("kubernetes.io/hostname"), constraint("topology.kubernetes.io/zone")]})
}

/// Places Pods of one spec one after the other, and says how many came to each node, or what the last was told.
fn place(spec: &Value, count: usize, change: fn(&mut Value)) -> Result<Vec<usize>, String> {
    let mut nodes: Vec<_> = ["a", "b", "c"].map(|n| (node(n, change), vec![])).into();
    for i in 0..count {
        let pod = pod(&format!("p{i}"), spec.clone());
        let name = chosen(&pod, &nodes, &[]);
        let place = nodes.iter_mut().find(|(n, _)| *n.meta.name == *name).ok_or(name)?;
        place.1.push(pod);
    }
    Ok(nodes.iter().map(|(_, pods)| pods.len()).collect())
}

#[test]
fn pods_spread() {
    let same_zone =
        |node: &mut Value| node["metadata"]["labels"]["topology.kubernetes.io/zone"] = "z".into();
    let no_zone = |node: &mut Value| {
        node["metadata"]["labels"]
            .as_object_mut()
            .expect("a map")
            .remove("topology.kubernetes.io/zone");
    };
    for change in [|_: &mut Value| (), same_zone] {
        assert_eq!(place(&spread("ScheduleAnyway"), 5, change), Ok(vec![2, 2, 1]));
    }
    // A huge node attracts everything but what is to be spread.
    let huge = |node: &mut Value| {
        if node["metadata"]["name"] == "c" {
            node["status"]["allocatable"] = json!({"cpu": "400", "memory": "800Gi", "pods": "110"});
        }
    };
    let plain = json!({"containers": [{}]});
    assert_eq!(place(&plain, 5, huge), Ok(vec![0, 0, 5]));
    for mut spec in [spread("ScheduleAnyway"), anti_affinity("preferred")] {
        // Without a container a Pod weighs nothing, and the huge node would attract nothing.
        spec["containers"] = json!([{}]);
        assert_eq!(place(&spec, 5, huge), Ok(vec![2, 1, 2]));
    }
    assert_eq!(place(&spread("DoNotSchedule"), 5, |_| ()), Ok(vec![2, 2, 1]));
    assert_eq!(
        place(&spread("DoNotSchedule"), 1, no_zone),
        Err("0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).".into())
    );
    assert_eq!(place(&anti_affinity("preferred"), 5, |_| ()), Ok(vec![2, 2, 1]));
    assert_eq!(place(&anti_affinity("required"), 3, |_| ()), Ok(vec![1, 1, 1]));
    assert_eq!(
        place(&anti_affinity("required"), 4, |_| ()),
        Err("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.".into())
    );
    // Without any rule the freest node wins all the same.
    assert_eq!(place(&json!({"containers": [{}]}), 3, |_| ()), Ok(vec![1, 1, 1]));
}

#[test]
fn a_full_node_makes_hard_spread_impossible() {
    let big = json!({"containers": [{"resources": {"requests": {"cpu": "4"}}}]});
    let mine = |n: &str| pod(n, json!({}));
    let nodes = [
        (node("a", |_| ()), vec![mine("p0")]),
        (node("b", |_| ()), vec![mine("p1")]),
        (
            node("c", |_| ()),
            vec![Arc::new({
                let mut other = (*pod("other", big)).clone();
                other.meta.labels = Arc::default();
                other
            })],
        ),
    ];
    let mut spec = spread("DoNotSchedule");
    spec["containers"] = json!([{"resources": {"requests": {"cpu": "1"}}}]);
    assert_eq!(
        chosen(&pod("p2", spec), &nodes, &[]),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match pod topology spread constraints."
    );
}

#[test]
fn anti_affinity_holds_both_ways_and_affinity_needs_company() {
    let guarded = pod("guarded", anti_affinity("required"));
    let nodes = [(node("a", |_| ()), vec![guarded.clone()])];
    assert_eq!(
        chosen(&pod("plain", json!({})), &nodes, &[]),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    let near = |label: &str| {
        let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"cluster": label}}});
        let spec = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
        pod("near", spec)
    };
    let nodes = [(node("a", |_| ()), vec![]), (node("b", |_| ()), vec![pod("p", json!({}))])];
    assert_eq!(chosen(&near("hippo"), &nodes, &[]), "b");
    assert_eq!(
        chosen(&near("rhino"), &nodes, &[]),
        "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."
    );
    // The first of its kind may go anywhere.
    assert_eq!(chosen(&near("hippo"), &[(node("a", |_| ()), vec![])], &[]), "a");
}

#[test]
fn claims_bind_pods_to_nodes() {
    let on = |n: &str| {
        let terms = json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [n]}]}]);
        json!({"required": {"nodeSelectorTerms": terms}})
    };
    let objects: BTreeMap<_, _> = [
        object(json!({"metadata": {"name": "pv-b"}, "spec": {"nodeAffinity": on("b")}}), "PersistentVolume"),
        object(json!({"metadata": {"name": "bound", "namespace": "ns"}, "spec": {"volumeName": "pv-b"}, "status": {"phase": "Bound"}}), "PersistentVolumeClaim"),
        object(json!({"metadata": {"name": "lost", "namespace": "ns"}, "spec": {"volumeName": "pv-x"}, "status": {"phase": "Bound"}}), "PersistentVolumeClaim"),
        object(json!({"metadata": {"name": "later", "namespace": "ns"}, "spec": {"storageClassName": "wait"}}), "PersistentVolumeClaim"),
        object(json!({"metadata": {"name": "chosen", "namespace": "ns", "annotations": {claims::SELECTED_NODE: "c"}}, "spec": {"storageClassName": "wait"}}), "PersistentVolumeClaim"),
        object(json!({"metadata": {"name": "now", "namespace": "ns"}, "spec": {}}), "PersistentVolumeClaim"),
        object(json!({"metadata": {"name": "dying", "namespace": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}), "PersistentVolumeClaim"),
        object(json!({"apiVersion": "storage.k8s.io/v1", "metadata": {"name": "wait"}, "volumeBindingMode": "WaitForFirstConsumer"}), "StorageClass"),
    ]
    .into_iter()
    .map(|o| ((o.kind, o.meta.name.to_string()), Arc::new(o)))
    .collect();
    let find = |kind: Kind, _: &str, name: &str| objects.get(&(kind, name.to_owned())).cloned();
    let nodes: Vec<_> = ["a", "b", "c"].map(|n| (node(n, |_| ()), vec![])).into();
    let check = |claim: &str, expected: &str| {
        let spec = json!({"volumes": [{"persistentVolumeClaim": {"claimName": claim}}]});
        let pod = pod("p", spec);
        let found = match claims::of(&pod, &find) {
            Ok(claims) => chosen(&pod, &nodes, &claims),
            Err(why) => super::choose::unavailable(3, &why),
        };
        assert_eq!(found, expected, "{claim}");
    };
    check("bound", "b");
    check("later", "a");
    check("chosen", "c");
    check(
        "lost",
        "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).",
    );
    check("now", "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    check("dying", "0/3 nodes are available: persistentvolumeclaim \"dying\" is being deleted.");
    check("none", "0/3 nodes are available: persistentvolumeclaim \"none\" not found.");
}
