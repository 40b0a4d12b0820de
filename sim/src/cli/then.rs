//! `ivory-sim try OLD --then NEW`: what an edit does to a ready cluster. It is done in the simulated
//! world, and then compared: objects, Pods, volumes, and what a client saw.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ivory_core::{Kind, Object};

use super::input;
use super::try_::{KUBE, PATIENCE, first_user, until_ready};
use crate::scenario::check::Mark;
use crate::scenario::language::{ClientSpec, Expectation};
use crate::scenario::manifests::Manifest;
use crate::scenario::node::InputError;
use crate::scenario::resolve::Ref;
use crate::scenario::run::Player;
use crate::time::Span;
use crate::view::{changes, show};
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// The client that measures the write gap.
const CLIENT: &str = "app";
/// How long the operator must have been silent before the edit counts as done.
const SILENCE: Span = Span::s(60);

/// What an edit does.
pub(super) struct Report {
    /// For people.
    pub text: String,
    /// Why the clusters are not ready after it; empty if they are.
    pub wrong: Vec<String>,
}

/// Applies the new manifests and reports.
///
/// # Errors
/// A manifest that is wrong or that the API server refuses, with its place.
pub(super) fn run(
    player: &mut Player,
    (old, new): (&[Manifest], &[Manifest]),
    path: &str,
) -> Result<Report, InputError> {
    let measured = start_client(player, old);
    let before = player.everything();
    let from = player.driver.journal().len();
    player.driver.remark(Milestone::Step { text: format!("apply {path}") });
    input::apply(player, new)?;
    let mut clusters = input::clusters(old);
    clusters.extend(input::clusters(new));
    clusters.sort();
    clusters.dedup();
    let calm = [Expectation::Quiet(SILENCE)];
    let cluster = player.cluster.clone();
    let settled = player
        .wait(&(KUBE, &cluster, None), &calm, PATIENCE)
        .and_then(|()| until_ready(player, &clusters));
    let after = player.everything();
    let mut text = String::new();
    objects(player, &before, &after, &mut text);
    restarts(player, &before, &after, from, &mut text);
    gap(player, measured, &mut text);
    data(player, &before, &after, &mut text);
    Ok(Report { text, wrong: settled.err().unwrap_or_default() })
}

/// Starts a client at the first cluster with a user, and waits for its first commit.
fn start_client(player: &mut Player, old: &[Manifest]) -> bool {
    for (namespace, cluster) in input::clusters(old) {
        let Some(secret) = first_user(player, &namespace, &cluster) else {
            continue;
        };
        player.namespace.clone_from(&namespace);
        let client =
            ClientSpec { name: CLIENT.to_owned(), namespace, secret, every: Span::ms(100) };
        if player.driver.connect(KUBE, &client).is_err() {
            continue;
        }
        player.count_client(CLIENT);
        let writes = [Expectation::Client { name: CLIENT.to_owned(), writes: true }];
        return player.wait(&(KUBE, &cluster, None), &writes, Span::s(60)).is_ok();
    }
    false
}

/// Kinds that change by themselves, or whose changes other parts of the report tell.
fn told_elsewhere(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::Endpoints
            | Kind::EndpointSlice
            | Kind::Node
            | Kind::ControllerRevision
            | Kind::ReplicaSet
            | Kind::PersistentVolume
    )
}

fn objects(player: &Player, before: &Mark, after: &Mark, text: &mut String) {
    let name =
        |(kube, r): &(KubeId, Ref)| format!("{} {}", r.kind, player.aliases.show(*kube, &r.name));
    let mut lines = Vec::new();
    let all: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in all {
        if told_elsewhere(key.1.kind) {
            continue;
        }
        match (before.get(key), after.get(key)) {
            (None, Some(_)) => lines.push(format!("  + {}", name(key))),
            (Some(_), None) => lines.push(format!("  - {}", name(key))),
            (Some(old), Some(new)) => {
                let changed = changes(old, new);
                if !changed.is_empty() || old.meta.uid != new.meta.uid {
                    let again = match old.meta.uid == new.meta.uid {
                        true => "",
                        false => " (deleted and made again)",
                    };
                    lines.push(format!("  ~ {}{again}", name(key)));
                }
                for change in changed {
                    let (old, new) = (show(change.old.as_ref()), show(change.new.as_ref()));
                    let line = format!("      {}: {old} → {new}", change.path);
                    lines.push(player.aliases.show(key.0, &line));
                }
            }
            (None, None) => {}
        }
    }
    if lines.is_empty() {
        let _ = writeln!(text, "Objects: none changes.");
        return;
    }
    let _ = writeln!(text, "Objects (+ made, - deleted, ~ changed):");
    lines.iter().for_each(|l| {
        let _ = writeln!(text, "{l}");
    });
}

/// Pods that serve, by name.
fn pods(mark: &Mark) -> BTreeMap<&str, &Arc<Object>> {
    let serves = |o: &Arc<Object>| o.controller().is_none_or(|c| c.kind != "Job");
    mark.iter()
        .filter(|((_, r), o)| r.kind == Kind::Pod && serves(o))
        .map(|((_, r), o)| (r.name.as_str(), o))
        .collect()
}

fn starts(pod: &Object) -> i64 {
    let statuses = pod.at(&["status", "containerStatuses"]);
    let all = statuses.and_then(|s| s.as_array()).into_iter().flatten();
    all.filter_map(|s| s.get("restartCount")?.as_i64()).sum()
}

fn restarts(player: &Player, before: &Mark, after: &Mark, from: usize, text: &mut String) {
    let (old, new) = (pods(before), pods(after));
    let mut lines: Vec<(usize, String)> = Vec::new();
    let journal = &player.driver.journal()[from..];
    let when = |name: &str| {
        let gone = |e: &crate::world::journal::Entry| matches!(&e.what, Milestone::PodGone { pod } if pod.rsplit('/').next() == Some(name));
        journal.iter().position(gone).unwrap_or(usize::MAX)
    };
    for (name, pod) in &old {
        let shown = player.aliases.show(KUBE, name);
        match new.get(name) {
            None => lines.push((when(name), format!("{shown} is taken away"))),
            Some(now) if now.meta.uid != pod.meta.uid => {
                lines.push((when(name), format!("{shown} is restarted, as a new Pod")));
            }
            Some(now) if starts(now) > starts(pod) => {
                lines.push((usize::MAX, format!("{shown}: a container is restarted")));
            }
            Some(_) => {}
        }
    }
    // PostgreSQL restarted by Patroni inside a Pod that stays.
    for (index, entry) in journal.iter().enumerate() {
        if let Milestone::Database { pod, text } = &entry.what
            && text.contains("restart")
        {
            let pod = player.aliases.show(entry.kube, pod);
            lines.push((
                index,
                format!("{pod}: PostgreSQL {}", player.aliases.show(entry.kube, text)),
            ));
        }
    }
    lines.sort();
    let joined: Vec<String> = new
        .keys()
        .filter(|name| !old.contains_key(*name))
        .map(|name| player.aliases.show(KUBE, name))
        .collect();
    if lines.is_empty() {
        let _ = writeln!(text, "Restarts: nothing restarts.");
    } else {
        let _ = writeln!(text, "Restarts, in this order:");
        for (number, (_, line)) in (1..).zip(&lines) {
            let _ = writeln!(text, "  {number}. {line}");
        }
    }
    if !joined.is_empty() {
        let _ = writeln!(text, "New Pods: {}.", joined.join(", "));
    }
}

fn gap(player: &Player, measured: bool, text: &mut String) {
    let facts = player.driver.client(CLIENT).filter(|_| measured);
    let _ = match facts {
        None => writeln!(text, "Write gap: not measured; no user could connect."),
        Some(facts) => {
            let gap = facts.longest_gap.seconds();
            let lost = match facts.lost_rows {
                0 => "no acknowledged row is lost".to_owned(),
                n => format!("{n} acknowledged rows are lost"),
            };
            match (facts.writes, gap < 1.0) {
                (false, _) => {
                    writeln!(text, "Write gap: it does not end, nobody can write any more; {lost}.")
                }
                (true, true) => {
                    writeln!(text, "Write gap: none that an application would notice; {lost}.")
                }
                (true, false) => writeln!(text, "Write gap: {gap:.1} s; {lost}."),
            }
        }
    };
}

fn data(player: &Player, before: &Mark, after: &Mark, text: &mut String) {
    let claims = |mark: &Mark| -> BTreeMap<String, Arc<Object>> {
        let claim = |r: &Ref| r.kind == Kind::PersistentVolumeClaim;
        let found = mark.iter().filter(|((_, r), _)| claim(r));
        found.map(|((_, r), o)| (r.name.clone(), o.clone())).collect()
    };
    let (old, new) = (claims(before), claims(after));
    let size = |o: &Object| o.at(&["spec", "resources", "requests", "storage"]).cloned();
    let mut lines = Vec::new();
    for (name, claim) in &old {
        let shown = player.aliases.show(KUBE, name);
        match new.get(name) {
            None => lines.push(format!("the volume {shown} is deleted")),
            Some(now) if now.meta.uid != claim.meta.uid => {
                lines.push(format!(
                    "the volume {shown} is replaced by an empty one and copied anew"
                ));
            }
            Some(now) if size(now) != size(claim) => lines.push(format!(
                "the volume {shown} grows in place: {} → {}",
                show(size(claim).as_ref()),
                show(size(now).as_ref())
            )),
            Some(_) => {}
        }
    }
    for name in new.keys().filter(|n| !old.contains_key(*n)) {
        let shown = player.aliases.show(KUBE, name);
        lines.push(format!("the volume {shown} is new, and filled"));
    }
    if lines.is_empty() {
        let _ = writeln!(text, "Data: stays where it is.");
        return;
    }
    let _ = writeln!(text, "Data:");
    lines.iter().for_each(|l| {
        let _ = writeln!(text, "  {l}");
    });
}
