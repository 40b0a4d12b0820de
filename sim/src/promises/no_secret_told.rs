//! > No secret in SQL text, logs, events, status, traces or process arguments.
//!
//! Looked at before every write: whatever is no Secret itself (Events, status, settings, workloads), a command's arguments
//! and its SQL hold no value of any Secret that there was. And after every event: neither does what is told of it, which
//! is the log of the simulation. What is hidden in a page or a trace is theirs to test (`look/hide.rs`, core's canary).

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine as _;
use ivory_core::Kind;
use ivory_core::command::Command;
use ivory_core::object::Object;
use serde_json::Value;

use super::seen::{Log, Seen, Write, Writes};
use super::{Checker, Promise, When};
use crate::kube::{Body, Verb};
use crate::scenario::transcript::texts;

/// The promise.
pub static PROMISE: Promise = Promise {
    number: 13,
    name: "no secret told",
    words: "No secret in SQL text, logs, events, status, traces or process arguments.",
    when: &[When::Event, When::Write],
    file: file!(),
    held_by: &["sim/src/look/tests.rs"],
};

/// Shorter values are words that stand everywhere.
const SHORT: usize = 10;
/// Keys of what a client must know and everybody may, and certificates.
const PUBLIC: [&str; 8] =
    ["host", "port", "dbname", "user", "pgbouncer-host", "pgbouncer-port", "namespace", "username"];

/// So many values are looked for one by one before the finder is made anew.
const FRESH: usize = 24;

/// The secret values that there were so far.
#[derive(Clone, Default)]
pub(super) struct State {
    values: Arc<BTreeSet<String>>,
    /// Finds any of them but the fresh ones.
    finder: Option<Arc<AhoCorasick>>,
    /// Those that came since the finder was made. They come a few at a time, and making it is dear.
    fresh: Arc<Vec<String>>,
}

impl Checker for State {
    fn event(&mut self, seen: &Seen<'_>, log: &mut Log<'_>) {
        let secrets = seen.changes.iter().filter(|(_, c)| c.object.kind == Kind::Secret);
        secrets.for_each(|(_, change)| self.learn(&change.object));
        for entry in seen.news {
            for text in texts(&entry.what) {
                if self.tells(text) {
                    let text =
                        format!("what is told at {:.3} s holds a secret", entry.at.seconds());
                    log.broken(&PROMISE, text);
                }
            }
        }
        if !seen.news.is_empty() && !self.values.is_empty() {
            log.looked(&PROMISE);
        }
    }

    fn write(&mut self, write: &Write<'_>, log: &mut Log<'_>) {
        let told = match write.what {
            Writes::Exec(_, command, _) => self.in_command(command),
            Writes::Request(request) => match &request.verb {
                Verb::Create(object) | Verb::Patch { body: Body::Apply { object, .. }, .. } => {
                    self.in_object(object)
                }
                Verb::Patch { body: Body::Merge(patch), .. } => self.in_value(patch),
                _ => None,
            },
        };
        if !self.values.is_empty() {
            log.looked(&PROMISE);
        }
        if let Some(place) = told {
            log.broken(&PROMISE, format!("{}: {place} holds a secret", write.text()));
        }
    }
}

impl State {
    /// Remembers what a Secret holds.
    fn learn(&mut self, secret: &Object) {
        let data = secret.at(&["data"]).and_then(Value::as_object);
        let mut news = Vec::new();
        for (key, encoded) in data.into_iter().flatten() {
            let Some(encoded) = encoded.as_str().filter(|_| secret_key(key)) else { continue };
            let plain =
                base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
            let Ok(plain) = String::from_utf8(plain) else { continue };
            // Of a key in PEM the longest line stands for all; whatever is told of it would hold a line.
            let line = plain.lines().max_by_key(|line| line.len()).unwrap_or_default().trim();
            let one_line = plain.trim() == line;
            if line.len() >= SHORT && (one_line || plain.contains("PRIVATE KEY")) {
                news.push(line.to_owned());
                news.push(encoded.to_owned());
            }
        }
        news.retain(|value| !self.values.contains(value));
        if !news.is_empty() {
            Arc::make_mut(&mut self.fresh).extend(news.iter().cloned());
            Arc::make_mut(&mut self.values).extend(news);
        }
        if self.fresh.len() > FRESH {
            // The quickest to make, not to search with.
            let kind = Some(AhoCorasickKind::NoncontiguousNFA);
            let finder = AhoCorasick::builder().kind(kind).build(self.values.iter());
            self.finder = Some(Arc::new(finder.expect("few and short values")));
            self.fresh = Arc::default();
        }
    }

    /// Whether a text holds a secret.
    fn tells(&self, text: &str) -> bool {
        text.len() >= SHORT
            && (self.finder.as_ref().is_some_and(|finder| finder.is_match(text))
                || self.fresh.iter().any(|value| text.contains(value.as_str())))
    }

    fn in_object(&self, object: &Object) -> Option<String> {
        if object.kind == Kind::Secret {
            return None;
        }
        let metadata = object.meta.annotations.iter().chain(object.meta.labels.iter());
        for (key, value) in metadata {
            if self.tells(value) {
                return Some(format!("its metadata {key}"));
            }
        }
        object.body.iter().find_map(|(key, value)| {
            let place = self.in_value(value)?;
            Some(format!("{key}{place}"))
        })
    }

    /// Where a value holds a secret, as a path.
    fn in_value(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => self.tells(text).then(String::new),
            Value::Array(list) => list.iter().enumerate().find_map(|(index, value)| {
                let place = self.in_value(value)?;
                Some(format!("[{index}]{place}"))
            }),
            Value::Object(map) => map.iter().find_map(|(key, value)| {
                let place = self.in_value(value)?;
                Some(format!(".{key}{place}"))
            }),
            _ => None,
        }
    }

    fn in_command(&self, command: &Command) -> Option<String> {
        let rendered = command.render();
        if rendered.argv.iter().any(|word| self.tells(word)) {
            return Some("an argument".to_owned());
        }
        // A user's own SQL is the user's own matter.
        if matches!(command, Command::StartInitSql { .. }) {
            return None;
        }
        let sql = rendered.stdin.as_ref().and_then(|s| s.expose_text())?;
        self.tells(&without_rows(sql)).then(|| "its SQL text".to_owned())
    }
}

/// Whether a key of a Secret holds something that nobody may know.
fn secret_key(key: &str) -> bool {
    !PUBLIC.contains(&key) && !key.ends_with(".crt") && !key.ends_with(".conf")
}

/// SQL without the rows that are copied in, which are data.
fn without_rows(sql: &str) -> String {
    let mut copies = false;
    let text = sql.lines().filter(|line| {
        let end = *line == "\\.";
        let data = copies || line.starts_with("\\copy ");
        copies = data && !end;
        !data
    });
    text.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use ivory_core::names;
    use ivory_core::read::Target;
    use serde_json::json;

    use super::super::planted::*;
    use super::super::seen::Plans;
    use super::*;
    use crate::kube::{Request, Subresource};
    use crate::lab::NAMESPACE;
    use crate::time::Span;
    use crate::world::journal::{Entry, Milestone};

    #[test]
    fn a_password_is_seen_wherever_it_is_told() {
        let world = ready();
        let secret = the(&world, Kind::Secret, &names::pguser_secret(CLUSTER, CLUSTER));
        let password = secret.data("password").expect("a password");
        let password = password.expose_text().expect("text").to_owned();
        let mut state = State::default();
        state.learn(&secret);
        let plans = Plans::default();
        let cluster = the(&world, Kind::IvoryCluster, CLUSTER);
        let event = |text: &str| {
            let mut event = Object::new(Kind::Event, NAMESPACE, "e");
            event.body_mut().insert("message".to_owned(), text.into());
            Request::new("operator", Verb::Create(Arc::new(event)))
        };
        let told = format!("the password is {password}!");
        let status = json!({"status": {"conditions": [{"message": told}]}});
        for (request, wanted) in [
            (event("all is well"), 0),
            (event(&told), 1),
            (patch(&cluster, Subresource::Status, status), 1),
            (Request::new("operator", Verb::Create(secret.clone())), 0),
        ] {
            let write = writes(&world, &request, &plans);
            let wrong = found(world.now(), |log| state.write(&write, log));
            assert_eq!(wrong.len(), wanted, "{}", write.text());
            assert!(!wrong.join("").contains(&password), "a finding tells no secret either");
        }
        let commands = [
            (Command::Failover { scope: "s".into(), candidate: "c".into() }, 0),
            (Command::Failover { scope: "s".into(), candidate: password.clone() }, 1),
            (Command::ReplaceDynamicConfiguration { config: told.clone() }, 1),
        ];
        for (command, wanted) in commands {
            let target = Target {
                namespace: NAMESPACE.into(),
                pod: "p".into(),
                uid: "u".into(),
                container: "database".into(),
            };
            let what = Writes::Exec(&target, &command, Span::s(1));
            let write = Write { world: &world, kube: KUBE, what, plans: &plans };
            assert_eq!(found(world.now(), |log| state.write(&write, log)).len(), wanted);
        }
        let what = Milestone::Note { text: told };
        let news = [Entry { at: world.now(), kube: KUBE, actor: "operator".into(), what }];
        let heard = Seen::new(&world, &news, &[], &plans);
        assert_eq!(found(world.now(), |log| state.event(&heard, log)).len(), 1);
    }

    #[test]
    fn rows_are_data_and_sql_is_not() {
        let sql = "SET a;\n\\copy input (data) from stdin\n{secret}\n\\.\nSELECT b;\n";
        assert_eq!(without_rows(sql), "SET a;\nSELECT b;");
    }
}
