//! > No volume with the only copy of data, or the only valid backups, is deleted without an explicit request for it.
//!
//! Looked at before every write that deletes a claim. What requests it explicitly: deleting the cluster, or a spec that
//! names the repository no more. A set that the spec names no more is no request: its data live on in another set.

use ivory_core::{Kind, labels};

use super::data_rewritten_only_on_request::volumes_with;
use super::seen::{Log, Write};
use super::{Checker, Promise, When};

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 3,
    name: "volumes kept",
    words: "No volume with the only copy of data, or the only valid backups, is deleted without an explicit request for \
            it.",
    when: &[When::Write, When::Pass],
    file: file!(),
    held_by: &[],
};

/// Nothing needs to be remembered.
#[derive(Clone, Default)]
pub(super) struct State;

impl Checker for State {
    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        if let Some(object) = write.deletes()
            && object.kind == Kind::PersistentVolume
        {
            log.broken(
                &PROMISE,
                format!("{}: volumes are not the operator's to delete", write.text()),
            );
        }
        let Some(claim) = write.deletes().filter(|o| o.kind == Kind::PersistentVolumeClaim) else {
            return;
        };
        log.looked(&PROMISE);
        let Some(cluster) = write.cluster_of(claim) else { return };
        let name = &claim.meta.name;
        if let Some(repo) = claim.label(labels::PGBACKREST_REPO) {
            let repos = cluster.at(&["spec", "backups", "pgbackrest", "repos"]);
            let repos = repos.and_then(|r| r.as_array()).into_iter().flatten();
            if repos.into_iter().any(|r| r["name"] == repo) {
                log.broken(&PROMISE, format!("{name} is deleted, and the spec names {repo}"));
            }
            return;
        }
        if claim.label(labels::ROLE) != Some(labels::role::PGDATA) {
            return;
        }
        let kube = write.world.kube(write.kube);
        let volume = claim.str_at(&["spec", "volumeName"]).and_then(|v| kube.volume(v));
        for data in volume.into_iter().flat_map(|v| v.directories.values()) {
            let (namespace, cluster) = (&claim.meta.namespace, &cluster.meta.name);
            let copies = volumes_with(write.world, write.kube, namespace, cluster, data.system_id);
            if !copies.iter().any(|copy| **copy != **name) {
                log.broken(
                    &PROMISE,
                    format!("{name} is deleted, and no other volume has its data"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;

    #[test]
    fn the_last_copy_and_a_repository_are_missed() {
        let mut world = ready();
        let wrong = |world: &crate::world::World, name: &str| {
            let request = deletion(&the(world, Kind::PersistentVolumeClaim, name));
            let plans = Plans::default();
            found(world.now(), |log| State.write(&writes(world, &request, &plans), log))
        };
        let claims = world.kube(KUBE).api.list(Kind::PersistentVolumeClaim, None);
        let data = claims.filter(|c| c.label(labels::ROLE) == Some(labels::role::PGDATA));
        let data: Vec<_> = data.cloned().collect();
        assert_eq!(data.len(), 3);
        assert_eq!(wrong(&world, &data[0].meta.name), [""; 0], "there are others");
        for other in &data[1..] {
            let volume = other.str_at(&["spec", "volumeName"]).expect("it is bound");
            world.kube_mut(KUBE).remove_volume(volume);
        }
        let name = &data[0].meta.name;
        let text = format!("{name} is deleted, and no other volume has its data");
        assert_eq!(wrong(&world, name), [text]);
        let text = "hippo0-repo1 is deleted, and the spec names repo1";
        assert_eq!(wrong(&world, "hippo0-repo1"), [text]);
    }
}
