//! Whether an instance may be taken down now. Computed once, asked by every rule that would.

use crate::rules::members::{Member, Members};

/// Why nothing may be taken down, if something stands against it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Another instance is down already or not yet caught up.
    AnotherIsDown(String),
    /// Nobody leads.
    NoLeader,
    /// An instance holds the lease and has not taken the lead up yet.
    Promoting(String),
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
    // After a switchover the old leader is a ready replica, seconds before the new one takes writes. Were that
    // to fail, the old one would be needed.
    if victim.name != leader.name && !leader.leads() {
        return Err(Hold::Promoting(leader.name.clone()));
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
            Hold::Promoting(name) => write!(f, "instance {name} is only becoming the leader"),
            Hold::NoLeader => f.write_str("no instance leads"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::Kind;
    use crate::object::Object;
    use crate::patroni::status::Status;

    /// A ready instance in the role that Patroni gives it.
    fn member(name: &str, role: &str) -> (String, Member) {
        let pod = Object::new(Kind::Pod, "db", &format!("{name}-0")).with("status", json!({
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "database", "state": {"running": {}}}],
        }));
        let patroni = Status::parse(&json!({"role": role, "state": "running"}).to_string());
        let set = Object::new(Kind::StatefulSet, "db", name);
        let (pods, stateful_set) = (vec![Arc::new(pod)], Some(Arc::new(set)));
        (name.to_owned(), Member { name: name.to_owned(), pods, stateful_set, patroni, ..Member::default() })
    }

    #[test]
    fn a_switchover_is_over_when_the_new_leader_says_so() {
        let holds = Err(Hold::Promoting("a".to_owned()));
        for (leader, victim, expected) in [
            ("primary", "b", Ok(())),
            ("standby_leader", "b", Ok(())),
            ("replica", "b", holds.clone()),
            ("promoted", "b", holds),
            // The one that should lead and does not may itself be what has to be renewed.
            ("replica", "a", Ok(())),
        ] {
            let members = Members {
                all: [member("a", leader), member("b", "replica"), member("c", "replica")].into(),
                lease: Some("a-0".to_owned()),
                system_identifier: Some("7".to_owned()),
            };
            assert_eq!(may_take_down(&members, &members.all[victim]), expected, "{leader} {victim}");
        }
    }
}
