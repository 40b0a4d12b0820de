//! `spec.databaseInitSQL`: the user's SQL, run by psql as superuser in the maintenance database until psql ends with 0,
//! and then not again while the field stands (`reference/tutorial.md` §7.6).
//!
//! That it was run is an annotation on the cluster; the status shows it, and a lost status runs nothing again. The
//! SQL is started and then looked at, since it may take long. A primary that goes away takes with it how far it
//! was: the next one begins anew, which is why the SQL must bear being run twice.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::{Command, init_sql::DIRECTORY, init_sql::State};
use crate::hash::safe_hash;
use crate::kind::Kind;
use crate::labels;
use crate::object::Object;
use crate::observed::Observed;
use crate::pass::Pass;
use crate::plan::Op;
use crate::queries;
use crate::read::{Query, Read};
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::sensitive::Sensitive;

/// How soon a running psql is looked at again.
const LOOK: Duration = Duration::from_secs(10);
/// How long after a failure it is tried again, in seconds. Changed SQL is tried at once.
const RETRY_S: i64 = 60;

/// What has to be asked, from when the SQL could begin until its end is noted.
pub fn query(observed: &Observed, cluster: &Cluster, members: &Members) -> Option<Query> {
    let wanted = cluster.spec.database_init_sql.as_ref()?;
    let idle = cluster.object.terminating() || cluster.spec.paused || cluster.spec.shutdown;
    let ran = cluster.object.annotation(labels::DATABASE_INIT_SQL).is_some()
        || cluster.status.database_init_sql.is_some();
    if idle || ran {
        return None;
    }
    let pod = members.writable()?.pod()?;
    let map = observed.find(Kind::ConfigMap, &wanted.name).known().cloned()?;
    Some(question(pod, &token(&cluster.uid, map.str_at(&["data", &wanted.key])?)))
}

/// An answer of before the start would start it again, so none is kept.
fn question(pod: &Object, token: &str) -> Query {
    let command = Command::InitSqlState { token: token.to_owned() };
    Query { target: queries::database(pod), command, deadline_s: 10, max_age_s: 0 }
}

/// Runs the SQL, unless it was run.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let noted = pass.cluster.object.annotation(labels::DATABASE_INIT_SQL).map(str::to_owned);
    let Some(wanted) = pass.cluster.spec.database_init_sql.clone() else {
        pass.status.database_init_sql = None;
        if noted.is_some() {
            note(pass, "there is no init SQL any more".into(), None);
        }
        return;
    };
    // The status alone: an operator ran it that knew no annotation.
    if let Some(name) = noted.clone().or_else(|| pass.status.database_init_sql.clone()) {
        if noted.is_none() {
            note(
                pass,
                format!("the init SQL of ConfigMap {name} was run before"),
                Some(name.clone()),
            );
        }
        pass.status.database_init_sql = Some(name);
        return;
    }
    if pass.cluster.spec.active_standby().is_some() {
        return;
    }
    let map = match pass.observed.find(Kind::ConfigMap, &wanted.name) {
        Read::Known(map) => map.clone(),
        Read::Absent => {
            let text = format!("ConfigMap {} with the init SQL does not exist", wanted.name);
            return pass.block(Step::InitSql, "InitSQLMissing", text);
        }
        Read::Unknown(_) => {
            return pass.unreadable(Step::InitSql, format!("ConfigMap {}", wanted.name));
        }
    };
    let Some(sql) = map.str_at(&["data", &wanted.key]) else {
        let text = format!("ConfigMap {} has no key {}", wanted.name, wanted.key);
        return pass.block(Step::InitSql, "InitSQLMissing", text);
    };
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::InitSql, "NoPrimary", "no database accepts writes yet");
    };
    // It may use the databases and users of the spec.
    let first = |w: &crate::plan::Write| {
        matches!(w.step, Step::Databases | Step::Users) && matches!(w.op, Op::Exec { .. })
    };
    if pass.writes().iter().any(first) {
        return pass.wait(Step::InitSql, "InitSQL", "the init SQL waits for databases and users");
    }
    let token = token(&pass.cluster.uid, sql);
    let question = question(&pod, &token);
    let answer = pass.observed.answers.get(&question).and_then(|a| a.known());
    match answer.and_then(|a| State::read(&a.output)) {
        None => pass.unreadable(Step::InitSql, "how far the init SQL is"),
        Some(State::None) => start(pass, &pod, token, sql),
        Some(State::Running) => {
            pass.wait(Step::InitSql, "InitSQL", "the init SQL runs");
            pass.look_again(LOOK);
        }
        Some(State::Ended { exit: 0, .. }) => {
            let text = format!("the init SQL of ConfigMap {} was run", wanted.name);
            note(pass, text, Some(wanted.name.clone()));
            pass.status.database_init_sql = Some(wanted.name);
        }
        Some(State::Ended { exit, at_s }) => {
            let text = format!(
                "the init SQL of ConfigMap {} ends with {exit} and is tried again; see {DIRECTORY}/{token}/output \
                 in container database of Pod {}",
                wanted.name, pod.meta.name
            );
            pass.block(Step::InitSql, "InitSQLFailed", text);
            let ago_s = pass.context.now.as_second() - at_s;
            // A clock that is ahead delays nothing for ever.
            if !(0..RETRY_S).contains(&ago_s) {
                start(pass, &pod, token, sql);
            } else {
                pass.look_again(Duration::from_secs(u64::try_from(RETRY_S - ago_s).unwrap_or(1)));
            }
        }
    }
}

/// What the SQL's traces are called: other SQL has another one.
fn token(uid: &str, sql: &str) -> String {
    safe_hash([uid, sql])
}

fn start(pass: &mut Pass<'_>, pod: &Object, token: String, sql: &str) {
    let command = Command::StartInitSql { token, sql: Sensitive::text(sql) };
    let reason = Reason::Because { word: "InitSQL", text: "the init SQL was not run yet".into() };
    pass.exec(Step::InitSql, reason, pod, command, 20);
}

fn note(pass: &mut Pass<'_>, text: String, name: Option<String>) {
    let reason = Reason::Because { word: "InitSQL", text };
    pass.annotate_cluster(Step::InitSql, reason, labels::DATABASE_INIT_SQL, name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Kind;
    use crate::command::Command;
    use crate::labels;
    use crate::object::Object;
    use crate::test_support::{CLUSTER, NAMESPACE, World, spec};

    fn map(sql: &str) -> Object {
        Object::new(Kind::ConfigMap, NAMESPACE, "sql").with("data", json!({"init.sql": sql}))
    }

    fn world(sql: Option<&str>) -> World {
        let mut spec = spec(1);
        spec["databaseInitSQL"] = json!({"name": "sql", "key": "init.sql"});
        let mut world = World::new(spec);
        if let Some(sql) = sql {
            world.put(map(sql));
        }
        (0..20).for_each(|_| {
            world.round();
        });
        world
    }

    fn runs(world: &World) -> usize {
        world.commands.iter().filter(|(_, c)| matches!(c, Command::StartInitSql { .. })).count()
    }

    fn shown(world: &World) -> Option<String> {
        world.cluster().str_at(&["status", "databaseInitSQL"]).map(str::to_owned)
    }

    #[test]
    fn it_runs_once_even_if_the_status_is_lost_or_another_map_is_named() {
        let mut world = world(Some("SELECT 1"));
        assert_eq!((runs(&world), shown(&world).as_deref()), (1, Some("sql")));
        world.change(Kind::IvoryCluster, CLUSTER, |c| c["status"] = json!({}));
        world.settle();
        assert_eq!((runs(&world), shown(&world).as_deref()), (1, Some("sql")));
        world.edit(|s| s["databaseInitSQL"]["name"] = "other".into());
        world.put(map("SELECT 2"));
        world.settle();
        assert_eq!(runs(&world), 1);
        // Without the field the note goes, and a new one runs.
        world.edit(|s| s["databaseInitSQL"] = json!(null));
        world.settle();
        assert_eq!(shown(&world), None);
        assert_eq!(world.cluster().annotation(labels::DATABASE_INIT_SQL), None);
        world.edit(|s| s["databaseInitSQL"] = json!({"name": "sql", "key": "init.sql"}));
        world.settle();
        assert_eq!((runs(&world), shown(&world).as_deref()), (2, Some("sql")));
    }

    #[test]
    fn what_an_operator_ran_that_wrote_no_annotation_is_not_run_again() {
        let mut world = World::new(spec(1));
        world.settle();
        world.put(map("SELECT 1"));
        world
            .change(Kind::IvoryCluster, CLUSTER, |c| c["status"]["databaseInitSQL"] = "sql".into());
        world.edit(|s| s["databaseInitSQL"] = json!({"name": "sql", "key": "init.sql"}));
        world.settle();
        assert_eq!((runs(&world), shown(&world).as_deref()), (0, Some("sql")));
        assert_eq!(world.cluster().annotation(labels::DATABASE_INIT_SQL), Some("sql"));
    }

    #[test]
    fn a_failure_is_told_and_tried_again_and_a_correction_at_once() {
        let mut world = world(Some("fail"));
        let condition = world.condition("Reconciled");
        assert_eq!(condition, Some(("False".into(), "InitSQLFailed".into())));
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
        let tries = runs(&world);
        assert!((1..5).contains(&tries), "rounds take 5 s, tries a minute: {tries}");
        world.put(map("SELECT 1"));
        world.settle();
        assert_eq!((runs(&world), shown(&world).as_deref()), (tries + 1, Some("sql")));
    }

    #[test]
    fn a_missing_map_is_named_and_keeps_nothing_else_from_happening() {
        let mut world = world(None);
        assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("InitSQLMissing"));
        let backup = world.condition("PGBackRestReplicaCreate").map(|c| c.0);
        assert_eq!((runs(&world), backup.as_deref()), (0, Some("True")));
        world.put(map("SELECT 1"));
        world.settle();
        assert_eq!(runs(&world), 1);
    }
}
