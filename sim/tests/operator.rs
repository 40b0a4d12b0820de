//! The operator alone with an API server: what it makes of a manifest before anything runs.

use std::sync::Arc;

use ivory_core::context::Config;
use ivory_core::{Kind, Object, api};
use ivory_sim::kube::{ApiServer, Request, Verb};
use ivory_sim::operator::Operator;
use ivory_sim::promises::Checkers;
use ivory_sim::time::Span;
use ivory_sim::world::{ActorId, Kube, KubeId, World};

const HIPPO: &str = include_str!("../../examples/kustomize/ivory/ivory.yaml");

fn create(world: &mut World, kube: KubeId, object: Object, uid: u128) {
    let now = world.now().timestamp();
    let mut uids = || uid;
    let request = Request::new("kubectl", Verb::Create(Arc::new(object)));
    world.kube_mut(kube).api.handle(now, &mut uids, &request).expect("created");
}

/// A world with one cluster, and nothing that runs.
fn site() -> (World, KubeId) {
    let mut world = World::new(1);
    let kube = world.add_kube(Kube::new(ApiServer::new()));
    create(&mut world, kube, Object::from_value(api::crd_ivorycluster()).expect("a CRD"), 1);
    create(&mut world, kube, Object::new(Kind::Namespace, "", "ivory-operator"), 2);
    let hippo: serde_json::Value = serde_saphyr::from_str(HIPPO).expect("YAML");
    let mut hippo = Object::from_value(hippo).expect("an IvoryCluster");
    hippo.meta.namespace = "ivory-operator".into();
    create(&mut world, kube, hippo, 3);
    (world, kube)
}

/// Starts an operator with images of a release.
fn start(world: &mut World, kube: KubeId, name: &str, release: u32) -> ActorId {
    let images = ["RELATED_IMAGE_IVORY_18", "RELATED_IMAGE_PGBACKREST"];
    let images = images.map(|v| (v.to_owned(), format!("registry.example/image:{release}")));
    let config = Config { images: images.into(), ..Config::default() };
    world.spawn(kube, Arc::new(Operator::new(name, config)), None, None)
}

#[test]
fn it_makes_the_objects_of_a_cluster_and_then_is_quiet() {
    let (mut world, kube) = site();
    world.watch_with(Arc::new(Checkers::default()));
    let operator = start(&mut world, kube, "operator", 1);
    world.advance(Span::s(20));
    let state = world.actor::<Operator>(operator).expect("alive");
    assert!(world.findings().is_empty(), "{:?}", world.findings());
    let api = &world.kube(kube).api;
    let count = |kind| api.list(kind, Some("ivory-operator")).count();
    for (kind, expected) in [
        (Kind::StatefulSet, 2),
        (Kind::Service, 5),
        (Kind::PersistentVolumeClaim, 2),
        (Kind::ServiceAccount, 2),
        (Kind::Secret, 6),
    ] {
        assert_eq!(count(kind), expected, "{kind}");
    }
    let before = state.writes;
    world.advance(Span::s(600));
    let state = world.actor::<Operator>(operator).expect("alive");
    assert_eq!(state.writes, before, "quiet");
}

#[test]
fn two_of_different_releases_undo_each_other_once_a_second_at_most() {
    let (mut world, kube) = site();
    let both = [("operator", 1), ("another", 2)].map(|(name, r)| start(&mut world, kube, name, r));
    let writes = |world: &World| -> u64 {
        both.iter().filter_map(|id| world.actor::<Operator>(*id)).map(|o| o.writes).sum()
    };
    // What may follow without a pause is over.
    world.advance(Span::s(60));
    let before = writes(&world);
    world.advance(Span::s(100));
    let more = writes(&world) - before;
    assert!((100..1000).contains(&more), "{more} writes in 100 s");
}
