//! The finalizer, and taking a cluster down: replicas first, the leader last, then Patroni's own objects.
//! What is owned goes by garbage collection afterwards (`reference/reconcile.md` §1.7).

use std::sync::Arc;

use serde_json::json;

use crate::kind::Kind;
use crate::labels::{self, FINALIZER};
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};

/// How long after its grace period a Pod that does not go is no longer waited for: its node is dead, and
/// only a person or the cloud can say so. Deletion wins over any stuck state.
const PATIENCE_S: i64 = 120;

/// Puts the finalizer on, before anything is made that would have to be taken down.
pub fn ensure(pass: &mut Pass<'_>) {
    let object = &pass.cluster.object;
    if object.meta.finalizers.iter().any(|f| f == FINALIZER) {
        return;
    }
    let mut finalizers = (*object.meta.finalizers).clone();
    finalizers.push(FINALIZER.to_owned());
    set(
        pass,
        finalizers,
        "FinalizerMissing",
        "the cluster must not go before its instances stopped",
    );
}

/// Takes the cluster down. Reports waiting until nothing runs any more.
pub fn take_down(pass: &mut Pass<'_>) {
    let finalizers = pass.cluster.object.meta.finalizers.clone();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        return;
    }
    let (Read::Known(pods), Read::Known(workloads), Read::Known(endpoints)) = (
        pass.observed.labelled(Kind::Pod),
        pass.observed.labelled(Kind::StatefulSet),
        pass.observed.labelled(Kind::Endpoints),
    ) else {
        return pass.unreadable(Step::Finalizer, "what the cluster runs");
    };
    // An earlier cluster of this name may have left something; that is not ours to stop.
    let uid = pass.cluster.uid.clone();
    let instance = |o: &&Arc<Object>| o.label(labels::INSTANCE).is_some();
    let foreign = |o: &Object| o.controller().is_some_and(|c| c.uid != uid);
    let of = |pod: &Object, set: &Object| pod.controlled_by(&set.meta.uid);
    let strangers: Vec<Arc<Object>> = workloads.iter().filter(|w| foreign(w)).cloned().collect();
    let workloads: Vec<Arc<Object>> =
        workloads.iter().filter(instance).filter(|w| !foreign(w)).cloned().collect();
    let pods: Vec<Arc<Object>> = pods
        .iter()
        .filter(instance)
        .filter(|p| !strangers.iter().any(|s| of(p, s)))
        .cloned()
        .collect();
    let scope = names::scope(&pass.cluster.name);
    let mut patroni: Vec<Arc<Object>> =
        endpoints.iter().filter(|e| e.label(labels::PATRONI) == Some(&*scope)).cloned().collect();
    // By name too: a stranger may have taken their labels, and left behind they would tell the next
    // cluster of this name that it has been bootstrapped.
    for name in [scope.clone(), names::scope_config(&pass.cluster.name)] {
        match pass.observed.one(Kind::Endpoints, &name) {
            Read::Known(object) if patroni.iter().all(|p| p.meta.name != object.meta.name) => {
                patroni.push(object.clone());
            }
            Read::Unknown(_) => {
                return pass.unreadable(Step::Finalizer, format!("Endpoints {name}"));
            }
            _ => {}
        }
    }
    patroni.retain(|p| !foreign(p));
    stop(pass, &pods, &workloads);
    let alive: Vec<&Arc<Object>> = pods.iter().filter(|p| !given_up(pass, p)).collect();
    let going = workloads.iter().any(|w| w.i64_at(&["spec", "replicas"]) != Some(0));
    if !alive.is_empty() || going {
        let names: Vec<&str> = alive.iter().map(|p| &*p.meta.name).collect();
        let text = format!(
            "waiting for {} to stop",
            if names.is_empty() { "the instances".into() } else { names.join(", ") }
        );
        pass.look_again(std::time::Duration::from_secs(30));
        return pass.wait(Step::Finalizer, "Stopping", text);
    }
    for object in &patroni {
        pass.delete(Step::Finalizer, object, Reason::Deleting);
    }
    let rest = finalizers.iter().filter(|f| *f != FINALIZER).cloned().collect();
    set(pass, rest, "Stopped", "nothing of the cluster runs any more");
}

/// Scales to nothing: all but the leader while there are several, then the leader.
fn stop(pass: &mut Pass<'_>, pods: &[Arc<Object>], workloads: &[Arc<Object>]) {
    let leads = |w: &Arc<Object>| {
        let mine = |p: &&Arc<Object>| p.label(labels::INSTANCE) == Some(&*w.meta.name);
        let pod = pods.iter().find(mine);
        pod.is_some_and(|p| p.label(labels::ROLE).is_some_and(labels::role::is_leader))
    };
    let others_run = pods.iter().any(|p| {
        let leader = p.label(labels::ROLE).is_some_and(labels::role::is_leader);
        !leader && !given_up(pass, p)
    });
    for workload in workloads.iter().filter(|w| w.i64_at(&["spec", "replicas"]) != Some(0)) {
        if leads(workload) && others_run {
            continue;
        }
        pass.scale(Step::Finalizer, Reason::Deleting, workload, 0);
    }
    // Nobody else stops a Pod that has no controller.
    for pod in pods.iter().filter(|p| p.controller().is_none()) {
        if !(pod.label(labels::ROLE).is_some_and(labels::role::is_leader) && others_run) {
            pass.delete(Step::Finalizer, pod, Reason::Deleting);
        }
    }
}

fn given_up(pass: &Pass<'_>, pod: &Object) -> bool {
    pod.meta.deleted_at.is_some_and(|at| pass.context.now.as_second() - at.as_second() > PATIENCE_S)
}

fn set(pass: &mut Pass<'_>, finalizers: Vec<String>, word: &'static str, text: &str) {
    let object = pass.cluster.object.clone();
    let op = Op::MergePatch {
        kind: Kind::IvoryCluster,
        namespace: object.meta.namespace.to_string(),
        name: object.meta.name.to_string(),
        patch: json!({"metadata": {
            "resourceVersion": object.meta.resource_version.to_string(),
            "finalizers": finalizers,
        }}),
    };
    pass.write(Step::Finalizer, Reason::Because { word, text: text.into() }, op);
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use crate::test_support::{CLUSTER, World, spec, text, texts};
    use crate::{Kind, labels, names};

    fn deleted(mut world: World) -> World {
        world.delete(Kind::IvoryCluster, CLUSTER);
        world
    }

    /// Rounds until the cluster is gone; the StatefulSets in the order in which they were stopped.
    fn take_down(world: &mut World) -> Vec<String> {
        let mut stopped = Vec::new();
        for _ in 0..60 {
            if world.get(Kind::IvoryCluster, CLUSTER).is_none() {
                return stopped;
            }
            world.now += SignedDuration::from_secs(5);
            let plan = world.plan();
            stopped
                .extend(plan.writes.iter().map(text).filter(|t| t.contains("patch StatefulSet")));
            world.execute(&plan, usize::MAX).expect("no refusal");
            if world.get(Kind::IvoryCluster, CLUSTER).is_some() {
                crate::test_support::act(world);
            }
        }
        panic!("never gone: {:?}", texts(&world.plan()));
    }

    #[test]
    fn replicas_stop_before_the_leader_and_nothing_is_left() {
        let mut world = deleted(World::settled(3));
        let leader = world.leader();
        let stopped = take_down(&mut world);
        assert_eq!(stopped.len(), 3);
        assert!(stopped[2].contains(&leader), "{stopped:?}");
        assert!(world.all(Kind::Endpoints).iter().all(|e| e.label(labels::PATRONI).is_none()));
        assert!(world.all(Kind::StatefulSet).is_empty());
    }

    #[test]
    fn a_cluster_can_be_deleted_whatever_state_it_is_in() {
        type Change = fn(&mut World);
        let cases: [(&str, Change); 8] = [
            ("paused", |w| w.edit(|s| s["paused"] = true.into())),
            ("a spec that can't be read", |w| w.edit(|s| s["instances"] = "nonsense".into())),
            ("a spec that can't be followed", |w| {
                w.edit(|s| s["standby"] = json!({"enabled": true}))
            }),
            ("no leader", |w| w.remove(Kind::Endpoints, "hippo-ha")),
            ("labels of Patroni's Endpoints taken", |w| {
                w.strip(Kind::Endpoints, "hippo-ha-config", labels::CLUSTER)
            }),
            ("a Pod without controller", |w| {
                let name = w.replicas()[0].clone();
                w.change(Kind::Pod, &names::instance_pod(&name), |p| {
                    p["metadata"]["ownerReferences"] = json!([])
                });
                w.remove(Kind::StatefulSet, &name);
            }),
            ("both labelled leader", |w| {
                for i in w.instances() {
                    w.change(Kind::Pod, &names::instance_pod(&i), |p| {
                        p["metadata"]["labels"][labels::ROLE] = "primary".into();
                    });
                }
            }),
            ("unlabelled roles", |w| {
                for i in w.instances() {
                    w.strip(Kind::Pod, &names::instance_pod(&i), labels::ROLE);
                }
            }),
        ];
        for (case, change) in cases {
            let mut world = World::settled(2);
            change(&mut world);
            let mut world = deleted(world);
            take_down(&mut world);
            assert!(world.get(Kind::Endpoints, "hippo-ha-config").is_none(), "{case}");
        }
    }

    #[test]
    fn one_that_never_started_goes_too() {
        let mut world = World::new(spec(2));
        world.bad_image = "example";
        (0..3).for_each(|_| {
            world.round();
        });
        take_down(&mut deleted(world));
        // Not even the first pass.
        let mut world = World::new(spec(2));
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["metadata"]["finalizers"] = json!([labels::FINALIZER])
        });
        take_down(&mut deleted(world));
    }

    #[test]
    fn a_dead_node_is_waited_for_with_patience_that_ends() {
        let mut world = World::settled(2);
        let replica = names::instance_pod(&world.replicas()[0]);
        world.dead.insert(replica);
        let mut world = deleted(world);
        let start = world.now;
        take_down(&mut world);
        let took = (world.now - start).get_seconds();
        assert!((120..180).contains(&took), "{took} s");
    }

    /// An object of another cluster of this name, as an earlier one leaves it.
    fn left_by_another(object: &mut serde_json::Value) {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "ivory-operator.ivorysql.org/v1beta1", "kind": "IvoryCluster", "name": CLUSTER,
            "uid": "another", "controller": true
        }]);
    }

    #[test]
    fn what_still_runs_is_waited_for_whatever_an_earlier_cluster_left() {
        let mut world = World::settled(2);
        let mut theirs = world.the(Kind::StatefulSet, &world.leader()).to_value();
        theirs["metadata"]["name"] = "hippo-instance1-zzzz".into();
        theirs["metadata"]["uid"] = "theirs".into();
        left_by_another(&mut theirs);
        for name in world.instances() {
            world.change(Kind::StatefulSet, &name, |s| s["spec"]["replicas"] = 0.into());
        }
        world.put(crate::Object::from_value(theirs).expect("a StatefulSet"));
        let mut world = deleted(world);
        assert!(world.plan().writes.is_empty(), "Pods run");
        assert_eq!(take_down(&mut world), [""; 0]);
        assert!(world.get(Kind::StatefulSet, "hippo-instance1-zzzz").is_some());
    }

    #[test]
    fn patronis_endpoints_of_another_cluster_stay() {
        let mut world = World::settled(1);
        world.change(Kind::Endpoints, "hippo-ha-config", left_by_another);
        let mut world = deleted(world);
        for pod in world.all(Kind::Pod) {
            world.remove(Kind::Pod, &pod.meta.name);
        }
        for name in world.instances() {
            world.change(Kind::StatefulSet, &name, |s| s["spec"]["replicas"] = 0.into());
        }
        let deletes = crate::test_support::deletes(&world.plan());
        assert!(deletes.contains(&"Endpoints hippo-ha".to_owned()), "{deletes:?}");
        assert!(!deletes.contains(&"Endpoints hippo-ha-config".to_owned()), "{deletes:?}");
    }

    #[test]
    fn a_leader_without_controller_goes_last_too() {
        let mut world = World::settled(2);
        let leader = world.leader();
        let pod = names::instance_pod(&leader);
        world.change(Kind::Pod, &pod, |p| p["metadata"]["ownerReferences"] = json!([]));
        world.remove(Kind::StatefulSet, &leader);
        let mut world = deleted(world);
        let deletes = |world: &mut World| crate::test_support::deletes(&world.plan());
        assert_eq!(deletes(&mut world), [""; 0], "the replica runs");
        for replica in world.replicas() {
            world.remove(Kind::Pod, &names::instance_pod(&replica));
        }
        assert_eq!(deletes(&mut world), [format!("Pod {pod}")]);
    }

    #[test]
    fn without_our_finalizer_nothing_is_done() {
        let mut world = World::settled(1);
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["metadata"]["finalizers"] = json!(["somebody/else"])
        });
        world.delete(Kind::IvoryCluster, CLUSTER);
        assert_eq!(texts(&world.plan()), [""; 0]);
    }

    #[test]
    fn others_finalizers_stay() {
        let mut world = World::settled(1);
        world.change(Kind::IvoryCluster, CLUSTER, |c| {
            c["metadata"]["finalizers"] = json!(["somebody/else", labels::FINALIZER]);
        });
        world.delete(Kind::IvoryCluster, CLUSTER);
        (0..10).for_each(|_| {
            world.round();
        });
        assert_eq!(*world.cluster().meta.finalizers, ["somebody/else"]);
    }

    #[test]
    fn an_unread_list_stops_nobody() {
        let world = deleted(World::settled(2));
        for key in crate::reads::reads(&world.cluster()) {
            let mut world = world.clone();
            world.unknown.insert(key.clone());
            let plan = world.plan();
            let gone = plan.writes.iter().map(text).find(|t| t.contains("patch IvoryCluster"));
            assert_eq!(gone, None, "{key:?}");
        }
    }
}
