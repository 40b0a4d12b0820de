//! What a failover may change for good. A cut of Patroni's messages may lead to one, and none is promised not to happen then:
//! another member leads, on a later timeline, a container has run before, Patroni's record of a failover is there or not,
//! and a Job that was at work on the former leader has tried again. All else must be as in the undisturbed run, and what
//! the story itself demands too.

use ivory_core::{Kind, labels};

use crate::world::fingerprint::Normal;

/// What stays the same, whoever leads.
pub fn whoever_leads(mut end: Normal) -> Normal {
    end.retain(|(name, leaves)| {
        if name.starts_with("Endpoints ") && name.ends_with("-failover") {
            return false;
        }
        let of_job = leaves.get("owner").is_some_and(|o| o.starts_with("Job "));
        !(of_job && leaves.get("status.phase").is_some_and(|p| p == "Failed"))
    });
    for (name, leaves) in &mut end {
        let kind = name.split_once(' ').map_or("", |(kind, _)| kind);
        leaves.retain(|path, _| !told_by_the_leader(kind, path));
    }
    end.sort();
    end
}

fn told_by_the_leader(kind: &str, path: &str) -> bool {
    let is = |wanted: Kind| kind == wanted.to_string();
    let role = format!("labels[{}]", labels::ROLE);
    if is(Kind::Pod) {
        const OF_MEMBER: [&str; 4] = ["role", "timeline", "replication_state", "state"];
        let container = |p: &str| p.contains(".lastState.") || p.ends_with(".restartCount");
        let said = path.strip_prefix("annotations[status].");
        return path == role
            || said.is_some_and(|key| OF_MEMBER.contains(&key))
            || (path.starts_with("status.") && container(path));
    }
    if is(Kind::Job) {
        return path == "status.failed";
    }
    is(Kind::Endpoints) && ["annotations[leader]", "annotations[transitions]"].contains(&path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

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
        assert_eq!(whoever_leads(before.clone()), whoever_leads(failed_over));
        assert_eq!(whoever_leads(before.clone()), whoever_leads(after));
        assert_ne!(whoever_leads(before), whoever_leads(changed));
    }
}
