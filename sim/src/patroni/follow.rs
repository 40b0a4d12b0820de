//! A node that does not lead: whom it follows, and whether its data may (patroni.md §2.7, §2.8).

use crate::patroni::action::Kind;
use crate::patroni::dcs::Dcs;
use crate::patroni::demote::Mode;
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::receive::Upstream;
use crate::patroni::waits::{Alarm, Doing, Then};
use crate::postgres::data::switch_of;
use crate::postgres::server::State;
use crate::postgres::{Identity, StreamReply, StreamRequest};
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

/// Whether the data may have diverged from the leader's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum RewindState {
    /// Nothing suspected.
    Idle,
    /// To be looked at.
    Check,
    /// They did.
    Need,
}

impl RewindState {
    /// Whether work on it is to come.
    pub fn pending(self) -> bool {
        self == RewindState::Need
    }
}

impl Member {
    /// Whether `pg_rewind` can be used; data checksums are always on here.
    pub(super) fn can_rewind(&self) -> bool {
        self.dynamic.use_pg_rewind
    }

    pub(super) fn arm_rewind(&mut self) {
        if self.can_rewind() || self.dynamic.remove_on_diverged {
            self.rewind = RewindState::Check;
        }
    }

    /// Where a member's PostgreSQL is.
    pub(super) fn upstream_to(&self, name: &str) -> Option<Upstream> {
        let pod = self.store().pod(name)?;
        let (host, port) = Dcs::sql_of(pod)?;
        Some(Upstream { name: name.into(), host: host.into(), port })
    }

    /// The remote cluster that a standby cluster follows.
    pub(super) fn remote(&self) -> Option<Upstream> {
        let standby = self.dynamic.standby.as_ref()?;
        let host = standby.host.as_ref()?.split(',').next()?;
        Some(Upstream { name: "the remote cluster".into(), host: host.into(), port: standby.port })
    }

    fn wanted_upstream(&self, cx: &Cx<'_>) -> Option<Upstream> {
        let leader = self.leader(cx.now());
        let mine = leader == Some(&*self.config.name);
        if self.dynamic.standby.is_some() && (mine || (leader.is_none() && !self.dynamic.pause)) {
            return self.remote();
        }
        match leader {
            // The address of a leader whose Pod is gone is unknown; the old upstream stays.
            Some(name) if !mine => {
                self.upstream_to(name).or_else(|| self.receiver.upstream.clone())
            }
            _ => None,
        }
    }

    /// Follows whoever is to be followed.
    pub(super) fn follow(&mut self, cx: &mut Cx<'_>) {
        if self.action.is_some() {
            return self.finish(cx);
        }
        if self.taken_for_primary() {
            if self.dynamic.pause {
                return self.finish(cx);
            }
            return self.demote(cx, Mode::ImmediateNoLock);
        }
        let upstream = self.wanted_upstream(cx);
        if self.version().looks_for_divergence_when_behind() && self.is_a_timeline_behind(cx) {
            self.arm_rewind();
        }
        match (self.rewind, &upstream) {
            (RewindState::Check, Some(to)) if self.pg.state != State::Starting => {
                let to = to.resolve(cx, &self.config.namespace);
                if let Some(to) = to {
                    let ticket = cx.call(to, Call::Stream(StreamRequest::Identify), Span::s(2));
                    return self.begin_probes(cx, vec![(ticket, "leader".into())], Then::Identify);
                }
            }
            (RewindState::Need, Some(_)) => return self.undo_divergence(cx, upstream),
            _ => {}
        }
        self.keep_following(cx, upstream);
    }

    /// Whether the leader says a later timeline than this standby's (`_last_timeline < _leader_timeline`, ha.py of
    /// 4.1.4). What the archive still gave of the earlier one may have led past the fork since the last look.
    fn is_a_timeline_behind(&self, cx: &Cx<'_>) -> bool {
        let leader = self.leader(cx.now()).and_then(|name| self.store().pod(name));
        let theirs = leader.and_then(|pod| Dcs::timeline_of(pod));
        let own = self.look(cx).map(|data| data.timeline);
        self.pg.state == State::Standby && own.zip(theirs).is_some_and(|(own, theirs)| own < theirs)
    }

    /// Starts or points PostgreSQL to its upstream.
    fn keep_following(&mut self, cx: &mut Cx<'_>, upstream: Option<Upstream>) {
        let changed = self.receiver.upstream != upstream;
        if changed {
            self.set_upstream(cx, upstream);
        }
        if self.pg.state == State::Down && !self.dynamic.pause {
            self.recovering = true;
            return self.act(cx, Kind::StartStandby);
        }
        if self.pg.state == State::Standby {
            let mine = self.holds_key(cx.now());
            self.role = if mine && self.dynamic.standby.is_some() {
                Role::StandbyLeader
            } else {
                Role::Replica
            };
            if changed {
                self.arm_rewind();
                self.receive(cx);
            }
        }
        self.finish(cx);
    }

    /// The loop waits for answers of others.
    pub(super) fn begin_probes(
        &mut self,
        cx: &mut Cx<'_>,
        asked: Vec<(Ticket, std::sync::Arc<str>)>,
        then: Then,
    ) {
        self.doing =
            Some(Doing { open: asked.into_iter().collect(), ..Doing::since(cx.now(), then) });
    }

    /// The loop waits for an end of the process, or for an alarm.
    pub(super) fn begin_wait(&mut self, cx: &mut Cx<'_>) {
        self.begin_probes(cx, Vec::new(), Then::Nap);
    }

    /// The upstream said who it is.
    pub(super) fn identified(&mut self, cx: &mut Cx<'_>, reply: Result<Reply, CallError>) {
        let Ok(Reply::Stream(StreamReply::Identity(identity))) = reply else {
            let upstream = self.wanted_upstream(cx);
            return self.keep_following(cx, upstream);
        };
        let upstream = self.wanted_upstream(cx);
        let Some((timeline, end)) = self.look(cx).map(|d| (d.timeline, d.end)) else {
            return self.finish(cx);
        };
        if !identity.in_recovery || self.dynamic.standby.is_some() {
            if !diverged(&identity, timeline, end) {
                self.rewind = RewindState::Idle;
            } else if !identity.checkpointed {
                // pg_rewind would read the old timeline in its control file; look again soon.
                self.begin_wait(cx);
                self.alarm(cx, Span::s(1), Alarm::Nap);
                return;
            } else {
                self.rewind = RewindState::Need;
                return self.undo_divergence(cx, upstream);
            }
        }
        self.keep_following(cx, upstream);
    }

    /// Rewinds, or throws the data away.
    fn undo_divergence(&mut self, cx: &mut Cx<'_>, upstream: Option<Upstream>) {
        if self.dynamic.pause {
            return self.finish(cx);
        }
        if self.pg.state != State::Down {
            self.stop_now(cx, false, true);
        }
        self.word = Word::Stopped;
        if self.can_rewind() {
            self.say(cx, "rewinds: its data diverged");
            return self.copy_from(cx, upstream, Vec::new(), true);
        }
        self.say(cx, "removes its data: they diverged");
        self.rewind = RewindState::Idle;
        let directory = self.config.directory.clone();
        if let Some(volume) = cx.volume(&self.volume) {
            volume.directories.remove(&directory);
        }
        self.wake = true;
        self.finish(cx);
    }

    /// Replay stopped because a parameter is too low: going on makes the standby exit, and the next turn starts it
    /// again with what is wanted now (§6.6).
    pub(super) fn resume_replay(&mut self, cx: &mut Cx<'_>) {
        if self.pg.state == State::Standby
            && self.look(cx).is_some_and(|d| d.replay_paused)
            && !self.dynamic.pause
        {
            self.stop_now(cx, false, false);
            self.wake = true;
        }
    }
}

/// The table of §2.8.
fn diverged(leader: &Identity, timeline: u32, end: u64) -> bool {
    if timeline == leader.timeline {
        return false;
    }
    timeline > leader.timeline || switch_of(&leader.history, timeline).is_none_or(|s| end > s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::wal::Ancestor;
    use std::sync::Arc;

    #[test]
    fn who_needs_a_rewind() {
        let leader = Identity {
            system_id: 1,
            timeline: 3,
            end: 500,
            in_recovery: false,
            checkpointed: true,
            history: Arc::new(vec![
                Ancestor { timeline: 1, switch: 100 },
                Ancestor { timeline: 2, switch: 300 },
            ]),
        };
        for (timeline, end, expected) in [
            (3, 600, false),
            (4, 10, true),
            (2, 300, false),
            (2, 301, true),
            (1, 100, false),
            (1, 101, true),
            (0, 1, true),
        ] {
            assert_eq!(diverged(&leader, timeline, end), expected, "{timeline} {end}");
        }
    }
}
