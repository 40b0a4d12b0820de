//! A script played to a side: request by request, each followed by all that comes of it.

use std::collections::BTreeMap;

use anyhow::ensure;
use ivory_core::Kind;
use serde_json::Value;

use super::states::Symbols;
use crate::conformance::ask::{Ask, Memory, Raw};
use crate::conformance::script::{Script, Step};

/// Nothing happens any more when nothing happened for so many seconds.
const QUIET_S: u32 = 3;
/// A request's consequences end within so many seconds, a minute of a CronJob included.
const PATIENCE_S: u32 = 150;
/// The node that scripts bind Pods to. It lives, and nobody runs anything there.
pub(super) const NODE: &str = "conformance-node";

/// A world with controllers in it.
pub(super) trait Side {
    /// What time it is there.
    fn now(&self) -> jiff::Timestamp;

    /// What the API server says to a request.
    async fn answer(&mut self, ask: &Ask<'_>) -> anyhow::Result<Raw>;

    /// Lets a second pass. Gives what changed in it, in order: objects, and whether they are gone.
    async fn pass(&mut self) -> anyhow::Result<Vec<(Value, bool)>>;
}

/// What one request led to.
#[derive(Default, Debug)]
pub(super) struct Outcome {
    /// What was answered to it.
    pub(super) code: u16,
    /// The states of each object, `Kind/name`, in order.
    pub(super) states: BTreeMap<String, Vec<Value>>,
    /// `+ Kind/name` came, `~ Kind/name` was asked to go, `- Kind/name` went.
    pub(super) lives: Vec<String>,
}

/// The kinds that a script follows.
pub(super) fn follows(script: &Script) -> anyhow::Result<Vec<Kind>> {
    ensure!(!script.follows.is_empty(), "{} follows nothing", script.name);
    script.follows.iter().map(|kind| Ok(kind.parse()?)).collect()
}

/// Plays it.
pub(super) async fn play(
    side: &mut impl Side,
    script: &Script,
    memory: &mut Memory,
) -> anyhow::Result<Vec<Outcome>> {
    let mut symbols = Symbols::new(&memory.namespace);
    let mut outcomes = Vec::new();
    for step in &script.requests {
        let named: Step = serde_json::from_value(symbols.resolved(step.to_value()?))?;
        memory.now = side.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let ask = memory.ask(&named)?;
        let raw = side.answer(&ask).await?;
        memory.learn(&ask, &raw);
        let mut outcome = Outcome { code: raw.code, ..Outcome::default() };
        if raw.code >= 400 {
            eprintln!("    {}: {} {}", step.title(), raw.code, raw.body["message"]);
        }
        let (mut quiet_s, mut passed_s) = (0, 0);
        let awaited = |outcome: &Outcome| {
            step.until.as_ref().is_none_or(|until| outcome.lives.contains(until))
        };
        while quiet_s < step.quiet.unwrap_or(QUIET_S) || !awaited(&outcome) {
            ensure!(
                passed_s < PATIENCE_S,
                "{}, {}: {:?} did not come, or it never became quiet: {:?}",
                script.name,
                step.title(),
                step.until,
                outcome.lives
            );
            let changes = side.pass().await?;
            quiet_s = if changes.is_empty() { quiet_s + 1 } else { 0 };
            passed_s += 1;
            for (object, gone) in changes {
                symbols.take(&object, gone, &mut outcome);
            }
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
