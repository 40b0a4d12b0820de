//! What instances leave behind: volume claims, settings and certificates of instances that nobody wants.
//! Data goes only by request, which is a smaller number of replicas or a removed set.

use std::time::Duration;

use crate::kind::Kind;
use crate::labels;
use crate::object::Object;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::scale_down;

/// When a Pod that stops is looked for again.
const GONE_BY: Duration = Duration::from_secs(10);

/// Deletes what belongs to instances that have neither workload nor Pod and are wanted no more.
pub fn remove(pass: &mut Pass<'_>, members: &Members, wanted: &[(String, Vec<String>)]) {
    let is_wanted = |m: &Member| wanted.iter().any(|(_, names)| names.contains(&m.name));
    for member in members.all.values().filter(|m| m.stateful_set.is_none() && !is_wanted(m)) {
        let_go(pass, members, member);
    }
    let gone = members.all.values().filter(|m| m.stateful_set.is_none() && m.pods.is_empty());
    let gone: Vec<Member> = gone.filter(|m| !is_wanted(m)).cloned().collect();
    for member in gone {
        let claims = [&member.data_claim, &member.wal_claim].into_iter().flatten();
        let tablespaces = member.furniture.iter().filter(|o| o.kind == Kind::PersistentVolumeClaim);
        let claims: Vec<_> = claims.chain(tablespaces).cloned().collect();
        if !claims.is_empty() && !others_hold_the_data(pass, members, &member) {
            let text =
                format!("the volumes of {} stay until the others hold the data", member.name);
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

/// A Pod that its StatefulSet let go, since a label was taken from it, and that nobody ends after the StatefulSet is gone.
fn let_go(pass: &mut Pass<'_>, members: &Members, member: &Member) {
    let ours = |pod: &Object| {
        let claim = member.data_claim.as_ref().filter(|c| c.controlled_by(&pass.cluster.uid));
        pod.controller().is_none() && claim.is_some_and(|c| pod.mounts_claim(&c.meta.name))
    };
    if member.pods.iter().any(|pod| pod.label(labels::CLUSTER).is_none()) {
        // Nobody is told of what becomes of a Pod without the label.
        pass.look_again(GONE_BY);
    }
    let Some(pod) = member.pod().filter(|pod| ours(pod)).cloned() else { return };
    let text = format!("Pod {} has no StatefulSet any more that would end it", pod.meta.name);
    let reason = Reason::Because { word: "LetGo", text };
    scale_down::take(pass, members, member, Some(&pod), reason);
}

/// Whether a writable, living database holds the data, and as many instances of the set work as it should have: one whose
/// volume was lost holds nothing until it is made anew. Before the first database there is no data to lose.
fn others_hold_the_data(pass: &Pass<'_>, members: &Members, gone: &Member) -> bool {
    if !members.bootstrapped() {
        return true;
    }
    let wanted =
        pass.cluster.set(&gone.set).map_or(0, |s| usize::try_from(s.spec.replicas).unwrap_or(0));
    let leader = members.writable().filter(|leader| leader.ready() && leader.name != gone.name);
    let working = members.of_set(&gone.set).filter(|m| members.holds_the_data(m));
    leader.is_some() && working.count() >= wanted
}

#[cfg(test)]
mod tests {
    use crate::test_support::{World, claim, spec, taken};
    use crate::{Kind, names};

    #[test]
    fn volumes_stay_until_a_living_leader_holds_the_data() {
        let mut world = World::settled(2);
        let gone = world.replicas()[0].clone();
        let leader = names::instance_pod(&world.leader());
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        world.remove(Kind::StatefulSet, &gone);
        world.remove(Kind::Pod, &names::instance_pod(&gone));
        let all = format!("{:?}", taken(&world.plan()));
        assert!(all.contains(&names::data_volume(&gone)), "{all}");
        assert!(all.contains(&names::instance_certs(&gone)), "{all}");
        assert!(all.contains(&names::instance_config(&gone)), "{all}");
        // The leader's node dies; its annotation and lease stay.
        world.change(Kind::Pod, &leader, |p| {
            p["status"]["conditions"][0]["status"] = "False".into()
        });
        assert_eq!(taken(&world.plan()), [""; 0]);
    }

    #[test]
    fn a_volume_that_lost_its_label_goes_as_well() {
        let mut spec = spec(3);
        spec["instances"][0]["walVolumeClaimSpec"] = claim("1Gi");
        let mut world = World::new(spec);
        world.settle();
        let gone = world.replicas()[0].clone();
        world.edit(|s| s["instances"][0]["replicas"] = 2.into());
        world.remove(Kind::StatefulSet, &gone);
        world.remove(Kind::Pod, &names::instance_pod(&gone));
        // Its other volume tells of it.
        let claim = names::data_volume(&gone);
        world.strip(Kind::PersistentVolumeClaim, &claim, crate::labels::CLUSTER);
        world.settle();
        assert!(world.all(Kind::PersistentVolumeClaim).iter().all(|c| *c.meta.name != *claim));
    }

    #[test]
    fn a_pod_that_was_let_go_is_ended_when_its_instance_is_not_wanted() {
        for (owned, label) in [(true, true), (false, true), (false, false)] {
            let mut world = World::settled(2);
            let gone = world.replicas()[0].clone();
            let pod = names::instance_pod(&gone);
            if !owned {
                world.change(Kind::Pod, &pod, |p| {
                    p["metadata"]["ownerReferences"] = serde_json::json!([])
                });
            }
            if !label {
                world.strip(Kind::Pod, &pod, crate::labels::CLUSTER);
            }
            world.edit(|s| s["instances"][0]["replicas"] = 1.into());
            world.remove(Kind::StatefulSet, &gone);
            let expected: &[String] = if owned { &[] } else { &[format!("Pod {pod}")] };
            assert_eq!(taken(&world.plan()), expected, "{owned} {label}");
            // While nobody else works it is needed.
            let leader = names::instance_pod(&world.leader());
            world.change(Kind::Pod, &leader, |p| {
                p["status"]["conditions"][0]["status"] = "False".into()
            });
            assert_eq!(taken(&world.plan()), [""; 0], "{owned} {label}");
        }
    }

    #[test]
    fn a_lost_record_of_the_bootstrap_does_not_free_the_data() {
        let mut world = World::settled(2);
        for name in world.instances() {
            world.remove(Kind::StatefulSet, &name);
            world.remove(Kind::Pod, &names::instance_pod(&name));
        }
        for endpoints in ["hippo-ha", "hippo-ha-config"] {
            world.remove(Kind::Endpoints, endpoints);
        }
        world.edit(|s| s["instances"][0]["replicas"] = 1.into());
        assert_eq!(taken(&world.plan()), [""; 0]);
    }

    #[test]
    fn somebody_elses_claim_with_our_labels_stays() {
        let mut world = World::settled(1);
        let mut claim = (**world
            .the(Kind::PersistentVolumeClaim, &names::data_volume(&world.leader())))
        .clone();
        claim.meta.name = "theirs".into();
        claim.meta.uid = "".into();
        claim.meta.owners = std::sync::Arc::default();
        let mut labels = (*claim.meta.labels).clone();
        labels.insert(crate::labels::INSTANCE.into(), "hippo-instance1-zzzz".into());
        claim.meta.labels = labels.into();
        world.put(claim);
        assert_eq!(taken(&world.plan()), [""; 0]);
    }

    #[test]
    fn before_the_first_database_there_is_nothing_to_keep() {
        let mut world = World::new(crate::test_support::spec(1));
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let begun = world.instances();
        let [begun] = &begun[..] else { panic!("{begun:?}") };
        world.remove(Kind::StatefulSet, begun);
        world.edit(|s| s["instances"][0]["name"] = "other".into());
        let all = format!("{:?}", taken(&world.plan()));
        assert!(all.contains(&names::data_volume(begun)), "{all}");
    }
}
