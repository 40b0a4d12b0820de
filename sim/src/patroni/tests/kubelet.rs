//! The programs under a real kubelet: from a Pod's manifest, its ConfigMap and its claim to a primary.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Value, json};

use super::bench::{NS, SCOPE, Tester};
use crate::disk::Volume;
use crate::kube::{ApiServer, Body, DeleteOptions, ObjectRef, Request, Subresource, Verb};
use crate::node::{NodeConfig, spawn_node};
use crate::patroni::check;
use crate::patroni::programs::DatabasePrograms;
use crate::postgres::DataDirectory;
use crate::time::Span;
use crate::world::{ActorId, Kube, KubeId, World};

const POD: &str = "hippo-00-abcd-0";

fn pod() -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8008, "scheme": "HTTPS"}, "initialDelaySeconds": 3, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3});
    let mounts = json!([
        {"name": "ivory-data", "mountPath": "/pgdata"},
        {"name": "patroni-config", "mountPath": "/etc/patroni"},
    ]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": NS, "labels": {"cluster": "hippo", "patroni": SCOPE}},
        "spec": {
            "nodeName": "node0",
            "initContainers": [{
                "name": "ivory-startup", "image": "ivory", "volumeMounts": mounts,
                "command": ["bash", "-ceu", "--", "…", "startup", "18", "/pgdata/pg18_wal", "/pgdata/pgbackrest/log"],
            }],
            "containers": [{
                "name": "database", "image": "ivory", "volumeMounts": mounts,
                "ports": [{"name": "ivory", "containerPort": 5432}],
                "livenessProbe": probe("/liveness"), "readinessProbe": probe("/readiness"),
                "env": [
                    {"name": "PATRONI_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "PATRONI_KUBERNETES_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "PATRONI_KUBERNETES_PORTS", "value": "- name: ivory\n  port: 5432\n  protocol: TCP\n"},
                    {"name": "PATRONI_POSTGRESQL_CONNECT_ADDRESS", "value": "$(PATRONI_NAME).hippo-pods:5432"},
                    {"name": "PATRONI_POSTGRESQL_DATA_DIR", "value": "/pgdata/pg18"},
                    {"name": "PATRONI_RESTAPI_CONNECT_ADDRESS", "value": "$(PATRONI_NAME).hippo-pods:8008"},
                    {"name": "PATRONI_RESTAPI_LISTEN", "value": "*:8008"},
                ],
            }],
            "volumes": [
                {"name": "ivory-data", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "patroni-config", "projected": {"sources": [
                    {"configMap": {"name": "hippo-config", "items": [{"key": "patroni.yaml", "path": "~ivory-operator_cluster.yaml"}]}},
                ]}},
            ],
        },
    })
}

/// A world with one node and what the Pod needs, the Pod not yet among it.
fn world() -> (World, KubeId, ActorId) {
    let mut world = World::new(51);
    let kube = world.add_kube(Kube::new(ApiServer::default()));
    let tester = world.spawn(kube, Arc::new(Tester::default()), None, None);
    world.kube_mut(kube).add_volume("pv-1", Volume::of(1 << 30));
    spawn_node(
        &mut world,
        kube,
        NodeConfig::new("node0", 0),
        Arc::new(DatabasePrograms::default()),
    );
    let yaml = format!(
        "scope: {SCOPE}\nkubernetes: {{namespace: {NS}, scope_label: patroni, role_label: role, use_endpoints: true, \
         leader_label_value: master, labels: {{cluster: hippo}}}}\n\
         bootstrap: {{dcs: {{ttl: 30}}, method: initdb, initdb: [data-checksums, {{waldir: /pgdata/pg18_wal}}]}}\n"
    );
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NS}, "automountServiceAccountToken": false}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": NS},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-1", "resources": {"requests": {"storage": "1Gi"}}}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hippo-config", "namespace": NS}, "data": {"patroni.yaml": yaml}}),
    ] {
        create(&mut world, kube, tester, object);
    }
    let bind = Verb::Patch {
        target: ObjectRef::new(Kind::PersistentVolumeClaim, NS, "data"),
        subresource: Subresource::Status,
        body: Body::Merge(Arc::new(json!({"status": {"phase": "Bound"}}))),
    };
    world.submit(tester, kube, Request::new("tester", bind));
    world.advance(Span::ms(10));
    (world, kube, tester)
}

fn create(world: &mut World, kube: KubeId, tester: ActorId, object: Value) {
    let object = Object::from_value(object).expect("readable");
    world.submit(tester, kube, Request::new("tester", Verb::Create(Arc::new(object))));
    world.advance(Span::ms(10));
}

fn the_pod(world: &World, kube: KubeId) -> Option<Arc<Object>> {
    world.kube(kube).api.get(Kind::Pod, NS, POD).cloned()
}

#[test]
fn a_pod_becomes_a_primary_and_stops_cleanly() {
    let (mut world, kube, tester) = world();
    create(&mut world, kube, tester, pod());
    world.advance(Span::s(60));
    let found = the_pod(&world, kube).expect("there");
    assert_eq!(
        check::writable_primaries(&world, kube, NS, SCOPE).len(),
        1,
        "{:?} {:?}",
        found.body,
        world.journal()
    );
    assert_eq!(found.label("role"), Some("master"));
    assert!(found.condition_true("Ready"), "{:?}", found.at(&["status"]));
    let delete = Verb::Delete {
        target: ObjectRef::new(Kind::Pod, NS, POD),
        options: DeleteOptions::default(),
    };
    world.submit(tester, kube, Request::new("tester", delete));
    world.advance(Span::s(20));
    assert!(the_pod(&world, kube).is_none());
    let leader = world.kube(kube).api.get(Kind::Endpoints, NS, SCOPE).expect("stays");
    assert_eq!(leader.annotation("leader"), None, "the key was given away");
    let volume = world.kube(kube).volume("pv-1").expect("stays");
    assert_eq!(volume.directories["pg18"].control, crate::postgres::data::Control::ShutDown);
}

#[test]
fn data_of_another_version_are_refused() {
    let (mut world, kube, tester) = world();
    let old = DataDirectory::initialize(17, 7_000_000_000_000_000_001, "/pgdata/pg17_wal");
    let volume = world.kube_mut(kube).volume_mut("pv-1").expect("a volume");
    volume.directories.insert("pg18".into(), old);
    create(&mut world, kube, tester, pod());
    world.advance(Span::s(60));
    let found = the_pod(&world, kube).expect("there");
    let text = serde_json::to_string(found.at(&["status"]).expect("a status")).expect("JSON");
    assert!(text.contains("Expected PostgreSQL data version 18"), "{text}");
    assert!(check::writable_primaries(&world, kube, NS, SCOPE).is_empty());
}
