//! Several operators: only the one that holds the lease writes, and nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use ivory_core::Kind;
use tokio::time::{Instant, sleep};

use crate::disturbed::{same, undisturbed};
use crate::rig::Rig;
use ivory_face::{Action, Told};

/// Every write arrived while its sender held the lease.
fn only_the_holder_wrote(rig: &Rig) {
    let wrong: Vec<Told> = rig.writes().into_iter().filter(|t| t.holder != t.asked.by).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A command with the same content, a Job of the same name and a deletion of the same life succeed once; questions
/// may be asked again.
fn nothing_was_done_twice(rig: &Rig) {
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for told in rig.writes() {
        let asked = &told.asked;
        let question =
            asked.detail.split_once(' ').is_some_and(|(_, text)| text.starts_with("ask "));
        let once = asked.resource == "pods/exec" && !question
            || asked.verb == "delete"
            || asked.kind == Kind::Job && told.code == Some(201);
        if once && told.code.is_some_and(|c| c < 300) {
            let key = format!("{} {} {} {}", asked.verb, asked.resource, asked.name, asked.detail);
            *done.entry(key).or_default() += 1;
        }
    }
    assert!(done.len() >= 4, "{done:#?}");
    assert!(done.values().all(|n| *n == 1), "{done:#?}");
}

async fn ended_alike(rig: &Rig) {
    only_the_holder_wrote(rig);
    same(rig, undisturbed().await);
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_only_the_leader_writes() {
    let rig = Rig::new();
    let (one, two) = (rig.operator("one"), rig.operator("two"));
    rig.create("hippo", 2).await;
    rig.settled("hippo").await;
    let writers: std::collections::BTreeSet<_> =
        rig.writes().iter().map(|t| t.asked.by.clone()).collect();
    assert_eq!(writers.len(), 1);
    one.stop().await;
    two.stop().await;
    nothing_was_done_twice(&rig);
    ended_alike(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn leadership_that_passes_on_again_and_again_does_nothing_twice() {
    let rig = Rig::new();
    let _both = (rig.operator("one"), rig.operator("two"));
    rig.create("hippo", 2).await;
    for round in 0..8 {
        let cut_off = if round % 2 == 0 { "one" } else { "two" };
        // It can do everything but renew.
        rig.faults.during(
            Duration::from_secs(25),
            Action::Answer(500, "InternalError"),
            move |a| a.kind == Kind::Lease && a.by == cut_off,
        );
        sleep(Duration::from_secs(30)).await;
    }
    rig.settled("hippo").await;
    let writers: std::collections::BTreeSet<_> =
        rig.writes().iter().map(|t| t.asked.by.clone()).collect();
    assert_eq!(writers.len(), 2, "both had their turn");
    nothing_was_done_twice(&rig);
    ended_alike(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn leadership_that_is_lost_in_the_middle_of_a_plan_ends_it() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.until("the lease", |rig| !rig.all(Kind::Lease).is_empty()).await;
    sleep(Duration::from_secs(30)).await;
    let broken = Action::Answer(500, "InternalError");
    rig.faults.during(Duration::from_secs(40), broken, |a| a.kind == Kind::Lease);
    let renewals = |t: &Told| t.asked.kind == Kind::Lease && t.code == Some(200);
    let renewed = rig.faults.told().into_iter().rfind(renewals).expect("it leads").at;
    // Writes take their time, so that a plan of dozens of them goes on beyond the lease's end.
    sleep(renewed + Duration::from_secs(6) - Instant::now()).await;
    let slow = Duration::from_millis(1500);
    rig.faults.during(Duration::from_secs(30), Action::Delay(slow), |a| a.writes());
    rig.create("hippo", 2).await;
    sleep(Duration::from_secs(25)).await;
    let (last, end) = (rig.faults.last_write().expect("writes").at, Duration::from_secs(10));
    assert!(last > renewed + end - slow, "the plan ended before the lease did");
    // What was sent before arrives.
    assert!(last < renewed + end + slow + Duration::from_millis(200), "{:?}", last - renewed);
    rig.settled("hippo").await;
    operator.stop().await;
    ended_alike(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_releases_the_lease_and_the_next_takes_over_at_once() {
    let rig = Rig::new();
    let one = rig.operator("one");
    rig.until("the lease", |rig| !rig.all(Kind::Lease).is_empty()).await;
    let two = rig.operator("two");
    // It is stopped in the middle of its plan, so that there is something left to write.
    let slow = Action::Delay(Duration::from_millis(50));
    rig.faults.during(Duration::from_secs(60), slow, |a| a.writes());
    rig.create("hippo", 2).await;
    rig.until("writes", |rig| rig.writes().len() > 10).await;
    let stopped = Instant::now();
    one.stop().await;
    let holder = || rig.all(Kind::Lease)[0].str_at(&["spec", "holderIdentity"]).map(str::to_owned);
    assert_ne!(holder().as_deref(), Some("one"));
    rig.until("the next", |rig| rig.faults.last_write().is_some_and(|t| t.asked.by == "two")).await;
    assert!(stopped.elapsed() < Duration::from_secs(6), "{:?}", stopped.elapsed());
    rig.settled("hippo").await;
    two.stop().await;
    nothing_was_done_twice(&rig);
    ended_alike(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_the_lease_and_the_next_waits_for_its_end() {
    let rig = Rig::new();
    let one = rig.operator("one");
    rig.until("the lease", |rig| !rig.all(Kind::Lease).is_empty()).await;
    let two = rig.operator("two");
    rig.create("hippo", 2).await;
    rig.until("writes", |rig| rig.writes().len() > 10).await;
    let crashed = Instant::now();
    one.crash(&rig, "one");
    rig.until("the next", |rig| rig.faults.last_write().is_some_and(|t| t.asked.by == "two")).await;
    let gap = crashed.elapsed().as_secs();
    assert!((10..25).contains(&gap), "{gap} s");
    rig.settled("hippo").await;
    two.stop().await;
    ended_alike(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_anything_was_listed_is_orderly() {
    let rig = Rig::new();
    let slow = Action::Delay(Duration::from_secs(8));
    rig.faults.during(Duration::from_secs(60), slow, |a| a.verb == "list");
    let operator = rig.operator("one");
    rig.until("the lease", |rig| !rig.all(Kind::Lease).is_empty()).await;
    sleep(Duration::from_secs(2)).await;
    let stopped = Instant::now();
    operator.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
    assert_eq!(rig.all(Kind::Lease)[0].str_at(&["spec", "holderIdentity"]), Some(""));
}
