//! A story as it is told: one designed line an event, from the journal. Differences, not dumps; the
//! operator's writes of one plan with one reason are one line.

use super::alias::Aliases;
use crate::time::Time;
use crate::world::KubeId;
use crate::world::journal::{Entry, Milestone};

/// The widest line.
pub const WIDTH: usize = 100;
/// Where the text of an event begins: time, actor and the spaces around them.
const INDENT: usize = 24;

/// One told event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// When.
    pub at: Time,
    /// Who, by the name that people read: `>` for a step, `!` for a fault.
    pub actor: String,
    /// What.
    pub text: String,
    /// Which entries it tells.
    pub entries: std::ops::Range<usize>,
}

/// The texts of an entry in which names may stand, for [`Aliases::learn`].
#[must_use]
pub fn texts(what: &Milestone) -> Vec<&str> {
    match what {
        Milestone::Wrote { object, reason, .. } => vec![object, reason],
        Milestone::WriteFailed { object, error, .. } => vec![object, error],
        Milestone::Condition { message, .. } => vec![message],
        Milestone::Scheduled { pod, .. }
        | Milestone::Unschedulable { pod, .. }
        | Milestone::ContainerWaiting { pod, .. }
        | Milestone::Ready { pod, .. }
        | Milestone::PodGone { pod } => vec![pod],
        Milestone::Database { pod, text } => vec![pod, text],
        Milestone::JobEnded { job, .. } => vec![job],
        Milestone::NotWritable { why: text, .. } => vec![text],
        Milestone::Writable { .. } => Vec::new(),
        Milestone::Backup { text }
        | Milestone::Step { text }
        | Milestone::Fault { text }
        | Milestone::Note { text } => vec![text],
    }
}

/// Tells journals piece by piece, so that a terminal can show a story while it happens.
#[derive(Clone, Debug, Default)]
pub struct Teller {
    /// The names of the Kubernetes clusters; told only when there are several.
    kubes: Vec<String>,
}

impl Teller {
    /// A teller for worlds with these Kubernetes clusters.
    #[must_use]
    pub fn new(kubes: Vec<String>) -> Self {
        Self { kubes }
    }

    /// Tells some entries. Writes that belong together should come in one call.
    #[must_use]
    pub fn tell(&self, aliases: &Aliases, entries: &[Entry]) -> String {
        let mut told = String::new();
        self.lines(aliases, entries).iter().for_each(|line| render(line, &mut told));
        told
    }

    /// The same, line by line. Status writes have none: conditions tell what they say.
    #[must_use]
    pub fn lines(&self, aliases: &Aliases, entries: &[Entry]) -> Vec<Line> {
        let mut told: Vec<Line> = Vec::new();
        let mut index = 0;
        while index < entries.len() {
            let (line, used) = self.line(aliases, &entries[index..]);
            let range = index..index + used;
            index += used;
            let Some(line) = line else { continue };
            // What is said twice in a row is said once.
            let same = |l: &Line| (&l.actor, &l.text) == (&line.actor, &line.text);
            if !told.last().is_some_and(same) {
                told.push(Line { entries: range, ..line });
            }
        }
        told
    }

    /// The first line, and how many entries it tells.
    fn line(&self, aliases: &Aliases, entries: &[Entry]) -> (Option<Line>, usize) {
        let entry = &entries[0];
        let show = |text: &str| aliases.show(entry.kube, text);
        let line = |actor: String, text: String| {
            Some(Line { at: entry.at, actor: self.place(entry.kube, actor), text, entries: 0..1 })
        };
        let told = match &entry.what {
            // Conditions tell what a status says.
            Milestone::Wrote { verb: "status", .. } => None,
            Milestone::Wrote { verb, reason, .. } => {
                let used = entries.iter().take_while(|e| belongs(entry, e)).count();
                let objects = objects(&entries[..used], aliases);
                // The object was just named.
                let several = entries[..used].iter().any(|e| object_of(e) != object_of(entry));
                let pronoun = if several { "each" } else { "it" };
                let reason = show(&reason.replace(object_of(entry), pronoun));
                let text = match *verb {
                    "event" => format!("says {objects}: {reason}"),
                    "exec" => format!("runs {objects}: {reason}"),
                    verb => format!("{verb}s {objects}: {reason}"),
                };
                return (line("operator".into(), text), used);
            }
            Milestone::WriteFailed { object, error, .. } => line(
                "operator".into(),
                format!("could not write {}: {}", show(object), show(error)),
            ),
            Milestone::Condition { cluster, kind, status, reason, message } => {
                let mut text = format!("{kind} is {status}");
                if !reason.is_empty() && reason != kind {
                    text.push_str(&format!(" ({reason})"));
                }
                if !message.is_empty() {
                    text.push_str(&format!(": {}", show(message)));
                }
                line(show(cluster), text)
            }
            Milestone::Scheduled { pod, node } => {
                line("scheduler".into(), format!("places {} on {node}", show(pod)))
            }
            Milestone::Unschedulable { pod, why } => {
                line("scheduler".into(), format!("finds no node for {}: {}", show(pod), show(why)))
            }
            Milestone::ContainerWaiting { pod, container, reason } => {
                line(show(pod), format!("{container} waits: {reason}"))
            }
            Milestone::Ready { pod, ready } => {
                let text = if *ready { "is ready" } else { "is not ready" };
                line(show(pod), text.into())
            }
            Milestone::PodGone { pod } => line(show(pod), "is gone".into()),
            Milestone::Database { pod, text } => line(show(pod), show(text)),
            Milestone::JobEnded { job, succeeded } => {
                let text = if *succeeded { "succeeded" } else { "failed" };
                line(show(job), text.into())
            }
            Milestone::Backup { text } => line("pgbackrest".into(), show(text)),
            Milestone::Writable { client, gap_ms } => {
                let text = match gap_ms {
                    0 => "writes".to_owned(),
                    ms => format!("writes again after {}", tenths(*ms)),
                };
                line(client.to_string(), text)
            }
            Milestone::NotWritable { client, why } => {
                line(client.to_string(), format!("can't write: {}", show(why)))
            }
            Milestone::Step { text } => line(">".into(), show(text)),
            Milestone::Fault { text } => line("!".into(), show(text)),
            Milestone::Note { text } => line(show(&entry.actor), show(text)),
        };
        (told, 1)
    }

    fn place(&self, kube: KubeId, actor: String) -> String {
        match self.kubes.get(usize::from(kube.0)) {
            Some(name) if self.kubes.len() > 1 && !matches!(&*actor, ">" | "!") => {
                format!("{name}: {actor}")
            }
            _ => actor,
        }
    }
}

/// Whether a write belongs to the line that begins with `first`: the same deed for the same reason, in
/// one go.
fn belongs(first: &Entry, next: &Entry) -> bool {
    let (
        Milestone::Wrote { cluster: c1, step: s1, verb: v1, reason: r1, .. },
        Milestone::Wrote { cluster: c2, step: s2, verb: v2, reason: r2, .. },
    ) = (&first.what, &next.what)
    else {
        return false;
    };
    let words = |reason: &str, entry: &Entry| reason.replace(object_of(entry), "");
    (c1, s1, v1) == (c2, s2, v2)
        && first.kube == next.kube
        && (r1 == r2 || words(r1, first) == words(r2, next))
        && (next.at - first.at).seconds() < 10.0
}

fn object_of(entry: &Entry) -> &str {
    match &entry.what {
        Milestone::Wrote { object, .. } => object,
        _ => "",
    }
}

/// `Service a, b; ConfigMap c`: each kind said once, in the order of the writes.
fn objects(entries: &[Entry], aliases: &Aliases) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries {
        let object = object_of(entry);
        let (kind, name) = object.split_once(' ').unwrap_or(("", object));
        let name = aliases.show(entry.kube, name);
        match groups.last_mut() {
            // Written twice in one go is told once.
            Some((last, names)) if last == kind && names.last() == Some(&name) => {}
            Some((last, names)) if last == kind => names.push(name),
            _ => groups.push((kind.to_owned(), vec![name])),
        }
    }
    let show = |(kind, names): &(String, Vec<String>)| format!("{kind} {}", names.join(", "));
    let shown: Vec<String> = groups.iter().map(show).collect();
    shown.join("; ").trim().to_owned()
}

fn tenths(ms: i64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Writes a line, wrapped between words.
fn render(line: &Line, out: &mut String) {
    let seconds = line.at.seconds();
    let head = match line.actor.as_str() {
        ">" | "!" => format!("{} ", line.actor),
        actor => format!("{seconds:>8.1}  {actor:<12}  "),
    };
    let marker = head.len() == 2;
    let mut width = head.chars().count();
    out.push_str(&head);
    let mut first = true;
    for word in line.text.split_whitespace() {
        let length = word.chars().count();
        if !first && width + 1 + length > WIDTH {
            out.push('\n');
            let indent = if marker { 4 } else { INDENT + 2 };
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else if !first {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
        first = false;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn entry(ms: i64, what: Milestone) -> Entry {
        Entry { at: Time::START + Span::ms(ms), kube: KubeId(0), actor: "actor".into(), what }
    }

    fn wrote(verb: &'static str, object: &str, reason: &str) -> Milestone {
        Milestone::Wrote {
            cluster: "hippo".into(),
            step: "Services",
            verb,
            object: object.into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn a_journal_is_told() {
        let pod: std::sync::Arc<str> = "hippo-instance1-zj5s-0".into();
        let journal = [
            entry(0, Milestone::Step { text: "apply examples/kustomize/ivory".into() }),
            entry(100, wrote("create", "Service hippo-ha", "Service hippo-ha is missing")),
            entry(150, wrote("create", "Service hippo-pods", "Service hippo-pods is missing")),
            entry(
                200,
                wrote("create", "ConfigMap hippo-config", "ConfigMap hippo-config is missing"),
            ),
            entry(300, wrote("status", "IvoryCluster hippo", "instances")),
            entry(
                310,
                wrote(
                    "create",
                    "StatefulSet hippo-instance1-zj5s",
                    "set instance1 wants 1 instance and has 0",
                ),
            ),
            entry(
                400,
                Milestone::Unschedulable {
                    pod: pod.clone(),
                    why: "0/3 nodes are available".into(),
                },
            ),
            entry(
                900,
                Milestone::Unschedulable {
                    pod: pod.clone(),
                    why: "0/3 nodes are available".into(),
                },
            ),
            entry(1_000, Milestone::Scheduled { pod: pod.clone(), node: "node1".into() }),
            entry(
                9_000,
                Milestone::Database { pod: pod.clone(), text: "initializes a new cluster".into() },
            ),
            entry(61_250, Milestone::Ready { pod: pod.clone(), ready: true }),
            entry(
                61_300,
                Milestone::Condition {
                    cluster: "hippo".into(),
                    kind: "Ready".into(),
                    status: "True".into(),
                    reason: "Ready".into(),
                    message: String::new(),
                },
            ),
            entry(70_000, Milestone::Fault { text: "kill pod hippo-instance1-zj5s-0".into() }),
            entry(75_040, Milestone::Writable { client: "app".into(), gap_ms: 5_040 }),
        ];
        let mut aliases = Aliases::default();
        aliases.cluster("ivory-operator", "hippo", ["instance1"]);
        for e in &journal {
            texts(&e.what).iter().for_each(|t| aliases.learn(e.kube, t));
        }
        let told = Teller::new(vec!["main".into()]).tell(&aliases, &journal);
        assert_eq!(
            told,
            "\
> apply examples/kustomize/ivory
     0.1  operator      creates Service hippo-ha, hippo-pods; ConfigMap hippo-config: each is
                          missing
     0.3  operator      creates StatefulSet instance1/1: set instance1 wants 1 instance and has 0
     0.4  scheduler     finds no node for instance1/1: 0/3 nodes are available
     1.0  scheduler     places instance1/1 on node1
     9.0  instance1/1   initializes a new cluster
    61.2  instance1/1   is ready
    61.3  hippo         Ready is True
! kill pod instance1/1
    75.0  app           writes again after 5.0 s
"
        );
        assert!(told.lines().all(|l| l.chars().count() <= WIDTH));
    }

    #[test]
    fn worlds_with_two_kubernetes_say_which() {
        let mut entry = entry(0, Milestone::Ready { pod: "x".into(), ready: false });
        entry.kube = KubeId(1);
        let teller = Teller::new(vec!["east".into(), "west".into()]);
        let told = teller.tell(&Aliases::default(), &[entry]);
        assert_eq!(told, "     0.0  west: x       is not ready\n");
    }
}
