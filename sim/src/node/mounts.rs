//! The ConfigMaps and Secrets in a Pod's volumes, as its kubelet last wrote them. They lag behind the API.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ivory_core::{Kind, Object, Sensitive};

/// What a Pod's volumes show.
#[derive(Clone, Default)]
pub struct Mounts {
    objects: BTreeMap<(Kind, Arc<str>), Arc<Object>>,
}

impl Mounts {
    /// From the objects of one Pod's volumes.
    pub fn new(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        Self { objects: objects.into_iter().map(|o| ((o.kind, o.meta.name.clone()), o)).collect() }
    }

    /// A ConfigMap as the container sees it.
    #[must_use]
    pub fn configmap(&self, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(Kind::ConfigMap, name.into()))
    }

    /// A Secret as the container sees it.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(Kind::Secret, name.into()))
    }

    /// The bytes of one key of a ConfigMap or Secret.
    #[must_use]
    pub fn data(&self, kind: Kind, name: &str, key: &str) -> Option<Sensitive> {
        self.objects.get(&(kind, name.into()))?.data(key)
    }

    /// All objects, ConfigMaps before Secrets, in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The newest resourceVersion among them.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.objects.values().map(|o| o.meta.resource_version).max().unwrap_or(0)
    }

    /// Whether the same objects with the same contents are shown.
    #[must_use]
    pub fn same_files(&self, other: &Self) -> bool {
        self.objects.len() == other.objects.len()
            && self.objects.iter().all(|(key, mine)| {
                other.objects.get(key).is_some_and(|theirs| {
                    Arc::ptr_eq(&mine.body, &theirs.body) || mine.body == theirs.body
                })
            })
    }
}

impl fmt::Debug for Mounts {
    /// Names the objects; their contents may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.objects.keys()).finish()
    }
}
