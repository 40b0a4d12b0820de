//! Endpoints, EndpointSlices, mirroring, disruption budgets.

use serde_json::{Value, json};

use super::harness::{check, check_status, keys, sync, written};

fn service(rest: &str) -> String {
    format!(
        "- {{kind: Service, name: web, labels: {{a: b}}, spec: {{clusterIP: 10.96.0.9, {rest}}}}}\n"
    )
}

const SELECT: &str = "selector: {app: web}, ports: [{name: pg, port: 5432, targetPort: pgport}]";
const PORTS: &str = "spec: {nodeName: n1, hostname: web-0, subdomain: web, containers: [{name: c, ports: [{name: pgport, containerPort: 15432}]}]}";

fn pod(name: &str, rest: &str) -> String {
    format!("- {{kind: Pod, name: {name}, labels: {{app: web}}, {PORTS}, {rest}}}\n")
}

#[test]
fn endpoints_list_ready_and_unready_pods() {
    let pods = pod("a", "ready: true")
        + &pod("bb", "ready: false")
        + &pod("ccc", "ready: true, deleted: 1")
        + &pod("dddd", "phase: Failed");
    let made = |rest: &str| {
        let sync = sync("endpoints", "Service/web", &(service(rest) + &pods));
        written(&sync, "create Endpoints web")
    };
    let ips = |endpoints: &ivory_core::Object, key: &str| -> Vec<String> {
        let list = endpoints.body["subsets"][0][key].as_array().cloned().unwrap_or_default();
        list.iter().map(|a| a["ip"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let plain = made(SELECT);
    assert_eq!(ips(&plain, "addresses"), ["10.0.0.1"]);
    assert_eq!(ips(&plain, "notReadyAddresses"), ["10.0.0.2"]);
    assert_eq!(
        plain.body["subsets"][0]["ports"],
        json!([{"name": "pg", "port": 15432, "protocol": "TCP"}])
    );
    assert_eq!(
        plain.body["subsets"][0]["addresses"][0],
        json!({
            "ip": "10.0.0.1", "nodeName": "n1", "hostname": "web-0",
            "targetRef": {"kind": "Pod", "namespace": "db", "name": "a", "uid": "Pod-a"},
        })
    );
    assert_eq!(
        (plain.label("a"), plain.label("endpoints.kubernetes.io/managed-by")),
        (Some("b"), Some("endpoint-controller"))
    );
    let published = made(&format!("{SELECT}, publishNotReadyAddresses: true"));
    assert_eq!(ips(&published, "addresses"), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    // As measured on a real control plane.
    assert_eq!(made("selector: {app: web}").body.get("subsets"), None);
}

#[test]
fn endpoints_without_selector_are_left_alone_until_their_service_goes() {
    let endpoints = "- {kind: Endpoints, name: web, subsets: [{addresses: [{ip: 10.9.9.9}]}]}\n";
    check("endpoints", "Service/web", &(service("ports: []") + endpoints), &[]);
    check("endpoints", "Service/web", endpoints, &["delete Endpoints web"]);
    check(
        "endpoints",
        "Service/web",
        &(service("type: ExternalName, selector: {app: web}") + endpoints),
        &[],
    );
    let beat = endpoints.replace("name: web", "name: web, annotations: {renewTime: x}");
    assert_eq!(keys("endpoints", endpoints, &beat, ""), Vec::<String>::new());
    assert_eq!(keys("endpoints", endpoints, "[]", ""), ["Service/web"]);
    let mirrored = |old: &str, new: &str| keys("endpointslicemirroring", old, new, "");
    assert_eq!(mirrored(endpoints, &beat), Vec::<String>::new());
    assert_eq!(mirrored(endpoints, &endpoints.replace("9.9.9", "9.9.8")), ["Endpoints/web"]);
}

#[test]
fn unchanged_endpoints_are_not_written() {
    let yaml = service(SELECT) + &pod("a", "ready: true");
    let made = written(&sync("endpoints", "Service/web", &yaml), "create Endpoints web");
    let now = Value::Object((*made.body).clone());
    let existing = format!(
        "- {{kind: Endpoints, name: web, labels: {{a: b, endpoints.kubernetes.io/managed-by: endpoint-controller}}, subsets: {}}}\n",
        now["subsets"]
    );
    check("endpoints", "Service/web", &(yaml.clone() + &existing), &[]);
    check(
        "endpoints",
        "Service/web",
        &(yaml.replace("ready: true", "ready: false") + &existing),
        &["update Endpoints web"],
    );
}

#[test]
fn slices_say_more_of_each_pod() {
    let pods = pod("a", "ready: true")
        + &pod("bb", "ready: false")
        + &pod("ccc", "ready: true, deleted: 1");
    let made = written(
        &sync("endpointslice", "Service/web", &(service(SELECT) + &pods)),
        "create EndpointSlice web-",
    );
    let conditions: Vec<_> = made.body["endpoints"]
        .as_array()
        .expect("endpoints")
        .iter()
        .map(|e| ["ready", "serving", "terminating"].map(|k| e["conditions"][k] == json!(true)))
        .collect();
    assert_eq!(conditions, [[true, true, false], [false, false, false], [false, true, true]]);
    assert!(made.controlled_by("Service-web"));
    assert_eq!(made.label("kubernetes.io/service-name"), Some("web"));
    check("endpointslice", "Service/web", &service("ports: []"), &[]);
    check("endpointslice", "Service/web", &service(SELECT), &["create EndpointSlice web-"]);
}

#[test]
fn endpoints_of_others_are_mirrored_without_their_heartbeat() {
    let endpoints = "- {kind: Endpoints, name: web, labels: {p: q}, annotations: {leader: a}, subsets: [{addresses: [{ip: 10.9.9.9, nodeName: n1}], notReadyAddresses: [{ip: 10.9.9.8}], ports: [{port: 5432}]}]}\n";
    let none = service("ports: []");
    let steps = sync("endpointslicemirroring", "Endpoints/web", &(none.clone() + endpoints));
    let made = written(&steps, "create EndpointSlice web-");
    assert_eq!(
        made.body["endpoints"],
        json!([
            {"addresses": ["10.9.9.9"], "conditions": {"ready": true}, "nodeName": "n1"},
            {"addresses": ["10.9.9.8"], "conditions": {"ready": false}},
        ])
    );
    assert_eq!((made.label("p"), made.meta.annotations.len()), (Some("q"), 0));
    assert!(made.controlled_by("Endpoints-web"));
    let slice = "- {kind: EndpointSlice, name: web-x, labels: {kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}}\n";
    for (yaml, expected) in [
        (endpoints.to_owned(), &[][..]),
        (slice.to_owned(), &["delete EndpointSlice web-x"]),
        (service(SELECT) + endpoints + slice, &["delete EndpointSlice web-x"]),
        (none + endpoints + slice, &["update EndpointSlice web-x"]),
    ] {
        check("endpointslicemirroring", "Endpoints/web", &yaml, expected);
    }
}

#[test]
fn budgets_count_what_may_be_missing() {
    let budget = |spec: &str, more: &str| {
        format!("- {{kind: PodDisruptionBudget, name: b, spec: {{selector: {{matchLabels: {{app: web}}}}, {spec}}}, {more}}}
- {{kind: StatefulSet, name: s, spec: {{replicas: 3}}}}\n")
    };
    let pod = |name: &str, rest: &str| {
        format!(
            "- {{kind: Pod, name: {name}, owner: StatefulSet/s, labels: {{app: web}}, {rest}}}\n"
        )
    };
    let pods =
        pod("a", "ready: true") + &pod("b", "ready: true") + &pod("c", "ready: true, deleted: 1");
    for (spec, expected, desired, allowed) in [
        ("minAvailable: 1", 3, 1, 1),
        ("minAvailable: 2", 3, 2, 0),
        ("minAvailable: 50%", 3, 2, 0),
        ("maxUnavailable: 1", 3, 2, 0),
        ("maxUnavailable: 2", 3, 1, 1),
        ("maxUnavailable: 50%", 3, 1, 1),
    ] {
        check_status(
            "disruption",
            "PodDisruptionBudget/b",
            &(budget(spec, "x: 1") + &pods),
            &json!({
                "expectedPods": expected, "desiredHealthy": desired, "currentHealthy": 2, "disruptionsAllowed": allowed, "observedGeneration": 1,
            }),
        );
    }
    // A Pod whose eviction was granted a minute ago no longer counts; one of three minutes ago does again.
    let granted = |at: &str| {
        budget("minAvailable: 1", &format!("status: {{disruptedPods: {{a: '2026-01-01T{at}Z'}}}}"))
            + &pods
    };
    check_status(
        "disruption",
        "PodDisruptionBudget/b",
        &granted("00:59:00"),
        &json!({"currentHealthy": 1, "disruptionsAllowed": 0}),
    );
    check_status(
        "disruption",
        "PodDisruptionBudget/b",
        &granted("00:57:00"),
        &json!({"currentHealthy": 2, "disruptedPods": null}),
    );
    check_status(
        "disruption",
        "PodDisruptionBudget/b",
        &budget("minAvailable: 0", "x: 1"),
        &json!({"expectedPods": 0, "disruptionsAllowed": 0}),
    );
}
