//! Volumes of a Pod: what must be there before its containers start, what they show, and which file of
//! a container is which key of which object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::{Kind, Object, Sensitive};
use serde_json::Value;

use crate::node::json::{at, items, list, text};
use crate::node::mounts::Mounts;

/// One ConfigMap or Secret in a volume.
struct Source<'a> {
    kind: Kind,
    name: &'a str,
    optional: bool,
    items: &'a [Value],
}

/// Why a volume can't be set up: the volume and the reason, as the Event says it.
pub type Unready = (String, String);

/// The ConfigMaps and Secrets that a Pod's volumes show.
pub fn shown(pod: &Object) -> BTreeSet<(Kind, Arc<str>)> {
    items(pod, &["spec", "volumes"])
        .iter()
        .flat_map(sources)
        .map(|s| (s.kind, s.name.into()))
        .collect()
}

fn sources(volume: &Value) -> Vec<Source<'_>> {
    let single = [
        source(Kind::ConfigMap, volume.get("configMap"), "name"),
        source(Kind::Secret, volume.get("secret"), "secretName"),
    ];
    let projected = list(volume, &["projected", "sources"]).iter().flat_map(|s| {
        [
            source(Kind::ConfigMap, s.get("configMap"), "name"),
            source(Kind::Secret, s.get("secret"), "name"),
        ]
    });
    single.into_iter().chain(projected).flatten().collect()
}

fn source<'a>(kind: Kind, value: Option<&'a Value>, key: &str) -> Option<Source<'a>> {
    let value = value?;
    Some(Source {
        kind,
        name: text(value, &[key])?,
        optional: at(value, &["optional"]).and_then(Value::as_bool) == Some(true),
        items: list(value, &["items"]),
    })
}

/// What the volumes show now, or the first reason why they can't be set up.
///
/// # Errors
/// The volume's name and the reason.
pub fn mount(
    pod: &Object,
    find: &dyn Fn(Kind, &str) -> Option<Arc<Object>>,
) -> Result<Mounts, Unready> {
    let mut objects = Vec::new();
    for volume in items(pod, &["spec", "volumes"]) {
        let unready = |why: String| (text(volume, &["name"]).unwrap_or_default().to_owned(), why);
        if let Some(name) = text(volume, &["persistentVolumeClaim", "claimName"]) {
            claim_ready(find(Kind::PersistentVolumeClaim, name).as_deref(), name)
                .map_err(unready)?;
        }
        for source in sources(volume) {
            match find(source.kind, source.name) {
                Some(object) => {
                    let missing = source
                        .items
                        .iter()
                        .filter_map(|i| text(i, &["key"]))
                        .find(|key| !has_key(&object, key));
                    if let (Some(key), false) = (missing, source.optional) {
                        let what = word(source.kind);
                        return Err(unready(format!("references non-existent {what} key: {key}")));
                    }
                    objects.push(object);
                }
                None if source.optional => {}
                None => {
                    let (what, name) = (word(source.kind), source.name);
                    return Err(unready(format!("{what} {name:?} not found")));
                }
            }
        }
    }
    Ok(Mounts::new(objects))
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Secret { "secret" } else { "configmap" }
}

fn has_key(object: &Object, key: &str) -> bool {
    object.at(&["data", key]).is_some() || object.at(&["binaryData", key]).is_some()
}

fn claim_ready(claim: Option<&Object>, name: &str) -> Result<(), String> {
    match claim {
        None => Err(format!(
            "error processing PVC: failed to fetch PVC from API server: persistentvolumeclaims {name:?} not found"
        )),
        Some(claim) if claim.terminating() => {
            Err("error processing PVC: PVC is being deleted".into())
        }
        Some(claim) if claim.str_at(&["status", "phase"]) != Some("Bound") => {
            Err("error processing PVC: PVC is not bound".into())
        }
        Some(_) => Ok(()),
    }
}

/// A container's claims: mount path → PersistentVolume's name.
pub fn persistent(
    pod: &Object,
    container: &Value,
    find: &dyn Fn(Kind, &str) -> Option<Arc<Object>>,
) -> BTreeMap<String, Arc<str>> {
    let volumes = items(pod, &["spec", "volumes"]);
    list(container, &["volumeMounts"])
        .iter()
        .filter_map(|mount| {
            let name = text(mount, &["name"])?;
            let volume = volumes.iter().find(|v| text(v, &["name"]) == Some(name))?;
            let claim = text(volume, &["persistentVolumeClaim", "claimName"])?;
            let claim = find(Kind::PersistentVolumeClaim, claim)?;
            let path = text(mount, &["mountPath"])?.to_owned();
            Some((path, claim.str_at(&["spec", "volumeName"])?.into()))
        })
        .collect()
}

/// The PersistentVolumes of a Pod that only one node can have at a time.
pub fn exclusive(
    pod: &Object,
    find: &dyn Fn(Kind, &str) -> Option<Arc<Object>>,
) -> BTreeSet<Arc<str>> {
    items(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|v| text(v, &["persistentVolumeClaim", "claimName"]))
        .filter_map(|claim| find(Kind::PersistentVolumeClaim, claim))
        .filter(|claim| {
            let modes = items(claim, &["spec", "accessModes"]);
            !modes.iter().any(|m| matches!(m.as_str(), Some("ReadWriteMany" | "ReadOnlyMany")))
        })
        .filter_map(|claim| Some(claim.str_at(&["spec", "volumeName"])?.into()))
        .collect()
}

/// The contents of a file of a container, if it comes from a ConfigMap or Secret.
pub fn file(pod: &Object, container: &Value, mounts: &Mounts, path: &str) -> Option<Sensitive> {
    let (mount, inside) = list(container, &["volumeMounts"])
        .iter()
        .filter_map(|m| {
            let at = text(m, &["mountPath"])?;
            let rest = path.strip_prefix(at)?;
            let rest = rest.strip_prefix('/').or(rest.is_empty().then_some(""))?;
            Some((m, rest, at.len()))
        })
        .max_by_key(|(_, _, length)| *length)
        .map(|(m, rest, _)| (m, rest))?;
    let inside = match text(mount, &["subPath"]) {
        Some(sub) if inside.is_empty() => sub.to_owned(),
        Some(sub) => format!("{sub}/{inside}"),
        None => inside.to_owned(),
    };
    let name = text(mount, &["name"])?;
    let volume =
        items(pod, &["spec", "volumes"]).iter().find(|v| text(v, &["name"]) == Some(name))?;
    // Where two sources give the same path, the later one wins.
    sources(volume).iter().rev().find_map(|source| {
        let key = if source.items.is_empty() {
            inside.as_str()
        } else {
            source
                .items
                .iter()
                .find(|i| text(i, &["path"]) == Some(&inside))
                .and_then(|i| text(i, &["key"]))?
        };
        mounts.data(source.kind, source.name, key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Object {
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {
                "containers": [{"name": "c", "volumeMounts": [
                    {"name": "conf", "mountPath": "/etc/conf"},
                    {"name": "data", "mountPath": "/pgdata"},
                ]}],
                "volumes": [
                    {"name": "conf", "projected": {"sources": [
                        {"configMap": {"name": "cm"}},
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "sub/file"}]}},
                        {"secret": {"name": "maybe", "optional": true}},
                    ]}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "pvc"}},
                ],
            },
        }))
        .expect("a Pod")
    }

    fn object(value: Value) -> Arc<Object> {
        let mut whole = json!({"apiVersion": "v1"});
        whole.as_object_mut().expect("a map").extend(value.as_object().expect("a map").clone());
        Arc::new(Object::from_value(whole).expect("an object"))
    }

    fn world() -> BTreeMap<(Kind, String), Arc<Object>> {
        [
            object(
                json!({"kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a.yaml": "A"}}),
            ),
            object(json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "QkI="}})),
            object(json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "pvc"},
                "spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound"}})),
        ]
        .into_iter()
        .map(|o| ((o.kind, o.meta.name.to_string()), o))
        .collect()
    }

    #[test]
    fn files_come_from_items_and_whole_objects() {
        let (pod, world) = (pod(), world());
        let find = |kind, name: &str| world.get(&(kind, name.to_owned())).cloned();
        let mounts = mount(&pod, &find).expect("all is there");
        let container = &items(&pod, &["spec", "containers"])[0];
        for (path, expected) in [
            ("/etc/conf/a.yaml", Some("A")),
            ("/etc/conf/sub/file", Some("BB")),
            ("/etc/conf/k", None),
            ("/etc/confused", None),
            ("/pgdata/a.yaml", None),
        ] {
            let found = file(&pod, container, &mounts, path);
            assert_eq!(found.as_ref().and_then(Sensitive::expose_text), expected, "{path}");
        }
        let volumes = persistent(&pod, container, &find);
        assert_eq!(volumes.get("/pgdata").map(|v| &**v), Some("pv-1"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |kind: Kind, name: &str, with: Option<Value>, expected: &str| {
            let mut world = world();
            world.remove(&(kind, name.to_owned()));
            if let Some(value) = with {
                world.insert((kind, name.to_owned()), object(value));
            }
            let find = |kind, name: &str| world.get(&(kind, name.to_owned())).cloned();
            let why = mount(&pod(), &find).err().map(|(_, why)| why);
            assert_eq!(why.as_deref(), Some(expected));
        };
        check(Kind::Secret, "s", None, "secret \"s\" not found");
        check(Kind::ConfigMap, "cm", None, "configmap \"cm\" not found");
        let empty = json!({"kind": "Secret", "metadata": {"name": "s"}});
        check(Kind::Secret, "s", Some(empty), "references non-existent secret key: k");
        let claim = "error processing PVC: failed to fetch PVC from API server: persistentvolumeclaims \"pvc\" not found";
        check(Kind::PersistentVolumeClaim, "pvc", None, claim);
        let pending = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "pvc"}});
        let unbound = "error processing PVC: PVC is not bound";
        check(Kind::PersistentVolumeClaim, "pvc", Some(pending), unbound);
    }
}
