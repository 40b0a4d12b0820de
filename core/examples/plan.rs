//! Core at a pipe, for developers: one pass on what was read of a real Kubernetes, as JSON.
//!
//! Standard input is one document: `cluster` (the object), `objects` (for each read, in the order in which
//! they are printed, a list of objects, or null where nothing could be read), `answers` (for each query
//! `{exit, stdout, stderr, at}` or null), `now`, `entropy` (text, fresh for every pass), `images` (`RELATED_IMAGE_*`).
//! Standard output is `{reads, queries, plan}`: a first call with only `cluster` says what to read. Whoever
//! calls it fetches, asks and writes. Secrets are masked unless the argument `--reveal` is given.

#![expect(clippy::disallowed_macros, reason = "a command prints")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;

use ivory_core::command::Command;
use ivory_core::context::{Config, Context, Entropy};
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::plan::{Op, Plan, Propagation};
use ivory_core::queries::queries;
use ivory_core::read::{Answer, Output, Query, Read, ReadKey};
use ivory_core::reads::reads;
use ivory_core::{Kind, Object, Sensitive};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let reveal = std::env::args().any(|a| a == "--reveal");
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let input: Value = serde_json::from_str(&text)?;
    println!("{}", answer(&input, reveal)?);
    Ok(())
}

fn answer(input: &Value, reveal: bool) -> Result<Value, Failure> {
    let cluster = Arc::new(Object::from_value(input["cluster"].clone())?);
    let keys = reads(&cluster);
    let mut output = json!({ "reads": keys.iter().map(read_key).collect::<Vec<_>>() });
    let Some(lists) = input["objects"].as_array() else { return Ok(output) };
    let objects = keys.into_iter().zip(lists).map(|(key, list)| Ok((key, objects(list)?)));
    let objects = objects.collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let images = input["images"].as_object().into_iter().flatten();
    let images = images.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
    let config = Config { images, ..Config::default() };
    let mut observed = Observed { cluster, objects, answers: BTreeMap::new() };
    let wanted = queries(&observed, &config);
    output["queries"] = wanted.iter().map(|q| query(q, reveal)).collect();
    for (query, given) in wanted.into_iter().zip(input["answers"].as_array().into_iter().flatten())
    {
        observed.answers.insert(query, given_answer(given)?);
    }
    let entropy = input["entropy"].as_str().ok_or("entropy is missing")?;
    let now = input["now"].as_str().ok_or("now is missing")?.parse()?;
    let context = Context {
        now,
        entropy: Entropy(Sensitive::text(entropy)),
        config,
        denied: BTreeSet::new(),
    };
    let decided = ivory_core::steps::plan(&observed, &context, &mut Memos::default());
    let findings = ivory_core::check::check(&observed, &decided);
    output["findings"] = findings.iter().map(|f| format!("{f:?}")).collect();
    output["plan"] = plan(&decided, reveal);
    Ok(output)
}

fn objects(list: &Value) -> Result<Read<Vec<Arc<Object>>>, Failure> {
    let Some(list) = list.as_array() else {
        return Ok(Read::Unknown("it could not be read".into()));
    };
    let objects = list.iter().map(|o| Object::from_value(o.clone()).map(Arc::new));
    let mut objects = objects.collect::<Result<Vec<_>, _>>()?;
    objects.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
    Ok(Read::Known(objects))
}

fn given_answer(given: &Value) -> Result<Read<Answer>, Failure> {
    let text = |key: &str| given[key].as_str().unwrap_or_default();
    let Some(exit) = given["exit"].as_i64() else { return Ok(Read::Unknown("no answer".into())) };
    let output = Output {
        exit: i32::try_from(exit)?,
        stdout: text("stdout").into(),
        stderr: text("stderr").into(),
    };
    Ok(Read::Known(Answer { output, at: text("at").parse()? }))
}

/// Where the API server has objects of a kind.
fn path(kind: Kind, namespace: &str) -> String {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    let within =
        if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    format!("/{root}/{}{within}/{}", kind.api_version(), kind.plural())
}

fn read_key(key: &ReadKey) -> Value {
    match key {
        ReadKey::One { kind, namespace, name } => json!({
            "kind": kind.name(), "apiVersion": kind.api_version(), "name": name,
            "path": format!("{}/{name}", path(*kind, namespace)),
        }),
        ReadKey::Select { kind, namespace, selector } => {
            let pair = |(k, v): (&String, &Option<String>)| match v {
                Some(v) => format!("{k}={v}"),
                None => k.clone(),
            };
            let selector: Vec<_> = selector.0.iter().map(pair).collect();
            json!({
                "kind": kind.name(), "apiVersion": kind.api_version(), "selector": selector.join(","),
                "path": path(*kind, namespace),
            })
        }
    }
}

fn query(query: &Query, reveal: bool) -> Value {
    exec(&query.target, &query.command, query.deadline_s, reveal)
}

fn exec(
    target: &ivory_core::read::Target,
    command: &Command,
    deadline_s: u32,
    reveal: bool,
) -> Value {
    let rendered = command.render();
    let stdin = rendered.stdin.as_ref().and_then(Sensitive::expose_text);
    json!({
        "op": "exec", "label": command.label(), "pod": target.pod, "container": target.container, "argv": rendered.argv,
        "stdin": stdin.map(|text| if reveal { text } else { "(hidden)" }), "deadline_s": deadline_s,
    })
}

fn plan(plan: &Plan, reveal: bool) -> Value {
    let writes = plan.writes.iter().map(|write| {
        let mut value = op(&write.op, reveal);
        value["step"] = write.step.to_string().into();
        value["reason"] = write.reason.to_string().into();
        value
    });
    let report = plan.report.lines.iter().map(|(step, outcome)| format!("{step}: {outcome}"));
    json!({
        "writes": writes.collect::<Vec<_>>(),
        "report": report.collect::<Vec<_>>(),
        "requeue_s": plan.requeue.map(|d| d.as_secs()),
    })
}

fn op(op: &Op, reveal: bool) -> Value {
    let object = |word: &str, o: &Object| {
        let mut value = o.to_value();
        let masked = o.kind == Kind::Secret && !reveal;
        let data = value.get_mut("data").and_then(Value::as_object_mut).filter(|_| masked);
        data.into_iter().flatten().for_each(|(_, v)| *v = "(hidden)".into());
        json!({"op": word, "path": path(o.kind, &o.meta.namespace), "name": &*o.meta.name, "object": value})
    };
    match op {
        Op::Apply { object: o } => object("apply", o),
        Op::Create { object: o } => object("create", o),
        Op::Event { object: o } => object("event", o),
        Op::Delete { kind, namespace, name, uid, resource_version, propagation } => json!({
            "op": "delete", "path": path(*kind, namespace), "name": name,
            "body": {
                "apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"uid": &**uid, "resourceVersion": resource_version.map(|v| v.to_string())},
                "propagationPolicy": match propagation {
                    Propagation::Background => "Background",
                    Propagation::Foreground => "Foreground",
                    Propagation::Orphan => "Orphan",
                },
            },
        }),
        Op::MergePatch { kind, namespace, name, patch } => {
            json!({"op": "patch", "path": path(*kind, namespace), "name": name, "patch": patch})
        }
        Op::Status { kind, namespace, name, patch } => {
            json!({"op": "status", "path": path(*kind, namespace), "name": name, "patch": patch})
        }
        Op::Exec { target, command, deadline_s } => exec(target, command, *deadline_s, reveal),
    }
}
