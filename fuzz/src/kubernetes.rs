//! What an API server passes on: specs of clusters that it accepted, and any object that somebody sends to the simulated
//! one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ivory_core::check::check;
use ivory_core::context::{Config, Context, Entropy};
use ivory_core::labels::FINALIZER;
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::plan::Op;
use ivory_core::read::{Read, ReadKey};
use ivory_core::reads::{reads, second_look};
use ivory_core::{Kind, Object, Sensitive, api, steps};
use ivory_sim::kube::{ApiServer, Body, ObjectRef, Request, Response, Subresource, Verb};
use jiff::Timestamp;
use serde_json::{Value, json};

const NAMESPACE: &str = "postgres-operator";

/// A server that knows our definitions, and has one namespace.
fn server() -> ApiServer {
    static SERVER: OnceLock<ApiServer> = OnceLock::new();
    let made = || {
        let mut server = ApiServer::new();
        let definitions = [api::crd_ivorycluster(), api::crd_ivyupgrade()];
        let definitions = definitions.map(|d| Object::from_value(d).expect("a definition"));
        for object in definitions.into_iter().chain([Object::new(Kind::Namespace, "", NAMESPACE)]) {
            send(&mut server, "setup", Verb::Create(object.into())).expect("accepted");
        }
        server
    };
    SERVER.get_or_init(made).clone()
}

fn send(server: &mut ApiServer, manager: &str, verb: Verb) -> Response {
    let uid = u128::from(server.resource_version());
    let request = Request { manager: Some(manager.into()), ..Request::new("fuzz/1", verb) };
    server.handle(now(), &mut || uid, &request)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("a time")
}

/// The spec of a cluster, as JSON. Whatever the API server accepts is planned for, in a namespace where nothing is.
///
/// # Panics
/// If the plan deletes or runs anything, or the checker of plans finds something wrong with it.
pub fn cluster(data: &[u8]) -> bool {
    let Ok(spec) = serde_json::from_slice::<Value>(data) else { return false };
    let mut object = Object::new(Kind::IvoryCluster, NAMESPACE, "hippo").with("spec", spec);
    object.meta.finalizers = vec![FINALIZER.to_owned()].into();
    let Ok(reply) = send(&mut server(), "user", Verb::Create(object.into())) else { return false };
    let observed = nothing_but(reply.into_object().expect("an object"));
    let context = Context {
        now: now(),
        entropy: Entropy(Sensitive::new([7; 32])),
        config: Config::default(),
        denied: Default::default(),
        refused: Default::default(),
        blind_since: None,
    };
    let plan = steps::plan(&observed, &context, &mut Memos::default());
    let findings = check(&observed, &plan);
    assert!(findings.is_empty(), "{findings:?}");
    for write in &plan.writes {
        let harmless = !matches!(write.op, Op::Delete { .. } | Op::Exec { .. });
        assert!(harmless, "{}: {}", write.step, write.reason);
    }
    true
}

fn nothing_but(cluster: Arc<Object>) -> Observed {
    let read = |key: ReadKey| {
        let nothing = match &key {
            ReadKey::One { .. } => Read::Absent,
            ReadKey::Select { .. } => Read::Known(Vec::new()),
        };
        (key, nothing)
    };
    let objects: BTreeMap<_, _> = reads(&cluster).into_iter().map(read).collect();
    let mut observed = Observed { cluster, objects, answers: BTreeMap::new() };
    let more: Vec<_> = second_look(&observed).into_iter().map(read).collect();
    observed.objects.extend(more);
    observed
}

/// Objects as JSON, one a line, with how each is sent: `create`, `update`, `status`, `apply`, `force`, `merge`,
/// `strategic` or `json`, which patch the object of the line before. So it is called who sends it, too.
///
/// # Panics
/// If a stored object is not read back as itself, or what is refused leaves something behind.
pub fn requests(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut server = server();
    let mut last: Option<Arc<Object>> = None;
    for line in text.lines().take(8) {
        let Some((how, body)) = line.split_once(' ') else { continue };
        let Ok(body) = serde_json::from_str::<Value>(body) else { continue };
        let Some(verb) = verb(how, body, last.as_deref()) else { continue };
        let before = server.resource_version();
        match send(&mut server, how, verb) {
            Ok(reply) => last = reply.into_object(),
            Err(_) => assert_eq!(server.resource_version(), before, "refused, yet written"),
        }
        let Some(object) = &last else { continue };
        let again = Object::from_value(object.to_value()).expect("it was written by us");
        assert_eq!(again, **object);
    }
    last.is_some()
}

fn verb(how: &str, body: Value, last: Option<&Object>) -> Option<Verb> {
    let object = |mut body: Value| {
        if body.is_object() && body["metadata"].is_object() {
            body["metadata"]["namespace"] = json!(NAMESPACE);
        }
        Object::from_value(body).ok().map(Arc::new)
    };
    let patch = |target: ObjectRef, body: Body| {
        Some(Verb::Patch { target, subresource: Subresource::None, body })
    };
    match how {
        "create" => object(body).map(Verb::Create),
        "update" | "status" => {
            let subresource = if how == "status" { Subresource::Status } else { Subresource::None };
            Some(Verb::Update { object: object(body)?, subresource })
        }
        "apply" | "force" => {
            let object = object(body)?;
            let target = ObjectRef::of(&object);
            patch(target, Body::Apply { object, force: how == "force" })
        }
        "merge" => patch(ObjectRef::of(last?), Body::Merge(body.into())),
        "strategic" => patch(ObjectRef::of(last?), Body::Strategic(body.into())),
        "json" => patch(ObjectRef::of(last?), Body::Json(body.into())),
        _ => None,
    }
}
