//! Reading steps: each is a map with one step's word, and words beside it.

use ivory_core::Kind;
use ivory_core::plan::Propagation;
use serde_json::{Value, json};

use super::brief::brief;
use super::fields::{Fields, flag, nearest, number, one_or_many, span, text, unknown};
use super::language::{Act, ClientSpec, SqlAsk, SqlWhat, Step};
use super::manifests;
use super::node::{Bad, Key, Node, Tree};
use super::parse::Ctx;
use super::parse_expect::{expectations, target};
use super::parse_fault::fault;
use super::target::Target;
use super::words::{Group, words, words_of};
use crate::time::Span;

/// How long `wait` waits if the step does not say `within`.
pub const WAIT: Span = Span::s(600);

pub(super) fn steps(ctx: &Ctx<'_>, node: &Node) -> Result<Vec<Step>, Bad> {
    match &node.tree {
        Tree::List(items) => items.iter().map(|n| step(ctx, n)).collect(),
        _ => Err(node.wrong("a list of steps")),
    }
}

fn step(ctx: &Ctx<'_>, node: &Node) -> Result<Step, Bad> {
    let fields = Fields::of(node, "a step", &words_of(&[Group::Step, Group::Beside]))?;
    let (key, inner) = the_word(node)?;
    let kube = match fields.get("in") {
        None => 0,
        Some(n) => {
            let name = text(n)?;
            let index = ctx.kubes.iter().position(|k| *k == name);
            let known: Vec<&str> = ctx.kubes.iter().map(String::as_str).collect();
            index.ok_or_else(|| n.bad(unknown("Kubernetes", &name, &known)))?
        }
    };
    let word = key.text.as_str();
    let allowed: &[&str] = match word {
        "wait" => &["within"],
        "expect" => &["for"],
        "apply" | "patch" | "annotate" | "label" | "delete" | "scale" => &["refused", "optional"],
        "fault" => &["optional"],
        _ => &[],
    };
    for beside in ["within", "for", "refused", "optional"] {
        if let Some(n) = fields.get(beside)
            && !allowed.contains(&beside)
        {
            return Err(n.bad(format!("`{beside}` has no meaning beside `{word}`")));
        }
    }
    let act = match word {
        "apply" => apply(ctx, inner)?,
        "patch" => patch(inner)?,
        "annotate" => metadata(inner, "annotations")?,
        "label" => metadata(inner, "labels")?,
        "delete" => delete(inner)?,
        "scale" => {
            let fields = Fields::of(inner, "`scale`", &["set", "to"])?;
            Act::Scale {
                set: text(fields.need("set")?)?,
                to: i64::try_from(number(fields.need("to")?)?).unwrap_or(i64::MAX),
            }
        }
        "wait" => Act::Wait { all: expectations(inner)?, within: fields.or("within", span, WAIT)? },
        "expect" => {
            Act::Expect { all: expectations(inner)?, hold: fields.or("for", span, Span::ZERO)? }
        }
        "connect" => connect(ctx, inner)?,
        "disconnect" => Act::Disconnect(text(inner)?),
        "sql" => sql(inner)?,
        "fault" => Act::Fault(fault(inner)?),
        "advance" => Act::Advance(span(inner)?),
        "mark" => Act::Mark(text(inner)?),
        "each" => each(ctx, inner)?,
        other => return Err(inner.bad(unknown("step", other, &words(Group::Step)))),
    };
    Ok(Step {
        at: node.at,
        text: brief(node),
        kube,
        cluster: fields.maybe("cluster", text)?,
        act,
        refused: fields.maybe("refused", text)?,
        optional: fields.or("optional", flag, false)?,
    })
}

/// The one step's word of a map, and its value.
fn the_word(node: &Node) -> Result<(&Key, &Node), Bad> {
    let known = words(Group::Step);
    let Tree::Map(map) = &node.tree else {
        return Err(node.wrong("a map for a step"));
    };
    let mut found = map.iter().filter(|(k, _)| known.contains(&k.text.as_str()));
    match (found.next(), found.next()) {
        (Some((key, value)), None) => Ok((key, value)),
        (Some((one, _)), Some((two, _))) => Err(Bad {
            at: two.at,
            message: format!(
                "a step does one thing; begin a new one before `{}` (this one does `{}`)",
                two.text, one.text
            ),
        }),
        (None, _) => Err(node.bad(format!("a step needs one of the words {}", known.join(", ")))),
    }
}

fn apply(ctx: &Ctx<'_>, node: &Node) -> Result<Act, Bad> {
    let one = |node: &Node| -> Result<Vec<Value>, Bad> {
        let (file, with) = match &node.tree {
            Tree::Map(map) if !map.iter().any(|(k, _)| k.text == "file") => {
                if node.get("kind").is_none() {
                    return Err(node.bad(
                        "`apply` takes a path, a manifest (with `apiVersion` and `kind`), or `file` and `with`",
                    ));
                }
                return Ok(vec![node.value()]);
            }
            Tree::Map(_) => {
                let fields = Fields::of(node, "`apply`", &["file", "with"])?;
                (fields.need("file")?, fields.get("with"))
            }
            _ => (node, None),
        };
        let path = text(file)?;
        let found = manifests::look_up(ctx.folder, &path).map_err(|m| file.bad(m))?;
        let found = manifests::load(&found).map_err(|e| file.bad(e.to_string()))?;
        let mut values: Vec<Value> = found.into_iter().map(|m| m.value()).collect();
        if let Some(with) = with {
            let mut clusters = values.iter_mut().filter(|v| v["kind"] == "IvoryCluster");
            let Some(cluster) = clusters.next() else {
                return Err(with.bad(format!("{path} has no IvoryCluster to merge this into")));
            };
            json_patch::merge(cluster, &with.value());
        }
        Ok(values)
    };
    let mut all: Vec<Value> = one_or_many(node, one)?.into_iter().flatten().collect();
    for manifest in &mut all {
        let kind = manifest["kind"].as_str().and_then(|k| k.parse::<Kind>().ok());
        let Some(kind) = kind else {
            return Err(
                node.bad(format!("the simulated Kubernetes has no kind {}", manifest["kind"]))
            );
        };
        if kind.namespaced() && manifest["metadata"]["namespace"].is_null() {
            json_patch::merge(manifest, &json!({"metadata": {"namespace": ctx.namespace}}));
        }
    }
    Ok(Act::Apply(all))
}

fn patch(node: &Node) -> Result<Act, Bad> {
    let fields = Fields::of(node, "`patch`", &["of", "with"])?;
    let with = fields.need("with")?;
    if !matches!(with.tree, Tree::Map(_)) {
        return Err(with.wrong("a map to merge into the object"));
    }
    braces(with)?;
    Ok(Act::Patch { of: fields.or("of", target, Target::Cluster)?, with: with.value() })
}

/// What stands in braces in a patch has to be something that has a name.
fn braces(node: &Node) -> Result<(), Bad> {
    match &node.tree {
        Tree::List(list) => list.iter().try_for_each(braces),
        Tree::Map(map) => map.iter().try_for_each(|(_, value)| braces(value)),
        _ => match node.as_text().and_then(Target::in_braces) {
            Some(Err(message)) => Err(node.bad(message)),
            _ => Ok(()),
        },
    }
}

fn metadata(node: &Node, field: &str) -> Result<Act, Bad> {
    let what = format!("the step for {field}");
    let fields = Fields::of(node, &what, &["of", "with"])?;
    let with = fields.need("with")?;
    let Tree::Map(map) = &with.tree else {
        return Err(with.wrong("a map from keys to text, or to null to take a key away"));
    };
    let mut values = serde_json::Map::new();
    for (key, value) in map {
        let value = match value.tree {
            Tree::Null => Value::Null,
            _ => text(value)?.into(),
        };
        values.insert(key.text.clone(), value);
    }
    Ok(Act::Patch {
        of: fields.or("of", target, Target::Cluster)?,
        with: json!({"metadata": {field: values}}),
    })
}

fn delete(node: &Node) -> Result<Act, Bad> {
    if node.as_text().is_some() {
        return Ok(Act::Delete { of: target(node)?, grace_s: None, propagation: None });
    }
    let fields = Fields::of(node, "`delete`", &["of", "grace_s", "propagation"])?;
    let propagation = |n: &Node| match n.as_text() {
        Some("background") => Ok(Propagation::Background),
        Some("foreground") => Ok(Propagation::Foreground),
        Some("orphan") => Ok(Propagation::Orphan),
        _ => Err(n.wrong("background, foreground or orphan")),
    };
    Ok(Act::Delete {
        of: target(fields.need("of")?)?,
        grace_s: fields.maybe("grace_s", number)?.map(|s| i64::try_from(s).unwrap_or(i64::MAX)),
        propagation: fields.maybe("propagation", propagation)?,
    })
}

fn connect(ctx: &Ctx<'_>, node: &Node) -> Result<Act, Bad> {
    const KNOWN: &[&str] = &["as", "secret", "namespace", "every"];
    let fields = Fields::of(node, "`connect`", KNOWN)?;
    Ok(Act::Connect(ClientSpec {
        name: fields.or("as", text, "app".to_owned())?,
        namespace: fields.or("namespace", text, ctx.namespace.clone())?,
        secret: text(fields.need("secret")?)?,
        every: fields.or("every", span, Span::ms(100))?,
    }))
}

fn sql(node: &Node) -> Result<Act, Bad> {
    const ASKS: &[&str] = &["insert", "rows", "read_only"];
    const KNOWN: &[&str] = &["insert", "rows", "read_only", "user", "through"];
    let fields = Fields::of(node, "`sql`", KNOWN)?;
    let mut asked = ASKS.iter().filter(|a| fields.get(a).is_some());
    let (Some(&ask), None) = (asked.next(), asked.next()) else {
        return Err(node.bad("`sql` needs exactly one of insert, rows, read_only"));
    };
    let value = fields.need(ask)?;
    let what = match ask {
        "insert" => SqlWhat::Insert(number(value)?),
        "rows" => SqlWhat::Rows(number(value)?),
        _ => SqlWhat::ReadOnly(flag(value)?),
    };
    let through = |n: &Node| match n.as_text() {
        Some("primary") => Ok(false),
        Some("replicas") => Ok(true),
        _ => Err(n.wrong("primary or replicas")),
    };
    Ok(Act::Sql(SqlAsk {
        user: text(fields.need("user")?)?,
        replicas: fields.or("through", through, false)?,
        what,
    }))
}

fn each(ctx: &Ctx<'_>, node: &Node) -> Result<Act, Bad> {
    let fields = Fields::of(node, "`each`", &["of", "except", "do"])?;
    Ok(Act::Each {
        kinds: one_or_many(fields.need("of")?, kind)?,
        except: fields.or("except", |n| one_or_many(n, target), Vec::new())?,
        steps: steps(ctx, fields.need("do")?)?,
    })
}

/// A kind by its name.
pub(super) fn kind(node: &Node) -> Result<Kind, Bad> {
    let word = text(node)?;
    word.parse().map_err(|_| {
        let near = nearest(&word, Kind::ALL.iter().map(|k| k.name()));
        let hint = near.map_or(String::new(), |k| format!("; did you mean `{k}`?"));
        node.bad(format!("unknown kind `{word}`{hint}"))
    })
}
