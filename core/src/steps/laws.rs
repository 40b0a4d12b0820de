//! Laws of planning for drawn specs, edits and moments: a plan follows from its input alone, whatever the order it was read
//! in; carried out, it leaves nothing to plan; to know less never makes it do more; and what it writes is well-formed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::build::tests::as_typed;
use crate::hash::digest;
use crate::memo::Memos;
use crate::plan::{Op, Plan, Write};
use crate::read::{Read, ReadKey};
use crate::reads::reads;
use crate::test_support::{World, claim, spec, text, texts, whole};

/// Specs of every shape that matters to a plan.
fn specs() -> impl Strategy<Value = Value> {
    let set = (1..=3_i64, any::<bool>(), 0..3_usize).prop_map(|(replicas, wal, available)| {
        let mut set = json!({"replicas": replicas, "dataVolumeClaimSpec": claim("1Gi")});
        if wal {
            set["walVolumeClaimSpec"] = claim("1Gi");
        }
        if let Some(minimum) = [json!("50%"), json!(0)].get(available) {
            set["minAvailable"] = minimum.clone();
        }
        set
    });
    let repo = prop_oneof![
        Just(json!({"volume": {"volumeClaimSpec": claim("2Gi")}})),
        Just(json!({"s3": {"bucket": "b", "endpoint": "e", "region": "r"}})),
        Just(json!({"gcs": {"bucket": "b"}})),
        Just(json!({"azure": {"container": "c"}})),
    ];
    let users = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!([{"name": "rhino", "databases": ["zoo"]}, {"name": "ivory"}])),
    ];
    let service = prop_oneof![
        Just(json!({})),
        Just(
            json!({"type": "NodePort", "nodePort": 32001, "metadata": {"labels": {"role": "db"}}})
        ),
        Just(json!({"type": "LoadBalancer"})),
    ];
    let metadata = prop_oneof![
        Just(json!({})),
        Just(
            json!({"labels": {"team": "blue", "ivory-operator.ivorysql.org/cluster": "wrong"}, "annotations": {"a": "b"}})
        ),
    ];
    let sets = prop::collection::vec(set, 1..=3);
    let repos = prop::collection::vec(repo, 1..=3);
    (sets, repos, users, service, metadata).prop_map(
        |(mut sets, mut repos, users, service, metadata)| {
            for (n, set) in sets.iter_mut().enumerate().skip(1) {
                set["name"] = format!("set{n}").into();
            }
            for (n, repo) in repos.iter_mut().enumerate() {
                repo["name"] = format!("repo{}", n + 1).into();
            }
            let mut made = spec(1);
            made["instances"] = sets.into();
            made["backups"]["pgbackrest"]["repos"] = repos.into();
            made["users"] = users;
            made["service"] = service;
            made["metadata"] = metadata;
            made
        },
    )
}

/// What may be changed of a running cluster; each alone or with others.
fn edits() -> impl Strategy<Value = Vec<fn(&mut Value)>> {
    let all: Vec<fn(&mut Value)> = vec![
        |s| s["instances"][0]["replicas"] = 1.into(),
        |s| s["instances"][0]["replicas"] = 3.into(),
        |s| s["instances"][0]["name"] = "other".into(),
        |s| s["instances"][0]["walVolumeClaimSpec"] = claim("1Gi"),
        |s| s["instances"][0]["walVolumeClaimSpec"] = Value::Null,
        |s| s["instances"][0]["dataVolumeClaimSpec"] = claim("2Gi"),
        |s| s["instances"][0]["resources"] = json!({"limits": {"cpu": "1"}}),
        |s| s["users"] = json!([{"name": "zebra"}]),
        |s| s["metadata"] = json!({"labels": {"a": "b"}}),
        |s| {
            s["backups"]["pgbackrest"]["repos"] = json!([{"name": "repo1", "gcs": {"bucket": "b"}}])
        },
        |s| s["shutdown"] = true.into(),
        |s| s["port"] = 5433.into(),
        |s| s["service"] = Value::Null,
        |s| {
            s["patroni"] =
                json!({"dynamicConfiguration": {"postgresql": {"parameters": {"jit": "off"}}}})
        },
    ];
    prop::sample::subsequence(all, 0..3)
}

/// The plan for the same input without memos.
fn again(observed: &crate::observed::Observed, world: &World) -> Plan {
    crate::steps::plan(observed, &world.context(), &mut Memos::default())
}

/// The writes that do something: neither the status nor what is told.
fn acts(plan: &Plan) -> Vec<String> {
    let act = |w: &&Write| !matches!(w.op, Op::Status { .. } | Op::Event { .. });
    let of = |w: &Write| match &w.op {
        Op::Apply { object } => format!("{} {}", text(w), object.to_value()),
        op => format!("{} {op:?}", text(w)),
    };
    plan.writes.iter().filter(act).map(of).collect()
}

fn written(plan: &Plan) -> impl Iterator<Item = &crate::Object> {
    plan.writes.iter().filter_map(|w| match &w.op {
        Op::Apply { object } | Op::Create { object } | Op::Event { object } => Some(&**object),
        _ => None,
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn any_spec_becomes_quiet_by_plans_that_follow_from_their_input_alone(
        made in specs(), shuffle in any::<u64>(),
    ) {
        let mut world = World::new(made);
        world.settle_with(|world, plan| {
            let plan = whole(plan);
            let mut observed = world.observed();
            assert!(plan == whole(&again(&observed, world)), "memos change the plan");
            for read in observed.objects.values_mut() {
                if let Read::Known(list) = read {
                    list.sort_by_key(|o| digest(&(shuffle, &*o.meta.uid)));
                }
            }
            assert!(plan == whole(&again(&observed, world)), "the order of lists changes the plan");
        });
        let plan = world.plan();
        prop_assert!(plan.writes.is_empty(), "{:?}", texts(&plan));
        prop_assert_eq!(world.condition("Ready").map(|c| c.0), Some("True".to_owned()));
        prop_assert_eq!(world.condition("Reconciled").map(|c| c.1), Some("InSync".to_owned()));
    }

    #[test]
    fn to_know_less_never_does_more(
        made in specs(),
        edits in edits(),
        begun in 0..30_usize,
        lost in prop::collection::vec((any::<Index>(), any::<bool>()), 40),
    ) {
        let mut world = World::new(made);
        (0..begun).for_each(|_| { world.round(); });
        edits.iter().for_each(|edit| world.edit(edit));
        // A few keys of every plan, and now and then the answers from inside the Pods as well.
        let mut lost = lost.chunks(4).cycle();
        world.settle_with(|world, _| {
            let known = world.observed();
            let keys: Vec<&ReadKey> = known.objects.keys().collect();
            let lost = lost.next().unwrap_or_default();
            let unread: BTreeSet<ReadKey> =
                lost.iter().filter(|l| l.1).map(|l| (*l.0.get(&keys)).clone()).collect();
            let mut less = world.clone();
            less.unknown.clone_from(&unread);
            let mut less = less.observed();
            if lost.iter().all(|l| l.1) {
                less.answers.clear();
            }
            let (known, plan) = (acts(&again(&known, world)), again(&less, world));
            for act in acts(&plan) {
                assert!(known.contains(&act), "without {unread:?}: {act}\nknown: {known:#?}");
            }
        });
    }

    #[test]
    fn what_is_written_is_what_its_type_reads(made in specs(), edits in edits()) {
        let mut world = World::new(made);
        edits.iter().for_each(|edit| world.edit(edit));
        let mut kinds = BTreeSet::new();
        world.settle_with(|_, plan| {
            for object in written(plan) {
                assert_eq!(as_typed(object), object.to_value());
                assert_eq!(crate::Object::from_value(object.to_value()).as_ref(), Ok(object));
                kinds.insert(object.kind);
            }
        });
        prop_assert!(kinds.len() >= 9, "{kinds:?}");
    }
}

/// Key by key and question by question, of a cluster that needs nothing, of one that needs much, and of a standby whose
/// promotion is held up.
#[test]
fn no_single_read_that_fails_makes_a_plan_do_more() {
    let quiet = World::settled(3);
    let mut busy = quiet.clone();
    busy.edit(|s| {
        s["instances"][0]["replicas"] = 2.into();
        s["users"] = json!([{"name": "zebra"}]);
        s["metadata"]["labels"] = json!({"a": "b"});
    });
    let mut standby = spec(2);
    standby["standby"] = json!({"enabled": true, "host": "elsewhere"});
    let mut held = World::new(standby);
    held.settle();
    held.source = "writable streaming";
    held.edit(|s| s["standby"] = Value::Null);
    let mut asked = 0;
    for mut world in [quiet, busy, held] {
        let all = world.observed();
        let known = acts(&again(&all, &world));
        for query in all.answers.keys() {
            let mut less = all.clone();
            less.answers.insert(query.clone(), Read::Unknown("a test says so".into()));
            let acts = acts(&again(&less, &world)).into_iter();
            let more: Vec<_> = acts.filter(|a| !known.contains(a)).collect();
            assert_eq!(more, [""; 0], "{query:?}");
            asked += 1;
        }
        for key in reads(&world.cluster()) {
            world.unknown = BTreeSet::from([key.clone()]);
            let acts = acts(&again(&world.observed(), &world)).into_iter();
            let more: Vec<_> = acts.filter(|a| !known.contains(a)).collect();
            assert_eq!(more, [""; 0], "{key:?}");
        }
    }
    assert!(asked >= 3, "{asked}");
}
