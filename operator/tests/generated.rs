//! The committed files of an installation against what the operator needs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ivory_operator::rbac;
use serde_json::Value;

fn committed(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/kustomize/install");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_roles_are_as_printed() {
    for file in rbac::FILES {
        let (found, printed) = (committed(file.path), (file.text)());
        assert_eq!(found, printed, "{}: print it anew with `ivory-operator rbac`", file.path);
    }
}

/// Read back from the file, independently of how it was written.
fn granted(path: &str) -> BTreeSet<(String, String, String)> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&committed(path)).expect("YAML");
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule[key].as_array().expect("a list").iter();
        list.map(|t| t.as_str().expect("text").to_owned()).collect()
    };
    let mut all = BTreeSet::new();
    for rule in documents.iter().filter_map(|d| d["rules"].as_array()).flatten() {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    let fresh = all.insert((group.clone(), resource.clone(), verb.clone()));
                    assert!(fresh, "{path} grants {verb} {resource} twice");
                }
            }
        }
    }
    all
}

#[test]
fn every_verb_is_granted_once_and_none_is_a_wildcard() {
    let granted = granted("rbac/base/role.yaml");
    assert_eq!(granted, rbac::grants());
    assert!(granted.iter().all(|(g, r, v)| [g, r, v].iter().all(|t| *t != "*")));
}

#[test]
fn what_instances_are_given_is_held() {
    let passed_on = rbac::passed_on();
    assert!(passed_on.len() > 10, "the sample cluster could not be read");
    assert!(passed_on.is_subset(&granted("rbac/base/role.yaml")));
}
