//! x
use std::sync::Arc;
use ivory_core::Object;
use ivory_sim::kube::{Request, Verb};
use ivory_sim::lab::Lab;

use ivory_sim::time::Span;
const HIPPO: &str = include_str!("../../examples/kustomize/ivory/ivory.yaml");
#[test]
fn lab() {
    let mut lab = Lab::new(&ivory_sim::scenario::parse::default_world());
    let kube = lab.kubes[0];
    let hippo: serde_json::Value = serde_saphyr::from_str(HIPPO).expect("YAML");
    let mut hippo = Object::from_value(hippo).expect("an IvoryCluster");
    hippo.meta.namespace = "ivory-operator".into();
    let operator = lab.operator(kube).unwrap();
    lab.world.submit(operator, kube, Request::new("kubectl", Verb::Create(Arc::new(hippo))));
    let t = std::time::Instant::now();
    lab.world.advance(Span::s(60));
    println!("60 s took {:?}, inputs {}", t.elapsed(), lab.world.trace.inputs());
    for entry in lab.world.journal() {
        println!("{} {} {:?}", entry.at, entry.actor, entry.what);
    }
    for e in lab.world.kube(kube).api.list(ivory_core::Kind::Event, None) { println!("{:?}", e.str_at(&["message"])); }
    let p = lab.world.kube(kube).api.list(ivory_core::Kind::Pod, None).last().unwrap();
    println!("{}", p.at(&["status"]).unwrap());
    let t = std::time::Instant::now();
    lab.world.advance(Span::s(600));
    println!("600 s took {:?}, inputs {}", t.elapsed(), lab.world.trace.inputs());
}
