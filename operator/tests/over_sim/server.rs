//! The API server's HTTP over the simulated one: what kube-rs sends is read, and what it understands is said.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request as HttpRequest, Response as HttpResponse};
use futures_util::stream;
use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use ivory_sim::kube::{
    self, Change, ChangeType, Content, DeleteOptions, Filter, ObjectRef, Request, Status,
    Subresource, Verb,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::faults::{Action, Asked, End, Faults, Told};
use crate::sim::Sim;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Result<HttpResponse<Body>, BoxError>;

/// One operator's connection to the API server.
#[derive(Clone)]
pub struct Server {
    pub sim: Arc<Sim>,
    pub faults: Arc<Faults>,
    pub by: &'static str,
}

/// What stands in a request's path and query.
struct Address {
    kind: Kind,
    namespace: String,
    name: String,
    subresource: String,
    query: Vec<(String, String)>,
}

impl Address {
    fn of(uri: &axum::http::Uri) -> Option<Self> {
        let mut parts = uri.path().trim_matches('/').split('/').map(decoded);
        let (group, version) = match parts.next()?.as_str() {
            "api" => (String::new(), parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut rest: Vec<String> = parts.collect();
        let mut namespace = String::new();
        if rest.first().is_some_and(|w| w == "namespaces") && rest.len() > 2 {
            namespace = rest.remove(1);
            rest.remove(0);
        }
        let plural = rest.first()?;
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|k| k.group() == group && k.version() == version && k.plural() == plural)?;
        let at = |index: usize| rest.get(index).cloned().unwrap_or_default();
        let query = uri.query().unwrap_or_default().split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((decoded(key), decoded(value)))
        });
        Some(Self { kind, namespace, name: at(1), subresource: at(2), query: query.collect() })
    }

    fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn filter(&self) -> Filter {
        let pairs = |text: &str| -> Vec<(String, Option<String>)> {
            let parts = text.split(',').filter(|p| !p.is_empty());
            parts
                .map(|p| match p.split_once('=') {
                    Some((key, value)) => {
                        (key.to_owned(), Some(value.trim_start_matches('=').to_owned()))
                    }
                    None => (p.to_owned(), None),
                })
                .collect()
        };
        let labels = pairs(self.query("labelSelector").unwrap_or_default());
        let fields = pairs(self.query("fieldSelector").unwrap_or_default());
        let name = fields.iter().find(|(k, _)| k == "metadata.name");
        assert_eq!(name.is_some(), !fields.is_empty(), "an unknown field selector: {fields:?}");
        Filter {
            labels: Selector(labels.into_iter().collect()),
            name: name.and_then(|(_, v)| Some(v.as_deref()?.into())),
            node: None,
        }
    }

    fn target(&self) -> ObjectRef {
        ObjectRef::new(self.kind, &self.namespace, &self.name)
    }

    fn within(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(&self.namespace)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'%' => {
                let (high, low) = (hex(rest.next()), hex(rest.next()));
                let value = high.zip(low).map(|(h, l)| h * 16 + l).expect("percent and two digits");
                bytes.push(u8::try_from(value).expect("two digits"));
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

impl Server {
    /// Answers one request of the client.
    pub async fn answer(self, request: HttpRequest<::kube::client::Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let address = Address::of(&parts.uri).unwrap_or_else(|| panic!("{}", parts.uri));
        let body = body.collect_bytes().await?;
        let body: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        let content_type = parts.headers.get("content-type").and_then(|v| v.to_str().ok());
        let watch = address.query("watch") == Some("true");
        let (verb, verb_word) = if watch {
            (None, "watch")
        } else {
            let (verb, word) = verb(&parts.method, &address, &body, content_type);
            (Some(verb), word)
        };
        let name = match &verb {
            Some(Verb::Create(object)) => object.meta.name.to_string(),
            _ => address.name.clone(),
        };
        let resource = match address.subresource.as_str() {
            "" => address.kind.plural().to_owned(),
            sub => format!("{}/{sub}", address.kind.plural()),
        };
        let detail = body.pointer("/preconditions/uid").and_then(Value::as_str).unwrap_or_default();
        let asked = Asked {
            by: self.by,
            verb: verb_word,
            kind: address.kind,
            resource,
            name,
            detail: detail.to_owned(),
        };
        match verb {
            Some(verb) => self.request(asked, verb).await,
            None => self.watch(asked, &address).await,
        }
    }

    async fn request(&self, asked: Asked, verb: Verb) -> Answer {
        let action = self.faults.of(&asked);
        match &action {
            Some(Action::Answer(code, reason)) => {
                self.tell(&asked, Some(*code), false);
                return Ok(failure(*code, reason));
            }
            Some(Action::Refuse) => {
                self.tell(&asked, None, false);
                return Err("connection refused".into());
            }
            Some(Action::Delay(span)) => sleep(*span).await,
            Some(Action::LoseAnswer) | None => {}
        }
        let mut request = Request::new("ivory-operator/test", verb);
        request.manager = Some(ivory_core::names::FIELD_MANAGER.into());
        let holder = self.holder();
        let response = self.sim.request(request).await;
        let lost = matches!(action, Some(Action::LoseAnswer));
        let code = match &response {
            Ok(reply) => reply.code,
            Err(status) => status.code,
        };
        self.record(&asked, Some(code).filter(|_| !lost), true, holder);
        if lost {
            std::future::pending::<()>().await;
        }
        Ok(match response {
            Ok(reply) => granted(&asked, reply),
            Err(status) => refused(&status),
        })
    }

    /// Notes a request that did not reach the world, or a watch.
    pub fn tell(&self, asked: &Asked, code: Option<u16>, arrived: bool) {
        self.record(asked, code, arrived, self.holder());
    }

    pub fn record(&self, asked: &Asked, code: Option<u16>, arrived: bool, holder: String) {
        let at = Instant::now();
        self.faults.record(Told { at, asked: asked.clone(), code, arrived, holder });
    }

    /// Who holds the operators' lease now.
    pub fn holder(&self) -> String {
        self.sim.with(|world, kube| {
            let mut leases =
                world.kube(kube).api.list(Kind::Lease, Some(ivory_sim::lab::NAMESPACE));
            let holder = leases.next().and_then(|l| l.str_at(&["spec", "holderIdentity"]));
            holder.unwrap_or_default().to_owned()
        })
    }

    async fn watch(&self, asked: Asked, address: &Address) -> Answer {
        match self.faults.of(&asked) {
            Some(Action::Answer(code, reason)) => {
                self.tell(&asked, Some(code), false);
                return Ok(failure(code, reason));
            }
            Some(Action::Refuse | Action::LoseAnswer) => {
                self.tell(&asked, None, false);
                return Err("connection refused".into());
            }
            Some(Action::Delay(span)) => sleep(span).await,
            None => {}
        }
        self.tell(&asked, Some(200), true);
        let seconds = address.query("timeoutSeconds").and_then(|s| s.parse().ok()).unwrap_or(300);
        let follower = Follower {
            sim: self.sim.clone(),
            kind: address.kind,
            namespace: address.within().map(str::to_owned),
            filter: address.filter(),
            seen: address.query("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0),
            version: self.sim.version.subscribe(),
            ends: self.faults.ends.subscribe(),
            end: Instant::now() + Duration::from_secs(seconds),
            over: false,
        };
        let body = Body::from_stream(stream::unfold(follower, Follower::next));
        Ok(HttpResponse::builder().header("content-type", "application/json").body(body)?)
    }
}

/// The server's side of a watch.
struct Follower {
    sim: Arc<Sim>,
    kind: Kind,
    namespace: Option<String>,
    filter: Filter,
    seen: u64,
    version: tokio::sync::watch::Receiver<u64>,
    ends: tokio::sync::watch::Receiver<(u64, End)>,
    end: Instant,
    over: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Bytes, BoxError>, Self)> {
        if self.over {
            return None;
        }
        loop {
            self.version.mark_unchanged();
            match self.news() {
                Ok(text) if !text.is_empty() => return Some((Ok(text.into()), self)),
                Ok(_) => {}
                Err(text) => {
                    self.over = true;
                    return Some((Ok(text.into()), self));
                }
            }
            tokio::select! {
                _ = self.version.changed() => {}
                _ = tokio::time::sleep_until(self.end) => return None,
                _ = self.ends.changed() => {
                    self.over = true;
                    let how = self.ends.borrow().1;
                    let end = match how {
                        End::Cut => Err("connection reset".into()),
                        End::Expired => Ok(expired("too old resource version").into()),
                    };
                    return Some((end, self));
                }
            }
        }
    }

    /// What happened since the last time, as lines; or the line that ends the watch.
    fn news(&mut self) -> Result<String, String> {
        let (sim, filter, namespace) = (self.sim.clone(), &self.filter, self.namespace.as_deref());
        let (kind, seen) = (self.kind, self.seen);
        let news: Result<_, String> = sim.with(|world, kube| {
            let api = &world.kube(kube).api;
            let changes =
                api.changes_since(seen, Some(kind)).map_err(|e| expired(&e.to_string()))?;
            let here = |c: &&Change| namespace.is_none_or(|ns| *c.object.meta.namespace == *ns);
            let lines = changes.filter(here).filter_map(|change| line(change, filter));
            Ok((lines.collect::<String>(), api.resource_version()))
        });
        let (text, version) = news?;
        self.seen = version;
        Ok(text)
    }
}

/// A change as a watch with a selector shows it: what leaves the selection is deleted for it.
fn line(change: &Change, filter: &Filter) -> Option<String> {
    let before = change.old.as_ref().is_some_and(|o| filter.matches(o));
    let after = change.what != ChangeType::Deleted && filter.matches(&change.object);
    let word = match (before, after) {
        (false, false) => return None,
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
    };
    let mut text = json!({"type": word, "object": change.object.to_value()}).to_string();
    text.push('\n');
    Some(text)
}

fn expired(message: &str) -> String {
    format!("{}\n", json!({"type": "ERROR", "object": status(410, "Expired", message)}))
}

fn verb(
    method: &Method,
    address: &Address,
    body: &Value,
    content_type: Option<&str>,
) -> (Verb, &'static str) {
    let object = || {
        let mut object = Object::from_value(body.clone()).expect("a body that is an object");
        object.meta.namespace = address.namespace.as_str().into();
        Arc::new(object)
    };
    let subresource = match address.subresource.as_str() {
        "" => Subresource::None,
        "status" => Subresource::Status,
        other => panic!("nobody asks for {other}"),
    };
    match *method {
        Method::GET if address.name.is_empty() => {
            let limit = address.query("limit").and_then(|l| l.parse().ok()).unwrap_or(0);
            let verb = Verb::List {
                kind: address.kind,
                namespace: address.within().map(Into::into),
                filter: address.filter(),
                limit,
                continue_token: address.query("continue").map(Into::into),
            };
            (verb, "list")
        }
        Method::GET => (Verb::Get(address.target()), "get"),
        Method::POST => (Verb::Create(object()), "create"),
        Method::PUT => (Verb::Update { object: object(), subresource }, "update"),
        Method::PATCH => {
            let body = match content_type {
                Some("application/apply-patch+yaml") => {
                    assert_eq!(address.query("force"), Some("true"));
                    kube::Body::Apply { object: object(), force: true }
                }
                Some("application/merge-patch+json") => kube::Body::Merge(Arc::new(body.clone())),
                other => panic!("nobody sends {other:?}"),
            };
            (Verb::Patch { target: address.target(), subresource, body }, "patch")
        }
        Method::DELETE => {
            let text = |path: &str| body.pointer(path).and_then(Value::as_str);
            let propagation = match text("/propagationPolicy") {
                Some("Background") => Some(Propagation::Background),
                Some("Foreground") => Some(Propagation::Foreground),
                Some("Orphan") => Some(Propagation::Orphan),
                _ => None,
            };
            let options = DeleteOptions {
                uid: text("/preconditions/uid").map(Into::into),
                resource_version: text("/preconditions/resourceVersion")
                    .and_then(|v| v.parse().ok()),
                propagation,
                grace_s: None,
            };
            (Verb::Delete { target: address.target(), options }, "delete")
        }
        _ => panic!("nobody sends {method}"),
    }
}

fn granted(asked: &Asked, reply: kube::Reply) -> HttpResponse<Body> {
    let value = match reply.content {
        Content::Object(object) => object.to_value(),
        Content::List { items, resource_version, continue_token, remaining } => {
            // Items of lists don't say their kind.
            let items: Vec<Value> = items
                .iter()
                .map(|o| {
                    let mut value = o.to_value();
                    if let Value::Object(map) = &mut value {
                        map.remove("kind");
                        map.remove("apiVersion");
                    }
                    value
                })
                .collect();
            json!({
                "kind": format!("{}List", asked.kind), "apiVersion": asked.kind.api_version(),
                "metadata": {"resourceVersion": resource_version.to_string(), "continue": continue_token.as_deref(), "remainingItemCount": remaining},
                "items": items,
            })
        }
        Content::Deleted(uid) => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"name": asked.name, "uid": &*uid}})
        }
        Content::Done => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        }
    };
    reply_with(reply.code, &value)
}

fn refused(refusal: &Status) -> HttpResponse<Body> {
    reply_with(refusal.code, &status(refusal.code, refusal.reason, &refusal.message))
}

fn failure(code: u16, reason: &str) -> HttpResponse<Body> {
    reply_with(code, &status(code, reason, &format!("planted: {reason}")))
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn reply_with(code: u16, value: &Value) -> HttpResponse<Body> {
    let body = Body::from(value.to_string());
    let response = HttpResponse::builder().status(code).header("content-type", "application/json");
    response.body(body).expect("a response")
}

/// The service that a `kube::Client` speaks through.
pub fn client(server: Server) -> ::kube::Client {
    let service = tower::service_fn(move |request: HttpRequest<::kube::client::Body>| {
        server.clone().answer(request)
    });
    ::kube::Client::new(service, ivory_sim::lab::NAMESPACE)
}
