//! A moment that never ends. Whoever sets a timer of no length again and again keeps virtual time from moving, and with
//! it every loop that waits for time to pass: nothing would ever be told of it. So a moment has a largest number of events,
//! and the world panics with the name of who keeps it busy. It is always a fault of the model.

use super::World;
use super::queue::Event;
use crate::time::Time;

/// So many events may happen at one moment. No story of `scenarios/`, and none of 4,200 drawn ones, comes to it.
const MOST: u32 = 200_000;

/// How many events the present moment has had.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    at: Option<Time>,
    events: u32,
}

impl World {
    /// Counts an event of the present moment.
    pub(super) fn keeps_moving(&mut self, event: &Event) {
        if self.moment.at != Some(self.now) {
            self.moment = Moment { at: Some(self.now), events: 0 };
        }
        self.moment.events += 1;
        if self.moment.events > MOST {
            let who = self.concerned(event).map_or("(nobody)".into(), |id| self.name_of(id));
            panic!("time stands still at {:.3} s: {who} is kept busy", self.now.seconds());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kube::ApiServer;
    use crate::time::Span;
    use crate::world::{Actor, Cx, Input, Kube, World};

    /// Rings at once, for ever.
    #[derive(Clone)]
    struct Restless;

    impl Actor for Restless {
        fn name(&self) -> &'static str {
            "restless"
        }
        fn on(&mut self, cx: &mut Cx<'_>, _: Input) {
            cx.timer(Span::ZERO, 0);
        }
        crate::actor_boilerplate!();
    }

    #[test]
    #[should_panic(expected = "time stands still at 0.000 s: restless is kept busy")]
    fn who_never_rests_is_named() {
        let mut world = World::new(1);
        let kube = world.add_kube(Kube::new(ApiServer::new()));
        world.spawn(kube, std::sync::Arc::new(Restless), None, None);
        world.advance(Span::s(1));
    }
}
