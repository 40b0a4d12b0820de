//! Faults inside a member's container that no message could bring: for harnesses.

use crate::patroni::member::{Alarm, Member};
use crate::time::Span;
use crate::world::{ActorId, Cx, Input, World};

/// Tokens of timers that a harness sets; far above those of the member's own alarms.
const CRASH: u64 = u64::MAX;
const FREEZE: u64 = u64::MAX - 1;
const THAW: u64 = u64::MAX - 2;
const HANG: u64 = u64::MAX - 3;

/// Kills the postmaster of a member, as SIGKILL does; Patroni goes on.
pub fn crash_postmaster(world: &mut World, member: ActorId) {
    world.push_timer(world.now(), member, CRASH);
}

/// Keeps log from a member's standbys (they stay connected), or ends that.
pub fn freeze_replication(world: &mut World, member: ActorId, frozen: bool) {
    world.push_timer(world.now(), member, if frozen { FREEZE } else { THAW });
}

/// Stops Patroni of a member (SIGSTOP) for a time, in whole seconds below 256; PostgreSQL goes on.
pub fn hang_patroni(world: &mut World, member: ActorId, seconds: u8) {
    world.push_timer(world.now(), member, HANG - u64::from(seconds));
}

impl Member {
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
            Input::Timer(token) if *token > HANG - 256 => {
                let seconds = i64::try_from(HANG - token).unwrap_or(0);
                if seconds == 0 {
                    self.wake_up(cx);
                } else {
                    self.hung_until = Some(now + Span::s(seconds));
                    cx.timer(Span::s(seconds), HANG);
                }
                return true;
            }
            _ => {}
        }
        let Some(until) = self.hung_until.filter(|until| now < *until) else { return false };
        if self.for_postgres(input) {
            return false;
        }
        // A sleep that ends while the process is stopped ends when it goes on.
        if let Input::Timer(token) = input {
            cx.timer(until - now, *token);
        }
        true
    }

    /// Whether PostgreSQL hears an input, whatever Patroni does.
    fn for_postgres(&self, input: &Input) -> bool {
        use crate::patroni::member::Side;
        use crate::world::call::Call;
        match input {
            Input::Call(_, Call::Sql(_) | Call::Stream(_)) | Input::Signal(_) => true,
            Input::Reply(ticket, _) => matches!(
                self.side.get(ticket),
                Some(Side::Fetch | Side::ArchiveGet | Side::ArchivePush(..))
            ),
            Input::Timer(token) => matches!(
                self.alarms.get(token),
                Some(Alarm::Receive | Alarm::Archive | Alarm::CrashPostmaster)
            ),
            // The watches' caches are filled by another thread, but it is stopped as well; what
            // comes meanwhile waits in the socket and is read first.
            Input::Listed(..) | Input::Changed(..) => true,
            _ => false,
        }
    }

    /// SIGCONT: the loop's questions that are under way are lost, and it runs at once.
    fn wake_up(&mut self, cx: &mut Cx<'_>) {
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
