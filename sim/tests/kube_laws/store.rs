//! The API server beside the naive one: whatever is asked of both in whatever order, both answer the same, hold the same
//! objects with the same owners, and wrote as often. Watches from any moment that is remembered lead to what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, Uid};
use ivory_core::read::Selector;
use ivory_sim::kube::{
    ApiServer, Body, ChangeType, Content, DeleteOptions, Filter, ObjectRef, Response, Subresource,
    Verb,
};
use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use serde_json::{Value, json};

use super::Cluster;
use super::naive::{Answer, Field, Fields, How, Naive, Owner, Step, Which};

const KIND: Kind = Kind::Deployment;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_server_agrees_with_a_naive_one(sequential 1..60 => Agreement);
}

struct Agreement;

/// The server, with everybody who watches it.
struct Store {
    cluster: Cluster,
    start: u64,
    /// UIDs of those that were there before, by name.
    former: BTreeMap<u8, Uid>,
    /// What asks for the next page, and how long pages are.
    token: Option<Arc<str>>,
    limit: usize,
    watches: Vec<Watch>,
}

/// Somebody who watches from a version on, and the whole server as it was then.
struct Watch {
    from: u64,
    then: ApiServer,
    held: Vec<Arc<Object>>,
}

/// The objects that somebody sees: all, or those with a label.
fn seen(server: &ApiServer, filter: &Filter) -> BTreeMap<Arc<str>, Arc<Object>> {
    let all = server.list(KIND, Some("n")).filter(|o| filter.matches(o));
    all.map(|o| (Arc::clone(&o.meta.name), Arc::clone(o))).collect()
}

fn filters() -> [Filter; 2] {
    let labels = Selector::label("x", "1");
    [Filter::default(), Filter { labels, ..Filter::default() }]
}

/// An object of the naive store as a Deployment. What it must have besides is always the same.
fn manifest(name: u8, fields: &Fields) -> Object {
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("d{name}"), "namespace": "n"},
        "spec": {
            "selector": {"matchLabels": {"k": "v"}},
            "template": {
                "metadata": {"labels": {"k": "v"}},
                "spec": {"containers": [{"name": "a", "image": "i:1"}]},
            },
        },
    });
    for (field, number) in fields {
        let text = number.to_string();
        let meta = &mut value["metadata"];
        match field {
            Field::LabelX => meta["labels"]["x"] = text.into(),
            Field::LabelY => meta["labels"]["y"] = text.into(),
            Field::Note => meta["annotations"]["n"] = text.into(),
            Field::Replicas => value["spec"]["replicas"] = (*number).into(),
            Field::HoldD | Field::HoldE => match &mut meta["finalizers"] {
                Value::Array(list) => list.push(finalizer(*field).into()),
                none => *none = json!([finalizer(*field)]),
            },
            Field::Rest | Field::Labels | Field::Notes | Field::Holds => {}
            Field::Status => value["status"]["replicas"] = (*number).into(),
        }
    }
    Object::from_value(value).expect("a manifest")
}

fn finalizer(field: Field) -> &'static str {
    if field == Field::HoldD { "a.b/d" } else { "a.b/e" }
}

/// The fields of the naive store in an object.
fn fields(object: &Object) -> Fields {
    let text = |text: Option<&str>| text.and_then(|t| t.parse().ok());
    let number = |n: Option<i64>| n.and_then(|n| u8::try_from(n).ok());
    let held = |field| {
        let there = object.meta.finalizers.iter().any(|f| f == finalizer(field));
        there.then_some(1)
    };
    let all = [
        (Field::LabelX, text(object.label("x"))),
        (Field::LabelY, text(object.label("y"))),
        (Field::Note, text(object.annotation("n"))),
        (Field::Replicas, number(object.i64_at(&["spec", "replicas"]))),
        (Field::HoldD, held(Field::HoldD)),
        (Field::HoldE, held(Field::HoldE)),
        (Field::Status, number(object.i64_at(&["status", "replicas"]))),
        (Field::Rest, object.at(&["spec", "selector"]).map(|_| 0)),
        (Field::Labels, (!object.meta.labels.is_empty()).then_some(0)),
        (Field::Notes, (!object.meta.annotations.is_empty()).then_some(0)),
        (Field::Holds, (!object.meta.finalizers.is_empty()).then_some(0)),
    ];
    all.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}

/// Who owns which of them.
fn owners(object: &Object) -> BTreeMap<Owner, BTreeSet<Field>> {
    const PATHS: [(Field, &str); 11] = [
        (Field::LabelX, ".metadata.labels.x"),
        (Field::LabelY, ".metadata.labels.y"),
        (Field::Note, ".metadata.annotations.n"),
        (Field::Replicas, ".spec.replicas"),
        (Field::HoldD, ".metadata.finalizers[=\"a.b/d\"]"),
        (Field::HoldE, ".metadata.finalizers[=\"a.b/e\"]"),
        (Field::Status, ".status.replicas"),
        (Field::Rest, ".spec.selector"),
        (Field::Labels, ".metadata.labels"),
        (Field::Notes, ".metadata.annotations"),
        (Field::Holds, ".metadata.finalizers"),
    ];
    let mut all = BTreeMap::new();
    for entry in object.meta.managed.iter() {
        let name = ["op", "user"].into_iter().find(|n| *n == &*entry.manager).expect("one of ours");
        let how = match (entry.apply, &*entry.subresource) {
            (true, "") => How::Apply,
            (false, "") => How::Update,
            (false, "status") => How::Status,
            other => panic!("nobody wrote by {other:?}"),
        };
        let paths = entry.fields.paths();
        let own = PATHS.iter().filter(|(_, path)| paths.iter().any(|p| p == path));
        let own: BTreeSet<Field> = own.map(|(field, _)| *field).collect();
        if !own.is_empty() {
            all.insert((name, how), own);
        }
    }
    all
}

fn merge_patch(change: &BTreeMap<Field, Option<u8>>, live: Option<&Object>) -> Value {
    let mut patch = json!({});
    let mut finalizers: Vec<&str> =
        live.iter().flat_map(|o| o.meta.finalizers.iter()).map(String::as_str).collect();
    for (field, value) in change {
        let text = value.map(|v| v.to_string());
        match field {
            Field::LabelX => patch["metadata"]["labels"]["x"] = json!(text),
            Field::LabelY => patch["metadata"]["labels"]["y"] = json!(text),
            Field::Note => patch["metadata"]["annotations"]["n"] = json!(text),
            Field::Replicas => patch["spec"]["replicas"] = json!(value),
            Field::HoldD | Field::HoldE => {
                let finalizer = finalizer(*field);
                match value {
                    None => finalizers.retain(|f| *f != finalizer),
                    Some(_) if finalizers.contains(&finalizer) => {}
                    Some(_) => finalizers.push(finalizer),
                }
                patch["metadata"]["finalizers"] = json!(finalizers);
            }
            other => panic!("nobody patches {other:?}"),
        }
    }
    patch
}

impl Store {
    fn live(&self, name: u8) -> Option<Arc<Object>> {
        self.cluster.server.get(KIND, "n", &format!("d{name}")).cloned()
    }

    /// The UID and the version that a write names.
    fn named(&self, name: u8, which: Which) -> (Option<Uid>, Option<u64>) {
        let former = || self.former.get(&name).cloned().unwrap_or_else(|| "nobody".into());
        let live = self.live(name);
        let uid = live.as_ref().map(|o| Arc::clone(&o.meta.uid));
        let version = live.map(|o| o.meta.resource_version);
        match which {
            Which::Any => (None, None),
            Which::ThisLife => (uid, None),
            Which::FormerLife => (uid.map(|_| former()), None),
            Which::ThisVersion => (None, version),
            Which::FormerVersion => (None, version.map(|v| v - 1)),
        }
    }

    /// An object that names what it means to change.
    fn meaning(&self, name: u8, fields: &Fields, which: Which) -> Object {
        let mut object = manifest(name, fields);
        if let Some(live) = self.live(name) {
            // Finalizers are a set, yet another order would be a write.
            let place = |f: &String| live.meta.finalizers.iter().position(|l| l == f);
            let finalizers = Arc::make_mut(&mut object.meta.finalizers);
            finalizers.sort_by_key(|f| place(f).unwrap_or(usize::MAX));
        }
        let (uid, version) = self.named(name, which);
        object.meta.uid = uid.unwrap_or_default();
        object.meta.resource_version = version.unwrap_or_default();
        object
    }

    fn list(&mut self, limit: usize, token: Option<Arc<str>>) -> Answer {
        let verb = Verb::List {
            kind: KIND,
            namespace: Some("n".into()),
            filter: Filter::default(),
            limit,
            continue_token: token,
        };
        let reply = match self.cluster.send("t", verb) {
            Ok(reply) => reply,
            Err(status) => return Answer::Code(status.code),
        };
        let Content::List { items, continue_token, remaining, .. } = reply.content else {
            panic!("no list");
        };
        self.token = continue_token;
        let number = |o: &Object| o.meta.name[1..].parse().expect("one of ours");
        let items = items.iter().map(|o| (number(o), fields(o))).collect();
        Answer::Page(items, remaining.unwrap_or_default())
    }

    /// Asks what the step says.
    fn ask(&mut self, step: Step) -> Answer {
        // What comes by the wrong endpoint is ignored.
        let with_status = |mut fields: Fields| {
            fields.insert(Field::Status, 9);
            fields
        };
        let reply = match step {
            Step::Create { name, manager, fields } => {
                let object = manifest(name, &with_status(fields));
                self.cluster.send(manager, Verb::Create(object.into()))
            }
            Step::Update { name, manager, fields, which } => {
                let object = self.meaning(name, &with_status(fields), which).into();
                let subresource = Subresource::None;
                self.cluster.send(manager, Verb::Update { object, subresource })
            }
            Step::Status { name, manager, value, which } => {
                let mut object = self.meaning(name, &Fields::new(), which);
                if let Some(live) = self.live(name) {
                    object.meta.annotations = live.meta.annotations.clone();
                    object.meta.finalizers = live.meta.finalizers.clone();
                }
                object.body_mut().insert("status".into(), json!({ "replicas": value }));
                object.body_mut()["spec"]["replicas"] = 9.into();
                let (object, subresource) = (object.into(), Subresource::Status);
                self.cluster.send(manager, Verb::Update { object, subresource })
            }
            Step::Merge { name, manager, change } => {
                let patch = merge_patch(&change, self.live(name).as_deref());
                let target = manifest(name, &Fields::new());
                self.cluster.patch(manager, &target, Body::Merge(patch.into()))
            }
            Step::Apply { name, manager, fields, force, which } => {
                let object = self.meaning(name, &with_status(fields), which).into();
                self.cluster.apply(manager, &object, force)
            }
            Step::Delete { name, which } => {
                let target = ObjectRef::new(KIND, "n", &format!("d{name}"));
                let (uid, resource_version) = self.named(name, which);
                let options = DeleteOptions { uid, resource_version, ..DeleteOptions::default() };
                self.cluster.send("t", Verb::Delete { target, options })
            }
            Step::Pages(limit) => {
                self.limit = limit;
                return self.list(limit, None);
            }
            Step::NextPage => {
                let Some(token) = self.token.take() else { return Answer::Nothing };
                return self.list(self.limit, Some(token));
            }
            Step::Watch => {
                let then = self.cluster.server.clone();
                let held = then.list(KIND, None).cloned().collect();
                self.watches.push(Watch { from: then.resource_version(), then, held });
                return Answer::Nothing;
            }
            Step::Compact => {
                self.cluster.server.compact();
                return Answer::Nothing;
            }
        };
        code(reply)
    }
}

fn code(reply: Response) -> Answer {
    Answer::Code(match reply {
        Ok(reply) => reply.code,
        Err(status) => status.code,
    })
}

impl StateMachineTest for Agreement {
    type SystemUnderTest = Store;
    type Reference = Naive;

    fn init_test(_: &Naive) -> Store {
        let cluster = Cluster::new();
        let start = cluster.server.resource_version();
        let (former, watches) = (BTreeMap::new(), Vec::new());
        Store { cluster, start, former, token: None, limit: 0, watches }
    }

    fn apply(mut store: Store, naive: &Naive, step: Step) -> Store {
        let before: Vec<_> = (0..3).filter_map(|n| Some((n, store.live(n)?))).collect();
        let version = store.cluster.server.resource_version();
        let answer = store.ask(step);
        assert_eq!(answer, naive.answer);
        if matches!(answer, Answer::Code(400..)) {
            assert_eq!(store.cluster.server.resource_version(), version, "refused, yet written");
        }
        for (name, object) in before {
            if store.live(name).is_none_or(|o| o.meta.uid != object.meta.uid) {
                store.former.insert(name, Arc::clone(&object.meta.uid));
            }
        }
        store
    }

    fn check_invariants(store: &Store, naive: &Naive) {
        let server = &store.cluster.server;
        assert_eq!(server.resource_version() - store.start, naive.writes);
        assert_eq!(server.list(KIND, None).count(), naive.objects.len());
        for (name, entry) in &naive.objects {
            let object = store.live(*name).expect("it is there");
            assert_eq!(fields(&object), entry.fields, "d{name}");
            assert_eq!(owners(&object), entry.owners, "d{name}");
            assert_eq!(object.terminating(), entry.going, "d{name}");
            assert_eq!(object.meta.generation, entry.generation, "d{name}");
        }
        for watch in &store.watches {
            let remembered = watch.from - store.start >= naive.forgotten;
            assert!(watch.then.list(KIND, None).eq(&watch.held), "a fork saw later writes");
            for filter in filters() {
                watch.follow(server, &filter, remembered);
            }
        }
    }
}

impl Watch {
    /// What it is sent makes what it saw when it began into what is there.
    fn follow(&self, server: &ApiServer, filter: &Filter, remembered: bool) {
        let events = match server.watch(KIND, Some("n"), filter, self.from) {
            Ok(events) => events,
            Err(_) => return assert!(!remembered, "what is remembered is not sent"),
        };
        assert!(remembered, "what was forgotten is sent");
        let mut sees = seen(&self.then, filter);
        let mut last = self.from;
        for (what, object) in events {
            assert!(object.meta.resource_version > last, "events in the order of versions");
            last = object.meta.resource_version;
            let name = Arc::clone(&object.meta.name);
            let had = match what {
                ChangeType::Deleted => sees.remove(&name).is_some(),
                _ => sees.insert(name, object).is_some(),
            };
            assert_eq!(had, what != ChangeType::Added);
        }
        assert_eq!(sees, seen(server, filter));
    }
}
