//! The status of a cluster: what is true of it now, and never more (`reference/api.md` §3). `Ready` means
//! that writes are accepted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Map, Value};

use crate::Kind;
use crate::api::IvoryClusterStatus;
use crate::api::status::{InstanceSetStatus, PatroniStatus};
use crate::names;
use crate::pass::Pass;
use crate::patroni::status::{Role, Status};
use crate::plan::Write;
use crate::read::Read;
use crate::report::{Outcome, Reason, Step};
use crate::rules::members::{Member, Members};
use crate::rules::{lost_stanza, too_far_behind};

/// The condition types that are kept here.
mod kinds {
    pub(super) const READY: &str = "Ready";
    pub(super) const RECONCILED: &str = "Reconciled";
    pub(super) const PROGRESSING: &str = "Progressing";
    pub(super) const REPO_HOST: &str = "PGBackRestRepoHostReady";
    pub(super) const STANZA: &str = "PGBackRestReplicaRepoReady";
    pub(super) const PROMOTION: &str = "PromotionBlocked";
    pub(super) const FIRST_BACKUP: &str = "PGBackRestReplicaCreate";
}

/// Facts about the instances and Patroni.
pub fn observe(pass: &mut Pass<'_>, members: &Members) {
    let mut sets: Vec<String> = pass.cluster.sets().map(|s| s.name).collect();
    sets.extend(
        members
            .all
            .values()
            .filter(|m| m.stateful_set.is_some() || !m.pods.is_empty())
            .map(|m| m.set.clone()),
    );
    sets.sort();
    sets.dedup();
    let count = |n: usize| i32::try_from(n).ok();
    pass.status.instances = sets
        .into_iter()
        .map(|set| {
            let here = || members.all.values().filter(|m| m.set == set);
            InstanceSetStatus {
                replicas: count(here().map(|m| m.pods.len()).sum()),
                ready_replicas: count(here().filter(|m| m.ready()).count()),
                updated_replicas: count(here().filter(|m| m.up_to_date() == Some(true)).count()),
                name: set.clone(),
            }
        })
        .collect();
    let before = pass.status.patroni.take().unwrap_or_default();
    pass.status.patroni = Some(PatroniStatus {
        primary: members.leader().filter(|m| leads(m)).map(|m| m.name.clone()),
        // A missing object does not unmake a database.
        system_identifier: members.system_identifier.clone().or(before.system_identifier.clone()),
        ..before
    });
}

/// Whether Patroni says that the holder of the lease does lead, in a cluster of its own or a standby one.
fn leads(member: &Member) -> bool {
    let leads = |s: &Status| s.running() && [Role::Primary, Role::StandbyLeader].contains(&s.role);
    member.patroni.as_ref().is_some_and(leads)
}

/// Conditions and the generation, from everything that the pass found; then the write, if anything changed.
pub fn write(pass: &mut Pass<'_>, members: &Members) {
    ready(pass, members);
    backups(pass, members);
    super::archiving::tell(pass, members);
    super::parameters::tell(pass, members);
    super::standby_lag::tell(pass, members);
    super::expiry::tell(pass);
    super::volume_state::tell(pass, members);
    super::memory::tell(pass, members);
    promotion(pass);
    reconciled(pass, Some(members));
    remove(pass, kinds::PROGRESSING);
    // A generation is observed when all of it was applied: not while anything is awaited. A backup is no
    // part of that, and a repository can be away for long.
    let awaited = |(step, outcome): &(Step, Outcome)| match step {
        Step::Backups => false,
        Step::Permissions => true,
        _ => matches!(outcome, Outcome::Waiting(_)),
    };
    if !pass.report().lines.iter().any(awaited) {
        pass.status.observed_generation = Some(pass.cluster.object.meta.generation);
    }
    patch(pass);
}

/// While paused nothing but `Progressing` changes.
pub fn paused(pass: &mut Pass<'_>) {
    let text =
        "spec.paused is true: no change of the spec is applied and no other status is updated";
    condition(pass, kinds::PROGRESSING, Some(false), "Paused", text);
    patch(pass);
}

/// What was found wrong with the spec; and whether the databases that run take writes, where that is known.
pub fn blocked(pass: &mut Pass<'_>, members: Option<&Members>) {
    if let Some(members) = members {
        observe(pass, members);
        ready(pass, members);
    }
    reconciled(pass, None);
    remove(pass, kinds::PROGRESSING);
    patch(pass);
}

fn ready(pass: &mut Pass<'_>, members: &Members) {
    let refused = pass.report().lines.iter().any(|(step, _)| *step == Step::Validate);
    let (status, reason, text) = match members.writable() {
        _ if pass.cluster.spec.shutdown && !refused => {
            (false, "Shutdown", "spec.shutdown is true: the database is stopped".to_owned())
        }
        Some(leader)
            if leader.ready()
                && let Some(name) = unreachable(pass) =>
        {
            let leads = &leader.name;
            let text = format!("instance {leads} accepts writes, but Service {name} is missing");
            (false, "NoService", text)
        }
        Some(leader) if leader.ready() && users_are_set(pass) => {
            (true, "Writable", format!("instance {} accepts writes", leader.name))
        }
        Some(leader) if leader.ready() => {
            (false, "UsersPending", "the users of the spec are not set in the database yet".into())
        }
        Some(leader) => {
            (false, "PrimaryNotReady", format!("instance {} leads and is not ready", leader.name))
        }
        None => match members.leader().filter(|m| leads(m) && m.ready()) {
            Some(leader)
                if leader.patroni.as_ref().is_some_and(|s| s.role == Role::StandbyLeader) =>
            {
                (
                    false,
                    "Standby",
                    format!(
                        "instance {} follows another cluster and accepts no writes",
                        leader.name
                    ),
                )
            }
            _ => match too_far_behind::why(pass, members) {
                Some(why) => {
                    let all: Vec<String> = [why].into_iter().chain(problems(members)).collect();
                    (false, too_far_behind::REASON, all.join("; "))
                }
                None => (false, "NoPrimary", no_primary(pass, members)),
            },
        },
    };
    condition(pass, kinds::READY, Some(status), reason, &text);
}

/// A Service through which nobody reaches the leader, because it is gone and the operator may not write. A mere stranger's
/// deletion is made good in the same pass, and not told.
fn unreachable(pass: &Pass<'_>) -> Option<String> {
    if pass.context.refused.is_empty() && pass.context.denied.is_empty() {
        return None;
    }
    let cluster = &pass.cluster.name;
    let mut all = [names::primary_service(cluster), names::scope(cluster)].into_iter();
    all.find(|name| pass.observed.find(Kind::Service, name) == Read::Absent)
}

/// Users count as set once they were; a later change of one takes nothing from the others.
fn users_are_set(pass: &Pass<'_>) -> bool {
    pass.status.users_revision.is_some()
}

/// What stands in the way of a primary, in the words of whoever knows best.
fn no_primary(pass: &Pass<'_>, members: &Members) -> String {
    let problems = problems(members);
    if !problems.is_empty() {
        return problems.join("; ");
    }
    // A refused spec keeps nobody from leading who led before.
    let counts = |step: &Step| *step != Step::Validate || !members.bootstrapped();
    let waiting = pass.report().lines.iter().find_map(|(step, outcome)| match outcome {
        Outcome::Blocked(reason) if counts(step) => Some(reason.to_string()),
        _ => None,
    });
    waiting.unwrap_or_else(|| "no instance accepts writes".into())
}

/// Why instances do not run, in name order.
fn problems(members: &Members) -> Vec<String> {
    let mut all: Vec<String> =
        members.all.values().filter_map(|m| pod_problem(m.pods.first()?)).collect();
    all.sort();
    all.dedup();
    all
}

/// Why a Pod does not run, if it says so itself.
fn pod_problem(pod: &crate::Object) -> Option<String> {
    let name = &pod.meta.name;
    if let Some(scheduled) = pod.condition("PodScheduled")
        && scheduled.get("status").and_then(Value::as_str) == Some("False")
    {
        let why = scheduled.get("message").and_then(Value::as_str).unwrap_or("no node fits");
        return Some(format!("Pod {name} can't be scheduled: {why}"));
    }
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses = lists.iter().filter_map(|l| pod.at(&["status", l])?.as_array()).flatten();
    let waiting = statuses.filter_map(|s| {
        let reason = s.pointer("/state/waiting/reason")?.as_str()?;
        let ordinary = ["PodInitializing", "ContainerCreating"].contains(&reason);
        (!ordinary).then(|| (s.get("name").and_then(Value::as_str).unwrap_or("?"), reason))
    });
    let first = waiting.into_iter().next();
    first.map(|(container, reason)| format!("Pod {name}, container {container}: {reason}"))
}

/// Why Pods of instances will not start by themselves: no node fits, or no image comes. What changes with every try of the
/// kubelet is left out.
fn stuck(members: &Members) -> Vec<String> {
    let pods = members.all.values().filter_map(|m| m.pods.first());
    let of = |pod: &std::sync::Arc<crate::Object>| {
        let problem = pod_problem(pod)?;
        let image = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
        match problem.rsplit_once(": ") {
            Some((container, word)) if image.contains(&word) => {
                Some(format!("{container}: its image can't be pulled"))
            }
            _ => pod.condition("PodScheduled").filter(|c| c["status"] == "False").map(|_| problem),
        }
    };
    let mut all: Vec<String> = pods.filter_map(of).collect();
    all.sort();
    all
}

/// There only while a promotion waits.
fn promotion(pass: &mut Pass<'_>) {
    use super::promotion::SILENT;
    let blocked = pass.report().lines.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Blocked(r) => Some((super::promotion::reason(r.word())?, r.to_string())),
        _ => None,
    });
    let waits = |word: &str| {
        pass.report().lines.iter().find_map(|(_, outcome)| match outcome {
            Outcome::Waiting(r) if r.word() == word => Some(r.to_string()),
            _ => None,
        })
    };
    let silent = waits(SILENT).map(|text| (None, SILENT, text));
    let told = blocked.map(|(reason, text)| (Some(true), reason, text)).or(silent);
    let unasked = waits(super::promotion::UNASKED).is_some();
    match told {
        Some((status, reason, text)) => condition(pass, kinds::PROMOTION, status, reason, &text),
        // What is not known leaves it as it is.
        None if unasked => {}
        None => remove(pass, kinds::PROMOTION),
    }
}

fn backups(pass: &mut Pass<'_>, members: &Members) {
    let status = pass.status.pgbackrest.clone().unwrap_or_default();
    if pass.cluster.has_repo_host() {
        let ready = super::backups::repo_host_ready(pass.cluster, &pass.status);
        let (reason, text) = if ready {
            ("RepoHostReady", "the repository host is ready")
        } else {
            ("RepoHostNotReady", "the repository host is not ready")
        };
        condition(pass, kinds::REPO_HOST, Some(ready), reason, text);
    } else {
        remove(pass, kinds::REPO_HOST);
    }
    let first = pass.cluster.spec.backups.pgbackrest.repos.first();
    let Some(repo) = first.and_then(|r| status.repos.iter().find(|s| s.name == r.name)) else {
        return;
    };
    let name = &repo.name;
    let lost = lost_stanza::lost(pass, members).contains(name);
    let is = |flag: Option<bool>| flag == Some(true) && !lost;
    let (stanza, backup) = (is(repo.stanza_created), is(repo.replica_create_backup_complete));
    let (reason, text) = if lost {
        let text = format!("{name} has lost its stanza with all backups and WAL: it is begun anew");
        (lost_stanza::REASON, text)
    } else if stanza {
        ("StanzaCreated", format!("{name} has its stanza"))
    } else {
        ("StanzaNotCreated", format!("{name} has no stanza yet"))
    };
    condition(pass, kinds::STANZA, Some(stanza), reason, &text);
    let (reason, text) = if backup {
        ("RepoBackupComplete", format!("{name} holds a backup from which replicas can be made"))
    } else {
        ("RepoBackupNotComplete", format!("{name} holds no backup from which replicas can be made"))
    };
    condition(pass, kinds::FIRST_BACKUP, Some(backup), reason, &text);
}

/// Whether the spec is carried out, and what is awaited where it is not.
fn reconciled(pass: &mut Pass<'_>, members: Option<&Members>) {
    let pick = |wanted: fn(&Outcome) -> Option<&Reason>| {
        pass.report().lines.iter().find_map(|(_, outcome)| wanted(outcome).cloned())
    };
    let blocked = pick(|o| if let Outcome::Blocked(r) = o { Some(r) } else { None });
    let waiting = pick(|o| if let Outcome::Waiting(r) = o { Some(r) } else { None });
    let unfinished = waiting.or_else(|| members.and_then(|m| unsettled(pass, m)));
    // What is awaited may be what can't come by itself.
    let stuck = members.filter(|_| blocked.is_none()).map(stuck).unwrap_or_default();
    match blocked.or(unfinished) {
        Some(reason) => {
            let text = std::iter::once(reason.to_string()).chain(stuck).collect::<Vec<_>>();
            let text = text.join("; ");
            condition(pass, kinds::RECONCILED, Some(false), reason.word(), &text);
        }
        None => condition(
            pass,
            kinds::RECONCILED,
            Some(true),
            "InSync",
            "everything is as the spec has it",
        ),
    }
}

/// The first instance that still goes away, or the first set whose instances are not all there, ready and of
/// the present template.
fn unsettled(pass: &Pass<'_>, members: &Members) -> Option<Reason> {
    if pass.cluster.spec.shutdown {
        return None;
    }
    // Of an instance that is no longer wanted, the Pod goes last.
    let stops = |m: &&Member| {
        let alone = m.stateful_set.is_none() && !m.pods.is_empty();
        (alone && !pass.writes_to(Kind::StatefulSet, &m.name))
            || pass.deletes(Kind::StatefulSet, &m.name)
    };
    if let Some(member) = members.all.values().find(stops) {
        let text = format!("instance {} is no longer wanted and stops", member.name);
        return Some(Reason::Because { word: "InstanceStops", text });
    }
    pass.cluster.sets().find_map(|set| {
        let wanted = usize::try_from(set.spec.replicas).unwrap_or(0);
        // A workload that this very plan changes has not taken it up, whatever its status still says.
        let changed = |m: &Member| pass.writes_to(Kind::StatefulSet, &m.name);
        let settled = |m: &&Member| m.ready() && m.up_to_date() == Some(true) && !changed(m);
        let (all, good) =
            (members.of_set(&set.name).count(), members.of_set(&set.name).filter(settled).count());
        let text = format!(
            "instance set {} has {good} of {wanted} instances ready and up to date",
            set.name
        );
        (all != wanted || good != wanted)
            .then_some(Reason::Because { word: "InstancesNotReady", text })
    })
}

pub(super) fn condition(
    pass: &mut Pass<'_>,
    kind: &str,
    status: Option<bool>,
    reason: &str,
    text: &str,
) {
    let word = status.map_or("Unknown", |s| if s { "True" } else { "False" });
    let now = Time(pass.context.now);
    let generation = Some(pass.cluster.object.meta.generation);
    let old = pass.status.condition(kind);
    let since = old.filter(|c| c.status == word).map_or(now, |c| c.last_transition_time.clone());
    let new = Condition {
        type_: kind.into(),
        status: word.into(),
        reason: reason.into(),
        message: text.into(),
        observed_generation: generation,
        last_transition_time: since,
    };
    let list = &mut pass.status.conditions;
    match list.iter_mut().find(|c| c.type_ == kind) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}

pub(super) fn remove(pass: &mut Pass<'_>, kind: &str) {
    pass.status.conditions.retain(|c| c.type_ != kind);
}

/// Writes what differs, as a merge patch; what is gone is set to null.
fn patch(pass: &mut Pass<'_>) {
    if pass.status == *pass.cluster.status {
        return;
    }
    let to = |s: &IvoryClusterStatus| serde_json::to_value(s).unwrap_or_default();
    let (before, after) = (to(&pass.cluster.status), to(&pass.status));
    let patch = difference(&before, &after);
    if patch.as_object().is_some_and(Map::is_empty) {
        return;
    }
    let fields: Vec<String> =
        patch.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    let reason = Reason::Because { word: "Status", text: format!("{} changed", fields.join(", ")) };
    let mut writes = super::events::of_changed_conditions(pass);
    writes.push(Write { step: Step::Status, reason, op: pass.status_as_read(patch) });
    pass.write_before_commands(writes);
}

fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(old) if old == value => {}
            Some(old @ Value::Object(_)) if value.is_object() => {
                patch.insert(key.clone(), difference(old, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|k| !after.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_the_merge_patch_that_leads_there() {
        for (before, after, expected) in [
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null})),
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1, "y": 3}}),
                json!({"a": {"y": 3}}),
            ),
            (json!({"l": [1]}), json!({"l": [1, 2]}), json!({"l": [1, 2]})),
            (json!({}), json!({"n": {"m": 1}}), json!({"n": {"m": 1}})),
        ] {
            assert_eq!(difference(&before, &after), expected);
        }
    }

    use crate::plan::Op;
    use crate::test_support::{CLUSTER, World, spec, text};

    #[test]
    fn nobody_is_ready_whom_nobody_reaches() {
        let mut world = World::settled(1);
        world.remove(Kind::Service, "hippo-ha");
        world.round();
        assert_eq!(world.condition("Ready"), Some(("True".into(), "Writable".into())));
        world.settle();
        world.refusing.insert("Service hippo-ha".into(), (422, "a label is invalid"));
        world.remove(Kind::Service, "hippo-ha");
        (0..3).for_each(|_| {
            world.round();
        });
        assert_eq!(world.condition("Ready"), Some(("False".into(), "NoService".into())));
        world.refusing.clear();
        world.settle();
        assert_eq!(world.condition("Ready"), Some(("True".into(), "Writable".into())));
    }

    #[test]
    fn conditions_say_what_is_and_since_when() {
        let mut world = World::new(spec(2));
        let mut seen = Vec::new();
        for _ in 0..30 {
            world.round();
            let ready = world.condition("Ready");
            if seen.last() != Some(&ready) {
                seen.push(ready);
            }
        }
        let reasons: Vec<_> = seen.into_iter().flatten().map(|c| c.1).collect();
        assert_eq!(reasons, ["NoPrimary", "UsersPending", "Writable"]);
        let since =
            |w: &World| w.cluster().condition("Ready").map(|c| c["lastTransitionTime"].clone());
        let before = since(&world);
        world.edit(|s| s["metadata"]["labels"]["a"] = "b".into());
        world.settle();
        assert_eq!(since(&world), before, "True all the time");
        let generation = world.cluster().meta.generation;
        assert_eq!(world.cluster().i64_at(&["status", "observedGeneration"]), Some(generation));
    }

    #[test]
    fn a_leader_that_is_not_ready_is_not_called_ready() {
        let mut world = World::settled(1);
        let pod = crate::names::instance_pod(&world.leader());
        world.change(Kind::Pod, &pod, |p| p["status"]["conditions"][0]["status"] = "False".into());
        world.dead.insert(pod);
        world.settle();
        assert_eq!(world.condition("Ready"), Some(("False".into(), "PrimaryNotReady".into())));
        assert_eq!(world.condition("Reconciled").map(|c| c.0).as_deref(), Some("False"));
    }

    #[test]
    fn paused_and_blocked_write_nothing_but_their_condition() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str, &str); 6] = [
            (|s| s["paused"] = true.into(), "Progressing", "Paused"),
            (
                |s| s["standby"] = json!({"enabled": true}),
                "Reconciled",
                "InvalidStandbyConfiguration",
            ),
            (
                |s| s["service"] = json!({"type": "ClusterIP", "nodePort": 32000}),
                "Reconciled",
                "MisconfiguredClusterIP",
            ),
            (|s| s["customTLSSecret"] = json!({"name": "mine"}), "Reconciled", "CustomTLSMissing"),
            (|s| s["instances"] = "nonsense".into(), "Reconciled", "InvalidSpec"),
            (
                |s| {
                    let mut unnamed = s["instances"][0].clone();
                    unnamed["name"] = "".into();
                    let mut named = unnamed.clone();
                    named["name"] = "00".into();
                    s["instances"] = json!([unnamed, named]);
                },
                "Reconciled",
                "DuplicateSet",
            ),
        ];
        for (change, kind, reason) in cases {
            let mut world = World::settled(2);
            let observed = world.cluster().at(&["status", "observedGeneration"]).cloned();
            world.edit(|s| {
                change(s);
                s["metadata"]["labels"] = json!({"never": "seen"});
                s["shutdown"] = true.into();
            });
            for _ in 0..3 {
                let plan = world.plan();
                let own = plan
                    .writes
                    .iter()
                    .all(|w| matches!(w.op, Op::Status { .. } | Op::Event { .. }));
                assert!(own, "{reason}: {:?}", crate::test_support::texts(&plan));
                world.execute(&plan, usize::MAX).expect("no refusal");
            }
            assert_eq!(world.plan().writes.len(), 0, "{reason}: said once");
            assert_eq!(world.condition(kind).map(|c| c.1).as_deref(), Some(reason));
            assert_eq!(
                world.cluster().at(&["status", "observedGeneration"]).cloned(),
                observed,
                "{reason}"
            );
            // The way to the database is kept, of a spec that can be read.
            let lost = crate::names::scope("hippo");
            world.delete(Kind::Service, &lost);
            world.settle();
            let back = world.get(Kind::Service, &lost).is_some();
            assert_eq!(back, !["Paused", "InvalidSpec"].contains(&reason), "{reason}");
            // This world's Patroni takes `spec.standby` at its word.
            let leads = if reason.starts_with("InvalidStandby") { "Standby" } else { "Writable" };
            assert_eq!(world.condition("Ready").map(|c| c.1).as_deref(), Some(leads), "{reason}");
            // Both can be left again.
            world.edit(|s| *s = spec(2));
            world.settle();
            assert_eq!(world.condition("Progressing"), None);
            assert_eq!(world.condition("Reconciled").map(|c| c.1).as_deref(), Some("InSync"));
        }
    }

    #[test]
    fn the_same_news_from_an_old_read_is_the_same_event() {
        let mut world = World::settled(1);
        world.edit(|s| s["dataSource"] = json!({"pgbackrest": {"stanza": "db", "repo": {"name": "repo1", "s3": {"bucket": "b", "endpoint": "e", "region": "r"}}}}));
        let old = world.cluster();
        world.settle();
        let events = world.all(Kind::Event).len();
        // The read lags: the status that was just written is not seen.
        world.objects.insert((Kind::IvoryCluster, CLUSTER.into()), old);
        world.settle();
        assert_eq!(world.all(Kind::Event).len(), events);
        let plan = world.plan();
        assert!(plan.writes.iter().all(|w| !text(w).contains("event")));
    }

    #[test]
    fn a_quiet_cluster_says_of_each_set_and_of_the_repository_what_is_there() {
        use crate::test_support::{World, claim, spec};
        let mut wanted = spec(2);
        let more = json!({"name": "more", "dataVolumeClaimSpec": claim("1Gi")});
        wanted["instances"].as_array_mut().expect("sets").push(more);
        let mut world = World::new(wanted);
        world.settle();
        let of = |n: i64, name: &str| json!({"name": name, "replicas": n, "readyReplicas": n, "updatedReplicas": n});
        let sets = json!([of(2, "instance1"), of(1, "more")]);
        assert_eq!(world.cluster().at(&["status", "instances"]), Some(&sets));
        let said =
            [kinds::REPO_HOST, kinds::STANZA, kinds::FIRST_BACKUP].map(|k| world.condition(k));
        let expected = ["RepoHostReady", "StanzaCreated", "RepoBackupComplete"];
        assert_eq!(said, expected.map(|reason| Some(("True".to_owned(), reason.to_owned()))));
        assert_eq!(world.plan().writes.len(), 0);
        world.change(Kind::StatefulSet, &crate::names::repo_host("hippo"), |s| {
            s["status"]["readyReplicas"] = 0.into();
        });
        let plan = world.plan();
        world.execute(&plan, usize::MAX).expect("no refusal");
        let said = world.condition(kinds::REPO_HOST);
        assert_eq!(said, Some(("False".to_owned(), "RepoHostNotReady".to_owned())));
    }

    #[test]
    fn a_pod_that_can_not_start_by_itself_is_named_and_one_that_crashes_is_not() {
        use crate::test_support::World;
        let said = |scheduled: &str, waiting: &str| {
            let mut world = World::settled(1);
            let pod = crate::names::instance_pod(&world.leader());
            world.change(Kind::Pod, &pod, |p| {
                p["status"] = json!({
                    "conditions": [
                        {"type": "Ready", "status": "False"},
                        {"type": "PodScheduled", "status": scheduled, "message": "no room"},
                    ],
                    "containerStatuses": [
                        {"name": "database", "state": {"waiting": {"reason": waiting}}},
                    ],
                });
            });
            let plan = world.plan();
            world.execute(&plan, usize::MAX).expect("no refusal");
            let cluster = world.cluster();
            cluster.condition("Reconciled").expect("it is")["message"].to_string()
        };
        assert!(said("True", "ErrImagePull").contains("its image can't be pulled"));
        let (room, image) = ("can't be scheduled: no room", "its image");
        let unscheduled = said("False", "ContainerCreating");
        assert!(unscheduled.contains(room) && !unscheduled.contains(image), "{unscheduled}");
        for ordinary in ["CrashLoopBackOff", "ContainerCreating"] {
            let text = said("True", ordinary);
            let parts = text.matches("; ").count();
            assert!(!text.contains(image) && parts == 0, "{text}");
        }
    }

    #[test]
    fn a_status_lands_on_the_cluster_that_was_read_or_nowhere() {
        let mut world = crate::test_support::World::settled(1);
        world.edit(|s| s["shutdown"] = true.into());
        let version = world.cluster().meta.resource_version.to_string();
        let plan = world.plan();
        let told = plan.writes.iter().find_map(|w| match &w.op {
            crate::plan::Op::Status { patch, .. } if w.step == Step::Status => Some(patch),
            _ => None,
        });
        assert_eq!(told.expect("a status")["metadata"]["resourceVersion"], version);
    }
}
