//! Whether an instance may be taken down now. Computed once, asked by every rule that would.

use crate::rules::members::{Member, Members};

/// Why nothing may be taken down, if something stands against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Another instance is down already or not yet caught up.
    AnotherIsDown(String),
    /// Nobody leads.
    NoLeader,
}

/// Whether taking `victim` down leaves a leader and takes nobody else's turn. A victim that does not work
/// anyway costs nothing.
///
/// # Errors
/// With what stands against it.
pub fn may_take_down(members: &Members, victim: &Member) -> Result<(), Hold> {
    if !members.bootstrapped() {
        return Ok(());
    }
    let Some(leader) = members.leader() else {
        // Without a leader every copy of the data may be needed, unless this one holds none.
        return if victim.pods.is_empty() && victim.data_claim.is_none() { Ok(()) } else { Err(Hold::NoLeader) };
    };
    if !victim.ready() && victim.name != leader.name {
        return Ok(());
    }
    let down = members.with_workload().find(|m| {
        m.name != victim.name && m.name != leader.name && !m.streaming() && !m.condemned()
    });
    down.map_or(Ok(()), |m| Err(Hold::AnotherIsDown(m.name.clone())))
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hold::AnotherIsDown(name) => write!(f, "instance {name} is not streaming yet"),
            Hold::NoLeader => f.write_str("no instance leads"),
        }
    }
}
