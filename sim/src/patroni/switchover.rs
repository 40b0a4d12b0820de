//! Requested switchovers and failovers: REST, patronictl, and the leader's part (patroni.md §3.1).

use std::sync::Arc;

use ivory_core::read::Output;
use serde_json::Map;

use crate::kube::Response;
use crate::patroni::config::{SyncMode, Version};
use crate::patroni::dcs::{Dcs, FailoverRequest, Slot};
use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::rest::{RestReply, RestRequest};
use crate::patroni::waits::{Alarm, Possible, Side, Talk};
use crate::postgres::StreamReply;
use crate::time::Span;
use crate::world::call::{Call, CallError, Reply};
use crate::world::{Cx, Ticket};

/// What patronictl says when nobody's REST API answered and it wrote the request itself.
const FELL_BACK: &str = "Could not failover using Patroni api, falling back to DCS";

/// The output of a program that succeeded.
pub(super) fn printed(text: impl Into<String>) -> Output {
    Output { exit: 0, stdout: text.into().into(), stderr: "".into() }
}

/// The output of a program that failed.
pub(super) fn failed(exit: i32, text: impl Into<String>) -> Output {
    Output { exit, stdout: "".into(), stderr: text.into().into() }
}

/// patronictl ends with a traceback where a member's REST API can't be reached (4.1: nothing catches it).
pub(super) fn unreachable(host: &str) -> Output {
    failed(1, format!("urllib3.exceptions.MaxRetryError: HTTPConnectionPool(host='{host}')"))
}

fn word(request: &FailoverRequest) -> &'static str {
    if request.leader.is_some() { "Switchover" } else { "Failover" }
}

impl Member {
    /// H: the holder of the key acts on a request. True when it took over the turn.
    pub(super) fn manual_failover(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(request) = self.store().failover() else {
            return false;
        };
        if self.action.is_some() || self.dynamic.pause && !self.pg.primary() {
            return false;
        }
        let me = &*self.config.name;
        let stale = request.leader.as_deref().is_some_and(|l| l != me)
            || request.candidate.as_deref() == Some(me)
            || (request.candidate.is_none() && self.dynamic.pause);
        if stale {
            self.clear_failover(cx, true);
            return false;
        }
        self.ask_others(cx, Possible::Switchover);
        true
    }

    fn answer_rest(&self, cx: &mut Cx<'_>, asker: Ticket, code: u16, text: impl Into<String>) {
        cx.reply(asker, Reply::Rest(RestReply::Code(code, text.into())));
    }

    /// `POST /switchover` and `/failover`.
    pub(super) fn rest_switchover(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        request: FailoverRequest,
    ) {
        if let Some((code, text)) = self.refusal(cx, &request) {
            return self.answer_rest(cx, asker, code, text);
        }
        let mut others: Vec<(Arc<str>, String, u16)> = Vec::new();
        for pod in self.store().members() {
            let name = &pod.meta.name;
            let leads = self.store().leader(cx.now()) == Some(&**name);
            let wanted = request.candidate.as_deref().is_none_or(|c| c == &**name);
            if let (false, true, Some((host, port))) = (leads, wanted, Dcs::rest_of(pod)) {
                others.push((name.clone(), host, port));
            }
        }
        let mut open = 0;
        for (name, host, port) in others {
            let talk = Talk::Candidates { request: request.clone() };
            if *name == *self.config.name {
                open += 1;
                let status = Ok(Reply::Rest(RestReply::Status(self.status(cx))));
                self.talks.entry(asker).or_insert((0, false)).0 += 1;
                self.talk_reply(cx, asker, talk, status);
            } else if let Some(to) = cx.resolve(&self.config.namespace, &host, port) {
                open += 1;
                self.talks.entry(asker).or_insert((0, false)).0 += 1;
                self.ask(
                    cx,
                    to,
                    Call::Rest(RestRequest::Status),
                    durations::PROBE,
                    Side::Talk(asker, talk),
                );
            }
        }
        if open == 0 {
            let text = format!(
                "{} failed: no good candidates have been found",
                word(&request).to_lowercase()
            );
            self.answer_rest(cx, asker, 412, text);
        }
    }

    /// The checks that need nobody else.
    fn refusal(&self, cx: &Cx<'_>, request: &FailoverRequest) -> Option<(u16, String)> {
        let leader = self.store().leader(cx.now());
        let member = |name: &str| self.store().members().any(|p| &*p.meta.name == name);
        let action = word(request);
        let candidate = request.candidate.as_deref();
        match (&request.leader, candidate) {
            (None, None) => {
                return Some((
                    400,
                    "Failover could be performed only to a specific candidate".into(),
                ));
            }
            (_, None) if self.dynamic.pause => {
                return Some((
                    400,
                    format!("{action} is possible only to a specific candidate in a paused state"),
                ));
            }
            (Some(leader), Some(candidate))
                if leader == candidate && self.version() >= Version(3, 2, 0) =>
            {
                return Some((400, format!("{action} target and source are the same")));
            }
            _ => {}
        }
        if request.leader.is_some() && request.leader.as_deref() != leader {
            return Some((412, "leader name does not match".into()));
        }
        if let Some(candidate) = candidate {
            if !member(candidate) {
                return Some((412, "candidate does not exists".into()));
            }
            let sync = self.dynamic.synchronous == SyncMode::On && request.leader.is_some();
            let listed = self.store().sync_state().is_some_and(|(_, s)| s.contains(&candidate));
            if sync && !listed {
                return Some((412, "candidate name does not match with sync_standby".into()));
            }
        } else if self.store().members().filter(|p| Some(&*p.meta.name) != leader).count() == 0 {
            return Some((
                412,
                format!(
                    "{} is not possible: cluster does not have members except leader",
                    action.to_lowercase()
                ),
            ));
        }
        None
    }

    fn write_failover(&mut self, cx: &mut Cx<'_>, request: &FailoverRequest, side: Side) {
        let mut map = Map::new();
        for (key, value) in [("leader", &request.leader), ("member", &request.candidate)] {
            if let Some(value) = value {
                map.insert(key.into(), value.as_str().into());
            }
        }
        let write = self.store().write(Slot::Failover, map, None, true);
        self.submit(cx, write, side);
    }

    /// A reply for a conversation.
    pub(super) fn talk_reply(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        talk: Talk,
        reply: Result<Reply, CallError>,
    ) {
        match talk {
            Talk::Candidates { request } => {
                let good = matches!(&reply, Ok(Reply::Rest(RestReply::Status(s))) if s.running && !s.nofailover);
                let Some((open, any)) = self.talks.get_mut(&asker) else {
                    return;
                };
                *open -= 1;
                *any |= good;
                let (open, any) = (*open, *any);
                if any {
                    self.talks.remove(&asker);
                    let old = self.store().recorded_leader().unwrap_or_default().to_owned();
                    let talk = Talk::FailoverWritten { request: request.clone(), old };
                    self.write_failover(cx, &request, Side::Talk(asker, talk));
                } else if open == 0 {
                    self.talks.remove(&asker);
                    let text = format!(
                        "{} failed: no good candidates have been found",
                        word(&request).to_lowercase()
                    );
                    self.answer_rest(cx, asker, 412, text);
                }
            }
            Talk::CtlSwitchover { request } => match reply {
                Ok(Reply::Rest(RestReply::Code(200 | 202, text))) => {
                    cx.reply(asker, Reply::Exec(printed(text)))
                }
                Ok(Reply::Rest(RestReply::Code(code, text))) => {
                    let text = format!("{} failed, details: {code}, {text}", word(&request));
                    cx.reply(asker, Reply::Exec(printed(text)));
                }
                _ => self.write_failover(cx, &request, Side::Talk(asker, Talk::CtlWritten)),
            },
            Talk::CtlRestart => {
                let output = match reply {
                    Ok(Reply::Rest(RestReply::Code(200, _))) => {
                        printed("Success: restart on member")
                    }
                    Ok(Reply::Rest(RestReply::Code(code, text))) => {
                        printed(format!("Failed: restart for member, status code={code}, ({text})"))
                    }
                    _ => unreachable("the member"),
                };
                if let Some((open, _)) = self.talks.get_mut(&asker) {
                    *open -= 1;
                    if *open == 0 {
                        self.talks.remove(&asker);
                        cx.reply(asker, Reply::Exec(output));
                    }
                }
            }
            Talk::Source => {
                let source = match reply {
                    Ok(Reply::Stream(StreamReply::Identity(it))) if it.in_recovery => "recovery",
                    Ok(Reply::Stream(StreamReply::Identity(_))) => "writable",
                    _ => "unknown",
                };
                self.tell_source(cx, asker, source);
            }
            Talk::Stanza => self.stanza_reply(cx, asker, reply),
            Talk::Wal(search) => self.wal_found(cx, asker, search, reply),
            Talk::Info(repo) => self.info_reply(cx, asker, repo, reply),
            Talk::FailoverWritten { .. }
            | Talk::ConfigWritten
            | Talk::CtlWritten
            | Talk::CtlConfig => {}
        }
    }

    /// A conversation's write is answered.
    pub(super) fn talk_written(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        talk: Talk,
        response: &Response,
    ) {
        let ok = response.is_ok();
        match talk {
            Talk::FailoverWritten { request, old } if ok => {
                self.wake(cx);
                let rounds = 2 * (self.dynamic.loop_wait.0 / 1_000_000).max(10);
                let left = u32::try_from(rounds).unwrap_or(20);
                self.alarm(cx, Span::s(1), Alarm::Poll { asker, request, old, left });
            }
            Talk::FailoverWritten { .. } => {
                self.answer_rest(cx, asker, 503, "failed to write failover key into DCS");
            }
            Talk::ConfigWritten if ok => self.answer_rest(cx, asker, 200, self.document()),
            Talk::ConfigWritten => self.answer_rest(cx, asker, 409, "conflict"),
            Talk::CtlWritten => cx.reply(asker, Reply::Exec(printed(FELL_BACK))),
            Talk::CtlConfig if ok => {
                cx.reply(asker, Reply::Exec(printed("Configuration changed\n")))
            }
            Talk::CtlConfig => {
                let text = "Error: Config modification aborted due to concurrent changes";
                cx.reply(asker, Reply::Exec(failed(1, text)));
            }
            _ => {}
        }
    }

    /// Once a second: whether somebody else leads now.
    pub(super) fn poll(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        request: FailoverRequest,
        old: String,
        left: u32,
    ) {
        let leader = self.store().leader(cx.now()).map(str::to_owned);
        let verb = if request.leader.is_some() { "switched" } else { "failed" };
        match leader {
            Some(new) if new != old => {
                let text = match &request.candidate {
                    Some(candidate) if *candidate != new => {
                        let verb = if request.leader.is_some() { "Switched" } else { "Failed" };
                        format!("{verb} over to \"{new}\" instead of \"{candidate}\"")
                    }
                    _ => format!("Successfully {verb} over to \"{new}\""),
                };
                return self.answer_rest(cx, asker, 200, text);
            }
            Some(_) if self.store().failover().is_none() => {
                return self.answer_rest(cx, asker, 503, format!("{} failed", word(&request)));
            }
            _ => {}
        }
        if left == 0 {
            return self.answer_rest(cx, asker, 503, format!("{} status unknown", word(&request)));
        }
        self.alarm(cx, Span::s(1), Alarm::Poll { asker, request, old, left: left - 1 });
    }

    /// `patronictl switchover|failover --force`, which believes the leader's record whatever its age.
    pub(super) fn ctl_switchover(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Ticket,
        leader: &str,
        candidate: Option<&str>,
        failover: bool,
    ) {
        let recorded = self.store().recorded_leader().map(str::to_owned);
        let say = |cx: &mut Cx<'_>, text: String| cx.reply(asker, Reply::Exec(failed(1, text)));
        let candidate = candidate.filter(|c| !c.is_empty());
        if !failover {
            match &recorded {
                None => return say(cx, "Error: This cluster has no leader".into()),
                Some(recorded) if !leader.is_empty() && recorded != leader => {
                    return say(
                        cx,
                        format!(
                            "Error: Member {leader} is not the leader of cluster {}",
                            self.config.scope
                        ),
                    );
                }
                _ => {}
            }
        } else if candidate.is_none() {
            return say(
                cx,
                "Error: Failover could be performed only to a specific candidate".into(),
            );
        }
        let is_leader = |name: &str| recorded.as_deref() == Some(name);
        if let Some(candidate) = candidate {
            if is_leader(candidate) {
                return say(
                    cx,
                    format!(
                        "Error: Member {candidate} is already the leader of cluster {}",
                        self.config.scope
                    ),
                );
            }
            if !self.store().members().any(|p| &*p.meta.name == candidate) {
                return say(
                    cx,
                    format!(
                        "Error: Member {candidate} does not exist in cluster {}",
                        self.config.scope
                    ),
                );
            }
        } else if self.store().members().all(|p| is_leader(&p.meta.name)) {
            return say(cx, "Error: No candidates found to switchover to".into());
        }
        let request = FailoverRequest {
            leader: if failover { None } else { recorded.clone() },
            candidate: candidate.map(str::to_owned),
        };
        let host = recorded.as_deref().or(candidate);
        let to = host.and_then(|h| self.store().pod(h)).and_then(|p| Dcs::rest_of(p));
        let to = to.and_then(|(host, port)| cx.resolve(&self.config.namespace, &host, port));
        let Some(to) = to else {
            return self.write_failover(cx, &request, Side::Talk(asker, Talk::CtlWritten));
        };
        let call = Call::Rest(RestRequest::Switchover {
            leader: request.leader.clone(),
            candidate: request.candidate.clone(),
        });
        self.ask(cx, to, call, Span::s(60), Side::Talk(asker, Talk::CtlSwitchover { request }));
    }
}
