//! A run in a few sentences: who led, who took over, for how long nobody could write, what was lost.

use std::sync::Arc;

use super::Recording;
use super::film::{MemberKey, Role};
use super::shape::{Gap, Shape};
use crate::time::{Span, Time};
use crate::world::KubeId;
use crate::world::journal::Milestone;

/// How long before the end of a lead its cause is looked for.
const CAUSE: Span = Span::s(60);
/// How long after the end of a lead the command of a switchover may still run.
const HANDED_OVER: Span = Span::s(10);
/// So many changes of the lead are told one by one.
const TOLD: usize = 4;

/// A time in which one member led.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lead {
    /// Who.
    pub member: MemberKey,
    /// From when on.
    pub from: Time,
    /// Until when; none at the end of the run.
    pub to: Option<Time>,
    /// On which timeline at first.
    pub timeline: u32,
    /// Whether it only followed another cluster, with its members behind it.
    pub standby: bool,
}

/// A span as people say it: `2.2 s`, `9 m 30 s`, `3 h 10 m`.
#[must_use]
pub fn span_words(span: Span) -> String {
    let seconds = span.0 / 1_000_000;
    match seconds {
        ..100 => format!("{:.1} s", span.seconds()),
        100..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A moment as the transcripts say it, in seconds.
#[must_use]
pub fn moment(at: Time) -> String {
    format!("{:.1} s", at.seconds())
}

/// Who led a cluster, one after the other.
pub(super) fn leads(recording: &Recording, kube: KubeId, cluster: &str) -> Vec<Lead> {
    let mut found: Vec<Lead> = Vec::new();
    for (member, track) in &recording.film.members {
        if member.0 != kube || *track.cluster != *cluster {
            continue;
        }
        let mut open: Option<Lead> = None;
        for (at, state) in &track.states {
            let standby = state.role == Role::StandbyLeader;
            let leading = standby || state.role == Role::Leads;
            if let Some(mut lead) = open.take_if(|l| !leading || l.standby != standby) {
                lead.to = Some(*at);
                found.push(lead);
            }
            if leading && open.is_none() {
                let (member, timeline) = (member.clone(), state.timeline);
                open = Some(Lead { member, from: *at, to: None, timeline, standby });
            }
        }
        found.extend(open);
    }
    found.sort_by_key(|lead| lead.from);
    found
}

/// The run in sentences, the most important first.
#[must_use]
pub fn headline(recording: &Recording, shape: &Shape) -> Vec<String> {
    let mut told = Vec::new();
    let mut clusters: Vec<(KubeId, Arc<str>)> = Vec::new();
    for (key, track) in &recording.film.members {
        let cluster = (key.0, track.cluster.clone());
        if !clusters.contains(&cluster) {
            clusters.push(cluster);
        }
    }
    for (kube, cluster) in &clusters {
        let leads = leads(recording, *kube, cluster);
        let prefix = match clusters.len() {
            1 => String::new(),
            _ => format!("{cluster}: "),
        };
        told.extend(lead_words(recording, &leads).map(|words| format!("{prefix}{words}")));
    }
    told.extend(client_words(recording, &shape.gaps));
    let writes = recording.outcome.writes;
    told.push(match &recording.outcome.failure {
        None => format!("The operator made {writes} writes, and the story came out as it should."),
        Some(failure) => {
            let wrong = failure.wrong.join("; ");
            format!("The story FAILED at “{}”: {wrong}.", failure.step)
        }
    });
    told
}

fn lead_words(recording: &Recording, leads: &[Lead]) -> Option<String> {
    let show = |lead: &Lead| recording.aliases.show(lead.member.0, &lead.member.2);
    let [first, rest @ ..] = leads else {
        return Some("No instance ever accepted writes.".to_owned());
    };
    let verb = |lead: &Lead| if lead.standby { "led as a standby" } else { "led" };
    let mut words = match (first.to, rest) {
        (None, _) => {
            let at = moment(first.from);
            format!("{} {} from {at} to the end.", show(first), verb(first))
        }
        _ => format!("{} {} first, from {}.", show(first), verb(first), moment(first.from)),
    };
    let mut before = first;
    for lead in rest.iter().take(TOLD) {
        let same = lead.member == before.member;
        let who = show(lead);
        let end = before.to.unwrap_or(lead.from);
        let cause = cause(recording, end).map(|c| format!(", after “{c}”")).unwrap_or_default();
        let timeline = format!("on timeline {}", lead.timeline);
        let (at, then) = (moment(end), moment(lead.from));
        words.push_str(&match (same, before.standby && !lead.standby && same) {
            (_, true) => format!(" At {then} it was promoted, {timeline}{cause}."),
            (true, _) => {
                format!(" It lost the lead at {at}{cause}; at {then} it led again, {timeline}.")
            }
            (false, _) => {
                format!(" It lost the lead at {at}{cause}; at {then} {who} took over, {timeline}.")
            }
        });
        before = lead;
    }
    if rest.len() > TOLD {
        let more = rest.len() - TOLD;
        words.push_str(&format!(" The lead changed {more} more times."));
        before = rest.last().unwrap_or(before);
    }
    if let Some(end) = before.to {
        let cause = cause(recording, end).map(|c| format!(", after “{c}”")).unwrap_or_default();
        let who = show(before);
        words.push_str(&format!(
            " {who} stopped at {}{cause}; nobody leads at the end.",
            moment(end)
        ));
    }
    Some(words)
}

/// The last fault before a moment, or else the last thing that somebody did.
fn cause(recording: &Recording, before: Time) -> Option<String> {
    let near = |at: Time| at <= before && before - at <= CAUSE;
    let mut fault = None;
    let mut step = None;
    for entry in recording.journal.iter().filter(|entry| near(entry.at)) {
        match &entry.what {
            Milestone::Fault { text } => fault = Some((entry.kube, text)),
            Milestone::Step { text }
                if !text.starts_with("wait") && !text.starts_with("expect") =>
            {
                step = Some((entry.kube, text));
            }
            Milestone::Wrote {
                step: "rollout" | "switchover",
                verb: "exec" | "delete",
                reason,
                ..
            } => {
                step = Some((entry.kube, reason));
            }
            _ => {}
        }
    }
    // A switchover is told when its command has ended, after the lead was handed over.
    let handed_over = recording.journal.iter().find_map(|entry| match &entry.what {
        Milestone::Wrote { step: "rollout" | "switchover", verb: "exec", object, .. }
            if entry.at >= before && entry.at - before <= HANDED_OVER =>
        {
            Some((entry.kube, object))
        }
        _ => None,
    });
    let (kube, text) = fault.or(handed_over).or(step)?;
    let text = recording.aliases.show(kube, text.split(" in Pod ").next().unwrap_or(text));
    Some(match text.char_indices().nth(70) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    })
}

fn client_words(recording: &Recording, gaps: &[Gap]) -> Vec<String> {
    let mut told = Vec::new();
    for (name, track) in &recording.film.clients {
        let end = recording.end;
        let mine = gaps.iter().filter(|g| g.client == *name && g.from >= track.from);
        let mut lengths: Vec<Span> = mine.map(|g| g.to.unwrap_or(end) - g.from).collect();
        lengths.sort();
        let rows = track.rows.last().map_or(0, |(_, rows)| *rows);
        told.push(match (lengths.as_slice(), lengths.last()) {
            (_, None) => {
                format!("The application {name} could write all the time ({rows} rows).")
            }
            ([only], _) => {
                format!("The application {name} could not write for {}.", span_words(*only))
            }
            (all, Some(longest)) => format!(
                "The application {name} could not write {} times, at the longest for {}.",
                all.len(),
                span_words(*longest)
            ),
        });
    }
    if !recording.film.clients.is_empty() {
        told.push(match recording.outcome.lost_rows {
            0 => "No acknowledged row was lost.".to_owned(),
            1 => "1 acknowledged row was LOST.".to_owned(),
            n => format!("{n} acknowledged rows were LOST."),
        });
    }
    told
}
