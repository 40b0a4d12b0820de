//! How an instance is made that is no longer wanted and returns with the only copy of the data. What its set asked for may
//! be known no longer: then it is like those of the first set that there is. But its volumes are what they are: a Pod that
//! waits for a claim that never was, or looks for WAL where there is no volume, would never come up.

use crate::api::instances::{InstanceSet, TablespaceVolume};
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::labels::{self, role};
use crate::rules::members::Member;

/// What an instance is made by: its own set, or another, with the volumes that it has. None if there is no set.
#[must_use]
pub fn spec(cluster: &Cluster, member: &Member) -> Option<InstanceSet> {
    let like = cluster.set(&member.set).or_else(|| cluster.sets().next())?;
    let mut spec = like.spec.clone();
    let wal = spec.wal_volume_claim_spec.take().unwrap_or_default();
    spec.wal_volume_claim_spec = member.wal_claim.is_some().then_some(wal);
    let tablespaces = member.furniture.iter().filter(|o| {
        o.kind == Kind::PersistentVolumeClaim && o.label(labels::ROLE) == Some(role::TABLESPACE)
    });
    let named = |name: &str| TablespaceVolume { name: name.into(), ..TablespaceVolume::default() };
    spec.tablespace_volumes =
        tablespaces.filter_map(|c| c.label(labels::DATA)).map(named).collect();
    Some(spec)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::test_support::{World, claim, spec};
    use crate::{Kind, names};

    /// A cluster of one, set `instance1`, which is lost while the set is replaced by one with other volumes. Returns the Pod's
    /// template with which it comes back.
    fn back(had: &Value, has: &Value) -> (String, Value) {
        let set = |name: &str, more: &Value| {
            let mut set = spec(1)["instances"][0].clone();
            set["name"] = name.into();
            for (key, value) in more.as_object().expect("fields") {
                set[key] = value.clone();
            }
            json!([set])
        };
        let mut start = spec(1);
        start["instances"] = set("instance1", had);
        let mut world = World::new(start);
        world.config.gates.insert("TablespaceVolumes".into());
        world.settle();
        let old = world.leader();
        world.remove(Kind::StatefulSet, &old);
        world.remove(Kind::Pod, &names::instance_pod(&old));
        world.edit(|s| s["instances"] = set("other", has));
        for _ in 0..4 {
            if world.get(Kind::StatefulSet, &old).is_none() {
                world.round();
            }
        }
        let template = world.the(Kind::StatefulSet, &old).at(&["spec", "template"]).cloned();
        (old, template.expect("a template"))
    }

    #[test]
    fn it_has_the_volumes_that_it_had_whatever_the_other_sets_ask_for() {
        let wal = json!({"walVolumeClaimSpec": claim("1Gi")});
        let tablespace = json!({"tablespaceVolumes": [
            {"name": "user", "dataVolumeClaimSpec": claim("1Gi")}]});
        let none = json!({});
        for (had, has, wal_at, claims) in [
            (&none, &wal, "/pgdata/", ["pgdata", "", ""]),
            (&wal, &none, "/pgwal/", ["pgdata", "pgwal", ""]),
            (&none, &tablespace, "/pgdata/", ["pgdata", "", ""]),
            (&tablespace, &wal, "/pgdata/", ["pgdata", "", "user-tablespace"]),
        ] {
            let (name, template) = back(had, has);
            let startup = template["spec"]["initContainers"].to_string();
            assert!(startup.contains(wal_at), "{had} {has}: {startup}");
            let volumes = template["spec"]["volumes"].as_array().expect("volumes");
            let mut mounted: Vec<_> = volumes
                .iter()
                .filter_map(|v| v.pointer("/persistentVolumeClaim/claimName")?.as_str())
                .collect();
            let mut expected: Vec<_> =
                claims.iter().filter(|c| !c.is_empty()).map(|c| format!("{name}-{c}")).collect();
            mounted.sort_unstable();
            expected.sort_unstable();
            assert_eq!(mounted, expected, "{had} {has}");
        }
    }
}
