//! One container's state, as its status shows it and as its kubelet goes on from it.

use crate::node::backoff::{Doubling, Restarts};
use crate::node::probe::ProbeRun;
use crate::time::{Span, Time};
use crate::world::ActorId;

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// What it does.
    pub state: State,
    /// How its former life ended.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i64,
    /// Whether it was ever started, so that the next start is a restart.
    pub launched: bool,
    /// Its main process.
    pub process: Option<ActorId>,
    /// What comes next, and when.
    pub step: Option<(Step, Time)>,
    /// When SIGKILL follows SIGTERM.
    pub kill_at: Option<Time>,
    /// Whether the startup probe succeeded, or there is none.
    pub started: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Startup, liveness, readiness.
    pub probes: [ProbeRun; 3],
    /// Waits between pulls.
    pub pulls: Doubling,
    /// Waits between restarts.
    pub crashes: Restarts,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run yet, or not again.
    Waiting {
        /// The reason's word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Time,
    },
    /// It ended.
    Ended(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status.
    pub exit: i32,
    /// The reason's word.
    pub reason: &'static str,
    /// Termination message.
    pub message: String,
    /// When it had started.
    pub started: Time,
    /// When it ended.
    pub finished: Time,
}

/// What a container comes to next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The image arrives, or does not.
    Pulled,
    /// After a failed pull: the wait is shown.
    ShowPullBackOff(Time),
    /// The next try to pull.
    PullAgain,
    /// The process starts.
    Launch,
    /// An init container ends.
    InitEnds(i32, String),
    /// After an end: start again, now or later.
    Restart,
    /// The wait after a crash is over.
    Begin,
}

impl Container {
    /// Waits for its first start.
    pub fn new(reason: &'static str) -> Self {
        Self {
            state: State::waiting(reason),
            last: None,
            restarts: 0,
            launched: false,
            process: None,
            step: None,
            kill_at: None,
            started: false,
            ready: false,
            probes: [ProbeRun::default(); 3],
            pulls: Doubling::new(Span::s(10), Span::s(300)),
            crashes: Restarts::default(),
        }
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if its last state is that.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Takes in that it has ended.
    pub fn end(&mut self, exit: i32, message: String, now: Time) {
        let started = match self.state {
            State::Running { since } => since,
            _ => now,
        };
        self.state = State::Ended(Ended {
            exit,
            reason: if exit == 0 { "Completed" } else { "Error" },
            message,
            started,
            finished: now,
        });
        (self.process, self.step, self.kill_at) = (None, None, None);
        (self.started, self.ready) = (false, false);
        self.probes = [ProbeRun::default(); 3];
    }

    /// Waits again; how it ended becomes its last state.
    pub fn wait(&mut self, reason: &'static str, message: String) {
        let before = std::mem::replace(&mut self.state, State::Waiting { reason, message });
        if let State::Ended(ended) = before {
            self.last = Some(ended);
        }
    }
}

impl State {
    /// Waits, with nothing more to say.
    pub fn waiting(reason: &'static str) -> Self {
        State::Waiting { reason, message: String::new() }
    }
}
