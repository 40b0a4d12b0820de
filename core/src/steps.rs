//! One pass on one screen: the steps in order, and every gate between them.

#[cfg(test)]
mod laws;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod renewed_operator;
#[cfg(test)]
mod tests;

use crate::cluster::Cluster;
use crate::context::Context;
use crate::memo::{Memo, Memos};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::plan::Plan;
use crate::read::{Objects, Read, SILENT_S};
use crate::report::{Outcome, Reason, Step};
use crate::rules::members::Members;
use crate::rules::shutdown::Phase;
use crate::rules::{
    account, backups, config, databases, disruption, diverged, dynamic_configuration, finalize,
    init_sql, instances, leftovers, orphaned_bootstrap, pending_restart, permissions, pki,
    pod_labels, rbac, refusals, repository, rollout, scale_down, services, shutdown, status,
    stranded, switchover, users, validate,
};

/// Decides what to do for one cluster, from what was observed and nothing else.
///
/// The lists in `observed` should be in name order; others are put in order first.
pub fn plan(observed: &Observed, context: &Context, memos: &mut Memos) -> Plan {
    let ordered = in_order(observed);
    let observed = ordered.as_ref().unwrap_or(observed);
    let plan = plan_in_order(observed, context, memos.of(&observed.cluster.meta.uid));
    memos.end(&observed.cluster);
    plan
}

fn plan_in_order(observed: &Observed, context: &Context, memo: &mut Memo) -> Plan {
    let cluster = match memo.cluster(&observed.cluster, &context.config) {
        Ok(cluster) => cluster,
        Err(reason) => {
            let cluster = Cluster::unreadable(&observed.cluster, &context.config);
            let mut pass = Pass::new(observed, context, &cluster, memo);
            broken(&mut pass, reason);
            return pass.finish();
        }
    };
    let mut pass = Pass::new(observed, context, &cluster, memo);
    steps(&mut pass);
    pass.finish()
}

/// The same with every list in name order; none when it is so already.
fn in_order(observed: &Observed) -> Option<Observed> {
    let sorted = |read: &Objects| {
        read.known().is_none_or(|l| l.is_sorted_by(|a, b| a.meta.name <= b.meta.name))
    };
    if observed.objects.values().all(sorted) {
        return None;
    }
    let mut ordered = observed.clone();
    for read in ordered.objects.values_mut() {
        if let Read::Known(list) = read {
            list.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        }
    }
    Some(ordered)
}

/// A spec that can't be read keeps nothing from being deleted, and changes nothing of what runs.
fn broken(pass: &mut Pass<'_>, reason: Reason) {
    if pass.cluster.object.terminating() {
        return finalize::take_down(pass);
    }
    if pass.cluster.spec.paused {
        return status::paused(pass);
    }
    pass.say(Step::Validate, Outcome::Blocked(reason));
    status::blocked(pass, None);
}

/// A spec that can't be followed changes nothing of what runs. The way to it is kept, and told truly.
fn unfollowed(pass: &mut Pass<'_>) {
    let members = Members::read(pass.observed, pass.cluster).ok();
    if members.as_ref().is_some_and(Members::bootstrapped) {
        services::restore(pass);
    }
    status::blocked(pass, members.as_ref());
}

/// Whether something has not been followed for so long that it will not come in a moment.
fn blind_for_long(context: &Context) -> bool {
    context.blind_for().is_some_and(|age| age.as_secs() >= SILENT_S)
}

fn steps(pass: &mut Pass<'_>) {
    // Deletion wins over everything, a pause included.
    if pass.cluster.object.terminating() {
        return finalize::take_down(pass);
    }
    finalize::ensure(pass);
    if pass.cluster.spec.paused {
        return status::paused(pass);
    }
    for (word, text) in validate::complaints(pass.observed, pass.cluster) {
        pass.block(Step::Validate, word, text);
    }
    if !pass.report().lines.is_empty() {
        return unfollowed(pass);
    }
    permissions::tell(pass);
    refusals::tell(pass);
    let members = match Members::read(pass.observed, pass.cluster) {
        Ok(members) => members,
        // Nothing is decided about instances that were not seen.
        Err(reason) => {
            pass.say(Step::Instances, Outcome::Waiting(reason));
            // What lasts has to be said; after an API server's restart it has mostly come before it could be.
            let blocked = |(_, outcome): &(Step, Outcome)| matches!(outcome, Outcome::Blocked(_));
            if pass.report().lines.iter().any(blocked) || blind_for_long(pass.context) {
                status::blocked(pass, None);
            }
            return;
        }
    };
    status::observe(pass, &members);
    pod_labels::restore(pass, &members);

    // What Pods need comes before Pods.
    let root = pki::root(pass);
    if let Some(root) = &root {
        pki::cluster_certificates(pass, root);
    }
    services::ensure(pass);
    rbac::ensure(pass);
    config::ensure(pass, &members);
    let phase = shutdown::phase(pass, &members);
    let wanted = match &root {
        Some(root) => {
            let names = instances::names(pass, &members);
            repository::ensure(pass, &names, root, phase.repo_host_replicas(&members));
            instances::ensure(pass, &members, root, &phase)
        }
        None => Vec::new(),
    };
    disruption::ensure(pass);
    if phase != Phase::Runs {
        if matches!(phase, Phase::Starts(_)) {
            rollout::broken(pass, &members);
        }
        return status::write(pass, &members);
    }

    stranded::judge(pass, &members);
    diverged::judge(pass, &members);

    // Taking away: one instance at a time, and only what all the steps before leave superfluous.
    if root.is_some() {
        scale_down::one(pass, &members);
        leftovers::remove(pass, &members, &wanted);
        if !account::renews(pass, &members) {
            rollout::one(pass, &members);
        }
        switchover::one(pass, &members);
        orphaned_bootstrap::resolve(pass, &members);
    }

    // What happens inside the database, once there is one that accepts writes. A standby cluster's never
    // does; what is inside comes from its source.
    dynamic_configuration::ensure(pass, &members);
    if root.is_some() {
        pending_restart::one(pass, &members);
    }
    let standby = pass.cluster.spec.active_standby().is_some();
    if members.bootstrapped() && !standby {
        databases::ensure(pass, &members);
    }
    users::ensure(pass, &members);
    if !standby {
        backups::ensure(pass, &members);
    }
    init_sql::ensure(pass, &members);
    // Written before the first command, so that one that fails hides nothing.
    status::write(pass, &members);
}
