//! What core still needs to know from inside Pods before it can plan. A quiet cluster is asked
//! one thing every ten minutes: how its archiving goes, or as a standby cluster,
//! what reaches it.

use crate::cluster::Cluster;
use crate::command::Command;
use crate::context::Config;
use crate::kind::Kind;
use crate::names::{self, DATABASE_CONTAINER};
use crate::object::Object;
use crate::observed::Observed;
use crate::read::{Query, Target};
use crate::rules::members::Members;
use crate::rules::{
    archiving, init_sql, lost_stanza, parameters, promotion, standby_lag, stranded, volume_state,
};

/// The questions whose answers the plan will look for in [`Observed::answers`].
#[must_use]
pub fn queries(observed: &Observed, config: &Config) -> Vec<Query> {
    let Ok(cluster) = Cluster::read(&observed.cluster, config) else { return Vec::new() };
    let Ok(members) = Members::read(observed, &cluster) else { return Vec::new() };
    let leaving = members.with_workload().filter(|m| {
        let unwanted = cluster.set(&m.set).is_some_and(|s| s.spec.wal_volume_claim_spec.is_none());
        unwanted && m.wal_claim.as_ref().is_some_and(|c| !c.terminating()) && m.running()
    });
    let mut all: Vec<Query> =
        leaving.filter_map(|m| m.pod()).map(|pod| wal_directory(pod)).collect();
    all.extend(init_sql::query(observed, &cluster, &members));
    all.extend(archiving::query(observed, &cluster, &members));
    all.extend(lost_stanza::query(observed, &cluster, &members));
    all.extend(parameters::query(observed, &cluster, &members));
    all.extend(volume_state::queries(observed, &cluster, &members));
    all.extend(stranded::queries(observed, &cluster, &members));
    all.extend(standby_lag::query(observed, &cluster, &members));
    let settings = observed.find(Kind::Endpoints, &names::scope_config(&cluster.name));
    let settings = settings.known().and_then(|e| e.annotation("config"));
    if let Some(settings) = settings.filter(|_| cluster.spec.active_standby().is_none()) {
        all.extend(promotion::query(observed, &members, settings));
    }
    all
}

/// Where the WAL of a Pod's database really is: asked while a WAL volume is to go.
#[must_use]
pub fn wal_directory(pod: &Object) -> Query {
    Query { target: database(pod), command: Command::WalDirectory, deadline_s: 10, max_age_s: 60 }
}

/// A Pod's database container.
#[must_use]
pub fn database(pod: &Object) -> Target {
    Target {
        namespace: pod.meta.namespace.to_string(),
        pod: pod.meta.name.to_string(),
        uid: pod.meta.uid.clone(),
        container: DATABASE_CONTAINER.to_owned(),
    }
}
