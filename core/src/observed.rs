//! Everything that one plan may read, gathered once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kind::Kind;
use crate::object::Object;
use crate::read::{Answer, Objects, Query, Read, ReadKey, Selector};

/// Everything that one plan may read. A key that is missing here reads as [`Read::Unknown`].
#[derive(Clone, Debug)]
pub struct Observed {
    /// The cluster itself.
    pub cluster: Arc<Object>,
    /// What was read.
    pub objects: BTreeMap<ReadKey, Objects>,
    /// What was answered from inside pods.
    pub answers: BTreeMap<Query, Read<Answer>>,
}

impl Observed {
    /// One object by name in the cluster's namespace, as it was read by name.
    #[must_use]
    pub fn one(&self, kind: Kind, name: &str) -> Read<&Arc<Object>> {
        let wanted = if kind.namespaced() { &*self.cluster.meta.namespace } else { "" };
        let is = |key: &ReadKey| {
            matches!(key, ReadKey::One { kind: k, namespace, name: n }
            if *k == kind && n == name && namespace == wanted)
        };
        match self.read(is) {
            Some(Read::Known(list)) => list.first().map_or(Read::Absent, Read::Known),
            Some(Read::Absent) => Read::Absent,
            Some(Read::Unknown(why)) => Read::Unknown(why.clone()),
            None => Read::Unknown("it was not asked for".into()),
        }
    }

    /// All objects of a kind with the cluster's label, in name order.
    #[must_use]
    pub fn labelled(&self, kind: Kind) -> Read<&[Arc<Object>]> {
        let meta = &self.cluster.meta;
        let is = |key: &ReadKey| {
            matches!(key, ReadKey::Select { kind: k, namespace, selector }
            if *k == kind && **namespace == *meta.namespace
                && selector.is_label(crate::labels::CLUSTER, &meta.name))
        };
        match self.read(is) {
            Some(Read::Known(list)) => Read::Known(list.as_slice()),
            Some(Read::Absent) => Read::Known(&[]),
            Some(Read::Unknown(why)) => Read::Unknown(why.clone()),
            None => Read::Unknown("it was not asked for".into()),
        }
    }

    /// One object by name, wherever it was read: among those with the cluster's label, or by its name.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Read<&Arc<Object>> {
        match self.owned(kind, name) {
            Read::Absent => match self.one(kind, name) {
                // Nobody asked for it by name, and it does not bear the label.
                Read::Unknown(_) if !self.asked(kind, name) => Read::Absent,
                by_name => by_name,
            },
            Read::Unknown(_) if self.asked(kind, name) => self.one(kind, name),
            found => found,
        }
    }

    /// What is read by name and bears no label of the cluster's.
    pub fn unlabelled(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let cluster = &self.cluster.meta.name;
        let by_name = self.objects.iter().filter_map(move |(key, found)| match key {
            ReadKey::One { kind: k, .. } if *k == kind => found.known(),
            _ => None,
        });
        by_name.flatten().filter(move |o| o.label(crate::labels::CLUSTER) != Some(cluster))
    }

    /// The StorageClasses, when they are known.
    #[must_use]
    pub fn classes(&self) -> Option<&[Arc<Object>]> {
        let key = ReadKey::Select {
            kind: Kind::StorageClass,
            namespace: String::new(),
            selector: Selector::default(),
        };
        self.objects.get(&key)?.known().map(Vec::as_slice)
    }

    /// What was read for the key that fits. A plan reads few keys and asks for them often: a look at each
    /// is cheaper than to make one for the map.
    fn read(&self, is: impl Fn(&ReadKey) -> bool) -> Option<&Objects> {
        self.objects.iter().find(|(key, _)| is(key)).map(|(_, found)| found)
    }

    fn asked(&self, kind: Kind, name: &str) -> bool {
        let wanted = &*self.cluster.meta.namespace;
        self.read(|key| {
            matches!(key, ReadKey::One { kind: k, namespace, name: n }
            if *k == kind && n == name && namespace == wanted)
        })
        .is_some()
    }

    /// One object of the cluster by name, among those with the cluster's label.
    #[must_use]
    pub fn owned(&self, kind: Kind, name: &str) -> Read<&Arc<Object>> {
        match self.labelled(kind) {
            Read::Known(list) => match list.binary_search_by(|o| (*o.meta.name).cmp(name)) {
                Ok(index) => Read::Known(&list[index]),
                Err(_) => Read::Absent,
            },
            Read::Absent => Read::Absent,
            Read::Unknown(why) => Read::Unknown(why),
        }
    }
}
