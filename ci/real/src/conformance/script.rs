//! Request scripts: what is asked of an API server, in order, and nothing of what it should answer.
//! `ci/README.md` is their language. A script runs in a namespace of its own.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ivory_core::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A script: `ci/conformance/scripts/NAME.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// The file's name without its end.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it shows, one line.
    pub(crate) shows: String,
    /// Whether our two definitions are installed before, and removed afterwards.
    #[serde(default)]
    pub(crate) definitions: bool,
    /// Of a script of sequences: the kinds whose objects are followed.
    #[serde(default)]
    pub(crate) follows: Vec<String>,
    /// Values with anchors, for the requests to refer to.
    #[serde(default, rename = "let")]
    _let: Value,
    /// The requests.
    pub(crate) requests: Vec<Step>,
}

/// One request. Exactly one of the first group of fields is given: the verb.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Step {
    /// A manifest to POST. `apiVersion` and the namespace are filled in where they are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) create: Option<Value>,
    /// A manifest to PUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) update: Option<Value>,
    /// A manifest for server-side apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) apply: Option<Value>,
    /// `KIND/NAME` to change by the JSON merge patch `with`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merge: Option<String>,
    /// `KIND/NAME` to change by the strategic merge patch `with`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strategic: Option<String>,
    /// `KIND/NAME` to change by the JSON patch `with`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) json: Option<String>,
    /// `KIND/NAME` to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) get: Option<String>,
    /// `KIND/NAME` to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete: Option<String>,
    /// `Pod/NAME` to evict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evict: Option<String>,
    /// `Pod/NAME` to bind to `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bind: Option<String>,
    /// A kind to list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) list: Option<String>,
    /// A kind to watch, from a version until nothing more comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) watch: Option<String>,
    /// A kind to list as the table that kubectl prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// A kind of which all that match are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete_all: Option<String>,

    /// Of a script of sequences: what must have happened before quiet counts, as `+ Pod/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// Of a script of sequences: for how many seconds nothing must happen, where it is not three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quiet: Option<u32>,
    /// What this request shows.
    #[serde(default, skip_serializing)]
    pub(crate) note: Option<String>,
    /// A word of the table of known differences, which this request shows.
    #[serde(default, skip_serializing)]
    pub(crate) known: Option<String>,
    /// The patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<Value>,
    /// `status`, `scale` or `finalize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    /// The field manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manager: Option<String>,
    /// Takes fields of others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) force: bool,
    /// Nothing is stored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) dry: bool,
    /// `fieldValidation`: `Strict` or `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
    /// Some seconds pass first, so that a new time shows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) later: bool,
    /// `DeleteOptions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<Value>,
    /// The node to bind to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// A label selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<String>,
    /// A field selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fields: Option<String>,
    /// In all namespaces.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) everywhere: bool,
    /// So many a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// The page after the one that was kept under this word; `too-old`, or any text that is no token.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub(crate) continues: Option<String>,
    /// The version to watch from: a number, or the word under which an answer was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// A watch with bookmarks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) bookmarks: bool,
    /// A watch that begins with what is there, and says where that ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) initial: bool,
    /// Remembers the answer's version, UID and continue token under this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Create,
    Update,
    Apply,
    Merge,
    Strategic,
    Json,
    Get,
    Delete,
    Evict,
    Bind,
    List,
    Watch,
    Table,
    DeleteAll,
}

/// What the verb stands before.
pub(crate) enum On<'a> {
    Manifest(&'a Value),
    Name(&'a str),
    Kind(&'a str),
}

impl Step {
    /// The verb, and what it stands before.
    pub(crate) fn verb(&self) -> anyhow::Result<(Verb, On<'_>)> {
        let manifests = [
            (Verb::Create, &self.create),
            (Verb::Update, &self.update),
            (Verb::Apply, &self.apply),
        ];
        let names = [
            (Verb::Merge, &self.merge),
            (Verb::Strategic, &self.strategic),
            (Verb::Json, &self.json),
            (Verb::Get, &self.get),
            (Verb::Delete, &self.delete),
            (Verb::Evict, &self.evict),
            (Verb::Bind, &self.bind),
        ];
        let kinds = [
            (Verb::List, &self.list),
            (Verb::Watch, &self.watch),
            (Verb::Table, &self.table),
            (Verb::DeleteAll, &self.delete_all),
        ];
        let mut found = Vec::new();
        for (verb, on) in manifests {
            found.extend(on.as_ref().map(|on| (verb, On::Manifest(on))));
        }
        for (verb, on) in names {
            found.extend(on.as_ref().map(|on| (verb, On::Name(on))));
        }
        for (verb, on) in kinds {
            found.extend(on.as_ref().map(|on| (verb, On::Kind(on))));
        }
        ensure!(found.len() == 1, "{} verbs; a request has one", found.len());
        found.pop().context("a verb")
    }

    /// A line that tells a person which request this is.
    pub(crate) fn title(&self) -> String {
        let Ok((verb, on)) = self.verb() else {
            return "no verb".into();
        };
        let on = match on {
            On::Name(on) | On::Kind(on) => on.to_owned(),
            On::Manifest(value) => {
                let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
                format!("{}/{}", text(&value["kind"]), text(&value["metadata"]["name"]))
            }
        };
        let sub = self.sub.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        let verb = format!("{verb:?}").to_lowercase();
        match &self.note {
            Some(note) => format!("{verb} {on}{sub} ({note})"),
            None => format!("{verb} {on}{sub}"),
        }
    }

    /// The request as fixtures have it: without what is for people.
    pub(crate) fn to_value(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self)?)
    }
}

/// The folder of scripts and recordings.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance"))
}

/// All scripts of requests, by name.
pub(crate) fn scripts() -> anyhow::Result<Vec<Script>> {
    let mut all = read_all("scripts")?;
    all.push(super::verdicts::script()?);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    for script in &all {
        for (at, step) in script.requests.iter().enumerate() {
            checked(step)
                .and_then(|()| {
                    let plain = step.until.is_none() && step.quiet.is_none();
                    ensure!(plain, "`until` and `quiet` go with sequences");
                    Ok(())
                })
                .with_context(|| format!("{} request {at}: {}", script.name, step.title()))?;
        }
    }
    Ok(all)
}

/// All scripts of a folder, by name.
pub(crate) fn read_all(folder_name: &str) -> anyhow::Result<Vec<Script>> {
    let folder = folder().join(folder_name);
    let mut all = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".yaml")) else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        let script: Script =
            serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        all.push(Script { name: name.to_owned(), ..script });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

impl Script {
    /// A script that is made, not read.
    pub(crate) fn made(name: &str, shows: &str, requests: Vec<Step>) -> Self {
        let shows = shows.to_owned();
        Self {
            name: name.to_owned(),
            shows,
            definitions: true,
            follows: Vec::new(),
            _let: Value::Null,
            requests,
        }
    }
}

/// Finds mistakes of who wrote the script.
fn checked(step: &Step) -> anyhow::Result<()> {
    let (verb, on) = step.verb()?;
    let kind = match on {
        On::Kind(kind) => kind,
        On::Name(name) => name.split_once('/').context("KIND/NAME")?.0,
        On::Manifest(manifest) => manifest["kind"].as_str().context("kind")?,
    };
    kind.parse::<Kind>()?;
    let patch = matches!(verb, Verb::Merge | Verb::Strategic | Verb::Json);
    ensure!(patch == step.with.is_some(), "`with` goes with a patch");
    ensure!((verb == Verb::Bind) == step.node.is_some(), "`node` goes with bind");
    if let Some(word) = &step.known {
        ensure!(super::known::TABLE.iter().any(|k| k.word == word), "no known difference {word}");
    }
    Ok(())
}
