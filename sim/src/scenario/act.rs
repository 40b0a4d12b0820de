//! Doing what a step says: requests through the API as `kubectl` sends them, faults, clients.

use std::sync::Arc;

use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use super::driver::{Ask, Break, Refusal};
use super::fields::span_text;
use super::language::{Act, Fault, Flow, Sick};
use super::resolve::{Ref, Scene};
use super::target::Target;
use crate::time::Span;

/// What a step wants done, with all names resolved.
pub enum Deed {
    /// Requests, in order.
    Requests(Vec<Ask>),
    /// Faults, in order.
    Breaks(Vec<Break>),
}

/// Resolves a step that acts through the API or breaks something; `None` for every other step.
///
/// # Errors
/// A sentence, when a name means nothing at this moment.
pub fn deed(scene: &Scene<'_>, act: &Act) -> Result<Option<Deed>, String> {
    Ok(Some(match act {
        Act::Apply(manifests) => {
            Deed::Requests(manifests.iter().map(apply).collect::<Result<_, _>>()?)
        }
        Act::Patch { of, with } => {
            let refs = existing(scene, of)?;
            let with = named(scene, with)?;
            let patch = |r: &Ref| merge(r, with.clone());
            Deed::Requests(refs.iter().map(patch).collect())
        }
        Act::Scale { set, to } => Deed::Requests(vec![scale(scene, set, *to)?]),
        Act::Delete { of, grace_s, propagation } => {
            let delete = |of: Ref| Ask::Delete { of, propagation: *propagation, grace_s: *grace_s };
            Deed::Requests(existing(scene, of)?.into_iter().map(delete).collect())
        }
        Act::Fault(fault) => Deed::Breaks(breaks(scene, fault)?),
        _ => return Ok(None),
    }))
}

/// `kubectl apply` of one manifest.
///
/// # Errors
/// When the manifest is no object of a known kind.
pub fn apply(manifest: &Value) -> Result<Ask, String> {
    let object = Object::from_value(manifest.clone()).map_err(|e| e.to_string())?;
    Ok(Ask::Apply(Arc::new(object)))
}

/// A patch with the names for which it has things in braces.
fn named(scene: &Scene<'_>, with: &Value) -> Result<Value, String> {
    Ok(match with {
        Value::String(text) => match Target::in_braces(text) {
            None => with.clone(),
            Some(target) => {
                let target = target?;
                match &existing(scene, &target)?[..] {
                    [one] => one.name.clone().into(),
                    more => return Err(format!("{target} is {} things, not one", more.len())),
                }
            }
        },
        Value::Array(list) => list.iter().map(|v| named(scene, v)).collect::<Result<_, _>>()?,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), named(scene, value)?)))
            .collect::<Result<_, String>>()?,
        _ => with.clone(),
    })
}

fn merge(r: &Ref, with: Value) -> Ask {
    Ask::Merge { of: r.clone(), with }
}

/// A merge patch replaces lists whole, so the present list goes with it.
fn scale(scene: &Scene<'_>, set: &str, to: i64) -> Result<Ask, String> {
    let cluster = scene
        .cluster_object()
        .ok_or_else(|| format!("there is no IvoryCluster {}", scene.cluster))?;
    let mut sets =
        cluster.at(&["spec", "instances"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<String> = sets.iter().enumerate().map(set_name).collect();
    let Some(index) = names.iter().position(|n| n == set) else {
        let known = names.join(", ");
        return Err(format!("there is no instance set {set}; there are {known}"));
    };
    sets[index]["replicas"] = to.into();
    let r = Ref {
        kind: Kind::IvoryCluster,
        namespace: scene.namespace.to_owned(),
        name: scene.cluster.to_owned(),
    };
    Ok(merge(&r, json!({"spec": {"instances": sets}})))
}

/// The name of an instance set: its own, or its position as two digits.
#[must_use]
pub fn set_name((index, set): (usize, &Value)) -> String {
    match set.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("{index:02}"),
    }
}

fn existing(scene: &Scene<'_>, target: &Target) -> Result<Vec<Ref>, String> {
    let refs = scene.refs(target);
    match refs.is_empty() {
        true => Err(format!("there is no {target} now")),
        false => Ok(refs),
    }
}

fn breaks(scene: &Scene<'_>, fault: &Fault) -> Result<Vec<Break>, String> {
    let one = |b: Break| Ok(vec![b]);
    match fault {
        Fault::KillPod(pod) => each_pod(scene, pod, |r| Break::KillPod(r.namespace, r.name)),
        Fault::KillContainer { pod, container } => {
            each_pod(scene, pod, |r| Break::KillContainer(r.namespace, r.name, container.clone()))
        }
        Fault::OutOfMemory { pod, container } => {
            each_pod(scene, pod, |r| Break::OutOfMemory(r.namespace, r.name, container.clone()))
        }
        Fault::KillBackend(pod) => {
            each_pod(scene, pod, |r| Break::KillBackend(r.namespace, r.name))
        }
        Fault::PauseNode { node, how_long } => one(Break::PauseNode(scene.place(node)?, *how_long)),
        Fault::Clock { node, ahead } => {
            let nodes = scene.nodes(node)?.into_iter();
            Ok(nodes.map(|node| Break::Clock(node, *ahead)).collect())
        }
        Fault::Dns(works) => one(Break::Dns(*works)),
        Fault::UpgradeOperator => one(Break::UpgradeOperator),
        Fault::CrashNode(node) => one(Break::CrashNode(scene.place(node)?)),
        Fault::RestartNode(nodes) => {
            Ok(scene.nodes(nodes)?.into_iter().map(Break::RestartNode).collect())
        }
        Fault::LoseNode { node, volumes } => {
            let node = scene.place(node)?;
            let lost = match volumes {
                true => volumes_on(scene, &node),
                false => Vec::new(),
            };
            one(Break::LoseNode(node, lost))
        }
        Fault::Partition(a, b) => one(Break::Partition(scene.place(a)?, scene.place(b)?)),
        Fault::HealNetwork => one(Break::HealNetwork),
        Fault::ApiOutage(span) => one(Break::ApiOutage(*span)),
        Fault::LoseVolume(claim) => each_volume(scene, claim, Break::LoseVolume),
        Fault::Disk { of, is } => each_volume(scene, of, |volume| Break::Disk(volume, *is)),
        Fault::Operator(up) => one(Break::Operator(*up)),
        Fault::Images { image, fail } => one(Break::Images(image.clone(), *fail)),
        Fault::Messages { whose, cutting, every, how_long } => {
            one(Break::Messages(*whose, *cutting, *every, *how_long))
        }
        Fault::Lag(span) => one(Break::Lag(*span)),
        Fault::Drain(node) => one(Break::Drain(scene.place(node)?)),
        Fault::Uncordon(nodes) => {
            Ok(scene.nodes(nodes)?.into_iter().map(Break::Uncordon).collect())
        }
        Fault::HangPatroni { pod, how_long } => {
            each_pod(scene, pod, |r| Break::HangPatroni(r.namespace, r.name, *how_long))
        }
        Fault::Replication { pod, how } => {
            each_pod(scene, pod, |r| Break::Replication(r.namespace, r.name, *how))
        }
        Fault::KillPostgres(pod) => {
            each_pod(scene, pod, |r| Break::KillPostgres(r.namespace, r.name))
        }
        Fault::Refuse { kind, updates, because, how_long } => {
            one(Break::Refuse(*kind, *updates, because.clone(), *how_long))
        }
        Fault::SecondOperator(up) => one(Break::SecondOperator(*up)),
    }
}

fn each_pod(
    scene: &Scene<'_>,
    pods: &Target,
    to_break: impl Fn(Ref) -> Break,
) -> Result<Vec<Break>, String> {
    Ok(existing(scene, pods)?.into_iter().map(to_break).collect())
}

fn each_volume(
    scene: &Scene<'_>,
    claim: &Target,
    to_break: impl Fn(String) -> Break,
) -> Result<Vec<Break>, String> {
    let claims = scene.objects(claim).into_iter();
    let volumes: Vec<Break> = claims
        .filter_map(|c| c.str_at(&["spec", "volumeName"]).map(str::to_owned))
        .map(to_break)
        .collect();
    match volumes.is_empty() {
        true => Err(format!("{claim} has no volume now")),
        false => Ok(volumes),
    }
}

/// The volumes of the claims that Pods on a node use.
fn volumes_on(scene: &Scene<'_>, node: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pod in scene.driver.list(scene.kube, Kind::Pod, None) {
        if pod.str_at(&["spec", "nodeName"]) != Some(node) {
            continue;
        }
        let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array);
        for volume in volumes.into_iter().flatten() {
            let claim = volume.pointer("/persistentVolumeClaim/claimName");
            let Some(claim) = claim.and_then(Value::as_str) else {
                continue;
            };
            let kind = Kind::PersistentVolumeClaim;
            let claim = scene.driver.get(scene.kube, kind, &pod.meta.namespace, claim);
            let volume = claim.and_then(|c| c.str_at(&["spec", "volumeName"]).map(str::to_owned));
            found.extend(volume);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A fault in words; none for what machines do, which the world itself remarks.
#[must_use]
pub fn break_text(fault: &Break) -> Option<String> {
    Some(match fault {
        Break::CrashNode(_) | Break::RestartNode(_) => return None,
        Break::LoseNode(_, volumes) if volumes.is_empty() => return None,
        Break::LoseNode(node, _) => format!("the disks used on {node} are lost"),
        Break::KillPod(_, pod) => format!("all processes of {pod} die"),
        Break::KillContainer(_, pod, container) => format!("{container} of {pod} dies"),
        Break::Partition(a, b) => format!("nothing passes between {a} and {b}"),
        Break::HealNetwork => "the network is whole again".to_owned(),
        Break::ApiOutage(span) => {
            format!("the API server is down for {}", span_text(*span))
        }
        Break::LoseVolume(volume) => format!("what was on {volume} is lost"),
        Break::Disk(volume, sick) => match sick {
            Sick::Full(true) => format!("the disk {volume} is full"),
            Sick::Full(false) => format!("the disk {volume} has room again"),
            Sick::ReadOnly(true) => format!("the disk {volume} takes no writes"),
            Sick::ReadOnly(false) => format!("the disk {volume} takes writes again"),
            Sick::Slow(Span::ZERO) => format!("the disk {volume} is as fast as ever"),
            Sick::Slow(span) => {
                format!("the disk {volume} takes {} longer for a flush", span_text(*span))
            }
        },
        Break::Operator(false) => "the operator is down".to_owned(),
        Break::Operator(true) => "the operator is up".to_owned(),
        Break::Messages(whose, cutting, every, span) => {
            let which = if *every == 1 { String::new() } else { format!("one in {every} of ") };
            let (whose, span) = (whose.word(), span_text(*span));
            format!("{which}the messages of {whose}: {} for {span}", cutting.word())
        }
        Break::Lag(Span::ZERO) => "the operator's watches are in time again".to_owned(),
        Break::Lag(span) => {
            format!("the operator's watches lag by {}", span_text(*span))
        }
        Break::Drain(node) => format!("node {node} is drained"),
        Break::Uncordon(node) => format!("node {node} takes Pods again"),
        Break::HangPatroni(_, pod, span) => {
            format!("Patroni of {pod} hangs for {}", span_text(*span))
        }
        Break::Replication(_, pod, Flow::Flows(false)) => {
            format!("the log of {pod} reaches nobody")
        }
        Break::Replication(_, pod, Flow::Flows(true) | Flow::Late(Span::ZERO)) => {
            format!("the log of {pod} reaches its standbys")
        }
        Break::Replication(_, pod, Flow::Late(span)) => {
            format!("the log of {pod} reaches its standbys {} late", span_text(*span))
        }
        Break::OutOfMemory(_, pod, container) => {
            format!("{container} of {pod} has used up its memory")
        }
        Break::KillBackend(_, pod) => format!("a server process of {pod} dies"),
        Break::PauseNode(node, span) => {
            format!("node {node} stands still for {}", span_text(*span))
        }
        Break::Clock(node, Span::ZERO) => format!("the clock of node {node} is right again"),
        Break::Clock(node, span) => {
            let by = span_text(Span(span.0.abs()));
            let word = if span.0 < 0 { "behind" } else { "ahead" };
            format!("the clock of node {node} is {by} {word}")
        }
        Break::Dns(false) => "no name can be resolved".to_owned(),
        Break::Dns(true) => "names can be resolved again".to_owned(),
        Break::UpgradeOperator => "the operator is replaced by a newer release".to_owned(),
        Break::KillPostgres(_, pod) => format!("the postmaster of {pod} dies"),
        Break::Refuse(kind, updates, because, span) => {
            let (span, or) = (span_text(*span), if *updates { " or changed" } else { "" });
            format!("no {kind} can be created{or} for {span}: {because}")
        }
        Break::SecondOperator(true) => "a second operator is up".to_owned(),
        Break::SecondOperator(false) => "the second operator is down".to_owned(),
        Break::Images(image, true) => format!("{image} can't be pulled"),
        Break::Images(image, false) => format!("{image} can be pulled"),
    })
}

/// The sentence of a refused request.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    format!("the API server refused it: {}", refusal.message)
}
