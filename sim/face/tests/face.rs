//! The face as programs meet it: a real client, over TLS, on an address of this machine.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use ivory_core::read::Output;
use ivory_core::{Kind, Object};
use ivory_face::{Asker, Face, Holder, Living, Outside, Reach, Server};
use ivory_sim::kube::{ApiServer, Request, Verb};
use ivory_sim::world::{Kube, World};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::api::{Api, AttachParams, DeleteParams, ListParams, Patch, PatchParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

const NAMESPACE: &str = "db";

/// Answers a command with itself.
struct Echo;

impl Outside for Echo {
    fn run(&self, asker: Asker) -> BoxFuture<'_, Option<Output>> {
        Box::pin(async move {
            let stdin = asker.stdin.and_then(|s| s.expose_text().map(str::to_owned));
            let stdout = format!("{} {:?} {stdin:?}", asker.container, asker.argv);
            let exit = i32::from(asker.argv.first().is_some_and(|a| a == "false"));
            (asker.pod == "a").then(|| Output { exit, stdout: stdout.into(), stderr: "".into() })
        })
    }
}

/// A Kubernetes with one Pod, whose account may read Pods, and nobody who does anything by itself.
async fn face() -> Face {
    let mut world = World::new(1);
    let kube = world.add_kube(Kube::new(ApiServer::new()));
    let living = Living::new(world, kube, 1);
    let container = json!([{"name": "database", "image": "x"}]);
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"});
    let subjects = json!([{"kind": "ServiceAccount", "name": "sa", "namespace": NAMESPACE}]);
    let rbac = "rbac.authorization.k8s.io/v1";
    for (version, kind, name, body) in [
        ("v1", "Namespace", NAMESPACE, json!({})),
        ("v1", "ServiceAccount", "default", json!({})),
        ("v1", "ServiceAccount", "sa", json!({})),
        (rbac, "Role", "r", json!({"rules": rules})),
        (rbac, "RoleBinding", "r", json!({"roleRef": role, "subjects": subjects})),
        ("v1", "Pod", "a", json!({"spec": {"containers": container, "serviceAccountName": "sa"}})),
    ] {
        let mut manifest = body;
        manifest["apiVersion"] = version.into();
        manifest["kind"] = kind.into();
        manifest["metadata"] = match kind {
            "Namespace" => json!({"name": name}),
            _ => json!({"name": name, "namespace": NAMESPACE}),
        };
        let object = Object::from_value(manifest).expect("a manifest");
        let made =
            living.request("test", Request::new("test", Verb::Create(Arc::new(object)))).await;
        made.unwrap_or_else(|status| panic!("{kind} {name}: {status}"));
    }
    let server = Server { outside: Some(Arc::new(Echo)), ..Server::new(living) };
    let address = "127.0.0.1:0".parse().expect("an address");
    Face::listen(server, address).await.expect("listens")
}

/// A client with a token, as a kubeconfig describes it.
async fn client(face: &Face, token: &str) -> kube::Client {
    let authority = ByteString(face.authority().as_bytes().to_vec());
    let server = format!("https://localhost:{}", face.address().port());
    let config: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "sim", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": "me", "namespace": NAMESPACE}}],
        "current-context": "sim",
    }))
    .expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.expect("a config");
    kube::Client::try_from(config).expect("a client")
}

async fn admin(face: &Face) -> kube::Client {
    client(face, token(face, Holder::Admin).as_str()).await
}

fn token(face: &Face, holder: Holder) -> String {
    let token = face.token(holder).expect("a token");
    token.expose_text().expect("text").to_owned()
}

fn code<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_has_no_good_token_is_turned_away() {
    let face = face().await;
    let list = |client: kube::Client| async move {
        Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await
    };
    assert_eq!(code(list(client(&face, "guessed").await).await), 401);
    // One that is bound to a Pod is good as long as the Pod lives, for what the account may do.
    let pod = Some("a".to_owned());
    let holder = Holder::Account { namespace: NAMESPACE.into(), name: "sa".into(), pod };
    let bound = client(&face, &token(&face, holder)).await;
    assert_eq!(list(bound.clone()).await.expect("permitted").items.len(), 1);
    let services = Api::<Service>::default_namespaced(bound.clone());
    assert_eq!(code(services.list(&ListParams::default()).await), 403);
    let pods = Api::<Pod>::default_namespaced(admin(&face).await);
    pods.delete("a", &DeleteParams::default().grace_period(0)).await.expect("deleted");
    assert_eq!(code(list(bound).await), 401);
    assert!(
        face.token(Holder::Account {
            namespace: NAMESPACE.into(),
            name: "nobody".into(),
            pod: None
        })
        .is_err()
    );
}

#[tokio::test]
async fn a_watch_tells_what_happens() {
    let face = face().await;
    let client = admin(&face).await;
    let endpoints = Api::<Endpoints>::default_namespaced(client.clone());
    let version = endpoints.list(&ListParams::default()).await.expect("a list");
    let version = version.metadata.resource_version.expect("a version");
    let params = WatchParams::default().labels("x=y").timeout(20);
    let watch = endpoints.watch(&params, &version).await.expect("a stream");
    let made: Endpoints = serde_json::from_value(
        json!({"metadata": {"name": "e", "labels": {"x": "y"}, "annotations": {"a": "1", "b": "2"}}}),
    )
    .expect("Endpoints");
    endpoints.create(&Default::default(), &made).await.expect("created");
    // As Patroni writes.
    let patch = json!({"metadata": {"annotations": {"a": null, "b": "3"}}});
    let patch = Patch::Strategic(patch);
    endpoints.patch("e", &PatchParams::default(), &patch).await.expect("patched");
    endpoints.delete("e", &DeleteParams::default()).await.expect("deleted");
    let mut watch = std::pin::pin!(watch);
    let mut told = Vec::new();
    while told.len() < 3 {
        let event = tokio::time::timeout(Duration::from_secs(5), watch.try_next()).await;
        let event = event.expect("in time").expect("no error").expect("no end");
        told.push(match event {
            kube::api::WatchEvent::Added(e) => ("added", e),
            kube::api::WatchEvent::Modified(e) => ("modified", e),
            kube::api::WatchEvent::Deleted(e) => ("deleted", e),
            other => panic!("{other:?}"),
        });
    }
    let words: Vec<_> = told.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["added", "modified", "deleted"]);
    let annotations = told[1].1.metadata.annotations.clone().expect("some");
    assert_eq!(annotations.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "3".to_owned())]);
    // Without a version it begins with what there is.
    let request = http::Request::get("/api/v1/namespaces/db/pods?watch=true").body(Vec::new());
    let lines = client.request_stream(request.expect("a request")).await.expect("a stream");
    let line = tokio::time::timeout(Duration::from_secs(5), lines.lines().try_next()).await;
    let line: Value =
        serde_json::from_str(&line.expect("in time").expect("no error").expect("a line"))
            .expect("JSON");
    assert_eq!(
        (&line["type"], &line["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a"))
    );
}

#[tokio::test]
async fn commands_in_external_pods_are_run_outside() {
    let face = face().await;
    let pods = Api::<Pod>::default_namespaced(admin(&face).await);
    let run = async |argv: &[&str], stdin: bool| {
        let params = AttachParams { stdin, ..AttachParams::default() };
        let mut process = pods.exec("a", argv.to_vec(), &params).await.expect("a stream");
        let status = process.take_status().expect("a status");
        if let Some(mut stdin) = process.stdin() {
            use tokio::io::AsyncWriteExt as _;
            stdin.write_all(b"SELECT 1").await.expect("written");
            stdin.shutdown().await.expect("closed");
        }
        let mut out = String::new();
        let mut stdout = process.stdout().expect("an output");
        stdout.read_to_string(&mut out).await.expect("text");
        (out, status.await.expect("a status"))
    };
    let (out, status) = run(&["psql", "-c", "a b"], true).await;
    assert_eq!(out, r#"database ["psql", "-c", "a b"] Some("SELECT 1")"#);
    assert_eq!(status.status.as_deref(), Some("Success"));
    let (out, status) = run(&["false"], false).await;
    assert_eq!(out, r#"database ["false"] None"#);
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let missing = pods.exec("b", ["true"], &AttachParams::default()).await;
    assert!(missing.is_err());
}

#[tokio::test]
async fn it_can_be_out_of_reach_and_come_back() {
    let face = face().await;
    let pods = Api::<Pod>::default_namespaced(admin(&face).await);
    pods.get("a").await.expect("there");
    face.reach(Reach::Refused);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // One attempt: the client itself would try again.
    let refused = tokio::net::TcpStream::connect(face.address()).await;
    assert!(refused.is_err());
    face.reach(Reach::Open);
    let end = tokio::time::Instant::now() + Duration::from_secs(5);
    while pods.get("a").await.is_err() {
        assert!(tokio::time::Instant::now() < end, "it did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn clients_find_out_what_there_is() {
    let face = face().await;
    let client = admin(&face).await;
    assert_eq!(client.apiserver_version().await.expect("a version").minor, "34");
    let groups = client.list_api_groups().await.expect("groups");
    assert!(groups.groups.iter().any(|group| group.name == "apps"), "{groups:?}");
    let apps = client.list_api_group_resources("apps/v1").await.expect("resources");
    let set = apps.resources.iter().find(|r| r.name == "statefulsets").expect("StatefulSets");
    assert!(set.namespaced && set.kind == Kind::StatefulSet.name());
    let core = client.list_core_api_resources("v1").await.expect("resources");
    assert!(core.resources.iter().any(|r| r.name == "pods/exec"));
}
