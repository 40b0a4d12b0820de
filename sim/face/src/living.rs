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
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How long a world sleeps in which nothing is due; whoever changes it wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// A world that lives, and one Kubernetes of it.
pub struct Living {
    shared: Arc<Shared>,
    kube: KubeId,
}

/// What all Kubernetes of a world share.
struct Shared {
    world: Mutex<World>,
    began: (Instant, Time),
    factor: u32,
    /// Of each Kubernetes, the version of its newest object.
    versions: Vec<watch::Sender<u64>>,
    /// Told whenever somebody has been at the world: something may be due sooner.
    stirred: Arc<Notify>,
}

impl Living {
    /// Lets a world live: from now on its clock runs `factor` times as fast as tokio's. It stops when the last
    /// reference is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(mut world: World, kube: KubeId, factor: u32) -> Arc<Self> {
        let kubes: Vec<KubeId> = world.kube_ids().collect();
        for id in &kubes {
            // Watches from outside read them.
            world.kube_mut(*id).history = REMEMBERED;
        }
        let version = |id| watch::Sender::new(world.kube(id).api.resource_version());
        let shared = Arc::new(Shared {
            versions: kubes.into_iter().map(version).collect(),
            began: (Instant::now(), world.now()),
            factor,
            world: Mutex::new(world),
            stirred: Arc::default(),
        });
        tokio::spawn(pump(Arc::downgrade(&shared), shared.stirred.clone()));
        Arc::new(Self { shared, kube })
    }

    /// Another Kubernetes of the same world.
    #[must_use]
    pub fn beside(&self, kube: KubeId) -> Arc<Self> {
        Arc::new(Self { shared: self.shared.clone(), kube })
    }

    /// What time it is in the world.
    #[must_use]
    pub fn time(&self) -> Time {
        self.shared.time()
    }

    /// The same, as objects have it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time().timestamp()
    }

    /// When tokio's clock will have come to a moment of the world.
    #[must_use]
    pub fn instant(&self, at: Time) -> Instant {
        self.shared.instant(at)
    }

    /// Looks at the world as it is now, or changes it.
    pub fn with<T>(&self, work: impl FnOnce(&mut World, KubeId) -> T) -> T {
        let done = self.shared.with(|world| work(world, self.kube));
        self.shared.stirred.notify_one();
        done
    }

    /// The version of the newest object: whoever watches looks when it moves.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.shared.versions[usize::from(self.kube.0)].subscribe()
    }

    /// Sends a request through the world's pipeline in somebody's name, by which rules of faults know it, and waits
    /// for the answer.
    ///
    /// # Errors
    /// With the API server's refusal.
    pub async fn request(&self, by: &str, request: Request) -> Response {
        match self.ask(by, Ask::Request(request)).await {
            Some(Answer::Response(response)) => *response,
            _ => Err(Status::timeout("the world gave no answer")),
        }
    }

    /// Runs a command in a container of the world, in somebody's name.
    ///
    /// # Errors
    /// If it did not come to its end.
    pub async fn exec(
        &self,
        by: &str,
        target: &Target,
        command: &Command,
        deadline: Span,
    ) -> Result<Output, CallError> {
        match self.ask(by, Ask::Exec(target.clone(), command.clone(), deadline)).await {
            Some(Answer::Output(output)) => output,
            _ => Err(CallError::TimedOut),
        }
    }

    async fn ask(&self, by: &str, ask: Ask) -> Option<Answer> {
        let (answer, mut answered) = mpsc::unbounded_channel();
        let messenger = Messenger { name: by.to_owned(), ask: Some(ask), answer };
        self.with(|world, kube| world.spawn(kube, Arc::new(messenger), None, None));
        answered.recv().await
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self) -> Time {
        let micros = self.began.0.elapsed().as_micros() * u128::from(self.factor);
        self.began.1 + Span::us(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    fn instant(&self, at: Time) -> Instant {
        let micros = u64::try_from((at - self.began.1).0).unwrap_or_default();
        self.began.0 + Duration::from_micros(micros.div_ceil(u64::from(self.factor)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        world.advance_to(self.time());
        let done = work(&mut world);
        for (id, sender) in world.kube_ids().zip(&self.versions) {
            let version = world.kube(id).api.resource_version();
            sender.send_if_modified(|v| std::mem::replace(v, version) != version);
        }
        done
    }
}

/// Lets happen what is due.
async fn pump(shared: Weak<Shared>, stirred: Arc<Notify>) {
    while let Some(alive) = shared.upgrade() {
        let next = alive.with(|world| world.next_at()).map(|at| alive.instant(at));
        drop(alive);
        tokio::select! {
            () = sleep_until(next.unwrap_or_else(|| Instant::now() + IDLE)) => {}
            () = stirred.notified() => {}
        }
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
