//! Names, labels and annotations: what may be in them, in the real server's words.

use std::collections::BTreeMap;

use serde_json::Value;

use super::status::{FieldError, Wrong};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_SLASHES: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|b| lower(*b) || *b == b'-')
        && lower(bytes[0])
        && lower(bytes[bytes.len() - 1])
}

/// What is wrong with an RFC 1123 label.
pub(crate) fn label(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !is_label(text) {
        out.push(LABEL.to_owned());
    }
    out
}

/// What is wrong with an RFC 1035 label, as Services' names are.
pub(crate) fn label_1035(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !is_label(text) || text.starts_with(|c: char| c.is_ascii_digit()) {
        out.push(LABEL_1035.to_owned());
    }
    out
}

/// What is wrong with an RFC 1123 subdomain, as most names are.
pub(crate) fn subdomain(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        out.push(SUBDOMAIN.to_owned());
    }
    out
}

/// What is wrong with a name that is only a part of a path.
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        text => ["/", "%"]
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| format!("may not contain '{c}'"))
            .collect(),
    }
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let outer = |b: u8| b.is_ascii_alphanumeric();
    !bytes.is_empty()
        && bytes.iter().all(|b| outer(*b) || matches!(b, b'-' | b'_' | b'.'))
        && outer(bytes[0])
        && outer(bytes[bytes.len() - 1])
}

/// What is wrong with a label's value.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !text.is_empty() && !is_word(text) {
        out.push(VALUE.to_owned());
    }
    out
}

/// What is wrong with the key of a label, an annotation or a finalizer.
pub(crate) fn qualified(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let parts: Vec<_> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(subdomain(prefix).into_iter().map(|e| format!("prefix part {e}")));
            }
            *name
        }
        _ => return vec![QUALIFIED_SLASHES.to_owned()],
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push(format!("name part {}", too_long(63)));
    }
    if !is_word(name) {
        out.push(QUALIFIED.to_owned());
    }
    out
}

/// What is wrong with a key of a ConfigMap's or Secret's data.
pub(crate) fn config_key(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push(too_long(253));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(fits) {
        out.push(CONFIG_KEY.to_owned());
    } else if matches!(text, "." | "..") {
        out.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        out.push("must not start with '..'".to_owned());
    }
    out
}

/// Checks labels at a path.
pub(crate) fn labels<'a>(
    path: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<FieldError>,
) {
    for (key, value) in labels {
        out.extend(qualified(key).into_iter().map(|e| FieldError::invalid(path, key, e)));
        out.extend(label_value(value).into_iter().map(|e| FieldError::invalid(path, value, e)));
    }
}

/// Checks annotations: their keys in lower case, and their total size.
pub(crate) fn annotations(path: &str, map: &BTreeMap<String, String>, out: &mut Vec<FieldError>) {
    const MAX: usize = 256 << 10;
    let mut size = 0;
    for (key, value) in map {
        size += key.len() + value.len();
        let wrong = qualified(&key.to_lowercase());
        out.extend(wrong.into_iter().map(|e| FieldError::invalid(path, key.as_str(), e)));
    }
    if size > MAX {
        let detail = format!("may not be more than {MAX} bytes");
        out.push(FieldError::new(path, Wrong::TooLong, detail));
    }
}

/// The strings of a JSON map.
pub(crate) fn strings(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}
