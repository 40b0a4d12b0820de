//! Somebody at a keyboard who wants one thing done of the API server, and tries again until it is: an outage
//! doesn't make people forget that a machine burnt down.

use crate::kube::Request;
use crate::time::Span;
use crate::world::{Actor, Cx, Input};

/// Between two tries.
const RETRY: Span = Span::s(5);
/// So often a conflict is tried: one that is of the moment is over by then, one about who is meant stays.
const CONFLICTS: u8 = 100;

/// One request, repeated while the API server does not take it.
#[derive(Clone)]
pub(super) struct Person {
    request: Request,
    conflicts: u8,
}

impl Person {
    pub fn new(request: Request) -> Self {
        Self { request, conflicts: 0 }
    }
}

impl Actor for Person {
    fn name(&self) -> &str {
        "user"
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start | Input::Timer(_) => {
                cx.submit(self.request.clone());
            }
            Input::Response(_, Err(status)) if status.code == 409 && self.conflicts < CONFLICTS => {
                self.conflicts += 1;
                cx.timer(RETRY, 0);
            }
            // What was refused for what it is, is refused again.
            Input::Response(_, Err(status)) if !matches!(status.code, 400..=422) => {
                cx.timer(RETRY, 0);
            }
            Input::Response(..) => cx.exit(0),
            _ => {}
        }
    }

    crate::actor_boilerplate!();
}
