//! Reading maps with known keys: an unknown one is refused with the nearest known word.

use std::collections::BTreeMap;

use super::node::{At, Bad, Node, Tree};
use crate::time::Span;

/// A map whose keys were all found to be known.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    what: &'a str,
    node: &'a Node,
}

/// The known word nearest to a wrong one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &str| strsim::jaro_winkler(&word.to_lowercase(), &k.to_lowercase());
    known
        .into_iter()
        .map(|k| (near(k), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// The message about an unknown word.
#[must_use]
pub fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("unknown {what} `{word}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`; known are {}", known.join(", ")),
    }
}

impl<'a> Fields<'a> {
    /// Opens a map; `what` names it in errors.
    ///
    /// # Errors
    /// When it is no map, or has a key that is not in `known`.
    pub fn of(node: &'a Node, what: &'a str, known: &[&str]) -> Result<Self, Bad> {
        let Tree::Map(map) = &node.tree else {
            return Err(node.wrong(&format!("a map for {what}")));
        };
        for (key, _) in map {
            if !known.contains(&key.text.as_str()) {
                return Err(Bad {
                    at: key.at,
                    message: unknown(&format!("word in {what}"), &key.text, known),
                });
            }
        }
        Ok(Self { what, node })
    }

    /// Where the map begins.
    #[must_use]
    pub fn at(&self) -> At {
        self.node.at
    }

    /// A field, if it is there and not null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key).filter(|n| n.tree != Tree::Null)
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn need(&self, key: &str) -> Result<&'a Node, Bad> {
        self.get(key).ok_or_else(|| self.node.bad(format!("{} needs `{key}`", self.what)))
    }

    /// A field read by a function, or a default.
    ///
    /// # Errors
    /// Those of the function.
    pub fn or<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Node) -> Result<T, Bad>,
        default: T,
    ) -> Result<T, Bad> {
        self.get(key).map_or(Ok(default), read)
    }

    /// A field read by a function, if it is there.
    ///
    /// # Errors
    /// Those of the function.
    pub fn maybe<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Node) -> Result<T, Bad>,
    ) -> Result<Option<T>, Bad> {
        self.get(key).map(read).transpose()
    }
}

/// Text; numbers and booleans are taken as written.
///
/// # Errors
/// When it is a list, a map or nothing.
pub fn text(node: &Node) -> Result<String, Bad> {
    match &node.tree {
        Tree::Text(text) => Ok(text.clone()),
        Tree::Int(_) | Tree::Bool(_) | Tree::Float(_) => Ok(node.value().to_string()),
        _ => Err(node.wrong("text")),
    }
}

/// True or false.
///
/// # Errors
/// When it is something else.
pub fn flag(node: &Node) -> Result<bool, Bad> {
    match node.tree {
        Tree::Bool(b) => Ok(b),
        _ => Err(node.wrong("true or false")),
    }
}

/// A whole number that is not negative.
///
/// # Errors
/// When it is something else.
pub fn number(node: &Node) -> Result<u64, Bad> {
    match node.tree {
        Tree::Int(i) if i >= 0 => Ok(i.unsigned_abs()),
        _ => Err(node.wrong("a whole number that is not negative")),
    }
}

/// A number of seconds, whole or not.
///
/// # Errors
/// When it is something else.
#[allow(clippy::cast_precision_loss)]
pub fn seconds(node: &Node) -> Result<f64, Bad> {
    match node.tree {
        Tree::Int(i) if i >= 0 => Ok(i as f64),
        Tree::Float(x) if x >= 0.0 => Ok(x),
        _ => Err(node.wrong("a number of seconds")),
    }
}

/// One item or a list of them.
///
/// # Errors
/// Those of `read`.
pub fn one_or_many<T>(node: &Node, read: impl Fn(&Node) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    match &node.tree {
        Tree::List(items) => items.iter().map(read).collect(),
        _ => Ok(vec![read(node)?]),
    }
}

/// A map of any keys.
///
/// # Errors
/// When it is no map, or a value is not as `read` wants it.
pub fn map_of<T>(
    node: &Node,
    read: impl Fn(&Node) -> Result<T, Bad>,
) -> Result<BTreeMap<String, T>, Bad> {
    match &node.tree {
        Tree::Map(map) => map.iter().map(|(k, v)| Ok((k.text.clone(), read(v)?))).collect(),
        _ => Err(node.wrong("a map")),
    }
}

/// A span of time with its unit: `500ms`, `90s`, `5m`, `2h`, `30d`.
///
/// # Errors
/// When the unit is missing or unknown.
pub fn span(node: &Node) -> Result<Span, Bad> {
    let wrong = || node.wrong("a time with its unit, such as 500ms, 90s, 5m, 2h or 30d");
    let text = node.as_text().ok_or_else(wrong)?;
    span_of(text).ok_or_else(wrong)
}

pub(crate) fn span_of(text: &str) -> Option<Span> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Span::ms(number.parse::<i64>().ok()?.checked_mul(unit_ms)?))
}

/// A span as people write it, in the largest unit that divides it.
#[must_use]
pub fn span_text(span: Span) -> String {
    let ms = span.0 / 1_000;
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms != 0 && ms % unit_ms == 0 {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for text in ["500ms", "90s", "5m", "2h", "30d", "0ms"] {
            let span = span_of(text).expect(text);
            assert_eq!(span_text(span), text);
        }
        for text in ["", "5", "s", "5 s", "-5s", "5w", "99999999999999999999s"] {
            assert_eq!(span_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_nearest_word_is_offered() {
        let known = ["description", "world", "steps", "expect"];
        for (wrong, near) in [("step", "steps"), ("expects", "expect"), ("Wrold", "world")] {
            assert_eq!(nearest(wrong, known), Some(near));
        }
        assert_eq!(nearest("zzz", known), None);
        assert!(
            unknown("word", "zzz", &known).ends_with("known are description, world, steps, expect")
        );
    }
}
