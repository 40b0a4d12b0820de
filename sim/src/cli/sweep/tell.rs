//! What a sweep tells: a table, failures in full, what was saved; or all of that for machines.

use serde_json::{Value, json};

use super::Swept;
use crate::cli::ui::Ui;
use crate::explore::failure::Failure;
use crate::explore::fork::End;
use crate::explore::message::Whose;
use crate::explore::plan::Plan;
use crate::time::{Span, Time};

/// So many failures are told in full.
const TOLD: usize = 12;

/// What became of one cut.
pub(super) struct Tried {
    /// Which story.
    pub story: usize,
    /// When the message was sent.
    pub at: Time,
    /// How it ended.
    pub end: End,
}

/// How often each end came, and how much virtual time nobody had to play.
#[derive(Default)]
pub(super) struct Sum {
    pub tried: usize,
    pub rejoined: usize,
    pub same: usize,
    pub otherwise: usize,
    pub failed: usize,
    /// Of stories up to a cut, which were played once for all cuts.
    forked: Span,
    /// Of stories after they rejoined.
    left: Span,
}

impl Sum {
    pub fn of<'a>(tried: impl Iterator<Item = &'a Tried>) -> Self {
        let mut sum = Self::default();
        for one in tried {
            sum.tried += 1;
            sum.forked = sum.forked + (one.at - Time::START);
            match one.end {
                End::Rejoined(left) => {
                    sum.rejoined += 1;
                    sum.left = sum.left + left;
                }
                End::Same => sum.same += 1,
                End::Otherwise => sum.otherwise += 1,
                End::Failed(_) => sum.failed += 1,
            }
        }
        sum
    }
}

/// The failures among what was tried, with their stories.
pub(super) fn failures(tried: &[Tried]) -> impl Iterator<Item = (usize, &Failure)> {
    tried.iter().filter_map(|t| match &t.end {
        End::Failed(failure) => Some((t.story, &**failure)),
        _ => None,
    })
}

/// A sweep that is over.
pub(super) struct Told<'a> {
    pub swept: &'a Swept,
    pub plan: &'a Plan,
    /// In the order of the stories.
    pub tried: &'a [Tried],
    /// How many of them an earlier run had tried.
    pub before: usize,
    pub wall_s: f64,
}

impl Told<'_> {
    fn share(&self) -> f64 {
        let covered = self.plan.equal + self.tried.len();
        thousandths(covered as f64 / self.plan.all.max(1) as f64)
    }

    fn rate(&self) -> f64 {
        (self.tried.len() - self.before) as f64 / self.wall_s.max(0.1)
    }

    pub fn as_json(&self) -> Value {
        let (sum, swept) = (Sum::of(self.tried.iter()), self.swept);
        let undisturbed: Vec<&String> =
            swept.bases.iter().filter_map(|b| b.as_ref().err()).collect();
        json!({
            "scenarios": swept.stories.len(),
            "messages": swept.bases.iter().flatten().map(|b| b.messages.len()).sum::<usize>(),
            "cuts": sum.tried,
            "failures": sum.failed + undisturbed.len(),
            "wall_s": tenths(self.wall_s),
            "cuts_per_s": tenths(self.rate()),
            "tried_before": self.before,
            "equal": self.plan.equal,
            "rejoined": sum.rejoined,
            "same": sum.same,
            "otherwise": sum.otherwise,
            "share": self.share(),
            "saved_virtual_h": {
                "by_forks": tenths(hours(sum.forked)), "by_rejoining": tenths(hours(sum.left)),
            },
            "broken": broken(swept, self.tried),
            "undisturbed": undisturbed,
        })
    }

    pub fn tell(&self, ui: Ui) {
        let stories = &self.swept.stories;
        let width = stories.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
        let head = format!(
            "  {:<width$}  {:>8}  {:>5}  {:>8}  {:>5}  {:>8}",
            "story", "messages", "cuts", "rejoined", "same", "failures"
        );
        line!("{}", ui.dim(&head));
        for (index, story) in stories.iter().enumerate() {
            let sum = Sum::of(self.tried.iter().filter(|t| t.story == index));
            let base = self.swept.bases[index].as_ref();
            let mark = match base.is_ok() && sum.failed == 0 {
                true => ui.green("✓"),
                false => ui.red("✗"),
            };
            let messages = base.map_or(0, |b| b.messages.len());
            line!(
                "{mark} {:<width$}  {messages:>8}  {:>5}  {:>8}  {:>5}  {:>8}",
                story.name,
                sum.tried,
                sum.rejoined,
                sum.same + sum.otherwise,
                sum.failed,
            );
            if let Err(error) = base {
                line!("    {}", ui.red(error));
            }
        }
        tell_failures(ui, self.swept, self.tried);
        let sum = Sum::of(self.tried.iter());
        let text = format!(
            "{} cuts of {} stories, {} failures, in {:.1} s ({:.0} a second)",
            sum.tried,
            stories.len(),
            sum.failed,
            self.wall_s,
            self.rate(),
        );
        line!("\n{}", ui.bold(&text));
        if self.before > 0 {
            line!("{} of them an earlier run had tried", self.before);
        }
        line!("{} cuts in all, {:.1} % covered", self.plan.all, self.share() * 100.0);
        line!("{:>9} equal another and were left out", self.plan.equal);
        line!(
            "{:>9} rejoined the undisturbed run: {:.0} h of virtual time that nobody had to play",
            sum.rejoined,
            hours(sum.left)
        );
        line!("{:>9} came to the same end by themselves", sum.same);
        if sum.otherwise > 0 {
            line!("{:>9} did so too, but not by the way that the story tells of", sum.otherwise);
        }
        line!("each began as a fork: {:.0} h that were not played again", hours(sum.forked));
    }
}

/// Some failures in full, of the others how to see them.
pub(super) fn tell_failures(ui: Ui, swept: &Swept, tried: &[Tried]) {
    for (story, failure) in failures(tried).take(TOLD) {
        tell_failure(ui, swept, story, failure);
    }
    let more = failures(tried).count().saturating_sub(TOLD);
    if more > 0 {
        line!("\n… and {more} failures more:");
    }
    for (story, failure) in failures(tried).skip(TOLD) {
        line!("  {}   {}", again(swept, story, failure), failure.message);
    }
}

pub(super) fn tell_failure(ui: Ui, swept: &Swept, story: usize, failure: &Failure) {
    line!(
        "\n{} {}: message {}, {}",
        ui.red("✗"),
        ui.bold(&swept.stories[story].name),
        failure.number,
        failure.message
    );
    if !failure.reason.is_empty() {
        line!("    because {}", failure.reason);
    }
    line!("    cut: {} ({})", failure.cut, failure.cut.what());
    if let Some((number, message, cut)) = &failure.then {
        line!("    then: message {number} after that, {message}");
        line!("    cut: {cut} ({})", cut.what());
    }
    line!("    promise {}", failure.promise.text());
    for wrong in failure.wrong.iter().take(TOLD) {
        line!("      {}", ui.red(wrong));
    }
    for awaited in &failure.awaited {
        line!("    awaited: {awaited}");
    }
    for last in &failure.last {
        line!("    {}", ui.dim(last));
    }
    line!("    again: {}", again(swept, story, failure));
}

/// The command that tells one failure in full.
fn again(swept: &Swept, story: usize, failure: &Failure) -> String {
    let then = failure.then.as_ref().map(|(number, _, cut)| format!(" --then {number}:{cut}"));
    let patroni = if swept.whose == Whose::Everybody { " --patroni" } else { "" };
    let (name, then) = (&swept.stories[story].name, then.unwrap_or_default());
    format!("ivory-sim sweep {name}{patroni} --cut {}:{}{then}", failure.number, failure.cut)
}

/// The failures for machines.
pub(super) fn broken(swept: &Swept, tried: &[Tried]) -> Vec<Value> {
    let told = failures(tried).map(|(story, f)| {
        json!({
            "story": swept.stories[story].name, "cut": format!("{}:{}", f.number, f.cut), "message": f.message,
            "then": f.then.as_ref().map(|(number, message, cut)| json!({
                "cut": format!("{number}:{cut}"), "message": message,
            })),
            "again": again(swept, story, f),
            "promise": f.promise.text(), "wrong": f.wrong, "awaited": f.awaited,
        })
    });
    told.collect()
}

fn hours(span: Span) -> f64 {
    span.seconds() / 3600.0
}

pub(super) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

pub(super) fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
