//! A WAL volume that is no longer wanted: it stays mounted until the WAL has left it, which the renewed Pod's
//! start does and a look into the Pod proves; then the claim goes, and the next renewal unmounts it
//! (`reference/reconcile.md` §4.9).

use crate::cluster::Set;
use crate::pass::Pass;
use crate::queries::wal_directory;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::Member;

/// The claim that is to be mounted still, if there is one. Deletes it once nothing is on it.
pub fn outgoing(pass: &mut Pass<'_>, set: &Set<'_>, member: &Member) -> Option<String> {
    let claim = member.wal_claim.as_ref().filter(|c| !c.terminating())?.clone();
    let name = claim.meta.name.to_string();
    if !has_left(pass, set, member) || !claim.controlled_by(&pass.cluster.uid) {
        let text =
            format!("volume claim {name} stays until the WAL of {} has left it", member.name);
        pass.wait(Step::Instances, "WalMoves", text);
        return Some(name);
    }
    let reason = Reason::Unwanted { kind: claim.kind, name };
    pass.delete(Step::Instances, &claim, reason);
    None
}

/// Whether it was asked and did not answer. Its Pod may be about to be renewed once more, and is better renewed before the
/// leader hands over to it.
pub fn gave_no_answer(pass: &Pass<'_>, member: &Member) -> bool {
    let query = member.pod().map(|pod| wal_directory(pod));
    query.and_then(|q| pass.observed.answers.get(&q)).is_some_and(Read::is_unknown)
}

/// Whether this very Pod was seen to have its WAL beside the data.
fn has_left(pass: &Pass<'_>, set: &Set<'_>, member: &Member) -> bool {
    let Some(pod) = member.pod().filter(|_| member.running()) else { return false };
    let answer = pass.observed.answers.get(&wal_directory(pod)).and_then(|a| a.known());
    let wanted = pass.cluster.wal_directory(set.spec);
    answer.is_some_and(|a| a.output.exit == 0 && a.output.stdout.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use crate::command::Command;
    use crate::memo::Memos;
    use crate::observed::Observed;
    use crate::read::{Query, Read};
    use crate::test_support::{World, claim, commands, spec, taken};
    use crate::{Kind, names};

    #[test]
    fn a_wal_volume_goes_only_when_the_wal_has_left_it() {
        let mut with_wal = spec(2);
        with_wal["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(with_wal);
        world.settle();
        let instances = world.instances();
        world.edit(|s| {
            s["instances"][0].as_object_mut().expect("a set").remove("walVolumeClaimSpec");
        });
        // The renewed Pods say that the WAL is where it was.
        for _ in 0..20 {
            world.round();
            assert_eq!(taken(&world.plan()).iter().filter(|d| d.contains("pgwal")).count(), 0);
        }
        world.wal_directory = "/pgdata/pg18_wal";
        world.settle();
        assert_eq!(world.instances(), instances, "nobody was replaced");
        for instance in instances {
            assert!(
                world.get(Kind::PersistentVolumeClaim, &names::wal_volume(&instance)).is_none()
            );
            let pod = world.the(Kind::Pod, &names::instance_pod(&instance)).to_value().to_string();
            assert!(!pod.contains("ivory-wal"), "it is unmounted");
        }
    }

    #[test]
    fn nobody_hands_over_to_one_that_has_not_said_where_its_wal_is() {
        let mut with_wal = spec(2);
        with_wal["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(with_wal);
        world.settle();
        world.edit(|s| {
            s["instances"][0].as_object_mut().expect("a set").remove("walVolumeClaimSpec");
        });
        let hands_over = |observed: &Observed, world: &World| {
            let plan = crate::steps::plan(observed, &world.context(), &mut Memos::default());
            commands(&plan).iter().any(|(_, c)| matches!(c, Command::Switchover { .. }))
        };
        let mut held = 0;
        for _ in 0..20 {
            let mut silent = world.observed();
            let asked = |q: &Query| q.command == Command::WalDirectory;
            let answers = silent.answers.iter_mut().filter(|(q, _)| asked(q));
            answers.for_each(|(_, a)| *a = Read::Unknown("a test says so".into()));
            assert!(!hands_over(&silent, &world));
            held += usize::from(hands_over(&world.observed(), &world));
            world.round();
        }
        assert!(held > 0, "it is handed over otherwise");
    }
}
