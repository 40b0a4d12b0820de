//! Reading what `wait` and `expect` demand.

use super::fields::{Fields, flag, map_of, number, one_or_many, span, text};
use super::language::{Expectation, PodState, Primary, Test};
use super::node::{Bad, Node, Tree};
use super::target::{Member, Target};
use super::words::{Group, words};

/// A name of something.
pub(super) fn target(node: &Node) -> Result<Target, Bad> {
    let text = node.as_text().ok_or_else(|| {
        node.wrong("the name of something, such as `primary` or `Service hippo-ha`")
    })?;
    Target::parse(text).map_err(|message| node.bad(message))
}

/// The value of `wait` or `expect`.
pub(super) fn expectations(node: &Node) -> Result<Vec<Expectation>, Bad> {
    Fields::of(node, "expectations", &words(Group::Expectation))?;
    let all = expectations_of(node, &[])?;
    if all.is_empty() {
        return Err(node.bad("nothing is expected here"));
    }
    Ok(all)
}

/// The expectations in a map whose keys were checked, but for some keys.
pub(super) fn expectations_of(node: &Node, but: &[&str]) -> Result<Vec<Expectation>, Bad> {
    let Tree::Map(map) = &node.tree else {
        return Err(node.wrong("a map of expectations"));
    };
    let mut all = Vec::new();
    for (key, inner) in map {
        if !but.contains(&key.text.as_str()) {
            read(&key.text, inner, &mut all)?;
        }
    }
    Ok(all)
}

fn read(word: &str, node: &Node, all: &mut Vec<Expectation>) -> Result<(), Bad> {
    let one = match word {
        "ready" => Expectation::Ready(flag(node)?),
        "instances" => Expectation::Instances(map_of(node, number)?),
        "pods" => {
            const KNOWN: &[&str] = &["ready", "all", "unschedulable", "image_failing"];
            let fields = Fields::of(node, "`pods`", KNOWN)?;
            let states = [
                PodState::Ready,
                PodState::Exists,
                PodState::Unschedulable,
                PodState::ImageFailing,
            ];
            for (word, state) in KNOWN.iter().zip(states) {
                if let Some(count) = fields.maybe(word, number)? {
                    all.push(Expectation::Pods(state, count));
                }
            }
            return Ok(());
        }
        "primary" => Expectation::Primary(match node.as_text() {
            Some("one") => Primary::One,
            Some("none") => Primary::None,
            Some("changed") => Primary::Changed,
            Some("unchanged") => Primary::Unchanged,
            _ => return Err(node.wrong("one, none, changed or unchanged")),
        }),
        "roles" => {
            let fields = Fields::of(node, "`roles`", &["primary", "replica"])?;
            let mut roles = std::collections::BTreeMap::new();
            for role in ["primary", "replica"] {
                if let Some(count) = fields.maybe(role, number)? {
                    roles.insert(role.to_owned(), count);
                }
            }
            Expectation::Roles(roles)
        }
        "timeline" => Expectation::Timeline(number(node)?),
        "exists" => Expectation::Exists(one_or_many(node, target)?),
        "absent" => Expectation::Absent(one_or_many(node, target)?),
        "gone" => Expectation::Gone(text(node)?),
        "field" => {
            for node in items(node) {
                all.push(field(node)?);
            }
            return Ok(());
        }
        "changed" | "unchanged" => {
            for node in items(node) {
                let fields = Fields::of(node, "`changed`", &["of", "path", "since"])?;
                all.push(Expectation::Since {
                    of: target(fields.need("of")?)?,
                    path: text(fields.need("path")?)?,
                    mark: text(fields.need("since")?)?,
                    changed: word == "changed",
                });
            }
            return Ok(());
        }
        "condition" => {
            for node in items(node) {
                all.push(condition(node)?);
            }
            return Ok(());
        }
        "event" => {
            for node in items(node) {
                let fields = Fields::of(node, "`event`", &["reason", "type", "message"])?;
                all.push(Expectation::Event {
                    reason: text(fields.need("reason")?)?,
                    kind: fields.maybe("type", text)?,
                    message: fields.maybe("message", text)?,
                });
            }
            return Ok(());
        }
        "service" => {
            for node in items(node) {
                let fields = Fields::of(node, "`service`", &["name", "to"])?;
                let member = |n: &Node| Member::parse(&text(n)?).map_err(|m| n.bad(m));
                all.push(Expectation::Service {
                    name: text(fields.need("name")?)?,
                    to: one_or_many(fields.need("to")?, member)?,
                });
            }
            return Ok(());
        }
        "spread" => {
            let fields = Fields::of(node, "`spread`", &["nodes", "zones"])?;
            let (zones, counts) = match (fields.get("nodes"), fields.get("zones")) {
                (Some(n), None) => (false, n),
                (None, Some(n)) => (true, n),
                _ => return Err(node.bad("`spread` needs `nodes` or `zones`")),
            };
            let mut counts = one_or_many(counts, number)?;
            counts.sort_unstable_by(|a, b| b.cmp(a));
            Expectation::Spread { zones, counts }
        }
        "client" => {
            for node in items(node) {
                let fields = Fields::of(node, "`client`", &["name", "writes"])?;
                all.push(Expectation::Client {
                    name: fields.or("name", text, "app".to_owned())?,
                    writes: flag(fields.need("writes")?)?,
                });
            }
            return Ok(());
        }
        "quiet" => Expectation::Quiet(span(node)?),
        other => return Err(node.bad(format!("`{other}` is no expectation"))),
    };
    all.push(one);
    Ok(())
}

/// A list's items, or the one node itself.
fn items(node: &Node) -> &[Node] {
    match &node.tree {
        Tree::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

fn field(node: &Node) -> Result<Expectation, Bad> {
    const TESTS: &[&str] = &["is", "not", "contains", "count", "present"];
    const KNOWN: &[&str] = &["of", "path", "is", "not", "contains", "count", "present"];
    let fields = Fields::of(node, "`field`", KNOWN)?;
    let mut found = TESTS.iter().filter(|t| fields.get(t).is_some());
    let (Some(&test), None) = (found.next(), found.next()) else {
        return Err(node.bad(format!("`field` needs exactly one of {}", TESTS.join(", "))));
    };
    let inner = fields.need(test)?;
    let is = match test {
        "is" => Test::Is(inner.value()),
        "not" => Test::Not(inner.value()),
        "contains" => Test::Contains(inner.value()),
        "count" => Test::Count(number(inner)?),
        _ => Test::Present(flag(inner)?),
    };
    Ok(Expectation::Field {
        of: fields.or("of", target, Target::Cluster)?,
        path: text(fields.need("path")?)?,
        is,
    })
}

fn condition(node: &Node) -> Result<Expectation, Bad> {
    const KNOWN: &[&str] = &["type", "status", "reason", "message"];
    let fields = Fields::of(node, "`condition`", KNOWN)?;
    let status = |n: &Node| match &n.tree {
        Tree::Bool(true) => Ok(Some("True".to_owned())),
        Tree::Bool(false) => Ok(Some("False".to_owned())),
        Tree::Text(t) => match t.as_str() {
            "Unknown" => Ok(Some(t.clone())),
            "True" | "False" => Ok(Some(t.clone())),
            "absent" => Ok(None),
            _ => Err(n.wrong("True, False, Unknown or absent")),
        },
        _ => Err(n.wrong("True, False, Unknown or absent")),
    };
    Ok(Expectation::Condition {
        kind: text(fields.need("type")?)?,
        status: fields.or("status", status, Some("True".to_owned()))?,
        reason: fields.maybe("reason", text)?,
        message: fields.maybe("message", text)?,
    })
}
