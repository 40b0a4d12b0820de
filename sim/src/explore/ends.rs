//! In what two ends of a story may differ although they are the same. A Job is of the past: how often it tried, and which
//! of the user's annotations it was made with, hang on when it began. Patroni's record of a switchover stays, empty, once
//! there was one. A cut of Patroni's messages may lead to a failover, and none is promised not to happen then: another
//! member leads, on another timeline, a container has run before instead of being asked to restart, and the node that a story
//! loses with its leader is another one. The same holds where there were fewer failovers than undisturbed. All else must be
//! as in the undisturbed run.

use std::collections::{BTreeMap, BTreeSet};

use ivory_core::{Kind, labels};

use crate::world::fingerprint::Normal;

/// What must be the same in both; whoever leads, where there may have been a failover.
pub fn comparable(mut end: Normal, failovers: bool) -> Normal {
    let pod = |(name, _): &(String, _)| name.strip_prefix("Pod ").map(str::to_owned);
    let pods: BTreeSet<String> = end.iter().filter_map(pod).collect();
    end.retain(|(name, leaves)| {
        let of_job = leaves.get("owner").is_some_and(|o| o.starts_with("Job "));
        let tried = of_job && leaves.get("status.phase").is_some_and(|p| p == "Failed");
        let record = name.starts_with("Endpoints ") && name.ends_with("-failover");
        let node = failovers && name.starts_with("Node ");
        let mirror = failovers
            && name.starts_with("EndpointSlice ")
            && of_a_gone_pod(leaves, "endpoints.0", &pods);
        !(tried || record || node || mirror)
    });
    for (name, leaves) in &mut end {
        // Which node a story loses hangs on where its leader was placed, and that on when.
        if let Some(node) = name.strip_prefix("Node ").map(str::to_owned) {
            leaves.retain(|path, text| *text != node && !path.starts_with("labels[topology."));
            *name = "Node *".to_owned();
        }
        let kind = name.split_once(' ').map_or("", |(kind, _)| kind);
        let of_job = leaves.get("owner").is_some_and(|o| o.starts_with("Job "));
        let gone = failovers
            && kind == Kind::Endpoints.to_string()
            && of_a_gone_pod(leaves, "subsets.0.addresses.0", &pods);
        leaves.retain(|path, _| {
            let stale = gone && path.starts_with("subsets.");
            let past = of_the_past(kind, of_job, path);
            !(past || stale || failovers && told_by_the_leader(kind, path))
        });
    }
    end.sort();
    end
}

/// Whether it leads to a Pod that is no more. A member that is killed while it stops, or refused once, does not take its
/// address back (`kubernetes.py::delete_leader` has no retry), and nobody else writes there before the next one leads.
fn of_a_gone_pod(leaves: &BTreeMap<String, String>, at: &str, pods: &BTreeSet<String>) -> bool {
    leaves.get(&format!("{at}.targetRef.name")).is_some_and(|pod| !pods.contains(pod))
}

/// The newest timeline that a member tells of.
pub fn timeline(end: &Normal) -> Option<u64> {
    let told = end.iter().filter_map(|(_, leaves)| leaves.get("annotations[status].timeline"));
    told.filter_map(|timeline| timeline.parse().ok()).max()
}

fn of_the_past(kind: &str, of_job: bool, path: &str) -> bool {
    let annotation = |p: &str| {
        p.starts_with("annotations[") || p.starts_with("spec.template.metadata.annotations.")
    };
    if kind == Kind::Job.to_string() {
        return path == "status.failed" || annotation(path);
    }
    of_job && annotation(path)
}

fn told_by_the_leader(kind: &str, path: &str) -> bool {
    let is = |wanted: Kind| kind == wanted.to_string();
    let role = format!("labels[{}]", labels::ROLE);
    let asked = format!("annotations[{}]", labels::RESTART_ASKED);
    if is(Kind::Pod) {
        const OF_MEMBER: [&str; 4] = ["role", "timeline", "replication_state", "state"];
        let container = |p: &str| p.contains(".lastState.") || p.ends_with(".restartCount");
        let said = path.strip_prefix("annotations[status].");
        return path == role
            || path == asked
            || said.is_some_and(|key| OF_MEMBER.contains(&key))
            || (path.starts_with("status.") && container(path));
    }
    is(Kind::Endpoints) && ["annotations[leader]", "annotations[transitions]"].contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_node_is_lost_is_no_difference_and_how_many_are_is_one() {
        let node = |name: &str, ready: &str| {
            let hostname = ("labels[kubernetes.io/hostname]".to_owned(), name.to_owned());
            let ready = ("status.conditions.Ready.status".to_owned(), ready.to_owned());
            (format!("Node {name}"), BTreeMap::from([hostname, ready]))
        };
        let end = |all: &[(&str, &str)]| -> Normal {
            comparable(all.iter().map(|(name, ready)| node(name, ready)).collect(), false)
        };
        let one = end(&[("node1", "True"), ("node2", "True")]);
        assert_eq!(one, end(&[("node1", "True"), ("node3", "True")]));
        assert_ne!(one, end(&[("node1", "True")]));
        assert_ne!(one, end(&[("node1", "True"), ("node3", "Unknown")]));
    }

    #[test]
    fn an_address_that_a_killed_member_did_not_take_back_is_no_difference() {
        let led_to = |pod: &str| {
            let leaf = |at: &str| [(format!("{at}.targetRef.name"), pod.to_owned())];
            vec![
                ("EndpointSlice hippo-ha-*".to_owned(), leaf("endpoints.0").into()),
                ("Endpoints hippo-ha".to_owned(), leaf("subsets.0.addresses.0").into()),
                ("Pod there".to_owned(), BTreeMap::new()),
            ]
        };
        let taken_back = vec![
            ("Endpoints hippo-ha".to_owned(), BTreeMap::new()),
            ("Pod there".to_owned(), BTreeMap::new()),
        ];
        for (pod, failovers, same) in
            [("gone", true, true), ("gone", false, false), ("there", true, false)]
        {
            let [left, back] =
                [led_to(pod), taken_back.clone()].map(|end| comparable(end, failovers));
            assert_eq!(left == back, same, "{pod} {failovers}");
        }
    }

    #[test]
    fn who_leads_is_forgotten_and_nothing_else() {
        let role_label = format!("labels[{}]", labels::ROLE);
        let leaves = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let pod = |role: &str, timeline: &str, image: &str| {
            let all = [
                (&*role_label, role),
                ("annotations[status].timeline", timeline),
                ("status.containerStatuses.0.restartCount", timeline),
                ("spec.containers.0.image", image),
            ];
            ("Pod hippo-instance1-*-0".to_owned(), leaves(&all))
        };
        let before = vec![pod("master", "1", "a"), pod("replica", "1", "b")];
        let after = vec![pod("master", "2", "b"), pod("replica", "2", "a")];
        let changed = vec![pod("master", "1", "a"), pod("replica", "1", "c")];
        let mut failed_over = before.clone();
        failed_over.push(("Endpoints hippo-ha-failover".to_owned(), BTreeMap::new()));
        assert_eq!(comparable(before.clone(), true), comparable(failed_over, true));
        assert_eq!(comparable(before.clone(), true), comparable(after.clone(), true));
        assert_ne!(comparable(before.clone(), false), comparable(after, false));
        assert_ne!(comparable(before, true), comparable(changed, true));
    }

    #[test]
    fn a_job_has_tried_as_often_as_it_did_and_was_made_when_it_was() {
        let job = |failed: &str, restarted: Option<&str>, image: &str| {
            let mut leaves = BTreeMap::from([
                ("status.failed".to_owned(), failed.to_owned()),
                ("status.succeeded".to_owned(), "1".to_owned()),
                ("spec.template.spec.containers.0.image".to_owned(), image.to_owned()),
            ]);
            let annotation = "spec.template.metadata.annotations.restarted".to_owned();
            leaves.extend(restarted.map(|r| (annotation, r.to_owned())));
            vec![("Job hippo-backup-*".to_owned(), leaves)]
        };
        let once = comparable(job("0", None, "a"), false);
        assert_eq!(once, comparable(job("2", Some("now"), "a"), false));
        assert_ne!(once, comparable(job("0", None, "b"), false));
    }
}
