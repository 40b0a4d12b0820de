//! A request with everything filled in: what is sent, to either side. Each side has a memory of what
//! it answered, since names of versions and UIDs differ.

use std::collections::BTreeMap;

use anyhow::Context as _;
use ivory_core::Kind;
use serde_json::{Value, json};

use super::script::{On, Step, Verb};

/// A request, filled in.
pub(crate) struct Ask<'a> {
    pub(crate) step: &'a Step,
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    /// Empty for cluster-scoped kinds, and for all namespaces.
    pub(crate) namespace: String,
    /// Empty where none is given.
    pub(crate) name: String,
    /// The manifest, the patch or the options; null where there are none.
    pub(crate) body: Value,
    pub(crate) continues: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
}

/// What came back, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
    /// The events of a watch, `{type, object}`.
    pub(crate) events: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    version: String,
    uid: String,
    continues: String,
}

/// What a side answered before.
pub(crate) struct Memory {
    /// The script's namespace.
    pub(crate) namespace: String,
    /// What `$now` stands for.
    pub(crate) now: String,
    last: BTreeMap<(Kind, String), Kept>,
    kept: BTreeMap<String, Kept>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Memory {
    pub(crate) fn new(namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self { namespace, now: String::new(), last: BTreeMap::new(), kept: BTreeMap::new() }
    }

    /// Fills in a request.
    pub(crate) fn ask<'a>(&self, step: &'a Step) -> anyhow::Result<Ask<'a>> {
        let (verb, on) = step.verb()?;
        let (kind, name) = match &on {
            On::Manifest(manifest) => {
                let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
                (manifest["kind"].as_str().context("kind")?, name)
            }
            On::Name(name) => name.split_once('/').context("KIND/NAME")?,
            On::Kind(kind) => (*kind, ""),
        };
        let kind: Kind = kind.parse()?;
        let name = name.replace("$ns", &self.namespace);
        let mut namespace = match kind.namespaced() && !step.everywhere {
            true => self.namespace.clone(),
            false => String::new(),
        };
        let given = match on {
            On::Manifest(manifest) => Some(manifest),
            _ => step.with.as_ref().or(step.options.as_ref()),
        };
        let mut body = self.fill(given.unwrap_or(&Value::Null), kind, &name);
        if let On::Manifest(_) = on {
            let map = body.as_object_mut().context("a manifest is a map")?;
            map.entry("apiVersion").or_insert_with(|| kind.api_version().into());
            let meta = map.entry("metadata").or_insert_with(|| json!({}));
            if kind.namespaced() {
                match meta.get("namespace").and_then(Value::as_str) {
                    Some(given) => given.clone_into(&mut namespace),
                    None => meta["namespace"] = namespace.clone().into(),
                }
            }
        }
        let kept = |word: &String| self.kept.get(word);
        let from = step.from.as_ref();
        let fill = |text: &Option<String>| text.as_ref().map(|t| t.replace("$ns", &self.namespace));
        let continues = step.continues.as_ref();
        Ok(Ask {
            step,
            verb,
            kind,
            namespace,
            name,
            body,
            continues: continues.map(|w| kept(w).map_or(w, |k| &k.continues).clone()),
            from: from.map(|w| kept(w).map_or(w, |k| &k.version).clone()),
            labels: fill(&step.labels),
            fields: fill(&step.fields),
        })
    }

    /// Replaces `$ns` anywhere, and texts that are `$now`, `$rv`, `$uid`, `$rv:WORD` or `$uid:WORD`.
    fn fill(&self, value: &Value, kind: Kind, name: &str) -> Value {
        match value {
            Value::String(given) => {
                let (what, word) = given.split_once(':').unwrap_or((given, ""));
                let kept = || match word {
                    "" => self.last.get(&(kind, name.to_owned())),
                    word => self.kept.get(word),
                };
                match what {
                    "$rv" => kept().map(|k| k.version.clone()).unwrap_or_default().into(),
                    "$now" => self.now.clone().into(),
                    "$uid" => kept().map(|k| k.uid.clone()).unwrap_or_default().into(),
                    _ => given.replace("$ns", &self.namespace).into(),
                }
            }
            Value::Array(list) => list.iter().map(|v| self.fill(v, kind, name)).collect(),
            Value::Object(map) => {
                map.iter().map(|(k, v)| (k.clone(), self.fill(v, kind, name))).collect()
            }
            other => other.clone(),
        }
    }

    /// Remembers what came back.
    pub(crate) fn learn(&mut self, ask: &Ask<'_>, raw: &Raw) {
        let bookmark = raw.events.as_ref().and_then(|events| events.last());
        let body = bookmark.map_or(&raw.body, |event| &event["object"]);
        let meta = &body["metadata"];
        let kept = Kept {
            version: text(&meta["resourceVersion"]),
            uid: text(&meta["uid"]),
            continues: text(&meta["continue"]),
        };
        if let Some(word) = &ask.step.keep {
            self.kept.insert(word.clone(), kept.clone());
        }
        if body["kind"] == ask.kind.name() && raw.events.is_none() && !ask.step.dry {
            let name = if ask.name.is_empty() { text(&meta["name"]) } else { ask.name.clone() };
            self.last.insert((ask.kind, name), kept);
        }
    }

    /// The cluster-scoped objects that were seen.
    pub(crate) fn cluster_scoped(&self) -> impl Iterator<Item = &(Kind, String)> {
        self.last.keys().filter(|(kind, _)| !kind.namespaced() && *kind != Kind::Namespace)
    }
}
