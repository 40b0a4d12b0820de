//! A whole world from a few words: Kubernetes clusters with their control planes and nodes, the custom
//! resources, and an operator in each. What is in it is the actors' business.

mod left;
pub mod site;
pub mod steady;

use std::sync::{Arc, OnceLock};

use ivory_core::context::Config;
use ivory_core::{Kind, Object, api};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controllers;
use crate::kube::{ApiServer, Request, Verb};
use crate::node::{self, NodeConfig, Programs};
use crate::operator::Operator;
use crate::patroni::config::Version;
use crate::patroni::programs::DatabasePrograms;
use crate::promises::Checkers;
use crate::scenario::language::{KubeSpec, StorageSpec, WorldSpec};
use crate::time::{Span, Time};
use crate::world::{ActorId, Kube, KubeId, World};

/// The namespace in which the operator lives, and clusters unless they say otherwise.
pub const NAMESPACE: &str = "ivory-operator";
/// The operator's name as an actor.
pub const OPERATOR: &str = "operator";
/// What makes volumes of every storage class.
const CLASS_DRIVER: &str = "sim.ivorysql.org/disk";
/// How much fits into an object store.
const BUCKET_BYTES: u64 = 1 << 40;
/// How long a control plane and its nodes take to settle before anything is asked of them.
const SETTLES: Span = Span::s(5);

/// A world, ready for users.
#[derive(Clone)]
pub struct Lab {
    /// The world.
    pub world: World,
    /// Its Kubernetes clusters, in the order of the specification.
    pub kubes: Vec<KubeId>,
}

impl Lab {
    /// Builds a world and lets it settle.
    ///
    /// # Panics
    /// When objects that were there before are refused; [`Lab::built`] says why.
    #[must_use]
    pub fn new(spec: &WorldSpec) -> Self {
        Self::built(spec).expect("what was there before is valid")
    }

    /// Builds a world and lets it settle.
    ///
    /// # Errors
    /// In words, when objects that were there before are refused.
    pub fn built(spec: &WorldSpec) -> Result<Self, String> {
        let mut world = World::new(spec.seed);
        let mut kubes = Vec::new();
        for kube in &spec.kubes {
            kubes.push(build(&mut world, kube, spec.patroni)?);
        }
        world.watch_with(Arc::new(Checkers::default()));
        world.advance(SETTLES);
        Ok(Self { world, kubes })
    }

    /// The operator of a Kubernetes, while it runs.
    #[must_use]
    pub fn operator(&self, kube: KubeId) -> Option<ActorId> {
        self.world.find(kube, OPERATOR)
    }
}

/// The operator's settings: images as the release names them.
#[must_use]
pub fn config() -> Config {
    config_of(0)
}

/// The settings of a release that so many came before: each brings newer images.
#[must_use]
pub fn config_of(release: u32) -> Config {
    let image = |name: &str| {
        let name = name.strip_suffix('1').unwrap_or(name);
        format!("docker.io/ivorysql/{name}{}", release + 1)
    };
    let images = [
        ("RELATED_IMAGE_IVORY_18", image("ivorysql:ubi9-5.4-5.4-1")),
        ("RELATED_IMAGE_IVORY_18_GIS_3.5", image("ivorysql-postgis:ubi9-3.5-5.4-1")),
        ("RELATED_IMAGE_PGBACKREST", image("pgbackrest:ubi9-2.58.0-5.4-1")),
        ("RELATED_IMAGE_PGBOUNCER", image("pgbouncer:ubi9-1.25.2-5.4-1")),
        ("RELATED_IMAGE_PGEXPORTER", image("postgres-exporter:ubi9-0.17.0-5.4-1")),
        ("RELATED_IMAGE_PGADMIN", image("pgadmin:ubi9-9.11-5.4-1")),
    ];
    let images = images.into_iter().map(|(name, image)| (name.to_owned(), image)).collect();
    Config { images, ..Config::default() }
}

fn build(world: &mut World, spec: &KubeSpec, patroni: Version) -> Result<KubeId, String> {
    let mut kube = Kube::new(ApiServer::new());
    for image in &spec.images_failing {
        kube.registry.withhold(image);
    }
    let id = world.add_kube(kube);
    furnish(world, id, spec)?;
    controllers::spawn_all(world, id);
    node::spawn_scheduler(world, id);
    let programs = DatabasePrograms { patroni, ..DatabasePrograms::default() };
    let programs: Arc<dyn Programs> = Arc::new(programs);
    for (number, node) in (1..).zip(&spec.nodes) {
        let config = NodeConfig {
            zone: node.zone.clone(),
            cpu: node.cpu.clone(),
            memory: node.memory.clone(),
            labels: node.labels.clone(),
            taints: node.taints.clone(),
            ..NodeConfig::new(&node.name, number)
        };
        node::spawn_node(world, id, config, programs.clone());
    }
    if spec.objects.is_empty() {
        world.spawn(id, Arc::new(Operator::new(OPERATOR, config())), None, None);
    }
    Ok(id)
}

/// Puts there what a cluster's administrator has put there before.
fn furnish(world: &mut World, kube: KubeId, spec: &KubeSpec) -> Result<(), String> {
    for name in ["default", "kube-system", "kube-node-lease", NAMESPACE] {
        create(world, kube, Object::new(Kind::Namespace, "", name));
    }
    for definition in definitions() {
        before_time(world, kube, |api, _, uids| api.adopt_definition(definition, uids));
    }
    for (index, class) in spec.storage.iter().enumerate() {
        if let Ok(class) = Object::from_value(storage_class(class, index == 0)) {
            create(world, kube, class);
        }
    }
    for bucket in &spec.buckets {
        let volume = crate::disk::Volume::of(BUCKET_BYTES);
        world.kube_mut(kube).add_volume(&format!("bucket:{bucket}"), volume);
    }
    left::populate(world, kube, &spec.objects)
}

/// The custom resources, as an API server stores them when time begins; made once, since they are large and
/// always the same.
fn definitions() -> &'static [Arc<Object>] {
    static DEFINITIONS: OnceLock<Vec<Arc<Object>>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let mut api = ApiServer::new();
        for crd in [api::crd_ivorycluster(), api::crd_ivyupgrade()] {
            let created = Object::from_value(crd).map(|crd| {
                let request = Request::new("kubectl", Verb::Create(Arc::new(crd)));
                api.handle(Time::START.timestamp(), &mut || 0, &request)
            });
            debug_assert!(matches!(created, Ok(Ok(_))), "{created:?}");
        }
        api.list(Kind::CustomResourceDefinition, None).cloned().collect()
    })
}

fn storage_class(class: &StorageSpec, default: bool) -> Value {
    let mode = if class.waits_for_pod { "WaitForFirstConsumer" } else { "Immediate" };
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": class.name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()},
        },
        "provisioner": CLASS_DRIVER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": mode,
        "allowVolumeExpansion": class.expands,
    })
}

/// Creates an object before time begins.
fn create(world: &mut World, kube: KubeId, object: Object) {
    let name = object.full_name();
    let request = Request::new("kubectl", Verb::Create(Arc::new(object)));
    let done = before_time(world, kube, |api, now, uids| api.handle(now, uids, &request));
    debug_assert!(done.is_ok(), "{name}: {done:?}");
}

/// Does something to an API server before time begins.
fn before_time<T>(
    world: &mut World,
    kube: KubeId,
    work: impl FnOnce(&mut ApiServer, Timestamp, &mut dyn FnMut() -> u128) -> T,
) -> T {
    let now = world.now().timestamp();
    let label = format!("uid/{}", kube.0);
    let mut stream = world.streams.stream(&label).clone();
    let done = work(&mut world.kube_mut(kube).api, now, &mut || stream.u128());
    *world.streams.stream(&label) = stream;
    done
}
