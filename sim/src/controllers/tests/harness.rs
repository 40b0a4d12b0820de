//! Builds caches from a compact list in YAML, and shows decisions as lines.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, OwnerRef};
use serde_json::{Map, Value, json};

use crate::controllers::ALL;
use crate::controllers::framework::{Caches, Controller, Disk, Key, Keys, Seen, Step, Sync};
use crate::kube::{Request, Response, Status, Subresource, Verb};
use crate::rng::Stream;
use crate::time::{Span, Time};

/// The namespace of everything namespaced.
pub(super) const NS: &str = "db";

/// Now, in all of these tests: 2026-01-01 01:00.
pub(super) fn now() -> Time {
    Time::START + Span::s(3600)
}

/// Objects from a list like `- {kind: Pod, name: s-0, owner: StatefulSet/s, ready: true}`. What is no shorthand
/// goes into the body. UIDs are `<Kind>-<name>` unless given, `deleted` and `created` are seconds before now.
pub(super) fn objects(yaml: &str) -> Vec<Object> {
    let list: Vec<Map<String, Value>> = serde_saphyr::from_str(yaml).expect("a list of maps");
    list.into_iter().map(object).collect()
}

fn object(mut map: Map<String, Value>) -> Object {
    let mut text = |key: &str| match map.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let kind: Kind = text("kind").expect("a kind").parse().expect("a known kind");
    let name = text("name").expect("a name");
    let uid = text("uid").unwrap_or_else(|| format!("{kind}-{name}"));
    let namespace = text("namespace").unwrap_or_else(|| NS.into());
    let owners: Vec<String> =
        ["owner", "plain"].iter().filter_map(|k| Some(format!("{k}:{}", text(k)?))).collect();
    let mut object = Object::new(kind, if kind.namespaced() { &namespace } else { "" }, &name);
    object.meta.uid = uid.into();
    object.meta.resource_version = 1;
    object.meta.generation = 1;
    object.meta.owners = Arc::new(owners.iter().flat_map(|list| owners_of(list)).collect());
    let mut ago = |key: &str| {
        let seconds = map.remove(key)?.as_i64()?;
        Some((now() + Span::s(-seconds)).timestamp())
    };
    object.meta.deleted_at = ago("deleted");
    object.meta.created_at = ago("created").or(Some(Time::START.timestamp()));
    let mut strings =
        |key: &str| serde_json::from_value(map.remove(key).unwrap_or(json!({}))).expect("text");
    object.meta.labels = Arc::new(strings("labels"));
    object.meta.annotations = Arc::new(strings("annotations"));
    let finalizers = map.remove("finalizers").unwrap_or(json!([]));
    object.meta.finalizers = Arc::new(serde_json::from_value(finalizers).expect("a list of text"));
    if let Some(ready) = map.remove("ready") {
        let status = if ready == json!(true) { "True" } else { "False" };
        map.insert("status".into(), json!({
            "phase": "Running", "podIP": format!("10.0.0.{}", name.len()),
            "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:59:00Z"}],
        }));
    }
    if let Some(phase) = map.remove("phase") {
        map.insert("status".into(), json!({"phase": phase}));
    }
    object.body = Arc::new(map);
    object
}

/// `owner:StatefulSet/s` is a controller, `plain:Secret/a,Secret/b=uid` are owners of no other meaning.
fn owners_of(list: &str) -> Vec<OwnerRef> {
    let (how, list) = list.split_once(':').expect("how");
    let one = |part: &str| {
        let (kind, name) = part.trim().split_once('/').expect("Kind/name");
        let (name, uid) = name.split_once('=').unwrap_or((name, ""));
        let mut owner = Object::new(kind.parse().expect("a known kind"), NS, name);
        let default = format!("{kind}-{name}");
        owner.meta.uid = if uid.is_empty() { default.into() } else { uid.into() };
        if how == "owner" { OwnerRef::controller_of(&owner) } else { OwnerRef::plain(&owner) }
    };
    list.split(',').map(one).collect()
}

fn controller(name: &str) -> &'static dyn Controller {
    *ALL.iter().find(|c| c.name() == name).expect("a controller of this name")
}

/// The key of `Kind/name`.
pub(super) fn key(text: &str) -> Key {
    let (kind, name) = text.split_once('/').expect("Kind/name");
    let kind: Kind = kind.parse().expect("a known kind");
    Key { kind, namespace: if kind.namespaced() { NS } else { "" }.into(), name: name.into() }
}

/// What a controller decides about a key.
pub(super) fn sync(name: &str, about: &str, yaml: &str) -> Sync {
    sync_again(name, about, yaml, false)
}

/// The same, after a look at the key that may have come to a write that failed.
pub(super) fn sync_again(name: &str, about: &str, yaml: &str, failed_before: bool) -> Sync {
    let caches = Caches::of(objects(yaml));
    let user = format!("kcm/{name}").into();
    let mut sync = Sync::new(user, now(), Stream::new(1, name));
    sync.failed_before = failed_before;
    controller(name).sync(&caches, &key(about), &mut sync);
    sync
}

/// The decision as lines; questions are answered by `answer`.
pub(super) fn lines_with(sync: &Sync, answer: impl Fn(&Request) -> Response) -> Vec<String> {
    let mut lines = Vec::new();
    let mut steps: std::collections::VecDeque<Step> = sync.steps.clone().into();
    while let Some(step) = steps.pop_front() {
        match step {
            Step::Request(request) => lines.push(describe(&request)),
            Step::Ask(request, then) => {
                lines.push(describe(&request));
                for step in then(&answer(&request)).into_iter().rev() {
                    steps.push_front(step);
                }
            }
            Step::Disk(Disk::Add { volume, .. }) => lines.push(format!("add disk {volume}")),
            Step::Disk(Disk::Grow { volume, capacity_bytes }) => {
                lines.push(format!("grow disk {volume} to {capacity_bytes}"));
            }
            Step::Disk(Disk::Remove { volume }) => lines.push(format!("remove disk {volume}")),
            Step::Note(_) => {}
            Step::Stop(_) => break,
            Step::Fail => {
                lines.push("fail".into());
                break;
            }
        }
    }
    lines
}

fn describe(request: &Request) -> String {
    let of = |o: &Object| match &o.meta.generate_name {
        Some(prefix) => format!("{} {prefix}", o.kind),
        None => format!("{} {}", o.kind, o.meta.name),
    };
    match &request.verb {
        Verb::Create(object) => format!("create {}", of(object)),
        Verb::Update { object, subresource: Subresource::Status } => {
            format!("status {}", of(object))
        }
        Verb::Update { object, subresource: Subresource::Finalize } => {
            format!("finalize {}", of(object))
        }
        Verb::Update { object, .. } => format!("update {}", of(object)),
        Verb::Delete { target, options } => {
            let how =
                options.propagation.filter(|p| *p != ivory_core::plan::Propagation::Background);
            let how = how.map(|h| format!(" {h:?}")).unwrap_or_default();
            format!("delete {} {}{how}", target.kind, target.name)
        }
        Verb::Get(target) => format!("get {} {}", target.kind, target.name),
        Verb::List { kind, .. } => format!("list {kind}"),
        other => format!("{other:?}"),
    }
}

/// Not there.
pub(super) fn missing() -> Response {
    Err(Status { code: 404, reason: "NotFound", message: String::new(), causes: Vec::new() })
}

/// Checks what a controller decides, status apart; nothing that it asks for exists.
pub(super) fn check(name: &str, about: &str, yaml: &str, expected: &[&str]) {
    check_case("", name, about, yaml, expected);
}

/// The same, with a word for the case.
pub(super) fn check_case(case: &str, name: &str, about: &str, yaml: &str, expected: &[&str]) {
    let sync = sync(name, about, yaml);
    let mut lines = lines_with(&sync, |_| missing());
    lines.retain(|line| !line.starts_with("status "));
    assert_eq!(lines, expected, "{case}: {name} on {about} of\n{yaml}");
}

/// The object that the decision writes by a line such as `create Pod s-0`.
pub(super) fn written(sync: &Sync, line: &str) -> Object {
    let mut requests = sync.steps.iter().filter_map(|step| match step {
        Step::Request(request) => Some(request),
        _ => None,
    });
    let found = requests.find(|r| describe(r) == line);
    match &found.unwrap_or_else(|| panic!("no step {line:?}")).verb {
        Verb::Create(object) | Verb::Update { object, .. } => (**object).clone(),
        _ => panic!("{line:?} writes nothing"),
    }
}

/// The first object of a kind that the decision creates.
pub(super) fn created(sync: &Sync, kind: Kind) -> Object {
    let made = sync.steps.iter().find_map(|step| match step {
        Step::Request(Request { verb: Verb::Create(object), .. }) if object.kind == kind => {
            Some(object)
        }
        _ => None,
    });
    (**made.expect("it is made")).clone()
}

/// Checks some fields of the status that a controller writes.
pub(super) fn check_status(name: &str, about: &str, yaml: &str, expected: &Value) {
    let sync = sync(name, about, yaml);
    let line = format!("status {}", about.replace('/', " "));
    let status = written(&sync, &line).body["status"].clone();
    for (key, value) in expected.as_object().expect("a map") {
        let found = status.get(key).cloned().unwrap_or_default();
        assert_eq!(found, *value, "{key} in {status}");
    }
}

/// The keys that a change gives a controller. `old` and `new` are lists of at most one object.
pub(super) fn keys(name: &str, old: &str, new: &str, others: &str) -> Vec<String> {
    let (old, new) = (objects(old), objects(new));
    let caches = Caches::of(objects(others).into_iter().chain(new.clone()));
    let mut keys = Keys::default();
    let seen = Seen { old: old.first(), new: new.first() };
    controller(name).keys(seen, &caches, &mut keys);
    keys.ready().iter().map(|k| format!("{}/{}", k.kind, k.name)).collect()
}
