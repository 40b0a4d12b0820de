//! How messages travel: sending, arriving, taking effect, answering.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::command::Command;
use ivory_core::read::{Output, Target};

use crate::kube::{Request, Status};
use crate::time::Span;
use crate::world::actor::{ActorId, Input, KubeId};
use crate::world::call::{Call, CallError, Reply};
use crate::world::message::{Back, Cut, Envelope, Point, Ticket, What, Where};
use crate::world::queue::Event;
use crate::world::{World, net};

/// How long one way over the network takes.
const HOP: Span = Span::us(400);
/// How long the API server works on a request.
const API_WORK: Span = Span::us(1_200);
/// How long a client of the API waits for an answer before it gives up, as client-go and kube do by default.
const API_DEADLINE: Span = Span::s(10);

/// A call whose answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    from: ActorId,
    to: Option<ActorId>,
    exec: bool,
    /// The answer will be lost on its way.
    lost: bool,
}

impl World {
    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Sends a request to the API server of a Kubernetes on behalf of an actor.
    pub fn submit(&mut self, from: ActorId, kube: KubeId, request: Request) -> Ticket {
        let ticket = self.ticket();
        let what = What::Request(Arc::new(request));
        self.send(Envelope { ticket, from, kube, what });
        ticket
    }

    pub(super) fn call(
        &mut self,
        from: ActorId,
        kube: KubeId,
        to: Where,
        call: Call,
        deadline: Span,
    ) -> Ticket {
        let ticket = self.ticket();
        self.await_answer(ticket, from, false, deadline);
        self.send(Envelope { ticket, from, kube, what: What::Call { to, call: Arc::new(call) } });
        ticket
    }

    pub(super) fn exec(
        &mut self,
        from: ActorId,
        kube: KubeId,
        target: &Target,
        command: &Command,
        deadline: Span,
    ) -> Ticket {
        let ticket = self.ticket();
        self.await_answer(ticket, from, true, deadline);
        let (target, command) = (Arc::new(target.clone()), Arc::new(command.clone()));
        self.send(Envelope { ticket, from, kube, what: What::Exec { target, command, deadline } });
        ticket
    }

    fn await_answer(&mut self, ticket: Ticket, from: ActorId, exec: bool, deadline: Span) {
        Arc::make_mut(&mut self.pending)
            .insert(ticket, Pending { from, to: None, exec, lost: false });
        self.queue.push(self.now + deadline, Event::Deadline(ticket));
    }

    fn cut(&mut self, point: Point, envelope: &Envelope) -> Cut {
        if self.faults.is_empty() {
            return Cut::Pass;
        }
        let sender = self.name_of(envelope.from);
        self.faults.cut(self.now, point, &sender, envelope)
    }

    pub(super) fn send(&mut self, envelope: Envelope) {
        self.tap_sent(&envelope);
        let apart = match &envelope.what {
            What::Call { to, .. } => self.apart(envelope.kube, envelope.from, to),
            _ => {
                let here = self.location(envelope.from);
                self.net.blocked(envelope.kube, &here, &net::CONTROL_PLANE.into())
            }
        };
        if apart {
            return self.lose(&envelope);
        }
        let at = self.now + HOP;
        match self.cut(Point::Sent, &envelope) {
            Cut::Pass => self.queue.push(at, Event::Arrive(Box::new(envelope))),
            Cut::Delay(span) => self.queue.push(at + span, Event::Arrive(Box::new(envelope))),
            Cut::Double => {
                self.queue.push(at, Event::Arrive(Box::new(envelope.clone())));
                self.queue.push(at + HOP, Event::Arrive(Box::new(envelope)));
            }
            Cut::Lose => self.lose_by_the_way(&envelope),
            Cut::Refuse(status) => self.refuse(&envelope, *status),
            Cut::Crash => self.kill(envelope.from, 137),
            Cut::Orphan(span) => {
                let from = envelope.from;
                self.queue.push(at + span, Event::Arrive(Box::new(envelope)));
                self.kill(from, 137);
            }
        }
    }

    /// A message is gone; its sender notices by the deadline. Calls have their own already.
    fn lose(&mut self, envelope: &Envelope) {
        if let What::Request(_) = envelope.what {
            let status = Status::timeout("the API server did not answer in time");
            let back = Back::Response(Box::new(Err(status)));
            let event = Event::Back(envelope.from, envelope.ticket, Box::new(back));
            self.queue.push(self.now + API_DEADLINE, event);
        } else if let What::Watch(watch) = envelope.what {
            self.break_watch(watch);
        }
    }

    /// As [`World::lose`], where the network is whole: the reader of a watch tries again by its deadline. Those that
    /// a partition keeps apart are woken when it heals.
    fn lose_by_the_way(&mut self, envelope: &Envelope) {
        self.lose(envelope);
        if let What::Watch(watch) = envelope.what {
            self.queue.push(self.now + API_DEADLINE, Event::Relist(watch));
        }
    }

    fn refuse(&mut self, envelope: &Envelope, status: Status) {
        match &envelope.what {
            What::Request(_) => {
                let back = Back::Response(Box::new(Err(status)));
                self.queue.push(
                    self.now + HOP,
                    Event::Back(envelope.from, envelope.ticket, Box::new(back)),
                );
            }
            What::Exec { .. } => self.answer(envelope.ticket, Err(CallError::Api(status))),
            What::Call { .. } => self.answer(envelope.ticket, Err(CallError::Refused)),
            What::Watch(watch) => self.try_watch_again(*watch),
        }
    }

    pub(super) fn arrive(&mut self, envelope: Envelope) {
        let mut cut = self.cut(Point::Arrived, &envelope);
        if matches!(cut, Cut::Crash) {
            // Its sender's death is nothing to whatever else stands in the message's way.
            self.kill(envelope.from, 137);
            cut = self.cut(Point::Arrived, &envelope);
        }
        match cut {
            Cut::Pass | Cut::Double | Cut::Crash => {}
            Cut::Delay(span) => {
                return self.queue.push(self.now + span, Event::Arrive(Box::new(envelope)));
            }
            Cut::Lose => return self.lose_by_the_way(&envelope),
            Cut::Refuse(status) => return self.refuse(&envelope, *status),
            Cut::Orphan(span) => {
                self.kill(envelope.from, 137);
                return self.queue.push(self.now + span, Event::Arrive(Box::new(envelope)));
            }
        }
        match envelope.what.clone() {
            What::Request(request) => self.apply(&envelope, &request),
            What::Exec { target, command, .. } => self.pass_on_exec(&envelope, &target, &command),
            What::Call { to, call } => self.pass_on_call(&envelope, &to, &call),
            What::Watch(watch) => self.list_watch(watch),
        }
    }

    fn apply(&mut self, envelope: &Envelope, request: &Request) {
        self.witness_effect(envelope);
        let now = self.now.timestamp();
        let kube = Arc::make_mut(&mut self.kubes[usize::from(envelope.kube.0)]);
        let streams = &mut self.streams;
        let mut uid = || streams.stream(&format!("uid/{}", envelope.kube.0)).u128();
        let response = kube.api.handle(now, &mut uid, request);
        self.hand_out_changes(envelope.kube);
        let mut at = self.now + API_WORK + HOP;
        for point in [Point::Applied, Point::Answered] {
            match self.cut(point, envelope) {
                Cut::Pass | Cut::Double => {}
                Cut::Delay(span) => at = at + span,
                Cut::Lose => return self.lose(envelope),
                Cut::Refuse(status) => return self.refuse(envelope, *status),
                Cut::Crash | Cut::Orphan(_) => return self.kill(envelope.from, 137),
            }
        }
        let back = Back::Response(Box::new(response));
        self.queue.push(at, Event::Back(envelope.from, envelope.ticket, Box::new(back)));
    }

    fn pass_on_exec(&mut self, envelope: &Envelope, target: &Target, command: &Command) {
        let kube = self.kube(envelope.kube);
        let missing = || Status::not_found(Kind::Pod, &target.pod);
        let Some(pod) = kube.api.get(Kind::Pod, &target.namespace, &target.pod) else {
            return self.refuse(envelope, missing());
        };
        if pod.meta.uid != target.uid {
            return self.refuse(envelope, missing());
        }
        let process = kube.process(&target.namespace, &target.pod, &target.container);
        let Some((actor, _)) = process.filter(|(_, uid)| *uid == &*target.uid) else {
            let text = format!("container {} is not running", target.container);
            return self.refuse(envelope, Status::internal(&text));
        };
        if self.net.blocked(envelope.kube, &net::CONTROL_PLANE.into(), &self.location(actor)) {
            return self.lose(envelope);
        }
        self.witness_effect(envelope);
        self.hear_call(envelope, actor, Call::Exec(command.clone()));
    }

    fn pass_on_call(&mut self, envelope: &Envelope, to: &Where, call: &Call) {
        match self.listener(envelope.kube, to) {
            Some(actor) => self.hear_call(envelope, actor, call.clone()),
            None => self.answer(envelope.ticket, Err(CallError::Refused)),
        }
    }

    fn hear_call(&mut self, envelope: &Envelope, actor: ActorId, call: Call) {
        // What becomes of the answer is settled here, where its question is at hand.
        let lost = self.cut(Point::Answered, envelope) == Cut::Lose;
        if let Some(pending) = Arc::make_mut(&mut self.pending).get_mut(&envelope.ticket) {
            (pending.to, pending.lost) = (Some(actor), lost);
        }
        self.tell(actor, Input::Call(envelope.ticket, call));
    }

    /// An actor answers a call.
    pub(super) fn reply(&mut self, by: ActorId, ticket: Ticket, reply: Reply) {
        let Some(pending) = self.pending.get(&ticket) else {
            return;
        };
        let (from, kube) = (pending.from, self.kube_of(by));
        if self.net.blocked(kube, &self.location(by), &self.location(from)) {
            return;
        }
        self.answer(ticket, Ok(reply));
    }

    fn answer(&mut self, ticket: Ticket, reply: Result<Reply, CallError>) {
        let Some(pending) = self.pending.get(&ticket).filter(|p| !p.lost) else {
            return;
        };
        let event = Event::Back(pending.from, ticket, Box::new(Back::Reply(reply)));
        self.queue.push(self.now + HOP, event);
    }

    /// Whether somebody still waits for the answer to a call.
    pub(super) fn awaited(&self, ticket: Ticket) -> bool {
        self.pending.get(&ticket).is_some_and(|p| self.alive(p.from))
    }

    /// Who asked a call that is not answered.
    pub(super) fn asker_of(&self, ticket: Ticket) -> Option<ActorId> {
        self.pending.get(&ticket).map(|p| p.from)
    }

    pub(super) fn expire(&mut self, ticket: Ticket) {
        if self.pending.contains_key(&ticket) {
            let from = self.pending[&ticket].from;
            self.deliver_back(from, ticket, Back::Reply(Err(CallError::TimedOut)));
        }
    }

    pub(super) fn reset_calls_to(&mut self, dead: ActorId) {
        let lost = |p: &Pending| p.to == Some(dead);
        let tickets: Vec<_> =
            self.pending.iter().filter(|(_, p)| lost(p)).map(|(t, _)| *t).collect();
        for ticket in tickets {
            self.answer(ticket, Err(CallError::Reset));
        }
    }

    pub(super) fn deliver_back(&mut self, actor: ActorId, ticket: Ticket, back: Back) {
        match back {
            Back::Response(response) => self.tell(actor, Input::Response(ticket, *response)),
            Back::Reply(reply) => {
                let Some(pending) = Arc::make_mut(&mut self.pending).remove(&ticket) else {
                    return;
                };
                let input = if pending.exec {
                    Input::Output(ticket, reply.map(output_of))
                } else {
                    Input::Reply(ticket, reply)
                };
                self.tell(actor, input);
            }
        }
    }

    pub(super) fn location(&self, actor: ActorId) -> Arc<str> {
        match self.slots.get(actor.0 as usize) {
            Some(Some(slot)) => slot.info.node.clone(),
            _ => net::OUTSIDE.into(),
        }
    }

    pub(super) fn kube_of(&self, actor: ActorId) -> KubeId {
        match self.slots.get(actor.0 as usize) {
            Some(Some(slot)) => slot.info.kube,
            _ => KubeId(0),
        }
    }

    pub(super) fn listener(&self, kube: KubeId, to: &Where) -> Option<ActorId> {
        match to {
            Where::Actor(actor) => self.alive(*actor).then_some(*actor),
            // Addresses are unique in a world, so that clusters side by side reach each other.
            Where::Address { ip, port } => self
                .kube(kube)
                .listener(ip, *port)
                .or_else(|| self.kube_ids().find_map(|other| self.kube(other).listener(ip, *port))),
        }
    }

    /// Whether messages are cut, places apart, names unknown, or watches late in a Kubernetes.
    #[must_use]
    pub fn disturbed(&self, kube: KubeId) -> bool {
        let late = self.watches.values().any(|w| w.is_late(kube));
        late || self.faults.active(self.now) || self.net.troubled()
    }

    /// Whether an outage of a Kubernetes' API server lasts, or ended so long ago at most.
    #[must_use]
    pub fn outage(&self, kube: KubeId, ago: Span) -> bool {
        self.faults.outage(self.now, kube, ago)
    }
}

fn output_of(reply: Reply) -> Output {
    match reply {
        Reply::Exec(output) => output,
        _ => Output {
            exit: 255,
            stdout: "".into(),
            stderr: "the container answered something else".into(),
        },
    }
}
