//! From caches to `Observed`: exactly what core's `reads` names, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::grants::Grant;
use ivory_core::observed::Observed;
use ivory_core::read::{Objects, Read, ReadKey, Selector};
use ivory_core::reads::{reads, second_look};
use ivory_core::{Kind, Object, labels};
use tokio::time::Instant;

use crate::caches::{Caches, Name};
use crate::fault::FaultKind;
use crate::store::Key;
use crate::watch::Which;

/// Everything that a plan for a cluster may look at, and the permissions that were missing for it; none if there
/// is no such cluster.
pub async fn observe(caches: &Arc<Caches>, key: &Key) -> Option<(Observed, BTreeSet<Grant>)> {
    let cluster =
        caches.of(Kind::IvoryCluster, &key.0).find_map(|w| w.store().get(&key.0, &key.1))?;
    let mut named = BTreeSet::new();
    let mut denied = caches.denied(&key.0);
    let first = reads(&cluster);
    let mut observed = Observed { cluster, objects: BTreeMap::new(), answers: BTreeMap::new() };
    look(caches, key, first, &mut observed, (&mut named, &mut denied)).await;
    let more = second_look(&observed);
    look(caches, key, more, &mut observed, (&mut named, &mut denied)).await;
    caches.keep_named(key, &named);
    Some((observed, denied))
}

/// Reads what the keys name.
async fn look(
    caches: &Arc<Caches>,
    key: &Key,
    reads: Vec<ReadKey>,
    observed: &mut Observed,
    (named, denied): (&mut BTreeSet<Name>, &mut BTreeSet<Grant>),
) {
    for read in reads {
        let found = match &read {
            ReadKey::Select { kind, namespace, selector } => {
                select(caches, *kind, namespace, selector)
            }
            ReadKey::One { kind, namespace, name } => {
                match cached(caches, *kind, namespace, name) {
                    Some(found) => found,
                    None => {
                        let name = (*kind, namespace.clone(), name.clone());
                        by_name(caches, key, name, named, denied).await
                    }
                }
            }
        };
        observed.objects.insert(read, found);
    }
}

fn select(caches: &Caches, kind: Kind, namespace: &str, selector: &Selector) -> Objects {
    let watch = caches.of(kind, namespace).find(|w| !matches!(w.which, Which::Named(_)));
    let Some(watch) = watch else {
        return Read::Unknown(format!("{} are not watched", kind.plural()).into());
    };
    let store = watch.store();
    if let Some(why) = store.unknown(Instant::now()) {
        return Read::Unknown(why.into());
    }
    let candidates = match selector.0.get(labels::CLUSTER) {
        Some(Some(cluster)) => store.of_cluster(namespace, cluster),
        _ => store.all(),
    };
    drop(store);
    let fits = |o: &Arc<Object>| {
        selector.matches(&o.meta.labels)
            && (namespace.is_empty() || *o.meta.namespace == *namespace)
    };
    Read::Known(candidates.into_iter().filter(fits).collect())
}

/// An object as a standing watch knows it; none if no standing watch would see it.
fn cached(caches: &Caches, kind: Kind, namespace: &str, name: &str) -> Option<Objects> {
    for watch in caches.of(kind, namespace) {
        let store = watch.store();
        let unknown = store.unknown(Instant::now());
        if unknown.is_none()
            && let Some(object) = store.get(namespace, name)
        {
            return Some(Read::Known(vec![object]));
        }
        // A watch of all, or of this name, would have seen it.
        let decisive = match &watch.which {
            Which::All => true,
            Which::Named(watched) => watched == name,
            Which::Labelled(_) => false,
        };
        if decisive {
            return Some(unknown.map_or(Read::Absent, |why| Read::Unknown(why.into())));
        }
    }
    None
}

/// Whether objects without our label are watched, for as long as a cluster names them: Secrets and ConfigMaps
/// belong to users. The others are ours or Patroni's, bear our label almost always, and are asked for otherwise.
#[must_use]
pub fn watched_by_name(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}

/// An object that bears no label of ours.
async fn by_name(
    caches: &Arc<Caches>,
    reader: &Key,
    name: Name,
    named: &mut BTreeSet<Name>,
    denied: &mut BTreeSet<Grant>,
) -> Objects {
    if !watched_by_name(name.0) {
        return match caches.api().get(name.0, &name.1, &name.2).await {
            Ok(Some(object)) => Read::Known(vec![Arc::new(object)]),
            Ok(None) => Read::Absent,
            Err(fault) => {
                if let FaultKind::Forbidden(grants) = fault.kind {
                    denied.extend(grants);
                }
                Read::Unknown(fault.text.into())
            }
        };
    }
    let watched = caches.named(reader, &name).await;
    let store = watched.store();
    let found = match store.unknown(Instant::now()) {
        Some(why) => Read::Unknown(why.into()),
        None => match store.get(&name.1, &name.2) {
            Some(object) => Read::Known(vec![object]),
            None => Read::Absent,
        },
    };
    denied.extend(store.denied(Instant::now()));
    drop(store);
    named.insert(name);
    found
}
