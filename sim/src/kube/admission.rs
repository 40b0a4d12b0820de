//! The built-in admission plugins that matter here: namespaces, Pods, claims of volumes.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::quantity::Quantity;
use serde_json::Value;

use super::handle::Cx;
use super::status::Status;
use super::store::ApiServer;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

impl ApiServer {
    pub(crate) fn admit_create(&self, cx: &mut Cx<'_>, new: &mut Object) -> Result<(), Status> {
        if new.kind.namespaced() {
            self.admit_namespace(new)?;
        }
        match new.kind {
            Kind::Pod => self.admit_pod(cx, new)?,
            Kind::PersistentVolumeClaim => {
                self.default_class(new);
                protect(new, CLAIM_FINALIZER);
            }
            Kind::PersistentVolume => protect(new, VOLUME_FINALIZER),
            _ => {}
        }
        Ok(())
    }

    fn admit_namespace(&self, new: &Object) -> Result<(), Status> {
        let name = &*new.meta.namespace;
        let Some(namespace) = self.get(Kind::Namespace, "", name) else {
            return Err(Status::not_found(Kind::Namespace, name));
        };
        if namespace.str_at(&["status", "phase"]) == Some("Terminating") || namespace.terminating()
        {
            let why = format!(
                "unable to create new content in namespace {name} because it is being terminated"
            );
            let cause = format!("namespace {name} is being terminated");
            return Err(Status::forbidden(new.kind, &new.meta.name, &why).with_cause(
                "metadata.namespace",
                "NamespaceTerminating",
                &cause,
            ));
        }
        Ok(())
    }

    /// The youngest of the default classes, by name among those of one age.
    fn default_class(&self, new: &mut Object) {
        if new.at(&["spec", "storageClassName"]).is_some() {
            return;
        }
        let mut classes: Vec<_> = self
            .list(Kind::StorageClass, None)
            .filter(|c| c.annotation(DEFAULT_CLASS) == Some("true"))
            .collect();
        classes.sort_by_key(|c| (std::cmp::Reverse(c.meta.created_at), Arc::clone(&c.meta.name)));
        let Some(class) = classes.first().map(|c| c.meta.name.to_string()) else {
            return;
        };
        if let Some(spec) = new.body_mut().get_mut("spec") {
            spec["storageClassName"] = class.into();
        }
    }

    /// Growth of a claim needs a class that allows it.
    pub(crate) fn admit_update(&self, old: &Object, new: &Object) -> Option<Status> {
        if new.kind != Kind::PersistentVolumeClaim {
            return None;
        }
        let size = |o: &Object| -> Quantity {
            o.str_at(&["spec", "resources", "requests", "storage"])
                .and_then(|text| text.parse().ok())
                .unwrap_or(Quantity::ZERO)
        };
        if size(new) <= size(old) {
            return None;
        }
        let class = new.str_at(&["spec", "storageClassName"]).unwrap_or_default();
        let class = self.get(Kind::StorageClass, "", class);
        let grows =
            class.is_some_and(|c| c.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true)));
        (!grows).then(|| {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
            Status::forbidden(new.kind, &new.meta.name, why)
        })
    }
}

fn protect(new: &mut Object, finalizer: &str) {
    if !new.meta.finalizers.iter().any(|f| f == finalizer) {
        Arc::make_mut(&mut new.meta.finalizers).push(finalizer.to_owned());
    }
}
