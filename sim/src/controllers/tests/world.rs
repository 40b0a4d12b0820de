//! Controllers as actors, against the model of the API server.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::OwnerRef;
use ivory_core::plan::Propagation;
use serde_json::json;

use super::lab::{Lab, at};
use crate::kube::Verb;
use crate::time::{Span, Time};
use crate::world::{Cut, Matcher, Point, Rule};

const CONTAINERS: &str = "containers: [{name: c, image: x}]";

fn statefulset(replicas: u8) -> String {
    format!("- {{kind: StatefulSet, name: s, spec: {{replicas: {replicas}, serviceName: pods, selector: {{matchLabels: {{app: s}}}}, updateStrategy: {{type: OnDelete}},
        template: {{metadata: {{labels: {{app: s, fate: run}}}}, spec: {{{CONTAINERS}}}}}}}}}\n")
}

fn deployment(replicas: u8) -> String {
    format!("- {{kind: Deployment, name: d, spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: d}}}},
        template: {{metadata: {{labels: {{app: d, fate: run}}}}, spec: {{{CONTAINERS}}}}}}}}}\n")
}

fn job(fate: &str, rest: &str) -> String {
    format!(
        "- {{kind: Job, name: j, spec: {{backoffLimit: 2, {rest} template: {{metadata: {{labels: {{fate: {fate}}}}}, spec: {{restartPolicy: Never, {CONTAINERS}}}}}}}}}\n"
    )
}

#[test]
fn a_statefulset_keeps_its_pod() {
    for mut lab in [Lab::new(), Lab::apart()] {
        let (set, pod) = (at(Kind::StatefulSet, "s"), at(Kind::Pod, "s-0"));
        lab.create(&statefulset(1));
        lab.run(5);
        let first = lab.get(&pod);
        assert!(first.condition_true("Ready"));
        assert_eq!(lab.get(&set).i64_at(&["status", "availableReplicas"]), Some(1));
        lab.delete(&pod, Propagation::Background);
        lab.run(5);
        assert_ne!(lab.get(&pod).meta.uid, first.meta.uid);
        assert_eq!(lab.get(&set).i64_at(&["status", "readyReplicas"]), Some(1));
        // A new template waits for the Pod's deletion, and then is current too.
        lab.patch(&set, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}));
        lab.run(5);
        assert_eq!(lab.get(&set).i64_at(&["status", "updatedReplicas"]), None);
        lab.delete(&pod, Propagation::Background);
        lab.run(5);
        assert_eq!(lab.get(&pod).annotation("a"), Some("b"));
        lab.is_quiet();
        lab.delete(&set, Propagation::Background);
        lab.run(5);
        assert_eq!(lab.names(Kind::Pod), Vec::<String>::new());
        assert_eq!(lab.names(Kind::ControllerRevision), Vec::<String>::new());
    }
}

/// Step for step as recorded on a control plane of Kubernetes 1.34, where no kubelet made Pods ready.
#[test]
fn a_rolling_update_goes_as_recorded() {
    let mut lab = Lab::new();
    lab.create(
        &statefulset(2)
            .replace("type: OnDelete", "type: RollingUpdate")
            .replace("fate: run", "fate: none"),
    );
    lab.run(1);
    let set = at(Kind::StatefulSet, "s");
    let ready = |lab: &mut Lab, pod: &str| {
        lab.write(Verb::Patch {
            target: at(Kind::Pod, pod),
            subresource: crate::kube::Subresource::Status,
            body: crate::kube::Body::Merge(Arc::new(json!({"status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))),
        });
        lab.run(1);
    };
    let first =
        lab.get(&set).str_at(&["status", "currentRevision"]).expect("a revision").to_owned();
    let counts = |lab: &Lab| {
        let set = lab.get(&set);
        let keys = [
            "replicas",
            "readyReplicas",
            "availableReplicas",
            "currentReplicas",
            "updatedReplicas",
        ];
        let at_first = set.str_at(&["status", "currentRevision"]) == Some(&first);
        (keys.map(|k| set.i64_at(&["status", k]).unwrap_or(0)), at_first)
    };
    ready(&mut lab, "s-0");
    ready(&mut lab, "s-1");
    assert_eq!(counts(&lab), ([2, 2, 2, 2, 2], true));
    lab.patch(&set, json!({"spec": {"template": {"metadata": {"annotations": {"x": "1"}}}}}));
    lab.run(1);
    assert_eq!(counts(&lab), ([2, 1, 1, 1, 1], true));
    ready(&mut lab, "s-1");
    assert_eq!(counts(&lab), ([2, 1, 1, 0, 2], true));
    ready(&mut lab, "s-0");
    assert_eq!(counts(&lab), ([2, 2, 2, 2, 2], false));
}

#[test]
fn foreground_waits_for_dependents_and_orphaning_lets_them_go() {
    let mut lab = Lab::new();
    lab.create(&deployment(2));
    lab.run(5);
    assert_eq!(lab.names(Kind::Pod).len(), 2);
    let set = lab.names(Kind::ReplicaSet).remove(0);
    lab.delete(&at(Kind::Deployment, "d"), Propagation::Orphan);
    lab.run(2);
    assert_eq!(lab.names(Kind::Deployment), Vec::<String>::new());
    assert_eq!(lab.get(&at(Kind::ReplicaSet, &set)).meta.owners.len(), 0);
    // A Pod that holds out keeps its owners.
    let pod = lab.names(Kind::Pod).remove(0);
    lab.patch(&at(Kind::Pod, &pod), json!({"metadata": {"finalizers": ["test/hold"]}}));
    lab.run(1);
    lab.delete(&at(Kind::ReplicaSet, &set), Propagation::Foreground);
    lab.run(5);
    assert_eq!((lab.names(Kind::ReplicaSet).len(), lab.names(Kind::Pod)), (1, vec![pod.clone()]));
    lab.patch(&at(Kind::Pod, &pod), json!({"metadata": {"finalizers": null}}));
    lab.run(5);
    assert_eq!((lab.names(Kind::ReplicaSet).len(), lab.names(Kind::Pod).len()), (0, 0));
    lab.is_quiet();
}

#[test]
fn a_shared_object_lives_as_long_as_one_owner() {
    let mut lab = Lab::new();
    lab.create("- {kind: ConfigMap, name: a}\n- {kind: ConfigMap, name: b}\n- {kind: Secret, name: shared}\n");
    lab.run(1);
    let mut shared = (*lab.get(&at(Kind::Secret, "shared"))).clone();
    let owners = ["a", "b"].map(|n| OwnerRef::plain(&lab.get(&at(Kind::ConfigMap, n))));
    shared.meta.owners = Arc::new(owners.to_vec());
    lab.write(Verb::Update {
        object: Arc::new(shared),
        subresource: crate::kube::Subresource::None,
    });
    lab.run(1);
    lab.delete(&at(Kind::ConfigMap, "a"), Propagation::Background);
    lab.run(2);
    assert_eq!(lab.get(&at(Kind::Secret, "shared")).meta.owners.len(), 1);
    lab.delete(&at(Kind::ConfigMap, "b"), Propagation::Background);
    lab.run(2);
    assert_eq!(lab.names(Kind::Secret), Vec::<String>::new());
}

#[test]
fn a_deployment_replaces_its_pods_one_after_the_other() {
    let mut lab = Lab::new();
    lab.create(&deployment(2));
    lab.run(5);
    let d = at(Kind::Deployment, "d");
    let old = lab.names(Kind::Pod);
    lab.patch(&d, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}));
    lab.run(20);
    let new = lab.names(Kind::Pod);
    assert_eq!((new.len(), new.iter().filter(|n| old.contains(n)).count()), (2, 0));
    let now = lab.get(&d);
    assert!(now.condition_true("Available") && now.condition_true("Progressing"));
    assert_eq!(now.annotation("deployment.kubernetes.io/revision"), Some("2"));
    assert_eq!(lab.names(Kind::ReplicaSet).len(), 2);
    lab.patch(&d, json!({"spec": {"replicas": 0}}));
    lab.run(5);
    assert_eq!(lab.names(Kind::Pod).len(), 0);
    lab.is_quiet();
}

#[test]
fn a_job_that_fails_is_retried_later_and_later() {
    let mut lab = Lab::new();
    lab.create(&job("fail", ""));
    lab.run(120);
    let mut starts: Vec<i64> = lab
        .all(Kind::Pod)
        .iter()
        .filter_map(|p| Some((Time::from(p.meta.created_at?) - Time::START).0 / 1_000_000))
        .collect();
    starts.sort_unstable();
    // 10 s and 20 s after the failure before, in whole seconds.
    let gaps: Vec<i64> = starts.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(gaps, [10, 20]);
    let job = lab.get(&at(Kind::Job, "j"));
    assert!(job.condition_true("Failed"));
    assert_eq!(
        (job.i64_at(&["status", "failed"]), job.i64_at(&["status", "active"])),
        (Some(3), None)
    );
    assert!(lab.all(Kind::Pod).iter().all(|p| p.meta.finalizers.is_empty()));
    lab.is_quiet();
    lab.delete(&at(Kind::Job, "j"), Propagation::Background);
    lab.run(5);
    assert_eq!(lab.names(Kind::Pod), Vec::<String>::new());
}

#[test]
fn a_job_that_succeeds_ends_and_goes() {
    let mut lab = Lab::new();
    lab.create(&job("ok", "ttlSecondsAfterFinished: 60,"));
    lab.run(10);
    let done = lab.get(&at(Kind::Job, "j"));
    assert!(done.condition_true("Complete") && done.condition_true("SuccessCriteriaMet"));
    assert_eq!(done.i64_at(&["status", "succeeded"]), Some(1));
    assert!(done.str_at(&["status", "completionTime"]).is_some());
    lab.run(60);
    assert_eq!((lab.names(Kind::Job).len(), lab.names(Kind::Pod).len()), (0, 0));
    lab.is_quiet();
}

#[test]
fn a_cronjob_runs_on_time_and_keeps_little_history() {
    let mut lab = Lab::new();
    lab.create(&format!("- {{kind: CronJob, name: c, spec: {{schedule: '*/5 * * * *', concurrencyPolicy: Forbid, jobTemplate: {{spec: {{template: {{metadata: {{labels: {{fate: ok}}}}, spec: {{restartPolicy: Never, {CONTAINERS}}}}}}}}}}}}}\n"));
    lab.run(3 * 60);
    assert_eq!(lab.names(Kind::Job), Vec::<String>::new());
    lab.run(27 * 60 + 30);
    // Minute 29453760 since 1970 is the world's first.
    assert_eq!(lab.names(Kind::Job), ["c-29453780", "c-29453785", "c-29453790"]);
    let cron = lab.get(&at(Kind::CronJob, "c"));
    assert_eq!(cron.str_at(&["status", "lastScheduleTime"]), Some("2026-01-01T00:30:00Z"));
    assert!(
        cron.at(&["status", "active"]).is_none()
            && cron.str_at(&["status", "lastSuccessfulTime"]).is_some()
    );
    lab.patch(&at(Kind::CronJob, "c"), json!({"spec": {"suspend": true}}));
    lab.run(1);
    lab.is_quiet();
}

#[test]
fn a_claim_gets_a_disk_grows_and_takes_it_along() {
    let mut lab = Lab::new();
    lab.create("- {kind: StorageClass, name: std, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}, provisioner: disks, volumeBindingMode: WaitForFirstConsumer, allowVolumeExpansion: true}
- {kind: PersistentVolumeClaim, name: data, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}\n");
    lab.run(5);
    let claim = at(Kind::PersistentVolumeClaim, "data");
    assert_eq!(lab.get(&claim).str_at(&["status", "phase"]), Some("Pending"));
    lab.create(&format!("- {{kind: Pod, name: p, labels: {{fate: run}}, spec: {{{CONTAINERS}, volumes: [{{name: v, persistentVolumeClaim: {{claimName: data}}}}]}}}}\n"));
    lab.run(5);
    let bound = lab.get(&claim);
    assert_eq!(bound.str_at(&["status", "phase"]), Some("Bound"));
    let volume = bound.str_at(&["spec", "volumeName"]).expect("a volume").to_owned();
    let capacity = |lab: &Lab| lab.world.kube(lab.kube).volume(&volume).map(|v| v.capacity_bytes);
    assert_eq!(capacity(&lab), Some(1 << 30));
    lab.patch(&claim, json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}));
    lab.run(10);
    assert_eq!(lab.get(&claim).str_at(&["status", "capacity", "storage"]), Some("2Gi"));
    assert_eq!(capacity(&lab), Some(2 << 30));
    lab.is_quiet();
    // The Pod holds the claim, the claim the volume.
    lab.delete(&claim, Propagation::Background);
    lab.run(5);
    assert!(lab.get(&claim).terminating() && capacity(&lab).is_some());
    lab.delete(&at(Kind::Pod, "p"), Propagation::Background);
    lab.run(5);
    assert_eq!(lab.names(Kind::PersistentVolume), Vec::<String>::new());
    assert_eq!(capacity(&lab), None);
    lab.is_quiet();
}

#[test]
fn services_have_endpoints_and_take_them_along() {
    let mut lab = Lab::new();
    lab.create(&statefulset(1));
    lab.create(
        "- {kind: Service, name: web, spec: {selector: {app: s}, ports: [{port: 5432}]}}
- {kind: Service, name: ha, spec: {ports: [{port: 5432}]}}
- {kind: Endpoints, name: ha, subsets: [{addresses: [{ip: 10.9.9.9}], ports: [{port: 5432}]}]}\n",
    );
    lab.run(5);
    let ip =
        lab.get(&at(Kind::Pod, "s-0")).str_at(&["status", "podIP"]).expect("an address").to_owned();
    let web = lab.get(&at(Kind::Endpoints, "web"));
    assert_eq!(web.body["subsets"][0]["addresses"][0]["ip"], ip);
    let slices = lab.all(Kind::EndpointSlice);
    let mirrored = slices.iter().find(|s| s.label("kubernetes.io/service-name") == Some("ha"));
    assert_eq!(mirrored.expect("a mirror").body["endpoints"][0]["addresses"], json!(["10.9.9.9"]));
    assert_eq!(slices.len(), 2);
    lab.is_quiet();
    for name in ["web", "ha"] {
        lab.delete(&at(Kind::Service, name), Propagation::Background);
    }
    lab.run(5);
    assert_eq!(lab.names(Kind::Endpoints), Vec::<String>::new());
    assert_eq!(lab.names(Kind::EndpointSlice), Vec::<String>::new());
}

#[test]
fn budgets_follow_their_pods_and_hold_back_evictions() {
    let mut lab = Lab::new();
    lab.create(&deployment(2));
    lab.create("- {kind: PodDisruptionBudget, name: b, spec: {minAvailable: 1, selector: {matchLabels: {app: d}}}}\n");
    lab.run(5);
    let budget = at(Kind::PodDisruptionBudget, "b");
    assert_eq!(lab.get(&budget).i64_at(&["status", "disruptionsAllowed"]), Some(1));
    for pod in lab.names(Kind::Pod) {
        lab.write(Verb::Evict {
            target: at(Kind::Pod, &pod),
            options: crate::kube::DeleteOptions::default(),
        });
    }
    lab.world.advance(Span::ms(50));
    let going = lab.all(Kind::Pod).iter().filter(|p| p.terminating()).count();
    assert!(going <= 1, "{going} evicted at once");
    lab.run(10);
    assert_eq!(lab.get(&budget).i64_at(&["status", "disruptionsAllowed"]), Some(1));
    assert_eq!(lab.names(Kind::Pod).len(), 2);
}

#[test]
fn a_namespace_is_emptied_and_goes() {
    let mut lab = Lab::new();
    lab.create(&(statefulset(2) + &deployment(1) + "- {kind: Secret, name: x}\n- {kind: ConfigMap, name: held, finalizers: [test/hold]}\n"));
    lab.run(5);
    lab.delete(&at(Kind::Namespace, "db"), Propagation::Background);
    lab.run(60);
    // What has a finalizer of its own holds the namespace up.
    // (The other namespace has its root certificate.)
    assert_eq!(lab.names(Kind::ConfigMap), ["held", "kube-root-ca.crt"]);
    assert!(lab.get(&at(Kind::Namespace, "db")).terminating());
    assert_eq!(
        (
            lab.names(Kind::Pod).len(),
            lab.names(Kind::StatefulSet).len(),
            lab.names(Kind::Secret).len()
        ),
        (0, 0, 0)
    );
    lab.patch(&at(Kind::ConfigMap, "held"), json!({"metadata": {"finalizers": null}}));
    lab.run(30);
    assert_eq!(lab.names(Kind::Namespace), ["kube-node-lease"]);
    lab.is_quiet();
}

#[test]
fn a_silent_nodes_pod_is_deleted_in_the_end() {
    let mut lab = Lab::new();
    lab.delete(&at(Kind::Node, "n1"), Propagation::Background);
    lab.run(1);
    lab.create("- {kind: Node, name: n1, status: {conditions: [{type: Ready, status: 'True'}]}}\n");
    lab.create("- {kind: Node, name: m, status: {conditions: [{type: Ready, status: 'True'}]}}\n");
    lab.create(&format!(
        "- {{kind: Pod, name: p, labels: {{fate: run}}, spec: {{{CONTAINERS}}}}}\n"
    ));
    let beat = |lab: &mut Lab, nodes: &[&str]| {
        for node in nodes {
            let at = crate::kube::ObjectRef::new(Kind::Lease, "kube-node-lease", node);
            let now = lab.world.now().timestamp().to_string();
            lab.patch(&at, json!({"spec": {"renewTime": now}}));
        }
        lab.run(10);
    };
    for node in ["n1", "m"] {
        lab.create(&format!("- {{kind: Lease, name: {node}, namespace: kube-node-lease, spec: {{holderIdentity: {node}}}}}\n"));
    }
    (0..10).for_each(|_| beat(&mut lab, &["n1", "m"]));
    let pod = lab.all(Kind::Pod).remove(0);
    assert!(pod.condition_true("Ready"));
    (0..6).for_each(|_| beat(&mut lab, &["m"]));
    let taints = lab.get(&at(Kind::Node, "n1")).at(&["spec", "taints"]).cloned();
    assert_eq!(taints.and_then(|t| t.as_array().map(Vec::len)), Some(2));
    let now = lab.get(&at(Kind::Pod, &pod.meta.name));
    assert!(!now.condition_true("Ready") && !now.terminating());
    // Its patience, 300 s by admission's default, ends; here it is let go at once, as if the kubelet answered.
    let mut beats = 0;
    while lab.all(Kind::Pod).iter().any(|p| p.meta.uid == pod.meta.uid) && beats < 40 {
        beat(&mut lab, &["m"]);
        beats += 1;
    }
    assert!((27..=30).contains(&beats), "{beats}0 s");
}

#[test]
fn a_lagging_cache_makes_no_pod_twice() {
    let mut lab = Lab::new();
    let kcm = lab.world.find(lab.kube, "kcm").expect("alive");
    lab.world.lag_watches(kcm, Span::s(3));
    lab.create(&deployment(2));
    lab.run(60);
    assert_eq!(lab.names(Kind::Pod).len(), 2);
    let made = lab.world.kube(lab.kube).api.changes_since(1, Some(Kind::Pod)).expect("remembered");
    let made = made.filter(|c| c.old.is_none()).count();
    assert_eq!(made, 2, "Pods made");
}

#[test]
fn lost_answers_and_refusals_change_nothing_in_the_end() {
    for (point, cut) in [
        (Point::Sent, Cut::Lose),
        (Point::Applied, Cut::Lose),
        (Point::Arrived, Cut::Delay(Span::s(2))),
        (Point::Sent, Cut::Double),
    ] {
        let mut lab = Lab::new();
        lab.world.faults.add(Rule {
            name: "cut".into(),
            from: lab.world.now(),
            until: None,
            left: Some(12),
            every: 1,
            seen: 0,
            what: Matcher { sender: Some("kcm".into()), writes: true, ..Matcher::default() },
            point,
            cut: cut.clone(),
        });
        lab.create(&(statefulset(2) + &deployment(2) + &job("ok", "")));
        lab.run(200);
        let mut pods = lab.all(Kind::Pod);
        pods.retain(|p| p.str_at(&["status", "phase"]) == Some("Running"));
        assert_eq!(pods.len(), 4, "{cut:?} at {point:?}");
        assert!(lab.get(&at(Kind::Job, "j")).condition_true("Complete"));
        assert_eq!(
            lab.get(&at(Kind::StatefulSet, "s")).i64_at(&["status", "readyReplicas"]),
            Some(2)
        );
        lab.is_quiet();
    }
}

#[test]
fn a_controller_manager_that_dies_is_replaced() {
    let mut lab = Lab::new();
    lab.create(&statefulset(2));
    lab.world.advance(Span::ms(12));
    let kcm = lab.world.find(lab.kube, "kcm").expect("alive");
    lab.world.kill(kcm, 137);
    lab.create("- {kind: Endpoints, name: left-over}\n");
    lab.run(10);
    crate::controllers::spawn_all(&mut lab.world, lab.kube);
    lab.run(10);
    assert_eq!(lab.names(Kind::Pod), ["s-0", "s-1"]);
    assert_eq!(lab.names(Kind::Endpoints), Vec::<String>::new());
    lab.is_quiet();
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut lab = Lab::new();
        lab.create(&(statefulset(2) + &deployment(2) + &job("fail", "")));
        lab.run(60);
        (lab.world.trace.digest(), lab.world.fingerprint())
    };
    assert_eq!(run(), run());
}

#[test]
fn changes_missed_while_cut_off_are_found_by_the_new_list() {
    let mut lab = Lab::elsewhere("far");
    lab.create(&statefulset(1));
    lab.create("- {kind: ConfigMap, name: a}\n- {kind: Secret, name: dependent}\n");
    lab.run(5);
    let mut dependent = (*lab.get(&at(Kind::Secret, "dependent"))).clone();
    dependent.meta.owners = Arc::new(vec![OwnerRef::plain(&lab.get(&at(Kind::ConfigMap, "a")))]);
    lab.write(Verb::Update {
        object: Arc::new(dependent),
        subresource: crate::kube::Subresource::None,
    });
    lab.run(1);
    lab.world.partition(lab.kube, "far", "control-plane");
    lab.patch(&at(Kind::StatefulSet, "s"), json!({"spec": {"replicas": 2}}));
    lab.delete(&at(Kind::ConfigMap, "a"), Propagation::Background);
    lab.run(30);
    assert_eq!((lab.names(Kind::Pod).len(), lab.names(Kind::Secret).len()), (1, 1));
    lab.world.heal_network();
    lab.run(10);
    assert_eq!((lab.names(Kind::Pod).len(), lab.names(Kind::Secret).len()), (2, 0));
}

#[test]
fn pods_outlive_their_node_for_a_while_and_then_go() {
    let mut lab = Lab::new();
    lab.create(&format!(
        "- {{kind: Pod, name: p, labels: {{fate: run}}, spec: {{{CONTAINERS}}}}}\n"
    ));
    lab.run(5);
    lab.delete(&at(Kind::Node, "n1"), Propagation::Background);
    lab.run(40);
    assert!(!lab.get(&at(Kind::Pod, "p")).terminating());
    lab.run(15);
    assert_eq!(lab.names(Kind::Pod), Vec::<String>::new());
}
