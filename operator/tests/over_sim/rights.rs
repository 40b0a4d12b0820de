//! The generated roles against what the shell asks for in a whole life of a cluster: no verb is missing, and
//! none is there that nobody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ivory_core::{Kind, labels};
use ivory_operator::rbac;
use ivory_sim::kube::{Body, ObjectRef, Subresource, Verb};
use ivory_sim::lab::NAMESPACE;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::rig::Rig;
use ivory_face::Told;

/// Group, resource with subresource, verb.
type Right = (String, String, String);

/// Read back from the printed files, independently of how they were written.
fn printed() -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for file in rbac::FILES {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&(file.text)()).expect("YAML");
        for rule in documents.iter().filter_map(|d| d["rules"].as_array()).flatten() {
            let texts = |key: &str| {
                let list = rule[key].as_array().expect("a list").clone();
                list.into_iter().map(|t| t.as_str().expect("text").to_owned()).collect::<Vec<_>>()
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    for verb in texts("verbs") {
                        all.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    all
}

/// What the API server's authorizer asks for before it grants a request.
fn needed(told: &Told) -> Vec<Right> {
    let asked = &told.asked;
    let right =
        |verb: &str| (asked.kind.group().to_owned(), asked.resource.clone(), verb.to_owned());
    match (asked.verb, asked.resource.as_str()) {
        // A WebSocket is a GET, which newer API servers want to see permitted as `create`.
        (_, "pods/exec") => vec![right("get"), right("create")],
        // An apply of what is not there yet.
        ("patch", _) if told.code == Some(201) => vec![right("patch"), right("create")],
        (verb, _) => vec![right(verb)],
    }
}

/// Rights that no story uses, each with its reason.
fn unused_for_a_reason() -> BTreeMap<Right, &'static str> {
    let right = |kind: Kind, below: &str, verb: &str| {
        let resource = format!("{}{below}", kind.plural());
        (kind.group().to_owned(), resource, verb.to_owned())
    };
    let mut all: BTreeMap<Right, &'static str> = rbac::passed_on()
        .into_iter()
        .map(|right| (right, "held only to be handed on to instances and backup Jobs"))
        .collect();
    all.insert(
        right(Kind::IvoryCluster, "/finalizers", "update"),
        "asked for by OwnerReferencesPermissionEnforcement alone",
    );
    all
}

#[tokio::test(start_paused = true)]
async fn the_roles_hold_what_is_asked_for_and_nothing_else() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 3).await;
    // The first backup fails, and is made anew.
    rig.until("a backup", |rig| !rig.all(Kind::Job).is_empty()).await;
    let target = ObjectRef::of(&rig.all(Kind::Job)[0]);
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
    let body = Body::Merge(Arc::new(failed));
    rig.kubectl(Verb::Patch { target, subresource: Subresource::Status, body }).await;
    rig.settled("hippo").await;
    // What lost its label is found by its name, and gets it back.
    for (kind, name) in [(Kind::Secret, "hippo-cluster-cert"), (Kind::ConfigMap, "hippo-config")] {
        let body = json!({"metadata": {"labels": {labels::CLUSTER: null}}});
        let (target, body) = (ObjectRef::new(kind, NAMESPACE, name), Body::Merge(Arc::new(body)));
        rig.kubectl(Verb::Patch { target, subresource: Subresource::None, body }).await;
        let labelled =
            |rig: &Rig| rig.get(kind, name).is_some_and(|o| o.label(labels::CLUSTER).is_some());
        rig.until("its label", labelled).await;
    }
    // Every Pod is made anew.
    let mut spec = crate::rig::cluster("hippo", 3)["spec"].clone();
    spec["instances"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    rig.change("hippo", json!({"spec": spec})).await;
    sleep(Duration::from_secs(30)).await;
    rig.settled("hippo").await;
    let set = |replicas: u32| {
        let mut spec = crate::rig::cluster("hippo", replicas)["spec"].clone();
        spec["patroni"] =
            json!({"dynamicConfiguration": {"postgresql": {"parameters": {"work_mem": "8MB"}}}});
        json!({"spec": spec})
    };
    rig.change("hippo", set(1)).await;
    sleep(Duration::from_secs(30)).await;
    rig.settled("hippo").await;
    rig.delete("hippo").await;
    rig.until("its end", |rig| rig.get(Kind::IvoryCluster, "hippo").is_none()).await;
    sleep(Duration::from_secs(60)).await;
    operator.stop().await;

    let (printed, told) = (printed(), rig.faults.told());
    let used: BTreeSet<Right> = told.iter().flat_map(needed).collect();
    let missing: Vec<&Right> = used.difference(&printed).collect();
    assert!(missing.is_empty(), "not granted: {missing:#?}");
    let reasons = unused_for_a_reason();
    let unused: Vec<&Right> =
        printed.difference(&used).filter(|right| !reasons.contains_key(*right)).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
