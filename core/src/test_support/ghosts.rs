//! What everybody else does, at once and without fault: StatefulSet controller, kubelet, volume
//! binder, Job controller, garbage collector, Patroni. One call brings the world as far as it gets
//! without the operator.

use serde_json::{Value, json};

use super::{CLUSTER, NAMESPACE, World};
use crate::command::Command;
use crate::hash::{digest, four_symbols};
use crate::names::DATABASE_CONTAINER;
use crate::object::{Object, OwnerRef};
use crate::{Kind, labels, names};

/// Lets everybody act until nobody moves. Whether anything changed.
pub fn act(world: &mut World) -> bool {
    let start = world.version;
    loop {
        let before = world.version;
        claims(world);
        workloads(world);
        patroni(world);
        jobs(world);
        if world.version == before {
            return before != start;
        }
    }
}

/// The few defaults that core depends on.
pub fn default_fields(world: &World, object: &mut Object) {
    if object.kind == Kind::Service && object.at(&["spec", "clusterIP"]).is_none() {
        let ip = format!("10.96.0.{}", world.uids % 250 + 1);
        if let Some(Value::Object(spec)) = object.body_mut().get_mut("spec") {
            spec.insert("clusterIP".into(), ip.into());
        }
    }
}

fn claims(world: &mut World) {
    for claim in world.all(Kind::PersistentVolumeClaim) {
        let name = claim.meta.name.to_string();
        if claim.terminating() {
            let used = world
                .all(Kind::Pod)
                .iter()
                .any(|p| p.to_value().to_string().contains(&format!("\"{name}\"")));
            if !used {
                world.remove(Kind::PersistentVolumeClaim, &name);
            }
        } else if claim.str_at(&["status", "phase"]) != Some("Bound") {
            let volume = format!("pv-{}", claim.meta.uid);
            world.change(Kind::PersistentVolumeClaim, &name, |c| {
                c["spec"]["volumeName"] = volume.into();
                c["status"] = json!({"phase": "Bound"});
            });
        }
    }
}

fn workloads(world: &mut World) {
    for set in world.all(Kind::StatefulSet) {
        let name = set.meta.name.to_string();
        let revision = four_symbols(digest(&set.at(&["spec", "template"]).map(Value::to_string)));
        let revision = format!("{name}-{revision}");
        let pod_name = format!("{name}-0");
        let pod = world.get(Kind::Pod, &pod_name).cloned();
        let wanted = set.i64_at(&["spec", "replicas"]) != Some(0);
        match &pod {
            None if wanted => start(world, &set, &revision, &pod_name),
            Some(pod) if !wanted && !pod.terminating() => world.delete(Kind::Pod, &pod_name),
            // A repository host's Pods follow its template by themselves.
            Some(pod)
                if set.label(labels::INSTANCE).is_none()
                    && pod.label("controller-revision-hash") != Some(&revision)
                    && !pod.terminating() =>
            {
                world.delete(Kind::Pod, &pod_name);
            }
            _ => {}
        }
        let ready = world.get(Kind::Pod, &pod_name).is_some_and(|p| p.condition_true("Ready"));
        let status = json!({
            "observedGeneration": set.meta.generation,
            "updateRevision": revision,
            "readyReplicas": i64::from(ready),
        });
        if set.at(&["status"]) != Some(&status) {
            world.change(Kind::StatefulSet, &name, |s| s["status"] = status);
        }
    }
    for pod in world.all(Kind::Pod) {
        if pod.terminating() && !world.dead.contains(&*pod.meta.name) {
            world.remove(Kind::Pod, &pod.meta.name);
        }
    }
}

fn start(world: &mut World, set: &Object, revision: &str, name: &str) {
    let template = set.at(&["spec", "template"]).cloned().unwrap_or_default();
    let claims_there =
        template.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten().all(
            |v| {
                let claim = v.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str);
                claim.is_none_or(|c| {
                    world.get(Kind::PersistentVolumeClaim, c).is_some_and(|c| !c.terminating())
                })
            },
        );
    let image = template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or("");
    let works = claims_there && !image.contains(world.bad_image) && !world.dead.contains(name);
    let state = if works {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff"}})
    };
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let first = containers
        .and_then(|c| c.first())
        .and_then(|c| c["name"].as_str())
        .unwrap_or(DATABASE_CONTAINER);
    let mut pod = Object::new(Kind::Pod, NAMESPACE, name).with("spec", template.get("spec")).with(
        "status",
        json!({
            "conditions": [{"type": "Ready", "status": if works { "True" } else { "False" }}],
            "containerStatuses": [{"name": first, "state": state}],
        }),
    );
    let of = |key: &str| {
        let map = template.pointer(&format!("/metadata/{key}")).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect()
    };
    let mut all: crate::object::StringMap = of("labels");
    all.insert("controller-revision-hash".into(), revision.into());
    pod.meta.labels = all.into();
    pod.meta.annotations = std::sync::Arc::new(of("annotations"));
    pod.meta.owners = vec![OwnerRef::controller_of(set)].into();
    world.put(pod);
}

fn runs(pod: &Object) -> bool {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    !pod.terminating()
        && statuses
            .into_iter()
            .flatten()
            .any(|s| s["name"] == DATABASE_CONTAINER && s["state"]["running"].is_object())
}

/// Every running member writes its status; the lease goes to one that runs.
fn patroni(world: &mut World) {
    let running: Vec<_> = world
        .all(Kind::Pod)
        .into_iter()
        .filter(|p| {
            p.label(labels::INSTANCE).is_some() && runs(p) && !world.dead.contains(&*p.meta.name)
        })
        .collect();
    let scope = format!("{CLUSTER}-ha");
    let lease =
        world.get(Kind::Endpoints, &scope).and_then(|e| e.annotation("leader")).map(str::to_owned);
    let holds = |name: &String| running.iter().any(|p| *p.meta.name == **name);
    if !lease.as_ref().is_some_and(holds) {
        let Some(heir) = running.first() else { return };
        lead(world, heir.meta.name.as_ref());
    }
    let leader =
        world.the(Kind::Endpoints, &scope).annotation("leader").unwrap_or_default().to_owned();
    for pod in running {
        let leads = *pod.meta.name == *leader;
        let standby = world
            .cluster()
            .at(&["spec", "standby"])
            .is_some_and(|s| s.is_object() && s["enabled"] != json!(false));
        let (role, label) = match (leads, standby) {
            (true, false) => ("primary", "master"),
            (true, true) => ("standby_leader", "master"),
            _ => ("replica", "replica"),
        };
        let behind = names::workload_of(&pod.meta.name).is_some_and(|i| world.behind.contains(i));
        let (timeline, position) = match behind && !leads {
            true => (1, 5 << 24),
            false => (world.timeline, 9 << 24),
        };
        let mut status = json!({"state": "running", "role": role, "timeline": timeline});
        status["xlog_location"] = json!(position);
        if !leads {
            let state = if behind { "in archive recovery" } else { "streaming" };
            status["replication_state"] = state.into();
        }
        let status = status.to_string();
        if pod.annotation("status") != Some(&status) || pod.label(labels::ROLE) != Some(label) {
            world.change(Kind::Pod, &pod.meta.name, |p| {
                p["metadata"]["annotations"]["status"] = status.into();
                p["metadata"]["labels"][labels::ROLE] = label.into();
            });
        }
    }
}

/// Gives the lease to a Pod. The first one bootstraps the cluster.
pub fn lead(world: &mut World, pod: &str) {
    endpoints(world, &format!("{CLUSTER}-ha"), "leader", pod);
    let config = format!("{CLUSTER}-ha-config");
    if world.get(Kind::Endpoints, &config).is_none_or(|e| e.annotation("initialize").is_none()) {
        endpoints(world, &config, "initialize", "7000000000000000001");
        let cluster = crate::cluster::Cluster::read(&world.cluster(), &world.config)
            .expect("a readable spec");
        let dynamic = crate::rules::config::dynamic(&cluster).to_string();
        endpoints(world, &config, "config", &dynamic);
    }
}

/// Writes an annotation on one of Patroni's Endpoints, and makes it where it is missing.
pub fn endpoints(world: &mut World, name: &str, annotation: &str, value: &str) {
    let mut object = world.get(Kind::Endpoints, name).map_or_else(
        || {
            let mut new = Object::new(Kind::Endpoints, NAMESPACE, name);
            let pairs =
                [(labels::CLUSTER, CLUSTER.to_owned()), (labels::PATRONI, format!("{CLUSTER}-ha"))];
            new.meta.labels =
                crate::object::StringMap::from(pairs.map(|(k, v)| (k.to_owned(), v))).into();
            new
        },
        |e| (**e).clone(),
    );
    let mut annotations = (*object.meta.annotations).clone();
    annotations.insert(annotation.to_owned(), value.to_owned());
    object.meta.annotations = annotations.into();
    world.put(object);
}

fn jobs(world: &mut World) {
    for job in world.all(Kind::Job) {
        if !job.condition_true("Complete") && !job.condition_true("Failed") {
            let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
            world.change(Kind::Job, &job.meta.name, |j| j["status"] = done);
        }
    }
}

/// What a command does to the world.
pub fn run(world: &mut World, command: &Command) {
    match command {
        Command::Switchover { leader, candidate, .. } => {
            let other = world.all(Kind::Pod).into_iter().find(|p| {
                p.label(labels::ROLE) == Some(labels::role::REPLICA) && *p.meta.name != **leader
            });
            let heir = candidate.clone().or(other.map(|p| p.meta.name.to_string()));
            lead(world, &heir.expect("somebody to take over"));
            world.timeline += 1;
        }
        Command::Failover { candidate, .. } => {
            lead(world, candidate);
            world.timeline += 1;
        }
        Command::StartInitSql { token, sql } => {
            let exit = if sql.expose_text() == Some("fail") { 3 } else { 0 };
            world.init_sql.insert(token.clone(), (exit, world.now.as_second()));
        }
        Command::ReplaceDynamicConfiguration { config } => {
            endpoints(world, &format!("{CLUSTER}-ha-config"), "config", config);
        }
        _ => {}
    }
}
