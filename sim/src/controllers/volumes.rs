//! Claims and volumes: binding, provisioning, reclaiming, growing. The provisioner is part of it: its disks
//! are the world's. Left out: `dataSource`, volume attributes classes, node affinity of volumes. One object is written once a pass, since each write needs the version the one before made.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::controllers::framework::{
    Caches, Controller, Disk, Key, Keys, Seen, Step, Sync, object_in,
};
use crate::controllers::support::{conditions, moment};
use crate::time::{Span, Time};

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Annotation of a StorageClass of the simulation: how its volumes grow. `online` (also without it) at once,
/// `offline` when the next Pod starts on them, `fails` never.
pub const EXPANSION: &str = "sim.ivorysql.org/expansion";
/// How long the storage works on growing a volume.
const RESIZE: Span = Span::s(2);

/// How often the real binder looks at everything again.
const RESYNC: Span = Span::s(15);

/// Binds, provisions and reclaims.
pub(super) struct VolumeBinder;

impl Controller for VolumeBinder {
    fn name(&self) -> &'static str {
        "persistentvolume-binder"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::StorageClass, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        match object.kind {
            Kind::PersistentVolumeClaim => {
                keys.push(Key::of(object));
                let volume = object.str_at(&["spec", "volumeName"]);
                keys.extend(volume.map(volume_key));
            }
            Kind::PersistentVolume => {
                keys.push(Key::of(object));
                keys.extend(claim_key(object));
                if seen.old.is_none() && claim_key(object).is_none() {
                    // A claim may wait for it. No change of a volume tells the real one, which looks at all of them
                    // so often.
                    let unbound = |c: &&Arc<Object>| !bound(c);
                    let claims = caches.all(Kind::PersistentVolumeClaim).filter(unbound);
                    claims.for_each(|c| keys.push_after(Key::of(c), RESYNC));
                }
            }
            Kind::StorageClass => {
                let unbound = |c: &&Arc<Object>| !bound(c);
                let claims = caches.all(Kind::PersistentVolumeClaim).filter(unbound);
                keys.extend(claims.map(|c| Key::of(c)));
            }
            _ if seen.differs(|pod| pod.at(&["spec", "nodeName"])) => {
                let claims = claims_of(object);
                keys.extend(claims.map(|c| Key::beside(object, Kind::PersistentVolumeClaim, c)));
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(object) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        if key.kind == Kind::PersistentVolume {
            look_after_volume(object, caches, sync);
        } else if bound(object) {
            confirm(object, caches, sync);
        } else {
            bind_or_provision(object, caches, sync);
        }
    }
}

fn volume_key(name: &str) -> Key {
    Key { kind: Kind::PersistentVolume, namespace: "".into(), name: name.into() }
}

fn claim_key(volume: &Object) -> Option<Key> {
    Some(Key {
        kind: Kind::PersistentVolumeClaim,
        namespace: volume.str_at(&["spec", "claimRef", "namespace"])?.into(),
        name: volume.str_at(&["spec", "claimRef", "name"])?.into(),
    })
}

/// The names of the claims that a Pod uses.
pub(super) fn claims_of(pod: &Object) -> impl Iterator<Item = &str> {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array);
    volumes
        .into_iter()
        .flatten()
        .filter_map(|v| v.get("persistentVolumeClaim")?.get("claimName")?.as_str())
}

fn bound(claim: &Object) -> bool {
    claim.annotation(BIND_COMPLETED).is_some()
}

fn amount(value: Option<&Value>) -> i64 {
    let text = value.and_then(Value::as_str);
    let quantity = text.and_then(|t| t.parse::<Quantity>().ok());
    quantity.map_or(0, Quantity::value)
}

fn requested(claim: &Object) -> Option<&Value> {
    claim.at(&["spec", "resources", "requests", "storage"])
}

fn class_of<'a>(claim: &Object, caches: &'a Caches) -> Option<&'a Arc<Object>> {
    let name = claim.str_at(&["spec", "storageClassName"]);
    match name {
        Some(name) => caches.get(Kind::StorageClass, "", name),
        None => caches.all(Kind::StorageClass).find(|class| {
            class.annotation("storageclass.kubernetes.io/is-default-class") == Some("true")
        }),
    }
}

/// A claim that was bound: is its volume there still?
fn confirm(claim: &Arc<Object>, caches: &Caches, sync: &mut Sync) {
    let name = claim.str_at(&["spec", "volumeName"]).unwrap_or_default();
    let volume = caches.get(Kind::PersistentVolume, "", name);
    let before = claim.at(&["status"]).and_then(Value::as_object);
    let mut status = before.cloned().unwrap_or_default();
    let Some(volume) = volume.filter(|v| belongs(v, claim)) else {
        status.insert("phase".into(), "Lost".into());
        return sync.status(claim, status);
    };
    if status.get("phase").and_then(Value::as_str) == Some("Bound") {
        return;
    }
    status.insert("phase".into(), "Bound".into());
    for key in ["accessModes", "capacity"] {
        if let Some(value) = volume.at(&["spec", key]) {
            status.insert(key.into(), value.clone());
        }
    }
    sync.status(claim, status);
}

fn belongs(volume: &Object, claim: &Object) -> bool {
    volume.str_at(&["spec", "claimRef", "uid"]) == Some(&claim.meta.uid)
}

fn bind_or_provision(claim: &Arc<Object>, caches: &Caches, sync: &mut Sync) {
    if claim.terminating() {
        return;
    }
    let class = class_of(claim, caches);
    if let Some(class) = class.filter(|_| claim.at(&["spec", "storageClassName"]).is_none()) {
        // A default class that came after the claim is entered in it, as measured on a real control plane.
        let mut classed = (**claim).clone();
        if let Some(spec) = classed.body_mut().get_mut("spec") {
            spec["storageClassName"] = (*class.meta.name).into();
        }
        return sync.update(classed);
    }
    let waits = class.is_some_and(|c| {
        c.str_at(&["volumeBindingMode"]) == Some("WaitForFirstConsumer") && !consumed(claim, caches)
    });
    let provisioned = format!("pvc-{}", claim.meta.uid);
    let volume = match claim.str_at(&["spec", "volumeName"]) {
        Some(name) => caches.get(Kind::PersistentVolume, "", name).filter(|v| free_for(v, claim)),
        None if waits => None,
        None => {
            caches.get(Kind::PersistentVolume, "", &provisioned).or_else(|| best_fit(claim, caches))
        }
    };
    if let Some(volume) = volume {
        return bind(claim, volume, sync);
    }
    let provisioner = class.and_then(|c| c.str_at(&["provisioner"]));
    let provisioner = provisioner.filter(|p| *p != "kubernetes.io/no-provisioner");
    let named = claim.at(&["spec", "volumeName"]).is_some();
    if let (Some(class), Some(provisioner), false, false) = (class, provisioner, waits, named) {
        provision(claim, class, provisioner, &provisioned, sync);
    }
}

/// Whether a Pod that uses the claim has a node: by the scheduler's annotation, or because it runs there.
fn consumed(claim: &Object, caches: &Caches) -> bool {
    claim.annotation(SELECTED_NODE).is_some()
        || caches.list(Kind::Pod, &claim.meta.namespace).any(|pod| {
            pod.at(&["spec", "nodeName"]).is_some()
                && claims_of(pod).any(|c| *c == *claim.meta.name)
        })
}

/// Whether a volume is nobody's, or was set aside for this claim.
fn free_for(volume: &Object, claim: &Object) -> bool {
    if volume.terminating() {
        return false;
    }
    let Some(wanted) = claim_key(volume) else {
        return volume.at(&["spec", "claimRef"]).is_none();
    };
    let uid = volume.str_at(&["spec", "claimRef", "uid"]).unwrap_or_default();
    wanted == Key::of(claim) && (uid.is_empty() || *uid == *claim.meta.uid)
}

/// The smallest volume that satisfies a claim; one that was set aside for it goes first.
fn best_fit<'a>(claim: &Object, caches: &'a Caches) -> Option<&'a Arc<Object>> {
    let wanted = amount(requested(claim));
    let text = |o: &Object, key: &str| o.str_at(&["spec", key]).unwrap_or_default().to_owned();
    let modes = |o: &Object| o.at(&["spec", "accessModes"]).and_then(Value::as_array).cloned();
    let asked = modes(claim).unwrap_or_default();
    let fits = |volume: &&Arc<Object>| {
        free_for(volume, claim)
            && text(volume, "storageClassName") == text(claim, "storageClassName")
            && amount(volume.at(&["spec", "capacity", "storage"])) >= wanted
            && asked.iter().all(|mode| modes(volume).is_some_and(|m| m.contains(mode)))
    };
    caches.all(Kind::PersistentVolume).filter(fits).min_by_key(|v| {
        let aside = v.at(&["spec", "claimRef"]).is_some();
        (!aside, amount(v.at(&["spec", "capacity", "storage"])))
    })
}

fn provision(claim: &Object, class: &Object, by: &str, name: &str, sync: &mut Sync) {
    let capacity = amount(requested(claim));
    sync.disk(Disk::Add {
        volume: name.into(),
        capacity_bytes: u64::try_from(capacity).unwrap_or(0),
    });
    let mut volume = Object::new(Kind::PersistentVolume, "", name);
    let annotations = Arc::make_mut(&mut volume.meta.annotations);
    annotations.insert(PROVISIONED_BY.into(), by.into());
    volume.meta.finalizers = Arc::new(vec!["kubernetes.io/pv-protection".into()]);
    let mut spec = json!({
        "capacity": {"storage": requested(claim)},
        "accessModes": claim.at(&["spec", "accessModes"]),
        "persistentVolumeReclaimPolicy": class.str_at(&["reclaimPolicy"]).unwrap_or("Delete"),
        "storageClassName": &*class.meta.name,
        "volumeMode": claim.str_at(&["spec", "volumeMode"]).unwrap_or("Filesystem"),
        "csi": {"driver": by, "volumeHandle": name},
    });
    spec["claimRef"] = reference(claim);
    volume.body_mut().insert("spec".into(), spec);
    sync.create(volume);
}

fn reference(claim: &Object) -> Value {
    json!({
        "apiVersion": "v1", "kind": claim.kind.name(), "namespace": &*claim.meta.namespace,
        "name": &*claim.meta.name, "uid": &*claim.meta.uid,
        "resourceVersion": claim.meta.resource_version.to_string(),
    })
}

/// The next of the four writes of binding: the volume's reference, its phase, the claim's reference; the
/// claim's phase follows when it is seen as bound.
fn bind(claim: &Object, volume: &Arc<Object>, sync: &mut Sync) {
    if !belongs(volume, claim) {
        let mut bound = (**volume).clone();
        if let Some(spec) = bound.body_mut().get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("claimRef".into(), reference(claim));
        }
        Arc::make_mut(&mut bound.meta.annotations).insert(BOUND_BY.into(), "yes".into());
        return sync.update(bound);
    }
    if set_phase(volume, "Bound", sync) {
        return;
    }
    let mut bound = claim.clone();
    let annotations = Arc::make_mut(&mut bound.meta.annotations);
    annotations.insert(BIND_COMPLETED.into(), "yes".into());
    if let Some(by) = volume.annotation(PROVISIONED_BY) {
        annotations.insert(PROVISIONER.into(), by.into());
    }
    if claim.at(&["spec", "volumeName"]).is_none() {
        annotations.insert(BOUND_BY.into(), "yes".into());
        if let Some(spec) = bound.body_mut().get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("volumeName".into(), (*volume.meta.name).into());
        }
    }
    // A volume that was made by hand has a disk too.
    sync.disk(Disk::Add {
        volume: volume.meta.name.clone(),
        capacity_bytes: u64::try_from(amount(volume.at(&["spec", "capacity", "storage"])))
            .unwrap_or(0),
    });
    sync.update(bound);
}

fn set_phase(volume: &Object, phase: &str, sync: &mut Sync) -> bool {
    if volume.str_at(&["status", "phase"]) == Some(phase) {
        return false;
    }
    let mut status = Map::new();
    status.insert("phase".into(), phase.into());
    status.insert("lastPhaseTransitionTime".into(), sync.time_text().into());
    sync.status(volume, status);
    true
}

fn look_after_volume(volume: &Arc<Object>, caches: &Caches, sync: &mut Sync) {
    let Some(claim) = claim_key(volume) else {
        set_phase(volume, "Available", sync);
        return;
    };
    let uid = volume.str_at(&["spec", "claimRef", "uid"]).unwrap_or_default();
    if uid.is_empty() {
        set_phase(volume, "Available", sync);
        return;
    }
    let cached = caches.get(claim.kind, &claim.namespace, &claim.name);
    if cached.is_some_and(|c| *c.meta.uid == *uid) {
        set_phase(volume, "Bound", sync);
        return;
    }
    // The cache may be older than the claim; a volume is not destroyed on its word.
    let uid: Arc<str> = uid.into();
    let get = sync.get_request(claim.kind, &claim.namespace, &claim.name);
    let mut after = Sync::new(sync.user.clone(), sync.now, sync.rng.clone());
    if !set_phase(volume, "Released", &mut after)
        && volume.str_at(&["spec", "persistentVolumeReclaimPolicy"]) == Some("Delete")
    {
        after.disk(Disk::Remove { volume: volume.meta.name.clone() });
        if !volume.terminating() {
            after.delete(volume);
        }
    }
    let steps = after.steps;
    sync.ask(get, move |response| match response {
        Err(status) if status.code == 404 => steps.clone(),
        Ok(_) if object_in(response).is_some_and(|c| c.meta.uid != uid) => steps.clone(),
        Ok(_) => Vec::new(),
        Err(_) => vec![Step::Fail],
    });
}

/// Lets volumes grow.
pub(super) struct VolumeExpander;

impl Controller for VolumeExpander {
    fn name(&self) -> &'static str {
        "volume-expander"
    }

    fn watches(&self) -> &'static [Kind] {
        VolumeBinder.watches()
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        let growing = |claim: &Object| amount(requested(claim)) > capacity(claim);
        match object.kind {
            Kind::PersistentVolumeClaim if growing(object) => keys.push(Key::of(object)),
            Kind::PersistentVolume => keys.extend(claim_key(object)),
            Kind::StorageClass => {
                let claims = caches.all(Kind::PersistentVolumeClaim);
                keys.extend(claims.filter(|c| growing(c)).map(|c| Key::of(c)));
            }
            Kind::Pod if seen.differs(|pod| pod.at(&["spec", "nodeName"])) => {
                let claims = claims_of(object);
                keys.extend(claims.map(|c| Key::beside(object, Kind::PersistentVolumeClaim, c)));
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let claim = caches.get(key.kind, &key.namespace, &key.name);
        let Some(claim) = claim.filter(|c| c.str_at(&["status", "phase"]) == Some("Bound")) else {
            return;
        };
        let name = claim.str_at(&["spec", "volumeName"]).unwrap_or_default();
        let volume = caches.get(Kind::PersistentVolume, "", name);
        let class = class_of(claim, caches);
        let allowed =
            |c: &&Arc<Object>| c.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true));
        if let (Some(volume), Some(class)) = (volume, class.filter(allowed))
            && amount(requested(claim)) > capacity(claim)
        {
            grow(claim, volume, class.annotation(EXPANSION), caches, sync);
        }
    }
}

fn capacity(claim: &Object) -> i64 {
    amount(claim.at(&["status", "capacity", "storage"]))
}

fn since(claim: &Object, condition: &str) -> Option<Time> {
    moment(claim.condition(condition)?.get("lastTransitionTime"))
}

/// The next of the writes of growing: condition `Resizing`, the volume, perhaps condition
/// `FileSystemResizePending`, the claim's capacity.
fn grow(claim: &Object, volume: &Object, how: Option<&str>, caches: &Caches, sync: &mut Sync) {
    let before = claim.at(&["status"]).and_then(Value::as_object);
    let mut status = before.cloned().unwrap_or_default();
    let now = sync.time_text();
    let wanted = requested(claim).cloned().unwrap_or_default();
    let size = amount(Some(&wanted));
    if amount(volume.at(&["spec", "capacity", "storage"])) < size {
        let Some(begun) = since(claim, "Resizing") else {
            conditions::set(&mut status, "Resizing", "True", "", "", &now, &[]);
            sync.look_again(RESIZE);
            return sync.status(claim, status);
        };
        if how == Some("fails") {
            let message = "the storage can't grow this volume";
            let kind = "ControllerResizeError";
            conditions::set(&mut status, kind, "True", "", message, &now, &[]);
            return sync.status(claim, status);
        }
        let left = begun + RESIZE - sync.now;
        if left > Span::ZERO {
            return sync.look_again(left);
        }
        let mut larger = volume.clone();
        if let Some(spec) = larger.body_mut().get_mut("spec") {
            spec["capacity"]["storage"] = wanted;
        }
        return sync.update(larger);
    }
    if how == Some("offline") {
        let Some(pending) = since(claim, "FileSystemResizePending") else {
            conditions::remove(&mut status, "Resizing");
            let message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node.";
            conditions::set(&mut status, "FileSystemResizePending", "True", "", message, &now, &[]);
            return sync.status(claim, status);
        };
        let restarted = caches.list(Kind::Pod, &claim.meta.namespace).any(|pod| {
            pod.at(&["spec", "nodeName"]).is_some()
                && claims_of(pod).any(|c| *c == *claim.meta.name)
                && pod.meta.created_at.is_some_and(|made| Time::from(made) >= pending)
        });
        if !restarted {
            return;
        }
    }
    sync.disk(Disk::Grow {
        volume: volume.meta.name.clone(),
        capacity_bytes: u64::try_from(size).unwrap_or(0),
    });
    for kind in ["Resizing", "FileSystemResizePending", "ControllerResizeError"] {
        conditions::remove(&mut status, kind);
    }
    status.insert("capacity".into(), json!({"storage": wanted}));
    sync.status(claim, status);
}
