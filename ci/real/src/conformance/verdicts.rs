//! The script `verdicts`: what both servers say to the manifests that core's own tests judge by rules and by
//! reading (`core/tests/fixtures/verdicts.yaml`), so that every rule of our definitions is violated at least once.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::script::{Script, Step};

const VERDICTS: &str = include_str!("../../../../core/tests/fixtures/verdicts.yaml");

#[derive(Deserialize)]
struct Verdicts {
    base: Value,
    rules: Vec<Refusal>,
    schema: Vec<Refusal>,
    accepted: Vec<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    patch: Value,
    says: String,
}

/// The script, made from the table.
pub(crate) fn script() -> anyhow::Result<Script> {
    let mut all: Verdicts = serde_saphyr::from_str(VERDICTS).context("verdicts.yaml")?;
    if let Some(meta) = all.base["metadata"].as_object_mut() {
        meta.remove("namespace");
    }
    let refused = all.rules.into_iter().chain(all.schema).map(|r| (r.patch, r.says));
    let accepted = all.accepted.into_iter().map(|patch| (patch, "accepted".to_owned()));
    let mut requests = Vec::new();
    for (patch, note) in refused.chain(accepted) {
        let mut manifest = all.base.clone();
        json_patch::merge(&mut manifest, &patch);
        requests.push(Step {
            create: Some(manifest),
            note: Some(note),
            dry: true,
            ..Step::default()
        });
    }
    for (from, to) in [(17, 18), (18, 18), (18, 17), (9, 18), (17, 19)] {
        let spec =
            json!({"fromIvoryVersion": from, "toIvoryVersion": to, "ivoryclusterName": "hippo"});
        let manifest = json!({"kind": "IvyUpgrade", "metadata": {"name": "up"}, "spec": spec});
        let note = Some(format!("from {from} to {to}"));
        requests.push(Step { create: Some(manifest), note, dry: true, ..Step::default() });
    }
    Ok(Script::made(
        "verdicts",
        "Our definitions: every rule violated, every limit, what is accepted",
        requests,
    ))
}
