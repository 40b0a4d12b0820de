//! Jobs, and the end of finished ones. Left out: indexed Jobs, `podFailurePolicy`, `successPolicy`,
//! `backoffLimitPerIndex`, `podReplacementPolicy: Failed`, `managedBy`. Pods bear the real finalizer
//! `batch.kubernetes.io/job-tracking`, and are counted as in reality: first as uncounted by UID in the
//! status, then the finalizer goes, then the number grows; so no end of a Pod is lost or counted twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use serde_json::{Map, Value, json};

use crate::controllers::framework::{Caches, Controller, Key, Keys, Seen, Step, Sync};
use crate::controllers::support::workload::{claim, owners_of, pod_of};
use crate::controllers::support::{conditions, moment, pods, put_count};
use crate::time::{Span, Time};
use crate::world::journal::Milestone;

/// The finalizer of a Job's Pods.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The field of the status with the Pods that ended and are in no number yet.
const UNCOUNTED: &str = "uncountedTerminatedPods";
/// The wait after the first failure.
const BACK_OFF: Span = Span::s(10);
/// The longest wait.
const MAX_BACK_OFF: Span = Span::s(600);

/// The controller of Jobs.
pub(super) struct Jobs;

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Job, Kind::Pod]
    }

    fn keys(&self, seen: Seen<'_>, caches: &Caches, keys: &mut Keys) {
        match seen.latest().kind {
            Kind::Job => keys.push(Key::of(seen.latest())),
            Kind::Pod if pods::matters(seen) => {
                owners_of(seen, Kind::Job, caches, keys);
                // A Pod whose Job is gone is let go, so that it can be collected.
                keys.extend(seen.new.filter(|p| orphaned(p, caches)).map(Key::of));
            }
            _ => {}
        }
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let Some(object) = caches.get(key.kind, &key.namespace, &key.name) else {
            return;
        };
        if key.kind == Kind::Pod {
            if orphaned(object, caches) {
                sync.update(untracked(object));
            }
            return;
        }
        let pods = claim(object, caches, sync, |_| true, Some(TRACKING));
        if finished(object).is_some() {
            pods.iter().filter(|p| tracked(p)).for_each(|p| sync.update(untracked(p)));
            return;
        }
        Progress::new(object, pods, sync).go_on();
    }

    /// As the real one's expectations.
    fn patience(&self) -> Span {
        Span::s(300)
    }
}

fn tracked(pod: &Object) -> bool {
    pod.meta.finalizers.iter().any(|f| f == TRACKING)
}

fn untracked(pod: &Object) -> Object {
    let mut pod = pod.clone();
    Arc::make_mut(&mut pod.meta.finalizers).retain(|f| f != TRACKING);
    pod
}

fn orphaned(pod: &Object, caches: &Caches) -> bool {
    let owner = pod.controller().filter(|o| o.kind == Kind::Job.name());
    tracked(pod)
        && owner.is_none_or(|owner| {
            caches
                .get(Kind::Job, &pod.meta.namespace, &owner.name)
                .is_none_or(|job| job.meta.uid != owner.uid)
        })
}

/// `Complete` or `Failed`, when the Job ended.
pub(super) fn finished(job: &Object) -> Option<&'static str> {
    ["Complete", "Failed"].into_iter().find(|kind| job.condition_true(kind))
}

fn failed(pod: &Object) -> bool {
    pods::phase(pod) == "Failed" || (pod.terminating() && pods::phase(pod) != "Succeeded")
}

fn succeeded(pod: &Object) -> bool {
    pods::phase(pod) == "Succeeded"
}

struct Progress<'a> {
    job: &'a Arc<Object>,
    pods: Vec<Arc<Object>>,
    sync: &'a mut Sync,
    status: Map<String, Value>,
    /// Counted in no number yet, by UID: those of the status and those that ended since.
    uncounted_succeeded: BTreeSet<String>,
    uncounted_failed: BTreeSet<String>,
    /// Running Pods, while this pass makes and deletes some.
    active: Vec<Arc<Object>>,
    made: usize,
    terminating: usize,
}

impl<'a> Progress<'a> {
    fn new(job: &'a Arc<Object>, pods: Vec<Arc<Object>>, sync: &'a mut Sync) -> Self {
        let status = job.at(&["status"]).and_then(Value::as_object).cloned();
        let listed = |key: &str| -> BTreeSet<String> {
            let list = job.at(&["status", UNCOUNTED, key]);
            let list = list.and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|u| u.as_str().map(str::to_owned)).collect()
        };
        let (mut uncounted_succeeded, mut uncounted_failed) =
            (listed("succeeded"), listed("failed"));
        for pod in pods.iter().filter(|p| tracked(p)) {
            let uid = pod.meta.uid.to_string();
            if succeeded(pod) && !uncounted_failed.contains(&uid) {
                uncounted_succeeded.insert(uid);
            } else if failed(pod) {
                uncounted_failed.insert(uid);
            }
        }
        Self {
            job,
            active: pods.iter().filter(|p| pods::active(p)).cloned().collect(),
            made: 0,
            terminating: pods.iter().filter(|p| p.terminating() && !pods::finished(p)).count(),
            pods,
            sync,
            status: status.unwrap_or_default(),
            uncounted_succeeded,
            uncounted_failed,
        }
    }

    fn number(&self, key: &str, default: i64) -> i64 {
        self.job.i64_at(&["spec", key]).unwrap_or(default)
    }

    fn counted(&self, key: &str) -> i64 {
        self.status.get(key).and_then(Value::as_i64).unwrap_or(0)
    }

    fn suspended(&self) -> bool {
        self.job.at(&["spec", "suspend"]) == Some(&Value::Bool(true))
    }

    fn go_on(mut self) {
        let now = self.sync.time_text();
        if self.freed() {
            return self.count(&now);
        }
        if !self.suspended() {
            self.status.entry("startTime").or_insert_with(|| now.clone().into());
        }
        let total = |set: &BTreeSet<String>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let succeeded = self.counted("succeeded") + total(&self.uncounted_succeeded);
        let failures = self.counted("failed") + total(&self.uncounted_failed);
        let verdict = self.failure(failures);
        if verdict.is_some() {
            self.delete_active(usize::MAX);
        } else if !self.job.terminating() {
            self.manage(succeeded);
        }
        let verdict = verdict.or_else(|| self.success(succeeded));
        if verdict.is_none() && !self.job.terminating() {
            self.note_suspension(&now);
        }
        self.write(verdict, &now);
    }

    /// Whether the Pods that the status lists as uncounted were let go, so that they can be counted.
    fn freed(&self) -> bool {
        let held = |uid: &String| self.pods.iter().any(|p| tracked(p) && *p.meta.uid == **uid);
        let mut listed = self.uncounted_failed.iter().chain(&self.uncounted_succeeded);
        self.counting() && !listed.any(held)
    }

    /// Counts them, and nothing else but the end if that was decided: the rest of the status is as it was.
    fn count(mut self, now: &str) {
        self.add_uncounted();
        let decided = |kind: &str| conditions::find(&self.status, kind).is_some();
        let verdict = if decided("FailureTarget") {
            self.failure(0)
        } else if decided("SuccessCriteriaMet") {
            self.success(i64::MAX)
        } else {
            None
        };
        self.end(verdict, now);
    }

    fn add_uncounted(&mut self) {
        let add = |set: &BTreeSet<String>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let (succeeded, failures) = (
            self.counted("succeeded") + add(&self.uncounted_succeeded),
            self.counted("failed") + add(&self.uncounted_failed),
        );
        put_count(&mut self.status, "succeeded", succeeded);
        put_count(&mut self.status, "failed", failures);
        self.status.insert(UNCOUNTED.into(), json!({}));
    }

    /// Writes the status, with the end of the Job if it has come to one. That is told only when the status that everybody
    /// sees says already that no Pod of it is on its way out.
    fn end(mut self, verdict: Option<Verdict>, now: &str) {
        let told = self.job.i64_at(&["status", "terminating"]).unwrap_or(0);
        if let Some(verdict) = verdict.filter(|_| told == 0 && self.terminating == 0) {
            verdict.set(&mut self.status, verdict.end, now);
            let good = verdict.end == "Complete";
            if good {
                self.status.insert("completionTime".into(), now.into());
            }
            self.sync.status(self.job, self.status);
            return self
                .sync
                .note(Milestone::JobEnded { job: self.job.meta.name.clone(), succeeded: good });
        }
        self.sync.status(self.job, self.status);
    }

    /// Whether and why the Job fails.
    fn failure(&mut self, failures: i64) -> Option<Verdict> {
        if let Some(target) = conditions::find(&self.status, "FailureTarget") {
            let text = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
            return Some(Verdict::failed(text("reason"), text("message")));
        }
        if conditions::find(&self.status, "SuccessCriteriaMet").is_some() {
            return None;
        }
        let limit = self.number("backoffLimit", 6);
        let on_failure =
            self.job.str_at(&["spec", "template", "spec", "restartPolicy"]) == Some("OnFailure");
        let running = self.pods.iter().filter(|p| matches!(pods::phase(p), "Running" | "Pending"));
        let restarts: i64 = running.map(|p| pods::restarts(p)).sum();
        let too_often = on_failure && if limit == 0 { restarts > 0 } else { restarts >= limit };
        if failures > limit || too_often {
            let message = "Job has reached the specified backoff limit";
            return Some(Verdict::failed("BackoffLimitExceeded", message));
        }
        let deadline_s = self.job.i64_at(&["spec", "activeDeadlineSeconds"])?;
        if self.suspended() {
            return None;
        }
        let left = moment(self.status.get("startTime"))? + Span::s(deadline_s) - self.sync.now;
        if left.0 <= 0 {
            let message = "Job was active longer than specified deadline";
            return Some(Verdict::failed("DeadlineExceeded", message));
        }
        self.sync.look_again(left);
        None
    }

    fn success(&self, succeeded: i64) -> Option<Verdict> {
        let idle = self.active.is_empty() && self.made == 0;
        let complete = match self.job.i64_at(&["spec", "completions"]) {
            Some(wanted) => succeeded >= wanted,
            None => succeeded > 0,
        };
        (complete && idle).then(|| Verdict {
            interim: "SuccessCriteriaMet",
            end: "Complete",
            reason: "CompletionsReached".into(),
            message: "Reached expected number of succeeded pods".into(),
        })
    }

    fn delete_active(&mut self, count: usize) {
        let count = count.min(self.active.len());
        for pod in self.active.drain(..count) {
            self.sync.delete(&pod);
            self.terminating += 1;
        }
    }

    /// Deletes Pods that are not wanted any more. They are let go first, so that nobody counts them as failed.
    fn dismiss(&mut self, count: usize) {
        let dismissed: Vec<_> = self.active.iter().take(count).cloned().collect();
        for pod in dismissed.iter().filter(|p| tracked(p)) {
            self.sync.update(untracked(pod));
        }
        self.pods.retain(|pod| dismissed.iter().all(|gone| gone.meta.uid != pod.meta.uid));
        self.delete_active(count);
    }

    /// Makes or deletes Pods, so that as many run as shall.
    fn manage(&mut self, succeeded: i64) {
        if self.suspended() {
            return self.dismiss(usize::MAX);
        }
        let parallelism = self.number("parallelism", 1);
        let running = i64::try_from(self.active.len()).unwrap_or(i64::MAX);
        let wanted = match self.job.i64_at(&["spec", "completions"]) {
            Some(completions) => (completions - succeeded).clamp(0, parallelism),
            None if succeeded > 0 => running,
            None => parallelism,
        };
        if running > wanted {
            self.active.sort_by_key(|p| (pods::ready(p), std::cmp::Reverse(p.meta.created_at)));
            return self.dismiss(usize::try_from(running - wanted).unwrap_or(0));
        }
        if running == wanted {
            return;
        }
        let wait = self.back_off();
        if wait > Span::ZERO {
            return self.sync.look_again(wait);
        }
        let Some(template) = self.job.at(&["spec", "template"]) else {
            return;
        };
        for _ in running..wanted {
            let mut pod = pod_of(template, self.job);
            pod.meta.generate_name = Some(format!("{}-", self.job.meta.name).into());
            let finalizers = Arc::make_mut(&mut pod.meta.finalizers);
            if !finalizers.iter().any(|f| f == TRACKING) {
                finalizers.push(TRACKING.into());
            }
            self.sync.create(pod);
            self.made += 1;
        }
    }

    /// How long to wait before the next Pod: 10 s after the first failure since the last success, then twice as
    /// long each time. The real controller remembers the failures; here the Pods that are still there tell.
    fn back_off(&self) -> Span {
        let ends = |what: fn(&Object) -> bool| {
            self.pods.iter().filter(move |p| what(p)).map(|p| pods::finished_at(p))
        };
        let last_success: Option<Time> = ends(succeeded).max();
        let since = ends(failed).filter(|end| last_success.is_none_or(|s| *end > s));
        let since: Vec<Time> = since.collect();
        let Some(last) = since.iter().max() else {
            return Span::ZERO;
        };
        let doublings = u32::try_from(since.len() - 1).unwrap_or(20).min(20);
        let wait = (BACK_OFF.0 << doublings).min(MAX_BACK_OFF.0);
        Span((wait - (self.sync.now - *last).0).max(0))
    }

    fn note_suspension(&mut self, now: &str) {
        let before = conditions::find(&self.status, "Suspended").and_then(|c| c.get("status"));
        let before = before.and_then(Value::as_str).map(str::to_owned);
        match (self.suspended(), before.as_deref()) {
            (true, Some("True")) | (false, None | Some("False")) => {}
            (true, _) => {
                conditions::set(
                    &mut self.status,
                    "Suspended",
                    "True",
                    "JobSuspended",
                    "Job suspended",
                    now,
                    &[],
                );
            }
            (false, _) => {
                conditions::set(
                    &mut self.status,
                    "Suspended",
                    "False",
                    "JobResumed",
                    "Job resumed",
                    now,
                    &[],
                );
                self.status.insert("startTime".into(), now.into());
            }
        }
    }

    /// Writes the status in the real order: interim condition and uncounted Pods; finalizers; numbers and end.
    fn write(mut self, verdict: Option<Verdict>, now: &str) {
        let ready = self.active.iter().filter(|p| pods::ready(p)).count();
        let active = i64::try_from(self.active.len() + self.made).unwrap_or(i64::MAX);
        put_count(&mut self.status, "active", active);
        self.status.insert("ready".into(), ready.into());
        self.status.insert("terminating".into(), self.terminating.into());
        let over = verdict.is_some() || self.job.terminating();
        let done: Vec<_> = self.pods.iter().filter(|p| tracked(p)).cloned().collect();
        let ended = |p: &&Arc<Object>| over || succeeded(p) || failed(p);
        let done: Vec<_> = done.iter().filter(ended).cloned().collect();
        if verdict.as_ref().is_some_and(|v| v.end == "Failed") {
            let rest = done.iter().filter(|p| !succeeded(p));
            self.uncounted_failed.extend(rest.map(|p| p.meta.uid.to_string()));
        }
        if let Some(verdict) = &verdict
            && conditions::find(&self.status, verdict.interim).is_none()
        {
            verdict.set(&mut self.status, verdict.interim, now);
        }
        let uncounted = |failed: &BTreeSet<String>, succeeded: &BTreeSet<String>| {
            let mut map = Map::new();
            for (key, set) in [("failed", failed), ("succeeded", succeeded)] {
                if !set.is_empty() {
                    map.insert(key.into(), json!(set));
                }
            }
            Value::Object(map)
        };
        self.status
            .insert(UNCOUNTED.into(), uncounted(&self.uncounted_failed, &self.uncounted_succeeded));
        let flushed = self.job.body.get("status") == Some(&Value::Object(self.status.clone()));
        if !done.is_empty() || !flushed && self.counting() {
            // Each later write needs the version that the one before made; so the rest waits for the cache.
            if !flushed {
                self.sync.status(self.job, self.status);
                return self.sync.steps.push(Step::Stop(Span::ms(1)));
            }
            for pod in &done {
                self.sync.update(untracked(pod));
            }
            return self.sync.steps.push(Step::Stop(Span::ms(1)));
        }
        self.add_uncounted();
        self.end(verdict, now);
    }

    fn counting(&self) -> bool {
        !self.uncounted_failed.is_empty() || !self.uncounted_succeeded.is_empty()
    }
}

/// How a Job ends.
struct Verdict {
    interim: &'static str,
    end: &'static str,
    reason: String,
    message: String,
}

impl Verdict {
    fn failed(reason: &str, message: &str) -> Self {
        Self {
            interim: "FailureTarget",
            end: "Failed",
            reason: reason.into(),
            message: message.into(),
        }
    }

    fn set(&self, status: &mut Map<String, Value>, kind: &str, now: &str) {
        let probed = [("lastProbeTime", Value::from(now))];
        conditions::set(status, kind, "True", &self.reason, &self.message, now, &probed);
    }
}

/// Deletes finished Jobs when their `ttlSecondsAfterFinished` has passed.
pub(super) struct FinishedJobs;

impl Controller for FinishedJobs {
    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    fn watches(&self) -> &'static [Kind] {
        &[Kind::Job]
    }

    fn keys(&self, seen: Seen<'_>, _: &Caches, keys: &mut Keys) {
        keys.extend(seen.new.filter(|j| ttl(j).is_some()).map(Key::of));
    }

    fn sync(&self, caches: &Caches, key: &Key, sync: &mut Sync) {
        let job = caches.get(key.kind, &key.namespace, &key.name);
        let Some((job, ends)) = job.and_then(|job| Some((job, ttl(job)?))) else {
            return;
        };
        if job.terminating() {
            return;
        }
        if ends > sync.now {
            return sync.look_again(ends - sync.now);
        }
        let request = sync.delete_request(job, ivory_core::plan::Propagation::Foreground);
        sync.send(request);
    }
}

/// When a finished Job is to be deleted.
fn ttl(job: &Object) -> Option<Time> {
    let seconds = job.i64_at(&["spec", "ttlSecondsAfterFinished"])?;
    let condition = job.condition(finished(job)?)?;
    Some(moment(condition.get("lastTransitionTime"))? + Span::s(seconds))
}
