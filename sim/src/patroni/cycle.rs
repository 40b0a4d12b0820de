//! One turn of the loop: the decision table of patroni.md §2.2, from top to bottom. What has to wait for the
//! store is continued in [`Member::proceed`].

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::kube::{Content, Request, Response};
use crate::patroni::action::Kind;
use crate::patroni::config::{Dynamic, Version};
use crate::patroni::dcs::Slot;
use crate::patroni::demote::Mode;
use crate::patroni::durations;
use crate::patroni::follow::RewindState;
use crate::patroni::member::{Member, Role, Word};
use crate::patroni::waits::{Alarm, Doing, Possible, Released, Renew, Side, Stage, Then};
use crate::postgres::data::Control;
use crate::postgres::parameters;
use crate::postgres::server::State;
use crate::time::{Span, Time};
use crate::world::Cx;

/// A time as Patroni writes it.
fn stamp(now: Time) -> String {
    now.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// Whether an `initialize` annotation is a system identifier.
fn plausible(id: Option<&str>) -> Option<u64> {
    id.filter(|i| i.len() >= 10)?.parse().ok()
}

impl Member {
    /// Runs the loop once.
    pub(super) fn cycle(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.hung_until = None;
        // A turn that its timer called keeps the rhythm; one that an event called begins a new one (§1.4).
        let woken = std::mem::take(&mut self.wake) || now > self.next_at + Span::ms(500);
        self.base = if woken { now } else { self.base + self.dynamic.loop_wait };
        if !self.store().readable() {
            self.next_at = now + Span::s(5);
            return self.tick_by(cx, self.next_at);
        }
        self.last_loop = now;
        self.refresh_dynamic(cx);
        if !self.holds_key(now) {
            self.leader_expiry = None;
        }
        if !self.dynamic.pause && self.was_paused {
            self.rewind = RewindState::Idle;
        }
        self.was_paused = self.dynamic.pause;
        self.pg.drop_disconnected(|ticket| cx.awaited(ticket));
        self.heal(cx);
    }

    /// A6, A7: the holder of the key repairs the configuration object.
    fn heal(&mut self, cx: &mut Cx<'_>) {
        if self.holds_key(cx.now()) && !self.bootstrapping {
            let id = self.look(cx).map(|d| d.system_id);
            let missing = plausible(self.store().annotation(Slot::Config, "initialize")).is_none();
            let mut annotations = Map::new();
            if let (true, Some(id)) = (missing, id) {
                annotations.insert("initialize".into(), id.to_string().into());
            } else if self.store().annotation(Slot::Config, "config").is_none() {
                annotations.insert("config".into(), self.document().into());
            }
            if !annotations.is_empty() {
                let request = self.store().write(Slot::Config, annotations, None, false);
                return self.begin(cx, request, Then::Heal);
            }
        }
        self.step_action(cx);
    }

    /// The dynamic configuration as this member knows it.
    pub(super) fn document(&self) -> String {
        if self.dynamic_text.is_empty() {
            Value::Object((*self.config.bootstrap_dcs).clone()).to_string()
        } else {
            self.dynamic_text.to_string()
        }
    }

    /// B: something runs beside the loop.
    fn step_action(&mut self, cx: &mut Cx<'_>) {
        if self.action.is_none() {
            return self.step_starting(cx);
        }
        if self.holds_key(cx.now()) {
            self.renew(cx, Renew::Busy);
        } else {
            self.busy_without_key(cx);
        }
    }

    /// B2, B3, B4.
    fn busy_without_key(&mut self, cx: &mut Cx<'_>) {
        if !self.bootstrapping && !self.dynamic.pause {
            self.cancel_promotion();
            if self.role == Role::Primary && self.pg.state != State::Stopping {
                return self.demote(cx, Mode::ImmediateNoLock);
            }
        }
        self.finish(cx);
    }

    /// C: PostgreSQL is starting.
    fn step_starting(&mut self, cx: &mut Cx<'_>) {
        if self.word == Word::Running && self.pg.state == State::Starting {
            // Nobody told it to start, but it rejects connections (`_cluster_info_state_get`).
            self.word = Word::Starting;
            self.start_deadline = Some(cx.now() + self.dynamic.primary_start_timeout);
        }
        if self.word == Word::Starting
            && self.pg.state == State::Starting
            && !self.dynamic.pause
            && self.holds_key(cx.now())
        {
            return self.renew(cx, Renew::Starting);
        }
        self.step_bootstrap(cx);
    }

    /// D: a bootstrap ends.
    fn step_bootstrap(&mut self, cx: &mut Cx<'_>) {
        if !self.bootstrapping {
            return self.step_recovering(cx);
        }
        if self.bootstrap_failed || !self.pg.up() {
            return self.bootstrap_failed(cx);
        }
        self.finish_bootstrap(cx, 0);
    }

    /// D4, one write after the other.
    fn finish_bootstrap(&mut self, cx: &mut Cx<'_>, done: u8) {
        let text = |key: &str, value: String| {
            let mut map = Map::new();
            map.insert(key.into(), value.into());
            map
        };
        match done {
            0 => {
                let id = self.look(cx).map_or(0, |d| d.system_id);
                let write = self.store().write(
                    Slot::Config,
                    text("initialize", id.to_string()),
                    None,
                    false,
                );
                self.begin(cx, write, Then::Finish(1));
            }
            1 => {
                let document = self.document();
                let write = self.store().write(Slot::Config, text("config", document), None, false);
                self.begin(cx, write, Then::Finish(2));
            }
            2 => {
                let request = self.acquire_request(cx);
                self.begin(cx, request, Then::Finish(3));
            }
            _ => {
                self.bootstrapping = false;
                self.called_back = true;
                self.refresh_dynamic(cx);
                if self.dynamic.standby.is_none() {
                    self.set_sync_for_promotion(cx);
                }
                self.won_key(cx);
                self.wake = true;
                self.finish(cx);
            }
        }
    }

    pub(super) fn won_key(&mut self, cx: &mut Cx<'_>) {
        self.leader_expiry = Some(cx.now() + self.dynamic.ttl);
        let timeline = self.look(cx).map_or(0, |d| d.timeline);
        self.say(cx, format!("is the leader (timeline {timeline})"));
    }

    /// E: an attempt to recover was made.
    fn step_recovering(&mut self, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.recovering) && !self.rewind.pending() {
            if self.pg.up() {
                self.crash_recovered = false;
            } else if self.pg.state == State::Down {
                if !self.holds_key(cx.now()) {
                    // "failed to start postgres": the next loop tries again (`post_recover`, Patroni 4.1.4).
                    return self.finish(cx);
                }
                self.role = Role::Demoted;
                return self.release(cx, Released::Nothing);
            }
        }
        self.step_data(cx);
    }

    /// F: the data directory.
    fn step_data(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some((broken, id)) = self.look(cx).map(|d| (d.broken, d.system_id)) else {
            self.role = Role::Uninitialized;
            if self.pg.state != State::Down {
                self.stop_now(cx, false, false);
                self.word = Word::Stopped;
            }
            if self.holds_key(now) {
                // The turn ends (`ha.py` 4.1, `_run_cycle`); the next one releases again if that failed.
                return self.release(cx, Released::Nothing);
            }
            return self.bootstrap(cx);
        };
        if broken {
            return self.finish(cx);
        }
        let initialize = plausible(self.store().annotation(Slot::Config, "initialize"));
        match initialize {
            Some(known) if known != id => {
                if self.dynamic.pause {
                    if self.holds_key(now) {
                        return self.release(cx, Released::Nothing);
                    }
                } else {
                    return self.foreign_data(cx);
                }
            }
            None if self.leader(now).is_none() && !self.dynamic.pause && !self.called_back => {
                if self.pg.state == State::Standby {
                    return cx.exit(1);
                }
                let mut map = Map::new();
                map.insert("initialize".into(), id.to_string().into());
                let request = self.store().write(Slot::Config, map, None, true);
                return self.begin(cx, request, Then::Adopt);
            }
            _ => {}
        }
        self.step_down(cx);
    }

    /// F3: somebody else's data.
    fn foreign_data(&mut self, cx: &mut Cx<'_>) {
        self.say(cx, "exits: its system identifier is not the cluster's");
        let primary = self.pg.primary();
        self.stop_now(cx, primary, true);
        self.word = Word::Stopped;
        if self.holds_key(cx.now()) {
            self.release(cx, Released::Exit(1));
        } else {
            self.touch(cx);
            self.alarm(cx, durations::EXIT, Alarm::Exit(1));
            self.doing = Some(idle_for_ever(cx.now()));
        }
    }

    /// G: PostgreSQL is down.
    fn step_down(&mut self, cx: &mut Cx<'_>) {
        if self.pg.state != State::Down {
            return self.step_leader(cx);
        }
        if self.dynamic.pause {
            if self.holds_key(cx.now()) {
                self.word = Word::Stopped;
                return self.release(cx, Released::Nothing);
            }
            return self.finish(cx);
        }
        if matches!(self.word, Word::Running | Word::Starting) {
            self.word = Word::Crashed;
        }
        if self.holds_key(cx.now()) {
            self.renew(cx, Renew::Recover);
        } else {
            self.recover(cx, false);
        }
    }

    /// 2.4, from its second rule on.
    fn recover(&mut self, cx: &mut Cx<'_>, mine: bool) {
        let Some((control, signal)) = self.look(cx).map(|d| (d.control, d.standby_signal)) else {
            return self.finish(cx);
        };
        let unclean = control == Control::InProduction;
        let primary_data = matches!(control, Control::InProduction | Control::ShutDown);
        if mine
            && self.version() >= Version(3, 0, 4)
            && self.dynamic.primary_start_timeout > Span::ZERO
            && primary_data
            && self.word == Word::Crashed
            && self.role == Role::Primary
            && !signal
        {
            self.recovering = true;
            self.say(cx, "starts again after a crash");
            return self.act(cx, Kind::StartPrimary);
        }
        let no_leader = self.leader(cx.now()).is_none();
        if unclean && !signal && !self.crash_recovered && (no_leader || self.can_rewind()) {
            self.crash_recovered = true;
            return self.act(cx, Kind::CrashRecovery);
        }
        if mine && self.dynamic.standby.is_none() {
            self.recovering = true;
            return self.act(cx, Kind::StartStandby);
        }
        self.arm_rewind();
        self.follow(cx);
    }

    /// I, J: with or without a leader.
    fn step_leader(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        match self.leader(now) {
            None => self.contend(cx),
            Some(leader) if leader == &*self.config.name => {
                if self.dynamic.pause && !self.pg.primary() && self.dynamic.standby.is_none() {
                    let me = Some(&*self.config.name);
                    let wanted =
                        self.store().failover().is_some_and(|f| f.candidate.as_deref() == me);
                    if wanted {
                        return self.finish(cx);
                    }
                    return self.release(cx, Released::Nothing);
                }
                self.renew(cx, Renew::Healthy);
            }
            Some(_) => self.follow(cx),
        }
    }

    /// J2 after the renewal: requests, then the primary's duties.
    fn healthy(&mut self, cx: &mut Cx<'_>) {
        if self.manual_failover(cx) {
            return;
        }
        self.duties(cx);
    }

    /// What the holder of the key sees to.
    pub(super) fn duties(&mut self, cx: &mut Cx<'_>) {
        if self.dynamic.standby.is_some() {
            return self.follow(cx);
        }
        if self.pg.primary() {
            if self.role != Role::Primary && self.action.is_none() {
                self.role = Role::Primary;
            }
            if self.synchronize(cx) {
                return;
            }
            self.write_history(cx);
            return self.finish(cx);
        }
        if self.pg.state == State::Standby && self.action.is_none() {
            return self.promote(cx);
        }
        self.finish(cx);
    }

    /// 2.6-5: in synchronous mode the state is written first.
    fn promote(&mut self, cx: &mut Cx<'_>) {
        if self.dynamic.synchronous == super::config::SyncMode::On {
            let request = self.sync_before_promotion();
            return self.begin(cx, request, Then::SyncBeforePromote);
        }
        self.act(cx, Kind::Promote);
    }

    /// Renews the key.
    fn renew(&mut self, cx: &mut Cx<'_>, why: Renew) {
        let request = self.renew_request(cx, why != Renew::Busy);
        self.begin(cx, request, Then::Renew { why, stage: Stage::First });
    }

    fn renew_request(&self, cx: &Cx<'_>, with_position: bool) -> Request {
        let store = self.store();
        let mut map = self.lease(cx.clock());
        for key in ["acquireTime", "transitions"] {
            if let Some(kept) = store.annotation(Slot::Leader, key) {
                map.insert(key.into(), kept.into());
            }
        }
        if with_position && let Some(data) = self.look(cx) {
            map.insert("optime".into(), data.end.to_string().into());
        }
        let subsets = (!self.subset_is_mine()).then(|| self.subset());
        store.write(Slot::Leader, map, subsets, true)
    }

    fn lease(&self, now: Time) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("leader".into(), (*self.config.name).into());
        map.insert("ttl".into(), (self.dynamic.ttl.0 / 1_000_000).to_string().into());
        map.insert("renewTime".into(), stamp(now).into());
        map
    }

    fn subset_is_mine(&self) -> bool {
        let subsets =
            self.store().object(Slot::Leader).and_then(|o| o.at(&["subsets"])?.as_array());
        let Some([subset]) = subsets.map(Vec::as_slice) else {
            return false;
        };
        let addresses = subset.get("addresses").and_then(Value::as_array);
        matches!(addresses.map(Vec::as_slice), Some([one])
            if one.get("ip").and_then(Value::as_str) == Some(&*self.config.pod_ip))
    }

    fn subset(&self) -> Value {
        let mut address = json!({
            "ip": *self.config.pod_ip,
            "targetRef": {"kind": "Pod", "namespace": *self.config.namespace, "name": *self.config.name},
        });
        if let Some(pod) = self.store().pod(&self.config.name) {
            address["targetRef"]["uid"] = (*pod.meta.uid).into();
            for (key, path) in [("nodeName", "nodeName"), ("hostname", "hostname")] {
                if let Some(value) = pod.str_at(&["spec", path]) {
                    address[key] = value.into();
                }
            }
        }
        json!([{"addresses": [address], "ports": self.config.ports}])
    }

    /// The write that takes the key.
    pub(super) fn acquire_request(&self, cx: &Cx<'_>) -> Request {
        let store = self.store();
        let now = cx.clock();
        let mut map = self.lease(now);
        let same = store.recorded_leader() == Some(&*self.config.name);
        // Who takes again what it had lost by time alone has led since it first took it (`attempt_to_acquire_leader`).
        let kept = store.annotation(Slot::Leader, "acquireTime").filter(|_| same);
        map.insert("acquireTime".into(), kept.map_or_else(|| stamp(now).into(), Into::into));
        let before =
            store.annotation(Slot::Leader, "transitions").and_then(|t| t.parse::<u64>().ok());
        let transitions = match before {
            None if store.object(Slot::Leader).is_none_or(|o| o.annotation("leader").is_none()) => {
                0
            }
            before => before.unwrap_or(0) + u64::from(!same),
        };
        map.insert("transitions".into(), transitions.to_string().into());
        // Before 3.2 the address came only with the first renewal (§1.2).
        let subsets = if self.version() >= Version(3, 2, 0) { self.subset() } else { json!([]) };
        store.write(Slot::Leader, map, Some(subsets), true)
    }

    /// The write that gives the key away.
    pub(super) fn release_request(&self, cx: &Cx<'_>) -> Request {
        let mut map = Map::new();
        map.insert("leader".into(), Value::Null);
        if let Some(data) = self.look(cx) {
            map.insert("optime".into(), data.end.to_string().into());
        }
        self.store().write(Slot::Leader, map, Some(json!([])), true)
    }

    pub(super) fn release(&mut self, cx: &mut Cx<'_>, then: Released) {
        let request = self.release_request(cx);
        self.leader_expiry = None;
        self.begin(cx, request, Then::Release(then));
    }

    /// The store answered: the loop goes on where it waited.
    pub(super) fn proceed(&mut self, cx: &mut Cx<'_>, then: Then, response: Response) {
        let ok = response.is_ok();
        match then {
            Then::Heal if ok => self.heal(cx),
            Then::Heal => self.step_action(cx),
            Then::Renew { why, stage } => self.renewed(cx, why, stage, response),
            Then::Initialize if ok => self.initialize_won(cx),
            Then::Adopt if ok => self.step_down(cx),
            // Whether a write of them was refused is not asked; the next loop sees who has the key.
            Then::Finish(stage) => self.finish_bootstrap(cx, stage),
            Then::Acquire if ok => self.acquired(cx),
            Then::Acquire => self.follow(cx),
            Then::Release(after) => self.released(cx, after),
            Then::Sync => {
                self.wake = ok;
                self.write_history(cx);
                self.finish(cx);
            }
            Then::SyncBeforePromote if ok => {
                self.set_sync_for_promotion(cx);
                self.act(cx, Kind::Promote);
            }
            _ => self.finish(cx),
        }
    }

    fn renewed(&mut self, cx: &mut Cx<'_>, why: Renew, stage: Stage, response: Response) {
        let conflict = matches!(&response, Err(status) if status.code == 409);
        match (stage, response.map(|r| r.content)) {
            (Stage::Read, Ok(Content::Object(object))) => {
                // The same holder with a newer version: somebody changed labels; write once more (§1.3).
                if object.annotation("leader") == Some(&*self.config.name) {
                    let request = self.renew_request(cx, why != Renew::Busy);
                    return self.begin(cx, request, Then::Renew { why, stage: Stage::Again });
                }
                self.renewal_failed(cx, why);
            }
            (Stage::First | Stage::Again, Ok(_)) => {
                self.leader_expiry = Some(cx.now() + self.dynamic.ttl);
                self.renewal_done(cx, why);
            }
            (Stage::First, Err(_)) if conflict => {
                let request = self.store().read(Slot::Leader);
                self.begin(cx, request, Then::Renew { why, stage: Stage::Read });
            }
            _ => self.renewal_failed(cx, why),
        }
    }

    fn renewal_done(&mut self, cx: &mut Cx<'_>, why: Renew) {
        match why {
            Renew::Busy => self.finish(cx),
            Renew::Healthy => self.healthy(cx),
            Renew::Starting => {
                if self.start_deadline.is_some_and(|d| cx.now() >= d) {
                    return self.ask_others(cx, Possible::Timeout);
                }
                if !self.manual_failover(cx) {
                    self.finish(cx);
                }
            }
            Renew::Recover => {
                if self.dynamic.primary_start_timeout == Span::ZERO && self.word == Word::Crashed {
                    return self.ask_others(cx, Possible::Crash);
                }
                self.recover(cx, true);
            }
        }
    }

    /// J3, C1, B2, B3: the key is lost to a conflict.
    fn renewal_failed(&mut self, cx: &mut Cx<'_>, why: Renew) {
        self.lost_leases += 1;
        self.leader_expiry = None;
        match why {
            Renew::Busy => self.busy_without_key(cx),
            Renew::Recover => self.recover(cx, false),
            Renew::Healthy | Renew::Starting => {
                if self.dynamic.pause || !(self.pg.primary() || self.pg.state == State::Starting) {
                    return self.finish(cx);
                }
                self.demote(cx, Mode::ImmediateNoLock);
            }
        }
    }

    /// K: the store can't be reached.
    pub(super) fn store_failed(&mut self, cx: &mut Cx<'_>) {
        if !self.dynamic.pause && self.pg.primary() {
            if self.ask_failsafe(cx) {
                return;
            }
            return self.demote(cx, Mode::Offline);
        }
        self.schedule(cx);
    }

    fn released(&mut self, cx: &mut Cx<'_>, after: Released) {
        match after {
            Released::Nothing => self.finish(cx),
            Released::Exit(code) => {
                self.touch(cx);
                self.alarm(cx, durations::EXIT, Alarm::Exit(code));
                self.doing = Some(idle_for_ever(cx.now()));
            }
        }
    }

    /// What was asked about the others is known.
    pub(super) fn possible(&mut self, cx: &mut Cx<'_>, why: Possible, possible: bool) {
        match why {
            Possible::Switchover if possible => self.begin_switchover(cx),
            Possible::Switchover => {
                self.say(cx, "refuses the switchover: no candidate is fit");
                self.clear_failover(cx, true);
                self.duties(cx);
            }
            Possible::Crash if possible => self.demote(cx, Mode::Immediate),
            Possible::Crash => self.recover(cx, true),
            Possible::Timeout if possible => self.demote(cx, Mode::Immediate),
            Possible::Timeout => self.finish(cx),
        }
    }

    /// The end of a turn: publishes the member, takes in a changed configuration, and sleeps.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>) {
        self.doing = None;
        if self.pg.up() {
            self.called_back = true;
            self.resume_replay(cx);
        }
        self.touch(cx);
        self.schedule(cx);
    }

    pub(super) fn schedule(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let leader = self.leader(now);
        let other = leader.is_some_and(|l| l != &*self.config.name);
        let extra =
            if other || self.version() <= Version(3, 0, 3) { Span::ms(500) } else { Span::ZERO };
        let next = self.base + self.dynamic.loop_wait + extra;
        self.next_at = if self.wake { now } else { next.max(now) };
        self.tick_by(cx, self.next_at);
    }

    /// Reads the dynamic configuration if it changed.
    fn refresh_dynamic(&mut self, cx: &mut Cx<'_>) {
        let Some(object) = self.store().object(Slot::Config) else {
            return;
        };
        if object.meta.resource_version == self.dynamic_rv {
            return;
        }
        let version = object.meta.resource_version;
        let text = object.annotation("config").map(Arc::<str>::from);
        self.dynamic_rv = version;
        let Some(text) = text.filter(|t| **t != *self.dynamic_text) else {
            return;
        };
        let Some(dynamic) = Dynamic::parse(&text, self.version()) else {
            return;
        };
        if let Some(data) = self.data(cx) {
            data.dynamic = Some(text.clone());
        }
        self.dynamic_text = text;
        let changed = dynamic.parameters != self.dynamic.parameters;
        self.dynamic = Arc::new(dynamic);
        if changed && self.pg.up() {
            self.alarm(cx, durations::RELOAD, Alarm::Reloaded);
        }
    }

    /// PostgreSQL was told the changed parameters, and says which need a restart.
    pub(super) fn reloaded(&mut self, cx: &mut Cx<'_>) {
        if !self.pg.up() {
            return;
        }
        let wanted = &self.dynamic.parameters;
        let pending = parameters::pending_restart(&self.pg.running, &self.pg.floors, wanted);
        if pending != self.pending_restart {
            self.pending_restart = pending;
            self.touch(cx);
        }
    }

    /// Appends to the history after a promotion; nothing to do on timeline 1.
    fn write_history(&mut self, cx: &mut Cx<'_>) {
        let Some((timeline, ancestors)) = self.look(cx).map(|d| (d.timeline, d.history.clone()))
        else {
            return;
        };
        if self.history_written == timeline {
            return;
        }
        self.history_written = timeline;
        let old = self.store().annotation(Slot::Config, "history");
        let mut list: Vec<Value> =
            old.and_then(|h| serde_json::from_str(h).ok()).unwrap_or_default();
        let last = list.last().and_then(|l| l.get(0)?.as_u64());
        let Some(newest) = ancestors.last() else {
            return;
        };
        if last == Some(u64::from(newest.timeline)) {
            return;
        }
        list.retain(|l| l.get(0).and_then(Value::as_u64) < Some(u64::from(newest.timeline)));
        list.push(json!([
            newest.timeline,
            newest.switch,
            "no recovery target specified",
            stamp(cx.clock()),
            *self.config.name
        ]));
        let mut map = Map::new();
        map.insert("history".into(), Value::Array(list).to_string().into());
        let request = self.store().write(Slot::Config, map, None, false);
        self.submit(cx, request, Side::Patch);
    }
}

/// A wait that only the end of the process ends.
fn idle_for_ever(now: Time) -> Doing {
    Doing::since(now, Then::Nap)
}
