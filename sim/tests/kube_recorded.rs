//! Requests that a real kube-apiserver (1.34, without service account admission) answered, replayed on
//! the model; the answers must agree field by field. Each line of `kube_recorded/*.jsonl` is a request
//! and what came of it. UIDs, versions, times, addresses and ports are compared by their role.

#![expect(clippy::disallowed_methods, reason = "recordings are files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use ivory_sim::kube::{
    ApiServer, Body, Content, DeleteOptions, ObjectRef, Request, Status, Subresource,
    UnknownFields, Verb,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

struct Replay {
    server: ApiServer,
    now: Timestamp,
    uids: u128,
    /// The last version and UID of each object, here and there.
    ours: BTreeMap<ObjectRef, (u64, String)>,
    theirs: BTreeMap<ObjectRef, (String, String)>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn target_of(request: &Value) -> ObjectRef {
    let manifest =
        request.get("object").or(request.get("patch").filter(|_| text(request, "type") == "apply"));
    match manifest {
        Some(object) => ObjectRef::new(
            text(object, "kind").parse().expect("a kind"),
            text(&object["metadata"], "namespace"),
            text(&object["metadata"], "name"),
        ),
        None => {
            let kind = match text(request, "verb") {
                "evict" | "bind" => Kind::Pod,
                _ => text(request, "kind").parse().expect("a kind"),
            };
            ObjectRef::new(kind, text(request, "ns"), text(request, "name"))
        }
    }
}

impl Replay {
    fn substitute(&self, value: &Value, target: &ObjectRef) -> Value {
        match value {
            Value::String(s) if s == "$rv" => self.ours[target].0.to_string().into(),
            Value::String(s) if s == "$uid" => self.ours[target].1.clone().into(),
            Value::Array(list) => list.iter().map(|v| self.substitute(v, target)).collect(),
            Value::Object(map) => {
                map.iter().map(|(k, v)| (k.clone(), self.substitute(v, target))).collect()
            }
            other => other.clone(),
        }
    }

    fn verb(&self, request: &Value, target: &ObjectRef) -> Result<Verb, String> {
        let object = |value: &Value| -> Result<Arc<Object>, String> {
            let value = self.substitute(value, target);
            Object::from_value(value).map(Arc::new).map_err(|e| e.to_string())
        };
        let subresource = match text(request, "sub") {
            "status" => Subresource::Status,
            "scale" => Subresource::Scale,
            "" => Subresource::None,
            other => panic!("{other}"),
        };
        let options = || {
            let options = self.substitute(&request["options"], target);
            DeleteOptions {
                uid: options["preconditions"].get("uid").map(|u| u.as_str().unwrap().into()),
                resource_version: options["preconditions"]
                    .get("resourceVersion")
                    .map(|v| v.as_str().unwrap().parse().unwrap()),
                propagation: match text(&options, "propagationPolicy") {
                    "" => None,
                    "Foreground" => Some(Propagation::Foreground),
                    "Background" => Some(Propagation::Background),
                    _ => Some(Propagation::Orphan),
                },
                grace_s: options.get("gracePeriodSeconds").and_then(Value::as_i64),
            }
        };
        let target = target.clone();
        Ok(match text(request, "verb") {
            "create" => Verb::Create(object(&request["object"])?),
            "update" => Verb::Update { object: object(&request["object"])?, subresource },
            "get" => Verb::Get(target),
            "delete" => Verb::Delete { target, options: options() },
            "evict" => Verb::Evict { target, options: options() },
            "bind" => Verb::Bind { target, node: text(request, "node").into() },
            "patch" => {
                let patch = Arc::new(self.substitute(&request["patch"], &target));
                let body = match text(request, "type") {
                    "apply" => Body::Apply {
                        object: object(&patch)?,
                        force: request.get("force") == Some(&Value::Bool(true)),
                    },
                    "merge" => Body::Merge(patch),
                    "strategic" => Body::Strategic(patch),
                    _ => Body::Json(patch),
                };
                Verb::Patch { target, subresource, body }
            }
            other => panic!("{other}"),
        })
    }

    fn step(&mut self, line: &Value) -> Vec<String> {
        let request = &line["request"];
        let target = target_of(request);
        if request.get("sleep").is_some() {
            self.now += SignedDuration::from_secs(3);
        }
        let verb = match self.verb(request, &target) {
            Ok(verb) => verb,
            // What is no object at all never reaches the model.
            Err(_) => return vec![],
        };
        let flag = |key: &str| request.get(key) == Some(&Value::Bool(true));
        let sent = Request {
            manager: request.get("manager").map(|m| m.as_str().unwrap().into()),
            dry_run: flag("dry"),
            unknown_fields: match flag("strict") {
                true => UnknownFields::Strict,
                false => UnknownFields::Warn,
            },
            ..Request::new("rec/1", verb)
        };
        let mut uids = || {
            self.uids += 1;
            (0x1a << 120) | (self.uids << 64) | self.uids
        };
        let reply = self.server.handle(self.now, &mut uids, &sent);
        let (code, body) = match reply {
            Ok(reply) => (u64::from(reply.code), content(&reply.content)),
            Err(status) => (u64::from(status.code), refusal(&status)),
        };
        let real = &line["response"];
        let mut out = Vec::new();
        if line["code"] != code {
            out.push(format!("code {} expected, {code} found", line["code"]));
        }
        let (mut ours, mut theirs) = (body, real.clone());
        if text(&theirs, "kind") == "Status" {
            theirs = real_refusal(&theirs);
        }
        if text(&theirs, "kind") == "Scale" {
            // The model answers with the scaled object.
            return out;
        }
        let before = (self.ours.get(&target).cloned(), self.theirs.get(&target).cloned());
        if text(&ours, "kind") == target.kind.name() && !flag("dry") {
            let meta = &ours["metadata"];
            self.ours.insert(
                target.clone(),
                (text(meta, "resourceVersion").parse().unwrap_or(0), text(meta, "uid").into()),
            );
        }
        if text(&theirs, "kind") == target.kind.name() && !flag("dry") {
            let meta = &theirs["metadata"];
            self.theirs.insert(
                target.clone(),
                (text(meta, "resourceVersion").into(), text(meta, "uid").into()),
            );
        }
        role(&mut ours, before.0.map(|(v, u)| (v.to_string(), u)));
        role(&mut theirs, before.1);
        difference("", &theirs, &ours, &mut out);
        out
    }
}

fn content(content: &Content) -> Value {
    match content {
        Content::Object(object) => object.to_value(),
        Content::Deleted(uid) => json!({"kind": "Status", "uid": &**uid}),
        Content::Done => json!({"kind": "Status", "uid": ""}),
        Content::List { .. } => Value::Null,
    }
}

fn refusal(status: &Status) -> Value {
    let causes =
        status.causes.iter().map(|c| (c.field.clone(), c.reason.to_owned(), c.message.clone()));
    comparable(status.reason, &status.message, causes.collect())
}

fn real_refusal(status: &Value) -> Value {
    if text(status, "status") == "Success" {
        let uid = status["details"].get("uid").cloned().unwrap_or("".into());
        return json!({"kind": "Status", "uid": uid});
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.map(|c| {
        let text = |key| text(c, key).to_owned();
        (text("field"), text("reason"), text("message"))
    });
    comparable(text(status, "reason"), text(status, "message"), causes.collect())
}

/// The real server walks maps in random order and reports some findings twice; it also appends a
/// difference of Go structures to two messages.
fn comparable(reason: &str, message: &str, causes: Vec<(String, String, String)>) -> Value {
    let cut = |text: &str| text.split("\n@@").next().unwrap_or_default().to_owned();
    let causes: BTreeSet<_> = causes.into_iter().map(|(f, r, m)| (f, r, cut(&m))).collect();
    let mut words: Vec<_> = cut(message).split(", ").map(str::to_owned).collect();
    if causes.len() > 1 {
        words = vec!["as its causes".into()];
    } else if message.contains("strict decoding error") {
        let mut message =
            cut(message).replace("strict decoding error: ", "strict decoding error, ");
        message = message.trim().to_owned();
        words = message.split(", ").map(str::to_owned).collect();
        words.sort();
    }
    json!({"reason": reason, "message": words.join(", "), "causes": causes})
}

/// Replaces what differs by nature by what it means: a UID by a word, a version by whether it is new.
fn role(value: &mut Value, before: Option<(String, String)>) {
    if let Some(meta) = value.get_mut("metadata").filter(|m| m.is_object()) {
        let version = text(meta, "resourceVersion").to_owned();
        if !version.is_empty() {
            let same = before.is_some_and(|(v, _)| v == version);
            meta["resourceVersion"] = if same { "same" } else { "new" }.into();
        }
        let created = text(meta, "creationTimestamp").to_owned();
        if let Some(list) = meta.get_mut("managedFields").and_then(Value::as_array_mut) {
            for entry in list.iter_mut() {
                let time = text(entry, "time").to_owned();
                if !time.is_empty() {
                    let gap = seconds(&time) - seconds(&created);
                    entry["time"] = if gap > 1 { "later" } else { "at creation" }.into();
                }
            }
            // Their order depends on times.
            list.sort_by_key(|e| format!("{}{}{}", e["operation"], e["manager"], e["subresource"]));
        }
        if let Some(end) = meta.get("deletionTimestamp").and_then(Value::as_str) {
            let grace = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            let asked = seconds(end) - grace - seconds(&created);
            meta["deletionTimestamp"] =
                if (0..100).contains(&asked) { "right" } else { "wrong" }.into();
        }
    }
    scrub(value);
}

fn seconds(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

fn scrub(value: &mut Value) {
    match value {
        Value::String(s) => {
            let words: Vec<String> = s
                .split_inclusive([' ', ',', '"', ':', '/', '(', ')', '.'])
                .map(|word| {
                    let bare = word.trim_end_matches([' ', ',', '"', ':', '/', '(', ')', '.']);
                    let uid = bare.len() == 36 && bare.bytes().filter(|b| *b == b'-').count() == 4;
                    match uid && !bare.starts_with("00000000") {
                        true => word.replace(bare, "<uid>"),
                        false => word.to_owned(),
                    }
                })
                .collect();
            *s = words.concat();
            if let Some((head, _)) = s.split_once("ResourceVersion in record (") {
                *s = head.to_owned();
            }
            if s.parse::<Timestamp>().is_ok() && !s.starts_with("2026-01-02") {
                *s = "<time>".into();
            } else if s.starts_with("10.")
                && s.parse::<std::net::Ipv4Addr>().is_ok()
                && s != "10.1.2.3"
            {
                *s = "<address>".into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(scrub),
        Value::Object(map) => {
            for (key, below) in map {
                if key == "nodePort" && *below != 0 {
                    *below = "<port>".into();
                }
                scrub(below);
            }
        }
        _ => {}
    }
}

fn difference(path: &str, real: &Value, found: &Value, out: &mut Vec<String>) {
    match (real, found) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let path = format!("{path}.{key}");
                match b.get(key) {
                    Some(other) => difference(&path, value, other, out),
                    None => out.push(format!("{path}: {value} expected, nothing found")),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                out.push(format!("{path}.{key}: nothing expected, {value} found"));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                difference(&format!("{path}[{at}]"), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path}:\n      expected {a}\n      found    {b}")),
    }
}

fn replay(name: &str) {
    let path = format!("{}/tests/kube_recorded/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let recorded = std::fs::read_to_string(path).expect("a recording");
    let mut replay = Replay {
        server: ApiServer::new().without_service_accounts(),
        now: "2026-06-01T00:00:00Z".parse().expect("a time"),
        uids: 0,
        ours: BTreeMap::new(),
        theirs: BTreeMap::new(),
    };
    let mut report = String::new();
    let mut steps = 0;
    for (at, line) in recorded.lines().enumerate() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let found = replay.step(&line);
        steps += 1;
        if !found.is_empty() {
            let request = line["request"].to_string();
            let short: String = request.chars().take(300).collect();
            let _ = writeln!(report, "step {at}: {short}");
            for finding in found.iter().take(12) {
                let finding: String = finding.chars().take(1500).collect();
                let _ = writeln!(report, "    {finding}");
            }
        }
    }
    assert!(report.is_empty(), "{name}, {steps} steps:\n{report}");
}

macro_rules! recordings {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*
    };
}

recordings!(defaults ownership refusals deletion custom);
