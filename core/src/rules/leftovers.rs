//! What instances leave behind: volume claims, settings and certificates of instances that nobody wants.
//! Data goes only by request, which is a smaller number of replicas or a removed set.

use crate::kind::Kind;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};

/// Deletes what belongs to instances that have neither workload nor Pod and are wanted no more.
pub fn remove(pass: &mut Pass<'_>, members: &Members, wanted: &[(String, Vec<String>)]) {
    let is_wanted = |m: &Member| wanted.iter().any(|(_, names)| names.contains(&m.name));
    let gone = members.all.values().filter(|m| m.stateful_set.is_none() && m.pods.is_empty());
    let gone: Vec<Member> = gone.filter(|m| !is_wanted(m)).cloned().collect();
    for member in gone {
        let claims = [&member.data_claim, &member.wal_claim].into_iter().flatten();
        let tablespaces = member.furniture.iter().filter(|o| o.kind == Kind::PersistentVolumeClaim);
        let claims: Vec<_> = claims.chain(tablespaces).cloned().collect();
        if !claims.is_empty() && !others_hold_the_data(pass, members, &member) {
            let text = format!("the volumes of {} stay until the others hold the data", member.name);
            pass.wait(Step::Instances, "KeepsVolume", text);
            continue;
        }
        let rest = member.furniture.iter().filter(|o| o.kind != Kind::PersistentVolumeClaim);
        for object in claims.iter().chain(rest) {
            if object.controlled_by(&pass.cluster.uid) {
                let (kind, name) = (object.kind, object.meta.name.to_string());
                pass.delete(Step::Instances, object, Reason::Unwanted { kind, name });
            }
        }
    }
}

/// Whether the set has all the instances that it should have, and a writable database holds the data.
/// Before the first database there is no data to lose.
fn others_hold_the_data(pass: &Pass<'_>, members: &Members, gone: &Member) -> bool {
    if !members.bootstrapped() {
        return true;
    }
    let wanted = pass.cluster.set(&gone.set).map_or(0, |s| usize::try_from(s.spec.replicas).unwrap_or(0));
    members.of_set(&gone.set).count() >= wanted
        && members.writable().is_some_and(|leader| leader.name != gone.name)
}
