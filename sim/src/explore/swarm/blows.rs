//! What strikes a drawn story: every fault of the language, objects deleted and edited by strangers. Each blow says how
//! it is healed, and whether it may cost acknowledged rows of an asynchronous cluster.

use serde_json::{Value, json};

use super::dice::Dice;

/// A blow.
pub struct Blow {
    /// The steps that strike.
    pub steps: Vec<Value>,
    /// The faults that undo it at the end.
    pub heals: Vec<Value>,
    /// Whether a primary may be lost by it with rows that no replica has yet.
    pub lossy: bool,
}

fn gentle(step: Value) -> Blow {
    Blow { steps: vec![step], heals: Vec::new(), lossy: false }
}

fn fault(what: Value) -> Value {
    json!({"fault": what, "optional": true})
}

/// Draws one.
pub fn draw(dice: &mut Dice) -> Blow {
    match dice.below(4) {
        0 => object(dice),
        1 => messages(dice),
        2 => machine(dice),
        _ => process(dice),
    }
}

/// Somebody deletes or edits what is the operator's. Not the Secret of the user: another password would be drawn, and
/// the application of the story reads it once.
fn object(dice: &mut Dice) -> Blow {
    if dice.percent(15) {
        return edited(dice);
    }
    let things = [
        "Service hippo-primary",
        "Service hippo-ha",
        "Service hippo-replicas",
        "Secret hippo-cluster-cert",
        "Secret hippo-replication-cert",
        "Role hippo-instance",
        "ConfigMap hippo-config",
        "ConfigMap hippo-pgbackrest-config",
        "Endpoints hippo-ha",
        "PodDisruptionBudget hippo-set-one",
        "StatefulSet hippo-repo-host",
        "StatefulSet of primary",
        "StatefulSet of replica",
        "StatefulSet of every instance",
        "ConfigMap of primary",
        "Secret of replica",
        "PersistentVolumeClaim of replica",
        "repo-host",
        "replica",
        "primary",
    ];
    let thing = dice.one(&things);
    let mut step = match dice.below(4) {
        0 => json!({"label": {"of": thing, "with": {"ivory-operator.ivorysql.org/cluster": null}}}),
        1 => json!({"annotate": {"of": thing, "with": {"example.com/stranger": "was here"}}}),
        2 => json!({"delete": {"of": thing, "grace_s": 0}}),
        _ => json!({"delete": thing}),
    };
    step["optional"] = true.into();
    Blow { steps: vec![step], heals: Vec::new(), lossy: true }
}

/// Somebody edits the contents of what the operator keeps.
fn edited(dice: &mut Dice) -> Blow {
    let (thing, with) = dice.one(&[
        ("ConfigMap hippo-config", json!({"data": {"patroni.yaml": "bootstrap: {}"}})),
        (
            "ConfigMap hippo-pgbackrest-config",
            json!({"data": {"pgbackrest_instance.conf": "[db]"}}),
        ),
        ("ConfigMap of primary", json!({"data": null})),
        ("Secret hippo-cluster-cert", json!({"data": {"tls.crt": null}})),
        ("Secret hippo-replication-cert", json!({"data": {"tls.key": "bm8gY2VydGlmaWNhdGU="}})),
        ("Secret of replica", json!({"data": null})),
        ("Secret hippo-pgbackrest", json!({"data": {"pgbackrest-client.key": null}})),
        ("Service hippo-primary", json!({"spec": {"ports": [{"name": "ivory", "port": 6000}]}})),
        ("StatefulSet of primary", json!({"spec": {"replicas": 0}})),
        (
            "StatefulSet of replica",
            json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}),
        ),
    ]);
    let step = json!({"patch": {"of": thing, "with": with}, "optional": true});
    Blow { steps: vec![step], heals: Vec::new(), lossy: true }
}

/// Messages suffer.
fn messages(dice: &mut Dice) -> Blow {
    let span = format!("{}s", dice.between(1, 120));
    match dice.below(10) {
        0 => gentle(fault(json!({"api_outage": span}))),
        1 => Blow {
            steps: vec![fault(json!({"lag": format!("{}s", dice.between(1, 60))}))],
            heals: vec![json!({"lag": "0s"})],
            lossy: false,
        },
        2 => {
            let kinds = ["PersistentVolumeClaim", "StatefulSet", "Secret", "Job", "Pod"];
            let (kind, updates) = (dice.one(&kinds), dice.percent(50));
            gentle(fault(json!({"refuse": {"kind": kind, "updates": updates, "for": span}})))
        }
        3 => Blow {
            steps: vec![fault(json!({"second_operator": "up"}))],
            heals: vec![json!({"second_operator": "down"})],
            lossy: false,
        },
        4 => {
            let down = format!("{}s", dice.between(1, 120));
            Blow {
                steps: vec![fault(json!({"operator": "down"})), json!({"advance": down})],
                heals: vec![json!({"operator": "up"})],
                lossy: false,
            }
        }
        5 => Blow {
            steps: vec![fault(json!({"dns": "down"}))],
            heals: vec![json!({"dns": "up"})],
            // A failover meanwhile asks nobody how far the others have come.
            lossy: true,
        },
        6 => gentle(fault(json!({"upgrade": "operator"}))),
        _ => {
            let are = dice.one(&["lost", "dropped", "slow", "doubled", "409", "500", "429"]);
            let of = dice.one(&["operator", "operator", "everybody"]);
            let every = dice.one(&[1, 2, 3, 5, 10]);
            let what = json!({"of": of, "are": are, "every": every, "for": span});
            Blow {
                steps: vec![fault(json!({"messages": what}))],
                heals: Vec::new(),
                // Patroni's own messages decide who leads.
                lossy: of == "everybody",
            }
        }
    }
}

/// Machines and networks break. A disk that is gone for ever is no blow: somebody must delete its claim, and say with
/// it that the data are given up.
fn machine(dice: &mut Dice) -> Blow {
    let node = format!("node{}", dice.between(1, 4));
    let node = dice.one(&["node of primary".to_owned(), "node of replica".to_owned(), node]);
    match dice.below(9) {
        0 => {
            let heals = vec![json!({"restart_node": "every node"})];
            Blow { steps: vec![fault(json!({"crash_node": node}))], heals, lossy: true }
        }
        1 => {
            let heals = vec![json!({"uncordon": "every node"})];
            Blow { steps: vec![fault(json!({"drain": node}))], heals, lossy: false }
        }
        2 | 3 => {
            let other = dice.one(&["control-plane", "node1", "node2", "outside"]);
            Blow {
                steps: vec![fault(json!({"partition": [node, other]}))],
                heals: vec![json!({"heal": "network"})],
                lossy: true,
            }
        }
        4 => {
            let span = format!("{}s", dice.between(1, 200));
            let steps = vec![fault(json!({"pause_node": {"node": node, "for": span}}))];
            Blow { steps, heals: Vec::new(), lossy: true }
        }
        5 => {
            let by = dice.one(&["5s", "40s", "10m"]);
            let word = dice.one(&["ahead", "behind"]);
            Blow {
                steps: vec![fault(json!({"clock": {"node": node, word: by}}))],
                heals: vec![json!({"clock": {"node": "every node", "ahead": "0s"}})],
                lossy: true,
            }
        }
        6 => Blow {
            steps: vec![fault(json!({"lose_volume": "PersistentVolumeClaim of replica"}))],
            heals: Vec::new(),
            lossy: true,
        },
        _ => Blow {
            steps: vec![fault(json!({"lose_node": "node of replica"}))],
            heals: Vec::new(),
            lossy: true,
        },
    }
}

/// Processes die or hang.
fn process(dice: &mut Dice) -> Blow {
    let pod = dice.one(&["primary", "replica", "primary", "every instance"]);
    let lossy = true;
    let one = |what: Value| Blow { steps: vec![fault(what)], heals: Vec::new(), lossy };
    match dice.below(11) {
        0 => one(json!({"kill_pod": pod})),
        1 => {
            let container = dice.one(&["database", "replication-cert-copy", "pgbackrest"]);
            one(json!({"kill_container": {"of": pod, "container": container}}))
        }
        2 => one(json!({"kill_postgres": pod})),
        3 => {
            let span = format!("{}s", dice.between(1, 120));
            one(json!({"hang_patroni": {"of": pod, "for": span}}))
        }
        4 => {
            let late = format!("{}s", dice.between(1, 600));
            let how = dice.one(&[("flows", json!(false)), ("late", json!(late))]);
            Blow {
                steps: vec![fault(json!({"replication": {"of": "primary", how.0: how.1}}))],
                heals: vec![
                    json!({"replication": {"of": "every instance", "flows": true}}),
                    json!({"replication": {"of": "every instance", "late": "0s"}}),
                ],
                lossy,
            }
        }
        5 => {
            let image = dice.one(&[
                "docker.io/ivorysql/ivorysql:ubi9-5.4-5.4-1",
                "docker.io/ivorysql/pgbackrest:ubi9-2.58.0-5.4-1",
            ]);
            Blow {
                steps: vec![fault(json!({"images": {"failing": image}}))],
                heals: vec![json!({"images": {"working": image}})],
                lossy: false,
            }
        }
        6 | 7 => disk(dice),
        8 => {
            let container = dice.one(&["database", "database", "pgbackrest"]);
            one(json!({"oom": {"of": pod, "container": container}}))
        }
        9 => one(json!({"kill_backend": pod})),
        _ => one(json!({"kill_pod": "repo-host"})),
    }
}

/// A disk is full, takes no writes, or is slow. What is healed is every disk: who leads by then is not foreseen.
fn disk(dice: &mut Dice) -> Blow {
    let claim = dice.one(&[
        "PersistentVolumeClaim hippo-repo1",
        "PersistentVolumeClaim of primary",
        "PersistentVolumeClaim of replica",
    ]);
    let slow = dice.one(&["100ms", "2s", "20s"]);
    let (word, is, well) = dice.one(&[
        ("full", json!(true), json!(false)),
        ("read_only", json!(true), json!(false)),
        ("slow", json!(slow), json!("0s")),
    ]);
    let all = ["PersistentVolumeClaim hippo-repo1", "PersistentVolumeClaim of every instance"];
    Blow {
        steps: vec![fault(json!({"disk": {"of": claim, word: is}}))],
        heals: all.iter().map(|of| json!({"disk": {"of": of, word: well}})).collect(),
        lossy: true,
    }
}
