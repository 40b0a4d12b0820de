//! Manifests from files: one YAML file with any number of documents, a kustomize folder, or standard
//! input. Of kustomize only `resources` and `namespace` are understood; whoever uses more lets kubectl
//! render it. What the objects mean is the API server's business.

#![expect(
    clippy::disallowed_methods,
    reason = "manifests are read from files, before a world begins"
)]

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ivory_core::Kind;
use serde_json::{Value, json};

use super::fields::nearest;
use super::node::{InputError, Node, Tree, documents};

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file as it was named, `-` for standard input.
    pub file: String,
    /// The document, with its places.
    pub node: Node,
    /// The kind.
    pub kind: Kind,
    /// The namespace that a kustomization sets, which wins over the document's own.
    namespace: Option<String>,
}

impl Manifest {
    /// The object as JSON, in the namespace that its kustomization gives it.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut value = self.node.value();
        if let Some(namespace) = &self.namespace
            && self.kind.namespaced()
        {
            json_patch::merge(&mut value, &json!({"metadata": {"namespace": namespace}}));
        }
        value
    }

    /// An error at a path of the document, such as `spec.instances[0].replicas`.
    #[must_use]
    pub fn error(&self, path: &str, message: &str) -> InputError {
        InputError {
            file: self.file.clone(),
            at: Some(self.node.place_of(path)),
            message: message.to_owned(),
        }
    }
}

/// Finds a path that is relative to a folder or to any folder above it.
///
/// # Errors
/// A sentence that names the path, when it is nowhere.
pub fn look_up(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    whole
        .ancestors()
        .map(|up| up.join(path))
        .find(|p| p.exists())
        .map(|found| match std::env::current_dir() {
            // Shown as short as it can be.
            Ok(here) => found.strip_prefix(&here).map_or(found.clone(), Path::to_path_buf),
            Err(_) => found,
        })
        .ok_or_else(|| format!("there is no {path} in this folder or in one above it"))
}

/// Reads all objects of a file, of a kustomize folder, or of standard input (`-`).
///
/// # Errors
/// One error with its place.
pub fn load(path: &Path) -> Result<Vec<Manifest>, InputError> {
    let found = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| InputError::whole("-", format!("can't be read: {e}")))?;
        parse("-", &text)?
    } else if path.is_dir() {
        kustomize(path, 0)?
    } else {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => InputError::whole(&file, "there is no such file"),
            _ => InputError::whole(&file, format!("can't be read: {e}")),
        })?;
        parse(&file, &text)?
    };
    match found.is_empty() {
        true => Err(InputError::whole(&path.display().to_string(), "holds no object")),
        false => Ok(found),
    }
}

/// Reads the objects of a text.
///
/// # Errors
/// When it is no YAML, or a document is no object of a known kind.
pub fn parse(file: &str, text: &str) -> Result<Vec<Manifest>, InputError> {
    let nodes = documents(text).map_err(|bad| bad.of(file))?;
    let mut found = Vec::new();
    for node in nodes {
        // kubectl prints lists of objects as one object.
        if node.get("kind").and_then(Node::as_text) == Some("List")
            && let Some(Tree::List(items)) = node.get("items").map(|n| &n.tree)
        {
            for item in items {
                found.push(manifest(file, item.clone())?);
            }
            continue;
        }
        found.push(manifest(file, node)?);
    }
    Ok(found)
}

fn manifest(file: &str, node: Node) -> Result<Manifest, InputError> {
    let bad = |node: &Node, message: String| Err(node.bad(message).of(file));
    if !matches!(node.tree, Tree::Map(_)) {
        return bad(&node, format!("expected a Kubernetes object, found {}", node.what()));
    }
    let Some(kind_node) = node.get("kind") else {
        return bad(&node, "an object needs `kind`".into());
    };
    let Some(version_node) = node.get("apiVersion") else {
        return bad(&node, "an object needs `apiVersion`".into());
    };
    let word = kind_node.as_text().unwrap_or_default();
    let version = version_node.as_text().unwrap_or_default();
    let Some(kind) = Kind::ALL.iter().copied().find(|k| k.name() == word) else {
        let near = nearest(word, Kind::ALL.iter().map(|k| k.name()));
        let hint = near.map_or(String::new(), |k| format!("; did you mean `{k}`?"));
        return bad(kind_node, format!("the simulated Kubernetes has no kind `{word}`{hint}"));
    };
    if kind.api_version() != version {
        let right = kind.api_version();
        return bad(
            version_node,
            format!("{kind} is known in apiVersion `{right}`, not in `{version}`"),
        );
    }
    let name = node.get("metadata").and_then(|m| m.get("name"));
    let prefix = node.get("metadata").and_then(|m| m.get("generateName"));
    if name.or(prefix).and_then(Node::as_text).is_none() {
        let place = node.get("metadata").unwrap_or(&node);
        return bad(place, "an object needs `metadata.name`, as text".into());
    }
    Ok(Manifest { file: file.to_owned(), node, kind, namespace: None })
}

/// Folders within folders, as deep as anybody nests them.
const DEEPEST: usize = 8;

fn kustomize(folder: &Path, depth: usize) -> Result<Vec<Manifest>, InputError> {
    const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
    let shown = folder.display().to_string();
    let Some(path) = NAMES.iter().map(|n| folder.join(n)).find(|p| p.is_file()) else {
        return Err(InputError::whole(&shown, "is a folder without kustomization.yaml"));
    };
    let file = path.display().to_string();
    if depth > DEEPEST {
        return Err(InputError::whole(&file, "its folders include each other"));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|e| InputError::whole(&file, format!("can't be read: {e}")))?;
    let node = super::node::document(&text).map_err(|bad| bad.of(&file))?;
    let Tree::Map(map) = &node.tree else {
        return Err(node.wrong("a map").of(&file));
    };
    let (mut namespace, mut found) = (None, Vec::new());
    for (key, value) in map {
        match key.text.as_str() {
            "apiVersion" | "kind" => {}
            "namespace" => {
                let text = value.as_text().ok_or_else(|| value.wrong("text").of(&file))?;
                namespace = Some(text.to_owned());
            }
            "resources" => {
                let Tree::List(items) = &value.tree else {
                    return Err(value.wrong("a list of files and folders").of(&file));
                };
                for item in items {
                    found.extend(resource(folder, &file, item, depth)?);
                }
            }
            more => {
                let message = format!(
                    "`{more}` is more than is read here (`resources` and `namespace`); run \
                     `kubectl kustomize {shown} | ivory-sim try -`"
                );
                return Err(InputError { file, at: Some(key.at), message });
            }
        }
    }
    if namespace.is_some() {
        for manifest in &mut found {
            manifest.namespace.clone_from(&namespace);
        }
    }
    Ok(found)
}

fn resource(
    folder: &Path,
    file: &str,
    item: &Node,
    depth: usize,
) -> Result<Vec<Manifest>, InputError> {
    let text = item.as_text().ok_or_else(|| item.wrong("a path").of(file))?;
    let path = folder.join(text);
    if text.contains("://") {
        return Err(item
            .bad(format!("`{text}` is not on this machine, and nothing is fetched"))
            .of(file));
    }
    if path.is_dir() {
        return kustomize(&path, depth + 1);
    }
    if !path.is_file() {
        return Err(item.bad(format!("there is no {text} in this folder")).of(file));
    }
    load(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ivory-sim-{}-{name}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        folder
    }

    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: own}\n";

    #[test]
    fn a_kustomize_folder_sets_the_namespace_of_what_has_one() {
        let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
        let folder = folder(
            "good",
            &[
                ("kustomization.yaml", "namespace: db\nresources: [a.yaml, sub]\n"),
                ("a.yaml", &format!("{SECRET}{namespace}")),
                ("sub/kustomization.yaml", "resources: [b.yaml]\nnamespace: inner\n"),
                ("sub/b.yaml", SECRET),
            ],
        );
        let all = load(&folder).expect("readable");
        let namespaces: Vec<_> =
            all.iter().map(|m| m.value()["metadata"]["namespace"].clone()).collect();
        assert_eq!(namespaces, [json!("db"), Value::Null, json!("db")]);
        std::fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_kustomization_that_does_more_is_sent_to_kubectl() {
        let folder = folder(
            "more",
            &[("kustomization.yaml", "resources: [a.yaml]\nimages: []\n"), ("a.yaml", SECRET)],
        );
        let error = load(&folder).expect_err("must be refused").to_string();
        assert!(error.contains("kustomization.yaml:2:1: `images` is more"), "{error}");
        assert!(error.contains("| ivory-sim try -`"), "{error}");
        std::fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn what_is_no_object_is_refused_at_its_place() {
        for (text, message) in [
            ("- a\n", "f:1:1: expected a Kubernetes object, found a list"),
            ("kind: Pod\nmetadata: {name: x}\n", "f:1:1: an object needs `apiVersion`"),
            ("apiVersion: v1\nmetadata: {name: x}\n", "f:1:1: an object needs `kind`"),
            (
                "apiVersion: v1\nkind: Servic\nmetadata: {name: x}\n",
                "f:2:7: the simulated Kubernetes has no kind `Servic`; did you mean `Service`?",
            ),
            (
                "apiVersion: v1\nkind: StatefulSet\nmetadata: {name: x}\n",
                "f:1:13: StatefulSet is known in apiVersion `apps/v1`, not in `v1`",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 5\n",
                "f:4:3: an object needs `metadata.name`, as text",
            ),
        ] {
            assert_eq!(parse("f", text).expect_err(text).to_string(), message);
        }
        let missing = load(Path::new("/nowhere/x.yaml")).expect_err("missing");
        assert_eq!(missing.to_string(), "/nowhere/x.yaml: there is no such file");
    }
}
