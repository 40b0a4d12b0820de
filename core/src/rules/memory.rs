//! Containers that the kernel has ended since they had used up their memory: the condition `OutOfMemory`. Kubelets start them
//! again by themselves, so without being told people see a failover and no cause. It stays as long as their Pods
//! remember it: a higher limit makes new ones.

use serde_json::Value;

use crate::object::Object;
use crate::pass::Pass;
use crate::rules::members::Members;
use crate::rules::status::{condition, remove};

/// The condition's type.
pub const TYPE: &str = "OutOfMemory";
/// The reason in a container's status.
const KILLED: &str = "OOMKilled";

/// Writes the condition.
pub fn tell(pass: &mut Pass<'_>, members: &Members) {
    let of = |m: &crate::rules::members::Member| {
        let killed = m.pods.iter().flat_map(|pod| killed(pod));
        killed.map(|text| format!("{text} of instance {}", m.name)).collect::<Vec<_>>()
    };
    let all: Vec<String> = members.all.values().flat_map(of).collect();
    if all.is_empty() {
        return remove(pass, TYPE);
    }
    let text = format!(
        "the kernel ended what had used up its memory: {}. Raise limits.memory of its resources in \
         spec.instances, or lower what PostgreSQL may use",
        all.join("; ")
    );
    condition(pass, TYPE, Some(true), KILLED, &text);
}

/// The containers of a Pod whose last life ended so, with their limits and when.
fn killed(pod: &Object) -> Vec<String> {
    let list = |path: &[&str]| pod.at(path).and_then(Value::as_array).into_iter().flatten();
    let limit = |name: &str| {
        let container = list(&["spec", "containers"]).find(|c| c["name"] == name);
        container.and_then(|c| c.pointer("/resources/limits/memory")).and_then(Value::as_str)
    };
    let told = |status: &Value| {
        let end = ["/state/terminated", "/lastState/terminated"]
            .into_iter()
            .filter_map(|path| status.pointer(path))
            .find(|end| end["reason"] == KILLED)?;
        let name = status["name"].as_str()?;
        let limit = limit(name).map_or_else(|| "no limit".to_owned(), |l| format!("limit {l}"));
        let at = end["finishedAt"].as_str().unwrap_or("an unknown time");
        Some(format!("container {name} ({limit}, at {at})"))
    };
    list(&["status", "containerStatuses"]).filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;
    use crate::names;
    use crate::test_support::World;

    #[test]
    fn whose_memory_was_used_up_is_told_once_until_its_pod_is_another_one() {
        let mut world = World::settled(1);
        assert_eq!(world.condition(TYPE), None);
        let pod = names::instance_pod(&world.instances()[0]);
        let before = world.the(Kind::Pod, &pod).clone();
        let ended = |reason: &str| json!({"terminated": {"exitCode": 137, "reason": reason, "finishedAt": "2026-03-01T12:00:00Z"}});
        for (reason, expected) in [("Error", None), (KILLED, Some("True"))] {
            world.change(Kind::Pod, &pod, |p| {
                p["status"]["containerStatuses"][0]["lastState"] = ended(reason);
                p["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "512Mi"}});
            });
            world.settle();
            assert_eq!(world.condition(TYPE).map(|c| c.0).as_deref(), expected, "{reason}");
        }
        let message = world.cluster().condition(TYPE).map(|c| c["message"].to_string());
        let message = message.expect("told");
        for part in ["limit 512Mi", "2026-03-01T12:00:00Z", &world.instances()[0]] {
            assert!(message.contains(part), "{message}");
        }
        let warned = |o: &std::sync::Arc<Object>| o.str_at(&["reason"]) == Some(KILLED);
        assert_eq!(world.all(Kind::Event).iter().filter(|e| warned(e)).count(), 1);
        world.put((*before).clone());
        world.settle();
        assert_eq!(world.condition(TYPE), None);
    }
}
