//! The machinery of the sweep: a cut does what it says, what is equal is tried once, and samples of the operator's
//! cuts and of pairs of them end well. The whole sweep is `ivory-sim sweep`.

use std::path::Path;
use std::sync::Arc;

use ivory_core::Kind;
use serde_json::json;

use super::base::{Base, base, player};
use super::cut::Cut;
use super::drawn::play;
use super::fork::{End, explore};
use super::message::{Message, Sender, Which, Whose};
use super::pairs::{Known, Looked, Sample, pairs};
use super::plan::plan;
use crate::lab::site::build;
use crate::lab::{NAMESPACE, OPERATOR};
use crate::scenario::language::{Scenario, WorldSpec};
use crate::scenario::parse::load;
use crate::time::Span;
use crate::world::{Actor, Cx, Input, KubeId};

fn story(name: &str) -> (Scenario, Base) {
    told(name, Whose::Operator)
}

fn told(name: &str, whose: Whose) -> (Scenario, Base) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let story = load(&folder.join(name).with_extension("yaml")).expect("a story");
    let base = base(&story, whose, &build).expect("it ends well undisturbed");
    (story, base)
}

fn named<'a>(base: &'a Base, name: &str) -> &'a Message {
    let mut all = base.messages.iter();
    all.find(|m| m.name == name).unwrap_or_else(|| panic!("a message {name}"))
}

#[test]
fn a_cut_does_what_it_says() {
    let (story, base) = story("create");
    let message = named(&base, "apply Service hippo-ha");
    assert!(message.reason.contains("missing"), "{message:?}");
    let mut begin = player(&story, &build).expect("a world");
    for _ in 0..message.tick {
        begin.tick(&story).expect("it goes on");
    }
    // Whether the Service exists and the operator lives, 10 ms, 3 s and 16 s after the message was sent.
    let after = |cut: Cut| {
        let mut fork = begin.fork().expect("a copy");
        cut.arm(&mut *fork.driver, message);
        [Span::ms(10), Span::s(3), Span::s(16)].map(|span| {
            fork.driver.advance_to(message.at + span);
            let exists = fork.driver.get(KubeId(0), Kind::Service, NAMESPACE, "hippo-ha").is_some();
            let world = fork.driver.world().expect("a world");
            (exists, world.find(KubeId(0), OPERATOR).is_some())
        })
    };
    let (on, off) = (true, false);
    for (cut, wanted) in [
        (Cut::CrashBefore, [(off, off), (off, off), (on, on)]),
        (Cut::CrashAfter, [(on, off), (on, off), (on, on)]),
        (Cut::Late, [(off, off), (off, off), (on, on)]),
        (Cut::Lost, [(on, on), (on, on), (on, on)]),
        (Cut::Error, [(off, on), (on, on), (on, on)]),
        (Cut::Throttled, [(off, on), (on, on), (on, on)]),
        (Cut::Conflict, [(off, on), (on, on), (on, on)]),
    ] {
        assert_eq!(after(cut), wanted, "{cut}");
    }
}

#[test]
fn what_is_equal_is_tried_once_and_a_sample_ends_well() {
    let (story, base) = story("create");
    let alone = plan([Some(&base)]);
    let twice = plan([Some(&base), None, Some(&base)]);
    assert_eq!(alone.all, alone.equal + alone.cuts[0].len());
    assert_eq!((twice.all, twice.equal), (2 * alone.all, alone.equal + alone.all));
    assert_eq!(twice.cuts, [alone.cuts[0].clone(), Vec::new(), Vec::new()]);
    for (kind, least) in [("exec", 3), ("request", 40), ("heard", 40)] {
        let of = |m: &&Message| match m.which {
            Which::Exec(_) => kind == "exec",
            Which::Request(_) => kind == "request",
            Which::Heard(..) => kind == "heard",
            Which::Watch(_) | Which::Rest(_) => false,
        };
        assert!(base.messages.iter().filter(of).count() >= least, "{kind}");
    }
    // Each of the cuts in turn, all over the story.
    let sample: Vec<_> = alone.cuts[0].iter().copied().step_by(37).collect();
    let (mut rejoined, mut tried) = (0, 0);
    let mut on = |message: &Message, cut: Cut, end: End| {
        tried += 1;
        match end {
            End::Rejoined(_) => rejoined += 1,
            End::Same | End::Otherwise => {}
            End::Failed(failure) => panic!("{}:{cut}: {failure:#?}", message.number),
        }
        true
    };
    explore(&story, &base, &sample, &build, &mut on).expect("a world");
    assert_eq!(tried, sample.len());
    assert!(rejoined * 2 > tried, "{rejoined} of {tried} rejoined");
}

#[test]
fn patronis_messages_are_told_and_its_heartbeats_fall_together() {
    let (_, base) = told("create", Whose::Everybody);
    let of_patroni = |m: &Message| m.sender != Sender::Operator;
    let heartbeat =
        |m: &&Message| of_patroni(m) && m.name.ends_with("(primary): patch Endpoints hippo-ha");
    let beats: Vec<&Message> = base.messages.iter().filter(heartbeat).collect();
    let mut keys: Vec<u64> = beats.iter().map(|m| m.key).collect();
    keys.dedup();
    assert!(beats.len() > 60 && keys.len() < 20, "{} of {}", keys.len(), beats.len());
    assert!(base.messages.iter().any(|m| of_patroni(m) && matches!(m.which, Which::Heard(..))));
    let cuts = plan([Some(&base)]);
    assert!(cuts.equal * 2 > cuts.all, "{} of {}", cuts.equal, cuts.all);
}

#[test]
fn a_second_cut_is_tried_where_the_first_one_disturbs_and_never_twice() {
    let (story, base) = story("create");
    let cuts = &plan([Some(&base)]).cuts[0];
    let known = Known::new(cuts.iter().map(|(i, cut)| base.messages[*i].key(*cut)).collect());
    let firsts = [cuts[cuts.len() / 3], cuts[cuts.len() / 2]];
    let again = |seed: u64| {
        let (mut looked, sample) = (Vec::new(), Sample { seed, size: 4 });
        let mut on = |one: Looked| {
            looked.push(one);
            true
        };
        let whose = (Whose::Operator, sample);
        pairs((&story, &base), &firsts, whose, &known, &build, &mut on).expect("a world");
        looked
    };
    let (one, two) = (again(1), again(1));
    assert_eq!((one.len(), two.len()), (2, 2));
    for (before, after) in one.iter().zip(&two) {
        assert_eq!(before.all, after.all);
        assert!(after.equal >= before.equal + before.ends.len(), "{before:?} {after:?}");
        assert!(!before.ends.is_empty());
        for end in before.ends.iter().chain(&after.ends) {
            assert!(!matches!(end, End::Failed(_)), "{end:#?}");
        }
    }
}

/// Panics when it starts.
#[derive(Clone)]
struct Faulty;

impl Actor for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn on(&mut self, _: &mut Cx<'_>, _: Input) {
        panic!("bug number 7");
    }
    crate::actor_boilerplate!();
}

#[test]
fn a_panic_is_a_bad_end() {
    let story = json!({"description": "Short.", "steps": [{"advance": "1s"}]});
    let faulty = |spec: &WorldSpec, trace| {
        let mut driver = build(spec, trace)?;
        let world = driver.world().expect("a world");
        world.spawn(KubeId(0), Arc::new(Faulty), None, None);
        Ok(driver)
    };
    let bad = play(&story, Path::new("."), &faulty).expect("a story").bad.expect("a bad end");
    assert_eq!(bad.failure.wrong, ["bug number 7"]);
    assert_eq!(bad.key, "promise 16 panic bug number ");
    let well = play(&story, Path::new("."), &build).expect("a story");
    assert!(well.bad.is_none(), "{:?}", well.bad);
}
