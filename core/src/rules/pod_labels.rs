//! The labels by which a StatefulSet knows its Pod. A Pod that lost one is let go by its StatefulSet, which can't make
//! another of that name, and Patroni no longer finds the member: it gets them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kind;
use crate::labels;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::Members;

/// Gives each Pod the labels that its StatefulSet selects by, and names Pods of others that stand in the way.
pub fn restore(pass: &mut Pass<'_>, members: &Members) {
    let hosts = pass.observed.labelled(Kind::StatefulSet).known().copied().unwrap_or_default();
    let hosts = hosts.iter().filter(|w| w.label(labels::PGBACKREST_DEDICATED).is_some());
    let instances = members.with_workload().filter_map(|m| m.stateful_set.as_ref());
    let workloads: Vec<Arc<Object>> = instances.chain(hosts).cloned().collect();
    for workload in workloads {
        let name = names::pod_of(&workload.meta.name);
        let pod = match pass.observed.find(Kind::Pod, &name) {
            Read::Known(pod) if !pod.terminating() => pod.clone(),
            Read::Known(_) | Read::Absent | Read::Unknown(_) => continue,
        };
        if !belong(&workload, &pod) {
            let text = format!(
                "Pod {name} is not of StatefulSet {}, which needs the name: delete it, or give it another",
                workload.meta.name
            );
            pass.block(Step::Instances, "NameTaken", text);
            continue;
        }
        let lost = lost(&workload, &pod);
        if !lost.is_empty() {
            let keys: Vec<_> = lost.keys().map(String::as_str).collect();
            let keys = keys.join(", ");
            let text = format!("Pod {name} lost {keys}, by which its StatefulSet knows it");
            let reason = Reason::Because { word: "LabelsLost", text };
            pass.relabel(Step::Instances, reason, &pod, &lost);
        }
    }
}

/// Whether a Pod of the name that a StatefulSet's has is the StatefulSet's, whatever its labels say: it is owned by
/// it, or by nobody and has one of its volumes, or what is left of the labels.
#[must_use]
pub fn belong(workload: &Object, pod: &Object) -> bool {
    if let Some(owner) = pod.controller() {
        return owner.uid == workload.meta.uid;
    }
    let template = workload.at(&["spec", "template", "spec", "volumes"]).and_then(Value::as_array);
    let claim =
        |v: &Value| v.pointer("/persistentVolumeClaim/claimName")?.as_str().map(str::to_owned);
    let claims: Vec<String> = template.into_iter().flatten().filter_map(claim).collect();
    match claims.is_empty() {
        true => selected_by(workload).any(|(key, value)| pod.label(key) == Some(value)),
        // A newer template may have more of them.
        false => claims.iter().any(|c| pod.mounts_claim(c)),
    }
}

/// The labels that a StatefulSet selects by.
fn selected_by(workload: &Object) -> impl Iterator<Item = (&str, &str)> {
    let selector = workload.at(&["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    selector.into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}

/// The labels that a Pod should have and has not.
fn lost(workload: &Object, pod: &Object) -> BTreeMap<String, String> {
    selected_by(workload)
        .filter(|(key, value)| pod.label(key) != Some(value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::plan::{Op, Plan};
    use crate::test_support::{World, texts};
    use crate::{Kind, labels, names};

    fn relabelled(plan: &Plan) -> Vec<(String, serde_json::Value)> {
        let patches = plan.writes.iter().filter_map(|w| match &w.op {
            Op::MergePatch { kind: Kind::Pod, name, patch, .. } => {
                Some((name.clone(), patch["metadata"]["labels"].clone()))
            }
            _ => None,
        });
        patches.collect()
    }

    #[test]
    fn a_label_that_a_stranger_took_or_changed_comes_back() {
        for (key, value) in [
            (labels::CLUSTER, None),
            (labels::CLUSTER, Some("other")),
            (labels::INSTANCE, None),
            (labels::INSTANCE, Some("other")),
            (labels::INSTANCE_SET, None),
        ] {
            let mut world = World::settled(2);
            let pod = names::pod_of(&world.leader());
            let was = world.the(Kind::Pod, &pod).label(key).map(str::to_owned);
            world.change(Kind::Pod, &pod, |p| {
                let labels = p["metadata"]["labels"].as_object_mut().expect("labels");
                match value {
                    Some(value) => labels.insert(key.to_owned(), value.into()),
                    None => labels.remove(key),
                };
            });
            let plan = world.plan();
            let expected = vec![(pod.clone(), serde_json::json!({key: was}))];
            assert_eq!(relabelled(&plan), expected, "{key} {value:?}: {:#?}", texts(&plan));
            world.settle();
            assert_eq!(world.the(Kind::Pod, &pod).label(key), was.as_deref());
        }
    }

    #[test]
    fn the_repository_hosts_pod_is_none_the_worse() {
        let mut world = World::settled(1);
        let pod = names::pod_of(&names::repo_host("hippo"));
        world.change(Kind::Pod, &pod, |p| {
            p["metadata"]["labels"].as_object_mut().expect("labels").remove(labels::CLUSTER);
        });
        let plan = world.plan();
        assert_eq!(relabelled(&plan).len(), 1, "{:#?}", texts(&plan));
        assert_eq!(relabelled(&plan)[0].0, pod);
        world.settle();
        assert_eq!(world.the(Kind::Pod, &pod).label(labels::CLUSTER), Some("hippo"));
    }

    #[test]
    fn a_strangers_pod_is_left_alone_and_named() {
        let mut world = World::settled(2);
        let instance = world.replicas()[0].clone();
        let pod = names::instance_pod(&instance);
        world.remove(Kind::Pod, &pod);
        world.put(crate::Object::new(Kind::Pod, world.cluster().meta.namespace.as_ref(), &pod));
        let plan = world.plan();
        assert_eq!(relabelled(&plan), []);
        let said = format!("{:?}", plan.report.lines);
        assert!(said.contains("NameTaken") && said.contains(&pod), "{said}");
    }

    #[test]
    fn a_pod_on_its_way_out_gets_nothing_back() {
        let mut world = World::settled(2);
        let pod = names::pod_of(&world.leader());
        world.dead.insert(pod.clone());
        world.delete(Kind::Pod, &pod);
        world.strip(Kind::Pod, &pod, labels::INSTANCE_SET);
        assert_eq!(relabelled(&world.plan()), []);
    }
}
