//! The side of the model: requests as the simulator's own types, answers as JSON. What the model can't be asked is
//! answered with code 501, which then stands in the table of known differences.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use ivory_sim::kube::{
    ApiServer, Body, ChangeType, Content, DeleteOptions, Filter, ObjectRef, Reply, Request, Status,
    Subresource, UnknownFields, Verb as Asked,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::AGENT;
use super::ask::{Ask, Raw};
use super::script::Verb;

/// A model that nobody asked anything yet, as API servers without controllers are.
pub(crate) struct Model {
    server: ApiServer,
    now: Timestamp,
    uids: u128,
}

/// Why the model can't be asked, or what it refuses with before it looks.
pub(super) enum Stop {
    Unable(&'static str),
    Unreadable(String),
}

impl Stop {
    /// The answer that stands for it.
    pub(super) fn raw(self) -> Raw {
        let (code, reason, message) = match self {
            Self::Unable(what) => (501, "NotImplemented", what.to_owned()),
            Self::Unreadable(why) => (400, "BadRequest", why),
        };
        let body = json!({"kind": "Status", "reason": reason, "message": message});
        Raw { code, body, ..Raw::default() }
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        let server = ApiServer::new().without_service_accounts();
        Self { server, now: Timestamp::from_second(1_780_000_000).unwrap_or_default(), uids: 0 }
    }

    /// Creates an object that no script asks for.
    pub(crate) fn create(&mut self, manifest: &Value) -> anyhow::Result<()> {
        let object = Object::from_value(manifest.clone())?;
        let request = Request::new(AGENT, Asked::Create(Arc::new(object)));
        self.send(&request).map(drop).map_err(|status| anyhow::anyhow!("{status}"))
    }

    /// Forgets what led here: a real server, too, has a past that can't be watched any more.
    pub(crate) fn forget_past(&mut self) {
        self.server.compact();
    }

    fn send(&mut self, request: &Request) -> Result<Reply, Status> {
        let mut uids = || {
            self.uids += 1;
            (0x1a << 120) | (self.uids << 64) | self.uids
        };
        self.server.handle(self.now, &mut uids, request)
    }

    /// What the model says to a request.
    pub(crate) fn answer(&mut self, ask: &Ask<'_>) -> Raw {
        if ask.step.later {
            self.now += SignedDuration::from_secs(3);
        }
        let answered = match ask.verb {
            Verb::Watch => self.watch(ask),
            Verb::Table => self.table(ask),
            _ => self.request(ask),
        };
        answered.unwrap_or_else(Stop::raw)
    }

    fn request(&mut self, ask: &Ask<'_>) -> Result<Raw, Stop> {
        let request = request(ask)?;
        Ok(raw(ask, self.send(&request)))
    }

    fn watch(&self, ask: &Ask<'_>) -> Result<Raw, Stop> {
        let from = ask.from.as_deref().unwrap_or("0");
        let from = from.parse().map_err(|_| Stop::Unable("versions are numbers"))?;
        let namespace = (!ask.namespace.is_empty()).then_some(&*ask.namespace);
        let mut events = Vec::new();
        match self.server.watch(ask.kind, namespace, &filter(ask)?, from) {
            Ok(all) => {
                for (what, object) in all {
                    let what = match what {
                        ChangeType::Added => "ADDED",
                        ChangeType::Modified => "MODIFIED",
                        ChangeType::Deleted => "DELETED",
                    };
                    events.push(json!({"type": what, "object": object.to_value()}));
                }
                if ask.step.bookmarks || ask.step.initial {
                    // Where a watch has got to is the version of the whole; the model sends no bookmarks itself.
                    let mut meta =
                        json!({"resourceVersion": self.server.resource_version().to_string()});
                    if ask.step.initial {
                        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                    }
                    let object = json!({"kind": ask.kind.name(), "metadata": meta});
                    events.push(json!({"type": "BOOKMARK", "object": object}));
                }
            }
            Err(expired) => {
                let status = json!({"kind": "Status", "reason": "Expired", "code": 410,
                    "message": expired.to_string()});
                events.push(json!({"type": "ERROR", "object": status}));
            }
        }
        Ok(Raw { code: 200, events: Some(events), ..Raw::default() })
    }

    fn table(&self, ask: &Ask<'_>) -> Result<Raw, Stop> {
        let namespace = (!ask.namespace.is_empty()).then_some(&*ask.namespace);
        let table = self.server.table(ask.kind, namespace);
        let body = table.ok_or(Stop::Unable("only custom kinds have columns"))?;
        Ok(Raw { code: 200, body, ..Raw::default() })
    }
}

/// The request in the simulator's words.
pub(super) fn request(ask: &Ask<'_>) -> Result<Request, Stop> {
    let step = ask.step;
    Ok(Request {
        manager: step.manager.as_deref().map(Into::into),
        dry_run: step.dry,
        unknown_fields: match step.unknown.as_deref() {
            Some("Strict") => UnknownFields::Strict,
            Some("Ignore") => UnknownFields::Ignore,
            _ => UnknownFields::Warn,
        },
        ..Request::new(AGENT, asked(ask)?)
    })
}

/// The simulator's response as an answer.
pub(super) fn raw(ask: &Ask<'_>, response: Result<Reply, Status>) -> Raw {
    match response {
        Ok(reply) => Raw {
            code: reply.code,
            body: content(ask, &reply.content),
            warnings: reply.warnings,
            events: None,
        },
        Err(status) => Raw { code: status.code, body: refusal(&status), ..Raw::default() },
    }
}

fn object(value: &Value) -> Result<Arc<Object>, Stop> {
    let object = Object::from_value(value.clone());
    object.map(Arc::new).map_err(|error| Stop::Unreadable(error.to_string()))
}

fn asked(ask: &Ask<'_>) -> Result<Asked, Stop> {
    let target = ObjectRef::new(ask.kind, &ask.namespace, &ask.name);
    let subresource = match ask.step.sub.as_deref() {
        None => Subresource::None,
        Some("status") => Subresource::Status,
        Some("scale") => Subresource::Scale,
        Some("finalize") => Subresource::Finalize,
        Some(_) => return Err(Stop::Unable("no such subresource")),
    };
    if ask.verb == Verb::Get && subresource != Subresource::None {
        return Err(Stop::Unable("a subresource is not read"));
    }
    let patch = |body| Asked::Patch { target: target.clone(), subresource, body };
    let body = || Arc::new(ask.body.clone());
    Ok(match ask.verb {
        Verb::Create => Asked::Create(object(&ask.body)?),
        Verb::Update => Asked::Update { object: object(&ask.body)?, subresource },
        Verb::Apply => patch(Body::Apply { object: object(&ask.body)?, force: ask.step.force }),
        Verb::Merge => patch(Body::Merge(body())),
        Verb::Strategic => patch(Body::Strategic(body())),
        Verb::Json => patch(Body::Json(body())),
        Verb::Get => Asked::Get(target),
        Verb::Delete => Asked::Delete { target, options: options(&ask.body) },
        Verb::Evict => Asked::Evict { target, options: options(&ask.body) },
        Verb::Bind => {
            Asked::Bind { target, node: ask.step.node.as_deref().unwrap_or_default().into() }
        }
        Verb::DeleteAll => Asked::DeleteCollection {
            kind: ask.kind,
            namespace: ask.namespace.as_str().into(),
            filter: filter(ask)?,
            options: options(&ask.body),
        },
        Verb::List | Verb::Watch | Verb::Table => Asked::List {
            kind: ask.kind,
            namespace: (!ask.namespace.is_empty()).then(|| ask.namespace.as_str().into()),
            filter: filter(ask)?,
            limit: ask.step.limit.unwrap_or(0),
            continue_token: ask.continues.as_deref().map(|token| match token {
                "too-old" => format!("1/{}/a", ask.namespace).into(),
                token => token.into(),
            }),
        },
    })
}

fn options(options: &Value) -> DeleteOptions {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let conditions = &options["preconditions"];
    DeleteOptions {
        uid: text(&conditions["uid"]).map(Into::into),
        resource_version: text(&conditions["resourceVersion"]).and_then(|v| v.parse().ok()),
        propagation: match options["propagationPolicy"].as_str() {
            None => None,
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some(_) => Some(Propagation::Orphan),
        },
        grace_s: options["gracePeriodSeconds"].as_i64(),
    }
}

fn filter(ask: &Ask<'_>) -> Result<Filter, Stop> {
    let mut filter = Filter::default();
    let mut labels = std::collections::BTreeMap::new();
    for part in ask.labels.iter().flat_map(|labels| labels.split(',')) {
        if part.contains(['!', ' ', '(', ')', '>', '<']) {
            return Err(Stop::Unable("label selectors ask for a value or for a key"));
        }
        match part.split_once('=') {
            Some((key, value)) => {
                labels.insert(key.into(), Some(value.trim_start_matches('=').into()))
            }
            None => labels.insert(part.to_owned(), None),
        };
    }
    filter.labels = Selector(labels);
    for part in ask.fields.iter().flat_map(|fields| fields.split(',')) {
        match part.split_once('=') {
            Some(("metadata.name", name)) => filter.name = Some(name.into()),
            Some(("spec.nodeName", node)) => filter.node = Some(node.into()),
            _ => {
                return Err(Stop::Unable("field selectors ask for metadata.name or spec.nodeName"));
            }
        }
    }
    Ok(filter)
}

fn content(ask: &Ask<'_>, content: &Content) -> Value {
    let done = |uid: Value| json!({"kind": "Status", "status": "Success", "details": {"uid": uid}});
    match content {
        Content::Object(object) if ask.step.sub.as_deref() == Some("scale") => scale(object),
        Content::Object(object) => object.to_value(),
        Content::Deleted(uid) => done(Value::from(&**uid)),
        Content::Done => done(Value::Null),
        Content::List { items, resource_version, continue_token, remaining } => {
            let mut meta = Map::new();
            meta.insert("resourceVersion".into(), resource_version.to_string().into());
            if let Some(token) = continue_token {
                meta.insert("continue".into(), (&**token).into());
            }
            if let Some(remaining) = remaining {
                meta.insert("remainingItemCount".into(), (*remaining).into());
            }
            let items: Vec<_> = items.iter().map(|item| item.to_value()).collect();
            json!({"apiVersion": ask.kind.api_version(), "kind": format!("{}List", ask.kind),
                "metadata": meta, "items": items})
        }
    }
}

/// `autoscaling/v1` Scale; the model answers with the scaled object.
fn scale(object: &Object) -> Value {
    let whole = object.to_value();
    let mut meta = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        meta.insert(key.into(), whole["metadata"][key].clone());
    }
    let replicas = |part: &str| object.i64_at(&[part, "replicas"]).unwrap_or(0);
    let labels = object.at(&["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let pairs: Vec<_> =
        labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta,
        "spec": {"replicas": replicas("spec")},
        "status": {"replicas": replicas("status"), "selector": pairs.join(",")}})
}

fn refusal(status: &Status) -> Value {
    let causes: Vec<_> = status
        .causes
        .iter()
        .map(|c| json!({"field": c.field, "reason": c.reason, "message": c.message}))
        .collect();
    let reason = if status.reason.is_empty() { Value::Null } else { status.reason.into() };
    json!({"kind": "Status", "reason": reason, "message": status.message,
        "details": {"causes": causes}})
}

/// The manifest of a namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": Kind::Namespace.name(), "metadata": {"name": name}})
}
