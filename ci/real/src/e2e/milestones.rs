//! The milestones of a journal: the events that both worlds can show, in words without names that were drawn,
//! so that two runs of one story can be laid side by side.

use std::collections::{BTreeMap, BTreeSet};

use ivory_core::Kind;
use ivory_sim::scenario::act::{break_text, set_name};
use ivory_sim::scenario::alias::Aliases;
use ivory_sim::scenario::driver::Break;
use ivory_sim::scenario::language::{Act, Fault, Scenario, Step};
use ivory_sim::scenario::target::Target;
use ivory_sim::scenario::transcript::texts;
use ivory_sim::time::{Span, Time};
use ivory_sim::world::KubeId;
use ivory_sim::world::journal::{Entry, Milestone};
use serde_json::Value;

/// A state that ended sooner, and gave way to the one before it, is a flap: whether it is seen at all is chance.
const FLAP_S: f64 = 2.0;
/// How long after an API outage of minutes nodes and Pods may be marked with what was last heard of them, in seconds: 40 to
/// 87 of them were seen. The kubelet waits longer after each failure to connect, and puts it right when it does.
const UNHEARD_S: i64 = 120;

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fact {
    /// Seconds since the story began.
    pub(crate) at_s: f64,
    /// What it is about; events about one thing follow each other in every run.
    pub(crate) track: Track,
    /// What happened.
    pub(crate) text: String,
    /// Whose cluster's it is; empty if that is not told.
    pub(crate) cluster: String,
    /// Whether nodes may not have been heard of for some time then, since the API server was down.
    pub(crate) unheard: bool,
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Track {
    /// Who leads.
    Leader,
    /// A condition of a cluster.
    Condition(String),
    /// An object that the operator makes or deletes.
    Object(String),
    /// A command that the operator runs.
    Command(String),
    /// A Pod: placed, ready, gone.
    Pod(String),
    /// A Job.
    Job(String),
}

/// The milestones of a journal, flaps left out, and the flaps.
pub(crate) fn milestones(scenario: &Scenario, journal: &[Entry]) -> (Vec<Fact>, Vec<Fact>) {
    let aliases = aliases(scenario, journal);
    let names = clusters(scenario);
    let mut facts: Vec<Fact> = Vec::new();
    let outages = outages(scenario, journal);
    let unheard = |at: &Time| {
        let after = |until: &Time| *at < *until + Span::s(UNHEARD_S);
        outages.iter().any(|(from, until)| from <= at && after(until))
    };
    for (at, what) in as_seen(journal, &outages) {
        let Some((track, text)) = fact(&aliases, what) else { continue };
        let cluster = cluster(&names, what).unwrap_or_default().to_owned();
        facts.push(Fact { at_s: at.seconds(), track, text, cluster, unheard: unheard(&at) });
    }
    let mut last: BTreeMap<Track, String> = BTreeMap::new();
    // What is said twice is said once.
    facts.retain(|fact| {
        let state = !matches!(fact.track, Track::Command(_) | Track::Object(_));
        last.insert(fact.track.clone(), fact.text.clone()).as_ref() != Some(&fact.text) || !state
    });
    without_flaps(facts)
}

/// When the API server is down: from, and until.
fn outages(scenario: &Scenario, journal: &[Entry]) -> Vec<(Time, Time)> {
    let spans = scenario.steps.iter().filter_map(|step| match &step.act {
        Act::Fault(Fault::ApiOutage(span)) => Some((break_text(&Break::ApiOutage(*span))?, *span)),
        _ => None,
    });
    let spans: BTreeMap<String, Span> = spans.collect();
    let faults = journal.iter().filter_map(|entry| match &entry.what {
        Milestone::Fault { text } => Some((entry.at, entry.at + *spans.get(text)?)),
        _ => None,
    });
    faults.collect()
}

/// The entries as somebody sees them who looks at the API server: what becomes of a Pod while that is down is not seen
/// before it is up again, and then only what became of it in the end.
fn as_seen<'a>(journal: &'a [Entry], outages: &[(Time, Time)]) -> Vec<(Time, &'a Milestone)> {
    let mut seen: Vec<(Time, &Milestone)> = Vec::new();
    let mut unseen: BTreeMap<(Time, &str), &Milestone> = BTreeMap::new();
    for entry in journal {
        while let Some(first) = unseen.first_entry().filter(|e| e.key().0 <= entry.at) {
            seen.push((first.key().0, first.remove()));
        }
        let down = outages.iter().find(|(from, until)| (*from..*until).contains(&entry.at));
        match (&entry.what, down) {
            (
                Milestone::Ready { pod, .. }
                | Milestone::Scheduled { pod, .. }
                | Milestone::PodGone { pod },
                Some((_, until)),
            ) => {
                unseen.insert((*until, &**pod), &entry.what);
            }
            (what, _) => seen.push((entry.at, what)),
        }
    }
    seen.extend(unseen.into_iter().map(|((at, _), what)| (at, what)));
    seen
}

/// The names of the clusters that a story makes.
fn clusters(scenario: &Scenario) -> Vec<&str> {
    let ours = |m: &&Value| m["kind"] == Kind::IvoryCluster.name();
    let made = manifests(&scenario.steps).into_iter().filter(ours);
    made.filter_map(|m| m["metadata"]["name"].as_str()).collect()
}

/// The cluster that an event is about.
fn cluster<'a>(names: &[&'a str], what: &'a Milestone) -> Option<&'a str> {
    match what {
        Milestone::Wrote { cluster, .. } | Milestone::Condition { cluster, .. } => {
            cluster.rsplit('/').next()
        }
        Milestone::Scheduled { pod: name, .. }
        | Milestone::Ready { pod: name, .. }
        | Milestone::PodGone { pod: name }
        | Milestone::Database { pod: name, .. }
        | Milestone::JobEnded { job: name, .. } => {
            let of =
                |cluster: &&&str| name.strip_prefix(**cluster).is_some_and(|r| r.starts_with('-'));
            names.iter().filter(of).max_by_key(|cluster| cluster.len()).copied()
        }
        _ => None,
    }
}

fn fact(aliases: &Aliases, what: &Milestone) -> Option<(Track, String)> {
    let show = |text: &str| aliases.show(KubeId(0), text);
    Some(match what {
        Milestone::Wrote { verb: "create" | "delete", object, .. } if object.contains("Event ") => {
            return None;
        }
        Milestone::Wrote { verb: verb @ ("create" | "delete"), object, .. } => {
            let object = show(object);
            let text = format!("the operator {verb}s {object}");
            (Track::Object(object), text)
        }
        Milestone::Wrote { verb: "exec", object, .. } => {
            let command = show(object);
            let text = format!("the operator runs {command}");
            (Track::Command(command), text)
        }
        Milestone::Condition { cluster, kind, status, .. } => (
            Track::Condition(format!("{cluster} {kind}")),
            format!("{cluster}: {kind} is {status}"),
        ),
        Milestone::Scheduled { pod, .. } => pod_fact(show(pod), "is placed"),
        Milestone::Ready { pod, ready: true } => pod_fact(show(pod), "is ready"),
        Milestone::Ready { pod, ready: false } => pod_fact(show(pod), "is not ready"),
        Milestone::PodGone { pod } => pod_fact(show(pod), "is gone"),
        Milestone::Database { pod, text } => {
            (Track::Leader, format!("{} leads on timeline {}", show(pod), timeline(text)?))
        }
        Milestone::JobEnded { job, succeeded } => {
            let how = if *succeeded { "succeeded" } else { "failed" };
            let job = show(job);
            let text = format!("Job {job} {how}");
            (Track::Job(job), text)
        }
        _ => return None,
    })
}

fn pod_fact(pod: String, what: &str) -> (Track, String) {
    let text = format!("Pod {pod} {what}");
    (Track::Pod(pod), text)
}

/// The timeline of an instance that says that it leads, in the words of either world.
pub(crate) fn timeline(text: &str) -> Option<&str> {
    let leads = text.strip_prefix("is the leader (timeline ").and_then(|t| t.strip_suffix(')'));
    leads.or_else(|| text.strip_prefix("promotes: timeline "))
}

/// Names for everything that was drawn. Instances are numbered in the order in which they led, then in which
/// they became ready: their births say nothing about what they do.
pub(crate) fn aliases(scenario: &Scenario, journal: &[Entry]) -> Aliases {
    let mut aliases = Aliases::default();
    let mut learn = |cluster: &str, manifest: &Value| {
        let sets = manifest["spec"]["instances"].as_array();
        let sets: Vec<String> = sets.into_iter().flatten().enumerate().map(set_name).collect();
        aliases.cluster(&scenario.namespace, cluster, sets.iter().map(String::as_str));
    };
    for manifest in manifests(&scenario.steps) {
        if manifest["kind"] == Kind::IvoryCluster.name() {
            learn(manifest["metadata"]["name"].as_str().unwrap_or_default(), manifest);
        }
    }
    // A set may join by a patch.
    for step in &scenario.steps {
        if let Act::Patch { of, with } = &step.act
            && *of == Target::Cluster
        {
            learn(step.cluster.as_deref().unwrap_or(&scenario.cluster), with);
        }
    }
    let leads = |e: &Entry| match &e.what {
        Milestone::Database { pod, text } => timeline(text).map(|_| pod.clone()),
        _ => None,
    };
    let ready = |e: &Entry| match &e.what {
        Milestone::Ready { pod, ready: true } => Some(pod.clone()),
        _ => None,
    };
    for pod in journal.iter().find_map(leads).into_iter().chain(journal.iter().filter_map(ready)) {
        aliases.learn(KubeId(0), &pod);
    }
    for entry in journal {
        texts(&entry.what).into_iter().for_each(|t| aliases.learn(KubeId(0), t));
    }
    aliases
}

fn manifests(steps: &[Step]) -> Vec<&Value> {
    let mut all = Vec::new();
    for step in steps {
        match &step.act {
            Act::Apply(manifests) => all.extend(manifests),
            Act::Each { steps, .. } => all.extend(self::manifests(steps)),
            _ => {}
        }
    }
    all
}

/// Takes out the states that gave way to the one before them within moments.
fn without_flaps(facts: Vec<Fact>) -> (Vec<Fact>, Vec<Fact>) {
    let mut drop = BTreeSet::new();
    let mut tracks: BTreeMap<&Track, Vec<usize>> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        if matches!(fact.track, Track::Condition(_) | Track::Pod(_)) {
            let track = tracks.entry(&fact.track).or_default();
            track.push(index);
            if let [.., before, flap, back] = track[..]
                && facts[before].text == facts[back].text
                && facts[back].at_s - facts[flap].at_s < FLAP_S
            {
                drop.extend([flap, back]);
                track.truncate(track.len() - 2);
            }
        }
    }
    let (mut kept, mut flaps) = (Vec::new(), Vec::new());
    for (index, fact) in facts.iter().enumerate() {
        let list = if drop.contains(&index) { &mut flaps } else { &mut kept };
        list.push(fact.clone());
    }
    (kept, flaps)
}

/// Whether a Pod's name is an instance's, after names were replaced.
pub(crate) fn is_instance(pod: &str) -> bool {
    // `instance1/1`, and beside another cluster `hippo/instance1/1`.
    let job = pod.starts_with("backup/") || pod.contains("/backup/") || pod.starts_with("repo");
    pod.contains('/') && !job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_told_from_a_helper() {
        for (pod, expected) in [
            ("instance1/1", true),
            ("hippo/instance1/1", true),
            ("backup/1", false),
            ("hippo/backup/1", false),
            ("hippo-repo-host-0", false),
        ] {
            assert_eq!(is_instance(pod), expected, "{pod}");
        }
    }

    #[test]
    fn what_becomes_of_a_pod_while_the_api_server_is_down_is_seen_afterwards() {
        let ready = |seconds: i64, pod: &str, ready: bool| Entry {
            at: Time::START + Span::s(seconds),
            kube: KubeId(0),
            actor: "kubelet".into(),
            what: Milestone::Ready { pod: pod.into(), ready },
        };
        let journal = [
            ready(1, "a", true),
            ready(11, "a", false),
            ready(12, "b", false),
            ready(15, "a", true),
        ]
        .into_iter()
        .chain([ready(30, "c", true)])
        .collect::<Vec<_>>();
        let at = |seconds| Time::START + Span::s(seconds);
        let seen = as_seen(&journal, &[(at(10), at(20))]);
        let told: Vec<_> = seen
            .into_iter()
            .map(|(at, what)| match what {
                Milestone::Ready { pod, ready } => (at.seconds(), pod.to_string(), *ready),
                _ => panic!("{what:?}"),
            })
            .collect();
        let of = |at: f64, pod: &str, ready| (at, pod.to_owned(), ready);
        let expected = [of(1.0, "a", true), of(20.0, "a", true), of(20.0, "b", false)];
        assert_eq!(told[..3], expected);
        assert_eq!(told[3..], [of(30.0, "c", true)]);
    }

    #[test]
    fn an_event_is_of_the_cluster_with_the_longest_name_that_fits() {
        let gone = |pod: &str| Milestone::PodGone { pod: pod.into() };
        let of = |pod: &str| cluster(&["hippo", "hippo-two"], &gone(pod)).map(str::to_owned);
        assert_eq!(of("hippo-instance1-abcd-0").as_deref(), Some("hippo"));
        assert_eq!(of("hippo-two-instance1-abcd-0").as_deref(), Some("hippo-two"));
        assert_eq!(of("rhino-instance1-abcd-0"), None);
    }
}
