//! What holds of plans whatever happens on the way: crashes, old reads, strangers' edits, neighbours; and that no field is
//! ignored in silence.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::crypto::pki::Root;
use crate::memo::Memos;
use crate::plan::Op;
use crate::read::ReadKey;
use crate::test_support::{World, claim, commands, spec, text, texts};
use crate::{Kind, Object, labels, names, unbuilt};

/// The kinds and names of what is there, with labels: what a user would call the state.
fn state(world: &World) -> Vec<String> {
    let all =
        world.objects.values().filter(|o| o.kind != Kind::Event && o.kind != Kind::IvoryCluster);
    let mut lines: Vec<String> =
        all.map(|o| format!("{} {} {:?}", o.kind, o.meta.name, o.meta.labels)).collect();
    lines.sort();
    lines
}

#[test]
fn a_crash_after_any_write_leads_to_the_same_state() {
    let end = |crash: usize| {
        let mut world = World::new(spec(2));
        let mut written = 0;
        for _ in 0..80 {
            let plan = world.plan();
            let room = crash.saturating_sub(written);
            if room > 0 && plan.writes.len() > room {
                // The operator dies here and forgets what it remembered.
                world.execute(&plan, room).expect("no refusal");
                written = crash;
                world.memos = Some(Memos::default());
                continue;
            }
            world.execute(&plan, usize::MAX).expect("no refusal");
            written += plan.writes.len();
            let moved = crate::test_support::act(&mut world);
            world.now += jiff::SignedDuration::from_secs(5);
            if !moved && plan.writes.is_empty() {
                return state(&world);
            }
        }
        panic!("never quiet after a crash at {crash}: {:?}", texts(&world.plan()));
    };
    let expected = end(usize::MAX);
    for crash in (1..60).step_by(2) {
        assert_eq!(end(crash), expected, "crash after write {crash}");
    }
}

#[test]
fn what_can_not_be_followed_is_told_when_that_lasts() {
    let mut world = World::settled(1);
    let is_pods = |r: &ReadKey| matches!(r, ReadKey::Select { kind: Kind::Pod, .. });
    let pods = crate::reads::reads(&world.cluster()).into_iter().find(is_pods);
    world.unknown.insert(pods.expect("Pods are read"));
    for (blind_s, told) in [(5, false), (29, false), (30, true)] {
        world.blind_since = Some(world.now - jiff::SignedDuration::from_secs(blind_s));
        let plan = world.plan();
        assert_eq!(plan.writes.len(), usize::from(told), "{blind_s}: {:?}", texts(&plan));
        let again = plan.requeue.expect("it looks again");
        assert!(again.as_secs() <= 30, "{again:?}");
    }
    world.round();
    let condition = world.condition("Reconciled").expect("a condition");
    assert_eq!((&*condition.0, &*condition.1), ("False", "Unreadable"));
}

#[test]
fn old_reads_of_any_kind_lead_to_the_same_state() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 4] = [
        ("none", |_| {}),
        ("scaled down", |w| w.edit(|s| s["instances"][0]["replicas"] = 1.into())),
        ("scaled up and restarted", |w| {
            w.edit(|s| {
                s["instances"][0]["replicas"] = 3.into();
                s["metadata"]["annotations"]["a"] = "b".into();
            });
        }),
        ("another set", |w| w.edit(|s| s["instances"][0]["name"] = "other".into())),
    ];
    for (case, change) in changes {
        let end = |lagging: Option<Kind>| {
            let mut world = if case == "none" { World::new(spec(2)) } else { World::settled(2) };
            change(&mut world);
            world.lagging = lagging;
            world.settle();
            let volumes = world.all(Kind::PersistentVolumeClaim).len();
            (world.instances(), volumes, world.all(Kind::Job).len(), world.condition("Reconciled"))
        };
        let expected = end(None);
        for kind in crate::reads::LABELLED.iter().copied().chain([Kind::IvoryCluster]) {
            let found = end(Some(kind));
            assert_eq!(found, expected, "{case}, {kind}");
        }
    }
}

#[test]
fn any_label_that_a_stranger_takes_comes_back_and_nobody_restarts() {
    let quiet = World::settled(2);
    let kinds = [
        Kind::StatefulSet,
        Kind::PersistentVolumeClaim,
        Kind::ConfigMap,
        Kind::Service,
        Kind::ServiceAccount,
    ];
    for kind in kinds {
        for object in quiet.all(kind) {
            for label in object.meta.labels.keys() {
                let mut world = quiet.clone();
                let pods: Vec<_> =
                    world.all(Kind::Pod).iter().map(|p| p.meta.uid.clone()).collect();
                world.strip(kind, &object.meta.name, label);
                world.settle();
                assert_eq!(
                    state(&world),
                    state(&quiet),
                    "{kind} {} without {label}",
                    object.meta.name
                );
                let after: Vec<_> =
                    world.all(Kind::Pod).iter().map(|p| p.meta.uid.clone()).collect();
                assert_eq!(after, pods, "{kind} {} without {label}", object.meta.name);
            }
        }
    }
}

#[test]
fn a_changed_set_label_moves_no_instance() {
    let mut world = World::settled(2);
    let before = state(&world);
    let name = world.replicas()[0].clone();
    for kind in [Kind::StatefulSet, Kind::PersistentVolumeClaim, Kind::Secret] {
        let object = match kind {
            Kind::PersistentVolumeClaim => names::data_volume(&name),
            Kind::Secret => names::instance_certs(&name),
            _ => name.clone(),
        };
        world.change(kind, &object, |o| {
            o["metadata"]["labels"][labels::INSTANCE_SET] = "elsewhere".into()
        });
        world.settle();
        assert_eq!(state(&world), before, "{kind}");
    }
}

#[test]
fn a_cluster_without_its_finalizer_or_status_gets_them_back() {
    let mut world = World::settled(2);
    let before = state(&world);
    world.change(Kind::IvoryCluster, "hippo", |c| {
        c["metadata"]["finalizers"] = json!([]);
        c["status"] = json!({});
    });
    world.settle();
    assert_eq!(*world.cluster().meta.finalizers, [labels::FINALIZER]);
    assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
    assert_eq!(state(&world), before);
}

type Edit = fn(&mut Value);

/// One edit for each row of [`unbuilt::TABLE`].
const UNBUILT: &[(&str, Edit)] = &[
    ("spec.backups.pgbackrest.manual", |s| {
        s["backups"]["pgbackrest"]["manual"] = json!({"repoName": "repo1"})
    }),
    ("spec.backups.pgbackrest.repos[].schedules", |s| {
        s["backups"]["pgbackrest"]["repos"][0]["schedules"] = json!({"full": "0 1 * * *"});
    }),
    ("spec.backups.pgbackrest.restore", |s| {
        s["backups"]["pgbackrest"]["restore"] = json!({"enabled": true, "repoName": "repo1"});
    }),
    ("spec.dataSource", |s| {
        s["dataSource"] = json!({"volumes": {"pgDataVolume": {"pvcName": "old"}}})
    }),
    ("spec.monitoring.pgmonitor.exporter", |s| {
        s["monitoring"] = json!({"pgmonitor": {"exporter": {}}})
    }),
    ("spec.proxy.pgBouncer", |s| s["proxy"] = json!({"pgBouncer": {}})),
    ("spec.userInterface.pgAdmin", |s| {
        s["userInterface"] = json!({"pgAdmin": {"dataVolumeClaimSpec": claim("1Gi")}});
    }),
];

/// Edits that must change more than the status.
const BUILT: &[(&str, Edit)] = &[
    ("spec.backups", |s| {
        s["backups"]["pgbackrest"]["global"] = json!({"repo1-retention-full": "2"})
    }),
    ("spec.backups.pgbackrest.configuration", |s| {
        s["backups"]["pgbackrest"]["configuration"] = json!([{"secret": {"name": "keys"}}]);
    }),
    ("spec.backups.pgbackrest.image", |s| s["backups"]["pgbackrest"]["image"] = "other".into()),
    ("spec.backups.pgbackrest.metadata", |s| {
        s["backups"]["pgbackrest"]["metadata"] = json!({"labels": {"a": "b"}})
    }),
    ("spec.backups.pgbackrest.repoHost", |s| {
        s["backups"]["pgbackrest"]["repoHost"] = json!({"priorityClassName": "high"});
    }),
    ("spec.backups.pgbackrest.sidecars", |s| {
        s["backups"]["pgbackrest"]["sidecars"] =
            json!({"pgbackrest": {"resources": {"limits": {"cpu": "1"}}}});
    }),
    ("spec.config", |s| s["config"] = json!({"files": [{"configMap": {"name": "files"}}]})),
    ("spec.customTLSSecret", |s| {
        s["customTLSSecret"] = json!({"name": "mine"});
        s["customReplicationTLSSecret"] = json!({"name": "mine"});
    }),
    ("spec.customReplicationTLSSecret", |s| {
        s["customTLSSecret"] = json!({"name": "mine"});
        s["customReplicationTLSSecret"] = json!({"name": "mine"});
    }),
    ("spec.databaseInitSQL", |s| s["databaseInitSQL"] = json!({"name": "sql", "key": "init"})),
    ("spec.instances[].containers", |s| {
        s["instances"][0]["containers"] = json!([{"name": "mine", "image": "x"}])
    }),
    ("spec.disableDefaultPodScheduling", |s| s["disableDefaultPodScheduling"] = true.into()),
    ("spec.image", |s| s["image"] = "other".into()),
    ("spec.imagePullPolicy", |s| s["imagePullPolicy"] = "Always".into()),
    ("spec.imagePullSecrets", |s| s["imagePullSecrets"] = json!([{"name": "pull"}])),
    ("spec.instances", |s| s["instances"][0]["replicas"] = 3.into()),
    ("spec.instances[].affinity", |s| s["instances"][0]["affinity"] = json!({"nodeAffinity": {}})),
    ("spec.instances[].metadata", |s| {
        s["instances"][0]["metadata"] = json!({"labels": {"a": "b"}})
    }),
    ("spec.instances[].minAvailable", |s| s["instances"][0]["minAvailable"] = 2.into()),
    ("spec.instances[].priorityClassName", |s| {
        s["instances"][0]["priorityClassName"] = "high".into()
    }),
    ("spec.instances[].resources", |s| {
        s["instances"][0]["resources"] = json!({"limits": {"cpu": "1"}})
    }),
    ("spec.instances[].sidecars", |s| {
        s["instances"][0]["sidecars"] =
            json!({"replicaCertCopy": {"resources": {"limits": {"cpu": "1"}}}});
    }),
    ("spec.instances[].tolerations", |s| {
        s["instances"][0]["tolerations"] = json!([{"operator": "Exists"}])
    }),
    ("spec.instances[].topologySpreadConstraints", |s| {
        s["instances"][0]["topologySpreadConstraints"] =
            json!([{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]);
    }),
    ("spec.instances[].walVolumeClaimSpec", |s| {
        s["instances"][0]["walVolumeClaimSpec"] = claim("1Gi")
    }),
    ("spec.metadata", |s| s["metadata"] = json!({"annotations": {"a": "b"}})),
    ("spec.openshift", |s| s["openshift"] = true.into()),
    ("spec.shutdown", |s| s["shutdown"] = true.into()),
    ("spec.patroni", |s| {
        s["patroni"] =
            json!({"dynamicConfiguration": {"postgresql": {"parameters": {"work_mem": "8MB"}}}})
    }),
    ("spec.port", |s| s["port"] = 5433.into()),
    ("spec.postGISVersion", |s| s["postGISVersion"] = "3.5".into()),
    ("spec.service", |s| s["service"] = json!({"type": "LoadBalancer"})),
    ("spec.standby", |s| s["standby"] = json!({"host": "elsewhere"})),
    ("spec.supplementalGroups", |s| s["supplementalGroups"] = json!([65000])),
    ("spec.users", |s| s["users"] = json!([{"name": "rhino"}, {"name": "zebra"}])),
];

/// Fields that can't be changed while a cluster runs, and the reason that says so.
const REFUSED: &[(&str, Edit, &str)] =
    &[("spec.postgresVersion", |s| s["postgresVersion"] = 17.into(), "PostgresVersionChanged")];

#[test]
fn what_can_not_be_changed_is_refused_and_taken_back() {
    for (path, edit, reason) in REFUSED {
        assert_eq!(effect(*edit), [""; 0], "{path}");
        let mut world = World::settled(2);
        let former = world.cluster().at(&["spec"]).cloned();
        world.edit(edit);
        world.settle();
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some(*reason));
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"), "{path}");
        world.edit(|s| *s = former.unwrap_or_default());
        world.settle();
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("InSync"));
    }
}

/// What a settled cluster would be changed by an edit, but for its status.
fn effect(edit: Edit) -> Vec<String> {
    let mut world = World::settled(2);
    world.config.gates.insert("InstanceSidecars".into());
    let issued = Root::generate(&[9; 32], world.now);
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let certificate = base64(issued.certificate.as_bytes());
    let files = json!({
        "tls.crt": certificate, "ca.crt": certificate, "tls.key": base64(issued.key.expose()),
    });
    world
        .put(Object::new(Kind::Secret, crate::test_support::NAMESPACE, "mine").with("data", files));
    let sql = json!({"init": "SELECT 1"});
    world
        .put(Object::new(Kind::ConfigMap, crate::test_support::NAMESPACE, "sql").with("data", sql));
    world.edit(edit);
    let plan = world.plan();
    let own = |w: &&crate::plan::Write| !matches!(w.op, Op::Status { .. } | Op::Event { .. });
    plan.writes.iter().filter(own).map(text).collect()
}

#[test]
fn the_table_of_unbuilt_fields_is_true() {
    let rows: Vec<_> = unbuilt::TABLE.iter().map(|r| r.path).collect();
    let edits: Vec<_> = UNBUILT.iter().map(|e| e.0).collect();
    assert_eq!(rows, edits);
    for (path, edit) in UNBUILT {
        assert_eq!(effect(*edit), [""; 0], "{path} does something: take it off the table");
        let mut world = World::settled(2);
        world.edit(edit);
        let plan = world.plan();
        let told = plan.writes.iter().filter_map(|w| match &w.op {
            Op::Event { object } => object.str_at(&["message"]).map(str::to_owned),
            _ => None,
        });
        assert!(
            told.collect::<String>().contains(path),
            "{path} is ignored in silence: {:?}",
            texts(&plan)
        );
    }
}

#[test]
fn every_other_field_does_something() {
    for (path, edit) in BUILT {
        assert_ne!(
            effect(*edit).len(),
            0,
            "{path} is ignored in silence: build it or put it on the table"
        );
    }
    let crd = serde_json::to_value(crate::api::crd_ivorycluster()).expect("JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let fields = schema.as_object().expect("properties").keys();
    for field in fields.filter(|f| *f != "paused") {
        let path = format!("spec.{field}");
        let known = UNBUILT
            .iter()
            .chain(BUILT)
            .map(|(p, _)| p)
            .chain(REFUSED.iter().map(|(p, ..)| p))
            .any(|p| *p == path || p.starts_with(&format!("{path}.")));
        assert!(known, "{path} is in no list");
    }
}

#[test]
fn one_cluster_leaves_another_of_the_namespace_alone() {
    let mut world = World::settled(1);
    // Everything that a neighbour has, under its own name and with its own labels.
    let mut neighbours = Vec::new();
    for object in world.objects.values().cloned().collect::<Vec<_>>() {
        if object.label(labels::CLUSTER).is_none() {
            continue;
        }
        let mut value = object.to_value();
        value["metadata"]["name"] = object.meta.name.replace("hippo", "rhino").into();
        value["metadata"]["uid"] = format!("neighbour {}", object.meta.uid).into();
        value["metadata"]["labels"][labels::CLUSTER] = "rhino".into();
        if let Some(owner) = value["metadata"]["ownerReferences"].get_mut(0) {
            owner["uid"] = "uid of rhino".into();
        }
        neighbours.push(world.put(Object::from_value(value).expect("an object")));
    }
    world.edit(|s| {
        s["instances"][0]["name"] = "other".into();
        s["users"] = json!([]);
    });
    let plan = world.plan();
    let touched = plan.writes.iter().map(text).find(|t| t.contains("rhino-"));
    assert_eq!(touched, None);
    assert!(commands(&plan).iter().all(|(pod, _)| pod.starts_with("hippo")));
}
