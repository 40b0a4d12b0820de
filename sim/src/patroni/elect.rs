//! Who may become leader (patroni.md §2.5), and whether anybody else could (§2.9).

use std::sync::Arc;

use crate::patroni::config::{SyncMode, Version};
use crate::patroni::dcs::{Dcs, FailoverRequest, Slot};
use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::rest::{RestReply, RestRequest, Status};
use crate::patroni::waits::{Alarm, Possible, Side, Then};
use crate::postgres::server::State;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

impl Member {
    /// I: there is no leader.
    pub(super) fn contend(&mut self, cx: &mut Cx<'_>) {
        match self.eligible(cx) {
            Some(true) => self.acquire(cx),
            Some(false) => self.not_healthiest(cx),
            None => {
                let others = self.rivals();
                let asked = self.probe(cx, &others);
                let seen = self.leader_version();
                self.begin_probes(cx, asked, Then::Race { seen });
                self.if_all_probed(cx);
            }
        }
    }

    fn leader_version(&self) -> Option<u64> {
        self.store().object(Slot::Leader).map(|o| o.meta.resource_version)
    }

    fn acquire(&mut self, cx: &mut Cx<'_>) {
        let request = self.acquire_request(cx);
        self.begin(cx, request, Then::Acquire);
    }

    /// The key is won: the request that led here is cleared, and the duties begin.
    pub(super) fn acquired(&mut self, cx: &mut Cx<'_>) {
        if self.store().failover().is_some() {
            self.clear_failover(cx, false);
        }
        if self.pg.primary() {
            self.won_key(cx);
        } else {
            self.leader_expiry = Some(cx.now() + self.dynamic.ttl);
            self.say(cx, "takes the lock");
        }
        self.touch(cx);
        self.duties(cx);
    }

    fn not_healthiest(&mut self, cx: &mut Cx<'_>) {
        let named = self.store().failover().is_some_and(|f| f.candidate.is_some());
        if (named || self.config.nofailover()) && !self.dynamic.pause {
            self.arm_rewind();
            self.begin_wait(cx);
            self.alarm(cx, durations::AFTER_DEMOTE, Alarm::Nap);
            return;
        }
        self.follow(cx);
    }

    fn history_timeline(&self) -> Option<u64> {
        let history = self.store().annotation(Slot::Config, "history")?;
        let list: Vec<serde_json::Value> = serde_json::from_str(history).ok()?;
        list.last()?.get(0)?.as_u64()
    }

    /// Whether it is decided without asking anybody; none when the others must be asked.
    fn eligible(&self, cx: &Cx<'_>) -> Option<bool> {
        let me = &*self.config.name;
        let request = self.store().failover();
        if self.dynamic.pause && request.is_some() && !self.config.nofailover() {
            return self.by_request(request.as_ref());
        }
        if self.pg.state == State::Starting {
            return Some(false);
        }
        if self.pg.primary() {
            let initialize = self.store().annotation(Slot::Config, "initialize");
            if self.dynamic.pause {
                return Some(initialize.is_none_or(|i| {
                    i.is_empty() || i.parse().ok() == self.look(cx).map(|d| d.system_id)
                }));
            }
            if self.version() < Version(3, 1, 0) {
                return Some(true);
            }
            let mine = self.look(cx).map_or(0, |d| u64::from(d.timeline));
            return Some(self.history_timeline().is_none_or(|last| mine > last));
        }
        if self.dynamic.pause || self.config.nofailover() || self.pg.state != State::Standby {
            return Some(false);
        }
        if request.is_some() {
            return self.by_request(request.as_ref());
        }
        if self.dynamic.synchronous == SyncMode::On
            && let Some((leader, standbys)) = self.store().sync_state()
            && leader != me
            && !standbys.contains(&me)
        {
            return Some(false);
        }
        None
    }

    /// §2.5.1, without asking.
    fn by_request(&self, request: Option<&FailoverRequest>) -> Option<bool> {
        let request = request?;
        let me = &*self.config.name;
        match request.candidate.as_deref() {
            Some(candidate) if candidate == me => Some(self.pg.up()),
            Some(_) if self.dynamic.pause => Some(false),
            _ => None,
        }
    }

    /// Everybody with whom this member compares itself.
    fn rivals(&self) -> Vec<(Arc<str>, String, u16)> {
        let sync: Option<Vec<&str>> = (self.dynamic.synchronous == SyncMode::On)
            .then(|| self.store().sync_state())
            .flatten()
            .map(|(leader, mut standbys)| {
                standbys.push(leader);
                standbys
            });
        self.store()
            .members()
            .filter(|p| p.meta.name != self.config.name)
            .filter(|p| sync.as_ref().is_none_or(|s| s.contains(&&*p.meta.name)))
            .filter_map(|p| {
                let (host, port) = Dcs::rest_of(p)?;
                Some((p.meta.name.clone(), host, port))
            })
            .collect()
    }

    /// Asks members for their status, all at once.
    fn probe(&self, cx: &mut Cx<'_>, whom: &[(Arc<str>, String, u16)]) -> Vec<(Ticket, Arc<str>)> {
        let mut asked = Vec::new();
        for (name, host, port) in whom {
            if let Some(to) = cx.resolve(&self.config.namespace, host, *port) {
                let ticket = cx.call(to, Call::Rest(RestRequest::Status), durations::PROBE);
                asked.push((ticket, name.clone()));
            }
        }
        asked
    }

    /// One answer of those that the loop waits for.
    pub(super) fn probed(
        &mut self,
        cx: &mut Cx<'_>,
        name: Arc<str>,
        reply: Result<Reply, CallError>,
    ) {
        let Some(doing) = &mut self.doing else {
            return;
        };
        if doing.then == Then::Identify {
            self.doing = None;
            return self.identified(cx, reply);
        }
        let status = match reply {
            // Failsafe mode counts those that do not agree.
            Ok(Reply::Rest(RestReply::Code(200, _))) if doing.then == Then::Failsafe => {
                return self.if_all_probed(cx);
            }
            Ok(Reply::Rest(RestReply::Status(status))) => Some(status),
            _ => None,
        };
        doing.answers.push((name, status));
        self.if_all_probed(cx);
    }

    /// Goes on when nobody is left to answer.
    pub(super) fn if_all_probed(&mut self, cx: &mut Cx<'_>) {
        if self.doing.as_ref().is_none_or(|d| !d.open.is_empty()) {
            return;
        }
        let Some(doing) = self.doing.take() else {
            return;
        };
        match doing.then {
            Then::Race { seen } => {
                // It writes upon the version with which its loop began, so whoever was quicker has won: the write
                // would be refused.
                if seen != self.leader_version() {
                    self.follow(cx);
                } else if self.wins(cx, &doing.answers) {
                    self.acquire(cx);
                } else {
                    self.not_healthiest(cx);
                }
            }
            Then::Possible(why) => {
                let request = self.store().failover();
                let possible = self.anybody(cx, &doing.answers, request.as_ref());
                self.possible(cx, why, possible);
            }
            Then::Failsafe => self.failsafe_answered(cx, !doing.answers.is_empty()),
            _ => self.finish(cx),
        }
    }

    /// §2.5.2, and the part of §2.5.1 that asks.
    fn wins(&self, cx: &Cx<'_>, answers: &[(Arc<str>, Option<Status>)]) -> bool {
        let me = &*self.config.name;
        let Some((position, timeline)) = self.look(cx).map(|d| (d.end, d.timeline)) else {
            return false;
        };
        let request = self.store().failover();
        let known = || answers.iter().filter_map(|(name, status)| Some((name, status.as_ref()?)));
        let fit = |status: &Status| status.running && !status.nofailover;
        if let Some(request) = &request {
            if let Some(candidate) = &request.candidate
                && known().any(|(name, status)| **name == **candidate && fit(status))
            {
                return false;
            }
            if request.leader.as_deref() == Some(me) {
                return !known().any(|(_, status)| fit(status));
            }
        } else if self.store().optime().saturating_sub(position) > self.dynamic.maximum_lag_bytes {
            return false;
        }
        if self.dynamic.check_timeline
            && self.dynamic.standby.is_none()
            && self.history_timeline().is_some_and(|last| u64::from(timeline) < last)
        {
            return false;
        }
        let former = request.as_ref().and_then(|r| r.leader.as_deref());
        let recorded = self.store().sync_state().map(|(leader, _)| leader.to_owned());
        let sync = self.dynamic.synchronous == SyncMode::On;
        for (name, status) in known() {
            if former == Some(&**name) || status.nofailover {
                continue;
            }
            if status.primary {
                return false;
            }
            if !status.running || (sync && recorded.as_deref() == Some(&**name)) {
                continue;
            }
            let better = status.priority > self.config.failover_priority
                && self.version() >= Version(3, 2, 0);
            if status.position > position || (status.position == position && better) {
                return false;
            }
        }
        true
    }

    /// Asks the others whether anybody could take over from this leader.
    pub(super) fn ask_others(&mut self, cx: &mut Cx<'_>, why: Possible) {
        let request = self.store().failover();
        let candidate = request.as_ref().and_then(|r| r.candidate.clone());
        let mut others = self.rivals_for(request.as_ref());
        others.retain(|(name, ..)| candidate.as_deref().is_none_or(|c| c == &**name));
        let asked = self.probe(cx, &others);
        self.begin_probes(cx, asked, Then::Possible(why));
        self.if_all_probed(cx);
    }

    /// In synchronous mode only its standbys, unless a failover (without a leader) was asked for.
    fn rivals_for(&self, request: Option<&FailoverRequest>) -> Vec<(Arc<str>, String, u16)> {
        let any = request.is_some_and(|r| r.leader.is_none());
        if self.dynamic.synchronous != SyncMode::On || !any {
            return self.rivals();
        }
        let all = self.store().members().filter(|p| p.meta.name != self.config.name);
        all.filter_map(|p| {
            let (host, port) = Dcs::rest_of(p)?;
            Some((p.meta.name.clone(), host, port))
        })
        .collect()
    }

    fn anybody(
        &self,
        cx: &Cx<'_>,
        answers: &[(Arc<str>, Option<Status>)],
        request: Option<&FailoverRequest>,
    ) -> bool {
        let (end, timeline) = self.look(cx).map_or((0, 0), |d| (d.end, d.timeline));
        let candidate = request.and_then(|r| r.candidate.as_deref());
        answers.iter().filter_map(|(n, s)| Some((n, s.as_ref()?))).any(|(name, status)| {
            candidate.is_none_or(|c| c == &**name)
                && status.running
                && !status.nofailover
                && end.saturating_sub(status.position) <= self.dynamic.maximum_lag_bytes
                && (!self.dynamic.check_timeline || status.timeline >= timeline)
        })
    }

    /// Clears the request for a switchover or failover.
    pub(super) fn clear_failover(&mut self, cx: &mut Cx<'_>, guard: bool) {
        let mut map = serde_json::Map::new();
        for key in ["leader", "member", "scheduled_at"] {
            map.insert(key.into(), serde_json::Value::Null);
        }
        let request = self.store().write(Slot::Failover, map, None, guard);
        self.submit(cx, request, Side::Patch);
    }
}
