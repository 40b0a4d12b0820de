//! From a file to a [`Scenario`]: the top of the file and its world. Steps are read in `parse_steps.rs`,
//! expectations in `parse_expect.rs`.

#![expect(
    clippy::disallowed_methods,
    reason = "stories are read from files, before a world begins"
)]

use std::path::Path;

use super::fields::{Fields, flag, map_of, number, one_or_many, seconds, text};
use super::language::{Finale, KubeSpec, NodeSpec, Scenario, StorageSpec, WorldSpec};
use super::manifests;
use super::node::{Bad, InputError, Node, Tree, document};
use super::parse_expect::expectations_of;
use super::parse_steps::steps;
use super::words::{Group, words, words_of};
use crate::patroni::config::Version;

/// What reading a step needs to know.
pub(super) struct Ctx<'a> {
    /// The folder of the scenario's file, from which the files of `apply` are looked up.
    pub folder: &'a Path,
    /// The names of the Kubernetes clusters.
    pub kubes: Vec<String>,
    /// The namespace of manifests that name none.
    pub namespace: String,
}

/// Reads a scenario from a file.
///
/// # Errors
/// One error with its place: the file can't be read, is no YAML, or says something unknown.
pub fn load(path: &Path) -> Result<Scenario, InputError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| InputError::whole(&file, format!("can't be read: {e}")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    parse(&file, folder, &text)
}

/// Reads a scenario from text. `folder` is where the files of `apply` are looked up: there, then in
/// every folder above.
///
/// # Errors
/// One error with its place.
pub fn parse(file: &str, folder: &Path, text: &str) -> Result<Scenario, InputError> {
    scenario(file, folder, text).map_err(|bad| bad.of(file))
}

fn scenario(file: &str, folder: &Path, source: &str) -> Result<Scenario, Bad> {
    let root = document(source)?;
    let top = Fields::of(&root, "a scenario", &words(Group::Top))?;
    let description = text(top.need("description")?)?;
    if description.trim().is_empty() {
        return Err(top.need("description")?.bad("a story needs words"));
    }
    let world = match top.get("world") {
        Some(node) => world(node, folder)?,
        None => default_world(),
    };
    let cluster = top.or("cluster", text, "hippo".to_owned())?;
    let namespace = top.or("namespace", text, "ivory-operator".to_owned())?;
    let ctx = Ctx {
        folder,
        kubes: world.kubes.iter().map(|k| k.name.clone()).collect(),
        namespace: namespace.clone(),
    };
    let steps = steps(&ctx, top.need("steps")?)?;
    let finale = top.or("expect", finale, Finale::default())?;
    let name = Path::new(file).file_stem().unwrap_or_default();
    Ok(Scenario {
        name: name.to_string_lossy().into_owned(),
        file: file.to_owned(),
        description: description.trim().to_owned(),
        world,
        cluster,
        namespace,
        steps,
        finale,
    })
}

fn finale(node: &Node) -> Result<Finale, Bad> {
    let known = words_of(&[Group::Final, Group::Expectation]);
    let fields = Fields::of(node, "the final `expect`", &known)?;
    let own = words(Group::Final);
    Ok(Finale {
        at: node.at,
        all: expectations_of(node, &own)?,
        write_gap_s: fields.maybe("write_gap_s", seconds)?,
        lost_rows: fields.maybe("lost_rows", number)?,
        writes_when_quiet: fields.maybe("writes_when_quiet", number)?,
        writes: fields.maybe("writes", number)?,
    })
}

/// The world of a scenario that says nothing about it.
#[must_use]
pub fn default_world() -> WorldSpec {
    WorldSpec { seed: 1, patroni: Version::BASELINE, kubes: vec![default_kube("main")] }
}

fn default_kube(name: &str) -> KubeSpec {
    KubeSpec {
        name: name.to_owned(),
        nodes: plain_nodes(3),
        storage: vec![StorageSpec {
            name: "standard".to_owned(),
            expands: true,
            waits_for_pod: true,
        }],
        ..KubeSpec::default()
    }
}

fn world(node: &Node, folder: &Path) -> Result<WorldSpec, Bad> {
    let known = words_of(&[Group::World, Group::Kubernetes]);
    let fields = Fields::of(node, "`world`", &known)?;
    let mut world = default_world();
    world.seed = fields.or("seed", number, world.seed)?;
    world.patroni = fields.or("patroni", patroni, world.patroni)?;
    match fields.get("kubernetes") {
        None => world.kubes = vec![kube("main", node, folder, &known)?],
        Some(kubes) => {
            let Tree::Map(map) = &kubes.tree else {
                return Err(kubes.wrong("a map from names to Kubernetes clusters"));
            };
            if let Some(word) = words(Group::Kubernetes).iter().find_map(|w| fields.get(w)) {
                return Err(word.bad("with `kubernetes`, this belongs into one of them"));
            }
            if map.is_empty() || map.len() > 8 {
                return Err(kubes.bad("a world has one to eight Kubernetes clusters"));
            }
            let read = |(key, node): &(super::node::Key, Node)| {
                kube(&key.text, node, folder, &words(Group::Kubernetes))
            };
            world.kubes = map.iter().map(read).collect::<Result<_, _>>()?;
        }
    }
    Ok(world)
}

fn patroni(node: &Node) -> Result<Version, Bad> {
    let version = match &node.tree {
        Tree::Int(major) => Version::parse(&major.to_string()),
        Tree::Text(version) => Version::parse(version),
        _ => None,
    };
    version.ok_or_else(|| node.wrong("3, 4 or a version like 4.0.7"))
}

fn kube(name: &str, node: &Node, folder: &Path, known: &[&str]) -> Result<KubeSpec, Bad> {
    let mut kube = default_kube(name);
    if node.tree == Tree::Null {
        return Ok(kube);
    }
    let fields = Fields::of(node, "a Kubernetes", known)?;
    kube.nodes = fields.or("nodes", nodes, kube.nodes)?;
    kube.storage = fields.or("storage", |n| one_or_many(n, storage), kube.storage)?;
    let names = |n| one_or_many(n, text);
    kube.images_failing = fields.or("images_failing", names, Vec::new())?;
    kube.buckets = fields.or("buckets", names, Vec::new())?;
    kube.objects = fields.or("objects", |n| objects(n, folder), Vec::new())?;
    Ok(kube)
}

/// The objects of a file, as another operator left them.
fn objects(node: &Node, folder: &Path) -> Result<Vec<serde_json::Value>, Bad> {
    let found = manifests::look_up(folder, &text(node)?).map_err(|m| node.bad(m))?;
    let found = manifests::load(&found).map_err(|e| node.bad(e.to_string()))?;
    Ok(found.iter().map(manifests::Manifest::value).collect())
}

/// So many equal nodes, in zones `a`, `b` and `c` by turns.
#[must_use]
pub fn plain_nodes(count: u64) -> Vec<NodeSpec> {
    (1..=count).map(plain_node).collect()
}

fn plain_node(number: u64) -> NodeSpec {
    let zone = ["c", "a", "b"][usize::try_from(number % 3).unwrap_or(0)];
    NodeSpec {
        name: format!("node{number}"),
        zone: zone.to_owned(),
        cpu: "4".to_owned(),
        memory: "16Gi".to_owned(),
        labels: std::collections::BTreeMap::new(),
        taints: Vec::new(),
    }
}

fn nodes(node: &Node) -> Result<Vec<NodeSpec>, Bad> {
    match &node.tree {
        Tree::Int(count @ 1..=100) => Ok(plain_nodes(count.unsigned_abs())),
        Tree::List(items) if !items.is_empty() => {
            let numbered = (1..).zip(items);
            numbered.map(|(number, n)| one_node(number, n)).collect()
        }
        _ => Err(node.wrong("a number from 1 to 100, or a list of nodes")),
    }
}

fn one_node(number: u64, node: &Node) -> Result<NodeSpec, Bad> {
    const KNOWN: &[&str] = &["name", "zone", "cpu", "memory", "labels", "taints"];
    let fields = Fields::of(node, "a node", KNOWN)?;
    let plain = plain_node(number);
    Ok(NodeSpec {
        name: fields.or("name", text, plain.name)?,
        zone: fields.or("zone", text, plain.zone)?,
        cpu: fields.or("cpu", text, plain.cpu)?,
        memory: fields.or("memory", text, plain.memory)?,
        labels: fields.or("labels", |n| map_of(n, text), plain.labels)?,
        taints: fields.or("taints", |n| one_or_many(n, taint), plain.taints)?,
    })
}

fn taint(node: &Node) -> Result<serde_json::Value, Bad> {
    let fields = Fields::of(node, "a taint", &["key", "value", "effect"])?;
    fields.need("key")?;
    let effect = text(fields.need("effect")?)?;
    const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !EFFECTS.contains(&effect.as_str()) {
        let message = super::fields::unknown("effect", &effect, EFFECTS);
        return Err(fields.need("effect")?.bad(message));
    }
    Ok(node.value())
}

fn storage(node: &Node) -> Result<StorageSpec, Bad> {
    let fields = Fields::of(node, "a storage class", &["name", "expands", "waits_for_pod"])?;
    Ok(StorageSpec {
        name: text(fields.need("name")?)?,
        expands: fields.or("expands", flag, true)?,
        waits_for_pod: fields.or("waits_for_pod", flag, true)?,
    })
}
