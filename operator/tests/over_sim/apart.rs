//! What goes wrong with one cluster costs no other one anything.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use ivory_core::context::Context;
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::plan::Plan;
use ivory_core::{Kind, steps};
use tokio::time::{Instant, sleep};

use crate::rig::Rig;
use ivory_face::Action;

fn panics(observed: &Observed, context: &Context, memos: &mut Memos) -> Plan {
    assert!(&*observed.cluster.meta.name != "bad", "a planted fault");
    steps::plan(observed, context, memos)
}

static HANGING: Mutex<bool> = Mutex::new(true);
static RELEASED: Condvar = Condvar::new();

fn hangs(observed: &Observed, context: &Context, memos: &mut Memos) -> Plan {
    if &*observed.cluster.meta.name == "bad" {
        let hanging = HANGING.lock().expect("no panic inside");
        drop(RELEASED.wait_while(hanging, |hanging| *hanging));
    }
    steps::plan(observed, context, memos)
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_panics_holds_up_nobody() {
    let rig = Rig::new();
    let operator = rig.operator_with("one", panics);
    rig.create("bad", 1).await;
    sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    rig.create("good", 1).await;
    rig.settled("good").await;
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    assert_eq!(rig.condition("bad", "Ready"), None);
    operator.stop().await;
}

/// Time runs as it does, since nothing moves paused time while a thread is busy.
#[tokio::test]
async fn a_plan_that_hangs_holds_up_nobody() {
    let rig = Rig::new();
    let operator = rig.operator_with("one", hangs);
    rig.create("bad", 1).await;
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    rig.create("good", 1).await;
    let made = |rig: &Rig| {
        let sets = rig.all(Kind::StatefulSet);
        sets.iter().any(|s| s.meta.name.starts_with("good-"))
    };
    rig.until("instances of the good one", made).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    *HANGING.lock().expect("no panic inside") = false;
    RELEASED.notify_all();
    let made = |rig: &Rig| {
        let sets = rig.all(Kind::StatefulSet);
        sets.iter().any(|s| s.meta.name.starts_with("bad-"))
    };
    rig.until("instances of the other one", made).await;
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn commands_that_never_end_hold_up_nobody() {
    let rig = Rig::new();
    let operator = rig.operator("one");
    rig.faults.during(Duration::from_secs(600), Action::LoseAnswer, |a| {
        a.resource == "pods/exec" && a.name.starts_with("bad-")
    });
    rig.create("bad", 1).await;
    let began = Instant::now();
    rig.create("good", 1).await;
    rig.until("the good one", |rig| rig.condition("good", "Ready").is_some_and(|c| c.0 == "True"))
        .await;
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    rig.settled("bad").await;
    operator.stop().await;
}
