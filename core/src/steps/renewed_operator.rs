//! A renewed operator meets what a former one rendered. Nothing restarts while the templates are the same, and where they
//! differ, each cluster takes its instances one at a time.

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::test_support::{World, spec, taken};
use crate::{Kind, names};

/// The Pod templates of a cluster that uses much of the spec, by workload.
fn templates() -> String {
    let mut spec = spec(1);
    spec["instances"][0]["walVolumeClaimSpec"] = crate::test_support::claim("1Gi");
    spec["instances"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    spec["backups"]["pgbackrest"]["jobs"] = json!({"priorityClassName": "low"});
    let mut world = World::new(spec);
    world.settle();
    let mut all = serde_json::Map::new();
    for (kind, name) in [Kind::StatefulSet, Kind::Job]
        .into_iter()
        .flat_map(|kind| world.all(kind).into_iter().map(move |o| (kind, o.meta.name.to_string())))
    {
        let template = world.the(kind, &name).at(&["spec", "template"]).cloned();
        all.insert(format!("{kind} {name}"), template.unwrap_or_default());
    }
    let text = serde_json::to_string_pretty(&Value::Object(all)).expect("JSON");
    let uid = world.cluster().meta.uid.to_string();
    text.replace(&uid, "<uid of the cluster>")
}

/// What the last operator rendered is in the snapshot. A difference restarts every Pod of every cluster of everybody who
/// renews the operator: it is to be meant, and then the snapshot changes along with it.
#[test]
fn pod_templates_are_those_of_the_former_operator() {
    let text = templates();
    assert!(!text.contains(env!("CARGO_PKG_VERSION")), "a template names the operator's version");
    insta::with_settings!({
        snapshot_path => "../../tests/fixtures",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!("pod-templates", text);
    });
}

#[test]
fn a_renewed_operator_that_knows_nothing_writes_nothing() {
    let mut world = World::settled(3);
    world.memos = Some(crate::memo::Memos::default());
    assert_eq!(world.plan().writes.len(), 0);
}

/// A renewed operator has other images, so every template differs.
#[test]
fn where_templates_differ_instances_go_one_at_a_time() {
    let mut from_variables = spec(3);
    from_variables.as_object_mut().expect("a map").remove("image");
    let mut world = World::new(from_variables);
    let image = |world: &mut World, image: &str| {
        world.config.images.insert("RELATED_IMAGE_IVORY_18".into(), image.into());
    };
    image(&mut world, "example.org/database:1");
    world.settle();
    image(&mut world, "example.org/database:2");
    let mut gone: Vec<String> = Vec::new();
    world.settle_with(|world: &mut World, plan: &Plan| {
        let pods: Vec<String> = taken(plan).into_iter().filter(|d| d.starts_with("Pod ")).collect();
        assert!(pods.len() <= 1, "{pods:?}");
        if !pods.is_empty() {
            let ready = |i: &String| {
                let pod = world.get(Kind::Pod, &names::instance_pod(i));
                pod.is_some_and(|p| p.condition_true("Ready"))
            };
            assert!(world.instances().iter().all(ready), "{pods:?} while another is down");
        }
        gone.extend(pods);
    });
    let mut each = gone.clone();
    each.sort();
    each.dedup();
    assert_eq!((gone.len(), each.len()), (3, 3), "each once: {gone:?}");
}
