//! Bytes to requests and back: what stands in an URL, a header and a body, and what is said in return. Shared by all
//! ways on which clients come; knows neither sockets nor worlds.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use ivory_core::read::Selector;
use ivory_sim::kube::{
    self, ChangeType, Content, DeleteOptions, Filter, ObjectRef, Status, Subresource,
    UnknownFields, Verb,
};
use serde_json::{Map, Value, json};

/// A request's head, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, still encoded.
    pub path: &'a str,
    /// The query, still encoded; empty for none.
    pub query: &'a str,
    /// The header `Content-Type`; empty for none.
    pub content_type: &'a str,
    /// The header `Accept`; empty for none.
    pub accept: &'a str,
}

/// What a request is about: the path, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for all, or for a kind without.
    pub namespace: String,
    /// The object's name; empty for a collection.
    pub name: String,
    /// What comes after the name; empty for the object itself.
    pub subresource: String,
    query: Vec<(String, String)>,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// One request and one answer.
    Request {
        /// What the API server is asked.
        verb: Box<Verb>,
        /// `fieldManager`.
        manager: Option<Arc<str>>,
        /// `dryRun=All`.
        dry_run: bool,
        /// `fieldValidation`.
        unknown_fields: UnknownFields,
    },
    /// A stream of changes.
    Watch {
        /// Of which objects.
        filter: Filter,
        /// From which version on; 0 for all that there is.
        from: u64,
        /// Whether a bookmark shall tell where that which there is ends.
        initial: bool,
        /// Whether bookmarks are understood.
        bookmarks: bool,
        /// For how long, in seconds; none leaves it to the server.
        timeout_s: Option<u64>,
    },
    /// A command in a container, over a WebSocket.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// The container; none if the Pod has but one.
        container: Option<String>,
        /// Whether something comes on standard input.
        stdin: bool,
    },
}

/// The largest body that is read; the real server takes about as much.
pub const BODY_MAX_BYTES: usize = 3 << 20;

fn refuse(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
    Status { code, reason, message: message.into(), causes: Vec::new() }
}

fn bad_request(message: impl Into<String>) -> Status {
    refuse(400, "BadRequest", message)
}

impl Address {
    /// Takes the path and the query of a request apart.
    ///
    /// # Errors
    /// 404 for what no kind of ours is at, 400 for what can't be decoded.
    pub fn of(head: &Head<'_>) -> Result<Self, Status> {
        let nothing =
            || refuse(404, "NotFound", "the server could not find the requested resource");
        let parts: Option<Vec<String>> =
            head.path.trim_matches('/').split('/').map(|part| decoded(part, false)).collect();
        let parts = parts.ok_or_else(|| bad_request("the path can't be decoded"))?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(nothing()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) =>
            {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let plural = rest.first().ok_or_else(nothing)?;
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|k| k.group() == group && k.version() == version && k.plural() == *plural)
            .ok_or_else(nothing)?;
        let at = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        Ok(Self {
            kind,
            namespace: namespace.to_owned(),
            name: at(1),
            subresource: at(2),
            query: pairs(head.query).ok_or_else(|| bad_request("the query can't be decoded"))?,
        })
    }

    /// A parameter of the query.
    #[must_use]
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A switch. Of its values only these two are off; Patroni writes `True`.
    fn says(&self, key: &str) -> bool {
        self.query(key).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// Whether a stream of changes is asked for.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.says("watch")
    }

    /// The namespace, or all of them.
    #[must_use]
    pub fn within(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(&*self.namespace)
    }

    /// The plural, with the subresource after a slash: what roles name.
    #[must_use]
    pub fn resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.kind.plural().to_owned(),
            sub => format!("{}/{sub}", self.kind.plural()),
        }
    }

    fn target(&self) -> ObjectRef {
        ObjectRef::new(self.kind, &self.namespace, &self.name)
    }

    fn filter(&self) -> Result<Filter, Status> {
        let mut filter = Filter::default();
        let mut labels = std::collections::BTreeMap::new();
        for part in parts_of(self.query("labelSelector")) {
            if part.contains(['!', ' ', '(', ')', '>', '<']) {
                let what = format!("label selectors of this server have = alone: {part}");
                return Err(bad_request(what));
            }
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value.trim_start_matches('=').to_owned())),
                None => (part, None),
            };
            labels.insert(key.to_owned(), value);
        }
        filter.labels = Selector(labels);
        for part in parts_of(self.query("fieldSelector")) {
            match part.split_once('=').map(|(k, v)| (k, v.trim_start_matches('='))) {
                Some(("metadata.name", name)) => filter.name = Some(name.into()),
                Some(("spec.nodeName", node)) => filter.node = Some(node.into()),
                _ => return Err(bad_request(format!("field label not supported: {part}"))),
            }
        }
        Ok(filter)
    }
}

fn parts_of(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').filter(|part| !part.is_empty())
}

fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(key, true)?, decoded(value, true)?))
        })
        .collect()
}

/// Text of an URL; in a query, a plus is a blank.
fn decoded(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut hex = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(hex()? * 16 + hex()?).ok()?,
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Reads a request.
///
/// # Errors
/// With what the server answers to what it can't read.
pub fn read(head: &Head<'_>, address: &Address, body: &[u8]) -> Result<Call, Status> {
    if address.watches() && head.method == "GET" {
        let from = match address.query("resourceVersion") {
            None | Some("") => 0,
            Some(text) => text.parse().map_err(|_| bad_request("no version"))?,
        };
        let mut filter = address.filter()?;
        if !address.name.is_empty() {
            filter.name = Some(address.name.as_str().into());
        }
        return Ok(Call::Watch {
            filter,
            from,
            initial: address.says("sendInitialEvents"),
            bookmarks: address.says("allowWatchBookmarks"),
            timeout_s: address.query("timeoutSeconds").and_then(|s| s.parse().ok()),
        });
    }
    if address.kind == Kind::Pod && address.subresource == "exec" {
        let all = |key: &str| {
            let pairs = address.query.iter().filter(|(k, _)| k == key);
            pairs.map(|(_, v)| v.clone()).collect::<Vec<_>>()
        };
        let (argv, container) = (all("command"), address.query("container").map(str::to_owned));
        return Ok(Call::Exec { argv, container, stdin: address.says("stdin") });
    }
    Ok(Call::Request {
        verb: Box::new(verb(head, address, body)?),
        manager: address.query("fieldManager").map(Into::into),
        dry_run: address.query("dryRun") == Some("All"),
        unknown_fields: match address.query("fieldValidation") {
            Some("Strict") => UnknownFields::Strict,
            Some("Ignore") => UnknownFields::Ignore,
            _ => UnknownFields::Warn,
        },
    })
}

fn verb(head: &Head<'_>, address: &Address, body: &[u8]) -> Result<Verb, Status> {
    let kind = head.content_type.split(';').next().unwrap_or_default().trim();
    if kind.contains("protobuf") {
        return Err(unsupported(kind));
    }
    let value = || value(body);
    let subresource = match (head.method, address.subresource.as_str()) {
        (_, "") | ("POST", "eviction" | "binding") => Subresource::None,
        (_, "status") => Subresource::Status,
        ("PUT" | "PATCH", "scale") => Subresource::Scale,
        ("PUT", "finalize") => Subresource::Finalize,
        _ => return Err(refuse(404, "NotFound", "this server has no such subresource")),
    };
    let object = || {
        let mut value = value()?;
        if let Value::Object(body) = &mut value {
            // Who leaves out what the path says already, as Patroni does, is understood.
            body.entry("apiVersion").or_insert_with(|| address.kind.api_version().into());
            body.entry("kind").or_insert_with(|| address.kind.name().into());
        }
        let mut object =
            Object::from_value(value).map_err(|error| bad_request(error.to_string()))?;
        if object.meta.namespace.is_empty() {
            object.meta.namespace = address.namespace.as_str().into();
        }
        Ok::<_, Status>(Arc::new(object))
    };
    let collection = address.name.is_empty();
    Ok(match head.method {
        "GET" if collection => Verb::List {
            kind: address.kind,
            namespace: address.within().map(Into::into),
            filter: address.filter()?,
            limit: address.query("limit").and_then(|l| l.parse().ok()).unwrap_or(0),
            continue_token: address.query("continue").filter(|c| !c.is_empty()).map(Into::into),
        },
        "GET" => Verb::Get(address.target()),
        "POST" if address.subresource == "eviction" => {
            Verb::Evict { target: address.target(), options: options(&value()?["deleteOptions"]) }
        }
        "POST" if address.subresource == "binding" => {
            let node = value()?["target"]["name"].as_str().unwrap_or_default().into();
            Verb::Bind { target: address.target(), node }
        }
        "POST" if collection => Verb::Create(object()?),
        "PUT" if !collection => Verb::Update { object: object()?, subresource },
        "PATCH" if !collection => {
            let patch = match kind {
                "application/apply-patch+yaml" => {
                    kube::Body::Apply { object: object()?, force: address.says("force") }
                }
                "application/merge-patch+json" => kube::Body::Merge(Arc::new(value()?)),
                "application/strategic-merge-patch+json" => {
                    kube::Body::Strategic(Arc::new(value()?))
                }
                "application/json-patch+json" => kube::Body::Json(Arc::new(value()?)),
                other => return Err(unsupported(other)),
            };
            Verb::Patch { target: address.target(), subresource, body: patch }
        }
        "DELETE" => {
            let mut options = options(&if body.is_empty() { Value::Null } else { value()? });
            options.propagation = options
                .propagation
                .or_else(|| address.query("propagationPolicy").and_then(propagation));
            options.grace_s = options
                .grace_s
                .or_else(|| address.query("gracePeriodSeconds").and_then(|s| s.parse().ok()));
            if collection {
                let (namespace, filter) = (address.namespace.as_str().into(), address.filter()?);
                Verb::DeleteCollection { kind: address.kind, namespace, filter, options }
            } else {
                Verb::Delete { target: address.target(), options }
            }
        }
        method => {
            let what = format!("the server does not allow {method} here");
            return Err(refuse(405, "MethodNotAllowed", what));
        }
    })
}

fn unsupported(content_type: &str) -> Status {
    let what = format!("the body of the request was in an unknown format: {content_type:?}");
    refuse(415, "UnsupportedMediaType", what)
}

/// A body: JSON, or YAML.
fn value(body: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|error| bad_request(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| bad_request(error.to_string()))
}

fn propagation(word: &str) -> Option<Propagation> {
    match word {
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        _ => None,
    }
}

fn options(value: &Value) -> DeleteOptions {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    DeleteOptions {
        uid: text("/preconditions/uid").map(Into::into),
        resource_version: text("/preconditions/resourceVersion").and_then(|v| v.parse().ok()),
        propagation: text("/propagationPolicy").and_then(propagation),
        grace_s: value["gracePeriodSeconds"].as_i64(),
    }
}

/// The word of an authorizer for a request.
#[must_use]
pub fn word(method: &str, address: &Address, call: &Call) -> &'static str {
    match (method, call) {
        (_, Call::Watch { .. }) => "watch",
        (_, Call::Exec { .. }) => "create",
        ("GET", _) if address.name.is_empty() => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ if address.name.is_empty() => "deletecollection",
        _ => "delete",
    }
}

/// Whether no more than the metadata of objects is asked for.
///
/// # Errors
/// 406 when a list is asked for in the form of an object, or the other way round.
pub fn metadata_alone(head: &Head<'_>, call: &Call) -> Result<bool, Status> {
    let form = head.accept.split(';').find_map(|part| part.trim().strip_prefix("as="));
    let list = matches!(call, Call::Request { verb, .. } if matches!(**verb, Verb::List { .. }));
    match (form, list) {
        (Some("PartialObjectMetadata"), false) | (Some("PartialObjectMetadataList"), true) => {
            Ok(true)
        }
        (Some(form @ ("PartialObjectMetadata" | "PartialObjectMetadataList")), _) => {
            let what = if list { "a list" } else { "not a list" };
            let what = format!("you requested {form}, but the requested object is {what}");
            Err(refuse(406, "NotAcceptable", what))
        }
        _ => Ok(false),
    }
}

/// What a granted request is answered with.
#[must_use]
pub fn granted(kind: Kind, name: &str, content: &Content) -> Value {
    match content {
        Content::Object(object) => object.to_value(),
        Content::List { items, resource_version, continue_token, remaining } => {
            // Items of lists don't say their kind.
            let item = |object: &Arc<Object>| {
                let mut value = object.to_value();
                if let Value::Object(map) = &mut value {
                    map.remove("kind");
                    map.remove("apiVersion");
                }
                value
            };
            let mut meta = Map::new();
            meta.insert("resourceVersion".into(), resource_version.to_string().into());
            if let Some(token) = continue_token {
                meta.insert("continue".into(), (&**token).into());
            }
            if let Some(remaining) = remaining {
                meta.insert("remainingItemCount".into(), (*remaining).into());
            }
            json!({
                "kind": format!("{kind}List"), "apiVersion": kind.api_version(),
                "metadata": meta, "items": items.iter().map(item).collect::<Vec<_>>(),
            })
        }
        Content::Deleted(uid) => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"name": name, "uid": &**uid}})
        }
        Content::Done => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        }
    }
}

/// An object as who asked for metadata alone sees it.
fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// An answer, an object or a list of them, without anything but metadata.
#[must_use]
pub fn without_content(answer: &Value) -> Value {
    let Some(items) = answer["items"].as_array() else {
        return metadata_of(answer);
    };
    let items: Vec<Value> = items.iter().map(metadata_of).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": answer["metadata"], "items": items,
    })
}

/// `metav1.Status` of a refusal.
#[must_use]
pub fn refused(status: &Status) -> Value {
    let mut value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": status.code, "reason": status.reason, "message": status.message,
    });
    if !status.causes.is_empty() {
        let cause =
            |c: &kube::Cause| json!({"field": c.field, "reason": c.reason, "message": c.message});
        value["details"] = json!({"causes": status.causes.iter().map(cause).collect::<Vec<_>>()});
    }
    value
}

/// A line of a watch, with the whole object or its metadata alone.
#[must_use]
pub fn event(what: ChangeType, object: &Object, metadata_alone: bool) -> String {
    let word = match what {
        ChangeType::Added => "ADDED",
        ChangeType::Modified => "MODIFIED",
        ChangeType::Deleted => "DELETED",
    };
    let mut object = object.to_value();
    if metadata_alone {
        object = metadata_of(&object);
    }
    format!("{}\n", json!({"type": word, "object": object}))
}

/// The line of a watch that tells up to which version all is said; `initial` ends what there was at its beginning.
#[must_use]
pub fn bookmark(kind: Kind, version: u64, initial: bool) -> String {
    let mut meta = json!({"resourceVersion": version.to_string()});
    if initial {
        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": kind.name(), "apiVersion": kind.api_version(), "metadata": meta});
    format!("{}\n", json!({"type": "BOOKMARK", "object": object}))
}

/// The line that ends a watch of which changes are forgotten.
#[must_use]
pub fn expired(message: &str) -> String {
    let status = refuse(410, "Expired", message);
    format!("{}\n", json!({"type": "ERROR", "object": refused(&status)}))
}

#[cfg(test)]
mod tests;
