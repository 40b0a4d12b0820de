//! Users: their Secrets, and their roles in the database (`reference/reconcile.md` §4.7).

use std::sync::Arc;

use crate::Sensitive;
use crate::api::users::{PasswordType, User};
use crate::build::secrets;
use crate::command::{Command, UserStatement};
use crate::crypto::password::{self, Alphabet};
use crate::kind::Kind;
use crate::object::Object;
use crate::pass::Pass;
use crate::plan::Op;
use crate::read::Read;
use crate::report::{Reason, Step};
use crate::rules::members::Members;
use crate::rules::pki::bare;
use crate::{labels, names};

/// Names that are superusers: as the tutorial has it, and as the images have it.
const SUPERUSERS: [&str; 2] = ["ivory", "ivorysql"];

/// The users that a cluster should have: those of the spec, or one named like the cluster.
#[must_use]
pub fn effective(cluster: &crate::cluster::Cluster) -> Vec<User> {
    let mut users = match &cluster.spec.users {
        Some(users) => users.clone(),
        None if valid_name(&cluster.name) => vec![User {
            name: cluster.name.clone(),
            databases: vec![cluster.name.clone()],
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
    users
}

fn valid_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Ensures the Secrets, then the roles. Removing a user removes its Secret; the role stays.
pub fn ensure(pass: &mut Pass<'_>, members: &Members) {
    let users = effective(pass.cluster);
    if pass.cluster.spec.users.is_none() && users.is_empty() {
        let text = format!("no user can be named {:?}; list users in spec.users", pass.cluster.name);
        pass.block(Step::Users, "InvalidUser", text);
    }
    let Read::Known(secrets) = pass.observed.labelled(Kind::Secret) else {
        return pass.unreadable(Step::Users, "the secrets of the cluster");
    };
    let theirs: Vec<Arc<Object>> =
        secrets.iter().filter(|s| s.label(labels::PGUSER).is_some()).cloned().collect();
    for secret in &theirs {
        let wanted = users.iter().any(|u| Some(&*u.name) == secret.label(labels::PGUSER));
        if !wanted && secret.controlled_by(&pass.cluster.uid) {
            let (kind, name) = (Kind::Secret, secret.meta.name.to_string());
            pass.delete(Step::Users, secret, Reason::Unwanted { kind, name });
        }
    }
    let mut statements = Vec::new();
    for user in &users {
        let live = of_user(&theirs, pass.cluster, user);
        if live.is_some_and(|s| s.terminating()) {
            let text = format!("the Secret of user {} is being deleted", user.name);
            pass.wait(Step::Users, "Terminating", text);
            return;
        }
        let verifier = secret(pass, user, live.cloned().as_ref());
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
fn of_user<'a>(
    secrets: &'a [Arc<Object>],
    cluster: &crate::cluster::Cluster,
    user: &User,
) -> Option<&'a Arc<Object>> {
    let usual = names::pguser_secret(&cluster.name, &user.name);
    let mine = secrets.iter().filter(|s| s.label(labels::PGUSER) == Some(&user.name));
    mine.min_by_key(|s| (*s.meta.name != *usual, s.meta.created_at, s.meta.name.clone()))
}

/// Ensures a user's Secret and returns the verifier that the role should have. What is there is kept: a
/// missing password is drawn, a missing verifier made from the password.
fn secret(pass: &mut Pass<'_>, user: &User, live: Option<&Arc<Object>>) -> Sensitive {
    let usual = names::pguser_secret(&pass.cluster.name, &user.name);
    let name = live.map_or(usual, |s| s.meta.name.to_string());
    let kept = |key: &str| live.and_then(|s| s.data(key)).filter(|v| !v.is_empty());
    let (password, verifier) = match (kept("password"), kept("verifier")) {
        (Some(password), Some(verifier)) => (password, verifier),
        (kept, _) => {
            let seed = |what: &str| pass.context.entropy.derive(&format!("user/{}/{what}", user.name));
            let alphabet = match user.password.type_ {
                PasswordType::Ascii => Alphabet::Ascii,
                PasswordType::AlphaNumeric => Alphabet::AlphaNumeric,
            };
            let drawn = || password::generate(&seed("password"), alphabet, password::USER_LENGTH);
            let password = kept.unwrap_or_else(drawn);
            let mut salt = [0; 16];
            salt.copy_from_slice(&seed("salt")[..16]);
            let verifier = pass.memos.verifier(password.expose(), &salt);
            (password, verifier)
        }
    };
    let desired = secrets::pguser(pass.cluster, user, &name, &password, &verifier);
    if live.is_none() {
        let reason = Reason::Missing { kind: Kind::Secret, name };
        pass.write(Step::Users, reason, Op::Create { object: bare(&desired) });
    }
    pass.ensure(Step::Users, desired);
    verifier
}

/// Sets roles when anything about them differs from what was last set.
fn roles(pass: &mut Pass<'_>, members: &Members, users: Vec<UserStatement>) {
    let command = Command::Users { users };
    let revision = super::databases::revision(members, &command);
    if pass.status.users_revision.as_deref() == Some(&*revision) {
        return;
    }
    let Some(pod) = members.writable().and_then(|m| m.pod()).cloned() else {
        return pass.wait(Step::Users, "NoPrimary", "no database accepts writes yet");
    };
    let reason = Reason::Because { word: "Users", text: "the users differ from what was last set".into() };
    pass.exec(Step::Users, reason, &pod, command, 30);
    pass.status.users_revision = Some(revision);
}
