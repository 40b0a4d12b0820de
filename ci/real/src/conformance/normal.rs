//! What is compared: an answer without what differs by nature. UIDs become symbols in the order in
//! which they are first seen, versions say in which request they were first seen, so that "the same as before" and
//! "a new one" still show; times are told by their role; addresses, ports and ends of generated names by a word. Both sides go through this, with a table of
//! symbols each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ask::Raw;

/// A normalised answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) code: u16,
    /// The texts of Warning headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// The body; of a watch, null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) body: Value,
    /// The events of a watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<Vec<Value>>,
}

/// The symbols of one side in one script.
pub(crate) struct Symbols {
    namespace: String,
    uids: BTreeMap<String, usize>,
    /// The request in which each version was first seen.
    versions: BTreeMap<String, usize>,
    request: usize,
    generated: BTreeMap<String, String>,
    /// The version of the page before.
    page: String,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Symbols {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            uids: BTreeMap::new(),
            versions: BTreeMap::new(),
            request: 0,
            generated: BTreeMap::new(),
            page: String::new(),
        }
    }

    /// Normalises an answer.
    pub(crate) fn answer(&mut self, raw: &Raw) -> Answer {
        let mut body = raw.body.clone();
        self.body(&mut body);
        let events = raw.events.as_ref().map(|events| {
            let mut out: Vec<Value> = Vec::new();
            for event in events {
                let event = self.event(event);
                // The server may send several bookmarks; how many depends on time.
                if event["type"] != "BOOKMARK" || out.last() != Some(&event) {
                    out.push(event);
                }
            }
            out
        });
        let mut warnings: Vec<_> = raw.warnings.iter().map(|w| self.scrubbed(w)).collect();
        // The real server finds unknown fields in the random order of a map.
        warnings.sort();
        self.request += 1;
        Answer { code: raw.code, warnings, body, events }
    }

    fn event(&mut self, event: &Value) -> Value {
        let mut object = event["object"].clone();
        if event["type"] == "BOOKMARK" {
            // Beside its version, which moves with the whole store, it has the annotation.
            object =
                json!({"kind": object["kind"], "annotations": object["metadata"]["annotations"]});
        } else {
            self.body(&mut object);
        }
        json!({"type": event["type"], "object": object})
    }

    fn body(&mut self, body: &mut Value) {
        match text(body, "kind") {
            "Status" => status(body),
            "Table" => self.table(body),
            kind if kind.ends_with("List") => {
                let kind = kind.trim_end_matches("List").to_owned();
                self.list(body, &kind);
            }
            _ => self.object(body),
        }
        self.scrub(body);
    }

    fn list(&mut self, list: &mut Value, kind: &str) {
        let meta = &mut list["metadata"];
        let version = text(meta, "resourceVersion").to_owned();
        let same = !self.page.is_empty() && self.page == version;
        meta["resourceVersion"] =
            if same { "<that of the page before>" } else { "<version>" }.into();
        self.page.clear();
        match text(meta, "continue") {
            "" => drop(meta.as_object_mut().and_then(|m| m.remove("continue"))),
            _ => {
                meta["continue"] = "<token>".into();
                self.page = version;
            }
        }
        for item in list["items"].as_array_mut().into_iter().flatten() {
            // Built-in kinds leave them out in lists.
            if let Some(map) = item.as_object_mut() {
                map.remove("apiVersion");
                if map.get("kind").and_then(Value::as_str) == Some(kind) {
                    map.remove("kind");
                }
            }
            self.object(item);
        }
    }

    fn table(&mut self, table: &mut Value) {
        table["metadata"] = Value::Null;
        let columns = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
        for row in table["rows"].as_array_mut().into_iter().flatten() {
            if let Some(map) = row.as_object_mut() {
                map.remove("object");
            }
            for (cell, column) in row["cells"].as_array_mut().into_iter().flatten().zip(&columns) {
                if column["type"] == "date" {
                    *cell = "<age>".into();
                }
            }
        }
        for column in table["columnDefinitions"].as_array_mut().into_iter().flatten() {
            // The description of `Name` is documentation of the real server.
            if column["format"] == "name" {
                column["description"] = "<documentation>".into();
            }
        }
    }

    fn object(&mut self, object: &mut Value) {
        let Some(meta) = object.get_mut("metadata").filter(|m| m.is_object()) else {
            return;
        };
        let version = text(meta, "resourceVersion").to_owned();
        if !version.is_empty() {
            let request = *self.versions.entry(version).or_insert(self.request);
            let role = match request == self.request {
                true => "<new>".to_owned(),
                false => format!("<that of request {request}>"),
            };
            meta["resourceVersion"] = role.into();
        }
        let prefix = text(meta, "generateName").to_owned();
        let name = text(meta, "name").to_owned();
        if !prefix.is_empty() && name.len() == prefix.len() + 5 && name.starts_with(&prefix) {
            let next = self.generated.len() + 1;
            self.generated.entry(name).or_insert_with(|| format!("{prefix}<{next}>"));
        }
        let created = seconds(text(meta, "creationTimestamp"));
        if let Some(list) = meta.get_mut("managedFields").and_then(Value::as_array_mut) {
            for entry in list.iter_mut() {
                let time = text(entry, "time").to_owned();
                if !time.is_empty() {
                    let gap = seconds(&time) - created;
                    entry["time"] = if gap > 1 { "later" } else { "at creation" }.into();
                }
            }
            // Their order depends on times.
            list.sort_by_key(|e| format!("{}{}{}", e["operation"], e["manager"], e["subresource"]));
        }
        if let Some(end) = meta.get("deletionTimestamp").and_then(Value::as_str) {
            let grace = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            let asked = seconds(end) - grace - created;
            let right = (0..100).contains(&asked);
            meta["deletionTimestamp"] = if right { "<when asked + grace>" } else { "wrong" }.into();
        }
    }

    fn scrub(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.scrubbed(text),
            Value::Array(list) => list.iter_mut().for_each(|below| self.scrub(below)),
            Value::Object(map) => {
                for (key, below) in map.iter_mut() {
                    if key == "nodePort" && below.as_u64().is_some_and(|port| port != 0) {
                        *below = "<port>".into();
                    }
                    self.scrub(below);
                }
                let keys: Vec<_> =
                    map.keys().filter(|k| k.contains(&self.namespace)).cloned().collect();
                for key in keys {
                    if let Some(below) = map.remove(&key) {
                        map.insert(key.replace(&self.namespace, "$ns"), below);
                    }
                }
            }
            _ => {}
        }
    }

    fn scrubbed(&mut self, given: &str) -> String {
        if given.parse::<Timestamp>().is_ok() && !given.starts_with("2026-01-02") {
            return "<time>".into();
        }
        let address = given.starts_with("10.") && given.parse::<std::net::Ipv4Addr>().is_ok();
        if address && given != "10.1.2.3" {
            return "<address>".into();
        }
        let mut out = given.replace(&self.namespace, "$ns");
        for (name, symbol) in &self.generated {
            out = out.replace(name, symbol);
        }
        for uid in uids_in(&out) {
            let next = self.uids.len() + 1;
            let number = *self.uids.entry(uid.clone()).or_insert(next);
            out = out.replace(&uid, &format!("uid-{number}"));
        }
        // Versions in messages.
        for before in ["in record (", "in precondition: ", "too old resource version: "] {
            out = without_numbers_after(&out, before);
        }
        out
    }
}

/// UUIDs in a text, but for those that scripts make up (they begin with zeros).
fn uids_in(text: &str) -> Vec<String> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let bytes = text.as_bytes();
    let is_uid = |window: &[u8]| {
        window.iter().enumerate().all(|(at, byte)| match DASHES.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
    };
    let mut found: Vec<String> = Vec::new();
    for window in bytes.windows(36).filter(|w| !w.starts_with(b"00000000") && is_uid(w)) {
        found.push(String::from_utf8_lossy(window).into_owned());
    }
    found
}

/// `too old resource version: 1 (123)` becomes `too old resource version: # (#)`.
fn without_numbers_after(text: &str, before: &str) -> String {
    let Some((head, tail)) = text.split_once(before) else {
        return text.to_owned();
    };
    let mut out = format!("{head}{before}");
    let mut digits = false;
    for c in tail.chars() {
        match c.is_ascii_digit() {
            true if digits => {}
            true => out.push('#'),
            false => out.push(c),
        }
        digits = c.is_ascii_digit();
    }
    out
}

fn seconds(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

/// Keeps what clients decide on. The real server walks maps in random order and reports some findings twice; to two
/// messages it appends a difference of Go structures.
fn status(status: &mut Value) {
    let cut = |text: &str| text.split("\n@@").next().unwrap_or_default().trim_end().to_owned();
    if text(status, "status") == "Success" {
        let uid = status["details"]["uid"].clone();
        *status = json!({"kind": "Status", "status": "Success", "details": {"uid": uid}});
        return;
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let causes: BTreeSet<_> =
        causes.map(|c| (text(c, "field"), text(c, "reason"), cut(text(c, "message")))).collect();
    let message = cut(text(status, "message"));
    let message = if causes.len() > 1 {
        // The causes, in some order.
        message.split(" is invalid: ").next().unwrap_or_default().to_owned()
    } else if let Some((head, findings)) = message.split_once("strict decoding error: ") {
        let findings: BTreeSet<_> = findings.split(", ").collect();
        let findings: Vec<_> = findings.into_iter().collect();
        format!("{head}strict decoding error: {}", findings.join(", "))
    } else {
        message
    };
    let causes: Vec<_> = causes
        .iter()
        .map(|(field, reason, message)| json!({"field": field, "reason": reason, "message": message}))
        .collect();
    let mut details = status["details"].clone();
    if details.is_object() {
        details["causes"] = causes.into();
    } else {
        details = json!({ "causes": causes });
    }
    *status = json!({
        "kind": "Status",
        "reason": status["reason"],
        "message": message,
        "details": details,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_nature_is_replaced() {
        let mut symbols = Symbols::new("here");
        let mut check = |given: Value, expected: Value| {
            let raw = Raw { code: 200, body: given.clone(), ..Raw::default() };
            assert_eq!(symbols.answer(&raw).body, expected, "{given}");
        };
        let uid = |n: u32| format!("1a2b3c4d-0000-4000-8000-{n:012}");
        check(
            json!({"kind": "Pod", "metadata": {"uid": uid(1), "resourceVersion": "70", "namespace": "here"}}),
            json!({"kind": "Pod", "metadata": {"uid": "uid-1", "resourceVersion": "<new>", "namespace": "$ns"}}),
        );
        check(
            json!({"kind": "Pod", "metadata": {"uid": uid(2), "resourceVersion": "70"}, "x": format!("a {} b", uid(1))}),
            json!({"kind": "Pod", "metadata": {"uid": "uid-2", "resourceVersion": "<that of request 0>"}, "x": "a uid-1 b"}),
        );
        check(
            json!({"kind": "Service", "spec": {"clusterIP": "10.9.8.7", "ports": [{"nodePort": 30001}]}}),
            json!({"kind": "Service", "spec": {"clusterIP": "<address>", "ports": [{"nodePort": "<port>"}]}}),
        );
        check(
            json!({"kind": "Pod", "metadata": {"generateName": "p-", "name": "p-abcde"}}),
            json!({"kind": "Pod", "metadata": {"generateName": "p-", "name": "p-<1>"}}),
        );
        check(
            json!({"kind": "Status", "status": "Failure", "reason": "Expired",
                "message": "too old resource version: 1 (345)"}),
            json!({"kind": "Status", "reason": "Expired", "details": {"causes": []},
                "message": "too old resource version: # (#)"}),
        );
    }
}
