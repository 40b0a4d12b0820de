//! From caches to `Observed`: exactly what core's `reads` names, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use ivory_core::grants::Grant;
use ivory_core::observed::Observed;
use ivory_core::read::{Objects, Read, ReadKey, Selector};
use ivory_core::reads::{reads, second_look};
use ivory_core::{Kind, Object, labels};
use tokio::time::Instant;

use crate::caches::{Caches, Name};
use crate::fault::{Fault, FaultKind};
use crate::store::Key;
use crate::watch::Which;

/// So many objects are asked for at once, by each pass.
const AT_ONCE: usize = 6;

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
    let mut asked = Vec::new();
    for read in reads {
        let found = match &read {
            ReadKey::Select { kind, namespace, selector } => {
                Some(select(caches, *kind, namespace, selector))
            }
            ReadKey::One { kind, namespace, name } => {
                let found = cached(caches, *kind, namespace, name);
                if found.is_none() {
                    asked.push((*kind, namespace.clone(), name.clone()));
                }
                found
            }
        };
        observed.objects.extend(found.map(|found| (read, found)));
    }
    // Before a cluster is made hardly any of them is there, and each is asked for.
    let asked = asked.into_iter().map(|name| by_name(caches.clone(), key.clone(), name).boxed());
    let asked: Vec<_> = asked.collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (name, found) in answers {
        let found = found.unwrap_or_else(|fault| {
            if let FaultKind::Forbidden(grants) = fault.kind {
                denied.extend(grants);
            }
            Read::Unknown(fault.text.into())
        });
        let (kind, namespace, text) = name.clone();
        observed.objects.insert(ReadKey::One { kind, namespace, name: text }, found);
        named.insert(name);
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
            Which::Labelled(_) | Which::Names => false,
        };
        if decisive {
            return Some(unknown.map_or(Read::Absent, |why| Read::Unknown(why.into())));
        }
    }
    None
}

/// An object that bears no label of ours: a user's, or one that lost it, or none at all.
async fn by_name(caches: Arc<Caches>, reader: Key, name: Name) -> (Name, Result<Objects, Fault>) {
    let found = find(&caches, &reader, &name).await;
    (name, found)
}

async fn find(caches: &Caches, reader: &Key, name: &Name) -> Result<Objects, Fault> {
    let (kind, namespace, text) = (name.0, &name.1, &name.2);
    let names = caches.names(reader, name);
    if let Some(names) = names {
        let store = names.store();
        if let Some(why) = store.unknown(Instant::now()) {
            return Ok(Read::Unknown(why.into()));
        }
        if let Some(object) = store.get(namespace, text) {
            return Ok(Read::Known(vec![object]));
        }
        if store.life(namespace, text).is_none() {
            return Ok(Read::Absent);
        }
    }
    let Some(object) = caches.api().get(kind, namespace, text).await? else {
        return Ok(Read::Absent);
    };
    if let Some(names) = names {
        names.store().fill(&object);
    }
    Ok(Read::Known(vec![Arc::new(object)]))
}
