//! Whatever goes wrong, the end is the same as without it.

use std::sync::OnceLock;
use std::time::Duration;

use ivory_core::{Kind, Object};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::rig::Rig;
use crate::state::normalised;
use ivory_face::{Action, End};

/// Where an undisturbed run ends.
pub async fn undisturbed() -> &'static str {
    static STATE: OnceLock<String> = OnceLock::new();
    if let Some(state) = STATE.get() {
        return state;
    }
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 2).await;
    rig.settled("hippo").await;
    operator.stop().await;
    STATE.get_or_init(|| normalised(&rig))
}

pub fn same(rig: &Rig, expected: &str) {
    let found = normalised(rig);
    let (found, expected): (Vec<_>, Vec<_>) = (found.lines().collect(), expected.lines().collect());
    let only = |these: &[&str], those: &[&str]| -> Vec<String> {
        these.iter().filter(|l| !those.contains(l)).map(|l| (*l).to_owned()).collect()
    };
    let (more, less) = (only(&found, &expected), only(&expected, &found));
    assert!(more.is_empty() && less.is_empty(), "more: {more:#?}\nless: {less:#?}");
    assert_eq!(found.len(), expected.len());
}

/// One operator and one cluster; the trouble begins as soon as the cluster is there.
async fn ends_alike(trouble: impl AsyncFnOnce(&Rig)) -> Rig {
    let expected = undisturbed().await;
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 2).await;
    trouble(&rig).await;
    rig.settled("hippo").await;
    operator.stop().await;
    same(&rig, expected);
    rig
}

fn failed(rig: &Rig, code: u16) -> usize {
    rig.faults.told().iter().filter(|t| t.code == Some(code)).count()
}

#[tokio::test(start_paused = true)]
async fn undisturbed_runs_end_alike() {
    ends_alike(async |_| ()).await;
    let lines = undisturbed().await.lines().count();
    assert!(lines > 300, "{lines} lines say little");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_overloaded() {
    let rig = ends_alike(async |rig| {
        for _ in 0..10 {
            let busy = Action::Answer(429, "TooManyRequests");
            rig.faults.during(Duration::from_secs(5), busy, |_| true);
            sleep(Duration::from_secs(8)).await;
        }
    })
    .await;
    assert!(failed(&rig, 429) > 20, "{}", failed(&rig, 429));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_inside() {
    let rig = ends_alike(async |rig| {
        for kind in [Kind::Secret, Kind::StatefulSet, Kind::Service, Kind::Job, Kind::IvoryCluster]
        {
            let broken = Action::Answer(500, "InternalError");
            rig.faults.next(3, broken, move |a| a.writes() && a.kind == kind);
        }
        let broken = Action::Answer(500, "InternalError");
        rig.faults.next(3, broken, |a| a.resource == "pods/exec");
    })
    .await;
    assert!(failed(&rig, 500) >= 18, "{}", failed(&rig, 500));
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_after_the_write() {
    let rig = ends_alike(async |rig| {
        for kind in [
            Kind::Secret,
            Kind::StatefulSet,
            Kind::Service,
            Kind::PersistentVolumeClaim,
            Kind::Job,
            Kind::IvoryCluster,
            Kind::Event,
        ] {
            rig.faults.next(2, Action::LoseAnswer, move |a| a.writes() && a.kind == kind);
        }
        rig.faults.next(2, Action::LoseAnswer, |a| a.resource == "pods/exec");
    })
    .await;
    let lost = rig.writes().iter().filter(|t| t.code.is_none()).count();
    assert!(lost >= 13, "{lost}");
    // A password that was drawn and stored is never drawn again.
    for secret in rig.all(Kind::Secret) {
        let drawn = rig.writes().into_iter().filter(|t| {
            t.asked.is("create", Kind::Secret)
                && t.asked.name == *secret.meta.name
                && t.code == Some(201)
        });
        assert!(drawn.count() <= 1, "{secret:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_cut() {
    let rig = ends_alike(async |rig| {
        for _ in 0..20 {
            rig.faults.end_watches(End::Cut);
            sleep(Duration::from_secs(7)).await;
        }
    })
    .await;
    let watches = rig.faults.told().iter().filter(|t| t.asked.verb == "watch").count();
    assert!(watches > 100, "{watches}");
}

#[tokio::test(start_paused = true)]
async fn watches_whose_version_is_forgotten() {
    let rig = ends_alike(async |rig| {
        for _ in 0..20 {
            rig.sim.with(|world, kube| world.kube_mut(kube).api.compact());
            rig.faults.end_watches(End::Expired);
            sleep(Duration::from_secs(7)).await;
        }
    })
    .await;
    let lists = rig.faults.told().iter().filter(|t| t.asked.verb == "list").count();
    assert!(lists > 100, "{lists}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_goes_away_for_a_minute() {
    let rig = ends_alike(async |rig| {
        for pause in [1, 20, 90] {
            sleep(Duration::from_secs(pause)).await;
            rig.faults.during(Duration::from_secs(60), Action::Refuse, |_| true);
            rig.faults.end_watches(End::Cut);
            sleep(Duration::from_secs(60)).await;
        }
    })
    .await;
    let refused = rig.faults.told().iter().filter(|t| !t.arrived).count();
    assert!(refused > 30, "{refused}");
}

/// Watches that go on where they broke have nothing to tell, and what they know counts again all the same.
#[tokio::test(start_paused = true)]
async fn a_change_after_an_outage_is_acted_upon_soon() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.create("hippo", 2).await;
    rig.settled("hippo").await;
    let outage = Duration::from_secs(120);
    rig.faults.during(outage, Action::Refuse, |_| true);
    rig.faults.end_watches(End::Cut);
    sleep(outage).await;
    let back = Instant::now();
    rig.change("hippo", json!({"spec": {"metadata": {"labels": {"a": "b"}}}})).await;
    let labelled = |o: &Object| o.label("a") == Some("b");
    rig.until("the label", |rig| rig.get(Kind::Service, "hippo-ha").is_some_and(|s| labelled(&s)))
        .await;
    // Each watch waits up to 16 s after its last try.
    assert!(back.elapsed() < Duration::from_secs(20), "{:?}", back.elapsed());
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expired() {
    let rig = ends_alike(async |rig| {
        for pause in [1, 30] {
            sleep(Duration::from_secs(pause)).await;
            let expired = Action::Answer(401, "Unauthorized");
            rig.faults.during(Duration::from_secs(60), expired, |_| true);
            rig.faults.end_watches(End::Cut);
            sleep(Duration::from_secs(60)).await;
        }
    })
    .await;
    assert!(failed(&rig, 401) > 30, "{}", failed(&rig, 401));
}

/// Every plan grows too old in the middle, and yet each gets further than the one before.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_slow() {
    let began = Instant::now();
    ends_alike(async |rig| {
        let slow = Action::Delay(Duration::from_millis(2500));
        rig.faults.during(Duration::from_secs(900), slow, |a| a.writes());
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(400), "{:?}", began.elapsed());
}
