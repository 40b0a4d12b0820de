//! Who watches a kind. A change finds those that it may concern by what it bears, a node or a label's value, so
//! that it costs as much as it has listeners, however many others there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::object::Object;
use ivory_core::read::Selector;

use crate::kube::Change;
use crate::world::actor::WatchId;

/// A watch, after the place in the order in which they began: changes are delivered in that order.
type Entry = (u32, WatchId);

/// The watches of one kind. Each is in one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers {
    began: u32,
    /// Those that ask for no node and for no value of a label.
    others: Vec<Entry>,
    by_node: BTreeMap<Arc<str>, Vec<Entry>>,
    /// By a label's key and the value that is asked for.
    by_label: BTreeMap<String, BTreeMap<String, Vec<Entry>>>,
}

impl Watchers {
    /// Adds a watch, unless it is there.
    pub(super) fn add(&mut self, id: WatchId, selector: &Selector, node: Option<&Arc<str>>) {
        let lists = self.by_node.values().chain(self.by_label.values().flat_map(BTreeMap::values));
        if lists.chain([&self.others]).flatten().any(|(_, known)| *known == id) {
            return;
        }
        self.began += 1;
        let entry = (self.began, id);
        if let Some(node) = node {
            return self.by_node.entry(node.clone()).or_default().push(entry);
        }
        // Of several labels the one that fewest others ask for tells most.
        let asked = selector.0.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let shared_by = |(key, value): &(&String, &String)| {
            self.by_label.get(*key).and_then(|values| values.get(*value)).map_or(0, Vec::len)
        };
        match asked.min_by_key(shared_by) {
            Some((key, value)) => {
                let values = self.by_label.entry(key.clone()).or_default();
                values.entry(value.clone()).or_default().push(entry);
            }
            None => self.others.push(entry),
        }
    }

    /// Takes a watch away.
    pub(super) fn remove(&mut self, id: WatchId) {
        let keep = |list: &mut Vec<Entry>| {
            list.retain(|(_, known)| *known != id);
            !list.is_empty()
        };
        keep(&mut self.others);
        self.by_node.retain(|_, list| keep(list));
        for values in self.by_label.values_mut() {
            values.retain(|_, list| keep(list));
        }
    }

    /// The watches that a change may concern, in the order in which they began. `nodes` are those to which the
    /// object was bound and is bound.
    pub(super) fn of(
        &self,
        change: &Change,
        nodes: (Option<&str>, Option<&str>),
        found: &mut Vec<Entry>,
    ) {
        found.clear();
        found.extend(&self.others);
        let mut add = |list: Option<&Vec<Entry>>| found.extend(list.into_iter().flatten());
        if !self.by_node.is_empty() {
            let mut of = |node: Option<&str>| add(node.and_then(|node| self.by_node.get(node)));
            of(nodes.0);
            if nodes.1 != nodes.0 {
                of(nodes.1);
            }
        }
        for (key, values) in &self.by_label {
            let after = change.object.label(key);
            add(after.and_then(|value| values.get(value)));
            let old =
                |old: &Arc<Object>| !Arc::ptr_eq(&old.meta.labels, &change.object.meta.labels);
            let before = change.old.as_ref().filter(|o| old(o)).and_then(|old| old.label(key));
            if before != after {
                add(before.and_then(|value| values.get(value)));
            }
        }
        found.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::ChangeType;
    use ivory_core::Kind;

    fn selector(pairs: &[(&str, Option<&str>)]) -> Selector {
        let pairs = pairs.iter();
        Selector(pairs.map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect())
    }

    fn object(labels: &[(&str, &str)]) -> Arc<Object> {
        let mut object = Object::new(Kind::Pod, "a", "b");
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        object.meta.labels = Arc::new(labels.collect());
        Arc::new(object)
    }

    /// Whatever was and is, every watch that matches is found, once and in order.
    #[test]
    fn whoever_matches_is_found() {
        let (x, y) = (Some("x"), Some("y"));
        let watches = [
            (selector(&[]), None),
            (selector(&[("a", x), ("b", x)]), None),
            (selector(&[]), Some(Arc::from("n1"))),
            (selector(&[("a", x), ("b", y)]), None),
            (selector(&[("a", None)]), None),
            (selector(&[("a", y)]), None),
            (selector(&[]), Some(Arc::from("n2"))),
            (selector(&[("a", x)]), None),
        ];
        let mut watchers = Watchers::default();
        for (number, (selector, node)) in (0..).zip(&watches) {
            watchers.add(WatchId(number), selector, node.as_ref());
            watchers.add(WatchId(number), selector, node.as_ref());
        }
        let objects = [
            None,
            Some(object(&[])),
            Some(object(&[("a", "x")])),
            Some(object(&[("a", "x"), ("b", "x")])),
            Some(object(&[("a", "x"), ("b", "y")])),
            Some(object(&[("a", "y"), ("b", "x")])),
        ];
        let nodes = [None, Some("n1"), Some("n2"), Some("n3")];
        let mut found = Vec::new();
        for gone in [None, Some(WatchId(4)), Some(WatchId(1)), Some(WatchId(6))] {
            if let Some(gone) = gone {
                watchers.remove(gone);
            }
            for old in &objects {
                for new in objects.iter().flatten() {
                    let change = Change {
                        resource_version: 1,
                        what: ChangeType::Modified,
                        object: new.clone(),
                        old: old.clone(),
                    };
                    for before in nodes {
                        for after in nodes {
                            watchers.of(&change, (before, after), &mut found);
                            assert!(found.is_sorted(), "{found:?}");
                            let mut ids: Vec<_> = found.iter().map(|(_, id)| *id).collect();
                            let all = ids.len();
                            ids.dedup();
                            assert_eq!(ids.len(), all);
                            for (number, (selector, node)) in (0..).zip(&watches) {
                                let selected = [old.as_ref(), Some(new)]
                                    .into_iter()
                                    .flatten()
                                    .any(|o| selector.matches(&o.meta.labels));
                                let here = node
                                    .as_deref()
                                    .is_none_or(|node| before == Some(node) || after == Some(node));
                                let there = ids.contains(&WatchId(number));
                                let known = !gone_before(gone, number);
                                assert!(there || !(selected && here && known), "{number}");
                                assert!(known || !there);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Watches 4, 1 and 6 go one after the other.
    fn gone_before(last: Option<WatchId>, number: u32) -> bool {
        let order = [4, 1, 6];
        let gone = order.iter().position(|n| last == Some(WatchId(*n))).map_or(0, |at| at + 1);
        order[..gone].contains(&number)
    }
}
