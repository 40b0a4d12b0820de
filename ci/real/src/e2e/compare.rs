//! Two runs of one story side by side: what happened in one only, and what happened in another order. A
//! difference is a failure unless a rule here gives the reason for it.

use std::collections::{BTreeMap, BTreeSet};

use super::milestones::{Fact, Track, is_instance};

/// What the comparison found.
#[derive(Default)]
pub(crate) struct Compared {
    /// How many milestones both runs have in common.
    pub(crate) common: usize,
    /// Differences without a reason.
    pub(crate) wrong: Vec<String>,
    /// Differences with their reasons.
    pub(crate) excused: Vec<String>,
}

/// One of two runs.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    /// Where it took place: `on the cluster`, `simulated`.
    pub(crate) name: &'a str,
    /// What happened.
    pub(crate) facts: &'a [Fact],
    /// What was taken out of it, since it lasted for a moment only.
    pub(crate) flaps: &'a [Fact],
}

/// Compares a run with the simulated one.
pub(crate) fn compare(run: Side<'_>, model: Side<'_>) -> Compared {
    let (real, simulated) = (run.facts, model.facts);
    let mut found = Compared::default();
    let (here, there) = (numbered(real), numbered(simulated));
    for (key, fact) in &here {
        if !there.contains_key(key) {
            found.add(
                format!("only {}, at {:.1} s: {}", run.name, fact.at_s, fact.text),
                alone(fact, run, model),
            );
        }
    }
    for (key, fact) in &there {
        if !here.contains_key(key) {
            found.add(
                format!("only {}, at {:.1} s: {}", model.name, fact.at_s, fact.text),
                alone(fact, model, run),
            );
        }
    }
    let order = |facts: &[Fact], other: &BTreeMap<Key, &Fact>| -> Vec<Key> {
        keys(facts).into_iter().filter(|k| other.contains_key(k)).collect()
    };
    let (ours, theirs) = (order(real, &there), order(simulated, &here));
    found.common = ours.len();
    // First the decisions alone, then everything: a Pod that is slow here must not hide a decision that moved.
    let decision = |k: &&Key| decides(&here[*k].track);
    let (ours_decided, theirs_decided): (Vec<Key>, Vec<Key>) = (
        ours.iter().filter(decision).cloned().collect(),
        theirs.iter().filter(decision).cloned().collect(),
    );
    // Clusters are decided on side by side, so the order is that within each.
    let mut moved_decisions = BTreeSet::new();
    let clusters: BTreeSet<&str> = ours_decided.iter().map(|k| &*here[k].cluster).collect();
    for cluster in clusters {
        let own = |keys: &[Key]| -> Vec<Key> {
            keys.iter().filter(|k| here[*k].cluster == cluster).cloned().collect()
        };
        moved_decisions.extend(moved(&own(&ours_decided), &own(&theirs_decided)));
    }
    // Within one instance the order holds, whichever instance comes first.
    let mut astray = BTreeSet::new();
    let instances: BTreeSet<&str> = ours_decided.iter().filter_map(|k| instance(here[k])).collect();
    for name in instances {
        let own = |keys: &[Key]| -> Vec<Key> {
            keys.iter().filter(|k| instance(here[*k]) == Some(name)).cloned().collect()
        };
        astray.extend(moved(&own(&ours_decided), &own(&theirs_decided)));
    }
    // Those that may come in another order by themselves say nothing of who crossed them.
    let by_itself = |key: &Key| (!astray.contains(key)).then(|| reordered(here[key])).flatten();
    for key in moved_decisions.union(&astray) {
        let crossed = crossed(key, &ours_decided, &theirs_decided);
        let by_chance = |other: &Key| moved_decisions.contains(other) && by_itself(other).is_some();
        // Where two equal instances changed places, only one of them counts as moved.
        let twin_moved = |other: &Key| {
            by_itself(other).is_some()
                && moved_decisions.iter().any(|m| by_chance(m) && twins(here[m], here[other]))
        };
        let near = |fact: &Fact, other: &Fact| (fact.at_s - other.at_s).abs() <= NEAR_S;
        let says_nothing = |other: &&Key| {
            by_chance(other)
                || twin_moved(other)
                || (near(here[key], here[*other]) && near(there[key], there[*other]))
        };
        let reason = match here[key].track {
            Track::Leader if crossed.iter().all(says_nothing) => {
                Some("Patroni and the operator decide in the same moment")
            }
            _ => by_itself(key),
        };
        found.add(in_order(here[key], there[key]), reason);
    }
    for key in moved(&ours, &theirs).difference(&moved_decisions) {
        let reason =
            (!decides(&here[key].track)).then_some("Pods and databases keep their own time");
        // A decision that is in order among its cluster's has only changed places with something else.
        let reason = reason.or(Some("only a Pod's moment, or another cluster's, lies between"));
        found.add(in_order(here[key], there[key]), reason);
    }
    found
}

impl Compared {
    fn add(&mut self, what: String, reason: Option<&str>) {
        match reason {
            Some(reason) => self.excused.push(format!("{what} ({reason})")),
            None => self.wrong.push(what),
        }
    }
}

/// Whether the operator or Patroni decides it; the rest is when Pods start and answer.
fn decides(track: &Track) -> bool {
    matches!(track, Track::Leader | Track::Object(_) | Track::Command(_))
}

/// Why something may happen in one world only.
fn alone(fact: &Fact, own: Side<'_>, other: Side<'_>) -> Option<&'static str> {
    if other.flaps.iter().any(|o| o.text == fact.text) {
        return Some("in the other world it lasted for a moment only");
    }
    match &fact.track {
        Track::Pod(_) | Track::Condition(_) if fact.unheard => Some(
            "after an API outage Pods are marked with what was last heard of them, until their kubelet is heard again",
        ),
        // Whether it must be another one, or the same, is what stories expect in words.
        Track::Leader
            if other
                .facts
                .iter()
                .any(|o| o.track == Track::Leader && timeline(o) == timeline(fact)) =>
        {
            Some("which of those that could lead does is chance")
        }
        Track::Condition(kind)
            if kind.ends_with(" Reconciled") || kind.ends_with(" Progressing") =>
        {
            Some("how often it changes on the way depends on when Pods answer")
        }
        Track::Command(_)
            if fact.text.contains(" runs checkpoint ")
                && other.facts.iter().any(|o| o.text == fact.text) =>
        {
            Some("the Pod changed meanwhile, so its renewal was begun once more")
        }
        Track::Leader if token_lost(own) && token_lost(other) => Some(TOKEN),
        Track::Condition(kind)
            if kind.ends_with(" Ready") && token_lost(own) && token_lost(other) =>
        {
            Some(TOKEN)
        }
        Track::Condition(kind) if kind.ends_with(" Ready") && lead_changes(own, fact.at_s) => {
            Some("the lead changes, and whether it is seen that nobody has it is chance")
        }
        Track::Pod(pod) if !is_instance(pod) => {
            Some("how long a helper's Pod is ready depends on its work")
        }
        Track::Pod(pod)
            if (1..=lives(other, pod)).contains(&told(own, pod, "ready"))
                && lives(own, pod) == lives(other, pod) =>
        {
            Some("in the other world it was taken down before it was ready")
        }
        _ => None,
    }
}

/// Why one world may have a failover more than the other after instances lost their account.
const TOKEN: &str =
    "an API server remembers a dead token for up to 10 s, and whoever has it may lead until then";

/// Whether the account of the instances was made anew, so that their tokens died.
fn token_lost(side: Side<'_>) -> bool {
    let made = |f: &&Fact| {
        let account = f.text.strip_prefix("the operator creates ServiceAccount ");
        account.is_some_and(|name| name.ends_with("-instance"))
    };
    side.facts.iter().filter(made).count() > 1
}

/// Whether the lead goes to another within a switchover's time of a moment.
fn lead_changes(side: Side<'_>, at_s: f64) -> bool {
    const SWITCHOVER_S: f64 = 4.0;
    let leads = side.facts.iter().filter(|f| f.track == Track::Leader);
    leads.skip(1).any(|f| (f.at_s - at_s).abs() <= SWITCHOVER_S)
}

/// How often a world says this of a Pod.
fn told(side: Side<'_>, pod: &str, what: &str) -> usize {
    let text = format!("Pod {pod} is {what}");
    side.facts.iter().chain(side.flaps).filter(|f| f.text == text).count()
}

/// How many Pods of this name there were.
fn lives(side: Side<'_>, pod: &str) -> usize {
    told(side, pod, "placed")
}

/// `timeline 2` of `instance1/1 leads on timeline 2`.
fn timeline(fact: &Fact) -> Option<&str> {
    fact.text.split_once(" leads on ").map(|(_, timeline)| timeline)
}

/// Why a decision may come in another order.
fn reordered(fact: &Fact) -> Option<&'static str> {
    match &fact.track {
        Track::Object(object) if object.starts_with("Endpoints ") => {
            Some("it follows the address of a Service")
        }
        Track::Command(_) if fact.text.contains(" runs switch ") => {
            Some("it is told when it has ended, and who leads then may be seen before or after")
        }
        // They are numbered by who led or was ready first, and handled in the order of their names.
        Track::Object(_) if instance(fact).is_some() => {
            Some("which of several equal instances is the first is chance")
        }
        _ => None,
    }
}

/// The instance whose object is made or deleted.
fn instance(fact: &Fact) -> Option<&str> {
    let Track::Object(object) = &fact.track else { return None };
    object.split(' ').nth(1).filter(|name| is_instance(name))
}

/// Whether the same happens to what belongs to two instances. When their StatefulSets come and go is a decision of its own.
fn twins(one: &Fact, other: &Fact) -> bool {
    let (Some(a), Some(b)) = (instance(one), instance(other)) else { return false };
    let set =
        |fact: &Fact| matches!(&fact.track, Track::Object(o) if o.starts_with("StatefulSet "));
    a != b && !set(one) && one.text.replace(a, b) == other.text
}

/// What comes this close together has no order of its own where different parties decide it.
const NEAR_S: f64 = 2.0;

/// An event and how many like it came before.
type Key = (String, usize);

fn keys(facts: &[Fact]) -> Vec<Key> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number = |fact| {
        let count: &mut usize = seen.entry(fact).or_default();
        *count += 1;
        (fact.to_owned(), *count)
    };
    facts.iter().map(|f| number(&f.text)).collect()
}

fn numbered(facts: &[Fact]) -> BTreeMap<Key, &Fact> {
    keys(facts).into_iter().zip(facts).collect()
}

fn in_order(here: &Fact, there: &Fact) -> String {
    format!(
        "in another order: {} (at {:.1} s, simulated {:.1} s)",
        here.text, here.at_s, there.at_s
    )
}

/// With which others an event changed places.
fn crossed<'a>(key: &Key, ours: &'a [Key], theirs: &'a [Key]) -> Vec<&'a Key> {
    let before =
        |all: &'a [Key]| -> BTreeSet<&'a Key> { all.iter().take_while(|k| *k != key).collect() };
    let (here, there) = (before(ours), before(theirs));
    here.symmetric_difference(&there).copied().collect()
}

/// The fewest events without which both orders are the same.
fn moved(ours: &[Key], theirs: &[Key]) -> BTreeSet<Key> {
    let place: BTreeMap<&Key, usize> = theirs.iter().enumerate().map(|(i, k)| (k, i)).collect();
    let places: Vec<usize> = ours.iter().map(|k| place[k]).collect();
    // The longest rising subsequence, the plain way: stories have a few hundred events.
    let mut best: Vec<(usize, Option<usize>)> = Vec::new();
    for (i, at) in places.iter().enumerate() {
        let before = (0..i).filter(|j| places[*j] < *at).max_by_key(|j| best[*j].0);
        best.push((before.map_or(0, |j| best[j].0) + 1, before));
    }
    let mut stays = BTreeSet::new();
    let mut at = (0..best.len()).max_by_key(|i| best[*i].0);
    while let Some(i) = at {
        stays.insert(i);
        at = best[i].1;
    }
    ours.iter().enumerate().filter(|(i, _)| !stays.contains(i)).map(|(_, k)| k.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(texts: &[&str]) -> Vec<Fact> {
        let track = |text: &str| match text.split_once(' ') {
            Some((_, "leads on timeline 1" | "leads on timeline 2")) => Track::Leader,
            Some((_, rest)) if rest.starts_with("runs ") => Track::Command(rest.to_owned()),
            Some(("pod", name)) => Track::Pod(name.to_owned()),
            Some(("Pod", rest)) => {
                Track::Pod(rest.split(' ').next().unwrap_or_default().to_owned())
            }
            Some((kind @ ("Reconciled" | "Ready"), _)) => Track::Condition(format!("hippo {kind}")),
            _ => Track::Object(text.to_owned()),
        };
        // `a of x` is a decision about cluster x.
        // `a` is far from what comes before it, `~a` is near.
        let mut at_s = 0.0;
        let mut fact = |text: &&str| {
            let near = text.strip_prefix('~');
            at_s += if near.is_some() { 1.0 } else { 10.0 };
            let text = near.unwrap_or(text);
            Fact {
                at_s,
                track: track(text),
                text: text.to_owned(),
                cluster: text.split_once(" of ").map(|(_, c)| c.to_owned()).unwrap_or_default(),
                unheard: false,
            }
        };
        texts.iter().map(&mut fact).collect()
    }

    fn side<'a>(facts: &'a [Fact], flaps: &'a [Fact]) -> Side<'a> {
        Side { name: "here", facts, flaps }
    }

    fn check(real: &[&str], simulated: &[&str], wrong: usize, excused: usize) {
        let (real_facts, simulated_facts) = (facts(real), facts(simulated));
        let found = compare(side(&real_facts, &[]), side(&simulated_facts, &[]));
        assert_eq!(
            (found.wrong.len(), found.excused.len()),
            (wrong, excused),
            "{real:?} {simulated:?}"
        );
    }

    #[test]
    fn a_state_that_was_a_flap_in_the_other_world_happened_in_both() {
        let (real, none) = (facts(&["a", "b"]), facts(&["a"]));
        let wrong = |flaps: &[Fact]| compare(side(&real, &[]), side(&none, flaps)).wrong.len();
        assert_eq!((wrong(&[]), wrong(&facts(&["b"])), wrong(&facts(&["c"]))), (1, 0, 1));
    }

    #[test]
    fn what_is_marked_after_an_outage_says_nothing_and_what_is_decided_does() {
        for (text, wrong) in
            [("Pod i/1 is not ready", 0), ("Ready x", 0), ("StatefulSet i/1", 1), ("a", 1)]
        {
            for unheard in [false, true] {
                let mut real = facts(&[text]);
                real[0].unheard = unheard;
                let found = compare(side(&real, &[]), side(&[], &[]));
                assert_eq!(found.wrong.len(), if unheard { wrong } else { 1 }, "{text} {unheard}");
            }
        }
    }

    #[test]
    fn differences_are_found_and_only_some_are_excused() {
        check(&["a", "b", "a"], &["a", "b", "a"], 0, 0);
        check(&["a", "b"], &["a"], 1, 0);
        check(&["a"], &["a", "b", "c"], 2, 0);
        check(&["a", "a"], &["a"], 1, 0);
        let (checkpoint, switch) = ("x runs checkpoint in Pod i/1", "x runs switch y over");
        check(&[checkpoint, checkpoint], &[checkpoint], 0, 1);
        check(&[checkpoint], &[], 1, 0);
        check(&[switch, switch], &[switch], 1, 0);
        check(&["b", "a"], &["a", "b"], 1, 0);
        check(&["b of x", "a of x"], &["a of x", "b of x"], 1, 0);
        check(&["b of x", "a of y"], &["a of y", "b of x"], 0, 1);
        let (one, two, other) =
            ("x leads on timeline 1", "y leads on timeline 2", "x leads on timeline 2");
        check(&[one, two], &[one], 1, 0);
        let account = "the operator creates ServiceAccount x-instance";
        check(&[one, account, two], &[one, account], 1, 0);
        check(&[one, account, account, two], &[one, account, account], 0, 1);
        check(&[one, "a"], &["a", one], 1, 0);
        check(&[one, "~a"], &["a", "~x leads on timeline 1"], 0, 1);
        check(&[one, "a"], &["a", "~x leads on timeline 1"], 1, 0);
        check(&["b", "~a"], &["a", "~b"], 1, 0);
        // A lead that only one far from it crossed, which may itself come in any order.
        let (gone, next) = ("Secret i/1", "x leads on timeline 1");
        check(&[gone, "a", "~b", next], &[next, "~a", "b", gone], 1, 1);
        let near_next = format!("~{next}");
        check(&[gone, "c", "a", "~b", &near_next], &["c", next, "~a", "~b", gone], 0, 2);
        // Two equal instances change places, and only one of them counts as moved.
        check(&["Secret i/1", next, "Secret i/2"], &["Secret i/2", next, "Secret i/1"], 0, 2);
        check(&["Secret i/1", next, "Claim i/2"], &["Claim i/2", next, "Secret i/1"], 1, 1);
        let sets = ["StatefulSet i/1", next, "StatefulSet i/2"];
        check(&sets, &[sets[2], next, sets[0]], 1, 1);
        check(&[one, two], &[one, other], 0, 2);
        check(&["a", "pod i/1", "b"], &["a", "b", "pod i/1"], 0, 1);
        check(
            &["StatefulSet i/1", "StatefulSet i/2"],
            &["StatefulSet i/2", "StatefulSet i/1"],
            0,
            1,
        );
        let (twins, swapped) =
            (["Secret i/1", "Set i/1", "Set i/2"], ["Set i/2", "Set i/1", "Secret i/1"]);
        check(&twins, &swapped, 1, 1);
        check(&["Job backup/1", "a"], &["a", "Job backup/1"], 1, 0);
        check(&["a"], &["a", "pod i/1"], 1, 0);
        let (placed, ready, not) =
            ("Pod i/1 is placed", "Pod i/1 is ready", "Pod i/1 is not ready");
        check(&[placed, ready, not, placed, ready], &[placed, placed, ready], 0, 3);
        check(&[placed, ready, not, ready], &[placed, ready], 2, 0);
        check(&[placed, ready, not, placed, ready], &[placed, ready], 3, 0);
        check(&["a"], &["a", "pod backup/1"], 0, 1);
        check(&["Reconciled x"], &[], 0, 1);
        // Around a change of the lead, and not around the first.
        check(&[one, "~Ready x", "~x leads on timeline 2"], &[one, "x leads on timeline 2"], 0, 1);
        check(&[one, "Ready x", next], &[one, next], 1, 0);
        check(&[one, "~Ready x"], &[one], 1, 0);
    }
}
