//! Shrinking: a story that fails becomes the smallest one that fails in the same way. Steps are left out, in halves at
//! first and one by one at last; then whatever stands in world and steps; then times become round and short.
//!
//! It deliberately never takes away what makes the end meaningful: the last wait, the last manifest, and what heals a
//! fault that is still there. A cluster that is not ready because nobody mended its network is no finding.

use serde_json::{Value, json};

use super::swarm;

/// Shrinks a story. `fails` says whether another story fails in the same way; it is asked in a fixed order, so that
/// the same story always becomes the same. Ends early when `fails` answers none: time is over.
pub fn shrink(story: &Value, fails: &mut dyn FnMut(&Value) -> Option<bool>) -> Value {
    let mut best = story.clone();
    loop {
        let before = best.clone();
        if drop_steps(&mut best, fails).is_none()
            || simplify(&mut best, fails).is_none()
            || shorten(&mut best, fails).is_none()
            || best == before
        {
            return best;
        }
    }
}

/// Takes the candidate if it fails in the same way.
fn take(
    best: &mut Value,
    candidate: Value,
    fails: &mut dyn FnMut(&Value) -> Option<bool>,
) -> Option<bool> {
    if candidate == *best || !sensible(&candidate) {
        return Some(false);
    }
    let same = fails(&candidate)?;
    if same {
        *best = candidate;
    }
    Some(same)
}

/// Leaves out steps, in ever smaller pieces.
fn drop_steps(best: &mut Value, fails: &mut dyn FnMut(&Value) -> Option<bool>) -> Option<()> {
    let mut piece = steps(best).len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < steps(best).len() {
            let mut candidate = best.clone();
            if let Some(list) = candidate["steps"].as_array_mut() {
                let end = (at + piece).min(list.len());
                list.drain(at..end);
            }
            if !take(best, candidate, fails)? {
                at += piece;
            }
        }
        if piece == 1 {
            return Some(());
        }
        piece = piece.div_ceil(2);
    }
}

/// Leaves out entries of maps and lists, outermost first.
fn simplify(best: &mut Value, fails: &mut dyn FnMut(&Value) -> Option<bool>) -> Option<()> {
    let mut tried = 0;
    loop {
        let all = pointers(best);
        let Some(pointer) = all.get(tried) else { return Some(()) };
        let mut candidate = best.clone();
        remove(&mut candidate, pointer);
        if !take(best, candidate, fails)? {
            tried += 1;
        }
    }
}

/// Makes times short.
fn shorten(best: &mut Value, fails: &mut dyn FnMut(&Value) -> Option<bool>) -> Option<()> {
    for index in 0..steps(best).len() {
        for pointer in ["/advance", "/fault/messages/for", "/fault/api_outage", "/fault/lag"] {
            for span in ["0s", "1s", "10s", "30s", "1m", "2m"] {
                let mut candidate = best.clone();
                let Some(found) = candidate["steps"][index].pointer_mut(pointer) else { break };
                if *found == *span {
                    break;
                }
                *found = span.into();
                if take(best, candidate, fails)? {
                    break;
                }
            }
        }
    }
    Some(())
}

fn steps(story: &Value) -> &[Value] {
    story["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// All entries below the world, the steps and the final demands, but the steps themselves.
fn pointers(story: &Value) -> Vec<String> {
    fn below(value: &Value, path: &str, all: &mut Vec<String>) {
        let mut inner = Vec::new();
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    inner.push((format!("{path}/{key}"), value));
                }
            }
            Value::Array(list) => {
                inner.extend(list.iter().enumerate().map(|(i, v)| (format!("{path}/{i}"), v)));
            }
            _ => {}
        }
        all.extend(inner.iter().map(|(path, _)| path.clone()));
        inner.into_iter().for_each(|(path, value)| below(value, &path, all));
    }
    let mut all = Vec::new();
    below(&story["world"], "/world", &mut all);
    for (index, step) in steps(story).iter().enumerate() {
        // A step without its word would be none.
        for (word, value) in step.as_object().into_iter().flatten() {
            if matches!(word.as_str(), "apply" | "patch") {
                below(value, &format!("/steps/{index}/{word}"), &mut all);
            }
            // But a manifest of the way stays one: else it would pass for the one that is meant.
            if word == "optional" && step.get("apply").is_none() {
                all.push(format!("/steps/{index}/optional"));
            }
        }
    }
    all
}

fn remove(story: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match story.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&key)),
        Some(Value::Array(list)) => {
            if let Ok(index) = key.parse::<usize>()
                && index < list.len()
            {
                list.remove(index);
            }
        }
        _ => {}
    }
}

/// Whether the story's end still means something.
fn sensible(story: &Value) -> bool {
    let steps = steps(story);
    let Some(last) = steps.last() else { return false };
    if last.get("wait").is_none() && last.get("expect").is_none() {
        return false;
    }
    // Whatever was edited on the way must be taken back or meant: an optional manifest is never the last.
    let applied = steps.iter().rfind(|s| s.get("apply").is_some());
    if applied.is_none_or(|last| last["optional"] == true) {
        return false;
    }
    steps
        .iter()
        .enumerate()
        .all(|(at, step)| heals(step).is_none_or(|healed| steps[at..].iter().any(healed)))
}

/// Whether a step is what one waits for.
type IsStep = Box<dyn Fn(&Value) -> bool>;

/// How a fault is healed; none for what heals by itself or is no fault.
fn heals(step: &Value) -> Option<IsStep> {
    let fault = step["fault"].as_object()?;
    let (word, value) = fault.iter().next()?;
    let has = |what: &'static str, wanted: Value| -> Option<IsStep> {
        Some(Box::new(move |s: &Value| s["fault"][what] == wanted))
    };
    match (word.as_str(), value.as_str()) {
        ("api_outage" | "messages" | "refuse" | "hang_patroni" | "pause_node", _) => {
            Some(Box::new(|s: &Value| s["advance"] == swarm::CALM))
        }
        ("operator", Some("down")) => has("operator", "up".into()),
        ("second_operator", Some("up")) => has("second_operator", "down".into()),
        ("partition", _) => has("heal", "network".into()),
        ("crash_node", _) => has("restart_node", "every node".into()),
        ("drain", _) => has("uncordon", "every node".into()),
        ("lag", Some(span)) if span != "0s" => has("lag", "0s".into()),
        ("dns", Some("down")) => has("dns", "up".into()),
        ("clock", _) if value["node"] != "every node" => {
            Some(Box::new(|s: &Value| s["fault"]["clock"]["node"] == "every node"))
        }
        ("images", _) => {
            let working = json!({"working": value["failing"]});
            value.get("failing").and_then(|_| has("images", working))
        }
        ("disk", _) => {
            let sick =
                [("full", json!(true), json!(false)), ("read_only", json!(true), json!(false))];
            let slow = ("slow", value["slow"].clone(), json!("0s"));
            over("disk", value, [&sick[..], &[slow]].concat())
        }
        ("replication", _) => {
            let late = ("late", value["late"].clone(), json!("0s"));
            over("replication", value, vec![("flows", json!(false), json!(true)), late])
        }
        _ => None,
    }
}

/// How one of several ailments of a thing is over: by its word, with what is sick and what is well.
fn over(
    fault: &'static str,
    value: &Value,
    ailments: Vec<(&'static str, Value, Value)>,
) -> Option<IsStep> {
    let is = |(word, sick, well): &(&str, Value, Value)| {
        !value[*word].is_null() && value[*word] == *sick && sick != well
    };
    let (word, _, well) = ailments.into_iter().find(is)?;
    Some(Box::new(move |s: &Value| s["fault"][fault][word] == well))
}

#[cfg(test)]
mod tests {
    use super::super::swarm::healed_blow;
    use super::*;

    #[test]
    fn what_heals_a_drawn_blow_is_known() {
        let mut seen = std::collections::BTreeSet::new();
        for (strikes, cure) in (0..3_000).filter_map(healed_blow) {
            let fault = &strikes["fault"];
            seen.insert(fault.as_object().and_then(|f| f.keys().next()).cloned());
            let healed = heals(&strikes).unwrap_or_else(|| panic!("{fault} is healed by nothing"));
            assert!(cure.iter().any(&healed), "{fault} is not healed by {cure:?}");
            assert!(cure.iter().all(|c| heals(c).is_none()), "a cure is no fault: {cure:?}");
        }
        assert!(seen.len() >= 11, "{seen:?}");
    }

    #[test]
    fn what_does_not_matter_goes_and_what_heals_stays() {
        let story = json!({
            "world": {"seed": 7, "nodes": 5},
            "steps": [
                {"apply": {"file": "x", "with": {"spec": {"a": 1, "b": {"c": 2, "d": 3}}}}},
                {"wait": {"ready": true}},
                {"fault": {"operator": "down"}},
                {"delete": "Service a"},
                {"advance": "47s"},
                {"fault": {"partition": ["node1", "node2"]}},
                {"delete": "Service b"},
                {"fault": {"heal": "network"}},
                {"fault": {"operator": "up"}},
                {"wait": {"ready": true}},
            ],
        });
        // It fails if the operator is down when Service b is deleted, with field d, some time after.
        let mut asked = 0;
        let mut fails = |s: &Value| {
            asked += 1;
            let all = steps(s);
            let at = |what: &Value| all.iter().position(|x| x == what);
            let down = at(&json!({"fault": {"operator": "down"}}));
            let deleted = at(&json!({"delete": "Service b"}));
            let long = all.iter().any(|x| x.get("advance").is_some_and(|a| a != "0s" && a != "1s"));
            let field = s.pointer("/steps/0/apply/with/spec/b/d").is_some();
            Some(down.is_some() && deleted.is_some() && down < deleted && long && field)
        };
        let small = shrink(&story, &mut fails);
        let wanted = json!([
            {"apply": {"with": {"spec": {"b": {"d": 3}}}}},
            {"fault": {"operator": "down"}},
            {"advance": "10s"},
            {"delete": "Service b"},
            {"fault": {"operator": "up"}},
            {"wait": {"ready": true}},
        ]);
        assert_eq!(small["steps"], wanted);
        assert_eq!(small["world"], json!({}));
        assert!(asked < 120, "{asked}");
    }

    #[test]
    fn it_stops_when_time_is_over() {
        let story =
            json!({"steps": [{"apply": "x"}, {"advance": "1s"}, {"wait": {"ready": true}}]});
        let mut left = 1;
        let mut fails = |_: &Value| {
            left -= 1;
            (left >= 0).then_some(true)
        };
        let small = shrink(&story, &mut fails);
        assert!(steps(&small).len() < 3);
    }
}
