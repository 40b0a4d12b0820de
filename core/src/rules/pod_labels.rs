//! The labels by which a StatefulSet knows its Pod. A Pod that lost one is let go by its StatefulSet, which can't make
//! another of that name, and Patroni no longer finds the member: it gets them back.

use std::collections::BTreeMap;

use crate::kind::Kind;
use crate::names;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};

/// Gives each instance's Pod the labels that its StatefulSet selects by, and names Pods of others that stand in an
/// instance's way.
pub fn restore(pass: &mut Pass<'_>, members: &Members) {
    for member in members.with_workload() {
        if let Some(pod) = member.pod() {
            let lost = lost(member);
            if !lost.is_empty() {
                let keys: Vec<_> = lost.keys().map(String::as_str).collect();
                let text = format!(
                    "Pod {} lost {}, by which its StatefulSet knows it",
                    pod.meta.name,
                    keys.join(", ")
                );
                let reason = Reason::Because { word: "LabelsLost", text };
                pass.relabel(Step::Instances, reason, pod, &lost);
            }
        } else if member.pods.is_empty() {
            stranger(pass, member);
        }
    }
}

/// The labels that the Pod of an instance should have and has not.
fn lost(member: &Member) -> BTreeMap<String, String> {
    let selector = member
        .stateful_set
        .as_ref()
        .and_then(|s| s.at(&["spec", "selector", "matchLabels"])?.as_object());
    let wanted = selector.into_iter().flatten().filter_map(|(k, v)| Some((k, v.as_str()?)));
    let pod = member.pod();
    wanted
        .filter(|(key, value)| pod.is_some_and(|p| p.label(key) != Some(*value)))
        .map(|(key, value)| (key.clone(), value.to_owned()))
        .collect()
}

/// A Pod of the instance's Pod's name that is not the instance's.
fn stranger(pass: &mut Pass<'_>, member: &Member) {
    let name = names::instance_pod(&member.name);
    let found = match pass.observed.one(Kind::Pod, &name) {
        Read::Known(pod) => !pod.terminating(),
        Read::Absent | Read::Unknown(_) => false,
    };
    if found {
        let text = format!(
            "Pod {name} is not of instance {}, which needs the name: delete it, or give it another",
            member.name
        );
        pass.block(Step::Instances, "NameTaken", text);
    }
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
            let pod = names::instance_pod(&world.leader());
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
}
