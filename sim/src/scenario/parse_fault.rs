//! Reading faults: a map with exactly one fault's word.

use ivory_core::Kind;

use super::fields::{Fields, flag, number, span, text, unknown};
use super::language::{Cutting, Fault, Flow, Place, Sick, Whose};
use super::node::{Bad, Node, Tree};
use super::parse_expect::target;
use super::parse_steps::kind;
use super::target::{Member, Target};
use super::words::{Group, words};
use crate::patroni::fault::LATE_MAX_S;
use crate::time::Span;

/// How long Patroni can be stopped at most: what a member's timers can say.
const HANG_MAX_S: f64 = 255.0;

pub(super) fn fault(node: &Node) -> Result<Fault, Bad> {
    let known = words(Group::Fault);
    let fields = Fields::of(node, "`fault`", &known)?;
    let mut found = known.iter().filter(|w| fields.get(w).is_some());
    let (Some(&word), None) = (found.next(), found.next()) else {
        return Err(node.bad(format!("`fault` needs exactly one of {}", known.join(", "))));
    };
    let inner = fields.need(word)?;
    Ok(match word {
        "kill_pod" => Fault::KillPod(pod(inner)?),
        "kill_container" => {
            let (pod, container) = container_of(inner, "`kill_container`")?;
            Fault::KillContainer { pod, container }
        }
        "oom" => {
            let (pod, container) = container_of(inner, "`oom`")?;
            Fault::OutOfMemory { pod, container }
        }
        "kill_backend" => Fault::KillBackend(pod(inner)?),
        "pause_node" => {
            let fields = Fields::of(inner, "`pause_node`", &["node", "for"])?;
            let how_long = hang(fields.need("for")?)?;
            Fault::PauseNode { node: node_place(fields.need("node")?)?, how_long }
        }
        "clock" => {
            let fields = Fields::of(inner, "`clock`", &["node", "ahead", "behind"])?;
            let ahead = [
                fields.maybe("ahead", span)?,
                fields.maybe("behind", |n| span(n).map(|s| Span(-s.0)))?,
            ];
            let ahead = only(inner, ahead, "`clock` needs one of `ahead`, `behind`")?;
            Fault::Clock { node: nodes(fields.need("node")?)?, ahead }
        }
        "dns" => Fault::Dns(up(inner)?),
        "upgrade" => match inner.as_text() {
            Some("operator") => Fault::UpgradeOperator,
            _ => return Err(inner.wrong("operator")),
        },
        "crash_node" => Fault::CrashNode(node_place(inner)?),
        "restart_node" => Fault::RestartNode(nodes(inner)?),
        "lose_node" if inner.as_text().is_some() => {
            Fault::LoseNode { node: node_place(inner)?, volumes: false }
        }
        "lose_node" => {
            let fields = Fields::of(inner, "`lose_node`", &["node", "volumes"])?;
            Fault::LoseNode {
                node: node_place(fields.need("node")?)?,
                volumes: fields.or("volumes", flag, false)?,
            }
        }
        "partition" => match &inner.tree {
            Tree::List(items) => match items.as_slice() {
                [a, b] => Fault::Partition(place(a)?, place(b)?),
                _ => return Err(inner.wrong("a list of two places")),
            },
            _ => return Err(inner.wrong("a list of two places")),
        },
        "heal" => match inner.as_text() {
            Some("network") => Fault::HealNetwork,
            _ => return Err(inner.wrong("network")),
        },
        "api_outage" => Fault::ApiOutage(span(inner)?),
        "lose_volume" => Fault::LoseVolume(claim(inner)?),
        "disk" => {
            let fields = Fields::of(inner, "`disk`", &["of", "full", "read_only", "slow"])?;
            let sick = [
                fields.maybe("full", |n| flag(n).map(Sick::Full))?,
                fields.maybe("read_only", |n| flag(n).map(Sick::ReadOnly))?,
                fields.maybe("slow", |n| span(n).map(Sick::Slow))?,
            ];
            let is = only(inner, sick, "`disk` needs one of `full`, `read_only`, `slow`")?;
            Fault::Disk { of: claim(fields.need("of")?)?, is }
        }
        "operator" => Fault::Operator(up(inner)?),
        "messages" => messages(inner)?,
        "lag" => Fault::Lag(span(inner)?),
        "drain" => Fault::Drain(node_place(inner)?),
        "uncordon" => Fault::Uncordon(nodes(inner)?),
        "hang_patroni" => {
            let fields = Fields::of(inner, "`hang_patroni`", &["of", "for"])?;
            let how_long = hang(fields.need("for")?)?;
            Fault::HangPatroni { pod: pod(fields.need("of")?)?, how_long }
        }
        "replication" => {
            let fields = Fields::of(inner, "`replication`", &["of", "flows", "late"])?;
            let flow = [
                fields.maybe("flows", |n| flag(n).map(Flow::Flows))?,
                fields.maybe("late", |n| late(n).map(Flow::Late))?,
            ];
            let how = only(inner, flow, "`replication` needs one of `flows`, `late`")?;
            Fault::Replication { pod: pod(fields.need("of")?)?, how }
        }
        "kill_postgres" => Fault::KillPostgres(pod(inner)?),
        "refuse" => {
            let fields = Fields::of(inner, "`refuse`", &["kind", "updates", "because", "for"])?;
            Fault::Refuse {
                kind: kind(fields.need("kind")?)?,
                updates: fields.or("updates", flag, false)?,
                because: fields.or("because", text, "exceeded quota".to_owned())?,
                how_long: span(fields.need("for")?)?,
            }
        }
        "second_operator" => Fault::SecondOperator(up(inner)?),
        _ => {
            let fields = Fields::of(inner, "`images`", &["failing", "working"])?;
            let image = |word: &str, fail: bool| {
                fields.maybe(word, |n| text(n).map(|image| Fault::Images { image, fail }))
            };
            match (image("failing", true)?, image("working", false)?) {
                (Some(one), None) | (None, Some(one)) => one,
                _ => return Err(inner.bad("`images` needs `failing` or `working`")),
            }
        }
    })
}

/// The one of several that is there.
fn only<T, const N: usize>(node: &Node, of: [Option<T>; N], what: &str) -> Result<T, Bad> {
    let mut there = of.into_iter().flatten();
    match (there.next(), there.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(node.bad(what)),
    }
}

/// How long a process or a machine stands still.
fn hang(node: &Node) -> Result<Span, Bad> {
    let how_long = span(node)?;
    if how_long.seconds() > HANG_MAX_S || how_long.seconds() < 1.0 {
        return Err(node.wrong("between 1s and 255s"));
    }
    Ok(how_long)
}

fn late(node: &Node) -> Result<Span, Bad> {
    let late = span(node)?;
    if late > Span::s(LATE_MAX_S.into()) || late.0 % 1_000_000 != 0 {
        return Err(node.wrong("whole seconds, at most 10000"));
    }
    Ok(late)
}

fn up(node: &Node) -> Result<bool, Bad> {
    match (&node.tree, node.as_text()) {
        (_, Some("up")) | (Tree::Bool(true), _) => Ok(true),
        (_, Some("down")) | (Tree::Bool(false), _) => Ok(false),
        _ => Err(node.wrong("up or down")),
    }
}

fn messages(node: &Node) -> Result<Fault, Bad> {
    let fields = Fields::of(node, "`messages`", &["of", "are", "every", "for"])?;
    let one_of = |node: &Node, what: &str, known: &[&str]| -> Result<usize, Bad> {
        let word = text(node)?;
        let found = known.iter().position(|k| *k == word);
        found.ok_or_else(|| node.bad(unknown(what, &word, known)))
    };
    let whose = match fields.get("of") {
        None => Whose::Operator,
        Some(node) => {
            let names: Vec<&str> = Whose::ALL.iter().map(|w| w.word()).collect();
            Whose::ALL[one_of(node, "sender", &names)?]
        }
    };
    let names: Vec<&str> = Cutting::ALL.iter().map(|c| c.word()).collect();
    let cutting = Cutting::ALL[one_of(fields.need("are")?, "cut", &names)?];
    let every = fields.or("every", number, 1)?;
    Ok(Fault::Messages {
        whose,
        cutting,
        every: u32::try_from(every).unwrap_or(u32::MAX).max(1),
        how_long: span(fields.need("for")?)?,
    })
}

fn claim(node: &Node) -> Result<Target, Bad> {
    match target(node)? {
        claim @ (Target::It
        | Target::Named(Kind::PersistentVolumeClaim, _)
        | Target::Of(Kind::PersistentVolumeClaim, _)) => Ok(claim),
        _ => Err(node.wrong("a claim, such as `PersistentVolumeClaim of replica`")),
    }
}

fn pod(node: &Node) -> Result<Target, Bad> {
    let found = target(node)?;
    match found {
        Target::It | Target::Named(Kind::Pod, _) | Target::Of(Kind::Pod, _) => Ok(found),
        _ => Err(node.wrong("a Pod, such as `primary` or `replica`")),
    }
}

/// A container of a Pod, the database's if none is named.
fn container_of(node: &Node, word: &str) -> Result<(Target, String), Bad> {
    let fields = Fields::of(node, word, &["of", "container"])?;
    Ok((pod(fields.need("of")?)?, fields.or("container", text, "database".to_owned())?))
}

/// One node, or `every node`.
fn nodes(node: &Node) -> Result<Place, Bad> {
    match node.as_text() {
        Some("every node") => Ok(Place::EveryNode),
        _ => node_place(node),
    }
}

fn node_place(node: &Node) -> Result<Place, Bad> {
    match place(node)? {
        found @ (Place::Node(_) | Place::NodeOf(_)) => Ok(found),
        _ => Err(node.wrong("a node: its name, or `node of primary`")),
    }
}

fn place(node: &Node) -> Result<Place, Bad> {
    let text = text(node)?;
    Ok(match text.as_str() {
        "control-plane" => Place::ControlPlane,
        "outside" => Place::Outside,
        other => match other.strip_prefix("node of ").or_else(|| other.strip_prefix("Node of ")) {
            Some(member) => Place::NodeOf(Member::parse(member).map_err(|m| node.bad(m))?),
            None if other.contains(char::is_whitespace) => {
                return Err(node.wrong("a node's name, `node of …`, control-plane or outside"));
            }
            None => Place::Node(other.to_owned()),
        },
    })
}
