//! Whether an instance may be taken down now. Asked by every rule that would.

use crate::rules::members::{Member, Members};

/// Why nothing may be taken down, if something stands against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Another instance is down already or not yet caught up.
    AnotherIsDown(String),
    /// Nobody leads.
    NoLeader,
    /// It bears the leader's label while another holds the lease: one of the two reads is old.
    RolesDisagree(String),
}

/// Whether the Pod of `victim` may be restarted. One that does not work anyway costs nothing, whoever else
/// is down: a broken instance is always mended.
///
/// # Errors
/// With what stands against it.
pub fn may_restart(members: &Members, victim: &Member) -> Result<(), Hold> {
    if !members.bootstrapped() || !victim.ready() {
        return Ok(());
    }
    works_without(members, victim)
}

/// Whether `victim` may be removed: its data goes with it, so another must be there that leads and lives.
///
/// # Errors
/// With what stands against it.
pub fn may_remove(members: &Members, victim: &Member) -> Result<(), Hold> {
    let holds_nothing = victim.pods.is_empty() && victim.data_claim.is_none();
    if !members.bootstrapped() || holds_nothing {
        return Ok(());
    }
    if victim.ready() {
        return works_without(members, victim);
    }
    living_leader(members, victim)
}

/// Whether somebody leads, and everybody else has caught up.
fn works_without(members: &Members, victim: &Member) -> Result<(), Hold> {
    living_leader(members, victim)?;
    let leads = |m: &Member| members.leader().is_some_and(|l| l.name == m.name);
    if victim.labelled_leader() && !leads(victim) {
        return Err(Hold::RolesDisagree(victim.name.clone()));
    }
    let down = members
        .with_workload()
        .find(|m| m.name != victim.name && !leads(m) && !m.streaming() && !m.condemned());
    down.map_or(Ok(()), |m| Err(Hold::AnotherIsDown(m.name.clone())))
}

/// The lease outlives its holder, so a leader counts only while its Pod is ready.
fn living_leader(members: &Members, victim: &Member) -> Result<(), Hold> {
    match members.leader() {
        None => Err(Hold::NoLeader),
        Some(leader) if leader.name != victim.name && !leader.ready() => {
            Err(Hold::AnotherIsDown(leader.name.clone()))
        }
        Some(_) => Ok(()),
    }
}

/// Whom a switchover from `leader` should name: nobody when every other instance will do, since Patroni
/// knows best who is synchronous; else the first that will do. None when there is none.
#[must_use]
pub fn heir(members: &Members, leader: &Member, will_do: impl Fn(&Member) -> bool) -> Option<Option<String>> {
    let others = || members.with_workload().filter(|m| m.name != leader.name);
    let fit = |m: &&Member| m.streaming() && !m.condemned() && will_do(m);
    let first = others().find(fit)?;
    let all = others().all(|m| fit(&m));
    Some((!all).then(|| crate::names::instance_pod(&first.name)))
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hold::AnotherIsDown(name) => write!(f, "instance {name} is down or not streaming yet"),
            Hold::NoLeader => f.write_str("no instance leads"),
            Hold::RolesDisagree(name) => {
                write!(f, "instance {name} bears the leader's label, and another holds the lease")
            }
        }
    }
}
