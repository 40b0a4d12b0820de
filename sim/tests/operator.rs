//! The operator alone with an API server: what it makes of a manifest before anything runs.

use std::sync::Arc;

use ivory_core::context::Config;
use ivory_core::{Kind, Object, api};
use ivory_sim::kube::{ApiServer, Request, Verb};
use ivory_sim::operator::Operator;
use ivory_sim::promises::Checkers;
use ivory_sim::time::Span;
use ivory_sim::world::{Kube, KubeId, World};

const HIPPO: &str = include_str!("../../examples/kustomize/ivory/ivory.yaml");

fn create(world: &mut World, kube: KubeId, object: Object, uid: u128) {
    let now = world.now().timestamp();
    let mut uids = || uid;
    let request = Request::new("kubectl", Verb::Create(Arc::new(object)));
    world.kube_mut(kube).api.handle(now, &mut uids, &request).expect("created");
}

#[test]
fn it_makes_the_objects_of_a_cluster_and_then_is_quiet() {
    let mut world = World::new(1);
    let kube = world.add_kube(Kube::new(ApiServer::new()));
    create(&mut world, kube, Object::from_value(api::crd_ivorycluster()).expect("a CRD"), 1);
    create(&mut world, kube, Object::new(Kind::Namespace, "", "ivory-operator"), 2);
    let hippo: serde_json::Value = serde_saphyr::from_str(HIPPO).expect("YAML");
    let mut hippo = Object::from_value(hippo).expect("an IvoryCluster");
    hippo.meta.namespace = "ivory-operator".into();
    create(&mut world, kube, hippo, 3);
    world.watch_with(Arc::new(Checkers::default()));
    let images = ["RELATED_IMAGE_IVORY_18", "RELATED_IMAGE_PGBACKREST"];
    let images = images.map(|v| (v.to_owned(), "registry.example/image:1".to_owned()));
    let config = Config { images: images.into(), ..Config::default() };
    let operator = world.spawn(kube, Arc::new(Operator::new("operator", config)), None, None);
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
