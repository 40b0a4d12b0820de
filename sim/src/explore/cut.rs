//! What can be done to one message, and how a world is told to do it.

use std::fmt;

use ivory_core::names::DATABASE_CONTAINER;

use super::message::{Message, Sender, Which};
use crate::kube::Status;
use crate::scenario::driver::{Break, Driver};
use crate::time::{Span, Time};
use crate::world::{self, Matcher, Point, Rule};

/// How long after a crash the operator runs again: about what a kubelet and an election take.
const RESTART: Span = Span::s(5);
/// How late an orphaned message lands: long after the successor has begun.
const LATE: Span = Span::s(15);
/// How long a watch lags, or stays broken.
const LAG: Span = Span::s(30);
/// By when who was disturbed, or has begun anew, has something to do, which the fingerprint shows.
const NOTICED: Span = Span::s(1);

/// A cut of one message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cut {
    /// The sender dies before the message leaves; another begins a little later.
    CrashBefore,
    /// It takes effect, and the sender dies before it learns of it.
    CrashAfter,
    /// It takes effect, and the answer is lost.
    Lost,
    /// The sender dies, and the message lands when its successor is at work.
    Late,
    /// It is refused: 409.
    Conflict,
    /// It is refused: 500.
    Error,
    /// It is refused: 429.
    Throttled,
    /// A watch hears of it late, and of all that follows.
    Stale,
    /// A watch never hears of it: it breaks, and lists anew a while later.
    Missed,
}

/// All cuts.
pub const CUTS: [Cut; 9] = [
    Cut::CrashBefore,
    Cut::CrashAfter,
    Cut::Lost,
    Cut::Late,
    Cut::Conflict,
    Cut::Error,
    Cut::Throttled,
    Cut::Stale,
    Cut::Missed,
];

impl Cut {
    /// One word, as the command line takes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Conflict => "409",
            Self::Error => "500",
            Self::Throttled => "429",
            Self::Stale => "stale",
            Self::Missed => "missed",
        }
    }

    /// What happens, in words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::CrashBefore => {
                "its sender dies before it, and starts again (the operator 5 s later)"
            }
            Self::CrashAfter => "it is done, but its sender dies before it knows",
            Self::Lost => "it is done, but the answer is lost",
            Self::Late => "its sender dies, and it lands 15 s later, beside the successor",
            Self::Conflict => "it is refused with 409",
            Self::Error => "it is refused with 500",
            Self::Throttled => "it is refused with 429",
            Self::Stale => "it comes 30 s late",
            Self::Missed => "it is never heard; the watch lists anew 30 s later",
        }
    }

    /// Makes it happen in a world that has not come to the message yet. Says until when it can have effects of its
    /// own.
    pub fn arm(self, driver: &mut dyn Driver, message: &Message) -> Time {
        let until = match self {
            Self::CrashBefore | Self::CrashAfter => RESTART + NOTICED,
            Self::Late => LATE + NOTICED,
            Self::Stale | Self::Missed => LAG + NOTICED,
            Self::Lost | Self::Conflict | Self::Error | Self::Throttled => NOTICED,
        };
        let dies = matches!(self, Self::CrashBefore | Self::CrashAfter | Self::Late);
        // Patroni's container is started again by its kubelet.
        if dies && message.sender == Sender::Operator {
            driver.fault_at(message.at + RESTART, message.kube, Break::Operator(true));
        }
        let refuse = |status: Status| world::Cut::Refuse(Box::new(status));
        // What arrives when its sender has started again, since it was held up on a node that stands still, ends it no more:
        // nobody would start it a second time.
        let at_most = dies.then_some(message.at + RESTART);
        let called = matches!(message.which, Which::Exec(_) | Which::Rest(_));
        let (point, cut) = match self {
            Self::CrashBefore => (Point::Sent, world::Cut::Crash),
            Self::CrashAfter => (Point::Arrived, world::Cut::Crash),
            Self::Lost if called => (Point::Answered, world::Cut::Lose),
            Self::Lost => (Point::Applied, world::Cut::Lose),
            Self::Late => (Point::Sent, world::Cut::Orphan(LATE)),
            Self::Conflict => (Point::Arrived, refuse(Status::conflicting())),
            Self::Error => (Point::Arrived, refuse(Status::internal("etcdserver: no leader"))),
            Self::Throttled => (Point::Arrived, refuse(Status::throttled())),
            Self::Stale | Self::Missed => (Point::Sent, world::Cut::Delay(LAG)),
        };
        match message.which {
            Which::Heard(watch, version) => {
                let late = match self {
                    Self::Missed => world::Late::Never(LAG),
                    _ => world::Late::By(LAG),
                };
                if self == Self::CrashBefore {
                    let dies = match &message.sender {
                        Sender::Operator => Break::Operator(false),
                        Sender::Patroni(namespace, pod) => {
                            let container = DATABASE_CONTAINER.to_owned();
                            Break::KillContainer(namespace.clone(), pod.clone(), container)
                        }
                    };
                    driver.fault_at(message.at, message.kube, dies);
                } else if let Some(world) = driver.world() {
                    world.faults.cut_delivery(watch, version, late);
                }
            }
            Which::Request(ticket)
            | Which::Exec(ticket)
            | Which::Rest(ticket)
            | Which::Watch(ticket) => {
                if let Some(world) = driver.world() {
                    world.faults.add_first(Rule {
                        name: "cut".into(),
                        from: Time::START,
                        until: at_most,
                        left: Some(1),
                        every: 1,
                        seen: 0,
                        what: Matcher {
                            ticket: Some(ticket),
                            actor: Some(message.from),
                            ..Matcher::default()
                        },
                        point,
                        cut,
                    });
                }
            }
        }
        message.at + until
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Cut {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        CUTS.into_iter().find(|c| c.word() == word).ok_or_else(|| {
            let known: Vec<_> = CUTS.iter().map(|c| c.word()).collect();
            format!("there is no cut {word}; there are {}", known.join(", "))
        })
    }
}
