//! StatefulSets, ReplicaSets, Deployments, Jobs, CronJobs.

use serde_json::json;

use ivory_core::Kind;

use super::harness::{check, check_case, check_status, created, keys, now, sync, written};
use crate::time::Span;

const SET: &str = "
- {kind: StatefulSet, name: s, uid: S, spec: {replicas: 1, serviceName: pods, selector: {matchLabels: {app: s}}, revisionHistoryLimit: 0,
   updateStrategy: {type: OnDelete}, template: {metadata: {labels: {app: s}}, spec: {x: 1}}}, status: {currentRevision: s-old}}
- {kind: ControllerRevision, name: s-old, owner: StatefulSet/s=S, revision: 1, data: {spec: {template: {$patch: replace, metadata: {labels: {app: s}}, spec: {x: 0}}}}}
- {kind: ControllerRevision, name: s-new, owner: StatefulSet/s=S, revision: 2, data: {spec: {template: {$patch: replace, metadata: {labels: {app: s}}, spec: {x: 1}}}}}
";

/// Replaces words in the set, and adds Pods.
fn set(replace: &[(&str, &str)], pods: &str) -> String {
    let mut text = SET.to_owned();
    for (from, to) in replace {
        assert!(text.contains(from), "{from:?} is not there");
        text = text.replace(from, to);
    }
    text + pods
}

fn pod(name: &str, rest: &str) -> String {
    format!(
        "- {{kind: Pod, name: {name}, owner: StatefulSet/s=S, labels: {{app: s, controller-revision-hash: s-new, statefulset.kubernetes.io/pod-name: {name}}}, {rest}}}\n"
    )
}

fn old_pod(name: &str, rest: &str) -> String {
    pod(name, rest).replace("s-new", "s-old")
}

#[test]
fn a_statefulset_makes_and_deletes_pods() {
    let two = ("replicas: 1", "replicas: 2");
    let three = ("replicas: 1", "replicas: 3");
    let none = ("replicas: 1", "replicas: 0");
    let parallel = ("serviceName", "podManagementPolicy: Parallel, serviceName");
    let rolling = ("type: OnDelete", "type: RollingUpdate, rollingUpdate: {partition: 0}");
    let half = ("type: OnDelete", "type: RollingUpdate, rollingUpdate: {partition: 1}");
    let going = ("uid: S,", "uid: S, deleted: 1,");
    let ready = |n: &str| pod(n, "ready: true");
    let cases: &[(&str, String, &[&str])] = &[
        ("none yet", set(&[], ""), &["create Pod s-0", "delete ControllerRevision s-old"][..1]),
        ("all well", set(&[], &ready("s-0")), &[]),
        ("in order", set(&[two], ""), &["create Pod s-0"]),
        ("the second waits", set(&[two], &pod("s-0", "ready: false")), &[]),
        ("the second comes", set(&[two], &ready("s-0")), &["create Pod s-1"]),
        ("all at once", set(&[two, parallel], ""), &["create Pod s-0", "create Pod s-1"]),
        ("old one still going", set(&[], &pod("s-0", "ready: true, deleted: 5")), &[]),
        ("failed", set(&[], &pod("s-0", "phase: Failed")), &["delete Pod s-0"]),
        ("succeeded", set(&[], &pod("s-0", "phase: Succeeded")), &["delete Pod s-0"]),
        ("failed and going", set(&[], &pod("s-0", "phase: Failed, deleted: 1")), &[]),
        ("to nothing", set(&[none], &ready("s-0")), &["delete Pod s-0"]),
        ("down in order", set(&[none], &(ready("s-0") + &ready("s-1"))), &["delete Pod s-1"]),
        (
            "down at once",
            set(&[none, parallel], &(ready("s-0") + &ready("s-1"))),
            &["delete Pod s-1", "delete Pod s-0"],
        ),
        (
            "an unhealthy one first",
            set(&[none], &(pod("s-0", "ready: false") + &pod("s-1", "ready: false"))),
            &[],
        ),
        ("being deleted", set(&[going], ""), &[]),
        ("OnDelete leaves old pods", set(&[], &old_pod("s-0", "ready: true")), &[]),
        (
            "rolling replaces them",
            set(&[rolling], &old_pod("s-0", "ready: true")),
            &["delete Pod s-0"],
        ),
        (
            "the highest first",
            set(&[rolling, two], &(old_pod("s-0", "ready: true") + &old_pod("s-1", "ready: true"))),
            &["delete Pod s-1"],
        ),
        (
            "one after the other",
            set(&[rolling, two], &(old_pod("s-0", "ready: true") + &pod("s-1", "ready: false"))),
            &[],
        ),
        ("below the partition", set(&[half], &old_pod("s-0", "ready: true")), &[]),
        (
            "three parallel, one going",
            set(&[three, parallel], &(ready("s-0") + &pod("s-2", "ready: true, deleted: 1"))),
            &["create Pod s-1"],
        ),
        (
            "an orphan is not taken from a gone set",
            set(&[], "- {kind: Pod, name: s-0, labels: {app: s}, ready: true}\n"),
            &["get StatefulSet s", "fail"],
        ),
        (
            "a revision that was let go is taken, and not made again",
            set(
                &[("s-new, owner: StatefulSet/s=S", "s-new, labels: {app: s}")],
                &old_pod("s-0", "ready: true"),
            ),
            &["get StatefulSet s", "fail"],
        ),
        (
            "a stranger keeps its pod",
            set(
                &[],
                "- {kind: Pod, name: x-0, owner: StatefulSet/x, labels: {app: s}, ready: true}\n",
            ),
            &["create Pod s-0"],
        ),
        (
            "no longer selected",
            set(
                &[],
                "- {kind: Pod, name: s-0, owner: StatefulSet/s=S, labels: {app: t}, ready: true}\n",
            ),
            &["update Pod s-0", "create Pod s-0"],
        ),
    ];
    for (what, yaml, expected) in cases {
        check_case(what, "statefulset", "StatefulSet/s", yaml, expected);
    }
}

#[test]
fn a_statefulsets_pod_has_its_identity_and_template() {
    let made = written(&sync("statefulset", "StatefulSet/s", &set(&[], "")), "create Pod s-0");
    let labels = [
        ("app", "s"),
        ("controller-revision-hash", "s-new"),
        ("statefulset.kubernetes.io/pod-name", "s-0"),
        ("apps.kubernetes.io/pod-index", "0"),
    ];
    assert_eq!(made.meta.labels.len(), labels.len());
    labels.iter().for_each(|(k, v)| assert_eq!(made.label(k), Some(*v)));
    assert!(made.controlled_by("S"));
    assert_eq!(made.body["spec"], json!({"x": 1, "hostname": "s-0", "subdomain": "pods"}));
    // During a partitioned rollout the lower ordinals still get the old template.
    let half = ("type: OnDelete", "type: RollingUpdate, rollingUpdate: {partition: 1}");
    let made = written(&sync("statefulset", "StatefulSet/s", &set(&[half], "")), "create Pod s-0");
    assert_eq!(made.label("controller-revision-hash"), Some("s-old"));
    assert_eq!(made.body["spec"]["x"], 0);
}

#[test]
fn a_statefulsets_revisions_follow_its_template() {
    let changed = ("spec: {x: 1}}}, status", "spec: {x: 2}}}, status");
    let back = ("spec: {x: 1}}}, status", "spec: {x: 0}}}, status");
    let ready = pod("s-0", "ready: true");
    let made = sync("statefulset", "StatefulSet/s", &set(&[changed], &ready));
    let revision = created(&made, Kind::ControllerRevision);
    assert_eq!(revision.body["revision"], 3);
    assert_eq!(revision.body["data"]["spec"]["template"]["$patch"], "replace");
    assert!(revision.meta.name.starts_with("s-") && revision.meta.name.len() == 12);
    // Going back to an old template makes its revision the newest again.
    let steps = sync("statefulset", "StatefulSet/s", &set(&[back], &ready));
    assert_eq!(written(&steps, "update ControllerRevision s-old").body["revision"], 3);
    // An old revision that no Pod has, and that isn't the current one, goes.
    let moved_on = ("currentRevision: s-old", "currentRevision: s-new");
    check(
        "statefulset",
        "StatefulSet/s",
        &set(&[moved_on], &ready),
        &["delete ControllerRevision s-old"],
    );
    check("statefulset", "StatefulSet/s", &set(&[moved_on], &old_pod("s-0", "ready: true")), &[]);
}

#[test]
fn a_statefulsets_status_counts_as_measured() {
    // On a real control plane: OnDelete, template changed, one of two Pods at the old revision ready.
    let two = ("replicas: 1", "replicas: 2");
    let pods = old_pod("s-0", "ready: true") + &old_pod("s-1", "phase: Pending");
    check_status(
        "statefulset",
        "StatefulSet/s",
        &set(&[two], &pods),
        &json!({
            "replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "currentReplicas": 2, "updatedReplicas": null,
            "currentRevision": "s-old", "updateRevision": "s-new", "observedGeneration": 1, "collisionCount": 0,
        }),
    );
    // A rolling update is complete when all Pods are new and ready.
    let rolling = ("type: OnDelete", "type: RollingUpdate");
    check_status(
        "statefulset",
        "StatefulSet/s",
        &set(&[rolling], &pod("s-0", "ready: true")),
        &json!({
            "currentRevision": "s-new", "currentReplicas": 1, "updatedReplicas": 1,
        }),
    );
    // A deleted Pod counts among the replicas, and for no revision.
    check_status(
        "statefulset",
        "StatefulSet/s",
        &set(&[], &pod("s-0", "ready: true, deleted: 1")),
        &json!({
            "replicas": 1, "updatedReplicas": null, "currentReplicas": null,
        }),
    );
}

#[test]
fn heartbeats_wake_no_workload_controller() {
    let before = pod("s-0", "annotations: {status: a}, ready: true");
    let beat = pod("s-0", "annotations: {status: b}, ready: true");
    let unready = pod("s-0", "annotations: {status: b}, ready: false");
    for name in [
        "statefulset",
        "replicaset",
        "job",
        "endpoints",
        "endpointslice",
        "disruption",
        "garbage-collector",
    ] {
        assert_eq!(keys(name, &before, &beat, SET), Vec::<String>::new(), "{name}");
    }
    assert_eq!(keys("statefulset", &before, &unready, SET), ["StatefulSet/s", "StatefulSet/s"]);
    assert_eq!(keys("statefulset", &before, "[]", SET), ["StatefulSet/s"]);
}

const REPLICAS: &str = "
- {kind: ReplicaSet, name: r, uid: R, spec: {replicas: 2, selector: {matchLabels: {app: r}}, template: {metadata: {labels: {app: r}}, spec: {x: 1}}}}
";

#[test]
fn a_replicaset_keeps_its_number() {
    let pod = |name: &str, rest: &str| {
        format!(
            "- {{kind: Pod, name: {name}, owner: ReplicaSet/r=R, labels: {{app: r}}, {rest}}}\n"
        )
    };
    let all = |pods: &[String]| REPLICAS.to_owned() + &pods.concat();
    let ready = |n: &str| pod(n, "ready: true, spec: {nodeName: n1}");
    for (pods, expected) in [
        (vec![], &["create Pod r-", "create Pod r-"][..]),
        (vec![ready("a"), ready("b")], &[]),
        (vec![ready("a"), pod("b", "phase: Failed")], &["create Pod r-"]),
        (vec![ready("a"), pod("b", "ready: true, deleted: 1")], &["create Pod r-"]),
        (vec![ready("a"), ready("b"), pod("c", "phase: Pending")], &["delete Pod c"]),
        (
            vec![ready("a"), ready("b"), pod("c", "ready: true, created: 5, spec: {nodeName: n1}")],
            &["delete Pod c"],
        ),
        (
            vec![pod("a", "ready: false, spec: {nodeName: n1}"), ready("b"), ready("c")],
            &["delete Pod a"],
        ),
    ] {
        check("replicaset", "ReplicaSet/r", &all(&pods), expected);
    }
    check_status(
        "replicaset",
        "ReplicaSet/r",
        &all(&[ready("a"), pod("b", "ready: false")]),
        &json!({
            "replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "fullyLabeledReplicas": 2, "observedGeneration": 1,
        }),
    );
}

fn deployment(rest: &str, sets: &[(&str, i64, i64, i64)]) -> String {
    let mut text = format!("- {{kind: Deployment, name: d, uid: D, annotations: {{deployment.kubernetes.io/revision: '2'}}, spec: {{replicas: 2, progressDeadlineSeconds: 600,
        selector: {{matchLabels: {{app: d}}}}, template: {{metadata: {{labels: {{app: d}}}}, spec: {{x: 2}}}}, {rest}}}}}\n");
    for (name, x, size, available) in sets {
        let revision = x;
        text += &format!("- {{kind: ReplicaSet, name: d-{name}, owner: Deployment/d=D, annotations: {{deployment.kubernetes.io/revision: '{revision}', deployment.kubernetes.io/desired-replicas: '2',
            deployment.kubernetes.io/max-replicas: '3'}}, spec: {{replicas: {size}, template: {{metadata: {{labels: {{app: d, pod-template-hash: {name}}}}}, spec: {{x: {x}}}}}}},
            status: {{replicas: {size}, readyReplicas: {available}, availableReplicas: {available}}}}}\n");
    }
    text
}

#[test]
fn a_deployment_rolls_within_its_limits() {
    let rolling =
        "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}";
    let recreate = "strategy: {type: Recreate}";
    for (strategy, sets, expected) in [
        (rolling, &[("new", 2, 2, 2)][..], &[][..]),
        // 25 % of 2: one more Pod, none less.
        (rolling, &[("new", 2, 0, 0), ("old", 1, 2, 2)], &["update ReplicaSet d-new"]),
        (rolling, &[("new", 2, 1, 0), ("old", 1, 2, 2)], &[]),
        (rolling, &[("new", 2, 1, 1), ("old", 1, 2, 2)], &["update ReplicaSet d-old"]),
        (rolling, &[("new", 2, 1, 1), ("old", 1, 1, 1)], &["update ReplicaSet d-new"]),
        // Old Pods that serve nobody go at once, as far as the surge stands in for them.
        (rolling, &[("new", 2, 1, 0), ("old", 1, 2, 1)], &[]),
        (rolling, &[("new", 2, 2, 2), ("old", 1, 1, 0)], &["update ReplicaSet d-old"]),
        (recreate, &[("new", 2, 0, 0), ("old", 1, 2, 2)], &["update ReplicaSet d-old"]),
        (recreate, &[("new", 2, 0, 0), ("old", 1, 0, 0)], &["update ReplicaSet d-new"]),
    ] {
        check("deployment", "Deployment/d", &deployment(strategy, sets), expected);
    }
    let sync = sync("deployment", "Deployment/d", &deployment(rolling, &[("old", 1, 2, 2)]));
    let made = created(&sync, Kind::ReplicaSet);
    let hash = made.label("pod-template-hash").expect("a hash").to_owned();
    assert_eq!(*made.meta.name, format!("d-{hash}"));
    assert_eq!(made.body["spec"]["replicas"], 1);
    assert_eq!(made.body["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(made.annotation("deployment.kubernetes.io/revision"), Some("2"));
}

#[test]
fn a_deployments_conditions_follow_its_pods() {
    let rolling =
        "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}";
    let reasons = |sets: &[(&str, i64, i64, i64)]| {
        let sync = sync("deployment", "Deployment/d", &deployment(rolling, sets));
        let d = written(&sync, "status Deployment d");
        ["Available", "Progressing"].map(|c| {
            let condition = d.condition(c).expect("a condition");
            format!(
                "{}={}",
                condition["status"].as_str().unwrap_or_default(),
                condition["reason"].as_str().unwrap_or_default()
            )
        })
    };
    assert_eq!(
        reasons(&[("new", 2, 2, 0)]),
        ["False=MinimumReplicasUnavailable", "True=ReplicaSetUpdated"]
    );
    assert_eq!(
        reasons(&[("new", 2, 2, 2)]),
        ["True=MinimumReplicasAvailable", "True=NewReplicaSetAvailable"]
    );
}

fn job(rest: &str, status: &str, pods: &[&str]) -> String {
    let mut text = format!("- {{kind: Job, name: j, uid: J, spec: {{completions: 1, parallelism: 1, backoffLimit: 2, selector: {{matchLabels: {{job: j}}}},
        template: {{metadata: {{labels: {{job: j}}}}, spec: {{restartPolicy: Never}}}}, {rest}}}, status: {{startTime: '2026-01-01T00:00:00Z', {status}}}}}\n");
    for (n, pod) in pods.iter().enumerate() {
        text +=
            &format!("- {{kind: Pod, name: p{n}, owner: Job/j=J, labels: {{job: j}}, {pod}}}\n");
    }
    text
}

const TRACKED: &str = "finalizers: [batch.kubernetes.io/job-tracking]";

fn ended(phase: &str, ago_s: i64) -> String {
    let at = ivory_core::object::time_text((now() + Span::s(-ago_s)).timestamp());
    format!(
        "status: {{phase: {phase}, containerStatuses: [{{state: {{terminated: {{finishedAt: '{at}'}}}}}}]}}"
    )
}

#[test]
fn a_job_runs_retries_and_ends() {
    let flushed = |key: &str| {
        format!("ready: 0, terminating: 0, uncountedTerminatedPods: {{{key}: [Pod-p0]}}")
    };
    let (good, bad) = (ended("Succeeded", 1), ended("Failed", 1));
    let tracked = |what: &str| format!("{TRACKED}, {what}");
    let failed = |ago| ended("Failed", ago);
    let verdict = "conditions: [{type: SuccessCriteriaMet, status: 'True', reason: CompletionsReached, message: Reached expected number of succeeded pods, lastProbeTime: '2026-01-01T01:00:00Z', lastTransitionTime: '2026-01-01T01:00:00Z'}]";
    for (what, yaml, expected) in [
        ("first pod", job("", "", &[]), &["create Pod j-"][..]),
        ("running", job("", "", &["ready: true"]), &[]),
        ("suspended", job("suspend: true", "", &["ready: true"]), &["delete Pod p0"]),
        ("suspended and empty", job("suspend: true", "", &[]), &[]),
        (
            "too many",
            job("parallelism: 0", "", &["ready: true"]).replace("parallelism: 1, ", ""),
            &["delete Pod p0"],
        ),
        ("its end is noted first", job("", "", &[&tracked(&good)]), &[]),
        (
            "then the finalizer goes",
            job("", &format!("{}, {verdict}", flushed("succeeded")), &[&tracked(&good)]),
            &["update Pod p0"],
        ),
        ("waits before the second", job("", "failed: 1", &[&failed(9)]), &[]),
        ("second after 10 s", job("", "failed: 1", &[&failed(10)]), &["create Pod j-"]),
        ("waits before the third", job("", "failed: 2", &[&failed(40), &failed(19)]), &[]),
        ("third after 20 s", job("", "failed: 2", &[&failed(40), &failed(20)]), &["create Pod j-"]),
        ("no fourth", job("", "failed: 3", &[&failed(400), &failed(300), &failed(200)]), &[]),
        ("the failed one is noted, the next waits", job("", "", &[&tracked(&bad)]), &[]),
        ("deadline", job("activeDeadlineSeconds: 60", "", &["ready: true"]), &["delete Pod p0"]),
    ] {
        check_case(what, "job", "Job/j", &yaml, expected);
    }
}

#[test]
fn a_jobs_status_counts_each_end_once() {
    let (good, bad) = (ended("Succeeded", 1), ended("Failed", 1));
    let tracked = |what: &str| format!("{TRACKED}, {what}");
    check_status(
        "job",
        "Job/j",
        &job("", "", &["ready: true"]),
        &json!({"active": 1, "ready": 1, "terminating": 0}),
    );
    check_status(
        "job",
        "Job/j",
        &job("", "", &[&tracked(&good)]),
        &json!({
            "active": null, "succeeded": null, "uncountedTerminatedPods": {"succeeded": ["Pod-p0"]},
        }),
    );
    let noted = "ready: 0, terminating: 0, uncountedTerminatedPods: {succeeded: [Pod-p0]}, conditions: [{type: SuccessCriteriaMet, status: 'True'}]";
    check_status(
        "job",
        "Job/j",
        &job("", noted, &[&good]),
        &json!({
            "succeeded": 1, "uncountedTerminatedPods": {}, "completionTime": "2026-01-01T01:00:00Z",
        }),
    );
    check_status(
        "job",
        "Job/j",
        &job(
            "",
            "ready: 0, terminating: 0, failed: 1, uncountedTerminatedPods: {failed: [Pod-p0]}",
            &[&bad],
        ),
        &json!({
            "failed": 2, "uncountedTerminatedPods": {}, "completionTime": null,
        }),
    );
    let over = sync("job", "Job/j", &job("", "failed: 3", &[]));
    let over = written(&over, "status Job j");
    let conditions: Vec<_> = over.body["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| c["type"].clone())
        .collect();
    assert_eq!(conditions, ["FailureTarget", "Failed"]);
    assert_eq!(over.condition("Failed").expect("failed")["reason"], "BackoffLimitExceeded");
}

#[test]
fn finished_jobs_go_when_their_time_is_over() {
    let done = |ago: i64| {
        let at = ivory_core::object::time_text((now() + Span::s(-ago)).timestamp());
        job(
            "ttlSecondsAfterFinished: 60",
            &format!(
                "conditions: [{{type: Complete, status: 'True', lastTransitionTime: '{at}'}}]"
            ),
            &[],
        )
    };
    check("ttl-after-finished", "Job/j", &done(59), &[]);
    check("ttl-after-finished", "Job/j", &done(60), &["delete Job j Foreground"]);
    assert_eq!(sync("ttl-after-finished", "Job/j", &done(59)).requeue, Some(Span::s(1)));
}

fn cron(rest: &str, last: &str, jobs: &str) -> String {
    let last = if last.is_empty() {
        String::new()
    } else {
        format!("lastScheduleTime: '2026-01-01T{last}:00Z'")
    };
    format!(
        "- {{kind: CronJob, name: c, uid: C, spec: {{schedule: '*/10 * * * *', concurrencyPolicy: Forbid, jobTemplate: {{metadata: {{labels: {{q: w}}}}, spec: {{y: 1}}}}, {rest}}}, status: {{{last}}}}}\n{jobs}"
    )
}

#[test]
fn a_cronjob_starts_jobs_on_time() {
    // Minute 29453820 since 1970 is 2026-01-01 01:00.
    let running = "- {kind: Job, name: c-29453810, owner: CronJob/c=C}\n";
    let done = |name: &str, how: &str, at: &str| {
        format!(
            "- {{kind: Job, name: {name}, owner: CronJob/c=C, status: {{startTime: '2026-01-01T{at}:00Z', conditions: [{{type: {how}, status: 'True'}}]}}}}\n"
        )
    };
    let history: String =
        (1..=4).map(|n| done(&format!("ok{n}"), "Complete", &format!("00:0{n}"))).collect();
    let failures: String =
        (1..=2).map(|n| done(&format!("bad{n}"), "Failed", &format!("00:0{n}"))).collect();
    for (what, yaml, expected) in [
        ("due now", cron("", "00:50", ""), &["create Job c-29453820"][..]),
        ("done already", cron("", "01:00", ""), &[]),
        ("never ran", cron("", "", ""), &["create Job c-29453820"]),
        ("several missed: the last", cron("", "00:10", ""), &["create Job c-29453820"]),
        ("one runs still", cron("", "00:50", running), &[]),
        (
            "may run beside it",
            cron("", "00:50", running).replace("Forbid", "Allow"),
            &["create Job c-29453820"],
        ),
        (
            "replaces it",
            cron("", "00:50", running).replace("Forbid", "Replace"),
            &["delete Job c-29453810", "create Job c-29453820"],
        ),
        ("suspended", cron("suspend: true", "00:50", ""), &[]),
        (
            "a finished one is no obstacle",
            cron("", "00:50", &done("c-29453810", "Complete", "00:50")),
            &["create Job c-29453820"],
        ),
        (
            "history",
            cron("", "01:00", &(history + &failures)),
            &["delete Job ok1", "delete Job bad1"],
        ),
    ] {
        check_case(what, "cronjob", "CronJob/c", &yaml, expected);
    }
    // Ten past: the time of 01:00 was missed by less than an hour, or by more than a minute.
    let late = |deadline: i64| {
        let yaml = cron(&format!("startingDeadlineSeconds: {deadline}"), "00:40", "")
            .replace("*/10", "5/10");
        sync("cronjob", "CronJob/c", &yaml).steps.len()
    };
    assert_eq!((late(600), late(60)), (1, 0));
    assert_eq!(
        sync("cronjob", "CronJob/c", &cron("", "01:00", "")).requeue,
        Some(Span::s(600) + Span::ms(100))
    );
    let made =
        written(&sync("cronjob", "CronJob/c", &cron("", "00:50", "")), "create Job c-29453820");
    assert_eq!((made.label("q"), &made.body["spec"]), (Some("w"), &json!({"y": 1})));
    assert_eq!(
        made.annotation("batch.kubernetes.io/cronjob-scheduled-timestamp"),
        Some("2026-01-01T01:00:00Z")
    );
}
