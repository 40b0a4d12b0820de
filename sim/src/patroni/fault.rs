//! Faults inside a member's container that no message could bring: for harnesses.

use crate::patroni::durations;
use crate::patroni::member::{Member, Word};
use crate::patroni::waits::Alarm;
use crate::postgres::server::State;
use crate::time::{Span, Time};
use crate::world::{ActorId, Cx, Input, Signal, World};

/// Tokens of timers that a harness sets; far above those of the member's own alarms.
const CRASH: u64 = u64::MAX;
const FREEZE: u64 = u64::MAX - 1;
const THAW: u64 = u64::MAX - 2;
const HANG: u64 = u64::MAX - 3;
const BACKEND: u64 = HANG - 256;
const LATE: u64 = HANG - 1_000;
const TERM: u64 = LATE - 1_000_000;

/// The longest delay of replication, in seconds.
pub const LATE_MAX_S: u32 = 10_000;

/// Kills the postmaster of a member, as SIGKILL does; Patroni goes on.
pub fn crash_postmaster(world: &mut World, member: ActorId) {
    world.push_timer(world.now(), member, CRASH);
}

/// Keeps log from a member's standbys (they stay connected), or ends that.
pub fn freeze_replication(world: &mut World, member: ActorId, frozen: bool) {
    world.push_timer(world.now(), member, if frozen { FREEZE } else { THAW });
}

/// Lets a member's standbys have everything so many seconds after it was written, at most [`LATE_MAX_S`]; 0 ends that.
pub fn delay_replication(world: &mut World, member: ActorId, seconds: u32) {
    world.push_timer(world.now(), member, LATE - u64::from(seconds.min(LATE_MAX_S)));
}

/// Kills one server process of a member by SIGKILL, as the kernel does that is short of memory: the postmaster ends all
/// others, recovers, and goes on in its role (`restart_after_crash`, on by default); Patroni goes on.
pub fn kill_backend(world: &mut World, member: ActorId) {
    world.push_timer(world.now(), member, BACKEND);
}

/// Stops Patroni of a member (SIGSTOP) for a time, in whole seconds below 256; PostgreSQL goes on. Who is stopped twice goes
/// on when the longer of the two is over.
pub fn hang_patroni(world: &mut World, member: ActorId, seconds: u8) {
    world.push_timer(world.now(), member, HANG - u64::from(seconds));
}

impl Member {
    /// The clock of its machine jumps. Patroni compares times of day (`time.time()` in `dcs/kubernetes.py`, `ha.py`,
    /// `__main__.py`, 4.1.4), so what it remembers is older or younger at once: after a jump forward every leader's key
    /// seems to have expired; after one back the loop sleeps as long as the jump, once its present nap is over, unless
    /// an event wakes it.
    pub(super) fn clock_jumped(&mut self, now: Time, jump: Span) {
        let shift = |at: Time| Time(at.0 - jump.0);
        if let Some(dcs) = &mut self.dcs {
            dcs.seen_at = shift(dcs.seen_at);
        }
        self.leader_expiry = self.leader_expiry.map(shift);
        self.failsafe_until = self.failsafe_until.map(shift);
        self.last_loop = shift(self.last_loop);
        // A turn that is overdue comes at once, and the rhythm begins anew with it.
        self.base = shift(self.base).max(Time(now.0 - self.dynamic.loop_wait.0));
    }

    /// Takes in harness timers, and keeps a hung Patroni from hearing anything; PostgreSQL's part is heard.
    /// True when the input is done with.
    pub(super) fn asleep(&mut self, cx: &mut Cx<'_>, input: &Input) -> bool {
        let now = cx.now();
        match input {
            Input::Timer(CRASH) => {
                self.alarm(cx, Span::ZERO, Alarm::CrashPostmaster);
                return true;
            }
            Input::Timer(token @ (FREEZE | THAW)) => {
                self.pg.frozen = *token == FREEZE;
                self.push_log(cx);
                return true;
            }
            Input::Timer(BACKEND) => {
                self.reinitialize(cx);
                return true;
            }
            Input::Timer(token) if (LATE - u64::from(LATE_MAX_S)..=LATE).contains(token) => {
                self.pg.late = Span::s(i64::try_from(LATE - token).unwrap_or(0));
                self.push_log(cx);
                return true;
            }
            Input::Timer(TERM) => {
                self.terminate(cx);
                return true;
            }
            Input::Timer(token) if *token > HANG - 256 => {
                let seconds = i64::try_from(HANG - token).unwrap_or(0);
                let until = self.hung_until.max(Some(now + Span::s(seconds)));
                if seconds > 0 {
                    self.hung_until = until;
                    cx.timer(Span::s(seconds), HANG);
                } else if until == Some(now) {
                    self.wake_up(cx);
                }
                return true;
            }
            _ => {}
        }
        // What comes at the very moment of SIGCONT comes after it.
        let Some(until) = self.hung_until.filter(|until| now <= *until) else { return false };
        if self.for_postgres(input) {
            return false;
        }
        // A sleep that ends while the process is stopped ends when it goes on, and a signal is heard then.
        match input {
            Input::Timer(token) => cx.timer(until - now, *token),
            Input::Signal(Signal::Term) => cx.timer(until - now, TERM),
            _ => {}
        }
        true
    }

    /// Whether PostgreSQL hears an input, whatever Patroni does.
    fn for_postgres(&self, input: &Input) -> bool {
        use crate::patroni::waits::Side;
        use crate::world::call::Call;
        match input {
            Input::Call(_, Call::Sql(_) | Call::Stream(_)) => true,
            Input::Reply(ticket, _) => matches!(
                self.side.get(ticket),
                Some(Side::Fetch | Side::ArchiveGet | Side::ArchivePush(..))
            ),
            Input::Timer(token) => matches!(
                self.alarms.get(token),
                Some(
                    Alarm::Receive
                        | Alarm::Archive
                        | Alarm::CrashPostmaster
                        | Alarm::Flushed(_)
                        | Alarm::Reinitialized(_)
                        | Alarm::Late
                )
            ),
            // The watches' caches are filled by another thread, but it is stopped as well; what
            // comes meanwhile waits in the socket and is read first.
            Input::Listed(..) | Input::Changed(..) => true,
            _ => false,
        }
    }

    /// A backend died: everybody's connection breaks, and the postmaster starts its recovery.
    fn reinitialize(&mut self, cx: &mut Cx<'_>) {
        if !self.pg.up() {
            return;
        }
        let state = self.pg.state;
        let upstream = self.receiver.upstream.clone();
        self.say(cx, "lost a backend: its postmaster recovers");
        self.stop_now(cx, state == State::Primary, false);
        self.receiver.upstream = upstream;
        self.pg.state = State::Starting;
        let recovery = durations::START + self.checkpoint_time(cx);
        self.alarm(cx, recovery, Alarm::Reinitialized(state));
    }

    /// The recovery after a backend's death is over, unless Patroni has done something else meanwhile.
    pub(super) fn reinitialized(&mut self, cx: &mut Cx<'_>, state: State) {
        let left_alone =
            matches!(self.word, Word::Running | Word::Starting) && self.action.is_none();
        if self.pg.state != State::Starting || !left_alone {
            return;
        }
        match self.start_trouble(cx) {
            Some(trouble) => self.start_failed(cx, trouble),
            None => self.accept(cx, state),
        }
    }

    /// SIGCONT: the loop's questions that are under way are lost, and it runs at once.
    fn wake_up(&mut self, cx: &mut Cx<'_>) {
        self.hung_until = self.hung_until.map(|until| Time(until.0 - 1));
        self.doing = None;
        self.tick_at = None;
        self.wake(cx);
    }

    /// Whether Patroni is stopped, or has not yet run its loop since.
    #[must_use]
    pub fn hung(&self) -> bool {
        self.hung_until.is_some()
    }
}
