//! A permission that is missing is named on the cluster, and costs nothing but what needs it.

use std::time::Duration;

use ivory_core::Kind;
use serde_json::json;
use tokio::time::sleep;

use crate::disturbed::{same, undisturbed};
use crate::rig::Rig;
use ivory_face::{Action, Asked, End};

const NOT_PERMITTED: Action = Action::Answer(403, "Forbidden");

/// A cluster whose operator may not do something for a while; what is said of it has these words. Then it may.
async fn denied(not: impl Fn(&Asked) -> bool + Send + 'static, words: &str, ready: bool) {
    let rig = Rig::new();
    let operator = rig.operator("one");
    let long = Duration::from_secs(900);
    rig.faults.during(long, NOT_PERMITTED, not);
    rig.create("hippo", 2).await;
    rig.until(words, |rig| {
        let condition = rig.condition("hippo", "Reconciled");
        condition.is_some_and(|(status, reason, text)| {
            status == "False" && reason == "Forbidden" && text.ends_with(words)
        })
    })
    .await;
    let event = |rig: &Rig| {
        let events = rig.all(Kind::Event);
        events.iter().any(|e| e.str_at(&["reason"]) == Some("Forbidden"))
    };
    rig.until("an Event", event).await;
    if ready {
        rig.until("the rest", |rig| rig.condition("hippo", "Ready").is_some_and(|c| c.0 == "True"))
            .await;
    }
    sleep(Duration::from_secs(300)).await;
    let before = rig.writes().len();
    sleep(Duration::from_secs(250)).await;
    let tried = rig.writes().len() - before;
    assert!(tried < 12, "{tried} writes: {}", rig.outline());
    let observed = rig
        .get(Kind::IvoryCluster, "hippo")
        .and_then(|c| c.i64_at(&["status", "observedGeneration"]));
    assert_eq!(observed, None);
    rig.settled("hippo").await;
    operator.stop().await;
    same(&rig, undisturbed().await);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_permitted() {
    let not = |a: &Asked| a.is("patch", Kind::PodDisruptionBudget);
    denied(not, "to create/patch poddisruptionbudgets.policy", true).await;
}

#[tokio::test(start_paused = true)]
async fn commands_that_are_not_permitted() {
    let not = |a: &Asked| a.resource == "pods/exec";
    denied(not, "to create/get pods/exec", false).await;
}

#[tokio::test(start_paused = true)]
async fn lists_that_are_not_permitted() {
    let not = |a: &Asked| a.is("list", Kind::PersistentVolumeClaim);
    denied(not, "to list persistentvolumeclaims", false).await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_may_not_be_listed() {
    let not = |a: &Asked| a.is("list", Kind::Pod);
    denied(not, "to list pods", false).await;
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_taken_away_later() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 2).await;
    rig.settled("hippo").await;
    let long = Duration::from_secs(300);
    rig.faults
        .during(long, NOT_PERMITTED, |a| a.is("list", Kind::Role) || a.is("watch", Kind::Role));
    rig.faults.end_watches(End::Expired);
    let words = "roles.rbac.authorization.k8s.io";
    rig.until(words, |rig| {
        rig.condition("hippo", "Reconciled")
            .is_some_and(|c| c.1 == "Forbidden" && c.2.contains(words))
    })
    .await;
    assert_eq!(rig.condition("hippo", "Ready").map(|c| c.0).as_deref(), Some("True"));
    rig.settled("hippo").await;
    operator.stop().await;
    same(&rig, undisturbed().await);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_permitted_is_never_called_observed() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 2).await;
    rig.settled("hippo").await;
    let budgets = |a: &Asked| a.is("patch", Kind::PodDisruptionBudget);
    rig.faults.during(Duration::from_secs(120), NOT_PERMITTED, budgets);
    rig.change("hippo", json!({"spec": {"metadata": {"labels": {"a": "b"}}}})).await;
    rig.until("a Service with the label", |rig| {
        rig.get(Kind::Service, "hippo-ha").is_some_and(|s| s.label("a") == Some("b"))
    })
    .await;
    let observed =
        |rig: &Rig| rig.get(Kind::IvoryCluster, "hippo")?.i64_at(&["status", "observedGeneration"]);
    rig.until("the condition", |rig| {
        assert_eq!(observed(rig), Some(1));
        rig.condition("hippo", "Reconciled").is_some_and(|c| c.1 == "Forbidden")
    })
    .await;
    rig.until("the generation", |rig| observed(rig) == Some(2)).await;
    assert_eq!(
        rig.get(Kind::PodDisruptionBudget, "hippo-set-i")
            .and_then(|p| p.label("a").map(str::to_owned))
            .as_deref(),
        Some("b")
    );
    operator.stop().await;
}
