//! Services, and the Endpoints that lead from the primary Service to the leader.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::build::services;
use crate::cluster::Cluster;
use crate::kind::Kind;
use crate::names;
use crate::object::Object;
use crate::pass::Pass;
use crate::read::Read;
use crate::report::{Reason, Step};

/// Builds a Service.
type Builder = fn(&Cluster) -> Object;

/// All Services of a cluster.
const BUILDERS: [(&str, Builder); 5] = [
    ("pods", services::pods),
    ("leader", services::leader),
    ("leader config", services::leader_config),
    ("primary", services::primary),
    ("replicas", services::replicas),
];

/// The Services as the spec wants them.
pub fn ensure(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    for desired in wanted(pass) {
        foreign_fields(pass, &desired);
        pass.ensure_shared(Step::Services, desired);
    }
    primary_endpoints(pass);
    for name in [names::scope(&cluster.name), names::scope_config(&cluster.name)] {
        patroni_endpoints(pass, &name);
    }
}

/// The Services, built.
fn wanted(pass: &mut Pass<'_>) -> [Arc<Object>; 5] {
    let cluster = pass.cluster;
    BUILDERS.map(|(name, build)| pass.memo.built(format!("service {name}"), || build(cluster)))
}

/// While the spec can't be followed: Services that are missing come back, for the databases run, and the others stay as
/// they are.
pub fn restore(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    for desired in wanted(pass) {
        if matches!(pass.observed.find(Kind::Service, &desired.meta.name), Read::Absent) {
            pass.ensure_shared(Step::Services, desired);
        }
    }
    let leader = pass.observed.find(Kind::Service, &names::scope(&cluster.name));
    let address = leader.known().and_then(|s| s.str_at(&["spec", "clusterIP"]));
    let leads_to = |o: &Object| {
        let first = o.at(&["subsets"]).and_then(|s| s.pointer("/0/addresses/0/ip"));
        first.and_then(Value::as_str) == address
    };
    match pass.observed.find(Kind::Endpoints, &names::primary_service(&cluster.name)) {
        Read::Known(primary) if address.is_none() || leads_to(primary) => {}
        Read::Unknown(_) => {}
        Read::Known(_) | Read::Absent => primary_endpoints(pass),
    }
}

/// An apply leaves what strangers added. A selector is more than they may add: with it Kubernetes itself
/// would choose where the Service leads, in Patroni's place (`reference/reconcile.md` §1.12). A port is, too: with one
/// that has no name beside it, ours can't be applied any more.
fn foreign_fields(pass: &mut Pass<'_>, desired: &Object) {
    let Read::Known(live) = pass.observed.find(Kind::Service, &desired.meta.name) else { return };
    if live.terminating() || !live.controlled_by(&pass.cluster.uid) {
        return;
    }
    let (mut spec, mut fields) = (Map::new(), Vec::new());
    if let Some((selector, keys)) = foreign_selector(live, desired) {
        spec.insert("selector".into(), selector);
        fields.extend(keys);
    }
    if let Some(ports) = foreign_ports(live, desired) {
        spec.insert("ports".into(), ports);
        fields.push(".spec.ports".into());
    }
    if spec.is_empty() {
        return;
    }
    let (kind, name) = (live.kind, live.meta.name.to_string());
    let reason = Reason::Drifted { kind, name, fields };
    pass.patch_as_read(Step::Services, reason, live, json!({"spec": spec}));
}

/// What takes the foreign keys out of a selector, and their names; none if there are none.
fn foreign_selector(live: &Object, desired: &Object) -> Option<(Value, Vec<String>)> {
    let wanted = desired.at(&["spec", "selector"]).and_then(Value::as_object);
    let found = live.at(&["spec", "selector"]).and_then(Value::as_object)?;
    let strange = found.iter().filter(|(key, _)| wanted.is_none_or(|w| !w.contains_key(*key)));
    let nulls: Map<String, Value> = strange.map(|(key, _)| (key.clone(), Value::Null)).collect();
    if nulls.is_empty() {
        return None;
    }
    let keys = nulls.keys().map(|k| format!(".spec.selector.{k}")).take(3).collect();
    Some((if wanted.is_some() { Value::Object(nulls) } else { Value::Null }, keys))
}

/// Our ports alone, as they are there or else as they should be; none if there are no others.
fn foreign_ports(live: &Object, desired: &Object) -> Option<Value> {
    let list = |o: &Object| o.at(&["spec", "ports"]).and_then(Value::as_array).cloned();
    let key = |p: &Value| (p["port"].as_i64(), p["protocol"].as_str().unwrap_or("TCP").to_owned());
    let (wanted, found) = (list(desired)?, list(live)?);
    let ours = |port: &Value| wanted.iter().any(|w| key(w) == key(port));
    if found.iter().all(ours) {
        return None;
    }
    let there = |w: &Value| found.iter().find(|f| key(f) == key(w)).unwrap_or(w).clone();
    Some(wanted.iter().map(there).collect())
}

/// The leader Service has its address only once the API server made it.
fn primary_endpoints(pass: &mut Pass<'_>) {
    let leader = names::scope(&pass.cluster.name);
    let service = match pass.observed.find(Kind::Service, &leader) {
        Read::Known(service) => service,
        Read::Absent => {
            let text = format!("Service {leader} has no address yet");
            return pass.wait(Step::Services, "ServicePending", text);
        }
        Read::Unknown(_) => return pass.unreadable(Step::Services, format!("Service {leader}")),
    };
    if !service.controlled_by(&pass.cluster.uid) {
        return;
    }
    match service.str_at(&["spec", "clusterIP"]).filter(|ip| !ip.is_empty() && *ip != "None") {
        Some(ip) => {
            let (cluster, input) = (pass.cluster, format!("primary endpoints {ip}"));
            pass.ensure_built(Step::Services, input, || services::primary_endpoints(cluster, ip));
        }
        None => pass.wait(
            Step::Services,
            "ServicePending",
            format!("Service {leader} has no address yet"),
        ),
    }
}

/// Labels of Patroni's Endpoints that a stranger removed come back; Patroni finds its objects by them.
fn patroni_endpoints(pass: &mut Pass<'_>, name: &str) {
    let Read::Known(live) = pass.observed.one(Kind::Endpoints, name) else { return };
    let desired = pass.memo.built(format!("endpoints {name}"), || {
        services::patroni_endpoints_labels(pass.cluster, name)
    });
    let missing = desired.meta.labels.iter().any(|(key, value)| live.label(key) != Some(value));
    if missing {
        pass.ensure_shared(Step::Services, desired);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::object::Object;
    use crate::test_support::{NAMESPACE, World, spec};
    use crate::{Kind, labels};

    #[test]
    fn a_strangers_selector_goes_again() {
        for (service, expected) in
            [("hippo-ha", json!(null)), ("hippo-primary", json!(null)), ("hippo-pods", json!(1))]
        {
            let mut world = World::settled(1);
            let before = world.the(Kind::Service, service).at(&["spec", "selector"]).cloned();
            world.change(Kind::Service, service, |s| s["spec"]["selector"]["app"] = "evil".into());
            world.settle();
            assert_eq!(
                world.the(Kind::Service, service).at(&["spec", "selector"]).cloned(),
                before,
                "{service}"
            );
            assert_eq!(before.is_none(), expected.is_null());
        }
    }

    #[test]
    fn a_strangers_port_goes_again() {
        let ports =
            |w: &World| w.the(Kind::Service, "hippo-primary").at(&["spec", "ports"]).cloned();
        for keeps in [true, false] {
            let mut world = World::settled(1);
            let before = ports(&world);
            world.change(Kind::Service, "hippo-primary", |s| {
                let list = s["spec"]["ports"].as_array_mut().expect("ports");
                list.retain(|_| keeps);
                list.push(json!({"port": 6000, "protocol": "TCP", "targetPort": 6000}));
            });
            world.settle();
            assert_eq!(ports(&world), before, "ours is still there: {keeps}");
        }
    }

    #[test]
    fn a_deleted_service_comes_back_and_a_strangers_is_left_alone() {
        for service in
            ["hippo-ha", "hippo-ha-config", "hippo-pods", "hippo-primary", "hippo-replicas"]
        {
            let mut world = World::settled(1);
            world.remove(Kind::Service, service);
            world.settle();
            assert!(world.get(Kind::Service, service).is_some());

            let mut world = World::new(spec(1));
            let theirs = Object::new(Kind::Service, NAMESPACE, service)
                .with("spec", json!({"clusterIP": "10.0.0.1"}));
            let theirs = world.put(theirs);
            (0..12).for_each(|_| {
                world.round();
            });
            assert_eq!(*world.the(Kind::Service, service), theirs, "{service}");
            let reconciled = world.condition("Reconciled");
            assert_eq!(reconciled, Some(("False".into(), "NotOurs".into())), "{service}");
        }
    }

    #[test]
    fn labels_of_patronis_endpoints_come_back_and_its_content_stays() {
        for name in ["hippo-ha", "hippo-ha-config"] {
            for label in [labels::CLUSTER, labels::PATRONI] {
                let mut world = World::settled(1);
                let before = world.the(Kind::Endpoints, name).clone();
                world.strip(Kind::Endpoints, name, label);
                world.settle();
                let after = world.the(Kind::Endpoints, name);
                assert_eq!(after.meta.labels, before.meta.labels);
                assert_eq!(after.meta.annotations, before.meta.annotations);
                assert!(after.meta.owners.is_empty());
            }
        }
    }

    #[test]
    fn a_service_on_its_way_out_and_a_strangers_keep_their_selectors() {
        for stranger in [false, true] {
            let mut world = World::settled(1);
            world.change(Kind::Service, "hippo-primary", |s| {
                s["spec"]["selector"] = json!({"app": "evil"});
                if stranger {
                    s["metadata"]["ownerReferences"] = json!([]);
                } else {
                    s["metadata"]["finalizers"] = json!(["somebody/else"]);
                }
            });
            if !stranger {
                world.delete(Kind::Service, "hippo-primary");
            }
            let written = crate::test_support::texts(&world.plan());
            let patched = written.iter().find(|t| t.contains("patch Service"));
            assert_eq!(patched, None);
        }
    }

    #[test]
    fn patronis_record_is_not_written_while_nothing_is_missing() {
        let mut world = World::new(spec(1));
        world.settle_with(|world, plan| {
            let written = crate::test_support::texts(plan);
            let record = written.iter().find(|t| t.contains("Endpoints hippo-ha "));
            let there = world.get(Kind::Endpoints, "hippo-ha").is_some();
            assert!(record.is_none() || !there, "{record:?}");
        });
    }

    #[test]
    fn a_spec_that_can_not_be_followed_has_services_only_where_databases_run() {
        for (mut world, expected) in [(World::new(spec(1)), 0), (World::settled(1), 5)] {
            world.edit(|s| s["standby"] = json!({"enabled": true}));
            for service in world.all(Kind::Service) {
                world.remove(Kind::Service, &service.meta.name);
            }
            let written = crate::test_support::texts(&world.plan());
            let applied = written.iter().filter(|t| t.contains("apply Service "));
            assert_eq!(applied.count(), expected, "{written:?}");
        }
    }
}
