//! YAML as a tree that remembers where everything stands, so that an error can point at its place.
//! Scenarios and manifests are both read through it. It knows no vocabulary.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A place in a file; both numbers count from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct At {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// Something wrong at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// Where.
    pub at: At,
    /// What, as a sentence without a full stop.
    pub message: String,
}

/// Input that can't be used: one error, with everything needed to find and correct it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct InputError {
    /// The file as it was named, or `-` for standard input.
    pub file: String,
    /// Where in the file, if it could be read at all.
    pub at: Option<At>,
    /// What, as a sentence without a full stop.
    pub message: String,
}

impl InputError {
    /// An error about a file as a whole.
    #[must_use]
    pub fn whole(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at: None, message: message.into() }
    }

    fn text(&self) -> String {
        match self.at {
            Some(at) => format!("{}:{}:{}: {}", self.file, at.line, at.column, self.message),
            None => format!("{}: {}", self.file, self.message),
        }
    }
}

impl Bad {
    /// Names the file.
    #[must_use]
    pub fn of(self, file: &str) -> InputError {
        InputError {
            file: file.to_owned(),
            at: (self.at.line > 0).then_some(self.at),
            message: self.message,
        }
    }
}

/// A value and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub tree: Tree,
}

/// A key of a map and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Where it begins.
    pub at: At,
    /// The key.
    pub text: String,
}

/// A YAML value.
#[derive(Clone, PartialEq, Debug)]
pub enum Tree {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// Reads every document of a text; empty documents are left out.
///
/// # Errors
/// When it is no YAML, with the parser's words and place.
pub fn documents(text: &str) -> Result<Vec<Node>, Bad> {
    // A `---` on the first line, or two in a row, open documents that hold nothing.
    let nodes = serde_saphyr::from_multiple::<Spanned<Tree>>(text).map_err(|error| {
        let at = error.location().map(at).unwrap_or_default();
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default();
        let message = message
            .split(" at line ")
            .next()
            .unwrap_or(message)
            .trim_end_matches([',', ':', ' '])
            .trim_start_matches("error: ");
        Bad { at, message: format!("this is not YAML: {message}") }
    })?;
    let nodes = nodes.into_iter().map(node);
    Ok(nodes.filter(|n| n.tree != Tree::Null).collect())
}

/// Reads a text with exactly one document.
///
/// # Errors
/// When it is no YAML, or has no document or more than one.
pub fn document(text: &str) -> Result<Node, Bad> {
    let mut all = documents(text)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => {
            Err(Bad { at: At { line: 1, column: 1 }, message: "the file is empty".into() })
        }
        (Some(second), false) => {
            Err(Bad { at: second.at, message: "only one document is allowed here".into() })
        }
    }
}

fn at(location: serde_saphyr::Location) -> At {
    At { line: location.line(), column: location.column() }
}

fn node(spanned: Spanned<Tree>) -> Node {
    Node { at: at(spanned.referenced), tree: spanned.value }
}

impl Node {
    /// The value without places, as JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(b) => (*b).into(),
            Tree::Int(i) => (*i).into(),
            Tree::Float(f) => (*f).into(),
            Tree::Text(t) => t.clone().into(),
            Tree::List(items) => items.iter().map(Node::value).collect(),
            Tree::Map(map) => Value::Object(
                map.iter().map(|(k, v)| (k.text.clone(), v.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Map(map) => map.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, for people.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match &self.tree {
            Tree::Null => "nothing",
            Tree::Bool(_) => "true or false",
            Tree::Int(_) => "a whole number",
            Tree::Float(_) => "a number",
            Tree::Text(_) => "text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }

    /// The error that this node is not what belongs here.
    #[must_use]
    pub fn wrong(&self, expected: &str) -> Bad {
        let shown = match &self.tree {
            Tree::Text(text) => format!("{text:?}"),
            Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) => self.value().to_string(),
            _ => self.what().to_owned(),
        };
        self.bad(format!("expected {expected}, found {shown}"))
    }

    /// An error at this node.
    #[must_use]
    pub fn bad(&self, message: impl Into<String>) -> Bad {
        Bad { at: self.at, message: message.into() }
    }

    /// The place of the deepest node on a path such as `spec.instances[0].replicas` that exists here.
    #[must_use]
    pub fn place_of(&self, path: &str) -> At {
        let mut here = self;
        let mut place = self.at;
        for part in path.split(['.', '[', ']']).filter(|p| !p.is_empty()) {
            let next = match &here.tree {
                Tree::Map(map) => map.iter().find(|(k, _)| k.text == part),
                Tree::List(items) => {
                    let Some(item) = part.parse().ok().and_then(|i: usize| items.get(i)) else {
                        break;
                    };
                    (here, place) = (item, item.at);
                    continue;
                }
                _ => None,
            };
            let Some((key, value)) = next else { break };
            (here, place) = (value, key.at);
        }
        place
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_some<D: serde::Deserializer<'de>>(self, d: D) -> Result<Tree, D::Error> {
                d.deserialize_any(Any)
            }
            fn visit_bool<E>(self, b: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(b))
            }
            fn visit_i64<E>(self, i: i64) -> Result<Tree, E> {
                Ok(Tree::Int(i))
            }
            fn visit_u64<E: serde::de::Error>(self, u: u64) -> Result<Tree, E> {
                let too_big = |_| E::custom("a number beyond 2^63 fits in no field");
                i64::try_from(u).map(Tree::Int).map_err(too_big)
            }
            fn visit_f64<E>(self, x: f64) -> Result<Tree, E> {
                Ok(Tree::Float(x))
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element::<Spanned<Tree>>()? {
                    items.push(node(item));
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let key = Key { at: at(key.referenced), text: key.value };
                    entries.push((key, node(map.next_value::<Spanned<Tree>>()?)));
                }
                Ok(Tree::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive() {
        let text = "a: 1\nb:\n  - c: x\n    d: [true, ~]\n---\n---\ne: on\n";
        let all = documents(text).expect("YAML");
        assert_eq!(all.len(), 2, "the empty document is left out");
        assert_eq!(
            all[0].value(),
            serde_json::json!({"a": 1, "b": [{"c": "x", "d": [true, null]}]})
        );
        let line = |path: &str| all[0].place_of(path).line;
        assert_eq!((line("a"), line("b"), line("b[0].d"), line("b[0].zzz")), (1, 2, 4, 3));
        assert_eq!(all[0].place_of("b[0].d").column, 5);
        assert_eq!(all[1].at.line, 7);
    }

    #[test]
    fn what_is_no_yaml_is_refused_at_its_place() {
        for (text, line, part) in [
            ("a: [1, 2\n", 1, "not YAML"),
            ("a: 1\na: 2\n", 2, "duplicate"),
            ("", 1, "empty"),
            ("a: 1\n---\nb: 2\n", 3, "one document"),
        ] {
            let bad = document(text).expect_err(text);
            assert!(bad.message.contains(part), "{text:?}: {bad:?}");
            assert_eq!(bad.at.line, line, "{text:?}: {bad:?}");
        }
    }
}
