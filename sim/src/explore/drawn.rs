//! Playing a story that is given as a value, and telling how it failed: for the swarm and for shrinking.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;

use super::failure::promise_of;
use super::swarm;
use crate::promises::Promise;
use crate::scenario::driver::Build;
use crate::scenario::node::At;
use crate::scenario::parse::parse;
use crate::scenario::run::{Failure, LATE, Outcome, Player};

/// A bad end of a story.
#[derive(Clone, Debug)]
pub struct Bad {
    /// The broken promise.
    pub promise: &'static Promise,
    /// Step and sentences.
    pub failure: Failure,
    /// By what the same failure is recognised in a smaller story.
    pub key: String,
}

/// What became of a story.
#[derive(Clone, Debug)]
pub struct Played {
    /// The run.
    pub outcome: Outcome,
    /// How it failed, if it did.
    pub bad: Option<Bad>,
}

/// Plays a story. `folder` is where its manifests are looked for. A panic of whatever plays in it is a bad end as well.
///
/// # Errors
/// A sentence, when it is no story or its world can't be made.
pub fn play(story: &Value, folder: &Path, build: &Build<'_>) -> Result<Played, String> {
    let text = swarm::text(story)?;
    let scenario = parse("drawn.yaml", folder, &text).map_err(|e| e.to_string())?;
    let mut player = Player::of(&scenario, None, false, build)?;
    let played = catch_unwind(AssertUnwindSafe(|| player.play(&scenario)));
    let outcome = played.or_else(|panic| {
        let failure = panicked(&*panic);
        // What the panic left half done is only told here, never played on.
        catch_unwind(AssertUnwindSafe(|| player.outcome(&scenario, Some(failure.clone()))))
            .map_err(|_| failure.wrong.join("; "))
    })?;
    let bad = outcome.failure.clone().map(|failure| {
        let promise = promise_of(&failure);
        Bad { promise, key: key(promise, &failure), failure }
    });
    Ok(Played { outcome, bad })
}

/// How a panic is told.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
    Failure {
        at: At { line: 0, column: 0 },
        step: "panic".to_owned(),
        wrong: vec![text.to_owned()],
        promise: None,
        awaited: Vec::new(),
    }
}

/// Promise, kind of step, and what is wrong without its numbers: smaller stories have other figures. What a checker saw it
/// may see at any step.
fn key(promise: &Promise, failure: &Failure) -> String {
    let plain = |text: &str| -> String {
        let text = text.chars().filter(|c| !c.is_ascii_digit());
        text.take(60).collect()
    };
    let seen = failure.wrong.iter().find_map(|w| w.strip_prefix("seen at ")?.split_once(": "));
    if let Some((_, seen)) = seen {
        return format!("promise {} {}", promise.number, plain(seen));
    }
    let word = failure.step.split_whitespace().next().unwrap_or_default();
    let wrong = failure.wrong.iter().map(|w| plain(w));
    let mut wrong: Vec<String> = wrong.filter(|w| !w.starts_with(LATE)).collect();
    wrong.truncate(1);
    format!("promise {} {word} {}", promise.number, wrong.join("; "))
}
