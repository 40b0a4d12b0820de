//! The backup repositories: settings, certificates, volumes and the host that serves them
//! (`reference/components.md` §1.5, §1.6).

use std::sync::Arc;

use crate::api::status::{PgBackRestStatus, RepoHostStatus, RepoStatus};
use crate::build::{config_maps, repo_host, volumes as build_volumes};
use crate::crypto::pki::Root;
use crate::kind::Kind;
use crate::labels;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::{config, pki, volumes};

/// Ensures everything about repositories that does not depend on a running database.
pub fn ensure(pass: &mut Pass<'_>, instances: &[String], root: &Arc<Root>, replicas: i32) {
    let cluster = pass.cluster;
    let (Read::Known(claims), Read::Known(workloads)) = (
        pass.observed.labelled(Kind::PersistentVolumeClaim),
        pass.observed.labelled(Kind::StatefulSet),
    ) else {
        return pass.unreadable(Step::Repository, "the volumes of the repositories");
    };
    let claims: Vec<Arc<Object>> =
        claims.iter().filter(|c| c.label(labels::PGBACKREST_VOLUME).is_some()).cloned().collect();
    let hosts: Vec<Arc<Object>> = workloads
        .iter()
        .filter(|w| w.label(labels::PGBACKREST_DEDICATED).is_some())
        .cloned()
        .collect();
    let host = host_name(&cluster.name, &hosts);
    let mut mounted = Vec::new();
    for repo in &cluster.spec.backups.pgbackrest.repos {
        let Some(volume) = &repo.volume else { continue };
        let live = of_repo(&claims, &repo.name);
        let default = names::repo_volume(&cluster.name, &repo.name);
        let name = live.map_or(default, |c| c.meta.name.to_string());
        let desired = pass.memo.built(format!("repository volume {} {name}", repo.name), || {
            build_volumes::repository(cluster, &repo.name, &name, &volume.volume_claim_spec)
        });
        volumes::ensure(pass, Step::Repository, desired);
        mounted.push((repo.name.clone(), name));
    }
    mounted.sort();
    pass.ensure_built(Step::Repository, format!("pgbackrest config {host} {instances:?}"), || {
        config_maps::pgbackrest(cluster, &config::repos(cluster), &host, instances)
    });
    if cluster.has_repo_host() {
        pki::pgbackrest_certificates(pass, root, &host);
        let other = hosts.iter().find(|h| *h.meta.name == *host && managed_otherwise(h));
        if let Some(other) = other.filter(|h| h.controlled_by(&cluster.uid)) {
            let text =
                format!("StatefulSet {host} manages its Pods in a way that can't be changed");
            pass.delete(Step::Repository, other, Reason::Because { word: "Immutable", text });
            return remember(pass, &claims, &hosts);
        }
        pass.ensure_built(
            Step::Repository,
            format!("repo host {host} {mounted:?} {replicas}"),
            || repo_host::stateful_set(cluster, &host, &mounted, replicas),
        );
    }
    unwanted(pass, &claims, &hosts);
    remember(pass, &claims, &hosts);
}

/// Whether a repository host's Pods come one after the other, as the Go operator has it: a Pod that can't start then
/// keeps its own correction from being made. An API server refuses to change this.
fn managed_otherwise(host: &Object) -> bool {
    host.str_at(&["spec", "podManagementPolicy"]) == Some("OrderedReady")
}

/// The claim of a repository: one that stays rather than one that goes.
fn of_repo<'a>(claims: &'a [Arc<Object>], repo: &str) -> Option<&'a Arc<Object>> {
    let all = claims.iter().filter(|c| c.label(labels::PGBACKREST_REPO) == Some(repo));
    all.min_by_key(|c| (c.terminating(), c.meta.created_at, c.meta.name.clone()))
}

/// The name of the repository host: that of the oldest one there is.
fn host_name(cluster: &str, hosts: &[Arc<Object>]) -> String {
    let oldest = hosts.iter().min_by_key(|h| (h.meta.created_at, h.meta.name.clone()));
    oldest.map_or_else(|| names::repo_host(cluster), |h| h.meta.name.to_string())
}

/// A repository host that no repository needs goes. The volume of a repository that left the spec goes with
/// it: that is the request, as the Go operator has it. Only what is ours is touched.
fn unwanted(pass: &mut Pass<'_>, claims: &[Arc<Object>], hosts: &[Arc<Object>]) {
    let cluster = pass.cluster;
    let hosts = hosts.iter().filter(|_| !cluster.has_repo_host());
    let claims = claims.iter().filter(|claim| {
        let repos = &cluster.spec.backups.pgbackrest.repos;
        let named =
            |r: &&crate::api::backups::Repo| claim.label(labels::PGBACKREST_REPO) == Some(&r.name);
        !repos.iter().filter(|r| r.volume.is_some()).any(|r| named(&r))
    });
    for object in hosts.chain(claims).filter(|o| o.controlled_by(&cluster.uid)) {
        let (kind, name) = (object.kind, object.meta.name.to_string());
        pass.delete(Step::Repository, object, Reason::Unwanted { kind, name });
    }
}

/// Notes in the status what there is. A volume or an address that changed has neither stanza nor backup.
fn remember(pass: &mut Pass<'_>, claims: &[Arc<Object>], hosts: &[Arc<Object>]) {
    let cluster = pass.cluster;
    let before = pass.status.pgbackrest.take().unwrap_or_default();
    let first = cluster.spec.backups.pgbackrest.repos.first().map(|r| r.name.clone());
    let mut repos: Vec<RepoStatus> = cluster
        .spec
        .backups
        .pgbackrest
        .repos
        .iter()
        .map(|repo| {
            let known = before.repos.iter().find(|r| r.name == repo.name);
            let old = known.cloned().unwrap_or_default();
            let claim = of_repo(claims, &repo.name).filter(|_| repo.volume.is_some());
            let volume = claim.and_then(|c| c.str_at(&["spec", "volumeName"])).map(str::to_owned);
            let hash = config::repos(cluster)
                .iter()
                .find(|r| format!("repo{}", r.number) == repo.name)
                .and_then(crate::pgbackrest::config::repo_hash);
            let moved = (old.volume.is_some() && volume.is_some() && old.volume != volume)
                || (known.is_some()
                    && old.repo_options_hash.as_deref().unwrap_or_default()
                        != hash.as_deref().unwrap_or_default());
            let bound = claim.map(|c| c.str_at(&["status", "phase"]) == Some("Bound"));
            RepoStatus {
                name: repo.name.clone(),
                bound,
                // An unknown volume is not a new one.
                volume: volume.or(old.volume.filter(|_| repo.volume.is_some())),
                repo_options_hash: hash,
                stanza_created: old.stanza_created.filter(|_| !moved),
                replica_create_backup_complete: old
                    .replica_create_backup_complete
                    .filter(|_| !moved && first.as_deref() == Some(&repo.name)),
            }
        })
        .collect();
    repos.sort_by(|a, b| a.name.cmp(&b.name));
    let repo_host = cluster.has_repo_host().then(|| RepoHostStatus {
        api_version: Some(Kind::StatefulSet.api_version().into()),
        kind: Some(Kind::StatefulSet.name().into()),
        ready: Some(hosts.iter().any(|h| h.i64_at(&["status", "readyReplicas"]).unwrap_or(0) > 0)),
    });
    pass.status.pgbackrest = Some(PgBackRestStatus { repos, repo_host, ..before });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::command::Command;
    use crate::test_support::{World, claim, spec, taken};
    use crate::{Kind, names};

    fn stanzas(world: &World) -> usize {
        world.commands.iter().filter(|(_, c)| matches!(c, Command::StanzaCreate { .. })).count()
    }

    fn flags(world: &World) -> Vec<(bool, bool)> {
        let cluster = world.cluster();
        let repos =
            cluster.at(&["status", "pgbackrest", "repos"]).and_then(Value::as_array).cloned();
        let flag = |r: &Value, key: &str| r[key] == Value::Bool(true);
        repos
            .unwrap_or_default()
            .iter()
            .map(|r| (flag(r, "stanzaCreated"), flag(r, "replicaCreateBackupComplete")))
            .collect()
    }

    fn two() -> Value {
        let mut two = spec(1);
        let more = json!({"name": "repo2", "volume": {"volumeClaimSpec": claim("2Gi")}});
        two["backups"]["pgbackrest"]["repos"].as_array_mut().expect("repos").push(more);
        two
    }

    #[test]
    fn a_host_of_the_go_operator_is_made_anew_and_its_volume_stays() {
        let mut world = World::settled(1);
        let uid =
            |world: &World| world.the(Kind::PersistentVolumeClaim, "hippo-repo1").meta.uid.clone();
        let volume = uid(&world);
        world.change(Kind::StatefulSet, "hippo-repo-host", |s| {
            s["spec"]["podManagementPolicy"] = "OrderedReady".into();
        });
        assert_eq!(taken(&world.plan()), ["StatefulSet hippo-repo-host"]);
        world.settle();
        let host = world.the(Kind::StatefulSet, "hippo-repo-host");
        assert_eq!(host.str_at(&["spec", "podManagementPolicy"]), Some("Parallel"));
        assert_eq!((uid(&world), flags(&world)), (volume, vec![(true, true)]));
    }

    #[test]
    fn a_removed_repository_takes_its_volume_along() {
        let mut world = World::new(two());
        world.settle();
        assert!(world.get(Kind::PersistentVolumeClaim, "hippo-repo2").is_some());
        world.edit(|s| {
            s["backups"]["pgbackrest"]["repos"].as_array_mut().expect("repos").pop();
        });
        assert_eq!(taken(&world.plan()), ["PersistentVolumeClaim hippo-repo2"]);
        world.settle();
        assert!(world.get(Kind::PersistentVolumeClaim, "hippo-repo2").is_none());
        assert_eq!(flags(&world), [(true, true)]);
    }

    #[test]
    fn where_a_repository_moved_there_is_neither_stanza_nor_backup() {
        let s3 = json!({"bucket": "b", "endpoint": "e", "region": "r"});
        type Change = Box<dyn Fn(&mut World)>;
        let cases: [(&str, Change); 4] = [
            (
                "a new volume",
                Box::new(|w: &mut World| {
                    w.remove(Kind::PersistentVolumeClaim, "hippo-repo1");
                }),
            ),
            (
                "from volume to S3",
                Box::new(move |w: &mut World| {
                    w.edit(|s| {
                        s["backups"]["pgbackrest"]["repos"][0] = json!({"name": "repo1", "s3": s3})
                    });
                }),
            ),
            (
                "another order",
                Box::new(|w: &mut World| {
                    w.edit(|s| {
                        s["backups"]["pgbackrest"]["repos"].as_array_mut().expect("repos").reverse()
                    });
                }),
            ),
            (
                "a wiped status",
                Box::new(|w: &mut World| {
                    w.change(Kind::IvoryCluster, "hippo", |c| c["status"] = json!({}));
                }),
            ),
        ];
        for (case, change) in cases {
            let mut world = World::new(two());
            world.settle();
            assert_eq!(flags(&world), [(true, true), (true, false)], "{case}");
            let jobs = world.all(Kind::Job);
            let before = stanzas(&world);
            change(&mut world);
            world.settle();
            let first = if case == "another order" { 1 } else { 0 };
            assert!(flags(&world)[first] == (true, true), "{case}: {:?}", flags(&world));
            assert_eq!(stanzas(&world) > before, case != "another order", "{case}");
            let anew = world
                .all(Kind::Job)
                .iter()
                .all(|j| jobs.iter().all(|old| old.meta.uid != j.meta.uid));
            assert_eq!(anew, case != "a wiped status", "{case}: a backup is taken");
        }
    }

    #[test]
    fn the_order_of_repositories_in_the_spec_restarts_nobody() {
        let mut turned = two();
        turned["backups"]["pgbackrest"]["repos"].as_array_mut().expect("repos").reverse();
        let template = |spec: Value| {
            let mut world = World::new(spec);
            world.settle();
            let host = world.the(Kind::StatefulSet, &names::repo_host("hippo"));
            host.at(&["spec", "template", "spec", "volumes"]).cloned()
        };
        assert_eq!(template(two()), template(turned));
    }

    #[test]
    fn settings_of_pgbackrest_come_back() {
        let mut world = World::settled(1);
        let name = names::pgbackrest_config("hippo");
        let before = world.the(Kind::ConfigMap, &name).body.clone();
        world.remove(Kind::ConfigMap, &name);
        world.settle();
        assert_eq!(world.the(Kind::ConfigMap, &name).body, before);
    }

    #[test]
    fn a_repository_that_left_its_volume_has_none() {
        let mut world = World::settled(1);
        let volume = |world: &World| {
            world.cluster().at(&["status", "pgbackrest", "repos"]).map(|r| r[0]["volume"].clone())
        };
        assert!(volume(&world).is_some_and(|v| v.is_string()));
        world.edit(|s| {
            s["backups"]["pgbackrest"]["repos"] = json!([{"name": "repo1", "gcs": {"bucket": "b"}}])
        });
        world.settle();
        assert_eq!(volume(&world), Some(Value::Null));
    }
}
