//! One pass over one cluster: see, ask, plan, check, carry out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ivory_core::answers::Answers;
use ivory_core::check::{Finding, check};
use ivory_core::context::{Config, Context, Entropy};
use ivory_core::grants::Grant;
use ivory_core::memo::Memos;
use ivory_core::observed::Observed;
use ivory_core::plan::Plan;
use ivory_core::queries::queries;
use ivory_core::read::{Answer, Query, Read, Target};
use ivory_core::report::{Outcome, Report};
use ivory_core::rules::events;
use ivory_core::setbacks::Refusals;
use ivory_core::{Kind, Object, Sensitive, grants};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::caches::{Caches, Written};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::execute::execute;
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::observe::observe;
use crate::queue::End;
use crate::store::Key;

/// A pass ends within this; commands are given a little less.
pub const PASS_MAX: Duration = Duration::from_secs(60);
/// Core is asked for more questions so often at most, and for so long.
const ROUNDS_MAX: u32 = 4;
const ASKING_MAX: Duration = Duration::from_secs(20);

/// What makes plans: core's [`steps::plan`](ivory_core::steps::plan), or a test's that misbehaves.
pub type Planner = fn(&Observed, &Context, &mut Memos) -> Plan;

/// What all passes share.
pub struct Shell {
    /// What the watches have seen, and the API server.
    pub caches: Arc<Caches>,
    /// The settings.
    pub config: Config,
    /// What makes the plans.
    pub planner: Planner,
    /// The time of plans and answers.
    pub clock: Clock,
    /// Where what is drawn comes from.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Until when this replica may act; none while another one does.
    pub leads: watch::Receiver<Option<Instant>>,
    /// Whether the process was told to stop.
    pub stop: watch::Receiver<bool>,
}

impl Shell {
    /// Whether a write may be sent now.
    #[must_use]
    pub fn may_act(&self) -> bool {
        let leads = self.leads.borrow().is_some_and(|until| until > Instant::now());
        leads && !*self.stop.borrow()
    }

    /// A command is meant for one life of a Pod, and its name may have passed on to the next.
    ///
    /// # Errors
    /// When the Pod is gone or is another one.
    pub fn same_life(&self, target: &Target) -> Result<(), Fault> {
        let lives = self.caches.of(Kind::Pod, &target.namespace).any(|watch| {
            let store = watch.store();
            let life = store.life(&target.namespace, &target.pod);
            life.is_some_and(|(uid, ..)| *uid == target.uid)
        });
        if lives {
            return Ok(());
        }
        Err(Fault {
            kind: FaultKind::Conflict,
            text: format!("Pod {} is no longer the same", target.pod),
        })
    }
}

/// What is remembered of one cluster between passes; losing it changes only timing.
#[derive(Default)]
pub struct Memory {
    memos: Memos,
    answers: Answers,
    written: Vec<Written>,
    /// What writes and commands lacked permission for when they were last tried.
    denied: BTreeSet<Grant>,
    /// What the API server refused to have written, for other reasons, when that was last tried.
    refused: Refusals,
    /// What was last said of it, so that it is not said again.
    report: String,
    fault: String,
    news: BTreeSet<String>,
}

impl Memory {
    /// Forgets what is only there to make the next plan quicker, and is most of it.
    pub fn forget(&mut self) {
        self.memos = Memos::default();
    }
}

/// One pass.
pub async fn pass(shell: &Shell, key: &Key, mut memory: Memory) -> (Memory, End) {
    let deadline = Instant::now() + PASS_MAX - Duration::from_secs(2);
    if !shell.caches.caught_up(&memory.written).await {
        tracing::debug!("not all own writes came back");
    }
    memory.written.clear();
    let Some((mut observed, unread)) = observe(&shell.caches, key).await else {
        shell.caches.keep_named(key, &Default::default());
        return (Memory::default(), End::Gone);
    };
    ask(shell, &mut memory, &mut observed).await;
    let denied: BTreeSet<Grant> = memory.denied.union(&unread).cloned().collect();
    let made = Instant::now();
    let (plan, findings, observed) =
        match decide(shell, &mut memory, observed, denied.clone()).await {
            Ok(decided) => decided,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "no plan");
                return (memory, End::Failed);
            }
        };
    say(shell, &mut memory, &plan.report);
    if !findings.is_empty() {
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let text = format!("the plan {}", text.join("; it "));
        shell.metrics.refused();
        tracing::error!(finding = text, "a plan was refused");
        tell(shell, &mut memory, &observed.cluster, "PlanRefused", &text).await;
        return (memory, End::Failed);
    }
    let known = (&denied, &memory.refused);
    let done = execute(shell, &plan, known, made, deadline).await;
    memory.written = done.written;
    if done.fault.is_none() {
        // Everything was tried anew.
        memory.denied.clear();
        memory.refused.clear();
    }
    let denied = !done.denied.is_empty();
    memory.denied.extend(done.denied);
    memory.refused.extend(done.refused);
    for (what, fault) in done.failures.iter().filter(|(_, f)| f.kind == FaultKind::Command) {
        let text = format!("could not {what}: {fault}");
        tell(shell, &mut memory, &observed.cluster, "CommandFailed", &text).await;
    }
    let end = match done.fault.or_else(|| done.failures.into_iter().next()) {
        Some((what, fault)) => {
            let text = format!("{what}: {fault}");
            if memory.fault == text || fault.kind == FaultKind::Conflict {
                tracing::debug!(error = text, "write failed");
            } else {
                tracing::warn!(error = text, "write failed");
            }
            memory.fault = text;
            match fault.kind {
                _ if done.count > 0 => End::Stopped,
                FaultKind::Conflict => End::Conflict,
                _ => End::Failed,
            }
        }
        None if denied => End::Failed,
        None if done.count > 0 => End::Wrote,
        None => End::Quiet(plan.requeue),
    };
    if matches!(end, End::Wrote | End::Quiet(_)) {
        memory.fault.clear();
        memory.news.clear();
    }
    if matches!(end, End::Quiet(_)) {
        // Nothing will be asked of them for long, and for a thousand clusters they are what is biggest.
        memory.forget();
        memory.answers.tidy(shell.clock.now());
    }
    (memory, end)
}

/// Asks what core wants to know, until it wants nothing more.
async fn ask(shell: &Shell, memory: &mut Memory, observed: &mut Observed) {
    let end = Instant::now() + ASKING_MAX;
    for _ in 0..ROUNDS_MAX {
        let wanted = queries(observed, &shell.config);
        let wanted: Vec<Query> =
            wanted.into_iter().filter(|q| !observed.answers.contains_key(q)).collect();
        if wanted.is_empty() {
            return;
        }
        let mut out = JoinSet::new();
        let now = shell.clock.now();
        for query in wanted {
            if let Some(found) = memory.answers.to(&query, now) {
                observed.answers.insert(query, found.clone());
                continue;
            }
            let time = Duration::from_secs(u64::from(query.deadline_s));
            let time = time.min(end.saturating_duration_since(Instant::now()));
            let same = shell.same_life(&query.target);
            let api = shell.caches.api().clone();
            out.spawn(async move {
                let needs = grants::of_exec();
                let output = match same {
                    Ok(()) => api.exec(&query.target, &query.command, time, needs).await,
                    Err(fault) => Err(fault),
                };
                (query, output)
            });
        }
        while let Some(Ok((query, output))) = out.join_next().await {
            let answer = match output {
                Ok(output) if output.exit == 0 => {
                    Read::Known(Answer { output, at: shell.clock.now() })
                }
                Ok(output) => Read::Unknown(format!("exit status {}", output.exit).into()),
                Err(fault) => {
                    if let FaultKind::Forbidden(grants) = fault.kind {
                        memory.denied.extend(grants);
                    }
                    Read::Unknown(fault.text.into())
                }
            };
            memory.answers.keep(&query, shell.clock.now(), &answer);
            observed.answers.insert(query, answer);
        }
    }
}

/// Makes the plan and has it checked, on a thread of its own: a plan that would not end holds up nobody.
async fn decide(
    shell: &Shell,
    memory: &mut Memory,
    observed: Observed,
    denied: BTreeSet<Grant>,
) -> anyhow::Result<(Plan, Vec<Finding>, Observed)> {
    let mut seed = [0; 32];
    shell.chance.fill(&mut seed).context("no entropy")?;
    let now = shell.clock.now();
    let blind_for = shell.caches.blind_for(&observed.cluster.meta.namespace);
    let context = Context {
        now,
        entropy: Entropy(Sensitive::new(seed.to_vec())),
        config: shell.config.clone(),
        denied,
        refused: memory.refused.clone(),
        blind_since: blind_for.and_then(|age| now.checked_sub(age).ok()),
    };
    let mut memos = std::mem::take(&mut memory.memos);
    let planner = shell.planner;
    let span = tracing::Span::current();
    let work = spawn_blocking(move || {
        let _entered = span.enter();
        let plan = planner(&observed, &context, &mut memos);
        let findings = check(&observed, &plan);
        (plan, findings, observed, memos)
    });
    let (plan, findings, observed, memos) = work.await.context("the planner panicked")?;
    memory.memos = memos;
    Ok((plan, findings, observed))
}

/// Counts what is awaited, and logs it when it changes.
fn say(shell: &Shell, memory: &mut Memory, report: &Report) {
    let mut text = String::new();
    for (step, outcome) in &report.lines {
        if let Outcome::Waiting(reason) | Outcome::Blocked(reason) = outcome {
            shell.metrics.waits(step.to_string(), reason.word());
            // Writing into a String does not fail.
            let _ = write!(text, "{}{step} {outcome}", if text.is_empty() { "" } else { "; " });
        }
    }
    if memory.report != text {
        let text = if text.is_empty() { "nothing" } else { &text };
        tracing::info!(waits = text, "waits for");
    }
    memory.report = text;
}

/// An Event about something that no plan can know; the same news once.
async fn tell(shell: &Shell, memory: &mut Memory, cluster: &Object, reason: &str, text: &str) {
    if memory.news.contains(text) {
        return;
    }
    let at = shell.clock.now();
    let second = at.as_second().unsigned_abs();
    let event = events::of(cluster, at, true, reason, text, second);
    match shell.caches.api().create(&event, Vec::new()).await {
        Ok(_) => {
            memory.news.insert(text.to_owned());
        }
        Err(fault) => tracing::warn!(error = %fault, "an Event could not be written"),
    }
}
