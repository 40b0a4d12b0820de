//! Nodes in real worlds: the API server's model, a scheduler, kubelets, and processes that do little.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use super::programs::{Exits, Idle};
use super::{
    ContainerStart, Disks, InitOutcome, Mounts, NodeConfig, Programs, faults, json as paths,
    requests,
};
use crate::kube::{ApiServer, Body, ObjectRef, Subresource, Verb};
use crate::time::{Span, Time};
use crate::world::{Actor, ActorId, Cx, Input, Kube, KubeId, Probe, Signal, World};

const KUBE: KubeId = KubeId(0);

/// Programs by the container's name.
struct ByName;

impl Programs for ByName {
    fn start(&self, start: &ContainerStart) -> Option<Arc<dyn Actor>> {
        match &*start.container {
            "crash" => Some(Arc::new(Exits::new(start, Span::s(2), 1))),
            "job" => Some(Arc::new(Exits::new(start, Span::s(30), 0))),
            "special" => Some(Arc::new(Special::new(start))),
            "idle" => Some(Arc::new(Idle::new(start))),
            _ => None,
        }
    }

    fn init(&self, start: &ContainerStart, disks: &mut Disks<'_, '_>) -> InitOutcome {
        if let Some(volume) = disks.at("/pgdata") {
            volume.capacity_bytes = 7;
        }
        InitOutcome {
            takes: Span::s(1),
            exit: i32::from(&*start.container == "fails"),
            message: String::new(),
        }
    }
}

/// Ignores SIGTERM, hears files, and is alive and ready for a part of its life.
#[derive(Clone)]
struct Special {
    name: String,
    born: Option<Time>,
    ready_after: Span,
    alive_for: Span,
    files: Vec<Arc<Mounts>>,
}

impl Special {
    fn new(start: &ContainerStart) -> Self {
        let seconds = |name: &str, default| {
            Span::s(start.env.get(name).and_then(|v| v.parse().ok()).unwrap_or(default))
        };
        Self {
            name: start.actor_name(),
            born: None,
            ready_after: seconds("READY_AFTER", 0),
            alive_for: seconds("ALIVE_FOR", 1_000_000),
            files: vec![start.mounts.clone()],
        }
    }
}

impl Actor for Special {
    fn name(&self) -> &str {
        &self.name
    }
    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => self.born = Some(cx.now()),
            Input::Mounts(mounts) => self.files.push(mounts),
            Input::Signal(Signal::Term | Signal::Kill) => {}
            _ => {}
        }
    }
    fn probe(&self, now: Time, probe: Probe) -> Option<bool> {
        let age = now - self.born?;
        Some(match probe {
            Probe::Readiness => age >= self.ready_after,
            Probe::Liveness => age < self.alive_for,
            Probe::Startup => true,
        })
    }
    crate::actor_boilerplate!();
}

/// A world with so many nodes in as many zones, after they have registered.
fn world(nodes: u8) -> World {
    let mut world = World::new(7);
    let kube = world.add_kube(Kube::new(ApiServer::new()));
    world.kube_mut(kube).history = crate::kube::REMEMBERED;
    for name in ["default", "kube-node-lease", "ns"] {
        send(&mut world, Verb::Create(Arc::new(Object::new(Kind::Namespace, "", name))));
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "ns"}, "automountServiceAccountToken": false});
    create(&mut world, account);
    super::spawn_scheduler(&mut world, KUBE);
    for number in 0..nodes {
        let config = NodeConfig::new(&format!("n{number}"), number).in_zone(&format!("z{number}"));
        super::spawn_node(&mut world, KUBE, config, Arc::new(ByName));
    }
    world.advance(Span::s(1));
    world
}

/// A person's request.
fn send(world: &mut World, verb: Verb) {
    world.submit(ActorId(u32::MAX), KUBE, requests::request("kubectl", verb));
    world.advance(Span::ms(5));
}

fn create(world: &mut World, value: Value) {
    let object = Object::from_value(value).expect("an object");
    let (kind, name) = (object.kind, object.meta.name.clone());
    send(world, requests::create(object));
    let namespace = if kind.namespaced() { "ns" } else { "" };
    assert!(
        world.kube(KUBE).api.get(kind, namespace, &name).is_some(),
        "{kind} {name} was refused"
    );
}

/// Creates a Pod of one container (the name says what it does), changed by the test.
fn create_pod(world: &mut World, name: &str, container: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "labels": {"cluster": "hippo", "data": "ivory"}},
        "spec": {"containers": [{"name": container, "image": "ivory:18"}]},
    });
    change(&mut pod);
    create(world, pod);
}

fn delete(world: &mut World, name: &str, grace_s: Option<i64>) {
    let pod = get(world, name).expect("a Pod");
    let mut verb = requests::delete_now(&pod);
    if let Verb::Delete { options, .. } = &mut verb {
        options.grace_s = grace_s;
    }
    send(world, verb);
}

fn get(world: &World, name: &str) -> Option<Arc<Object>> {
    world.kube(KUBE).api.get(Kind::Pod, "ns", name).cloned()
}

/// A Pod in one line: phase, ready or not, and of each container its state and restarts.
fn line(world: &World, name: &str) -> String {
    let Some(pod) = get(world, name) else {
        return "gone".into();
    };
    let mut text = pod.str_at(&["status", "phase"]).unwrap_or("-").to_owned();
    if pod.terminating() {
        text += " terminating";
    }
    if pod.condition_true("Ready") {
        text += " ready";
    }
    for group in ["initContainerStatuses", "containerStatuses"] {
        for status in paths::items(&pod, &["status", group]) {
            let reason = ["waiting", "terminated"]
                .iter()
                .find_map(|s| paths::text(status, &["state", s, "reason"]));
            let restarts = paths::int(status, &["restartCount"]).unwrap_or(-1);
            text += &format!(" {}/{restarts}", reason.unwrap_or("Running"));
        }
    }
    text
}

/// Lets time pass until a Pod is as said; how many seconds that took.
fn wait(world: &mut World, name: &str, wanted: &str, at_most_s: i64) -> f64 {
    let from = world.now();
    while line(world, name) != wanted {
        let found = line(world, name);
        assert!(world.now() - from < Span::s(at_most_s), "{name} is {found:?}, not {wanted:?}");
        world.advance(Span::ms(100));
    }
    (world.now() - from).seconds()
}

#[test]
fn a_pod_is_placed_started_and_ready_with_probes_and_init_containers() {
    let mut world = world(1);
    create_pod(&mut world, "p", "special", |pod| {
        pod["spec"]["initContainers"] = json!([{"name": "fine", "image": "tools:1"}]);
        let container = &mut pod["spec"]["containers"][0];
        container["env"] = json!([{"name": "READY_AFTER", "value": "20"}]);
        container["readinessProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 5});
    });
    wait(&mut world, "p", "Pending PodInitializing/0 PodInitializing/0", 5);
    wait(&mut world, "p", "Pending Running/0 PodInitializing/0", 20);
    wait(&mut world, "p", "Running Completed/0 Running/0", 20);
    let unready = wait(&mut world, "p", "Running ready Completed/0 Running/0", 40);
    assert!((19.0..26.0).contains(&unready), "{unready}");
    let pod = get(&world, "p").expect("a Pod");
    assert_eq!(pod.str_at(&["spec", "nodeName"]), Some("n0"));
    assert!(pod.str_at(&["status", "podIP"]).is_some_and(|ip| ip.starts_with("10.0.0.")));
    for condition in super::status::CONDITIONS {
        assert!(pod.condition_true(condition), "{condition}");
        let said = pod.condition(condition).expect("a condition");
        assert_eq!((said.get("reason"), said.get("message")), (None, None), "{condition}");
    }
}

#[test]
fn a_crashing_container_waits_ever_longer() {
    let mut world = world(1);
    create_pod(&mut world, "p", "crash", |_| ());
    wait(&mut world, "p", "Running ready Running/0", 30);
    wait(&mut world, "p", "Running ready Running/1", 10);
    wait(&mut world, "p", "Running CrashLoopBackOff/1", 10);
    let first = wait(&mut world, "p", "Running ready Running/2", 60);
    wait(&mut world, "p", "Running CrashLoopBackOff/2", 10);
    let second = wait(&mut world, "p", "Running ready Running/3", 60);
    assert!((8.0..11.0).contains(&first) && (18.0..21.0).contains(&second), "{first} {second}");
    let pod = get(&world, "p").expect("a Pod");
    let status = &paths::items(&pod, &["status", "containerStatuses"])[0];
    assert_eq!(paths::int(status, &["lastState", "terminated", "exitCode"]), Some(1));
}

#[test]
fn an_image_that_can_not_be_pulled_is_tried_again() {
    let mut world = world(1);
    world.kube_mut(KUBE).registry.withhold("ivory:18");
    create_pod(&mut world, "p", "idle", |_| ());
    wait(&mut world, "p", "Pending ErrImagePull/0", 30);
    wait(&mut world, "p", "Pending ImagePullBackOff/0", 10);
    world.advance(Span::s(60));
    world.kube_mut(KUBE).registry.provide("ivory:18");
    wait(&mut world, "p", "Running ready Running/0", 300);
    // What is on the node needs no registry.
    world.kube_mut(KUBE).registry.withhold("ivory:18");
    create_pod(&mut world, "q", "idle", |_| ());
    wait(&mut world, "q", "Running ready Running/0", 5);
    create_pod(&mut world, "r", "idle", |pod| {
        let container = &mut pod["spec"]["containers"][0];
        container["image"] = "No Image".into();
        container["imagePullPolicy"] = "IfNotPresent".into();
    });
    wait(&mut world, "r", "Pending InvalidImageName/0", 5);
    let repaired =
        json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "ivory:18"}]);
    let verb = Verb::Patch {
        target: ObjectRef::new(Kind::Pod, "ns", "r"),
        subresource: Subresource::None,
        body: Body::Json(Arc::new(repaired)),
    };
    send(&mut world, verb);
    world.advance(Span::s(5));
    assert_eq!(line(&world, "r"), "Running ready Running/0");
}

fn with_secret(pod: &mut Value, optional: bool) {
    pod["spec"]["volumes"] = json!([{"name": "v", "projected": {"sources": [
        {"secret": {"name": "s", "optional": optional}}]}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/etc/s"}]);
}

fn secret(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}, "data": {"k": value}})
}

#[test]
fn a_missing_secret_holds_a_pod_back_and_a_changed_one_arrives_late() {
    let mut world = world(1);
    create_pod(&mut world, "maybe", "idle", |pod| with_secret(pod, true));
    create_pod(&mut world, "p", "special", |pod| with_secret(pod, false));
    wait(&mut world, "maybe", "Running ready Running/0", 30);
    world.advance(Span::s(20));
    assert_eq!(line(&world, "p"), "Pending ContainerCreating/0");
    let failed = |e: &&Arc<Object>| e.str_at(&["reason"]) == Some("FailedMount");
    let event = world.kube(KUBE).api.list(Kind::Event, Some("ns")).find(failed).cloned();
    let message = event.as_ref().and_then(|e| e.str_at(&["message"]));
    assert_eq!(message, Some("MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found"));
    create(&mut world, secret("b25l"));
    wait(&mut world, "p", "Running ready Running/0", 125);
    let (process, _) = world.kube(KUBE).process("ns", "p", "special").expect("a process");
    let shown = |world: &World| -> Vec<String> {
        let special = world.actor::<Special>(process).expect("alive");
        let data = |m: &Arc<Mounts>| m.data(Kind::Secret, "s", "k");
        let all = special.files.iter().filter_map(data);
        all.map(|d| d.expose_text().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(shown(&world), ["one"]);
    let patch = json!({"data": {"k": "dHdv"}});
    send(&mut world, requests::merge(Kind::Secret, "ns", "s", patch));
    world.advance(Span::ms(400));
    assert_eq!(shown(&world), ["one"]);
    world.advance(Span::s(62));
    assert_eq!(shown(&world), ["one", "two"]);
}

#[test]
fn deletion_is_graceful_unless_forced() {
    let mut world = world(1);
    for (name, container, grace, least, most) in [
        ("quick", "idle", None, 0.0, 2.0),
        ("deaf", "special", None, 30.0, 32.0),
        ("hurried", "special", Some(5), 5.0, 7.0),
        ("forced", "special", Some(0), 0.0, 0.2),
    ] {
        create_pod(&mut world, name, container, |_| ());
        wait(&mut world, name, "Running ready Running/0", 30);
        let (process, _) = world.kube(KUBE).process("ns", name, container).expect("a process");
        delete(&mut world, name, grace);
        let took = wait(&mut world, name, "gone", 60);
        assert!((least..most).contains(&took), "{name} took {took}");
        // A forced deletion takes the object away; the process has its grace period all the same.
        assert_eq!(world.alive(process), name == "forced");
        world.advance(Span::s(31));
        assert!(!world.alive(process), "{name}");
    }
    create_pod(&mut world, "late", "special", |_| ());
    wait(&mut world, "late", "Running ready Running/0", 30);
    delete(&mut world, "late", None);
    world.advance(Span::s(3));
    delete(&mut world, "late", Some(1));
    assert!(wait(&mut world, "late", "gone", 60) < 2.0, "a second deletion can hurry the first");
}

/// Nobody runs what is in it, and what a process outside says of it stands; that process ends its life, too.
#[test]
fn an_external_pod_is_left_to_whoever_is_outside() {
    let mut world = world(1);
    create_pod(&mut world, "p", "idle", |pod| {
        pod["metadata"]["annotations"] = json!({ super::EXTERNAL: "" });
    });
    world.advance(Span::s(60));
    let pod = get(&world, "p").expect("a Pod");
    assert_eq!(pod.str_at(&["spec", "nodeName"]), Some("n0"));
    assert_eq!(line(&world, "p"), "Pending");
    assert_eq!(world.kube(KUBE).process("ns", "p", "idle"), None);
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    let status =
        json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}});
    send(&mut world, requests::patch_status(&pod, status));
    world.advance(Span::s(600));
    assert_eq!(line(&world, "p"), "Running ready");
    delete(&mut world, "p", None);
    world.advance(Span::s(60));
    assert_eq!(line(&world, "p"), "Running terminating ready");
    delete(&mut world, "p", Some(0));
    assert_eq!(line(&world, "p"), "gone");
}

#[test]
fn an_unhealthy_container_is_restarted() {
    let mut world = world(1);
    create_pod(&mut world, "p", "special", |pod| {
        let container = &mut pod["spec"]["containers"][0];
        container["env"] = json!([{"name": "ALIVE_FOR", "value": "60"}]);
        container["livenessProbe"] = json!({"exec": {"command": ["true"]}});
        pod["spec"]["terminationGracePeriodSeconds"] = 10.into();
    });
    wait(&mut world, "p", "Running ready Running/0", 30);
    let took = wait(&mut world, "p", "Running ready Running/1", 200);
    // 60 s of health, three failures 10 s apart, 10 s of SIGTERM in vain, and noticing it.
    assert!((88.0..104.0).contains(&took), "{took}");
}

#[test]
fn jobs_end_and_failed_init_containers_fail_a_pod() {
    let mut world = world(1);
    create_pod(&mut world, "job", "job", |pod| pod["spec"]["restartPolicy"] = "Never".into());
    create_pod(&mut world, "bad", "crash", |pod| pod["spec"]["restartPolicy"] = "Never".into());
    create_pod(&mut world, "init", "idle", |pod| {
        pod["spec"]["initContainers"] = json!([{"name": "fails", "image": "tools:1"}]);
        pod["spec"]["restartPolicy"] = "Never".into();
    });
    create_pod(&mut world, "again", "idle", |pod| {
        pod["spec"]["initContainers"] = json!([{"name": "fails", "image": "tools:1"}]);
    });
    wait(&mut world, "bad", "Failed Error/0", 60);
    wait(&mut world, "job", "Succeeded Completed/0", 60);
    wait(&mut world, "init", "Failed Error/0 PodInitializing/0", 60);
    wait(&mut world, "again", "Pending CrashLoopBackOff/2 PodInitializing/0", 60);
}

#[test]
fn a_dead_node_keeps_its_pods_terminating_until_it_is_back() {
    let mut world = world(1);
    create_pod(&mut world, "p", "idle", |_| ());
    create_pod(&mut world, "q", "idle", |_| ());
    create_pod(&mut world, "once", "job", |pod| pod["spec"]["restartPolicy"] = "Never".into());
    wait(&mut world, "once", "Running ready Running/0", 30);
    wait(&mut world, "q", "Running ready Running/0", 30);
    let uid = get(&world, "q").map(|p| p.meta.uid.clone());
    assert!(faults::crash_node(&mut world, KUBE, "n0"));
    assert!(!faults::crash_node(&mut world, KUBE, "n0"));
    assert!(world.kube(KUBE).process("ns", "p", "idle").is_none());
    delete(&mut world, "p", None);
    world.advance(Span::s(300));
    assert_eq!(line(&world, "p"), "Running terminating ready Running/0");
    assert!(faults::restart_node(&mut world, KUBE, "n0"));
    wait(&mut world, "p", "gone", 5);
    wait(&mut world, "q", "Running ready Running/1", 30);
    wait(&mut world, "once", "Failed ContainerStatusUnknown/0", 5);
    assert_eq!(get(&world, "q").map(|p| p.meta.uid.clone()), uid);
    assert!(faults::kill_pod(&mut world, KUBE, "ns", "q"));
    wait(&mut world, "q", "Running ready Running/2", 30);
}

#[test]
fn a_container_that_used_up_its_memory_says_so_and_runs_again() {
    let mut world = world(1);
    create_pod(&mut world, "p", "idle", |_| ());
    wait(&mut world, "p", "Running ready Running/0", 30);
    let last = |world: &World| {
        let pod = get(world, "p").expect("a Pod");
        let statuses = pod.at(&["status", "containerStatuses"]).cloned().expect("statuses");
        let end = statuses[0]["lastState"]["terminated"].clone();
        (end["reason"].as_str().map(str::to_owned), end["exitCode"].as_i64())
    };
    assert!(faults::run_out_of_memory(&mut world, KUBE, "ns", "p", "idle"));
    wait(&mut world, "p", "Running ready Running/1", 30);
    assert_eq!(last(&world), (Some("OOMKilled".to_owned()), Some(137)));
    assert!(faults::kill_pod(&mut world, KUBE, "ns", "p"));
    wait(&mut world, "p", "Running ready Running/2", 30);
    assert_eq!(
        last(&world),
        (Some("Error".to_owned()), Some(137)),
        "another death is another matter"
    );
    assert!(!faults::run_out_of_memory(&mut world, KUBE, "ns", "p", "nothing"));
}

#[test]
fn a_node_that_stands_still_does_nothing_until_it_goes_on() {
    let mut world = world(2);
    create_pod(&mut world, "p", "idle", |_| ());
    wait(&mut world, "p", "Running ready Running/0", 30);
    let node = get(&world, "p").and_then(|p| p.str_at(&["spec", "nodeName"]).map(str::to_owned));
    let node = node.expect("placed");
    assert!(faults::pause_node(&mut world, KUBE, &node, Span::s(100)));
    delete(&mut world, "p", None);
    world.advance(Span::s(90));
    assert_eq!(line(&world, "p"), "Running terminating ready Running/0");
    wait(&mut world, "p", "gone", 20);
    assert!(!faults::pause_node(&mut world, KUBE, "nothing", Span::s(1)));
}

#[test]
fn five_replicas_spread_over_three_nodes_and_anti_affinity_says_why_not() {
    let mut world = world(3);
    let constraint = |key: &str| {
        json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"cluster": "hippo"}}})
    };
    for i in 0..5 {
        create_pod(&mut world, &format!("p{i}"), "idle", |pod| {
            pod["spec"]["topologySpreadConstraints"] = json!([
                constraint("kubernetes.io/hostname"),
                constraint("topology.kubernetes.io/zone")
            ]);
        });
    }
    world.advance(Span::s(20));
    let mut counts = [0; 3];
    for i in 0..5 {
        let pod = get(&world, &format!("p{i}")).expect("a Pod");
        let node = pod.str_at(&["spec", "nodeName"]).expect("placed");
        counts[usize::from(node.as_bytes()[1] - b'0')] += 1;
    }
    assert_eq!(counts, [2, 2, 1]);
    create_pod(&mut world, "alone", "idle", |pod| {
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"cluster": "hippo"}}}]}});
    });
    world.advance(Span::s(1));
    let pod = get(&world, "alone").expect("a Pod");
    let condition = pod.condition("PodScheduled").expect("a condition");
    assert_eq!(paths::text(condition, &["reason"]), Some("Unschedulable"));
    let why = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(paths::text(condition, &["message"]), Some(why));
    // A node that becomes free is noticed.
    for i in 0..5 {
        delete(&mut world, &format!("p{i}"), None);
    }
    wait(&mut world, "alone", "Running ready Running/0", 30);
}

#[test]
fn a_claim_that_waits_for_its_consumer_learns_the_node() {
    let mut world = world(2);
    create(
        &mut world,
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "wait"},
        "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"}),
    );
    create(
        &mut world,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"storageClassName": "wait", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    );
    create_pod(&mut world, "p", "idle", |pod| {
        pod["spec"]["volumes"] =
            json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        pod["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "v", "mountPath": "/pgdata"}]);
        pod["spec"]["initContainers"] = json!([{"name": "i", "image": "tools:1", "volumeMounts": [{"name": "v", "mountPath": "/pgdata"}]}]);
    });
    world.advance(Span::s(2));
    let claim =
        world.kube(KUBE).api.get(Kind::PersistentVolumeClaim, "ns", "c").cloned().expect("a claim");
    assert_eq!(claim.annotation("volume.kubernetes.io/selected-node"), Some("n0"));
    assert_eq!(
        get(&world, "p").and_then(|p| p.str_at(&["spec", "nodeName"]).map(str::to_owned)),
        None
    );
    // What the provisioner would do.
    create(
        &mut world,
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
        "spec": {"storageClassName": "wait", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n0"]}]}]}}}}),
    );
    world.kube_mut(KUBE).add_volume("pv", crate::disk::Volume::default());
    send(
        &mut world,
        requests::merge(
            Kind::PersistentVolumeClaim,
            "ns",
            "c",
            json!({"spec": {"volumeName": "pv"}}),
        ),
    );
    send(&mut world, requests::patch_status(&claim, json!({"status": {"phase": "Bound"}})));
    wait(&mut world, "p", "Running ready Completed/0 Running/0", 30);
    // The init container wrote to the disk.
    assert_eq!(world.kube(KUBE).volume("pv").map(|v| v.capacity_bytes), Some(7));
    assert!(faults::lose_node_forever(&mut world, KUBE, "n0"));
    assert!(world.kube(KUBE).volume("pv").is_none());
    assert!(!faults::restart_node(&mut world, KUBE, "n0"));
    faults::delete_node(&mut world, KUBE, "n0");
    world.advance(Span::s(1));
    assert!(world.kube(KUBE).api.get(Kind::Node, "", "n0").is_none());
}

#[test]
fn a_drained_node_is_empty_and_takes_nothing() {
    let mut world = world(1);
    create_pod(&mut world, "p", "idle", |_| ());
    wait(&mut world, "p", "Running ready Running/0", 30);
    let drain = faults::drain_node(&mut world, KUBE, "n0");
    wait(&mut world, "p", "gone", 10);
    world.advance(Span::s(1));
    assert!(!world.alive(drain));
    create_pod(&mut world, "q", "idle", |_| ());
    world.advance(Span::s(5));
    assert_eq!(line(&world, "q"), "Pending");
    faults::cordon(&mut world, KUBE, "n0", false);
    wait(&mut world, "q", "Running ready Running/0", 30);
}

#[test]
fn what_others_wrote_into_statuses_is_put_right() {
    let mut world = world(1);
    create_pod(&mut world, "p", "idle", |_| ());
    wait(&mut world, "p", "Running ready Running/0", 30);
    let pod = get(&world, "p").expect("a Pod");
    let patch =
        |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    send(&mut world, requests::patch_status(&pod, patch("False")));
    assert_eq!(line(&world, "p"), "Running Running/0");
    wait(&mut world, "p", "Running ready Running/0", 10);
    let node = world.kube(KUBE).api.get(Kind::Node, "", "n0").cloned().expect("a Node");
    assert!(node.condition_true("Ready"));
    send(&mut world, requests::patch_status(&node, patch("Unknown")));
    let ready = |world: &World| {
        let node = world.kube(KUBE).api.get(Kind::Node, "", "n0");
        node.is_some_and(|n| n.condition_true("Ready"))
    };
    assert!(!ready(&world));
    world.advance(Span::s(11));
    assert!(ready(&world));
}

#[test]
fn a_silent_node_keeps_a_network_volume_for_six_minutes() {
    let mut world = world(2);
    create(
        &mut world,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    );
    create(
        &mut world,
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}),
    );
    let claim =
        world.kube(KUBE).api.get(Kind::PersistentVolumeClaim, "ns", "c").cloned().expect("a claim");
    send(&mut world, requests::patch_status(&claim, json!({"status": {"phase": "Bound"}})));
    let on = |world: &mut World, name: &str, node: &str| {
        create_pod(world, name, "special", |pod| {
            pod["spec"]["volumes"] =
                json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
            pod["spec"]["nodeName"] = node.into();
        })
    };
    on(&mut world, "old", "n0");
    wait(&mut world, "old", "Running ready Running/0", 30);
    // While the old Pod stops, the new one waits; afterwards it starts within the wait between two attempts.
    on(&mut world, "new", "n1");
    delete(&mut world, "old", Some(5));
    world.advance(Span::s(4));
    assert_eq!(line(&world, "new"), "Pending ContainerCreating/0");
    wait(&mut world, "new", "Running ready Running/0", 30);
    // Now the new one's node goes silent. The third Pod gets the volume by force, and late.
    faults::crash_node(&mut world, KUBE, "n1");
    let node = world.kube(KUBE).api.get(Kind::Node, "", "n1").cloned().expect("a Node");
    let unknown = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    send(&mut world, requests::patch_status(&node, unknown));
    delete(&mut world, "new", Some(0));
    on(&mut world, "third", "n0");
    let took = wait(&mut world, "third", "Running ready Running/0", 600);
    assert!((360.0..500.0).contains(&took), "{took}");
}

/// Three nodes with two probed Pods each, quiet.
fn quiet() -> World {
    let mut world = world(3);
    for i in 0..6 {
        create_pod(&mut world, &format!("p{i}"), "special", |pod| {
            let container = &mut pod["spec"]["containers"][0];
            for probe in ["livenessProbe", "readinessProbe"] {
                container[probe] = json!({"exec": {"command": ["true"]}});
            }
        });
    }
    world.advance(Span::s(60));
    world
}

#[test]
fn a_quiet_cluster_writes_heartbeats_and_nothing_else() {
    let mut world = quiet();
    let before = world.kube(KUBE).api.resource_version();
    world.advance(Span::s(600));
    let api = &world.kube(KUBE).api;
    let written = |kind| api.changes_since(before, Some(kind)).expect("remembered").count();
    assert_eq!((written(Kind::Lease), written(Kind::Node)), (180, 6));
    assert_eq!(api.resource_version() - before, 186);
}

#[test]
fn the_same_seed_gives_the_same_run_and_a_fork_goes_the_same_way() {
    let (mut one, mut two) = (quiet(), quiet());
    assert_eq!(one.trace.digest(), two.trace.digest());
    let mut fork = one.clone();
    for world in [&mut one, &mut two, &mut fork] {
        faults::crash_node(world, KUBE, "n1");
        world.advance(Span::s(30));
        faults::restart_node(world, KUBE, "n1");
        world.advance(Span::s(60));
    }
    assert_eq!(one.trace.digest(), two.trace.digest());
    assert_eq!(one.trace.digest(), fork.trace.digest());
    assert_eq!(one.fingerprint(), fork.fingerprint());
}
