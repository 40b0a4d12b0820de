//! The swarm: stories that nobody wrote. A seed draws a world (`topology.rs`), a cluster and edits of it (`spec.rs`,
//! `wild.rs`), and blows (`blows.rs`); then everything is healed, the last good spec is applied, and the cluster must
//! become ready and fall silent.
//!
//! What it makes is the text of a scenario, so that whatever fails can be played, shrunk and kept as a file. It
//! deliberately doesn't know how stories are played or how many threads do it.

mod blows;
mod dice;
mod spec;
mod topology;
mod wild;

use serde_json::{Value, json};

use dice::Dice;

/// A blow that some seed draws and its end heals: the fault, and the faults that undo it. For tests of who must know them.
#[cfg(test)]
pub(super) fn healed_blow(seed: u64) -> Option<(Value, Vec<Value>)> {
    let blow = blows::draw(&mut Dice::new(seed, "blow"));
    let cures: Vec<Value> = blow.heals.iter().map(|cure| json!({"fault": cure})).collect();
    let fault = blow.steps.into_iter().find(|step| step.get("fault").is_some())?;
    (!cures.is_empty()).then_some((fault, cures))
}

/// How long a cluster may take to become ready when nothing breaks any more: image pulls, restarts with back-off up to
/// five minutes each, and volumes that are copied.
const HEALS: &str = "1h";

/// The longest fault that ends by itself, and what it takes until everybody knows of that.
pub(super) const CALM: &str = "4m";

/// The story of a seed, as a file of `scenarios/` has it. Equal seeds make equal stories.
#[must_use]
pub fn story(seed: u64) -> Value {
    let mut dice = Dice::new(seed, "story");
    let world = topology::draw(&mut Dice::new(seed, "topology"), seed);
    let expands = world["storage"][0]["expands"] == true;
    let mut spec = spec::Spec::draw(&mut Dice::new(seed, "spec"), expands);
    let mut wild = wild::Wild::new(seed);
    let mut steps = vec![
        json!({"apply": spec.manifest()}),
        json!({"wait": {"ready": true}, "within": HEALS}),
        json!({"connect": {"secret": "hippo-pguser-hippo", "every": "1s"}}),
        json!({"wait": {"client": {"writes": true}}, "within": "10m"}),
    ];
    let (mut lossy, mut wiped, mut edited, mut heals) = (0, false, false, Vec::new());
    // One machine stays, or nothing could run anywhere.
    let mut may_be_lost = world["nodes"].as_u64().unwrap_or(1) - 1;
    for _ in 0..dice.between(1, 8) {
        match dice.below(10) {
            0..4 => {
                steps.push(spec.edit(&mut dice));
                edited = true;
            }
            4 => {
                steps.push(json!({"apply": spec.with(&wild.draw(spec.spec())), "optional": true}));
                edited = true;
            }
            _ => {
                let blow = blows::draw(&mut dice);
                let does = |fault: &str| blow.steps.iter().any(|s| s["fault"].get(fault).is_some());
                wiped |= does("lose_volume");
                if does("lose_node") {
                    if may_be_lost == 0 {
                        continue;
                    }
                    may_be_lost -= 1;
                }
                steps.extend(blow.steps);
                heals.extend(blow.heals);
                lossy += u32::from(blow.lossy);
            }
        }
        // Often right after, when the operator is in the middle of something; sometimes when all has settled, or when
        // what is looked at by the hour was looked at again.
        let pause = match dice.below(16) {
            0..4 => "0s".to_owned(),
            4..8 => format!("{}ms", dice.between(1, 3000)),
            8..12 => format!("{}s", dice.between(1, 30)),
            12..15 => format!("{}s", dice.between(30, 300)),
            _ => format!("{}m", dice.between(5, 100)),
        };
        steps.push(json!({"advance": pause}));
    }
    // Machines first: what was frozen on one can be told to go on only when it runs.
    heals.sort_by_key(|heal| (heal.get("restart_node").is_none(), heal.to_string()));
    heals.dedup();
    steps.extend(heals.into_iter().map(|heal| json!({"fault": heal, "optional": true})));
    // Outages, hangs and the like end by themselves, and a minute later all watches are open again; the story's own
    // hands need an API server.
    steps.push(json!({"advance": CALM}));
    if edited {
        spec.settle();
        steps.push(json!({"apply": spec.manifest()}));
    }
    // Of these one hears a minute later only.
    if spec.sets_parameters() {
        let accepted = json!({"type": "ParametersAccepted", "status": true});
        steps.push(json!({"wait": {"condition": accepted}, "within": HEALS}));
    }
    let archives = json!({"type": "ContinuousArchiving", "status": true});
    let end = json!({
        "ready": true, "client": {"writes": true}, "primary": "one", "condition": archives,
    });
    steps.push(json!({"wait": end, "within": HEALS}));
    let mut expect = json!({"ready": true, "writes_when_quiet": 0});
    // Two copies are kept. A volume that loses what it holds takes one unseen, under a name that Patroni still believes.
    if lossy == 0 || (spec.synchronous() && !(wiped && lossy > 1)) {
        expect["lost_rows"] = 0.into();
    }
    json!({
        "description": format!("A story that was drawn: seed {seed}."),
        "world": world,
        "steps": steps,
        "expect": expect,
    })
}

/// A story as the text of a file.
///
/// # Errors
/// Never for what [`story`] makes.
pub fn text(story: &Value) -> Result<String, String> {
    serde_saphyr::to_string(story).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::scenario::parse::parse;

    #[test]
    fn every_seed_is_a_story_of_its_own_that_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut words = BTreeSet::new();
        for seed in 0..300 {
            let drawn = story(seed);
            assert_eq!(drawn, story(seed), "seed {seed}");
            let text = text(&drawn).expect("YAML");
            if let Err(error) = parse("drawn.yaml", folder, &text) {
                panic!("seed {seed}: {error}\n{text}");
            }
            for step in drawn["steps"].as_array().into_iter().flatten() {
                let fault = step["fault"].as_object().into_iter().flat_map(|f| f.keys());
                words.extend(fault.cloned());
            }
        }
        let all = crate::scenario::words::words(crate::scenario::words::Group::Fault);
        let missing: Vec<_> = all.into_iter().filter(|w| !words.contains(*w)).collect();
        assert_eq!(missing, [""; 0], "faults that no seed draws");
    }
}
