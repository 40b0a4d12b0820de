//! Which instances a set should have, by name. An unused data volume gives its name first: that is how a
//! deleted StatefulSet comes back with its data. Else the smallest free number names the instance.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Set};
use crate::names;
use crate::rules::members::{Member, Members};

/// The instances that a set should have: those it has, then new ones, in name order each.
#[must_use]
pub fn wanted(cluster: &Cluster, set: &Set<'_>, members: &Members) -> Vec<String> {
    let mut all: Vec<String> = members.of_set(&set.name).map(|m| m.name.clone()).collect();
    // One whose volume is going does not count: it will be replaced.
    let sound = members.of_set(&set.name).filter(|m| !m.condemned()).count();
    let missing = usize::try_from(set.spec.replicas).unwrap_or(0).saturating_sub(sound);
    let mut free = donors(set, members).chain(numbered(cluster, set, members));
    all.extend(free.by_ref().take(missing));
    all
}

/// Names of unused data volumes of a set that can be used again as they are.
fn donors<'a>(set: &Set<'_>, members: &'a Members) -> impl Iterator<Item = String> + use<'a> {
    let (name, wants_wal) = (set.name.clone(), set.spec.wal_volume_claim_spec.is_some());
    members.all.values().filter(move |m| m.set == name && is_donor(m, wants_wal)).map(|m| m.name.clone())
}

/// A data volume without its WAL volume would start without its newest changes, so both must be there.
fn is_donor(member: &Member, wants_wal: bool) -> bool {
    let usable = |claim: &Option<std::sync::Arc<crate::Object>>| {
        claim.as_ref().is_some_and(|c| !c.terminating())
    };
    member.stateful_set.is_none()
        && usable(&member.data_claim)
        && (!wants_wal || usable(&member.wal_claim))
}

/// Names by number that nothing bears, whatever its state.
fn numbered<'a>(
    cluster: &'a Cluster,
    set: &Set<'_>,
    members: &'a Members,
) -> impl Iterator<Item = String> + use<'a> {
    let taken: BTreeSet<&str> = members.all.keys().map(String::as_str).collect();
    let set = set.name.clone();
    (0..).map(move |n| names::instance(&cluster.name, &cluster.uid, &set, n)).filter(move |name| {
        !taken.contains(name.as_str())
    })
}
