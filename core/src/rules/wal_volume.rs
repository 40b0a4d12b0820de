//! A WAL volume that is no longer wanted: it stays mounted until the WAL has left it, which the renewed Pod's
//! start does and a look into the Pod proves; then the claim goes, and the next renewal unmounts it
//! (`reference/reconcile.md` §4.9).

use crate::cluster::Set;
use crate::pass::Pass;
use crate::queries::wal_directory;
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

/// Whether this very Pod was seen to have its WAL beside the data.
fn has_left(pass: &Pass<'_>, set: &Set<'_>, member: &Member) -> bool {
    let Some(pod) = member.pod().filter(|_| member.running()) else { return false };
    let answer = pass.observed.answers.get(&wal_directory(pod)).and_then(|a| a.known());
    let wanted = pass.cluster.wal_directory(set.spec);
    answer.is_some_and(|a| a.output.exit == 0 && a.output.stdout.trim() == wanted)
}
