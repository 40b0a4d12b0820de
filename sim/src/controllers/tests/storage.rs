//! Claims and volumes.

use serde_json::json;

use super::harness::{check_case, check_status, lines_with, missing, sync, written};

fn class(rest: &str) -> String {
    format!(
        "- {{kind: StorageClass, name: std, provisioner: disks, reclaimPolicy: Delete, {rest}}}\n"
    )
}

fn claim(rest: &str) -> String {
    format!(
        "- {{kind: PersistentVolumeClaim, name: c, uid: C, finalizers: [kubernetes.io/pvc-protection], {rest}}}\n"
    )
}

const WANTS: &str = "spec: {storageClassName: std, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
const BOUND: &str = "annotations: {pv.kubernetes.io/bind-completed: 'yes'}, spec: {storageClassName: std, volumeName: v, resources: {requests: {storage: 2Gi}}}, status: {phase: Bound, capacity: {storage: 1Gi}";

fn volume(name: &str, claim_uid: &str, phase: &str, policy: &str) -> String {
    let claim = if claim_uid.is_empty() {
        String::new()
    } else {
        format!("claimRef: {{namespace: db, name: c, uid: {claim_uid}}},")
    };
    format!(
        "- {{kind: PersistentVolume, name: {name}, finalizers: [kubernetes.io/pv-protection], spec: {{storageClassName: std, {claim} accessModes: [ReadWriteOnce], capacity: {{storage: 1Gi}}, persistentVolumeReclaimPolicy: {policy}}}, status: {{phase: {phase}}}}}\n"
    )
}

#[test]
fn claims_get_volumes() {
    let lazy = "volumeBindingMode: WaitForFirstConsumer";
    let pod = |node: &str| {
        format!(
            "- {{kind: Pod, name: p, spec: {{{node} volumes: [{{persistentVolumeClaim: {{claimName: c}}}}]}}}}\n"
        )
    };
    let chosen = "annotations: {volume.kubernetes.io/selected-node: n1}, ";
    let named = WANTS.replace("spec: {", "spec: {volumeName: v, ");
    let make = &["add disk pvc-C", "create PersistentVolume pvc-C"][..];
    for (what, yaml, expected) in [
        ("immediate", class("x: 1") + &claim(WANTS), make),
        ("no class", claim(WANTS), &[]),
        (
            "by hand only",
            class("x: 1").replace("disks", "kubernetes.io/no-provisioner") + &claim(WANTS),
            &[],
        ),
        (
            "a default class that came later",
            class("annotations: {storageclass.kubernetes.io/is-default-class: 'true'}")
                + &claim(&WANTS.replace("storageClassName: std, ", "")),
            &["update PersistentVolumeClaim c"],
        ),
        ("waits for a Pod", class(lazy) + &claim(WANTS), &[]),
        ("the Pod has no node", class(lazy) + &claim(WANTS) + &pod(""), &[]),
        ("the Pod has a node", class(lazy) + &claim(WANTS) + &pod("nodeName: n1,"), make),
        ("the scheduler chose", class(lazy) + &claim(&format!("{chosen}{WANTS}")), make),
        ("being deleted", class("x: 1") + &claim(&format!("deleted: 1, {WANTS}")), &[]),
        (
            "one is free",
            class("x: 1") + &claim(WANTS) + &volume("v", "", "Available", "Delete"),
            &["update PersistentVolume v"],
        ),
        ("another's", class("x: 1") + &claim(WANTS) + &volume("v", "D", "Bound", "Delete"), make),
        (
            "too small",
            class("x: 1")
                + &claim(WANTS)
                + &volume("v", "", "Available", "Delete").replace("1Gi", "1Mi"),
            make,
        ),
        ("named and not there", class("x: 1") + &claim(&named), &[]),
        (
            "named",
            class("x: 1") + &claim(&named) + &volume("v", "", "Available", "Delete"),
            &["update PersistentVolume v"],
        ),
        (
            "half bound",
            class("x: 1") + &claim(WANTS) + &volume("pvc-C", "C", "Bound", "Delete"),
            &["add disk pvc-C", "update PersistentVolumeClaim c"],
        ),
        (
            "bound",
            class("x: 1") + &claim(&format!("{BOUND}}}")) + &volume("v", "C", "Bound", "Delete"),
            &[],
        ),
    ] {
        check_case(what, "persistentvolume-binder", "PersistentVolumeClaim/c", &yaml, expected);
    }
    let yaml = class("x: 1") + &claim(WANTS);
    let made = written(
        &sync("persistentvolume-binder", "PersistentVolumeClaim/c", &yaml),
        "create PersistentVolume pvc-C",
    );
    assert_eq!(made.body["spec"]["claimRef"]["uid"], "C");
    assert_eq!(made.body["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    let fresh = claim(&format!("{BOUND}}}").replace("phase: Bound", "phase: Pending"));
    check_status(
        "persistentvolume-binder",
        "PersistentVolumeClaim/c",
        &(fresh.clone() + &volume("v", "C", "Bound", "Delete")),
        &json!({
            "phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        }),
    );
    check_status(
        "persistentvolume-binder",
        "PersistentVolumeClaim/c",
        &fresh,
        &json!({"phase": "Lost"}),
    );
}

#[test]
fn volumes_go_with_their_claims_or_stay() {
    let lines = |yaml: &str, there: bool| {
        let sync = sync("persistentvolume-binder", "PersistentVolume/v", yaml);
        lines_with(&sync, |request| {
            if there {
                return Err(crate::kube::Status { code: 500, ..missing().expect_err("missing") });
            }
            assert!(matches!(request.verb, crate::kube::Verb::Get(_)));
            missing()
        })
    };
    let get = "get PersistentVolumeClaim c";
    for (what, yaml, there, expected) in [
        (
            "nobody's",
            volume("v", "", "Pending", "Delete"),
            false,
            &["status PersistentVolume v"][..],
        ),
        ("in use", volume("v", "C", "Bound", "Delete") + &claim(WANTS), false, &[]),
        (
            "its claim is gone",
            volume("v", "C", "Bound", "Delete"),
            false,
            &[get, "status PersistentVolume v"],
        ),
        (
            "released",
            volume("v", "C", "Released", "Delete"),
            false,
            &[get, "remove disk v", "delete PersistentVolume v"],
        ),
        ("kept", volume("v", "C", "Released", "Retain"), false, &[get]),
        ("nobody knows", volume("v", "C", "Released", "Delete"), true, &[get, "fail"]),
        (
            "a new claim of this name",
            volume("v", "B", "Released", "Delete") + &claim(WANTS),
            false,
            &[get, "remove disk v", "delete PersistentVolume v"],
        ),
    ] {
        assert_eq!(lines(&yaml, there), expected, "{what}");
    }
}

#[test]
fn claims_grow_step_by_step() {
    let grows = "allowVolumeExpansion: true";
    let offline = "allowVolumeExpansion: true, annotations: {sim.ivorysql.org/expansion: offline}";
    let fails = "allowVolumeExpansion: true, annotations: {sim.ivorysql.org/expansion: fails}";
    let small = volume("v", "C", "Bound", "Delete");
    let large = small.replace("1Gi", "2Gi");
    let since = |kind: &str, at: &str| {
        claim(&format!(
            "{BOUND}, conditions: [{{type: {kind}, status: 'True', lastTransitionTime: '2026-01-01T{at}Z'}}]}}"
        ))
    };
    let begun = |at: &str| since("Resizing", at);
    let plain = claim(&format!("{BOUND}}}"));
    let pod = |created: &str| {
        format!(
            "- {{kind: Pod, name: p, created: {created}, spec: {{nodeName: n1, volumes: [{{persistentVolumeClaim: {{claimName: c}}}}]}}}}\n"
        )
    };
    let lines = |yaml: &str| {
        lines_with(&sync("volume-expander", "PersistentVolumeClaim/c", yaml), |_| missing())
    };
    let status = "status PersistentVolumeClaim c";
    for (what, yaml, expected) in [
        ("not allowed", class("x: 1") + &plain + &small, &[][..]),
        ("begins", class(grows) + &plain + &small, &[status]),
        ("is at work", class(grows) + &begun("00:59:59") + &small, &[]),
        ("the volume", class(grows) + &begun("00:59:58") + &small, &["update PersistentVolume v"]),
        (
            "the claim",
            class(grows) + &begun("00:59:58") + &large,
            &["grow disk v to 2147483648", status],
        ),
        ("fails", class(fails) + &begun("00:59:00") + &small, &[status]),
        ("waits for a Pod", class(offline) + &begun("00:59:58") + &large, &[status]),
        (
            "an old Pod",
            class(offline) + &since("FileSystemResizePending", "00:50:00") + &large + &pod("3000"),
            &[],
        ),
        (
            "a new Pod",
            class(offline) + &since("FileSystemResizePending", "00:50:00") + &large + &pod("60"),
            &["grow disk v to 2147483648", status],
        ),
    ] {
        assert_eq!(lines(&yaml), expected, "{what}");
    }
    check_status(
        "volume-expander",
        "PersistentVolumeClaim/c",
        &(class(grows) + &begun("00:59:58") + &large),
        &json!({
            "capacity": {"storage": "2Gi"}, "conditions": null,
        }),
    );
}

#[test]
fn what_is_in_use_is_protected() {
    let pod = |node: &str| {
        format!(
            "- {{kind: Pod, name: p, phase: Succeeded, spec: {{{node} volumes: [{{persistentVolumeClaim: {{claimName: c}}}}]}}}}\n"
        )
    };
    let going = claim(&format!("deleted: 1, {WANTS}"));
    let bare = claim(WANTS).replace("[kubernetes.io/pvc-protection]", "[]");
    for (what, about, yaml, expected) in [
        ("in life", "PersistentVolumeClaim/c", claim(WANTS), &[][..]),
        ("unprotected", "PersistentVolumeClaim/c", bare, &["update PersistentVolumeClaim c"]),
        ("unused", "PersistentVolumeClaim/c", going.clone(), &["update PersistentVolumeClaim c"]),
        (
            "used by an ended Pod",
            "PersistentVolumeClaim/c",
            going.clone() + &pod("nodeName: n1,"),
            &[],
        ),
        (
            "used by a Pod without a node",
            "PersistentVolumeClaim/c",
            going + &pod(""),
            &["update PersistentVolumeClaim c"],
        ),
        (
            "bound",
            "PersistentVolume/v",
            volume("v", "C", "Bound", "Delete").replace("name: v,", "name: v, deleted: 1,"),
            &[],
        ),
        (
            "released",
            "PersistentVolume/v",
            volume("v", "C", "Released", "Delete").replace("name: v,", "name: v, deleted: 1,"),
            &["update PersistentVolume v"],
        ),
    ] {
        check_case(what, "volume-protection", about, &yaml, expected);
    }
}
