//! Failsafe mode (patroni.md §2.2 A2, K2): a primary that can't reach the store goes on as long as every member says that it
//! follows it, and who said so does not race meanwhile.

use crate::patroni::dcs::Dcs;
use crate::patroni::demote::Mode;
use crate::patroni::durations;
use crate::patroni::member::Member;
use crate::patroni::rest::RestRequest;
use crate::patroni::waits::{Doing, Then};
use crate::time::Time;
use crate::world::Cx;
use crate::world::call::Call;

impl Member {
    /// The leader in this member's view: by the store, else whom failsafe mode keeps.
    pub(super) fn leader(&self, now: Time) -> Option<&str> {
        let kept = self.failsafe_until.is_some_and(|until| now <= until);
        self.store().leader(now).or_else(|| self.store().recorded_leader().filter(|_| kept))
    }

    /// The store can't be reached: asks every other member. False when this is no matter for failsafe mode.
    pub(super) fn ask_failsafe(&mut self, cx: &mut Cx<'_>) -> bool {
        let me = &*self.config.name;
        if !self.dynamic.failsafe
            || !self.pg.primary()
            || self.store().recorded_leader() != Some(me)
            || !self.store().members().any(|p| &*p.meta.name == me)
        {
            return false;
        }
        let others = self.store().members().filter(|p| &*p.meta.name != me);
        let others: Vec<_> = others.map(|p| (p.meta.name.clone(), Dcs::rest_of(p))).collect();
        let mut doing = Doing::since(cx.now(), Then::Failsafe);
        for (name, place) in others {
            let to = place.and_then(|(host, port)| cx.resolve(&self.config.namespace, &host, port));
            match to {
                Some(to) => {
                    let request = RestRequest::Failsafe { leader: self.config.name.to_string() };
                    let ticket = cx.call(to, Call::Rest(request), durations::PROBE);
                    doing.open.insert(ticket, name);
                }
                None => doing.answers.push((name, None)),
            }
        }
        self.doing = Some(doing);
        self.if_all_probed(cx);
        true
    }

    /// All have answered; those that did not agree are named.
    pub(super) fn failsafe_answered(&mut self, cx: &mut Cx<'_>, objects: bool) {
        if objects {
            return self.demote(cx, Mode::Offline);
        }
        let until = cx.now() + self.dynamic.ttl;
        if self.failsafe_until.is_none_or(|before| before < cx.now()) {
            self.say(cx, "can't reach the Kubernetes API, and goes on: every member follows it");
        }
        self.failsafe_until = Some(until);
        self.leader_expiry = Some(until);
        self.schedule(cx);
    }

    /// `POST /failsafe`: whether this member would follow.
    pub(super) fn agrees(&mut self, now: Time, leader: &str) -> bool {
        let agrees = self.dynamic.failsafe
            && !self.pg.primary()
            && self.store().recorded_leader() == Some(leader);
        if agrees {
            self.failsafe_until = Some(now + self.dynamic.ttl);
        }
        agrees
    }
}
