//! Users: their Secrets, and their roles in the database (`reference/reconcile.md` §4.7).

use std::sync::Arc;

use serde_json::json;

use crate::Sensitive;
use crate::api::IvoryClusterSpec;
use crate::api::users::{PasswordType, User};
use crate::build::meta::owned;
use crate::build::secrets;
use crate::command::{Command, UserStatement};
use crate::crypto::password::{self, Alphabet};
use crate::crypto::scram;
use crate::kind::Kind;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::rules::pki::{bare, kept_input};
use crate::rules::told;
use crate::{labels, names};

/// Names that are superusers: as the tutorial has it, and as the images have it.
const SUPERUSERS: [&str; 2] = ["ivory", "ivorysql"];

/// The users that a cluster of this name should have, in name order: those of the spec, or one named like
/// the cluster.
#[must_use]
pub fn effective(cluster: &str, spec: &IvoryClusterSpec) -> Vec<User> {
    let mut users = match &spec.users {
        Some(users) => users.clone(),
        None if valid_name(cluster) => vec![User {
            name: cluster.to_owned(),
            databases: vec![cluster.to_owned()],
            ..User::default()
        }],
        None => Vec::new(),
    };
    for user in &mut users {
        if SUPERUSERS.contains(&&*user.name) {
            user.options = Some("LOGIN SUPERUSER".into());
        }
    }
    users.sort_by(|a, b| a.name.cmp(&b.name));
    // The schema refuses doubles; of what an older one let through the first counts.
    users.dedup_by(|later, first| later.name == first.name);
    users
}

fn valid_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Ensures the Secrets, then the roles. Removing a user removes its Secret; the role stays.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let users = effective(&pass.cluster.name, &pass.cluster.spec);
    if pass.cluster.spec.users.is_none() && users.is_empty() {
        let text =
            format!("no user can be named {:?}; list users in spec.users", pass.cluster.name);
        pass.block(Step::Users, "InvalidUser", text);
    }
    let Read::Known(secrets) = pass.observed.labelled(Kind::Secret) else {
        return pass.unreadable(Step::Users, "the secrets of the cluster");
    };
    // Those of an earlier cluster of this name are on their way out.
    let uid = pass.cluster.uid.clone();
    let ours = |s: &&Arc<Object>| s.controller().is_none_or(|o| o.uid == uid);
    let theirs: Vec<Arc<Object>> = secrets
        .iter()
        .filter(|s| s.label(labels::PGUSER).is_some())
        .filter(ours)
        .cloned()
        .collect();
    for secret in &theirs {
        let wanted = users.iter().any(|u| Some(&*u.name) == secret.label(labels::PGUSER));
        if !wanted && secret.controlled_by(&pass.cluster.uid) {
            let (kind, name) = (Kind::Secret, secret.meta.name.to_string());
            pass.delete(Step::Users, secret, Reason::Unwanted { kind, name });
        }
    }
    let mut statements = Vec::new();
    for user in &users {
        let usual = names::pguser_secret(&pass.cluster.name, &user.name);
        let live = match (of_user(&theirs, user, &usual), pass.observed.find(Kind::Secret, &usual))
        {
            (Some(live), _) => Some(live.clone()),
            (None, Read::Known(live)) => Some(live.clone()),
            (None, Read::Absent) => None,
            (None, Read::Unknown(_)) => {
                return pass.unreadable(Step::Users, format!("Secret {usual}"));
            }
        };
        if live.as_ref().is_some_and(|s| s.terminating()) {
            let text = format!("the Secret of user {} is being deleted", user.name);
            pass.wait(Step::Users, "Terminating", text);
            return;
        }
        // A password is taken from a Secret of ours alone.
        let Some(verifier) = secret(pass, user, live.as_ref()) else { continue };
        statements.push(UserStatement {
            name: user.name.clone(),
            options: user.options.clone().unwrap_or_default(),
            databases: user.databases.clone(),
            verifier,
        });
    }
    roles(pass, members, statements);
}

/// The Secret of a user: of several the one of the usual name, then the oldest.
fn of_user<'a>(secrets: &'a [Arc<Object>], user: &User, usual: &str) -> Option<&'a Arc<Object>> {
    let mine = secrets.iter().filter(|s| s.label(labels::PGUSER) == Some(&user.name));
    mine.min_by_key(|s| {
        (*s.meta.name != *usual, s.terminating(), s.meta.created_at, s.meta.name.clone())
    })
}

/// Ensures a user's Secret and returns the verifier that the role should have. What is there is kept: a
/// missing password is drawn, a missing verifier made from the password. None when the Secret of that name
/// is somebody else's.
fn secret(pass: &mut Pass<'_>, user: &User, live: Option<&Arc<Object>>) -> Option<Sensitive> {
    let usual = names::pguser_secret(&pass.cluster.name, &user.name);
    let name = live.map_or(usual, |s| s.meta.name.to_string());
    let named = owned(pass.cluster, Kind::Secret, &name, &[], &[]);
    if let Some(text) = live.and_then(|live| pass.not_ours(&named, live)) {
        pass.block(Step::Users, "NotOurs", text);
        return None;
    }
    let kept = |key: &str| live.and_then(|s| s.data(key)).filter(|v| !v.is_empty());
    let (password, verifier) = match (live, kept("password"), kept("verifier")) {
        (Some(live), Some(password), Some(verifier)) => {
            let (cluster, input) = (pass.cluster, kept_input("user", &user.name, &[live]));
            pass.ensure_built(Step::Users, input, || {
                secrets::pguser(cluster, user, &name, &password, &verifier)
            });
            return Some(verifier);
        }
        (_, kept, _) => {
            let seed =
                |what: &str| pass.context.entropy.derive(&format!("user/{}/{what}", user.name));
            let alphabet = match user.password.type_ {
                PasswordType::Ascii => Alphabet::Ascii,
                PasswordType::AlphaNumeric => Alphabet::AlphaNumeric,
            };
            let drawn = || password::generate(&seed("password"), alphabet, password::USER_LENGTH);
            let password = kept.unwrap_or_else(drawn);
            let mut salt = [0; 16];
            salt.copy_from_slice(&seed("salt")[..16]);
            let verifier = scram::verifier(password.expose(), &salt);
            (password, verifier)
        }
    };
    let desired = secrets::pguser(pass.cluster, user, &name, &password, &verifier);
    if live.is_none() {
        let reason = Reason::Missing { kind: Kind::Secret, name };
        pass.write(Step::Users, reason, Op::Create { object: bare(&desired) });
    }
    pass.ensure(Step::Users, desired);
    Some(verifier)
}

/// Sets roles when anything about them differs from what was last set.
fn roles(pass: &mut Pass<'_>, members: &Members, users: Vec<UserStatement>) {
    // A standby cluster has the users of its source.
    if pass.cluster.spec.active_standby().is_some() {
        return;
    }
    let command = Command::Users { users };
    let last = pass.status.users_revision.clone();
    let Some(news) = told::news(pass, members, "users", &command, last.as_deref()) else {
        return;
    };
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::Users, "NoPrimary", "no database accepts writes yet");
    };
    let reason = Reason::Because { word: "Users", text: news.why };
    pass.exec(Step::Users, reason, &pod, command, 30);
    pass.remember(Step::Users, json!({ "usersRevision": news.record }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::{NAMESPACE, World, commands, deletes, spec, texts};

    const SECRET: &str = "hippo-pguser-rhino";

    fn value(world: &World, key: &str) -> Vec<u8> {
        world.the(Kind::Secret, SECRET).data(key).map(|v| v.expose().to_vec()).unwrap_or_default()
    }

    fn statements(world: &World) -> Vec<UserStatement> {
        let all = world.commands.iter().rev().find_map(|(_, c)| match c {
            Command::Users { users } => Some(users.clone()),
            _ => None,
        });
        all.unwrap_or_default()
    }

    #[test]
    fn what_a_user_has_is_kept() {
        // which keys are taken away; which must be the same afterwards
        for (taken, kept) in [
            (&["uri"][..], &["password", "verifier", "uri"][..]),
            (&["verifier"], &["password"]),
            (&["password"], &[]),
            (&["password", "verifier"], &[]),
        ] {
            let mut world = World::settled(1);
            let before: Vec<_> = kept.iter().map(|k| value(&world, k)).collect();
            let (password, verifier) = (value(&world, "password"), value(&world, "verifier"));
            world.change(Kind::Secret, SECRET, |s| {
                taken.iter().for_each(|k| {
                    s["data"].as_object_mut().expect("data").remove(*k);
                });
            });
            world.settle();
            let after: Vec<_> = kept.iter().map(|k| value(&world, k)).collect();
            assert_eq!(before, after, "without {taken:?}");
            assert_eq!(value(&world, "password") == password, !taken.contains(&"password"));
            assert!(!value(&world, "password").is_empty());
            let changed = taken.iter().any(|t| ["password", "verifier"].contains(t));
            assert_eq!(value(&world, "verifier") != verifier, changed, "{taken:?}");
            assert_eq!(statements(&world)[0].verifier.expose(), value(&world, "verifier"));
        }
    }

    #[test]
    fn a_verifier_of_the_users_own_is_respected() {
        let mut world = World::settled(1);
        world.change(Kind::Secret, SECRET, |s| s["data"]["verifier"] = "bWQ1YWJj".into());
        world.settle();
        assert_eq!(value(&world, "verifier"), b"md5abc");
        assert_eq!(statements(&world)[0].verifier.expose(), b"md5abc");
    }

    #[test]
    fn a_removed_users_secret_goes_and_nobody_elses() {
        let mut world = World::settled(1);
        world.edit(|s| s["users"] = json!([]));
        assert_eq!(deletes(&world.plan()), [format!("Secret {SECRET}")]);
        world.change(Kind::Secret, SECRET, |s| s["metadata"]["ownerReferences"] = json!([]));
        assert_eq!(deletes(&world.plan()), [""; 0], "not controlled by the cluster");
    }

    #[test]
    fn who_the_users_are() {
        let named = |name: &str, users: serde_json::Value| {
            let mut spec = spec(1);
            spec["users"] = users;
            let spec: IvoryClusterSpec = serde_json::from_value(spec).expect("a spec");
            let all = effective(name, &spec);
            all.iter()
                .map(|u| format!("{}:{}", u.name, u.options.as_deref().unwrap_or("")))
                .collect::<Vec<_>>()
        };
        for (cluster, users, expected) in [
            ("hippo", json!(null), &["hippo:"][..]),
            ("hippo.example", json!(null), &[]),
            ("hippo", json!([]), &[]),
            ("hippo", json!([{"name": "b"}, {"name": "a"}]), &["a:", "b:"]),
            (
                "hippo",
                json!([{"name": "a", "options": "CREATEDB"}, {"name": "a"}]),
                &["a:CREATEDB"],
            ),
            ("hippo", json!([{"name": "ivory"}]), &["ivory:LOGIN SUPERUSER"]),
            (
                "hippo",
                json!([{"name": "ivorysql", "options": "LOGIN"}]),
                &["ivorysql:LOGIN SUPERUSER"],
            ),
        ] {
            assert_eq!(named(cluster, users.clone()), expected, "{cluster} {users}");
        }
    }

    #[test]
    fn a_crash_between_create_and_apply_and_a_lost_label_are_mended() {
        let mut world = World::settled(1);
        let password = value(&world, "password");
        world.strip(Kind::Secret, SECRET, labels::CLUSTER);
        world.settle();
        assert_eq!(value(&world, "password"), password, "the password is the same");
        assert_eq!(world.the(Kind::Secret, SECRET).label(labels::CLUSTER), Some("hippo"));
        // Created and not yet filled.
        let full = world.the(Kind::Secret, SECRET).clone();
        world.remove(Kind::Secret, SECRET);
        world.write(&Op::Create { object: bare(&full) }).expect("created");
        world.settle();
        assert!(!value(&world, "password").is_empty());
    }

    #[test]
    fn a_secret_created_late_for_a_user_who_left_goes() {
        let mut world = World::settled(1);
        let full = world.the(Kind::Secret, SECRET).clone();
        world.edit(|s| s["users"] = json!([]));
        world.settle();
        world.write(&Op::Create { object: bare(&full) }).expect("created");
        world.settle();
        assert!(world.get(Kind::Secret, SECRET).is_none());
    }

    #[test]
    fn a_stale_read_does_not_overwrite_what_was_drawn() {
        let mut world = World::settled(1);
        let secret = world.the(Kind::Secret, SECRET).clone();
        world.remove(Kind::Secret, SECRET);
        let plan = world.plan();
        world.put((*secret).clone());
        let refused = world.execute(&plan, usize::MAX);
        assert!(refused.is_err_and(|r| r.0.contains("exists")), "{:?}", texts(&plan));
        assert_eq!(world.the(Kind::Secret, SECRET).data("password"), secret.data("password"));
    }

    #[test]
    fn another_clusters_secret_is_neither_read_nor_written() {
        let mut world = World::new(spec(1));
        let mut theirs = Object::new(Kind::Secret, NAMESPACE, SECRET)
            .with("data", json!({"password": "c2VjcmV0"}));
        let mut owner = Object::new(Kind::IvoryCluster, NAMESPACE, "other");
        owner.meta.uid = "another uid".into();
        theirs.meta.owners = vec![crate::object::OwnerRef::controller_of(&owner)].into();
        let theirs = world.put(theirs);
        (0..12).for_each(|_| {
            world.round();
        });
        assert_eq!(*world.the(Kind::Secret, SECRET), theirs);
        assert!(statements(&world).is_empty());
        assert_eq!(world.condition("Reconciled"), Some(("False".into(), "NotOurs".into())));
    }

    #[test]
    fn a_failing_statement_is_tried_again_and_never_remembered() {
        let mut world = World::new(spec(1));
        world.failing.insert("set up users");
        (0..12).for_each(|_| {
            world.round();
        });
        let cluster = world.cluster();
        assert_eq!(cluster.str_at(&["status", "usersRevision"]), None);
        assert_eq!(world.condition("Ready"), Some(("False".into(), "UsersPending".into())));
        assert_ne!(cluster.i64_at(&["status", "observedGeneration"]), Some(1));
        world.failing.clear();
        world.settle();
        assert_eq!(world.condition("Ready").map(|c| c.0).as_deref(), Some("True"));
    }

    #[test]
    fn a_standby_has_its_sources_roles() {
        let mut standby = spec(1);
        standby["standby"] = json!({"enabled": true, "host": "elsewhere"});
        let mut world = World::new(standby);
        world.settle();
        let (plan, commands) = (world.plan(), world.commands.clone());
        assert!(self::commands(&plan).is_empty());
        assert!(
            commands
                .iter()
                .all(|(_, c)| !matches!(c, Command::Users { .. } | Command::Databases { .. }))
        );
        assert_eq!(world.condition("Ready"), Some(("False".into(), "Standby".into())));
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("True"));
    }
}
