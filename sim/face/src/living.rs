//! A world whose clock follows tokio's: paused in tests, the wall clock elsewhere, times a factor. Whoever is outside
//! asks it here; what is asked travels through the world's pipeline like everything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ivory_core::command::Command;
use ivory_core::read::{Output, Target};
use ivory_sim::actor_boilerplate;
use ivory_sim::kube::{REMEMBERED, Request, Response, Status};
use ivory_sim::time::{Span, Time};
use ivory_sim::world::call::CallError;
use ivory_sim::world::{Actor, Cx, Input, KubeId, World};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

/// How often the world is looked at again while nothing is asked of it.
const TICK: Duration = Duration::from_millis(10);

/// A world that lives, and one Kubernetes of it.
pub struct Living {
    world: Mutex<World>,
    kube: KubeId,
    began: (Instant, Time),
    factor: u32,
    version: watch::Sender<u64>,
    asked: Mutex<u64>,
}

impl Living {
    /// Lets a world live: from now on its clock runs `factor` times as fast as tokio's. It stops when the last
    /// reference is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(mut world: World, kube: KubeId, factor: u32) -> Arc<Self> {
        // Watches from outside read them.
        world.kube_mut(kube).history = REMEMBERED;
        let began = (Instant::now(), world.now());
        let version = watch::Sender::new(world.kube(kube).api.resource_version());
        let asked = Mutex::default();
        let living =
            Arc::new(Self { world: Mutex::new(world), kube, began, factor, version, asked });
        tokio::spawn(pump(Arc::downgrade(&living)));
        living
    }

    fn time(&self) -> Time {
        let micros = self.began.0.elapsed().as_micros() * u128::from(self.factor);
        self.began.1 + Span::us(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// What time it is in the world.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time().timestamp()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the world as it is now, or changes it.
    pub fn with<T>(&self, work: impl FnOnce(&mut World, KubeId) -> T) -> T {
        let mut world = self.lock();
        world.advance_to(self.time());
        let done = work(&mut world, self.kube);
        let version = world.kube(self.kube).api.resource_version();
        self.version.send_if_modified(|v| std::mem::replace(v, version) != version);
        done
    }

    /// The version of the newest object: whoever watches looks when it moves.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Sends a request through the world's pipeline, and waits for the answer.
    ///
    /// # Errors
    /// With the API server's refusal.
    pub async fn request(&self, request: Request) -> Response {
        match self.ask(Ask::Request(request)).await {
            Some(Answer::Response(response)) => *response,
            _ => Err(Status::timeout("the world gave no answer")),
        }
    }

    /// Runs a command in a container of the world.
    ///
    /// # Errors
    /// If it did not come to its end.
    pub async fn exec(
        &self,
        target: &Target,
        command: &Command,
        deadline: Span,
    ) -> Result<Output, CallError> {
        match self.ask(Ask::Exec(target.clone(), command.clone(), deadline)).await {
            Some(Answer::Output(output)) => output,
            _ => Err(CallError::TimedOut),
        }
    }

    async fn ask(&self, ask: Ask) -> Option<Answer> {
        let (answer, mut answered) = mpsc::unbounded_channel();
        let number = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            *asked += 1;
            *asked
        };
        let messenger = Messenger { name: format!("outside/{number}"), ask: Some(ask), answer };
        self.with(|world, kube| world.spawn(kube, Arc::new(messenger), None, None));
        answered.recv().await
    }
}

async fn pump(living: Weak<Living>) {
    while let Some(living) = living.upgrade() {
        living.with(|_, _| ());
        drop(living);
        sleep(TICK).await;
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

/// Carries one message from outside into the world, and the answer out of it.
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
