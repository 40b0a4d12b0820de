//! Keeps claims while a Pod uses them, and volumes while a claim does, by finalizers.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Sync};
use crate::controllers::volumes::claims_of;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// The controller of both finalizers; in reality there are two.
pub(super) struct VolumeProtection;

impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "volume-protection"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        let object = seen.latest();
        if object.kind != Kind::Pod {
            keys.push(Key::of(object));
        } else if seen.new.is_none() {
            let claims = claims_of(object);
            keys.extend(claims.map(|c| Key::beside(object, Kind::PersistentVolumeClaim, c)));
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(object) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        let (finalizer, used) = match key.kind {
            Kind::PersistentVolume => {
                (VOLUME, object.str_at(&["status", "phase"]) == Some("Bound"))
            }
            _ => (CLAIM, in_use(object, caches)),
        };
        let has = object.meta.finalizers.iter().any(|f| f == finalizer);
        if has == object.terminating() && !(has && used) {
            let mut changed = (**object).clone();
            let finalizers = Arc::make_mut(&mut changed.meta.finalizers);
            if has {
                finalizers.retain(|f| f != finalizer);
            } else {
                finalizers.push(finalizer.into());
            }
            sync.update(changed);
        }
    }
}

/// Whether a Pod that has a node uses the claim; one that has ended counts as well, until its object is gone.
fn in_use(claim: &Object, caches: &Caches) -> bool {
    caches.list(Kind::Pod, &claim.meta.namespace).any(|pod| {
        pod.at(&["spec", "nodeName"]).is_some() && claims_of(pod).any(|c| *c == *claim.meta.name)
    })
}
