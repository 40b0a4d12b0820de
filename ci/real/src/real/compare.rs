//! Whether the real side and the model's tell the same story: the values of every track in their order, and how long
//! things took.

use std::collections::BTreeMap;

use super::cluster::LOOP_S;
use super::play::Case;
use super::trace::What;

/// How much the times may differ that Patroni's own clock decides (patroni.md §8.3: max(1.5 s, L/2)).
const CLOCKED_S: f64 = {
    let half = LOOP_S as f64 / 2.0;
    if half > 1.5 { half } else { 1.5 }
};
/// A server that is down for less is not always seen to be.
const FLAP_S: f64 = 1.5;

/// What came of it.
pub(super) struct Comparison {
    /// What differs, or went wrong on one side.
    pub(super) wrong: Vec<String>,
    /// How many values were compared.
    pub(super) compared: usize,
}

/// Compares case by case.
pub(super) fn compare(real: &[Case], model: &[Case], slack_s: f64) -> Comparison {
    let mut found = Comparison { wrong: Vec::new(), compared: 0 };
    for (side, cases) in [("real", real), ("model", model)] {
        for case in cases {
            if let Some(wrong) = &case.wrong {
                found.wrong.push(format!("{}: {side}: {wrong}", case.name));
            }
        }
    }
    for (real, model) in real.iter().zip(model) {
        if real.wrong.is_none() && model.wrong.is_none() {
            tracks(real, model, &mut found);
            figures(real, model, slack_s, &mut found);
        }
    }
    found
}

fn figures(real: &Case, model: &Case, slack_s: f64, found: &mut Comparison) {
    for (r, m) in real.figures.iter().zip(&model.figures) {
        found.compared += 1;
        let most = if r.clocked { CLOCKED_S } else { slack_s };
        if (r.seconds - m.seconds).abs() > most {
            found.wrong.push(format!(
                "{}: {}: {:.1} s, and {:.1} s by the model",
                real.name, r.what, r.seconds, m.seconds
            ));
        }
    }
}

fn tracks(real: &Case, model: &Case, found: &mut Comparison) {
    let (mut real_told, mut model_told) = (told(real), told(model));
    // When everybody lost the API, whoever writes first afterwards leads, the old leader or another one (patroni.md
    // §5.4). If the race ended otherwise, only what doesn't depend on its winner is the same.
    let changed = |case: &Case| case.parts.values().any(|part| *part == "next");
    if real.name == "outage" && changed(real) != changed(model) {
        let whoever = |key: &String, _: &mut Vec<String>| key == "History" || key == "Initialize";
        real_told.retain(whoever);
        model_told.retain(whoever);
    }
    let keys: std::collections::BTreeSet<_> = real_told.keys().chain(model_told.keys()).collect();
    let none = Vec::new();
    for key in keys {
        let (r, m) = (real_told.get(key).unwrap_or(&none), model_told.get(key).unwrap_or(&none));
        found.compared += r.len();
        if r != m {
            let (r, m) = (r.join(" → "), m.join(" → "));
            let what = format!("{}: {key}: {r}; by the model: {m}", real.name);
            found.wrong.push(what);
        }
    }
}

/// The values of every track, with members by the parts that they play.
fn told(case: &Case) -> BTreeMap<String, Vec<String>> {
    let part = |name: &str| case.parts.get(name).copied().unwrap_or("?").to_owned();
    let mut all: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    for event in &case.events {
        let (what, member) = &event.track;
        if *what == What::Status {
            continue;
        }
        let key = match member {
            Some(member) => format!("{what:?} of {}", part(member)),
            None => format!("{what:?}"),
        };
        let value = match case.parts.get(&event.value) {
            Some(part) => (*part).to_owned(),
            None => event.value.clone(),
        };
        all.entry(key).or_default().push((event.at, value));
    }
    all.into_iter().map(|(key, values)| (key, steady(&values))).collect()
}

/// Without moments in which a server was down and came back as it was.
fn steady(values: &[(f64, String)]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for (index, (at, value)) in values.iter().enumerate() {
        let next = values.get(index + 1).map(|(at, _)| *at);
        let flap = value == "down" && next.is_some_and(|next| next - at < FLAP_S);
        if !flap && kept.last() != Some(value) {
            kept.push(value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::play::Figure;
    use super::super::trace::Event;
    use super::*;

    /// A case in which `a` leads and `b` may come next; events as `track of member: value`.
    fn case(name: &'static str, next: bool, events: &[(What, Option<&str>, &str)]) -> Case {
        let event = |(at, (what, member, value)): (u8, &(What, Option<&str>, &str))| Event {
            at: f64::from(at),
            track: (*what, member.map(str::to_owned)),
            value: (*value).to_owned(),
        };
        let parts = [("a", "leader"), ("b", if next { "next" } else { "other" })];
        Case {
            name,
            began: 0.0,
            figures: vec![Figure { what: "it takes", seconds: 20.0, clocked: true }],
            events: (0..).zip(events).map(event).collect(),
            parts: parts.map(|(member, part)| (member.to_owned(), part)).into(),
            wrong: None,
        }
    }

    #[test]
    fn what_differs_is_named() {
        let (key, server) = (What::Key, What::Postgres);
        let base = [(key, None, "-"), (key, None, "b"), (server, Some("b"), "primary")];
        let check = |name, next, events: &[(What, Option<&str>, &str)], expected: usize| {
            let (real, model) = (case(name, next, events), case(name, true, &base));
            let found = compare(&[real], &[model], 5.0);
            assert_eq!(found.wrong.len(), expected, "{:?}", found.wrong);
        };
        check("crash", true, &base, 0);
        // In what order tracks change is not compared, but in what order a track takes its values is.
        check("crash", true, &[base[2], base[0], base[1]], 0);
        check("crash", true, &[base[1], base[0], base[2]], 1);
        check("crash", true, &base[1..], 1);
        check("crash", true, &base[..2], 1);
        // A server that is down for a moment.
        check("crash", true, &[base[0], base[1], (server, Some("b"), "down"), base[2]], 0);
        // Another member won the race, which only an outage leaves open.
        let other = [(key, None, "a"), (server, Some("a"), "primary")];
        check("outage", false, &other, 0);
        check("crash", false, &other, 3);
    }

    #[test]
    fn times_that_patronis_clock_decides_are_held_closer() {
        let check = |clocked, seconds, expected: usize| {
            let mut real = case("crash", true, &[]);
            real.figures = vec![Figure { what: "it takes", seconds, clocked }];
            let found = compare(&[real], &[case("crash", true, &[])], 5.0);
            assert_eq!(found.wrong.len(), expected, "{:?}", found.wrong);
        };
        check(true, 22.0, 0);
        check(true, 23.0, 1);
        check(false, 23.0, 0);
        check(false, 14.0, 1);
    }
}
