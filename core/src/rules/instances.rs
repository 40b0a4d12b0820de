//! The instances: for each its settings, certificates, volume claims and StatefulSet. Which there should be
//! is [`instance_names`](super::instance_names)' business, which go [`scale_down`](super::scale_down)'s.

use crate::build::instance::{Instance, stateful_set};
use crate::build::{config_maps, volumes as build_volumes};
use crate::cluster::Set;
use std::sync::Arc;

use crate::crypto::pki::Root;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::shutdown::Phase;
use crate::rules::{instance_names, only_copy, pki, returning, volumes, wal_volume};
use crate::{labels, names};

/// The names of all instances that should exist and have their volumes.
#[must_use]
pub fn names(pass: &Pass<'_>, members: &Members) -> Vec<String> {
    let wanted =
        pass.cluster.sets().flat_map(|s| instance_names::wanted(pass.cluster, &s, members));
    let sound = |name: &String| !members.all.get(name).is_some_and(Member::condemned);
    wanted.filter(sound).collect()
}

/// Ensures every instance of every set. Returns their names, by set.
pub fn ensure(
    pass: &mut Pass<'_>,
    members: &Members,
    root: &Arc<Root>,
    phase: &Phase,
) -> Vec<(String, Vec<String>)> {
    let cluster = pass.cluster;
    let named = |set: Set<'_>| {
        let names = instance_names::wanted(cluster, &set, members);
        (set.name, names)
    };
    let all: Vec<_> = cluster.sets().map(named).collect();
    let only_copy = only_copy::holders(pass, members, phase, &all);
    for (set, (_, wanted)) in cluster.sets().zip(&all) {
        for name in wanted {
            let member = members.all.get(name);
            // What is going is not mended; its replacement is wanted by another name.
            if let Some((word, why)) = member.filter(|m| m.condemned()).map(Member::verdict) {
                let text = format!("instance {name} {why} and is being replaced");
                pass.wait(Step::Instances, word, text);
                continue;
            }
            let waits = only_copy.holds_back(pass, name, member);
            let replicas = if waits { 0 } else { phase.replicas(name, member) };
            let bootstrapped = members.initialized;
            one(pass, &set, name, member, Run { bootstrapped, replicas, waits }, root);
        }
    }
    for name in &only_copy.holders {
        returns(pass, &members.all[name], members, phase, root);
    }
    if *phase != Phase::Runs {
        scale_unwanted(pass, members, phase, &all);
    }
    all
}

/// An instance that is no longer wanted stops and starts with the others: while its set was removed the cluster was
/// down, and its data may be what the others are to be made from. It goes when they have them.
fn scale_unwanted(
    pass: &mut Pass<'_>,
    members: &Members,
    phase: &Phase,
    wanted: &[(String, Vec<String>)],
) {
    let unwanted = |m: &&Member| !wanted.iter().any(|(_, names)| names.contains(&m.name));
    for member in members.with_workload().filter(unwanted) {
        let Some(workload) = &member.stateful_set else { continue };
        let replicas = phase.replicas(&member.name, Some(member));
        if workload.i64_at(&["spec", "replicas"]) == Some(replicas.into()) {
            continue;
        }
        let text = match replicas {
            0 => {
                format!("instance {} stops with the cluster, though no longer wanted", member.name)
            }
            _ => format!(
                "instance {} has the data of the cluster, though no longer wanted",
                member.name
            ),
        };
        let reason = Reason::Because { word: "Unwanted", text };
        pass.scale(Step::Instances, reason, workload, replicas);
    }
}

/// Brings the StatefulSet of an instance back that is no longer wanted and may have the only copy of the data. Its volumes
/// are left as they are.
fn returns(
    pass: &mut Pass<'_>,
    member: &Member,
    members: &Members,
    phase: &Phase,
    root: &Arc<Root>,
) {
    let (cluster, name) = (pass.cluster, &member.name);
    let replicas = phase.replicas(name, Some(member));
    if member.stateful_set.is_some() || replicas == 0 {
        return;
    }
    let Some(spec) = returning::spec(cluster, member) else { return };
    let set = Set { name: member.set.clone(), spec: &spec };
    furnish(pass, &set, name, members.initialized, root);
    let claim =
        |claim: &Option<Arc<crate::Object>>| claim.as_ref().map(|c| c.meta.name.to_string());
    let Some(data_claim) = claim(&member.data_claim) else { return };
    let wal_claim = claim(&member.wal_claim);
    let instance = Instance { name: name.clone(), data_claim, wal_claim, replicas };
    pass.ensure(Step::Instances, stateful_set(cluster, &set, &instance));
}

/// What an instance has beside its volumes and its workload.
fn furnish(pass: &mut Pass<'_>, set: &Set<'_>, name: &str, bootstrapped: bool, root: &Arc<Root>) {
    let cluster = pass.cluster;
    pki::instance_certificates(pass, root, &set.name, name);
    let repo = replica_method(pass);
    let wal = cluster.wal_directory(set.spec);
    let input = format!("instance config {} {name} {repo:?} {bootstrapped} {wal}", set.name);
    pass.ensure_built(Step::Instances, input, || {
        config_maps::instance(cluster, set, name, repo.as_deref(), bootstrapped)
    });
}

fn workload(pass: &mut Pass<'_>, set: &Set<'_>, instance: Instance) {
    let cluster = pass.cluster;
    pass.ensure_built(Step::Instances, format!("workload {} {instance:?}", set.name), || {
        stateful_set(cluster, set, &instance)
    });
}

/// How an instance shall run.
struct Run {
    /// Whether there is a database that it has to be made from.
    bootstrapped: bool,
    /// How many Pods its StatefulSet shall have.
    replicas: i32,
    /// Whether it waits until another leads.
    waits: bool,
}

fn one(
    pass: &mut Pass<'_>,
    set: &Set<'_>,
    name: &str,
    member: Option<&Member>,
    Run { bootstrapped, replicas, waits }: Run,
    root: &Arc<Root>,
) {
    let cluster = pass.cluster;
    furnish(pass, set, name, bootstrapped, root);
    // A claim without its labels is still the one that is mounted.
    let mounted = |volume: &str| member.and_then(|m| m.mounted_claim(volume)).map(str::to_owned);
    let claim = |claim: Option<&Arc<crate::Object>>, volume: &str, default: String| {
        claim.map(|c| c.meta.name.to_string()).or_else(|| mounted(volume)).unwrap_or(default)
    };
    let data = member.and_then(|m| m.data_claim.as_ref());
    let data_claim = claim(data, "ivory-data", names::data_volume(name));
    // Without a WAL volume nothing depends on it unless it waits.
    let unused =
        member.is_none_or(Member::is_new) && (waits || set.spec.wal_volume_claim_spec.is_some());
    let input = format!("data volume {} {name} {data_claim} {unused}", set.name);
    let volume = pass.memo.built(input, || {
        let mut volume = build_volumes::data(cluster, set, name, &data_claim);
        if unused {
            let annotations = Arc::make_mut(&mut volume.meta.annotations);
            annotations.insert(labels::NEVER_USED.to_owned(), String::new());
        }
        volume
    });
    volumes::ensure(pass, Step::Instances, volume);
    let live_wal = member.and_then(|m| m.wal_claim.as_ref());
    let wal_name = claim(live_wal, "ivory-wal", names::wal_volume(name));
    let wal_claim = match build_volumes::wal(cluster, set, name, &wal_name) {
        Some(wal) => {
            volumes::ensure(pass, Step::Instances, Arc::new(wal));
            Some(wal_name)
        }
        None => member.and_then(|m| wal_volume::outgoing(pass, set, m)),
    };
    for claim in build_volumes::tablespaces(cluster, set, name) {
        volumes::ensure(pass, Step::Instances, Arc::new(claim));
    }
    workload(pass, set, Instance { name: name.to_owned(), data_claim, wal_claim, replicas });
}

/// The repository from which replicas are made: a standby cluster's source, or one that holds a backup of ours.
fn replica_method(pass: &Pass<'_>) -> Option<String> {
    let standby = pass.cluster.spec.active_standby();
    if let Some(source) = standby.and_then(|s| s.repo_name.as_ref()) {
        return Some(source.clone());
    }
    let status = pass.status.pgbackrest.as_ref()?;
    let done = status.repos.iter().find(|r| r.replica_create_backup_complete == Some(true))?;
    Some(done.name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::test_support::{World, claim, spec};
    use crate::{Kind, names};

    #[test]
    fn a_standby_is_made_from_its_sources_repository_and_a_primary_from_its_own_backup() {
        let mut standby = spec(1);
        let more = json!({"name": "repo2", "volume": {"volumeClaimSpec": claim("2Gi")}});
        standby["backups"]["pgbackrest"]["repos"].as_array_mut().expect("repos").push(more);
        standby["standby"] = json!({"enabled": true, "repoName": "repo2"});
        let mut world = World::new(standby);
        let method = |world: &World| {
            let config = names::instance_config(&world.instances()[0]);
            let text = world.the(Kind::ConfigMap, &config).data("patroni.yaml");
            let text = text.and_then(|t| t.expose_text().map(str::to_owned)).unwrap_or_default();
            text.split_once("--repo=").map(|(_, rest)| rest[..1].to_owned())
        };
        world.round();
        assert_eq!(method(&world).as_deref(), Some("2"), "before there is any data");
        world.edit(|s| s["standby"] = json!(null));
        world.settle();
        assert_eq!(method(&world).as_deref(), Some("1"));
    }

    #[test]
    fn another_list_of_the_same_length_is_another_list() {
        let tolerating = |taint: &str| json!([{"key": taint, "operator": "Exists"}]);
        let mut spec = spec(1);
        spec["instances"][0]["tolerations"] = tolerating("one");
        let mut world = World::new(spec);
        world.settle();
        world.edit(|s| s["instances"][0]["tolerations"] = tolerating("other"));
        world.settle();
        let set = world.the(Kind::StatefulSet, &world.leader());
        let found = set.at(&["spec", "template", "spec", "tolerations"]);
        assert_eq!(found, Some(&tolerating("other")));
    }
}
