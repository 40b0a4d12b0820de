//! Every IvoryCluster in `examples/` is accepted by the API server as it stands, unknown fields refused.

#![expect(clippy::disallowed_methods, reason = "examples are files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ivory_core::{Kind, Object, api};
use ivory_sim::kube::{ApiServer, Request, UnknownFields, Verb};
use jiff::Timestamp;
use serde_json::Value;

fn yaml_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            yaml_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            out.push(path);
        }
    }
}

fn create(api: &mut ApiServer, object: Object, uid: u128) -> Result<(), String> {
    let mut request = Request::new("kubectl", Verb::Create(Arc::new(object)));
    request.unknown_fields = UnknownFields::Strict;
    let now = Timestamp::UNIX_EPOCH;
    api.handle(now, &mut || uid, &request).map(drop).map_err(|status| status.to_string())
}

#[test]
fn every_cluster_of_the_examples_is_accepted() {
    let mut api = ApiServer::new();
    for (uid, crd) in (1..).zip([api::crd_ivorycluster(), api::crd_ivyupgrade()]) {
        create(&mut api, Object::from_value(crd).expect("a definition"), uid).expect("accepted");
    }
    create(&mut api, Object::new(Kind::Namespace, "", "all"), 3).expect("accepted");
    let mut files = Vec::new();
    yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &mut files);
    let (mut accepted, mut refused) = (0_u128, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        for document in documents.into_iter().filter(|d| d["kind"] == "IvoryCluster") {
            let mut object = Object::from_value(document).expect("an object");
            // A patch of a kustomization is no whole cluster.
            if object.at(&["spec", "instances"]).is_none() {
                continue;
            }
            // Many have the same name: each gets a server's view of its own.
            object.meta.namespace = "all".into();
            match create(&mut api.clone(), object, 100 + accepted) {
                Ok(()) => accepted += 1,
                Err(why) => refused.push(format!("{}: {why}", file.display())),
            }
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    assert!(accepted >= 100, "only {accepted} clusters were found");
}
