//! The simulated world beside tokio's paused clock: whenever tokio's time moves on, the world's does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ivory_core::command::Command;
use ivory_core::read::{Output, Target};
use ivory_operator::clock::Clock;
use ivory_sim::actor_boilerplate;
use ivory_sim::kube::{Request, Response};
use ivory_sim::lab::Lab;
use ivory_sim::scenario::parse::default_world;
use ivory_sim::time::{Span, Time};
use ivory_sim::world::call::CallError;
use ivory_sim::world::{Actor, Cx, Input, KubeId, World};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

/// How often the world is looked at again while nothing is asked of it.
const TICK: Duration = Duration::from_millis(10);

/// The world, and the time that it has in common with tokio.
pub struct Sim {
    world: Mutex<World>,
    pub kube: KubeId,
    began: (Instant, Time),
    /// The version of the newest object: whoever watches looks when it moves.
    pub version: watch::Sender<u64>,
    asked: Mutex<u64>,
}

impl Sim {
    /// A Kubernetes with three nodes and without an operator.
    pub fn new() -> Arc<Self> {
        let mut lab = Lab::new(&default_world());
        let kube = lab.kubes[0];
        // The shell's watches read them.
        lab.world.kube_mut(kube).history = ivory_sim::kube::REMEMBERED;
        let operator = lab.operator(kube).expect("the lab has an operator");
        lab.world.kill(operator, 0);
        let began = (Instant::now(), lab.world.now());
        let version = watch::Sender::new(lab.world.kube(kube).api.resource_version());
        let sim = Arc::new(Self {
            world: Mutex::new(lab.world),
            kube,
            began,
            version,
            asked: Mutex::new(0),
        });
        tokio::spawn(pump(sim.clone()));
        sim
    }

    fn time(&self) -> Time {
        let micros = i64::try_from(self.began.0.elapsed().as_micros()).expect("a short test");
        self.began.1 + Span::us(micros)
    }

    /// The clock of this world.
    pub fn clock(self: &Arc<Self>) -> Clock {
        let sim = self.clone();
        Clock::new(move || sim.time().timestamp())
    }

    /// Looks at the world as it is now, or changes it.
    pub fn with<T>(&self, work: impl FnOnce(&mut World, KubeId) -> T) -> T {
        let mut world = self.world.lock().expect("no panic inside");
        world.advance_to(self.time());
        let done = work(&mut world, self.kube);
        let version = world.kube(self.kube).api.resource_version();
        self.version.send_if_modified(|v| std::mem::replace(v, version) != version);
        done
    }

    /// Sends a request through the world's pipeline, and waits for the answer.
    pub async fn request(&self, request: Request) -> Response {
        match self.ask(Ask::Request(request)).await {
            Answer::Response(response) => *response,
            Answer::Output(_) => unreachable!("a request is answered by a response"),
        }
    }

    /// Runs a command in a container of the world.
    pub async fn exec(
        &self,
        target: &Target,
        command: &Command,
        deadline: Span,
    ) -> Result<Output, CallError> {
        match self.ask(Ask::Exec(target.clone(), command.clone(), deadline)).await {
            Answer::Output(output) => output,
            Answer::Response(_) => unreachable!("a command is answered by its output"),
        }
    }

    async fn ask(&self, ask: Ask) -> Answer {
        let (answer, mut answered) = mpsc::unbounded_channel();
        let number = {
            let mut asked = self.asked.lock().expect("no panic inside");
            *asked += 1;
            *asked
        };
        let messenger = Messenger { name: format!("shell/{number}"), ask: Some(ask), answer };
        self.with(|world, kube| world.spawn(kube, Arc::new(messenger), None, None));
        answered.recv().await.expect("the world answers everything")
    }
}

async fn pump(sim: Arc<Sim>) {
    loop {
        sleep(TICK).await;
        sim.with(|_, _| ());
    }
}

#[derive(Clone)]
enum Ask {
    Request(Request),
    Exec(Target, Command, Span),
}

enum Answer {
    Response(Box<Response>),
    Output(Result<Output, CallError>),
}

/// Carries one message of the shell into the world, and the answer out of it.
#[derive(Clone)]
struct Messenger {
    name: String,
    ask: Option<Ask>,
    answer: mpsc::UnboundedSender<Answer>,
}

impl Actor for Messenger {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        let answer = match input {
            Input::Start => {
                match self.ask.take() {
                    Some(Ask::Request(request)) => cx.submit(request),
                    Some(Ask::Exec(target, command, deadline)) => {
                        cx.exec(&target, &command, deadline)
                    }
                    None => return,
                };
                return;
            }
            Input::Response(_, response) => Answer::Response(Box::new(response)),
            Input::Output(_, output) => Answer::Output(output),
            _ => return,
        };
        // Whoever asked may have given up.
        let _ = self.answer.send(answer);
        cx.exit(0);
    }

    actor_boilerplate!();
}
