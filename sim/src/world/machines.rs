//! What machines suffer that no process on them can tell: they stand still for a while, their clocks are wrong. Names
//! that can't be resolved are `net.rs`'s; a machine that is switched off is `node::faults`'.
//!
//! A machine that stands still (a hypervisor that takes its cores, a kernel that hangs) loses nothing: what was sent to
//! it waits, its timers ring when it goes on, all at once, and its clocks say then what everybody's say. A clock that
//! is wrong shifts no timer, since those count what passes; it shifts what is written and compared as a time of day.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::{Span, Time};
use crate::world::World;
use crate::world::actor::{ActorId, KubeId};
use crate::world::message::What;
use crate::world::queue::Event;

/// A machine of a Kubernetes.
type Machine = (KubeId, Arc<str>);

/// What is wrong with machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Machines {
    /// Those that stand still: from when, and until when.
    still: Arc<BTreeMap<Machine, (Time, Time)>>,
    /// Those whose clocks are wrong, and by how much they are ahead.
    clocks: Arc<BTreeMap<Machine, Span>>,
}

impl World {
    /// Lets a machine stand still until a moment; what happens at this very moment still happens.
    pub fn hold_machine(&mut self, kube: KubeId, node: &str, until: Time) {
        let from = self.now + Span::us(1);
        Arc::make_mut(&mut self.machines.still).insert((kube, node.into()), (from, until));
    }

    /// Until when a machine stands still; none when it runs.
    #[must_use]
    pub fn still_until(&self, kube: KubeId, node: &str) -> Option<Time> {
        let mut all = self.machines.still.iter();
        let (_, (from, until)) =
            all.find(|(machine, _)| (machine.0, &*machine.1) == (kube, node))?;
        (*from..*until).contains(&self.now).then_some(*until)
    }

    /// Lets a machine go on. What waits for it comes when it would have gone on by itself.
    pub fn release_machine(&mut self, kube: KubeId, node: &str) {
        Arc::make_mut(&mut self.machines.still).remove(&(kube, node.into()));
    }

    /// Sets a machine's clock, to be ahead of the true time by so much; its processes live through the jump.
    pub fn set_clock(&mut self, kube: KubeId, node: &str, ahead: Span) {
        let key = (kube, Arc::from(node));
        let before = self.machines.clocks.get(&key).copied().unwrap_or_default();
        let clocks = Arc::make_mut(&mut self.machines.clocks);
        match ahead {
            Span::ZERO => clocks.remove(&key),
            _ => clocks.insert(key, ahead),
        };
        let jump = Span(ahead.0 - before.0);
        if jump != Span::ZERO {
            for process in self.processes_where(kube, |p| &*p.node == node) {
                self.queue.push(self.now, Event::Clock(process, jump));
            }
        }
    }

    /// The machines of a Kubernetes whose clocks are wrong.
    #[must_use]
    pub fn wrong_clocks(&self, kube: KubeId) -> Vec<Arc<str>> {
        let clocks = self.machines.clocks.keys().filter(|(k, _)| *k == kube);
        clocks.map(|(_, node)| node.clone()).collect()
    }

    /// By how much the clock is ahead that an actor reads.
    pub(super) fn clock_ahead(&self, actor: ActorId, kube: KubeId) -> Span {
        if self.machines.clocks.is_empty() {
            return Span::ZERO;
        }
        let key = (kube, self.location(actor));
        self.machines.clocks.get(&key).copied().unwrap_or_default()
    }

    /// When an event happens whose machine stands still now.
    pub(super) fn held_until(&self, event: &Event) -> Option<Time> {
        if self.machines.still.is_empty() {
            return None;
        }
        let actor = self.concerned(event)?;
        let key = (self.kube_of(actor), self.location(actor));
        let (from, until) = self.machines.still.get(&key)?;
        (*from <= self.now && self.now < *until).then_some(*until)
    }

    /// Who hears an event. The API server stands still on no machine.
    pub(super) fn concerned(&self, event: &Event) -> Option<ActorId> {
        Some(match event {
            Event::Start(actor)
            | Event::Timer(actor, _)
            | Event::Back(actor, ..)
            | Event::Signal(actor, _)
            | Event::Mounts(actor, _)
            | Event::Clock(actor, _) => *actor,
            Event::Exited { parent, .. } => *parent,
            Event::Change(watch, _) | Event::Relist(watch) => self.reader_of(*watch)?,
            Event::Deadline(ticket) => self.asker_of(*ticket)?,
            Event::Arrive(envelope) => match &envelope.what {
                What::Call { to, .. } => self.listener(envelope.kube, to)?,
                What::Exec { target, .. } => {
                    let kube = self.kube(envelope.kube);
                    kube.process(&target.namespace, &target.pod, &target.container)?.0
                }
                What::Request(_) | What::Watch(_) => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::ApiServer;
    use crate::world::{Actor, Cx, Input, Kube, Place};

    /// Notes when its timer rings, every second, and what its clock says.
    #[derive(Clone, Default)]
    struct Ticks(Vec<(f64, f64)>, Vec<Span>);

    impl Actor for Ticks {
        fn name(&self) -> &'static str {
            "ticks"
        }
        fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
            match input {
                Input::Clock(jump) => self.1.push(jump),
                _ => {
                    self.0.push((cx.now().seconds(), cx.clock().seconds()));
                    cx.timer(Span::s(1), 0);
                }
            }
        }
        crate::actor_boilerplate!();
    }

    fn world() -> (World, KubeId, ActorId) {
        let mut world = World::new(1);
        let kube = world.add_kube(Kube::new(ApiServer::new()));
        let text = || Arc::<str>::from("x");
        let place = Place {
            node: "node1".into(),
            namespace: text(),
            pod: text(),
            pod_uid: text(),
            container: text(),
            ip: text(),
            ports: Vec::new(),
        };
        let id = world.spawn(kube, Arc::new(Ticks::default()), Some(place), None);
        (world, kube, id)
    }

    fn ticks(world: &World, id: ActorId) -> &Ticks {
        world.actor(id).expect("alive")
    }

    #[test]
    fn timers_of_a_machine_that_stands_still_ring_when_it_goes_on() {
        let (mut world, kube, id) = world();
        world.advance(Span::s(1));
        world.hold_machine(kube, "node1", world.now() + Span::ms(4500));
        world.advance(Span::s(4));
        assert_eq!(ticks(&world, id).0.len(), 2, "nothing rings meanwhile");
        world.advance(Span::s(2));
        let rang: Vec<f64> = ticks(&world, id).0.iter().map(|t| t.0).collect();
        assert_eq!(rang, [0.0, 1.0, 5.5, 6.5]);
    }

    #[test]
    fn a_wrong_clock_shifts_times_of_day_and_no_timer() {
        let (mut world, kube, id) = world();
        world.set_clock(kube, "node1", Span::s(3600));
        world.advance(Span::s(1));
        world.set_clock(kube, "node1", Span::s(-60));
        world.advance(Span::s(1));
        assert_eq!(world.wrong_clocks(kube), ["node1".into()]);
        world.set_clock(kube, "node1", Span::ZERO);
        world.advance(Span::s(1));
        let ticks = ticks(&world, id);
        assert_eq!(ticks.0, [(0.0, 3600.0), (1.0, 3601.0), (2.0, -58.0), (3.0, 3.0)]);
        assert_eq!(ticks.1, [Span::s(3600), Span::s(-3660), Span::s(60)]);
        assert!(world.wrong_clocks(kube).is_empty());
    }
}
