//! Applying files to a world: a refusal becomes an error that points into the file.

use ivory_core::{Kind, Object};
use serde_json::{Value, json};

use super::schema;
use crate::scenario::act;
use crate::scenario::driver::{Ask, Refusal};
use crate::scenario::manifests::Manifest;
use crate::scenario::node::InputError;
use crate::scenario::run::Player;
use crate::world::KubeId;

const KUBE: KubeId = KubeId(0);
/// Where things go that name no namespace, as in kubectl.
const DEFAULT: &str = "default";

/// Applies manifests, namespaces first; a namespace that only a manifest names is made.
///
/// # Errors
/// The first manifest that is wrong, with its place.
pub(super) fn apply(player: &mut Player, manifests: &[Manifest]) -> Result<(), InputError> {
    let mut ordered: Vec<&Manifest> = manifests.iter().collect();
    ordered.sort_by_key(|m| m.kind != Kind::Namespace);
    for manifest in &ordered {
        check(player, manifest)?;
    }
    for manifest in ordered {
        let value = located(manifest);
        player.know(&value);
        if let Some(namespace) = value["metadata"]["namespace"].as_str() {
            make_namespace(player, manifest, namespace)?;
        }
        let ask = act::apply(&value).map_err(|e| manifest.error("", &e))?;
        let done = player.driver.ask(KUBE, &ask);
        done.map_err(|refusal| point(manifest, &refusal))?;
    }
    player.learn();
    Ok(())
}

/// The clusters among some manifests: namespace and name.
pub(super) fn clusters(manifests: &[Manifest]) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    manifests
        .iter()
        .filter(|m| m.kind == Kind::IvoryCluster)
        .map(located)
        .map(|v| (text(&v["metadata"]["namespace"]), text(&v["metadata"]["name"])))
        .collect()
}

fn located(manifest: &Manifest) -> Value {
    let mut value = manifest.value();
    if manifest.kind.namespaced() && value["metadata"]["namespace"].is_null() {
        json_patch::merge(&mut value, &json!({"metadata": {"namespace": DEFAULT}}));
    }
    value
}

fn check(player: &Player, manifest: &Manifest) -> Result<(), InputError> {
    let name = format!("{}.{}", manifest.kind.plural(), manifest.kind.group());
    let kind = Kind::CustomResourceDefinition;
    let Some(crd) = player.driver.get(KUBE, kind, "", &name) else {
        return Ok(());
    };
    let versions = crd.at(&["spec", "versions"]).and_then(Value::as_array);
    let version = |v: &&Value| v["name"] == manifest.kind.version();
    let found = versions.and_then(|v| v.iter().find(version));
    let Some(spec) = found.and_then(|v| v.pointer("/schema/openAPIV3Schema/properties/spec"))
    else {
        return Ok(());
    };
    match manifest.node.get("spec") {
        Some(node) => schema::check(node, spec, "spec").map_err(|bad| bad.of(&manifest.file)),
        None => Ok(()),
    }
}

fn make_namespace(
    player: &mut Player,
    manifest: &Manifest,
    namespace: &str,
) -> Result<(), InputError> {
    if player.driver.get(KUBE, Kind::Namespace, "", namespace).is_some() {
        return Ok(());
    }
    let object = Object::new(Kind::Namespace, "", namespace);
    let done = player.driver.ask(KUBE, &Ask::Apply(object.into()));
    done.map_err(|refusal| point(manifest, &refusal))
}

/// The error of a refusal, at the field that it names.
fn point(manifest: &Manifest, refusal: &Refusal) -> InputError {
    let in_text = || quoted_path(&refusal.message);
    let path =
        refusal.fields.first().map(|(path, _)| path.clone()).or_else(in_text).unwrap_or_default();
    let message = match refusal.fields.first() {
        Some((path, message)) => format!("{path}: {message}"),
        None => refusal.message.clone(),
    };
    manifest.error(&path, &format!("the API server refuses it: {}", message.replace('\n', " ")))
}

/// A field's path that an API server's sentence names.
fn quoted_path(message: &str) -> Option<String> {
    let begin = ["spec.", "metadata.", "data."].iter().filter_map(|p| message.find(p)).min()?;
    let rest = &message[begin..];
    let in_path = |c: char| c.is_ascii_alphanumeric() || "._-[]".contains(c);
    let end = rest.find(|c| !in_path(c)).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_points_at_the_field_that_it_names() {
        let text =
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  ports:\n  - prt: 1\n";
        let manifest = crate::scenario::manifests::parse("f", text).expect("readable").remove(0);
        let refusal = |message: &str, fields: &[(&str, &str)]| Refusal {
            code: 422,
            message: message.into(),
            fields: fields.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        };
        for (refusal, wanted) in [
            (refusal("strict decoding error: unknown field \"spec.ports[0].prt\"", &[]), "f:6:5: "),
            (
                refusal("it is invalid", &[("spec.ports[0].port", "Required value")]),
                "f:6:5: the API server refuses it: spec.ports[0].port: Required",
            ),
            (refusal("no", &[]), "f:1:1: the API server refuses it: no"),
        ] {
            let error = point(&manifest, &refusal).to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
