//! From watch caches to `Observed`: exactly what core's `reads` names, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::labels;
use ivory_core::object::{Object, Uid};
use ivory_core::observed::Observed;
use ivory_core::read::{Answer, Objects, Query, Read, ReadKey, Selector};
use ivory_core::reads::{LABELLED, NAMED, reads, second_look};

use crate::time::{Span, Time};
use crate::world::{Cx, Informer, Key, Retries};

/// The longest pause before a watch that was refused is asked for again, the jitter of as much again apart.
const RETRY_MAX: Span = Span::s(4);
/// A watch that has been refused for longer than this knows nothing any more.
const PATIENCE: Span = Span::s(15);

/// What core wants to read for each cluster; asked again when the cluster changed.
#[derive(Clone, Default)]
pub(super) struct Reads(BTreeMap<Key, (Uid, u64, Arc<Vec<ReadKey>>)>);

impl Reads {
    fn of(&mut self, cluster: &Object) -> Arc<Vec<ReadKey>> {
        let meta = &cluster.meta;
        let key = (meta.namespace.clone(), meta.name.clone());
        if let Some((uid, version, known)) = self.0.get(&key)
            && (uid, *version) == (&meta.uid, meta.resource_version)
        {
            return known.clone();
        }
        let fresh = Arc::new(reads(cluster));
        self.0.insert(key, (meta.uid.clone(), meta.resource_version, fresh.clone()));
        fresh
    }
}

/// Opens a watch for every kind that core may read.
pub(super) fn open(cx: &mut Cx<'_>) -> Vec<Informer> {
    let all = open_all(cx).into_iter();
    all.map(|informer| informer.trying_again_after(cx, Retries::UpTo(RETRY_MAX))).collect()
}

/// Since when a kind is not followed.
pub(super) fn blind_since(cx: &Cx<'_>, informers: &[Informer]) -> Option<Time> {
    informers.iter().filter_map(|i| i.fails_since(cx)).min()
}

/// The kinds of which nothing is known now, since their watches are refused. Each watch is asked for again at its own
/// time, so after an outage one cache is fresh and another as old as the outage.
pub(super) fn lost(cx: &Cx<'_>, informers: &[Informer]) -> BTreeSet<Kind> {
    let is_lost = |i: &&Informer| i.fails_since(cx).is_some_and(|at| cx.now() - at > PATIENCE);
    informers.iter().filter(is_lost).map(|i| i.kind).collect()
}

fn open_all(cx: &mut Cx<'_>) -> Vec<Informer> {
    let ours = Selector([(labels::CLUSTER.to_owned(), None)].into());
    let mut all = vec![
        Informer::open(cx, Kind::IvoryCluster, None, Selector::default()),
        Informer::open(cx, Kind::StorageClass, None, Selector::default()),
    ];
    for &kind in LABELLED {
        // An object without the label is read too, by its name.
        let selector = if NAMED.contains(&kind) { Selector::default() } else { ours.clone() };
        all.push(Informer::open(cx, kind, None, selector).indexed(labels::CLUSTER));
    }
    all
}

fn of(informers: &[Informer], kind: Kind) -> Option<&Informer> {
    informers.iter().find(|i| i.kind == kind)
}

/// All clusters.
pub(super) fn clusters(informers: &[Informer]) -> Vec<Key> {
    let all = of(informers, Kind::IvoryCluster).into_iter().flat_map(Informer::iter);
    all.map(|c| (c.meta.namespace.clone(), c.meta.name.clone())).collect()
}

/// The clusters whose plans may see a change.
pub(super) fn concerned(
    informers: &[Informer],
    wanted: &mut Reads,
    kind: Kind,
    key: &Key,
    old: Option<&Object>,
    new: Option<&Object>,
) -> BTreeSet<Key> {
    if kind == Kind::IvoryCluster {
        return BTreeSet::from([key.clone()]);
    }
    let named = [old, new]
        .into_iter()
        .flatten()
        .filter_map(|o| Some((o.meta.namespace.clone(), Arc::from(o.label(labels::CLUSTER)?))));
    let mut keys: BTreeSet<Key> = named.collect();
    if kind == Kind::StorageClass || NAMED.contains(&kind) {
        let mut reads_it = |cluster: &&Arc<Object>| {
            wanted.of(cluster).iter().any(|read| match read {
                ReadKey::One { kind: k, namespace, name } => {
                    *k == kind && **namespace == *key.0 && **name == *key.1
                }
                ReadKey::Select { kind: k, .. } => *k == kind && kind == Kind::StorageClass,
            })
        };
        let all = of(informers, Kind::IvoryCluster).into_iter().flat_map(Informer::iter);
        // Only objects without a label can concern a cluster that they don't name.
        if keys.is_empty() {
            let near = all.filter(|c| kind == Kind::StorageClass || c.meta.namespace == key.0);
            keys.extend(
                near.filter(|c| reads_it(c))
                    .map(|c| (c.meta.namespace.clone(), c.meta.name.clone())),
            );
        }
    }
    keys
}

/// Everything that a plan may read, from the caches. Of kinds that are `lost` nothing is known.
pub(super) fn observed(
    informers: &[Informer],
    lost: &BTreeSet<Kind>,
    wanted: &mut Reads,
    key: &Key,
    answers: BTreeMap<Query, Read<Answer>>,
) -> Option<Observed> {
    let cluster = of(informers, Kind::IvoryCluster)?.get(&key.0, &key.1)?.clone();
    let wanted = wanted.of(&cluster);
    let look = |read: &ReadKey| (read.clone(), read_one(informers, lost, read));
    let objects = wanted.iter().map(look).collect();
    let mut observed = Observed { objects, cluster, answers };
    let more: Vec<_> = second_look(&observed).iter().map(look).collect();
    observed.objects.extend(more);
    Some(observed)
}

fn read_one(informers: &[Informer], lost: &BTreeSet<Kind>, read: &ReadKey) -> Objects {
    let kind = match read {
        ReadKey::One { kind, .. } | ReadKey::Select { kind, .. } => *kind,
    };
    let Some(cache) = of(informers, kind).filter(|i| i.synced()) else {
        return Read::Unknown("its watch has not begun".into());
    };
    if lost.contains(&kind) {
        return Read::Unknown(format!("{} can't be watched", kind.plural()).into());
    }
    match read {
        ReadKey::One { namespace, name, .. } => {
            cache.get(namespace, name).map_or(Read::Absent, |o| Read::Known(vec![o.clone()]))
        }
        ReadKey::Select { namespace, selector, .. } => {
            let matching = |o: &&Arc<Object>| selector.matches(&o.meta.labels);
            Read::Known(cache.candidates(namespace, selector).filter(matching).cloned().collect())
        }
    }
}
