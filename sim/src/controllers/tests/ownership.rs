//! The garbage collector, namespaces, and Pods of nodes that are gone or silent.

use std::sync::Arc;

use ivory_core::Kind;

use super::harness::{
    check, check_case, check_status, keys, lines_with, missing, objects, sync, sync_again,
};
use crate::kube::{Content, Reply, Verb};
use crate::time::Span;
use serde_json::json;

const BLOCKING: &str = "- {kind: Pod, name: p, owner: ReplicaSet/r}\n";

#[test]
fn dependents_go_with_their_last_owner() {
    let owner = "- {kind: ReplicaSet, name: r}\n";
    let waiting = "- {kind: ReplicaSet, name: r, deleted: 1, finalizers: [foregroundDeletion]}\n";
    let reborn = "- {kind: ReplicaSet, name: r, uid: other}\n";
    let two = "- {kind: Secret, name: s, plain: 'IvoryCluster/a,IvoryCluster/b'}\n";
    let a = "- {kind: IvoryCluster, name: a}\n";
    let with_dependent = "- {kind: ReplicaSet, name: r, owner: Deployment/d}\n- {kind: Pod, name: p, owner: ReplicaSet/r}\n";
    let deployment =
        "- {kind: Deployment, name: d, deleted: 1, finalizers: [foregroundDeletion]}\n";
    for (what, about, yaml, expected) in [
        ("owned", "Pod/p", format!("{BLOCKING}{owner}"), &[][..]),
        ("the owner is gone", "Pod/p", BLOCKING.into(), &["get ReplicaSet r", "delete Pod p"]),
        (
            "the owner is another",
            "Pod/p",
            format!("{BLOCKING}{reborn}"),
            &["get ReplicaSet r", "delete Pod p"],
        ),
        ("the owner waits", "Pod/p", format!("{BLOCKING}{waiting}"), &["delete Pod p"]),
        ("going already", "Pod/p", BLOCKING.replace("name: p,", "name: p, deleted: 1,"), &[]),
        ("no owner", "Pod/p", "- {kind: Pod, name: p}\n".into(), &[]),
        (
            "one of two lives",
            "Secret/s",
            format!("{two}{a}"),
            &["get IvoryCluster b", "update Secret s"],
        ),
        (
            "both are gone",
            "Secret/s",
            two.into(),
            &["get IvoryCluster a", "get IvoryCluster b", "delete Secret s"],
        ),
        (
            "an unknown kind keeps it",
            "Pod/p",
            BLOCKING.replace("ReplicaSet/r", "Event/e"),
            &["get Event e", "delete Pod p"],
        ),
        (
            "in the middle of a cascade",
            "ReplicaSet/r",
            format!("{with_dependent}{deployment}"),
            &["delete ReplicaSet r Foreground"],
        ),
        ("foreground, blocked", "ReplicaSet/r", format!("{waiting}{BLOCKING}"), &["delete Pod p"]),
        (
            "foreground, blocked by one that goes",
            "ReplicaSet/r",
            format!("{waiting}{}", BLOCKING.replace("name: p,", "name: p, deleted: 1,")),
            &[],
        ),
        ("foreground, free", "ReplicaSet/r", waiting.into(), &["update ReplicaSet r"]),
        (
            "foreground, not blocking",
            "ReplicaSet/r",
            format!("{waiting}{}", BLOCKING.replace("owner:", "plain:")),
            &["update ReplicaSet r"],
        ),
        (
            "orphan",
            "ReplicaSet/r",
            format!("{}{BLOCKING}", waiting.replace("foregroundDeletion", "orphan")),
            &["update Pod p", "update ReplicaSet r"],
        ),
    ] {
        check_case(what, "garbage-collector", about, &yaml, expected);
    }
    // An owner that the cache lacks, but the API server has, keeps its dependent.
    let sync = sync("garbage-collector", "Pod/p", BLOCKING);
    let live = objects(owner).remove(0);
    let lines = lines_with(&sync, |_| {
        Ok(Reply {
            code: 200,
            content: Content::Object(Arc::new(live.clone())),
            warnings: Vec::new(),
        })
    });
    assert_eq!(lines, ["get ReplicaSet r"]);
    let broken = lines_with(&sync, |_| {
        Err(crate::kube::Status { code: 500, ..missing().expect_err("missing") })
    });
    assert_eq!(broken, ["get ReplicaSet r", "fail"]);
}

#[test]
fn the_collector_wakes_only_for_what_may_have_to_go() {
    let owner = "- {kind: ReplicaSet, name: r}\n";
    let pods = |name: &str| BLOCKING.replace("name: p", &format!("name: {name}"));
    assert_eq!(
        keys("garbage-collector", owner, "[]", &(pods("p") + &pods("q"))),
        ["Pod/p", "Pod/q"]
    );
    assert_eq!(keys("garbage-collector", "[]", BLOCKING, owner), Vec::<String>::new());
    assert_eq!(keys("garbage-collector", "[]", BLOCKING, ""), ["Pod/p"]);
    let waiting = "- {kind: ReplicaSet, name: r, deleted: 1, finalizers: [foregroundDeletion]}\n";
    assert_eq!(keys("garbage-collector", owner, waiting, BLOCKING), ["ReplicaSet/r"]);
    assert_eq!(keys("garbage-collector", BLOCKING, "[]", waiting), ["ReplicaSet/r"]);
}

#[test]
fn a_namespace_ends_when_it_is_empty() {
    let going = "- {kind: Namespace, name: db, deleted: 1, spec: {finalizers: [kubernetes]}}\n";
    let with = |contents: &'static str| {
        let sync = sync("namespace", "Namespace/db", going);
        let inside = objects(contents);
        lines_with(&sync, move |request| {
            let Verb::List { kind, .. } = &request.verb else { panic!("only lists are asked for") };
            let items = inside.iter().filter(|o| o.kind == *kind).cloned().map(Arc::new).collect();
            let content =
                Content::List { items, resource_version: 1, continue_token: None, remaining: None };
            Ok(Reply { code: 200, content, warnings: Vec::new() })
        })
    };
    let writes = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|l| !l.starts_with("list")).collect()
    };
    let empty = with("[]");
    let kinds = Kind::ALL.iter().filter(|k| k.namespaced()).count();
    assert_eq!(empty.len(), 2 * kinds + 1);
    assert_eq!(writes(empty), ["finalize Namespace db"]);
    let pods_first = with("- {kind: Pod, name: p}\n- {kind: Secret, name: s}\n");
    assert_eq!(writes(pods_first), ["delete Pod p"]);
    let others = with(
        "- {kind: Secret, name: s}\n- {kind: ConfigMap, name: c, deleted: 1, finalizers: [x]}\n",
    );
    assert_eq!(writes(others), ["delete Secret s"]);
    check("namespace", "Namespace/db", &going.replace("deleted: 1, ", ""), &[]);
    check("namespace", "Namespace/db", &going.replace("[kubernetes]", "[]"), &[]);
}

#[test]
fn pods_of_vanished_nodes_are_removed() {
    let pod = "- {kind: Pod, name: p, ready: true, spec: {nodeName: n1}}\n";
    check("pod-garbage-collector", "Pod/p", pod, &["get Node n1", "delete Pod p"]);
    check("pod-garbage-collector", "Pod/p", &format!("{pod}- {{kind: Node, name: n1}}\n"), &[]);
    check("pod-garbage-collector", "Pod/p", "- {kind: Pod, name: p}\n", &[]);
}

fn node(name: &str, ready: &str, taints: &str, renewed: &str) -> String {
    format!("- {{kind: Node, name: {name}, spec: {{{taints}}}, status: {{conditions: [{{type: Ready, status: '{ready}'}}]}}}}
- {{kind: Lease, name: {name}, namespace: kube-node-lease, spec: {{renewTime: '2026-01-01T{renewed}Z'}}}}\n")
}

const TAINTS: &str = "taints: [{key: node.kubernetes.io/unreachable, effect: NoSchedule, timeAdded: '2026-01-01T00:50:00Z'}, {key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: '2026-01-01T00:55:00Z'}]";

#[test]
fn silent_nodes_lose_their_pods_in_the_end() {
    let other = node("other", "True", "", "00:59:55");
    let pod = |tolerations: &str, rest: &str| {
        format!(
            "- {{kind: Pod, name: p, {rest}, spec: {{nodeName: n1, tolerations: [{tolerations}]}}}}\n"
        )
    };
    let for_s = |s: i64| {
        format!(
            "{{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: {s}}}"
        )
    };
    let silent = |taints: &str| node("n1", "Unknown", taints, "00:50:00") + &other;
    let cases = [
        ("alive", node("n1", "True", "", "00:59:11") + &other, &[][..]),
        ("just fell silent", node("n1", "True", "", "00:59:10") + &other, &["status Node n1"]),
        ("tainted next", silent(""), &["update Node n1"]),
        (
            "its pods are marked, once",
            node("n1", "True", "", "00:59:10") + &other + &pod(&for_s(301), "ready: true"),
            &["status Node n1", "status Pod p"],
        ),
        // A kubelet that lives after all has the last word.
        ("its kubelet disagrees", silent(TAINTS) + &pod(&for_s(301), "ready: true"), &[]),
        ("patience", silent(TAINTS) + &pod(&for_s(301), "ready: false"), &[]),
        ("no more patience", silent(TAINTS) + &pod(&for_s(300), "ready: false"), &["delete Pod p"]),
        ("none at all", silent(TAINTS) + &pod("", "ready: false"), &["delete Pod p"]),
        ("for ever", silent(TAINTS) + &pod("{operator: Exists}", "ready: false"), &[]),
        ("deleted once", silent(TAINTS) + &pod("", "ready: false, deleted: 1"), &[]),
        ("all are silent: nobody's fault", node("n1", "Unknown", "", "00:50:00"), &[]),
        (
            "all are silent: taints go",
            node("n1", "Unknown", TAINTS, "00:50:00"),
            &["update Node n1"],
        ),
        ("back again", node("n1", "True", TAINTS, "00:59:55") + &other, &["update Node n1"]),
        (
            "not ready by its own word",
            node("n1", "False", "", "00:59:55") + &other,
            &["update Node n1"],
        ),
        (
            "renewed, its kubelet yet to speak",
            node("n1", "Unknown", TAINTS, "00:59:55") + &other,
            &[],
        ),
    ];
    for (what, yaml, expected) in cases {
        let lines = lines_with(&sync("node-lifecycle", "Node/n1", &yaml), |_| missing());
        assert_eq!(lines, expected, "{what}");
    }
    // A mark that failed is made up for.
    let left = silent(TAINTS) + &pod(&for_s(301), "ready: true");
    let again = sync_again("node-lifecycle", "Node/n1", &left, true);
    assert_eq!(lines_with(&again, |_| missing()), ["status Pod p"]);
    let quiet = node("n1", "True", "", "00:59:30") + &other;
    assert_eq!(sync("node-lifecycle", "Node/n1", &quiet).requeue, Some(Span::s(20)));
    check_status(
        "node-lifecycle",
        "Node/n1",
        &(node("n1", "True", "", "00:59:10") + &other),
        &json!({"phase": null}),
    );
    let lease = "- {kind: Lease, name: n1, namespace: kube-node-lease, spec: {renewTime: '2026-01-01T00:59:00Z'}}\n";
    assert_eq!(
        keys("node-lifecycle", lease, &lease.replace("00Z", "10Z"), ""),
        Vec::<String>::new()
    );
}

#[test]
fn orphans_are_adopted_only_by_owners_that_live() {
    let yaml =
        "- {kind: ReplicaSet, name: r, spec: {replicas: 1, selector: {matchLabels: {app: r}}}}
- {kind: Pod, name: p, labels: {app: r}, ready: true}\n";
    let decided = sync("replicaset", "ReplicaSet/r", yaml);
    let with = |owner: &str| {
        let owner = Arc::new(objects(owner).remove(0));
        let lines = lines_with(&decided, |_| {
            let content = Content::Object(owner.clone());
            Ok(Reply { code: 200, content, warnings: Vec::new() })
        });
        lines[..2].join(", ")
    };
    assert_eq!(with("- {kind: ReplicaSet, name: r}\n"), "get ReplicaSet r, update Pod p");
    for other in ["uid: other", "deleted: 1"] {
        let owner = format!("- {{kind: ReplicaSet, name: r, {other}}}\n");
        assert_eq!(with(&owner), "get ReplicaSet r, fail");
    }
}
