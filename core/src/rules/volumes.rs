//! Volume claims of what exists: growth is asked for, everything else of a bound claim can't change.

use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kind;
use crate::object::Object;
use crate::pass::Pass;
use crate::quantity::Quantity;
use crate::read::Read;
use crate::report::Step;

const REQUEST: [&str; 4] = ["spec", "resources", "requests", "storage"];

/// Makes a claim as it should be, as far as a claim can change. A claim under deletion is left alone.
pub fn ensure(pass: &mut Pass<'_>, step: Step, mut desired: Arc<Object>) {
    let name = desired.meta.name.clone();
    if let Read::Known(live) = pass.observed.find(Kind::PersistentVolumeClaim, &name) {
        let live = live.clone();
        if live.terminating() {
            return pass.wait(step, "Terminating", format!("volume claim {name} is being deleted"));
        }
        keep_what_cannot_change(pass, step, &mut desired, &live);
    }
    pass.ensure_shared(step, desired);
}

/// The API server refuses a claim whose spec changes in anything but a growing request. What the user asks
/// beyond that is said, and the rest of the claim goes on being looked after.
fn keep_what_cannot_change(
    pass: &mut Pass<'_>,
    step: Step,
    desired: &mut Arc<Object>,
    live: &Arc<Object>,
) {
    let wanted = desired.at(&REQUEST).and_then(quantity);
    let has = live.at(&REQUEST).and_then(quantity);
    let mut differing = Vec::new();
    let live_spec = live.body.get("spec").unwrap_or(&Value::Null);
    let same = desired.at(&["spec"]).and_then(Value::as_object).is_some_and(|spec| {
        let mut rest = spec.iter().filter(|(field, _)| *field != "volumeAttributesClassName");
        rest.all(|(field, value)| live_spec.get(field) == Some(value))
    });
    if same {
        return;
    }
    let desired = Arc::make_mut(desired);
    if let Some(Value::Object(spec)) = desired.body_mut().get_mut("spec") {
        spec.retain(|field, value| {
            // The class of attributes can change at any time.
            if field == "volumeAttributesClassName" {
                return true;
            }
            let kept = if field == "resources" {
                live_spec.get(field).map(|live| with_request_of(live, value))
            } else {
                live_spec.get(field).cloned()
            };
            if kept.as_ref() != Some(value) {
                differing.push(field.clone());
            }
            kept.inspect(|kept| value.clone_from(kept)).is_some()
        });
    }
    if !differing.is_empty() {
        let text = format!(
            "volume claim {} can't change {}; a new instance set with the new claim replaces it",
            live.meta.name,
            differing.join(", ")
        );
        pass.block(step, "VolumeImmutable", text);
    }
    let (Some(wanted), Some(has)) = (wanted, has) else { return };
    let refused = if wanted < has {
        Some(format!("volume claim {} can't shrink from {has} to {wanted}", live.meta.name))
    } else if wanted > has {
        cannot_grow(pass, live).map(|why| {
            format!("volume claim {} can't grow from {has} to {wanted}: {why}", live.meta.name)
        })
    } else {
        None
    };
    if let Some(text) = refused {
        let kept = live.at(&REQUEST).cloned();
        let request = desired.body_mut().get_mut("spec");
        let request = request.and_then(|s| s.pointer_mut("/resources/requests/storage"));
        if let (Some(request), Some(kept)) = (request, kept) {
            *request = kept;
        }
        pass.block(step, "VolumeResize", text);
    }
}

/// The resources of a live claim, with the request of another: all but the request is for ever.
fn with_request_of(live: &Value, wanted: &Value) -> Value {
    let mut kept = live.clone();
    let request = "/requests/storage";
    if let (Some(slot), Some(value)) = (kept.pointer_mut(request), wanted.pointer(request)) {
        *slot = value.clone();
    }
    kept
}

/// Why the claim's storage can't be enlarged, as far as that is known.
fn cannot_grow(pass: &Pass<'_>, claim: &Object) -> Option<String> {
    if claim.str_at(&["status", "phase"]) != Some("Bound") {
        return Some("it is not bound yet".into());
    }
    let class = claim.str_at(&["spec", "storageClassName"])?;
    let classes = pass.observed.classes()?;
    let class = classes.iter().find(|c| &*c.meta.name == class)?;
    let allowed = class.body.get("allowVolumeExpansion").and_then(Value::as_bool) == Some(true);
    (!allowed).then(|| format!("StorageClass {} does not allow it", class.meta.name))
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::test_support::World;
    use crate::{Kind, names};

    type Change = fn(&mut Value);

    #[test]
    fn the_claim_of_an_instance_that_is_ill_grows() {
        let mut world = World::settled(2);
        for name in world.instances() {
            let pod = names::instance_pod(&name);
            world.dead.insert(pod.clone());
            world.change(Kind::Pod, &pod, |p| {
                p["status"]["conditions"][0]["status"] = "False".into();
            });
        }
        world.edit(|s| {
            s["instances"][0]["dataVolumeClaimSpec"]["resources"]["requests"]["storage"] =
                "3Gi".into();
        });
        (0..3).for_each(|_| {
            world.round();
        });
        for name in world.instances() {
            let claim = world.the(Kind::PersistentVolumeClaim, &names::data_volume(&name));
            let size = claim.str_at(&["spec", "resources", "requests", "storage"]);
            assert_eq!(size, Some("3Gi"));
        }
    }

    #[test]
    fn what_becomes_of_a_changed_claim() {
        let size: [(Change, bool, &str, &str); 10] = [
            (|_| {}, true, "1Gi", "InSync"),
            (|c| c["resources"]["requests"]["storage"] = "3Gi".into(), true, "3Gi", "InSync"),
            (
                |c| c["resources"]["requests"]["storage"] = "3Gi".into(),
                false,
                "1Gi",
                "VolumeResize",
            ),
            (|c| c["resources"]["requests"]["storage"] = "1024Mi".into(), true, "1Gi", "InSync"),
            (
                |c| c["resources"]["requests"]["storage"] = "512Mi".into(),
                true,
                "1Gi",
                "VolumeResize",
            ),
            (|c| c["storageClassName"] = "slow".into(), true, "1Gi", "VolumeImmutable"),
            (|c| c["volumeMode"] = "Block".into(), true, "1Gi", "VolumeImmutable"),
            (
                |c| c["resources"]["limits"] = json!({"storage": "9Gi"}),
                true,
                "1Gi",
                "VolumeImmutable",
            ),
            (
                |c| {
                    c["accessModes"] = json!(["ReadWriteMany"]);
                    c["resources"]["requests"]["storage"] = "3Gi".into();
                },
                true,
                "3Gi",
                "VolumeImmutable",
            ),
            (
                |c| {
                    *c = json!({
                        "accessModes": ["ReadWriteMany"], "storageClassName": "slow",
                        "resources": {"requests": {"storage": "3Gi"}},
                    });
                },
                true,
                "3Gi",
                "VolumeImmutable",
            ),
        ];
        for (n, (change, allowed, expected, reason)) in size.into_iter().enumerate() {
            let mut world = World::settled(1);
            world
                .change(Kind::StorageClass, "fast", |c| c["allowVolumeExpansion"] = allowed.into());
            // Everything else of the spec is still followed.
            world.edit(|s| {
                change(&mut s["instances"][0]["dataVolumeClaimSpec"]);
                s["metadata"]["labels"]["seen"] = "yes".into();
            });
            world.settle();
            let claim =
                world.the(Kind::PersistentVolumeClaim, &names::data_volume(&world.leader()));
            assert_eq!(
                claim.str_at(&["spec", "resources", "requests", "storage"]),
                Some(expected),
                "case {n}"
            );
            assert_eq!(claim.label("seen"), Some("yes"), "case {n}");
            assert_eq!(
                world.condition("Reconciled").map(|c| c.1).as_deref(),
                Some(reason),
                "case {n}"
            );
            // Reverting leaves nothing behind but what has grown.
            world.edit(|s| {
                s["instances"][0]["dataVolumeClaimSpec"] = crate::test_support::claim(expected)
            });
            world.settle();
            assert_eq!(
                world.condition("Reconciled").map(|c| c.1).as_deref(),
                Some("InSync"),
                "case {n}"
            );
        }
    }

    #[test]
    fn an_unbound_claim_grows_once_it_is_bound() {
        let mut world = World::settled(1);
        let name = names::data_volume(&world.leader());
        world.change(Kind::PersistentVolumeClaim, &name, |c| {
            c["status"]["phase"] = "Pending".into()
        });
        world
            .edit(|s| s["instances"][0]["dataVolumeClaimSpec"] = crate::test_support::claim("3Gi"));
        let plan = world.plan();
        let event = |w: &crate::plan::Write| matches!(w.op, crate::plan::Op::Event { .. });
        assert!(
            plan.writes.iter().all(|w| event(w) || !crate::test_support::text(w).contains(&name))
        );
        world.settle();
        let claim = world.the(Kind::PersistentVolumeClaim, &name);
        assert_eq!(claim.str_at(&["spec", "resources", "requests", "storage"]), Some("3Gi"));
    }

    #[test]
    fn the_class_of_attributes_changes_with_whatever_else_does() {
        let mut world = World::settled(1);
        world.change(Kind::StorageClass, "fast", |c| c["allowVolumeExpansion"] = true.into());
        world.edit(|s| {
            let claim = &mut s["instances"][0]["dataVolumeClaimSpec"];
            claim["volumeAttributesClassName"] = "gold".into();
            claim["resources"]["requests"]["storage"] = "3Gi".into();
        });
        let claim = names::data_volume(&world.leader());
        let asked = world.plan().writes.iter().find_map(|w| match &w.op {
            crate::plan::Op::Apply { object } if *object.meta.name == *claim => {
                Some(object.at(&["spec", "volumeAttributesClassName"]).cloned())
            }
            _ => None,
        });
        assert_eq!(asked, Some(Some("gold".into())));
    }
}
