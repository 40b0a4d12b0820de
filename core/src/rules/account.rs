//! Instances whose token is dead. A token belongs to one life of its service account: when somebody deletes the account,
//! the API server refuses what running Pods have, Patroni can renew no lease, and the cluster stops accepting writes
//! (measured on Kubernetes 1.34: 401 within seconds, and for the rest of the token's hour, since the kubelet does not
//! notice). Only a new Pod has a new token.

use jiff::{SignedDuration, Timestamp};

use crate::kind::Kind;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::rollout;

/// The kubelet asks for a new token when four fifths of the hour are over; then it helps itself.
const REFRESH: SignedDuration = SignedDuration::from_mins(50);

/// Renews the Pods with dead tokens, one at a time. The one that leads comes first: it can neither go on nor hand
/// over, and takes up its lead again as soon as it is back. Whether there is any: nobody else is renewed meanwhile.
pub fn renews(pass: &mut Pass<'_>, members: &Members) -> bool {
    let name = names::instance_rbac(&pass.cluster.name);
    let account = match pass.observed.find(Kind::ServiceAccount, &name) {
        Read::Known(account) if !account.terminating() => account.clone(),
        _ => return false,
    };
    let now = pass.context.now;
    let dead = |m: &&Member| m.pod().is_some_and(|pod| is_dead(pod, &account, now));
    let mut all: Vec<&Member> = members.with_workload().filter(dead).collect();
    all.sort_by_key(|m| (!members.is_leader(m), m.name.clone()));
    let Some(first) = all.first().copied() else { return false };
    let Some(pod) = first.pod().cloned() else { return false };
    let text = format!("instance {} has a token of a service account that was deleted", first.name);
    if pass.writes_in(&[Step::Instances]) {
        return true;
    }
    // Whoever is back already has to work before the next one goes.
    let back = |m: &&Member| !all.iter().any(|dead| dead.name == m.name);
    if let Some(busy) = members.with_workload().filter(back).find(|m| !m.ready()) {
        let text = format!("{text}; it is renewed when {} is ready", busy.name);
        pass.wait(Step::Rollout, "DeadToken", text);
        return true;
    }
    if rollout::waits_for_the_unwanted(pass, members) {
        let text = format!("{text}; it is renewed when those that go are gone");
        pass.wait(Step::Rollout, "DeadToken", text);
        return true;
    }
    rollout::delete(pass, &pod, Reason::Because { word: "DeadToken", text });
    true
}

/// Whether a Pod's token is one of an earlier life of the account.
fn is_dead(pod: &Object, account: &Object, now: Timestamp) -> bool {
    let (Some(pod), Some(account)) = (pod.meta.created_at, account.meta.created_at) else {
        return false;
    };
    pod < account && now < account.saturating_add(REFRESH).unwrap_or(account)
}

#[cfg(test)]
mod tests {
    use crate::test_support::{World, deletes};
    use crate::{Kind, names};

    #[test]
    fn a_deleted_account_costs_one_restart_each_the_leader_first() {
        let mut world = World::settled(3);
        let leader = world.leader();
        world.now += jiff::SignedDuration::from_mins(5);
        world.remove(Kind::ServiceAccount, "hippo-instance");
        let mut gone = Vec::new();
        world.settle_with(|world, plan| {
            let down = world.all(Kind::Pod);
            let down = down.iter().filter(|p| !p.condition_true("Ready")).count();
            for pod in deletes(plan) {
                assert_eq!(down, 0, "{pod} goes while another is down");
                gone.push(pod);
            }
        });
        assert_eq!(gone.len(), 3, "{gone:?}");
        assert_eq!(gone[0], format!("Pod {}", names::instance_pod(&leader)));
    }

    #[test]
    fn an_hour_later_the_kubelet_has_helped_itself() {
        let mut world = World::settled(3);
        world.now += jiff::SignedDuration::from_mins(5);
        let account = world.the(Kind::ServiceAccount, "hippo-instance").clone();
        world.remove(Kind::ServiceAccount, "hippo-instance");
        let mut again = (*account).clone();
        again.meta.uid = "".into();
        world.put(again);
        world.now += jiff::SignedDuration::from_mins(55);
        world.settle_with(|_, plan| assert!(deletes(plan).is_empty()));
    }

    #[test]
    fn an_account_on_its_way_out_renews_nobody() {
        let mut world = World::settled(1);
        world.now += jiff::SignedDuration::from_mins(5);
        let mut account = (**world.the(Kind::ServiceAccount, "hippo-instance")).clone();
        account.meta.created_at = Some(world.now);
        world.put(account.clone());
        assert_eq!(deletes(&world.plan()), [format!("Pod {}-0", world.leader())]);
        account.meta.deleted_at = Some(world.now);
        world.put(account);
        assert_eq!(deletes(&world.plan()), [""; 0]);
    }
}
