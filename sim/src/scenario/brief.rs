//! A step of a file in one line, as transcripts show it: the file's own words, without its punctuation.

use super::node::{Node, Tree};

/// The longest line before it is cut.
const WIDTH: usize = 160;

/// The step in one line: `wait ready true, instances (instance1 2), within 5m`.
#[must_use]
pub fn brief(step: &Node) -> String {
    let Tree::Map(map) = &step.tree else {
        return inner(step);
    };
    let mut parts = Vec::new();
    for (key, value) in map {
        let shown = match key.text.as_str() {
            "apply" => applied(value),
            // The steps inside are shown when they happen.
            "each" => format!("of {}", value.get("of").map(inner).unwrap_or_default()),
            _ => top(value),
        };
        parts.push(format!("{} {shown}", key.text));
    }
    cut(&parts.join(", "))
}

fn applied(node: &Node) -> String {
    if let Tree::List(items) = &node.tree {
        return items.iter().map(applied).collect::<Vec<_>>().join(", ");
    }
    let name =
        |n: &Node| n.get("metadata").and_then(|m| m.get("name")).map(inner).unwrap_or_default();
    match node.get("kind") {
        Some(kind) => format!("{} {}", inner(kind), name(node)),
        None => top(node),
    }
}

/// A value at the top: no brackets around it.
fn top(node: &Node) -> String {
    match &node.tree {
        Tree::Map(map) => entries(map),
        Tree::List(items) => items.iter().map(inner).collect::<Vec<_>>().join(", "),
        _ => inner(node),
    }
}

fn entries(map: &[(super::node::Key, Node)]) -> String {
    let one = |(key, value): &(super::node::Key, Node)| format!("{} {}", key.text, inner(value));
    map.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn inner(node: &Node) -> String {
    match &node.tree {
        Tree::Null => "null".to_owned(),
        Tree::Text(text) => match text.split_once('\n') {
            Some((first, _)) => format!("{first}…"),
            None => text.clone(),
        },
        Tree::Map(map) => format!("({})", entries(map)),
        Tree::List(_) => format!("[{}]", top(node)),
        _ => node.value().to_string(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    let kept: String = text.chars().take(WIDTH - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::node::document;
    use super::*;

    #[test]
    fn a_step_in_one_line() {
        for (yaml, line) in [
            ("delete: StatefulSet of primary", "delete StatefulSet of primary"),
            (
                "wait: {ready: true, instances: {a: 2}}\nwithin: 5m",
                "wait ready true, instances (a 2), within 5m",
            ),
            (
                "apply: {apiVersion: v1, kind: Secret, metadata: {name: x}, data: {a: b}}",
                "apply Secret x",
            ),
            ("each: {of: [Secret, Service], do: [{mark: x}]}", "each of [Secret, Service]"),
            ("fault: {partition: [node1, outside]}", "fault partition [node1, outside]"),
        ] {
            assert_eq!(brief(&document(yaml).expect(yaml)), line);
        }
        let long = format!("mark: {}", "x".repeat(500));
        assert_eq!(brief(&document(&long).expect("YAML")).chars().count(), WIDTH);
    }
}
