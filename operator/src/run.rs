//! The loop that gives clusters their turns. A pass is a task of its own: its error, panic or hang
//! costs its own cluster a pause and others nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ivory_core::context::Config;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument as _;

use crate::api::ApiServer;
use crate::caches::Caches;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::health::Health;
use crate::lease::{self, Lease};
use crate::metrics::Metrics;
use crate::pass::{Memory, PASS_MAX, Planner, Shell, pass};
use crate::queue::{End, Queue};
use crate::store::Key;

/// How long passes under way are given to come to an end of a write when the process stops.
const GRACE: Duration = Duration::from_secs(10);
/// A single replica without a lease leads for so long at a stretch: for good.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Of so many clusters, those that had a pass last, it is remembered what was made for their plans. That is most of what
/// a cluster takes, and a thousand of them may be made together.
const FRESH: usize = 32;
/// The loop shows so often that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// What the operator is told at start.
pub struct Setup {
    /// The API server.
    pub api: ApiServer,
    /// Core's settings.
    pub config: Config,
    /// What makes the plans.
    pub planner: Planner,
    /// The time of plans.
    pub clock: Clock,
    /// Where random bytes come from.
    pub chance: Chance,
    /// The namespaces whose clusters are looked after; an empty name means all.
    pub namespaces: Vec<String>,
    /// How many passes may be under way at once.
    pub workers: usize,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether it lives and is ready.
    pub health: Arc<Health>,
    /// Whether the process was told to stop.
    pub stop: watch::Receiver<bool>,
}

type Ended = (Key, Memory, End);

/// Runs until the process is told to stop: stands for the lease, looks after all clusters whenever it is
/// held, and gives it up at the end. Without a lease, a single replica acts for good.
///
/// # Errors
/// When the campaign for the lease panicked.
pub async fn serve(setup: Setup, lease: Option<Lease>) -> anyhow::Result<()> {
    let (leads_sender, leads) = watch::channel(None);
    let (finish_sender, finish) = watch::channel(false);
    let mut campaign = JoinSet::new();
    if let Some(lease) = lease {
        campaign.spawn(lease.campaign(leads_sender.clone(), setup.metrics.clone(), finish));
    } else {
        leads_sender.send_replace(Some(Instant::now() + FOR_EVER));
        setup.metrics.leads(true);
    }
    let mut stopped = setup.stop.clone();
    loop {
        // A replica that waits is ready: it could act.
        setup.health.ready(true);
        let won = tokio::select! {
            biased;
            // An error means that nobody is left to say stop.
            _ = stopped.wait_for(|stop| *stop) => false,
            () = lease::won(leads.clone()) => true,
        };
        if !won {
            break;
        }
        setup.health.ready(false);
        operate(&setup, &leads).await;
    }
    setup.health.ready(false);
    finish_sender.send_replace(true);
    while let Some(ended) = campaign.join_next().await {
        ended.context("the campaign for the lease failed")?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Looks after all clusters until leadership is lost or the process is told to stop.
async fn operate(setup: &Setup, leads: &watch::Receiver<Option<Instant>>) {
    let (wake, mut woken) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    let caches = Caches::open(
        setup.api.clone(),
        setup.metrics.clone(),
        setup.chance.clone(),
        &setup.namespaces,
        wake,
        &mut watches,
    );
    let shell = Arc::new(Shell {
        caches: caches.clone(),
        config: setup.config.clone(),
        planner: setup.planner,
        clock: setup.clock.clone(),
        chance: setup.chance.clone(),
        metrics: setup.metrics.clone(),
        leads: leads.clone(),
        stop: setup.stop.clone(),
    });
    let mut end = std::pin::pin!(over(setup, leads));
    let settled = tokio::select! {
        () = caches.settle() => true,
        () = &mut end => false,
    };
    if !settled {
        return;
    }
    setup.health.ready(true);
    let mut queue = Queue::default();
    let mut memories: BTreeMap<Key, Memory> = BTreeMap::new();
    // The clusters that had a pass, the last one at the end.
    let mut fresh: VecDeque<Key> = VecDeque::new();
    let mut passes: JoinSet<Ended> = JoinSet::new();
    loop {
        setup.health.beat();
        let now = Instant::now();
        while passes.len() < setup.workers
            && let Some(key) = queue.take(now)
        {
            let memory = memories.remove(&key).unwrap_or_default();
            // In a process with several operators, the span says which of them it is.
            passes.spawn(guarded(shell.clone(), key, memory).in_current_span());
        }
        let (clusters, waiting, running) = queue.load(now);
        setup.metrics.load(clusters, waiting, running);
        let due = queue.next().filter(|_| passes.len() < setup.workers);
        tokio::select! {
            Some(key) = woken.recv() => queue.wake(&key, Instant::now()),
            Some(ended) = passes.join_next() => match ended {
                Ok((key, memory, end)) => {
                    if queue.ended(&key, Instant::now(), end, setup.chance.share()) {
                        let cluster = format_args!("{}/{}", key.0, key.1);
                        tracing::warn!(%cluster, "what is written is undone time and again (by another operator, a webhook?): \
                            from now on it is written once a second at most");
                    }
                    fresh.retain(|other| *other != key);
                    if end != End::Gone {
                        fresh.push_back(key.clone());
                        memories.insert(key, memory);
                    }
                    if fresh.len() > FRESH
                        && let Some(memory) = fresh.pop_front().and_then(|k| memories.get_mut(&k))
                    {
                        memory.forget();
                    }
                }
                Err(error) => tracing::error!(%error, "a guard of a pass failed"),
            },
            () = sleep_until(due.unwrap_or(now + BEAT)), if due.is_some() => {}
            () = sleep(BEAT) => {}
            Some(ended) = watches.join_next() => {
                tracing::error!(error = ?ended.err(), "a watch ended, so all begin again");
                break;
            }
            () = &mut end => break,
        }
    }
    let finish = async { while passes.join_next().await.is_some() {} };
    if timeout(GRACE, finish).await.is_err() {
        tracing::warn!("passes did not end in time");
    }
    setup.metrics.load(0, 0, 0);
    setup.health.rest();
}

/// Ends when this replica is to act no more.
async fn over(setup: &Setup, leads: &watch::Receiver<Option<Instant>>) {
    let mut stop = setup.stop.clone();
    tokio::select! {
        () = lease::lost(leads.clone()) => tracing::warn!("leadership is lost"),
        // An error means that nobody is left to say stop.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One pass, told and counted.
async fn guarded(shell: Arc<Shell>, key: Key, memory: Memory) -> Ended {
    let span = tracing::info_span!("pass", id = correlation(&shell.chance), cluster = %format_args!("{}/{}", key.0, key.1));
    let began = Instant::now();
    let work = {
        let (shell, key) = (shell.clone(), key.clone());
        async move { pass(&shell, &key, memory).await }
    };
    let (memory, end, result) = contained(work.instrument(span.clone())).instrument(span).await;
    shell.metrics.pass(result, began.elapsed());
    (key, memory, end)
}

/// A pass that can neither hang nor panic, as far as the loop can see. What it remembered is lost then.
async fn contained(
    work: impl Future<Output = (Memory, End)> + Send + 'static,
) -> (Memory, End, &'static str) {
    // The set ends its task when it is dropped, so that nothing goes on in the dark.
    let mut task = JoinSet::new();
    task.spawn(work);
    match timeout(PASS_MAX, task.join_next()).await {
        Ok(Some(Ok((memory, end)))) => (memory, end, result_of(end)),
        Ok(failed) => {
            let error = failed.and_then(Result::err).map(|e| e.to_string());
            tracing::error!(error, "a pass panicked");
            (Memory::default(), End::Failed, "panicked")
        }
        Err(_) => {
            tracing::error!("a pass took too long");
            (Memory::default(), End::Failed, "timed_out")
        }
    }
}

fn result_of(end: End) -> &'static str {
    match end {
        End::Gone => "gone",
        End::Wrote => "wrote",
        End::Quiet(_) => "in_sync",
        End::Conflict => "conflict",
        End::Stopped | End::Failed => "failed",
    }
}

/// Ties together the lines of one pass in the log.
fn correlation(chance: &Chance) -> String {
    format!("{:08x}", chance.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panics_and_hangs_cost_their_own_cluster_a_pause() {
        let good = contained(async { (Memory::default(), End::Wrote) }).await;
        assert_eq!((good.1, good.2), (End::Wrote, "wrote"));
        let bad = contained(async { panic!("a planted fault") }).await;
        assert_eq!((bad.1, bad.2), (End::Failed, "panicked"));
        let began = Instant::now();
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let hung = contained(async move {
            let _alive = alive;
            std::future::pending().await
        });
        let hung = hung.await;
        assert_eq!((hung.1, hung.2), (End::Failed, "timed_out"));
        assert_eq!(began.elapsed(), PASS_MAX);
        assert!(gone.await.is_err(), "the hung task is ended");
    }
}
