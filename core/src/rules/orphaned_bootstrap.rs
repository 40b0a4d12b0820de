//! A bootstrap whose member died before it was through. Patroni's record then names no system identifier, only that
//! somebody bootstraps (`initialize` is empty), and every member waits for ever for a leader
//! (`reference/patroni.md` §2.3). Who bootstrapped runs in a Pod that is older than that word. So once there are Pods and
//! all are younger, nobody does any more, and the word can go: the members race anew. That no Pod is seen proves nothing,
//! since the read may be old; that one is seen which is younger proves that no older one was overlooked, since a watch
//! tells of Pods in the order in which they came.
//!
//! It never touches a cluster that was bootstrapped once, and no data: what is in a volume stays there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::kind::Kind;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::patroni::status::Status;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::rollout;

/// How long every member says that it has nothing and does nothing, before one is believed to have died. A member
/// that bootstraps says so in its next loop, which comes after 10 s or `loop_wait`.
const PATIENCE: Duration = Duration::from_secs(120);

/// Renews the Pods that may have begun the bootstrap, one at a time, then takes the word back.
pub fn resolve(pass: &mut Pass<'_>, members: &Members) {
    let leads = members.lease.is_some() || members.all.values().any(Member::labelled_leader);
    if members.bootstrapped() || leads || !members.foreign.is_empty() {
        return;
    }
    let scope = names::scope_config(&pass.cluster.name);
    let Read::Known(record) = pass.observed.find(Kind::Endpoints, &scope) else { return };
    if record.terminating() || record.annotation("initialize") != Some("") {
        return;
    }
    let record = record.clone();
    let Some(written) = record.last_change() else { return };
    let older = |pod: &Object| pod.meta.created_at.is_none_or(|at| at <= written);
    let pods = members.all.values().flat_map(|m| m.pods.iter().map(move |p| (m, p)));
    let suspects: Vec<(&Member, &Arc<Object>)> = pods.filter(|(_, p)| older(p)).collect();
    if suspects.is_empty() {
        if members.all.values().all(|m| m.pods.is_empty()) {
            return;
        }
        let text =
            "the member that bootstrapped the cluster is gone, and wrote no system identifier";
        let reason = Reason::Because { word: "BootstrapLost", text: text.into() };
        let patch = json!({"metadata": {"annotations": {"initialize": null}}});
        return pass.patch_as_read(Step::Patroni, reason, &record, patch);
    }
    let passed_s = pass.context.now.as_second() - written.as_second();
    let left_s = PATIENCE.as_secs().saturating_sub(u64::try_from(passed_s).unwrap_or(0));
    if left_s > 0 {
        return pass.look_again(Duration::from_secs(left_s));
    }
    // One instance goes down at a time, and none beside another step.
    let goes = suspects.iter().any(|(_, pod)| pod.terminating());
    if goes || pass.writes_in(&[Step::Instances, Step::Rollout]) || !suspects.iter().all(idle) {
        return;
    }
    let (member, pod) = suspects[0];
    let text = format!(
        "nobody bootstraps the cluster, though a member began to: instance {} starts anew",
        member.name
    );
    rollout::delete(pass, pod, Reason::Because { word: "BootstrapLost", text });
}

/// Whether a Pod never came to a node, or its Patroni says that it has no data and does nothing.
fn idle((_, pod): &(&Member, &Arc<Object>)) -> bool {
    let status = pod.annotation(crate::patroni::status::ANNOTATION).and_then(Status::parse);
    match status {
        Some(status) => status.waits_for_data(),
        None => pod.str_at(&["spec", "nodeName"]).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use crate::plan::{Op, Plan};
    use crate::reads::reads;
    use crate::test_support::{World, deletes};
    use crate::{Kind, labels, names};

    const RECORD: &str = "hippo-ha-config";
    const IDLE: &str = r#"{"state": "stopped", "role": "uninitialized"}"#;

    /// Two instances that wait for a leader, since one took the key and died: now, and the Pods are older than that.
    fn stuck() -> World {
        let mut world = World::settled(2);
        world.change(Kind::IvoryCluster, "hippo", |c| c["status"] = json!({}));
        world.remove(Kind::Endpoints, "hippo-ha");
        for instance in world.instances() {
            say(&mut world, &instance, IDLE);
        }
        world.now += SignedDuration::from_secs(60);
        write(&mut world, json!({"initialize": ""}));
        let settings = world.plan();
        world.execute(&settings, usize::MAX).expect("no refusal");
        world
    }

    fn say(world: &mut World, instance: &str, status: &str) {
        world.change(Kind::Pod, &names::instance_pod(instance), |p| {
            p["metadata"]["annotations"]["status"] = status.into();
            p["metadata"]["labels"].as_object_mut().expect("labels").remove(labels::ROLE);
        });
    }

    /// Patroni writes its record, now.
    fn write(world: &mut World, annotations: Value) {
        let now = world.now.to_string();
        world.change(Kind::Endpoints, RECORD, |e| {
            e["metadata"]["annotations"] = annotations;
            e["metadata"]["managedFields"] = json!([{"manager": "Patroni", "operation": "Update",
                "apiVersion": "v1", "time": now, "fieldsType": "FieldsV1", "fieldsV1": {}}]);
        });
    }

    fn released(plan: &Plan) -> Vec<&Value> {
        let patch = |op| match op {
            &Op::MergePatch { kind: Kind::Endpoints, ref patch, .. } => Some(patch),
            _ => None,
        };
        plan.writes.iter().filter_map(|w| patch(&w.op)).collect()
    }

    /// The Pods that go, and whether the word is taken back.
    fn done(plan: &Plan) -> (Vec<String>, bool) {
        let pods = deletes(plan).into_iter().filter(|d| d.starts_with("Pod ")).collect();
        (pods, !released(plan).is_empty())
    }

    #[test]
    fn the_word_goes_when_every_pod_is_younger() {
        let mut world = stuck();
        let pods: Vec<_> = world.instances().iter().map(|i| names::instance_pod(i)).collect();
        assert_eq!(done(&world.plan()), (vec![], false), "somebody may be at it");
        world.now += SignedDuration::from_secs(119);
        assert_eq!(done(&world.plan()), (vec![], false));
        world.now += SignedDuration::from_secs(1);
        for (index, pod) in pods.iter().enumerate() {
            assert_eq!(done(&world.plan()), (vec![format!("Pod {pod}")], false), "{index}");
            world.delete(Kind::Pod, pod);
            assert_eq!(done(&world.plan()), (vec![], false), "it is still there");
            let mut new = (**world.the(Kind::Pod, pod)).clone();
            world.remove(Kind::Pod, pod);
            new.meta.uid = "".into();
            new.meta.deleted_at = None;
            world.put(new);
        }
        let plan = world.plan();
        assert_eq!(done(&plan), (vec![], true));
        let record = world.the(Kind::Endpoints, RECORD);
        let version = record.meta.resource_version.to_string();
        let wanted = json!({"metadata": {"annotations": {"initialize": null},
            "uid": &*record.meta.uid, "resourceVersion": version}});
        assert_eq!(released(&plan), [&wanted]);
    }

    #[test]
    fn who_may_have_begun_is_left_alone() {
        type Change = fn(&mut World);
        let cases: [(&str, Change); 10] = [
            ("no Pod is seen", |w| {
                for instance in w.instances() {
                    w.remove(Kind::Pod, &names::instance_pod(&instance));
                }
            }),
            ("one bootstraps", |w| {
                let last = w.instances().pop().expect("two");
                say(w, &last, r#"{"state": "initializing new cluster", "role": "uninitialized"}"#);
            }),
            ("one has data", |w| {
                let last = w.instances().pop().expect("two");
                say(w, &last, r#"{"state": "stopped", "role": "replica"}"#);
            }),
            ("one says nothing", |w| {
                let last = names::instance_pod(&w.instances().pop().expect("two"));
                w.change(Kind::Pod, &last, |p| {
                    p["spec"]["nodeName"] = "a".into();
                    p["metadata"]["annotations"].as_object_mut().expect("some").remove("status");
                });
            }),
            ("somebody leads", |w| crate::test_support::lead(w, "another-0")),
            ("the system identifier is known", |w| {
                write(w, json!({"initialize": "7000000000000000001"}));
                w.now += SignedDuration::from_secs(600);
            }),
            ("it was known once", |w| {
                let known = json!({"patroni": {"systemIdentifier": "7000000000000000001"}});
                w.change(Kind::IvoryCluster, "hippo", |c| c["status"] = known);
            }),
            ("nobody began", |w| write(w, json!({}))),
            ("nobody knows when", |w| {
                w.change(Kind::Endpoints, RECORD, |e| e["metadata"]["managedFields"] = json!([]));
            }),
            ("the record can't be read", |w| {
                let keys = reads(&w.cluster()).into_iter();
                w.unknown.extend(keys.filter(|k| format!("{k:?}").contains("Endpoints")));
            }),
        ];
        for (what, change) in cases {
            let mut world = stuck();
            world.now += SignedDuration::from_secs(600);
            assert_eq!(done(&world.plan()).0.len(), 1);
            change(&mut world);
            assert_eq!(done(&world.plan()), (vec![], false), "{what}");
        }
    }
}
