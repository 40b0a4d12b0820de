//! The machine's record of a run: a running digest of every input of every actor, always; the same as
//! text, when somebody asked for it. Two runs are the same exactly when their records are.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ivory_core::hash::Digest;

use crate::time::Time;
use crate::world::actor::{ActorId, Input};

/// The record.
#[derive(Clone, Default)]
pub struct Trace {
    digest: Digest,
    inputs: u64,
    text: Option<Arc<String>>,
}

impl Trace {
    /// Starts to keep text as well.
    pub fn keep_text(&mut self) {
        self.text = Some(Arc::default());
    }

    /// The text kept so far: one line an input.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_deref().map_or("", String::as_str)
    }

    /// The digest of everything so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// How many inputs were heard.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    pub(super) fn input(&mut self, at: Time, actor: ActorId, input: &Input) {
        self.inputs += 1;
        let (word, a, b) = facts(input);
        (at.0, actor.0, word, a, b).hash(&mut self.digest);
        if let Some(text) = &mut self.text {
            let text = Arc::make_mut(text);
            let _ = writeln!(text, "{at:?} #{} {word} {a} {b}", actor.0);
        }
    }

    pub(super) fn gone(&mut self, at: Time, actor: ActorId, code: i32) {
        (at.0, actor.0, "gone", code).hash(&mut self.digest);
        if let Some(text) = &mut self.text {
            let _ = writeln!(Arc::make_mut(text), "{at:?} #{} gone {code}", actor.0);
        }
    }
}

/// What identifies an input: its kind and two numbers. Never a content that could be secret.
fn facts(input: &Input) -> (&'static str, u64, u64) {
    match input {
        Input::Start => ("start", 0, 0),
        Input::Timer(token) => ("timer", *token, 0),
        Input::Response(ticket, response) => {
            ("response", ticket.0, response.as_ref().map_or_else(|s| u64::from(s.code), |_| 200))
        }
        Input::Listed(watch, objects, _) => ("listed", u64::from(watch.0), objects.len() as u64),
        Input::Changed(watch, change) => ("changed", u64::from(watch.0), change.resource_version),
        Input::Call(ticket, call) => (call.word(), ticket.0, 0),
        Input::Reply(ticket, reply) => ("reply", ticket.0, u64::from(reply.is_ok())),
        Input::Output(ticket, output) => {
            ("output", ticket.0, output.as_ref().map_or(999, |o| u64::from(o.exit.unsigned_abs())))
        }
        Input::Signal(signal) => ("signal", *signal as u64, 0),
        Input::Mounts(mounts) => ("mounts", mounts.version(), 0),
        Input::Clock(jump) => ("clock", jump.0.unsigned_abs(), u64::from(jump.0 < 0)),
        Input::Exited(child, code) => {
            ("exited", u64::from(child.0), u64::from(code.unsigned_abs()))
        }
    }
}
