//! What another operator left behind: its objects as it wrote them, and volumes that hold what those objects say. Time
//! begins with all of it switched off, as after a restart of everything; the operator is yet to be installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::kind::Kind;
use ivory_core::object::Object;
use ivory_core::{labels, names};
use serde_json::{Value, json};

use super::{CLASS_DRIVER, before_time};
use crate::disk::Volume;
use crate::kube::{ApiServer, Body, ObjectRef, Request, Subresource, Verb};
use crate::pgbackrest::{BackrestRequest, BackupKind, repository};
use crate::postgres::DataDirectory;
use crate::postgres::data::Control;
use crate::postgres::wal::Change;
use crate::time::Time;
use crate::world::{KubeId, World};

/// How much fits on a volume: enough.
const CAPACITY_BYTES: u64 = 1 << 30;

/// Puts objects there in their order, and fills the volumes of their claims.
///
/// # Errors
/// In words, when the API server refuses an object, or objects do not say what is on a volume.
pub(super) fn populate(world: &mut World, kube: KubeId, objects: &[Value]) -> Result<(), String> {
    for value in objects {
        put(world, kube, value)?;
    }
    let api = &world.kube(kube).api;
    let claims: Vec<Arc<Object>> = api.list(Kind::PersistentVolumeClaim, None).cloned().collect();
    for claim in claims {
        let volume = contents(&world.kube(kube).api, &claim, world.now())?;
        let name = format!("pvc-{}", claim.meta.uid);
        world.kube_mut(kube).add_volume(&name, volume);
        put(world, kube, &volume_of(&claim, &name))?;
    }
    Ok(())
}

/// One object, written by whom it was written: people apply a cluster, Patroni keeps its Endpoints, and everything else
/// is the operator's.
fn put(world: &mut World, kube: KubeId, value: &Value) -> Result<(), String> {
    let mut object = Object::from_value(value.clone()).map_err(|e| e.to_string())?;
    let status = object.body_mut().remove("status");
    let uid = std::mem::take(&mut object.meta.uid);
    let digits: String = uid.chars().filter(|c| *c != '-').collect();
    let mut uid = u128::from_str_radix(&digits, 16).ok();
    let what = object.full_name();
    let (kind, namespace, name) =
        (object.kind, object.meta.namespace.clone(), object.meta.name.clone());
    if kind == Kind::Endpoints && object.label(labels::ROLE) == Some(labels::role::PRIMARY) {
        point_to_leader(&world.kube(kube).api, &mut object)?;
    }
    let by_patroni = kind == Kind::Endpoints && object.label(labels::PATRONI).is_some();
    let object = Arc::new(object);
    let target = ObjectRef { kind, namespace, name };
    let request = match kind {
        Kind::IvoryCluster => Request::new("kubectl-client-side-apply", Verb::Create(object)),
        Kind::PersistentVolume => Request::new("csi-provisioner", Verb::Create(object)),
        _ if by_patroni => Request::new("Patroni", Verb::Create(object)),
        _ => {
            let body = Body::Apply { object, force: true };
            let subresource = Subresource::None;
            let verb = Verb::Patch { target: target.clone(), subresource, body };
            Request { manager: Some(names::FIELD_MANAGER.into()), ..Request::new("operator", verb) }
        }
    };
    let refused = |why: crate::kube::Status| format!("{what}: {}", why.message);
    before_time(world, kube, |api, now, uids| {
        api.handle(now, &mut || uid.take().unwrap_or_else(&mut *uids), &request)
    })
    .map_err(refused)?;
    let Some(status) = status else { return Ok(()) };
    let who = match kind {
        Kind::IvoryCluster => names::FIELD_MANAGER,
        _ => "kube-controller-manager",
    };
    let body = Body::Merge(Arc::new(json!({ "status": status })));
    let verb = Verb::Patch { target, subresource: Subresource::Status, body };
    let request = Request { manager: Some(who.into()), ..Request::new(who, verb) };
    before_time(world, kube, |api, now, uids| api.handle(now, uids, &request)).map_err(refused)?;
    Ok(())
}

/// The primary's Endpoints lead to the leader Service's address, which the API server gave out.
fn point_to_leader(api: &ApiServer, endpoints: &mut Object) -> Result<(), String> {
    let cluster = endpoints.label(labels::CLUSTER).unwrap_or_default();
    let leader = names::scope(cluster);
    let service = api.get(Kind::Service, &endpoints.meta.namespace, &leader);
    let ip = service.and_then(|s| s.str_at(&["spec", "clusterIP"]));
    let ip = ip.ok_or_else(|| format!("Service {leader} is not there before its Endpoints"))?;
    let ip = Value::from(ip);
    if let Some(address) =
        endpoints.body_mut().get_mut("subsets").and_then(|s| s.pointer_mut("/0/addresses/0/ip"))
    {
        *address = ip;
    }
    Ok(())
}

fn volume_of(claim: &Object, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": CLASS_DRIVER},
            "finalizers": ["kubernetes.io/pv-protection"],
        },
        "spec": {
            "capacity": {"storage": claim.at(&["spec", "resources", "requests", "storage"])},
            "accessModes": claim.at(&["spec", "accessModes"]),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim.at(&["spec", "storageClassName"]),
            "volumeMode": "Filesystem",
            "csi": {"driver": CLASS_DRIVER, "volumeHandle": name},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": &*claim.meta.namespace,
                "name": &*claim.meta.name, "uid": &*claim.meta.uid,
            },
        },
    })
}

/// What a claim's volume holds: an instance's data as of a clean stop, or a repository with one backup of it.
fn contents(api: &ApiServer, claim: &Object, now: Time) -> Result<Volume, String> {
    let mut volume = Volume::of(CAPACITY_BYTES);
    let data = data(api, claim, now)?;
    if claim.label(labels::PGBACKREST_VOLUME).is_some() {
        let (system_id, version) = (data.system_id, data.version);
        let begin = data.wal.begin();
        let records = data.wal.after(begin).unwrap_or_default().into();
        let (history, end) = (data.history.clone(), data.end);
        let timeline = data.timeline;
        let (repo, kind, data) = (1, BackupKind::Full, Arc::new(data));
        for request in [
            BackrestRequest::StanzaCreate { repo, system_id, version, upgrade: false },
            BackrestRequest::Push { repo, system_id, history, timeline, records, begin, end },
            BackrestRequest::Store { repo, kind, data, started: now },
        ] {
            repository::handle(&mut volume, now, &request);
        }
    } else {
        let directory = format!("pg{}", data.version);
        volume.directories.insert(directory.into(), data);
    }
    Ok(volume)
}

/// The database of a claim's cluster: users and databases by its Secrets, its identity by what Patroni noted.
fn data(api: &ApiServer, claim: &Object, now: Time) -> Result<DataDirectory, String> {
    let namespace = &*claim.meta.namespace;
    let cluster = claim.label(labels::CLUSTER).unwrap_or_default();
    let missing = |what: &str| format!("{}: nothing says {what}", claim.full_name());
    let patroni = |name: String, key: &str| {
        api.get(Kind::Endpoints, namespace, &name)
            .and_then(|e| e.annotation(key))
            .map(str::to_owned)
    };
    let system_id = patroni(names::scope_config(cluster), "initialize");
    let system_id = system_id.and_then(|id| id.parse().ok());
    let system_id = system_id.ok_or_else(|| missing("which database it holds"))?;
    let version = api.get(Kind::IvoryCluster, namespace, cluster);
    let version = version.and_then(|c| c.i64_at(&["spec", "postgresVersion"]));
    let version = version.and_then(|v| i32::try_from(v).ok());
    let version = version.ok_or_else(|| missing("of which version its database is"))?;
    let mut data =
        DataDirectory::initialize(version, system_id, &format!("/pgdata/pg{version}_wal"));
    for (role, secret) in users(api, namespace, cluster) {
        let database = secret.data("dbname").and_then(|d| d.expose_text().map(Arc::<str>::from));
        if let Some(database) = &database {
            data.write(now, Change::Database(database.clone()));
        }
        let verifier = secret.data("verifier");
        let databases = database.into_iter().collect();
        data.write(now, Change::Role { name: role.into(), verifier, databases });
    }
    data.checkpoint(now, true);
    (data.archived, data.ready_since) = (data.end, None);
    let leader = patroni(names::scope(cluster), "leader").unwrap_or_default();
    let instance = claim.label(labels::INSTANCE);
    if instance.is_some_and(|i| names::instance_pod(i) != leader) {
        data.control = Control::ShutDownInRecovery;
        data.standby_signal = true;
    }
    Ok(data)
}

/// The Secrets of a cluster's users, by role.
fn users(api: &ApiServer, namespace: &str, cluster: &str) -> BTreeMap<String, Arc<Object>> {
    api.list(Kind::Secret, Some(namespace))
        .filter(|s| s.label(labels::CLUSTER) == Some(cluster))
        .filter_map(|s| Some((s.label(labels::PGUSER)?.to_owned(), s.clone())))
        .collect()
}
