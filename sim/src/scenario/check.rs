//! Whether an expectation is true at a moment; if not, what was seen instead, in one sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::{Kind, Object, labels};
use serde_json::Value;

use super::driver::is_write;
use super::fields::span_text;
use super::language::{Expectation, PodState, Primary, Test};
use super::path;
use super::resolve::{Instance, Ref, Scene};
use super::target::{Member, Target};
use crate::time::{Span, Time};
use crate::world::KubeId;

/// All objects of a moment.
pub type Mark = BTreeMap<(KubeId, Ref), Arc<Object>>;

/// What expectations about changes compare with.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The moments that `mark` remembered.
    pub marks: BTreeMap<String, Mark>,
    /// The primary before the last step that did something, by Kubernetes and cluster.
    pub primary: BTreeMap<(KubeId, String), String>,
    /// Whether there may be a failover more than the story tells of, or one less: the timeline may be any, and whoever
    /// leads may.
    pub failovers: bool,
    /// When the story did something last, or until when it was disturbed: silence before it is none.
    pub disturbed: Time,
    /// How many steps of a disturbed story were passed over.
    pub passed_over: usize,
}

/// Checks one expectation.
///
/// # Errors
/// What was seen instead.
pub fn check(scene: &Scene<'_>, memory: &Memory, wanted: &Expectation) -> Result<(), String> {
    match wanted {
        Expectation::Ready(wanted) => ready(scene, *wanted),
        Expectation::Instances(wanted) => instances(scene, wanted),
        Expectation::Pods(state, wanted) => {
            let pods = pods(scene, *state);
            same_number(pod_words(*state), pods, *wanted)
        }
        Expectation::Primary(wanted) => primary(scene, memory, *wanted),
        Expectation::Roles(wanted) => roles(scene, wanted),
        Expectation::Timeline(wanted) => timeline(scene, *wanted, memory.failovers),
        Expectation::Exists(targets) => targets.iter().try_for_each(|t| exists(scene, t)),
        Expectation::Absent(targets) => targets.iter().try_for_each(|t| absent(scene, t)),
        Expectation::Gone(cluster) => gone(scene, cluster),
        Expectation::Field { of, path, is } => {
            let objects = objects(scene, of)?;
            objects.iter().try_for_each(|o| field(scene, o, path, is))
        }
        Expectation::Since { of, path, mark, changed } => {
            since(scene, memory, (of, path), mark, *changed)
        }
        Expectation::Condition { kind, status, reason, message } => {
            condition(scene, kind, [status.as_deref(), reason.as_deref(), message.as_deref()])
        }
        Expectation::Event { reason, kind, message } => {
            event(scene, reason, kind.as_deref(), message.as_deref())
        }
        Expectation::Service { name, to } => service(scene, name, to),
        Expectation::Spread { zones, counts } => spread(scene, *zones, counts),
        Expectation::Client { name, writes } => match scene.driver.client(name) {
            None => Err(format!("no client is called {name}")),
            Some(facts) if facts.writes == *writes => Ok(()),
            Some(_) if *writes => Err(format!("{name} can't write")),
            Some(_) => Err(format!("{name} writes")),
        },
        Expectation::Quiet(span) => quiet(scene, memory, *span),
    }
}

/// `Ready` says that writes are accepted, `Reconciled` that all is as the spec has it.
fn ready(scene: &Scene<'_>, wanted: bool) -> Result<(), String> {
    let cluster = scene
        .cluster_object()
        .ok_or_else(|| format!("there is no IvoryCluster {}", scene.cluster))?;
    let both = ["Ready", "Reconciled"];
    let missing = both.iter().find_map(|kind| not_true(scene, &cluster, kind));
    match (wanted, missing) {
        (true, Some(why)) => Err(why),
        (false, None) => Err(format!("{} is ready", scene.cluster)),
        _ => Ok(()),
    }
}

/// Why a condition is not True for the newest version of the spec; none if it is.
fn not_true(scene: &Scene<'_>, cluster: &Object, kind: &str) -> Option<String> {
    let Some(condition) = cluster.condition(kind) else {
        return Some(format!("{} has no condition {kind} yet", scene.cluster));
    };
    let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or("");
    let seen = condition
        .get("observedGeneration")
        .and_then(Value::as_i64)
        .unwrap_or(cluster.meta.generation);
    let stale = match seen >= cluster.meta.generation {
        true if text("status") == "True" => return None,
        true => "",
        false => " for an older version of the spec",
    };
    let message = scene.aliases.show(scene.kube, text("message"));
    let (status, reason) = (text("status"), text("reason"));
    Some(format!("{kind} is {status}{stale} ({reason}: {message})"))
}

fn instances(scene: &Scene<'_>, wanted: &BTreeMap<String, u64>) -> Result<(), String> {
    let mut seen: BTreeMap<String, (u64, u64)> =
        wanted.keys().map(|s| (s.clone(), (0, 0))).collect();
    for instance in scene.instances() {
        let count = seen.entry(instance.set.clone()).or_default();
        count.0 += u64::from(instance.ready());
        count.1 += 1;
    }
    let right = seen
        .iter()
        .all(|(set, (ready, all))| wanted.get(set).copied().unwrap_or(0) == *ready && ready == all);
    if right {
        return Ok(());
    }
    let one =
        |(set, (ready, all)): (&String, &(u64, u64))| format!("{set} has {ready} of {all} ready");
    Err(seen.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn pods(scene: &Scene<'_>, state: PodState) -> u64 {
    let mut all = scene.owned(Kind::Pod);
    // Pods of Jobs come and go; they serve nobody.
    all.retain(|p| p.controller().is_none_or(|o| o.kind != "Job"));
    all.retain(|pod| match state {
        PodState::Exists => true,
        PodState::Ready => pod.condition_true("Ready"),
        PodState::Unschedulable => pod
            .condition("PodScheduled")
            .is_some_and(|c| c.get("status").and_then(Value::as_str) == Some("False")),
        PodState::ImageFailing => image_failing(pod),
    });
    all.len() as u64
}

fn image_failing(pod: &Object) -> bool {
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| pod.at(&["status", list])?.as_array())
        .flatten()
        .filter_map(|c| c.pointer("/state/waiting/reason")?.as_str())
        .any(|reason| matches!(reason, "ErrImagePull" | "ImagePullBackOff"))
}

fn pod_words(state: PodState) -> &'static str {
    match state {
        PodState::Ready => "Pods are ready",
        PodState::Exists => "Pods exist",
        PodState::Unschedulable => "Pods find no node",
        PodState::ImageFailing => "Pods lack an image",
    }
}

fn same_number(what: &str, seen: u64, wanted: u64) -> Result<(), String> {
    match seen == wanted {
        true => Ok(()),
        false => Err(format!("{seen} {what}, not {wanted}")),
    }
}

fn primary(scene: &Scene<'_>, memory: &Memory, wanted: Primary) -> Result<(), String> {
    let leaders = scene.leaders();
    let names: Vec<&str> = leaders.iter().map(|i| i.name.as_str()).collect();
    let show = |name: &str| scene.aliases.show(scene.kube, name);
    if wanted == Primary::None {
        return match names.first() {
            None => Ok(()),
            Some(name) => Err(format!("{} is the primary", show(name))),
        };
    }
    let [leader] = leaders.as_slice() else {
        let shown: Vec<String> = names.iter().map(|n| show(n)).collect();
        return Err(match shown.is_empty() {
            true => "there is no primary".to_owned(),
            false => format!("{} are labelled as primaries", shown.join(" and ")),
        });
    };
    if !leader.ready() {
        return Err(format!("the primary {} is not ready", show(&leader.name)));
    }
    let before = memory.primary.get(&(scene.kube, scene.cluster.to_owned()));
    match (wanted, before) {
        (Primary::Changed | Primary::Unchanged, Some(_)) if memory.failovers => Ok(()),
        (Primary::Changed, Some(before)) if *before == leader.name => {
            Err(format!("{} still is the primary", show(before)))
        }
        (Primary::Unchanged, Some(before)) if *before != leader.name => {
            Err(format!("the primary was {} and is {}", show(before), show(&leader.name)))
        }
        (Primary::Changed | Primary::Unchanged, None) => {
            Err("there was no primary before the last step".to_owned())
        }
        _ => Ok(()),
    }
}

fn roles(scene: &Scene<'_>, wanted: &BTreeMap<String, u64>) -> Result<(), String> {
    let ready: Vec<Instance> = scene.instances().into_iter().filter(Instance::ready).collect();
    let leads = ready.iter().filter(|i| i.leads()).count() as u64;
    let follows = |i: &&Instance| {
        let pod = i.pod.as_ref();
        pod.and_then(|p| p.label(labels::ROLE)) == Some(labels::role::REPLICA)
    };
    let follow = ready.iter().filter(follows).count() as u64;
    for (role, wanted) in wanted {
        let seen = if role == "primary" { leads } else { follow };
        same_number(&format!("ready instances are {role}"), seen, *wanted)?;
    }
    Ok(())
}

/// Patroni writes each member's state, timeline included, as JSON into the annotation `status` of its Pod.
fn timeline(scene: &Scene<'_>, wanted: u64, any: bool) -> Result<(), String> {
    let leaders = scene.leaders();
    let seen = leaders.first().and_then(|i| {
        let status = i.pod.as_ref()?.annotation("status")?;
        let status: Value = serde_json::from_str(status).ok()?;
        status.get("timeline")?.as_u64()
    });
    match seen {
        Some(seen) if seen == wanted || any => Ok(()),
        Some(seen) => Err(format!("the primary is on timeline {seen}")),
        None => Err("no primary says its timeline".to_owned()),
    }
}

/// The objects of a target; none is an error.
fn objects(scene: &Scene<'_>, target: &Target) -> Result<Vec<Arc<Object>>, String> {
    exists(scene, target)?;
    Ok(scene.objects(target))
}

fn exists(scene: &Scene<'_>, target: &Target) -> Result<(), String> {
    let refs = scene.refs(target);
    if refs.is_empty() {
        return Err(format!("there is no {target}"));
    }
    for r in &refs {
        match scene.object(r) {
            None => return Err(format!("there is no {}", scene.show(r))),
            Some(o) if o.terminating() => {
                return Err(format!("{} is being deleted", scene.show(r)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn absent(scene: &Scene<'_>, target: &Target) -> Result<(), String> {
    let found = scene.refs(target).into_iter().find(|r| scene.object(r).is_some());
    match found {
        Some(r) => Err(format!("{} is there", scene.show(&r))),
        None => Ok(()),
    }
}

fn gone(scene: &Scene<'_>, cluster: &str) -> Result<(), String> {
    let scene = Scene { cluster, ..*scene };
    if scene.cluster_object().is_some() {
        return Err(format!("IvoryCluster {cluster} is there"));
    }
    for &kind in Kind::ALL {
        // Events outlive what they are about.
        if kind == Kind::Event || !kind.namespaced() {
            continue;
        }
        if let Some(left) = scene.owned(kind).first() {
            let name = scene.aliases.show(scene.kube, &left.meta.name);
            return Err(format!("{kind} {name} is left"));
        }
    }
    Ok(())
}

fn field(scene: &Scene<'_>, object: &Object, path: &str, test: &Test) -> Result<(), String> {
    let value = object.to_value();
    let seen = path::at(&value, path);
    let right = match test {
        Test::Is(wanted) => seen == Some(wanted),
        Test::Not(wanted) => seen != Some(wanted),
        Test::Present(wanted) => seen.is_some() == *wanted,
        Test::Count(wanted) => match seen {
            Some(Value::Array(items)) => items.len() as u64 == *wanted,
            Some(Value::Object(map)) => map.len() as u64 == *wanted,
            _ => *wanted == 0 && seen.is_none(),
        },
        Test::Contains(wanted) => match (seen, wanted) {
            (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
            (Some(Value::Array(items)), wanted) => items.contains(wanted),
            _ => false,
        },
    };
    if right {
        return Ok(());
    }
    let name = scene.aliases.show(scene.kube, &object.meta.name);
    let shown = match seen {
        None => "absent".to_owned(),
        // What stands in a Secret is nobody's business.
        Some(_) if object.kind == Kind::Secret => "something else".to_owned(),
        Some(value) => scene.aliases.show(scene.kube, &value.to_string()),
    };
    Err(format!("{path} of {} {name} is {shown}", object.kind))
}

fn since(
    scene: &Scene<'_>,
    memory: &Memory,
    (of, path): (&Target, &str),
    mark: &str,
    changed: bool,
) -> Result<(), String> {
    let mark_objects =
        memory.marks.get(mark).ok_or_else(|| format!("nothing was marked as {mark}"))?;
    for r in scene.refs(of) {
        let read = |o: Option<Arc<Object>>| o.and_then(|o| path::at(&o.to_value(), path).cloned());
        let was = read(mark_objects.get(&(scene.kube, r.clone())).cloned());
        let is = read(scene.object(&r));
        if (was != is) != changed {
            let word = if changed { "is what it was" } else { "has changed" };
            return Err(format!("{path} of {} {word}", scene.show(&r)));
        }
    }
    exists(scene, of)
}

fn condition(
    scene: &Scene<'_>,
    kind: &str,
    [status, reason, message]: [Option<&str>; 3],
) -> Result<(), String> {
    let cluster = scene
        .cluster_object()
        .ok_or_else(|| format!("there is no IvoryCluster {}", scene.cluster))?;
    let Some(found) = cluster.condition(kind) else {
        return match status {
            None => Ok(()),
            Some(_) => Err(format!("{} has no condition {kind}", scene.cluster)),
        };
    };
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or("");
    let right = status == Some(text("status"))
        && reason.is_none_or(|r| r == text("reason"))
        && message.is_none_or(|m| text("message").contains(m));
    match right {
        true => Ok(()),
        false => Err(format!(
            "{kind} is {} ({}: {})",
            text("status"),
            text("reason"),
            scene.aliases.show(scene.kube, text("message"))
        )),
    }
}

fn event(
    scene: &Scene<'_>,
    reason: &str,
    kind: Option<&str>,
    message: Option<&str>,
) -> Result<(), String> {
    let all = scene.driver.list(scene.kube, Kind::Event, Some(scene.namespace));
    // An Event names what it is about; the Events of a cluster are those whose object bears its name.
    let about = |o: &Object| {
        let name = o
            .str_at(&["involvedObject", "name"])
            .or_else(|| o.str_at(&["regarding", "name"]))
            .unwrap_or_default();
        let rest = name.strip_prefix(scene.cluster);
        rest.is_some_and(|r| r.is_empty() || r.starts_with('-'))
    };
    let text = |o: &Object| {
        let found = o.str_at(&["message"]).or_else(|| o.str_at(&["note"]));
        found.unwrap_or_default().to_owned()
    };
    let mut reasons = BTreeSet::new();
    for object in all.iter().filter(|o| about(o)) {
        let seen = object.str_at(&["reason"]).unwrap_or_default();
        if seen == reason
            && kind.is_none_or(|k| object.str_at(&["type"]) == Some(k))
            && message.is_none_or(|m| text(object).contains(m))
        {
            return Ok(());
        }
        reasons.insert(seen.to_owned());
    }
    let seen: Vec<String> = reasons.into_iter().collect();
    Err(match seen.is_empty() {
        true => format!("no Event was written about {}", scene.cluster),
        false => format!("no such Event; the reasons seen are {}", seen.join(", ")),
    })
}

fn service(scene: &Scene<'_>, name: &str, to: &[Member]) -> Result<(), String> {
    let wanted: BTreeSet<String> =
        to.iter().flat_map(|m| scene.members(m)).map(|i| i.name).collect();
    if scene.driver.get(scene.kube, Kind::Service, scene.namespace, name).is_none() {
        return Err(format!("there is no Service {name}"));
    }
    let seen: BTreeSet<String> =
        crate::view::behind_service(scene.driver, scene.kube, scene.namespace, name)
            .iter()
            .map(|pod| match pod.label(labels::INSTANCE) {
                Some(instance) => instance.to_owned(),
                None => pod.meta.name.trim_end_matches("-0").to_owned(),
            })
            .collect();
    if seen == wanted {
        return Ok(());
    }
    let show = |names: &BTreeSet<String>| {
        let names = names.iter().map(|n| scene.aliases.show(scene.kube, n));
        let names: Vec<String> = names.collect();
        match names.is_empty() {
            true => "nobody".to_owned(),
            false => names.join(", "),
        }
    };
    Err(format!("Service {name} leads to {}, not to {}", show(&seen), show(&wanted)))
}

fn spread(scene: &Scene<'_>, zones: bool, wanted: &[u64]) -> Result<(), String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for instance in scene.instances().iter().filter(|i| i.ready()) {
        let node = instance.node().unwrap_or("").to_owned();
        let place = match zones {
            false => node,
            true => scene
                .driver
                .get(scene.kube, Kind::Node, "", &node)
                .and_then(|n| n.label("topology.kubernetes.io/zone").map(str::to_owned))
                .unwrap_or_default(),
        };
        *counts.entry(place).or_default() += 1;
    }
    let mut seen: Vec<u64> = counts.values().copied().collect();
    seen.sort_unstable_by(|a, b| b.cmp(a));
    let wanted: Vec<u64> = wanted.iter().copied().filter(|c| *c > 0).collect();
    if seen == wanted {
        return Ok(());
    }
    let one = |(place, count): (&String, &u64)| format!("{place} {count}");
    let shown: Vec<String> = counts.iter().map(one).collect();
    Err(match shown.is_empty() {
        true => "no instance is ready".to_owned(),
        false => format!("the instances are spread as {}", shown.join(", ")),
    })
}

/// What was just done has not shown its effects yet.
fn quiet(scene: &Scene<'_>, memory: &Memory, span: Span) -> Result<(), String> {
    let journal = scene.driver.journal();
    let last = journal.iter().rev().find(|e| is_write(e));
    let wrote = last.map_or(Time::START, |e| e.at);
    let silence = scene.driver.now() - wrote.max(memory.disturbed);
    let what = match wrote >= memory.disturbed {
        true => "the operator wrote",
        false => "something was done",
    };
    match silence >= span {
        true => Ok(()),
        false => Err(format!("{what} {} ago", span_text(Span::ms(silence.0 / 1000)))),
    }
}
