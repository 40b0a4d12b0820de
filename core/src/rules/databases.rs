//! Databases: those that the users list, or one named like the cluster (`reference/reconcile.md` §4.6).
//! None is ever dropped.

use std::collections::BTreeSet;

use crate::command::Command;
use crate::pass::Pass;
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::rules::told;

/// Creates missing databases when the list differs from what was last set.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let users = super::users::effective(&pass.cluster.name, &pass.cluster.spec);
    let databases: BTreeSet<String> = users.into_iter().flat_map(|u| u.databases).collect();
    let command = Command::Databases {
        databases: databases.into_iter().collect(),
        extensions: extensions(pass.cluster),
    };
    let last = pass.status.database_revision.clone();
    let Some(news) = told::news(pass, members, "databases", &command, last.as_deref()) else {
        return;
    };
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::Databases, "NoPrimary", "no database accepts writes yet");
    };
    let reason = Reason::Because { word: "Databases", text: news.why };
    pass.exec(Step::Databases, reason, &pod, command, 60);
    pass.remember(Step::Databases, serde_json::json!({ "databaseRevision": news.record }));
}

/// The extensions that every database gets.
fn extensions(cluster: &crate::cluster::Cluster) -> Vec<String> {
    let mut all = vec!["pgaudit"];
    if cluster.spec.post_gis_version.is_some() {
        all.extend(["postgis", "postgis_topology", "fuzzystrmatch", "postgis_tiger_geocoder"]);
    }
    all.into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use crate::command::Command;
    use crate::test_support::{World, spec};

    #[test]
    fn spatial_extensions_come_with_a_postgis_version() {
        for (version, spatial) in [(None, false), (Some("3.5"), true)] {
            let mut spec = spec(1);
            spec["postGISVersion"] = version.into();
            let mut world = World::new(spec);
            world.settle();
            let set = world.commands.iter().find_map(|(_, command)| match command {
                Command::Databases { databases, extensions } => Some((databases, extensions)),
                _ => None,
            });
            let (databases, extensions) = set.expect("databases");
            assert_eq!(*databases, ["zoo"]);
            assert!(extensions.iter().any(|e| e == "pgaudit"));
            assert_eq!(extensions.iter().any(|e| e == "postgis"), spatial, "{extensions:?}");
        }
    }
}
