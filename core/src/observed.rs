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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels;
    use crate::test_support::{CLUSTER, NAMESPACE, World};

    #[test]
    fn what_could_not_be_read_is_neither_empty_nor_absent() {
        let list = |kind| ReadKey::Select {
            kind,
            namespace: NAMESPACE.to_owned(),
            selector: Selector::label(labels::CLUSTER, CLUSTER),
        };
        // Nobody asks for Jobs by name.
        let is_unknown = |observed: &Observed| {
            [
                matches!(observed.labelled(Kind::Job), Read::Unknown(_)),
                matches!(observed.owned(Kind::Job, "a"), Read::Unknown(_)),
                matches!(observed.find(Kind::Job, "a"), Read::Unknown(_)),
            ]
        };
        let mut world = World::settled(1);
        assert_eq!(is_unknown(&world.observed()), [false; 3]);
        world.unknown.insert(list(Kind::Job));
        assert_eq!(is_unknown(&world.observed()), [true; 3]);
        // As bad: nobody asked for the list.
        let mut observed = World::settled(1).observed();
        assert!(observed.objects.remove(&list(Kind::Job)).is_some());
        assert_eq!(is_unknown(&observed), [true; 3]);
        // What was read by its name is known, whatever became of the list.
        world.unknown.insert(list(Kind::Service));
        assert!(world.observed().find(Kind::Service, "hippo-primary").known().is_some());
    }
}
